//! What happens to a client whose server is hostile?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kit::answer;
use load::process::Process;
use ws_client::{Compression, Dial, Dialer};

use crate::protocol::deflated;
use crate::report::{Finding, Report};
use crate::target::{own, status};

/// How long a client may take for the opening handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Dials a URL, reads to the end, and prints the outcome in one line.
pub(crate) fn run_dial(url: &str) -> Result<()> {
    kit::runtime(1)?.block_on(async {
        let dialer = Dialer::new().no_proxy();
        let dial = Dial::new(url)
            .dialer(&dialer)
            .compression(Compression::context_takeover())
            .connect_timeout(CONNECT_TIMEOUT);
        let before = status(std::process::id().cast_signed(), "VmRSS:")?;
        let outcome = match dial.connect().await {
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
            Ok(conn) => loop {
                match tokio::time::timeout(Duration::from_secs(3), conn.read()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => break format!("open, then {:#}", anyhow::Error::from(error)),
                    Err(_) => break "open, then silent".to_owned(),
                }
            },
        };
        let more = status(std::process::id().cast_signed(), "VmHWM:")? - before;
        println!("{more} {}", outcome.replace('\n', " "));
        Ok(())
    })
}

/// What a server does with a connection whose request it has read.
type Script = Arc<dyn Fn(TcpStream, String) -> Result<()> + Send + Sync>;

struct Hostile {
    what: &'static str,
    /// Words in the outcome, one of which is expected.
    outcome: &'static [&'static str],
    script: Script,
}

fn hostile(
    what: &'static str,
    outcome: &'static [&'static str],
    bytes: impl Into<Vec<u8>>,
) -> Hostile {
    let bytes: Vec<u8> = bytes.into();
    scripted(what, outcome, move |mut stream, _| {
        stream.write_all(&bytes)?;
        wait(&mut stream)
    })
}

fn scripted(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream, String) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    Hostile { what, outcome, script: Arc::new(script) }
}

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

fn accept(request: &str, more: &str) -> Result<Vec<u8>> {
    let (mut head, _) = answer(request.as_bytes())?.context("half a request")?;
    head.truncate(head.len() - 2);
    Ok(format!("{head}{more}\r\n").into_bytes())
}

/// Reads to the end.
fn wait(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

/// Sends the same bytes until the client ends, or for five seconds.
fn endless(
    what: &'static str,
    outcome: &'static [&'static str],
    start: &'static str,
    bytes: Vec<u8>,
) -> Hostile {
    scripted(what, outcome, move |mut stream, _| {
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(start.as_bytes())?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) && stream.write_all(&bytes).is_ok() {}
        Ok(())
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

const DEFLATE: &str = "sec-websocket-extensions: permessage-deflate\r\n";

fn servers() -> Vec<Hostile> {
    let start = "HTTP/1.1 101 Switching Protocols\r\n";
    vec![
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
            for byte in b"HTTP/1.1 101 Switching Protocols\r\nx: yyyyyyyyyyyyyyyyyyyy"
                .iter()
                .cycle()
                .take(50)
            {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
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
    ]
}

/// The memory that a client may add, in KiB: one message, buffers, windows, and what is set up once.
const MEMORY: i64 = 8 * 1024;

pub(crate) fn run(report: &mut Report) {
    for Hostile { what, outcome, script } in servers() {
        let attack = format!("hostile server: {what}");
        let bound =
            format!("ends within 4 s with `{}`; < {MEMORY} KiB more", outcome.join("` or `"));
        report.row(&attack, "client", &bound, || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let url = format!("ws://{}/", listener.local_addr()?);
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(std::io::Result::ok) {
                    let script = Arc::clone(&script);
                    std::thread::spawn(move || serve(stream, &*script));
                }
            });
            let began = Instant::now();
            let (_process, mut answers) = Process::start(&mut own(&["dial", &url])?)?;
            let line = answers.line().context("the client has panicked")?;
            let took = began.elapsed();
            let (more, found) = line.split_once(' ').context("no outcome")?;
            let more: i64 = more.parse()?;
            // The deadline, and the 3 s of `run_dial` for a server that goes on.
            let held = outcome.iter().any(|word| found.contains(word))
                && took < Duration::from_secs(4)
                && more < MEMORY;
            let found: String = found.chars().take(160).collect();
            Ok(Finding::new(format!("{found}; {:.2} s; {more} KiB", took.as_secs_f64()), held))
        });
    }
}

fn serve(stream: TcpStream, script: &dyn Fn(TcpStream, String) -> Result<()>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    script(stream, request)
}
