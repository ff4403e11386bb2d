//! How does the load driver measure deliveries of a hub?
//!
//! One of many connections requests a burst. When all connections have received all of it, the next
//! is requested. Bytes are counted, not parsed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use load::drive::conn::{connect, shake_hands};
use load::meter::{Moment, Used};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::serve::Kind;

/// The length of a message, with its header.
pub(crate) const FRAME: usize = 102;

/// The text of a message. It is shorter for Socket.IO, so that the frame has the same length.
pub(crate) fn text(socket_io: bool) -> String {
    "x".repeat(if socket_io { 100 - r#"42["m",""]"#.len() } else { 100 })
}

/// A message on the wire.
pub(crate) fn frame() -> Vec<u8> {
    [&[0x81, 100], text(false).as_bytes()].concat()
}

/// The number at the end of a request.
pub(crate) fn burst_of(asked: &[u8]) -> usize {
    let digits = asked.iter().skip_while(|byte| !byte.is_ascii_digit());
    digits.take_while(|byte| byte.is_ascii_digit()).fold(0, |n, d| n * 10 + usize::from(d - b'0'))
}

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) conns: usize,
    pub(crate) burst: usize,
    /// The number of connections that do not read.
    pub(crate) stalled: usize,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) deliveries: u64,
    pub(crate) used: Used,
    /// The time until a connection had all of a burst, in microseconds.
    pub(crate) latencies: Vec<u32>,
}

impl Sample {
    pub(crate) fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.used.seconds
    }

    /// Processor time of the server per delivery.
    pub(crate) fn nanos(&self) -> f64 {
        self.used.measured_ns as f64 / self.deliveries as f64
    }

    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent)
    }
}

/// The number that `percent` of the numbers are below.
pub(crate) fn percentile<N: Copy + Into<f64>>(numbers: &[N], percent: usize) -> f64 {
    let mut sorted: Vec<f64> = numbers.iter().map(|number| (*number).into()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// The framing that the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Raw,
    WebSocket,
    SocketIo,
}

impl Framing {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            kind if kind.is_raw() => Self::Raw,
            kind if kind.speaks_socket_io() => Self::SocketIo,
            _ => Self::WebSocket,
        }
    }
}

/// A load with its connections.
pub(crate) struct Load {
    conns: Vec<TcpStream>,
    got: Vec<usize>,
    framing: Framing,
    epoll: Epoll,
    shape: Shape,
}

impl Load {
    pub(crate) fn connect(addr: SocketAddr, shape: Shape, framing: Framing) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut conns = Vec::with_capacity(shape.conns);
        for at in 0..shape.conns {
            let reads = at < shape.conns - shape.stalled;
            let conn = if reads { connect(addr) } else { connect_with_small_buffer(addr) };
            let conn = open(conn?, framing).context("cannot connect")?;
            conn.set_nonblocking(true)?;
            if reads {
                epoll.add(&conn, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
            }
            conns.push(conn);
        }
        let got = vec![0; conns.len()];
        let load = Self { conns, got, framing, epoll, shape };
        load.settle()?;
        Ok(load)
    }

    /// Reads what servers send at the start, such as the ping of Socket.IO, and waits until the last
    /// connection has joined the room.
    fn settle(&self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(300));
        let mut buffer = [0; 256];
        for mut conn in &self.conns {
            match conn.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(count) if count > 0 => {}
                ended => anyhow::bail!("a connection has ended: {ended:?}"),
            }
        }
        Ok(())
    }

    /// Requests bursts for `seconds`.
    pub(crate) fn run(&mut self, seconds: f64, pid: i32) -> Result<Sample> {
        self.run_until(seconds, pid, || true)
    }

    /// Requests bursts for `seconds`, and until `is_done`.
    pub(crate) fn run_until(
        &mut self,
        seconds: f64,
        pid: i32,
        is_done: impl Fn() -> bool,
    ) -> Result<Sample> {
        let reading = self.shape.conns - self.shape.stalled;
        let each = self.shape.burst * FRAME;
        let (mut deliveries, mut latencies) = (0, Vec::new());
        let started = Moment::now(Some(pid))?;
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let latest = end + Duration::from_secs(120);
        while Instant::now() < end || !is_done() {
            let asked = Instant::now();
            ensure!(asked < latest, "timed out: {:?}", self.shape);
            self.request_burst()?;
            self.got.fill(0);
            let mut left = reading * each;
            while left > 0 {
                left -= self.receive(each, asked, &mut latencies)?;
            }
            deliveries += (reading * self.shape.burst) as u64;
        }
        Ok(Sample { deliveries, used: Moment::now(Some(pid))?.since(&started), latencies })
    }

    fn receive(&mut self, each: usize, asked: Instant, latencies: &mut Vec<u32>) -> Result<usize> {
        let mut events = [EpollEvent::empty(); 256];
        let count = self.epoll.wait(&mut events, EpollTimeout::from(10_000_u16))?;
        ensure!(count > 0, "no more bytes arrive: {:?}", self.shape);
        let mut buffer = [0; 64 * 1024];
        let mut taken = 0;
        for event in &events[..count] {
            let at = event.data() as usize;
            let read = match self.conns[at].read(&mut buffer) {
                Ok(0) => anyhow::bail!("a connection was closed: {:?}", self.shape),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            taken += read;
            self.got[at] += read;
            ensure!(self.got[at] <= each, "more bytes arrived than were requested");
            if self.got[at] == each && latencies.len() < 10_000_000 {
                latencies.push(asked.elapsed().as_micros() as u32);
            }
        }
        Ok(taken)
    }

    fn request_burst(&mut self) -> Result<()> {
        let burst = self.shape.burst;
        let asked = match self.framing {
            Framing::Raw => format!("go{burst}").into_bytes(),
            Framing::WebSocket => masked(&format!("go{burst}")),
            Framing::SocketIo => masked(&format!(r#"42["go",{burst}]"#)),
        };
        Ok(self.conns[0].write_all(&asked)?)
    }
}

/// A client's text message, with the masking key 0.
fn masked(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// A connection with a small receive buffer in the kernel.
fn connect_with_small_buffer(addr: SocketAddr) -> Result<TcpStream> {
    let conn = kit::runtime(1)?.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(2048)?;
        socket.connect(addr).await?.into_std()
    })?;
    conn.set_nonblocking(false)?;
    Ok(conn)
}

fn open(mut conn: TcpStream, framing: Framing) -> Result<TcpStream> {
    let path = match framing {
        Framing::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        Framing::Raw | Framing::WebSocket => "/",
    };
    shake_hands(&mut conn, path, "")?;
    if framing == Framing::SocketIo {
        read_until(&mut conn, b'}')?;
        conn.write_all(&masked("40"))?;
        read_until(&mut conn, b'}')?;
    }
    Ok(conn)
}

fn read_until(conn: &mut TcpStream, end: u8) -> Result<()> {
    let mut byte = [0];
    while byte[0] != end {
        conn.read_exact(&mut byte)?;
    }
    Ok(())
}
