//! How does an attacker speak: raw frames, heads of HTTP/1.1, frames of HTTP/2?

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use load::drive::conn::{connect, shake_hands};
use load::frame::Header;

/// The masking key of all frames.
pub(crate) const KEY: [u8; 4] = [1, 2, 3, 4];

/// Opens a WebSocket.
pub(crate) fn open(server: SocketAddr) -> Result<TcpStream> {
    open_with(server, "")
}

/// Opens a WebSocket, with more lines in the request.
pub(crate) fn open_with(server: SocketAddr, more: &str) -> Result<TcpStream> {
    let mut stream = connect(server)?;
    shake_hands(&mut stream, "/", more)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// The offer of compression.
pub(crate) const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A masked frame with any first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    load::frame::encode(0, false, payload, KEY, &mut out);
    out[0] = first;
    out
}

/// How a WebSocket ended, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame with this code.
    Close(u16),
    /// The transport ended without one.
    Cut,
    /// Nothing ended within the timeout.
    Open,
}

/// Reads frames until a close frame, the end, or the timeout of the stream. A close frame is
/// answered.
pub(crate) fn end(stream: &mut TcpStream) -> Result<End> {
    let mut input = Vec::new();
    let mut part = vec![0; 64 * 1024];
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        while let Some((header, size)) = Header::decode(&input) {
            let whole = size + header.len as usize;
            if header.opcode == 8 && input.len() >= whole {
                let code =
                    input[size..whole].first_chunk().map_or(1005, |it| u16::from_be_bytes(*it));
                // The server may have ended already.
                let _ = stream.write_all(&frame(0x88, &code.to_be_bytes()));
                return Ok(End::Close(code));
            }
            if input.len() < whole {
                break;
            }
            input.drain(..whole);
        }
        if Instant::now() > deadline {
            return Ok(End::Open);
        }
        match stream.read(&mut part) {
            Ok(0) => return Ok(End::Cut),
            Ok(count) => input.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(End::Open);
            }
            Err(_) => return Ok(End::Cut),
        }
    }
}

/// Waits for the end of a transport, and drops what arrives. Returns how long it took.
pub(crate) fn gone(stream: &mut TcpStream, limit: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut part = [0; 16 * 1024];
    while began.elapsed() < limit {
        let left = limit.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(began.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(began.elapsed()),
        }
    }
    bail!("it is still open after {limit:?}")
}

/// Sends a head and returns the status of the answer.
pub(crate) fn status(server: SocketAddr, head: &[u8]) -> Result<u16> {
    let mut stream = connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    // The server may answer, and end, before it has read all.
    let _ = stream.write_all(head);
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < 12 {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) => return Err(error).context("no answer"),
        }
    }
    let status = answer.get(9..12).context("the connection ended without an answer")?;
    Ok(std::str::from_utf8(status)?.parse()?)
}

/// The head of a valid opening handshake, with more lines, without the empty line.
pub(crate) fn head(line: &str, more: &str) -> String {
    format!(
        "{line}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}"
    )
}

/// The preface of HTTP/2 and empty settings.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Types of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// A frame of HTTP/2.
pub(crate) fn frame2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Headers without compression (RFC 7541 §6.2.2).
pub(crate) fn headers2(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            out.push(text.len().min(126) as u8);
            out.extend(text.as_bytes().iter().take(126));
        }
    }
    out
}

/// The headers of an extended CONNECT, with more fields.
pub(crate) fn connect2(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    headers2(&[&fields, more].concat())
}

/// What a server of HTTP/2 has answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer2 {
    /// The code of GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// Streams with HEADERS.
    pub(crate) answered: Vec<u32>,
    /// Streams that were reset, with the code.
    pub(crate) reset: Vec<(u32, u32)>,
    /// By how much the windows of streams were opened.
    pub(crate) window: u32,
    /// Whether the transport ended.
    pub(crate) ended: bool,
}

/// Reads frames until the end of the transport, or the limit.
pub(crate) fn answer2(stream: &mut TcpStream, limit: Duration) -> Result<Answer2> {
    let (mut found, mut input, mut part) = (Answer2::default(), Vec::new(), vec![0; 64 * 1024]);
    let deadline = Instant::now() + limit;
    while !found.ended && Instant::now() < deadline {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => found.ended = true,
            Ok(count) => input.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => found.ended = true,
        }
        while let Some(&[a, b, c, kind, _, s0, s1, s2, s3]) = input.first_chunk::<9>() {
            let whole = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if input.len() < whole {
                break;
            }
            let id = u32::from_be_bytes([s0, s1, s2, s3]);
            let code = |at: usize| {
                input
                    .get(at..)
                    .and_then(<[u8]>::first_chunk)
                    .map_or(0, |it| u32::from_be_bytes(*it))
            };
            match kind {
                HEADERS => found.answered.push(id),
                RST_STREAM => found.reset.push((id, code(9))),
                GOAWAY => found.goaway = Some(code(13)),
                WINDOW_UPDATE if id > 0 => found.window += code(9),
                _ => {}
            }
            input.drain(..whole);
        }
    }
    Ok(found)
}
