//! How does the load generator drive many WebSockets on one HTTP/2 connection (RFC 8441)?
//!
//! It speaks as much of HTTP/2 as that takes: its requests are literals, and of a response it reads
//! the status only.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::drive::carrier::{Connector, Stream};
use crate::drive::check::Checker;
use crate::drive::hpack::request;
use crate::drive::window::{Count, Extent, Next, Window};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::scenario::{Deflate, Scenario};
use crate::script::Script;

/// Runs an echo on all WebSockets of a scenario. `stalled` further ones send, and take no answers
/// beyond the first 64 KiB.
///
/// # Errors
///
/// The server refuses a WebSocket, or an answer is wrong or missing.
pub fn run(
    server: &Connector,
    scenario: &Scenario,
    stalled: usize,
    pid: Option<i32>,
    extent: Extent,
) -> Result<Report> {
    let mut session = Session::open(server, scenario, stalled)?;
    let extent = match extent {
        Extent::Messages(messages) => {
            let conns = scenario.conns as u64;
            session.quota = messages.div_ceil(conns);
            Extent::Messages(session.quota * conns)
        }
        Extent::Time(..) => extent,
    };
    let mut window = Window::new(pid, extent);
    for id in 0..session.sockets.len() {
        let count = if id < scenario.conns { scenario.in_flight as u64 } else { STALLED };
        session.grant(id, count, Instant::now());
    }
    let mut last = (Instant::now(), 0);
    loop {
        session.turn()?;
        let now = Instant::now();
        if session.count.messages > last.1 {
            last = (now, session.count.messages);
        }
        ensure!(now - last.0 < PATIENCE, "no message came back for {} s", PATIENCE.as_secs());
        match window.look(now, session.count)? {
            Next::Go => {}
            Next::Begin => session.histogram.clear(),
            Next::End(mut report) => {
                report.latency = session.histogram.percentiles();
                return Ok(report);
            }
        }
    }
}

/// How many messages a stalled WebSocket sends, as far as the server takes them.
const STALLED: u64 = 10_000;

/// Timeout of the next reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// An HTTP/2 connection.
struct Session {
    stream: Stream,
    epoll: Epoll,
    waits_for_room: bool,
    /// Bytes that wait to be sent, of which the first are sent.
    output: Vec<u8>,
    sent: usize,
    /// Received bytes that are no whole frame yet.
    input: Vec<u8>,
    buffer: Vec<u8>,
    /// How many bytes the server takes now, on the connection and at first on a stream.
    window: i64,
    initial_window: i64,
    /// Received bytes that are not granted to the server again.
    received: u32,
    sockets: Vec<Socket>,
    /// How many of the sockets are not stalled.
    live: usize,
    /// Sockets that have something to send.
    due: VecDeque<usize>,
    count: Count,
    quota: u64,
    histogram: Histogram,
    extended_connect: bool,
}

/// A WebSocket.
struct Socket {
    script: Rc<Script>,
    checker: Checker,
    open: bool,
    granted: u64,
    sent_bytes: u64,
    window: i64,
    received: u32,
    times: VecDeque<Instant>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The largest payload of a frame, unless the peer allows more.
const MAX_FRAME: usize = 16 * 1024;

/// How much the server may send in advance, beside the first 64 KiB.
const WINDOW: u32 = 1 << 30;

/// How much ciphertext waits for the socket before no more messages are encoded.
const OUTPUT: usize = 2 * 1024 * 1024;

impl Session {
    /// Opens the connection, and then the WebSockets.
    fn open(server: &Connector, scenario: &Scenario, stalled: usize) -> Result<Self> {
        let stream = server.connect()?;
        stream.tcp().set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(stream.tcp(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let mut session = Self {
            stream,
            epoll,
            waits_for_room: false,
            output: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            sent: 0,
            input: Vec::new(),
            buffer: vec![0; 256 * 1024],
            window: 65_535,
            initial_window: 65_535,
            received: 0,
            sockets: Vec::new(),
            live: scenario.conns,
            due: VecDeque::new(),
            count: Count::default(),
            quota: u64::MAX,
            histogram: Histogram::new()?,
            extended_connect: false,
        };
        session.frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]);
        session.frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        session.until("settings", |session| session.extended_connect)?;
        let shared = Rc::new(Script::new(scenario, 1)?);
        for id in 0..scenario.conns + stalled {
            let script = match scenario.size > 1024 {
                true => Rc::clone(&shared),
                false => Rc::new(Script::new(scenario, id as u64 + 1)?),
            };
            session.sockets.push(Socket {
                script,
                checker: Checker::new(false, Deflate::Off),
                open: false,
                granted: 0,
                sent_bytes: 0,
                window: session.initial_window,
                received: 0,
                times: VecDeque::new(),
            });
            session.frame(HEADERS, END_HEADERS, stream_id(id), &request(server.server()));
            if id < scenario.conns {
                session.frame(WINDOW_UPDATE, 0, stream_id(id), &WINDOW.to_be_bytes());
            }
            session.until("a response", |session| session.sockets[id].open)?;
        }
        Ok(session)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        while !done(self) {
            ensure!(began.elapsed() < PATIENCE, "the server sends no {what} of HTTP/2");
            self.turn()?;
        }
        Ok(())
    }

