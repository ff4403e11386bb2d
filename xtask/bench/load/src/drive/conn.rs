//! How does one connection of the load generator open, send and receive?

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::drive::check::Checker;
use crate::histogram::Histogram;
use crate::scenario::Deflate;
use crate::script::Script;

/// A connection.
#[derive(Debug)]
pub struct Conn {
    /// The transport.
    pub stream: TcpStream,
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
        server: SocketAddr,
        script: Rc<Script>,
        raw: bool,
        deflate: Deflate,
    ) -> Result<Self> {
        let offer = match deflate {
            _ if raw => "",
            Deflate::Off => "",
            Deflate::NoTakeover => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n"
            }
            Deflate::Takeover => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        };
        let (stream, head) = shake_hands(server, offer)?;
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
        Ok(self.stream.set_nonblocking(true)?)
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
                return Ok(true);
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

/// Connects and makes the opening handshake, with more lines in the request. Returns the head of the
/// response, in lower case.
///
/// # Errors
///
/// There is no server, or it refuses the handshake.
pub fn shake_hands(server: SocketAddr, more: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(server).with_context(|| {
        format!("cannot connect to {server} (does it run? are there free ports?)")
    })?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )?;
    let head = read_head(&mut stream)?;
    ensure!(head.starts_with("http/1.1 101 "), "the server refuses the handshake: {head}");
    ensure!(head.contains(&ACCEPT.to_ascii_lowercase()), "wrong accept key: {head}");
    Ok((stream, head))
}

/// The head of the response, in lower case. A server sends nothing more before the first message.
fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut part).context("the server does not answer the handshake")?;
        ensure!(count > 0, "the server ends the connection during the handshake");
        head.extend_from_slice(&part[..count]);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}
