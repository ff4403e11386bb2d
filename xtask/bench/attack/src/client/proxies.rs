//! Which proxies are hostile?

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::script::{Hostile, Reach, accept, drip, raw, read_head, repeat, wait};

/// A proxy by CONNECT, which has read the request.
fn http(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    raw(Reach::Proxy("http"), what, outcome, move |stream| {
        let head = read_head(&stream)?;
        ensure!(head.starts_with("CONNECT server.invalid:80 "), "another request: {head}");
        script(stream)
    })
}

/// A proxy by CONNECT that answers with these bytes.
fn answers(what: &'static str, outcome: &'static [&'static str], bytes: &'static str) -> Hostile {
    http(what, outcome, move |mut stream| {
        stream.write_all(bytes.as_bytes())?;
        wait(&mut stream)
    })
}

/// A proxy by CONNECT that sends these bytes without end.
fn endless(
    what: &'static str,
    outcome: &'static [&'static str],
    start: &'static str,
    bytes: Vec<u8>,
) -> Hostile {
    http(what, outcome, move |mut stream| {
        stream.write_all(start.as_bytes())?;
        repeat(&mut stream, &bytes)
    })
}

/// Is the server behind a tunnel: accepts, and waits.
fn serve(stream: &mut TcpStream) -> Result<()> {
    let request = read_head(stream)?;
    stream.write_all(&accept(&request, "")?)?;
    wait(stream)
}

/// A proxy of SOCKS5 that answers the choice of methods with these bytes, and the request with those.
fn socks5(
    what: &'static str,
    outcome: &'static [&'static str],
    method: &'static [u8],
    reply: &'static [u8],
) -> Hostile {
    raw(Reach::Proxy("socks5h"), what, outcome, move |mut stream| {
        choose(&mut stream, method)?;
        read_request(&mut stream)?;
        stream.write_all(reply)?;
        wait(&mut stream)
    })
}

/// Reads the methods, and answers.
fn choose(stream: &mut TcpStream, method: &[u8]) -> Result<()> {
    let mut count = [0; 2];
    stream.read_exact(&mut count)?;
    stream.read_exact(&mut vec![0; count[1].into()])?;
    Ok(stream.write_all(method)?)
}

/// Reads a request with a name.
fn read_request(stream: &mut TcpStream) -> Result<()> {
    let mut start = [0; 5];
    stream.read_exact(&mut start)?;
    ensure!(start[..4] == [5, 1, 0, 3], "another request: {start:?}");
    Ok(stream.read_exact(&mut vec![0; usize::from(start[4]) + 2])?)
}

/// SOCKS5: no authentication; the request is granted.
const NONE: &[u8] = b"\x05\0";
const GRANTED: &[u8] = b"\x05\0\0\x01\x7f\0\0\x01\0\x50";

pub(super) fn proxies() -> Vec<Hostile> {
    let open = &["open, then silent"][..];
    let (late, none) = (&["longer than"][..], &["did not open a tunnel"][..]);
    let ok = "HTTP/1.1 200 OK\r\n";
    let mut rows = vec![
        answers("no answer", late, ""),
        answers("half an answer", late, ok),
        endless("endless head", none, ok, b"x: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(100)),
        endless("endless line", none, ok, vec![b'a'; 4096]),
        endless("endless interim answers", none, "", b"HTTP/1.1 103 a\r\n\r\n".repeat(100)),
        endless("407 with an endless body", &["407"], "HTTP/1.1 407 a\r\n\r\n", vec![b'a'; 4096]),
        http("200 with a length and an encoding", open, move |mut stream| {
            let more = "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{ok}{more}").as_bytes())?;
            serve(&mut stream)
        }),
        answers("200, then garbage", &["is malformed"], "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-a\r\n\r\n"),
        answers(
            "redirect",
            &["302"],
            "HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\n\r\n",
        ),
        answers("101", &["101", "did not open a tunnel"], "HTTP/1.1 101 a\r\n\r\n"),
        answers("another version", none, "HTTP/9.9 200 OK\r\n\r\n"),
        answers("NUL in a value", none, "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n"),
        http("end before the answer", none, |_| Ok(())),
        http("an answer byte by byte", open, move |mut stream| {
            drip(&mut stream, format!("{ok}x: a\r\n\r\n").as_bytes(), Duration::from_millis(2))?;
            serve(&mut stream)
        }),
        http("an answer with a byte per 100 ms", late, move |mut stream| {
            drip(&mut stream, ok.as_bytes(), Duration::from_millis(100))
        }),
        raw(Reach::Proxy("socks5h"), "SOCKS: no choice of a method", late, |mut stream| {
            wait(&mut stream)
        }),
        socks5("SOCKS: no reply", late, NONE, b""),
        socks5("SOCKS: another version of the method", none, b"\x04\0", GRANTED),
        socks5("SOCKS: no method", none, b"\x05\xff", GRANTED),
        socks5("SOCKS: a method that was not offered", none, b"\x05\x01", GRANTED),
        socks5(
            "SOCKS: another version of the reply",
            none,
            NONE,
            b"\x04\0\0\x01\x7f\0\0\x01\0\x50",
        ),
        socks5("SOCKS: another kind of address", none, NONE, b"\x05\0\0\x09\x7f\0\0\x01\0\x50"),
        socks5("SOCKS: half a reply", late, NONE, b"\x05\0\0\x01\x7f"),
        raw(Reach::Proxy("socks5h"), "SOCKS: a reply that is cut", none, |mut stream| {
            choose(&mut stream, NONE)?;
            read_request(&mut stream)?;
            Ok(stream.write_all(b"\x05\0\0")?)
        }),
        raw(Reach::Proxy("socks5h"), "SOCKS: a reply byte by byte", open, |mut stream| {
            choose(&mut stream, NONE)?;
            read_request(&mut stream)?;
            drip(&mut stream, GRANTED, Duration::from_millis(2))?;
            serve(&mut stream)
        }),
        raw(
            Reach::Proxy("socks5h"),
            "SOCKS: an endless name in the reply",
            &["is malformed"],
            |mut stream| {
                choose(&mut stream, NONE)?;
                read_request(&mut stream)?;
                stream.write_all(b"\x05\0\0\x03\xff")?;
                repeat(&mut stream, &[b'a'; 4096])
            },
        ),
        raw(Reach::Proxy("socks4a"), "SOCKS4: refused", none, |mut stream| {
            // The version, the command, the port, the address, and the start of the user and the name.
            stream.read_exact(&mut [0; 9])?;
            stream.write_all(b"\0\x5b\0\0\0\0\0\0")?;
            wait(&mut stream)
        }),
    ];
    // RFC 1928 §6, and a code that is not assigned.
    for code in [1, 2, 3, 4, 5, 6, 7, 8, 200] {
        rows.push(raw(Reach::Proxy("socks5h"), "SOCKS: refused", none, move |mut stream| {
            choose(&mut stream, NONE)?;
            read_request(&mut stream)?;
            stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
            wait(&mut stream)
        }));
    }
    rows
}
