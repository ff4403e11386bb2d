//! Which servers of HTTP/1.1 are hostile?

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::script::{
    Hostile, Reach, accept, drip, endless, hostile, raw, read_head, repeat, scripted, wait,
};
use crate::protocol::deflated;

/// A server that accepts, and then sends these bytes.
fn after(
    what: &'static str,
    outcome: &'static [&'static str],
    more: &'static str,
    bytes: Vec<u8>,
) -> Hostile {
    scripted(what, outcome, move |mut stream, request| {
        stream.write_all(&accept(&request, more)?)?;
        stream.write_all(&bytes)?;
        wait(&mut stream)
    })
}

/// A server that accepts, and then sends some bytes, and others without end.
fn flood(
    what: &'static str,
    outcome: &'static [&'static str],
    first: Vec<u8>,
    bytes: Vec<u8>,
) -> Hostile {
    scripted(what, outcome, move |mut stream, request| {
        stream.write_all(&accept(&request, "")?)?;
        stream.write_all(&first)?;
        repeat(&mut stream, &bytes)
    })
}

/// A server's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(len as u8),
        len @ 126..0x1_0000 => {
            out.push(126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The first line of an answer that accepts.
const START: &str = "HTTP/1.1 101 Switching Protocols\r\n";
const DEFLATE: &str = "sec-websocket-extensions: permessage-deflate\r\n";

pub(super) fn servers() -> Vec<Hostile> {
    let start = START;
    let mut rows = vec![
        endless(
            "endless interim answers",
            &["interim", "1xx"],
            "",
            b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100),
        ),
        endless(
            "endless headers",
            &["too large", "head", "longer"],
            start,
            b"x: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(100),
        ),
        endless("endless line", &["too large", "head", "longer"], start, vec![b'a'; 4096]),
        endless(
            "endless body of a refusal",
            &["403"],
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            vec![b'a'; 4096],
        ),
        endless(
            "endless chunks of a refusal",
            &["403"],
            "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n",
            b"4\r\naaaa\r\n".repeat(500),
        ),
        hostile(
            "redirect to itself, without end",
            &["redirect"],
            "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        hostile(
            "redirect to another scheme",
            &["redirect"],
            "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
        ),
        hostile("no answer", &["longer than"], ""),
        hostile("half a head", &["longer than"], start),
        scripted("one byte of the head per 100 ms", &["longer than"], |mut stream, _| {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nx: yyyyyyyyyyyyyyyyyyyy";
            drip(&mut stream, head, Duration::from_millis(100))
        }),
        hostile(
            "wrong accept key",
            &["does not match"],
            format!(
                "{start}upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n"
            ),
        ),
        hostile(
            "no accept key",
            &["does not match"],
            format!("{start}upgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        ),
        hostile("200 instead of 101", &["200"], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        hostile(
            "garbage",
            &["HTTP", "stream failed", "does not match", "response"],
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        ),
        hostile(
            "TLS alert",
            &["HTTP", "stream failed", "longer", "does not match"],
            b"\x15\x03\x03\0\x02\x02\x28\r\n\r\n".to_vec(),
        ),
        scripted("FIN before the answer", &["stream failed"], |_, _| Ok(())),
        after(
            "extension that was not offered",
            &["does not match"],
            "sec-websocket-extensions: x-evil\r\n",
            Vec::new(),
        ),
        after(
            "subprotocol that was not offered",
            &["does not match"],
            "sec-websocket-protocol: evil\r\n",
            Vec::new(),
        ),
        after("upgrade to two protocols", &["does not match"], "upgrade: foo\r\n", Vec::new()),
        hostile(
            "folded header",
            &["does not match", "open, then"],
            format!("{start}x: a\r\n b\r\n\r\n"),
        ),
        after("masked frames", &["mask", "protocol"], "", b"\x81\x81\0\0\0\0a".to_vec()),
        after("reserved bits", &["reserved", "RSV", "protocol"], "", frame(0xf1, b"a")),
        after("text that is not UTF-8", &["UTF-8"], "", frame(0x81, b"\xff")),
        after("message of 1 MiB + 1", &["more than"], "", frame(0x82, &vec![0; (1 << 20) + 1])),
        after(
            "bomb of 64 MiB",
            &["more than"],
            DEFLATE,
            frame(0xc2, &deflated(&vec![0; 64 << 20])),
        ),
        after(
            "corrupt DEFLATE",
            &["compress", "DEFLATE", "deflate", "inflate"],
            DEFLATE,
            frame(0xc2, &[0xff; 8]),
        ),
        after("length of 2^62", &["more than"], "", b"\x82\x7f\x40\0\0\0\0\0\0\0".to_vec()),
        after("close code 1005", &["close", "protocol"], "", frame(0x88, &1005_u16.to_be_bytes())),
        scripted("cut inside a frame", &["1006", "end of file"], |mut stream, request| {
            stream.write_all(&accept(&request, "")?)?;
            Ok(stream.write_all(b"\x81\x05a")?)
        }),
        scripted("flood of pings without reading", &["open, then"], |mut stream, request| {
            stream.write_all(&accept(&request, "")?)?;
            stream.set_write_timeout(Some(Duration::from_millis(500)))?;
            let pings = frame(0x89, &[0; 125]).repeat(500);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(1) && stream.write_all(&pings).is_ok() {}
            Ok(())
        }),
    ];
    rows.extend(answers());
    rows.extend(frames());
    rows
}

/// More answers to the opening handshake.
fn answers() -> Vec<Hostile> {
    let refused = "HTTP/1.1 403 Forbidden\r\n";
    let mut interim = String::new();
    for code in (100..200).filter(|code| *code != 101) {
        interim += &format!("HTTP/1.1 {code} a\r\n\r\n");
    }
    vec![
        scripted("NUL in a value, in two pieces", &["is malformed"], |mut stream, _| {
            stream.set_nodelay(true)?;
            stream.write_all(format!("{START}x: a").as_bytes())?;
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(b"\0b\r\n\r\n")?;
            wait(&mut stream)
        }),
        hostile("name with a space", &["is malformed"], format!("{START}x : a\r\n\r\n")),
        hostile("bare CR in a value", &["is malformed"], format!("{START}x: a\rb\r\n\r\n")),
        scripted("HTTP/1.0", &["open, then silent"], |mut stream, request| {
            let head = String::from_utf8(accept(&request, "")?)?;
            stream.write_all(head.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes())?;
            wait(&mut stream)
        }),
        hostile("HTTP/9.9", &["is malformed"], "HTTP/9.9 101 a\r\n\r\n"),
        hostile("status of four digits", &["is malformed"], "HTTP/1.1 1010 a\r\n\r\n"),
        after("101 with `content-length`", &["open, then silent"], "content-length: 5\r\n", vec![]),
        after(
            "two accept keys",
            &["does not match"],
            "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            Vec::new(),
        ),
        after(
            "two protocols in a line",
            &["does not match"],
            "upgrade: foo, websocket\r\n",
            vec![],
        ),
        after(
            "window bits of 99",
            &["does not match"],
            "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
             server_max_window_bits=99\r\n",
            Vec::new(),
        ),
        after(
            "a parameter of compression twice",
            &["does not match"],
            "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
             server_no_context_takeover\r\n",
            Vec::new(),
        ),
        after(
            "compression twice",
            &["does not match"],
            "sec-websocket-extensions: permessage-deflate, permessage-deflate\r\n",
            Vec::new(),
        ),
        hostile("99 interim answers of different codes", &["interim", "1xx"], interim),
        hostile(
            "chunk of 2^72 B in a refusal",
            &["403"],
            format!("{refused}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\na"),
        ),
        hostile(
            "length of 2^64 in a refusal",
            &["403", "stream failed"],
            format!("{refused}content-length: 18446744073709551616\r\n\r\na"),
        ),
        scripted("cut inside a refusal", &["403"], move |mut stream, _| {
            Ok(stream.write_all(format!("{refused}content-length: 100\r\n\r\na").as_bytes())?)
        }),
        scripted("RST before the answer", &["stream failed"], |stream, _| {
            Ok(nix::sys::socket::setsockopt(
                &stream,
                nix::sys::socket::sockopt::Linger,
                &nix::libc::linger { l_onoff: 1, l_linger: 0 },
            )?)
        }),
    ]
}

/// More frames, and servers that do not read.
fn frames() -> Vec<Hostile> {
    let mut inside = frame(0x01, b"a");
    inside.extend(frame(0x81, b"b"));
    vec![
        after("continuation of nothing", &["without a message"], "", frame(0x80, b"a")),
        after("fragmented ping", &["must not be fragmented"], "", frame(0x09, b"a")),
        after("ping of 126 B", &["at most 125 bytes"], "", frame(0x89, &[0; 126])),
        after("close of one byte", &["at least two bytes"], "", frame(0x88, b"\x03")),
        after("message inside a message", &["before the end of the current"], "", inside),
        after("compressed frame without compression", &["reserved bit"], "", frame(0xc1, b"a")),
        after("compressed ping", &["reserved bit"], DEFLATE, frame(0xc9, b"a")),
        after("reserved opcode", &["opcode 0x3 is reserved"], "", frame(0x83, b"")),
        after("length of 5 in 16 bits", &["shortest form"], "", b"\x82\x7e\0\x05abcde".to_vec()),
        after(
            "length of 64 bits",
            &["highest bit set"],
            "",
            [&b"\x82\x7f"[..], &[0xff; 8]].concat(),
        ),
        after(
            "close reason that is not UTF-8",
            &["reason is not UTF-8"],
            "",
            frame(0x88, b"\x03\xe8\xff"),
        ),
        flood(
            "endless empty fragments",
            &["`Limits::fragments`"],
            frame(0x01, b""),
            frame(0, b"").repeat(5_000),
        ),
        flood(
            "endless fragments of 1 B",
            &["`Limits::fragments`"],
            frame(0x02, b"a"),
            frame(0, b"a").repeat(5_000),
        ),
        flood(
            "endless messages after a close frame",
            &["1000"],
            frame(0x88, &1000_u16.to_be_bytes()),
            frame(0x82, &[0; 4096]).repeat(10),
        ),
        raw(Reach::Http1Writes, "reads nothing", &["`Config::write_timeout`"], |mut stream| {
            let request = read_head(&stream)?;
            stream.write_all(&accept(&request, "")?)?;
            std::thread::sleep(super::script::SCRIPT);
            Ok(())
        }),
        raw(Reach::Http1Writes, "cuts while the client writes", &["1006"], |mut stream| {
            let request = read_head(&stream)?;
            Ok(stream.write_all(&accept(&request, "")?)?)
        }),
    ]
}
