//! How does one connection of the load generator open, send and receive?

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::drive::carrier::{Connector, Stream};
use crate::drive::check::Checker;
use crate::histogram::Histogram;
use crate::scenario::Deflate;
use crate::script::Script;

/// A connection.
#[derive(Debug)]
pub struct Conn {
    /// The transport.
    pub stream: Stream,
    /// Checks the replies.
    pub checker: Checker,
    /// The number of messages that it may send.
    pub granted: u64,
    script: Rc<Script>,
    sent_bytes: u64,
    /// The time when each message in flight was sent.
    times: VecDeque<Instant>,
    /// Whether it waits for writability.
    pub waiting: bool,
}

impl Conn {
    /// Makes the opening handshake.
    ///
    /// The stream is blocking until [`go`](Self::go).
    pub fn open(
        server: &Connector,
        script: Rc<Script>,
        raw: bool,
        deflate: Deflate,
    ) -> Result<Self> {
        let offer = deflate.extensions().filter(|_| !raw);
        let offer = offer.map(|it| format!("Sec-WebSocket-Extensions: {it}\r\n"));
        let mut stream = server.connect()?;
        let head = stream.shake_hands(&offer.unwrap_or_default())?;
        if !raw && deflate != Deflate::Off {
            ensure!(head.contains("permessage-deflate"), "the server does not compress: {head}");
            let forgets = head.contains("no_context_takeover");
            ensure!(
                forgets != (deflate == Deflate::Takeover),
                "other compression parameters than requested: {head}"
            );
        }
        let checker = Checker::new(raw, deflate);
        let times = VecDeque::new();
        Ok(Self { stream, checker, granted: 0, script, sent_bytes: 0, times, waiting: false })
    }

    /// Makes the stream non-blocking.
    pub fn go(&self) -> Result<()> {
        Ok(self.stream.tcp().set_nonblocking(true)?)
    }

    /// Lets it send `count` more messages.
    pub fn grant(&mut self, count: u64, now: Instant) {
        self.granted += count;
        self.times.extend(std::iter::repeat_n(now, count as usize));
    }

    /// Sends as much as the socket takes. Returns whether that was all.
    pub fn send(&mut self) -> Result<bool> {
        loop {
            let bytes = self.script.next(self.sent_bytes, self.granted);
            if bytes.is_empty() {
                return Ok(self.stream.flush()?);
            }
            match self.stream.write(bytes) {
                Ok(count) => self.sent_bytes += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot send on a connection"),
            }
        }
    }

    /// Reads once. Returns the number of messages that are complete then.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let count = match self.stream.read(buffer) {
            Ok(0) => anyhow::bail!("the server ended a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("cannot read from a connection"),
        };
        let before = self.checker.messages;
        self.checker.feed(&buffer[..count], &self.script)?;
        Ok(self.checker.messages - before)
    }

    /// Records the latency of the oldest `count` messages in flight.
    pub fn note(&mut self, count: u64, now: Instant, histogram: &mut Histogram) {
        for sent in self.times.drain(..self.times.len().min(count as usize)) {
            histogram.add(now.duration_since(sent));
        }
    }

    /// Sends one message and waits for it to come back.
    pub fn round_trip(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.granted += 1;
        self.send()?;
        while self.receive(buffer)? == 0 {}
        Ok(())
    }
}

/// Timeout for the handshake, and for the next reply.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The key of RFC 6455 §1.3, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a browser sends beside the headers of the handshake: together about 700 bytes.
pub(super) const BROWSER: &str = "\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/156.0.0.0 Safari/537.36\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; visits=31\r\n";

/// Connects to a server.
///
/// # Errors
///
/// There is no server.
pub fn connect(server: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(server)
        .with_context(|| format!("cannot connect to {server} (does it run? are there free ports?)"))
}

/// Makes the opening handshake, with more lines in the request. Returns the head of the response, in
/// lower case, and reads nothing beyond it.
///
/// # Errors
///
/// The server refuses the handshake.
pub fn shake_hands(stream: &mut TcpStream, path: &str, more: &str) -> Result<String> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request = request(stream.peer_addr()?, path, more);
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.peek(&mut part).context("the server does not answer the handshake")?;
        ensure!(count > 0, "the server ends the connection during the handshake");
        let before = head.len();
        head.extend_from_slice(&part[..count]);
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            head.truncate(end + 4);
        }
        stream.read_exact(&mut part[..head.len() - before])?;
    }
    accepted(&head)
}

/// The request of the opening handshake.
pub(super) fn request(server: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nOrigin: http://{server}\r\n\
         {BROWSER}{more}\r\n"
    )
}

/// Checks the head of the response, and returns it in lower case.
pub(super) fn accepted(head: &[u8]) -> Result<String> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 101 "), "the server refuses the handshake: {head}");
    ensure!(head.contains(&ACCEPT.to_ascii_lowercase()), "wrong accept key: {head}");
    Ok(head)
}
