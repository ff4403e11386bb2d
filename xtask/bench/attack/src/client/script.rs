//! How is a hostile peer described, and what can it do?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kit::answer;

/// How long a script goes on.
pub(super) const SCRIPT: Duration = Duration::from_secs(5);

/// What a peer does with a connection.
pub(super) type Script = Arc<dyn Fn(TcpStream) -> Result<()> + Send + Sync>;

/// How the client reaches the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Http1,
    /// The client writes without end.
    Http1Writes,
    Tls,
    Http2,
    /// The client writes without end.
    Http2Writes,
    /// The peer is a proxy with this scheme.
    Proxy(&'static str),
}

pub(super) struct Hostile {
    pub(super) what: &'static str,
    /// Words in the outcome, one of which is expected.
    pub(super) outcome: &'static [&'static str],
    pub(super) via: Reach,
    pub(super) script: Script,
}

/// A peer that reads the head of a request, and then does this.
pub(super) fn scripted(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream, String) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    raw(Reach::Http1, what, outcome, move |stream| {
        let request = read_head(&stream)?;
        script(stream, request)
    })
}

/// A peer that reads nothing by itself.
pub(super) fn raw(
    via: Reach,
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    Hostile { what, outcome, via, script: Arc::new(script) }
}

/// Sends these bytes for a head.
pub(super) fn hostile(
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

/// Sends the same bytes until the client ends, or to the end of the script.
pub(super) fn endless(
    what: &'static str,
    outcome: &'static [&'static str],
    start: &'static str,
    bytes: Vec<u8>,
) -> Hostile {
    scripted(what, outcome, move |mut stream, _| {
        stream.write_all(start.as_bytes())?;
        repeat(&mut stream, &bytes)
    })
}

pub(super) fn read_head(stream: &TcpStream) -> Result<String> {
    // The client sends nothing behind a head before it has an answer.
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    Ok(request)
}

pub(super) fn accept(request: &str, more: &str) -> Result<Vec<u8>> {
    let (mut head, _) = answer(request.as_bytes())?.context("half a request")?;
    head.truncate(head.len() - 2);
    Ok(format!("{head}{more}\r\n").into_bytes())
}

/// Reads to the end.
pub(super) fn wait(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(SCRIPT))?;
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

/// Writes the same bytes until the client ends, or to the end of the script.
pub(super) fn repeat(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let began = Instant::now();
    while began.elapsed() < SCRIPT && stream.write_all(bytes).is_ok() {}
    Ok(())
}

/// Writes one byte after another.
pub(super) fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    Ok(())
}