    /// Sends what can be sent, waits, and handles what has arrived.
    fn turn(&mut self) -> Result<()> {
        self.encode();
        let blocked = !self.send()?;
        if blocked != self.waits_for_room {
            self.waits_for_room = blocked;
            let mut wish = EpollFlags::EPOLLIN;
            wish.set(EpollFlags::EPOLLOUT, blocked);
            self.epoll.modify(self.stream.tcp(), &mut EpollEvent::new(wish, 0))?;
        }
        let mut events = [EpollEvent::empty()];
        if self.epoll.wait(&mut events, EpollTimeout::from(50u8))? == 0
            || events[0].events() == EpollFlags::EPOLLOUT
        {
            return Ok(());
        }
        match self.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the server ended the connection"),
            Ok(count) => self.input.extend_from_slice(&self.buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("cannot read from the connection"),
        }
        let mut input = mem::take(&mut self.input);
        let mut at = 0;
        while let Some((head, rest)) = input[at..].split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..len) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.receive(head[3], head[4], stream, payload)?;
            at += head.len() + len;
        }
        input.drain(..at);
        self.input = input;
        Ok(())
    }

    fn receive(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |it| u32::from_be_bytes(*it));
        match kind {
            DATA => self.data(stream, payload)?,
            HEADERS => {
                // The size of the dynamic table may come first (RFC 7541 §6.3).
                let status = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                ensure!(status == Some(&STATUS_200), "the server refuses a WebSocket: {payload:?}");
                self.sockets[socket_id(stream)?].open = true;
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let (id, value) = (setting[1], number(&setting[2..]));
                    match id {
                        4 => self.initial_window = i64::from(value),
                        8 => self.extended_connect = value == 1,
                        _ => {}
                    }
                }
                self.frame(SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload),
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(payload)),
            WINDOW_UPDATE => {
                let id = socket_id(stream)?;
                self.sockets[id].window += i64::from(number(payload));
                self.due.push_back(id);
            }
            RST_STREAM => bail!("the server resets a stream with {}", number(payload)),
            GOAWAY => bail!("the server ends the connection with {:?}", payload.get(4..)),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, stream: u32, payload: &[u8]) -> Result<()> {
        let id = socket_id(stream)?;
        let len = payload.len() as u32;
        self.received += len;
        if self.received > WINDOW / 2 {
            let received = mem::take(&mut self.received);
            self.frame(WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
        }
        let socket = &mut self.sockets[id];
        let before = socket.checker.messages;
        socket.checker.feed(payload, &socket.script)?;
        if id >= self.live {
            return Ok(());
        }
        let done = socket.checker.messages - before;
        socket.received += len;
        if socket.received > WINDOW / 2 {
            let received = mem::take(&mut socket.received);
            self.frame(WINDOW_UPDATE, 0, stream, &received.to_be_bytes());
        }
        self.count.wire_bytes += u64::from(len);
        if done > 0 {
            let now = Instant::now();
            for sent in self.sockets[id].times.drain(..done as usize) {
                self.histogram.add(now.duration_since(sent));
            }
            self.count.messages += done;
            self.grant(id, done, now);
        }
        Ok(())
    }

    /// Lets a socket send more messages, up to the quota.
    fn grant(&mut self, id: usize, count: u64, now: Instant) {
        let socket = &mut self.sockets[id];
        let count = count.min(self.quota - socket.granted.min(self.quota));
        socket.granted += count;
        if id < self.live {
            socket.times.extend(std::iter::repeat_n(now, count as usize));
        }
        self.due.push_back(id);
    }

    /// Encodes the messages of sockets that may send, as far as the windows allow.
    fn encode(&mut self) {
        while self.window > 0
            && self.output.len() < OUTPUT
            && let Some(id) = self.due.pop_front()
        {
            let socket = &mut self.sockets[id];
            let room = socket.window.min(self.window).clamp(0, MAX_FRAME as i64) as usize;
            let bytes = socket.script.next(socket.sent_bytes, socket.granted);
            let part = &bytes[..bytes.len().min(room)];
            if part.is_empty() {
                // A window update makes it due again.
                continue;
            }
            push(&mut self.output, DATA, 0, stream_id(id), part);
            socket.sent_bytes += part.len() as u64;
            socket.window -= part.len() as i64;
            self.window -= part.len() as i64;
            // The rest of the message goes on at once.
            self.due.push_front(id);
        }
    }

    /// Sends. Returns whether the socket took all.
    fn send(&mut self) -> Result<bool> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot send on the connection"),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(self.stream.flush()?)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        push(&mut self.output, kind, flags, stream, payload);
    }
}

fn push(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    output.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    output.extend([kind, flags]);
    output.extend(stream.to_be_bytes());
    output.extend_from_slice(payload);
}

/// Streams of clients have odd numbers.
const fn stream_id(socket: usize) -> u32 {
    socket as u32 * 2 + 1
}

fn socket_id(stream: u32) -> Result<usize> {
    ensure!(stream % 2 == 1, "the server uses stream {stream}");
    Ok(stream as usize / 2)
}

/// `:status: 200`, the entry 8 of the static table (RFC 7541 §6.1).
const STATUS_200: u8 = 0x88;
