//! How does a client of the floods reach a server: over which transport, and to which use of it?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum as _;
use load::drive::conn::connect;
use load::frame::Header;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::serve::Use;
use crate::wire::{
    self, DATA, DEFLATE, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    connect2, frame, frame2,
};

/// What is below a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Via {
    Tcp,
    Tls,
    /// Without TLS, on a connection of its own.
    Http2,
    /// POSTs of Engine.IO on one connection of HTTP/1.1, without a GET.
    Polling,
}

/// How a client reaches a server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Way {
    #[arg(long)]
    pub(crate) connect: SocketAddr,
    #[arg(long, value_enum, default_value_t = Via::Tcp)]
    pub(crate) via: Via,
    #[arg(long = "use", value_enum, default_value_t = Use::Echo)]
    pub(crate) usage: Use,
    /// The file with the certificate of the server, for TLS.
    #[arg(long)]
    pub(crate) certificate: Option<String>,
}

impl Way {
    /// The same over HTTP/2.
    pub(crate) fn over_http2(&self) -> Self {
        Self { via: Via::Http2, ..self.clone() }
    }

    /// The arguments for a process of its own.
    pub(crate) fn arguments(&self) -> Result<Vec<String>> {
        let via = self.via.to_possible_value().context("no name")?;
        let usage = self.usage.to_possible_value().context("no name")?;
        let mut arguments = vec![
            format!("--connect={}", self.connect),
            format!("--via={}", via.get_name()),
            format!("--use={}", usage.get_name()),
        ];
        arguments.extend(self.certificate.as_ref().map(|file| format!("--certificate={file}")));
        Ok(arguments)
    }

    /// Opens a WebSocket over HTTP/1.1, with more lines in the request; a client of Socket.IO is in a namespace then.
    pub(crate) fn open(&self, offer: &str) -> Result<FloodStream> {
        let mut stream = match self.via {
            Via::Tcp => FloodStream::Tcp(wire::open_with(self.connect, offer)?),
            Via::Tls => self.open_tls(offer)?,
            Via::Http2 | Via::Polling => bail!("a neighbour has a WebSocket over HTTP/1.1"),
        };
        if self.usage == Use::HubSocketIo {
            stream.write_all(&frame(0x81, b"40"))?;
            while !stream.next_frame()?.starts_with(b"40") {}
        }
        Ok(stream)
    }

    fn open_tls(&self, offer: &str) -> Result<FloodStream> {
        let file = self.certificate.as_ref().context("no certificate")?;
        let began = Instant::now();
        // The server may not have written it yet.
        let certificate = loop {
            match std::fs::read(file) {
                Ok(bytes) if !bytes.is_empty() => break bytes,
                _ => ensure!(began.elapsed() < Duration::from_secs(10), "no {file}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(certificate))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost")?;
        let tcp = tcp(self.connect)?;
        let tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, tcp);
        let mut stream = FloodStream::Tls(Box::new(tls));
        let head = wire::head("GET / HTTP/1.1", &format!("Host: localhost\r\n{offer}\r\n"));
        stream.write_all(head.as_bytes())?;
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101 "), "the handshake is refused");
        Ok(stream)
    }
}

fn tcp(server: SocketAddr) -> Result<TcpStream> {
    let tcp = connect(server)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    tcp.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(tcp)
}

/// The stream of a client.
#[derive(Debug)]
pub(crate) enum FloodStream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl FloodStream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// The payload of the next frame.
    pub(crate) fn next_frame(&mut self) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        let header = loop {
            if let Some((header, _)) = Header::decode(&head) {
                break header;
            }
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            head.extend(byte);
        };
        let mut payload = vec![0; header.len as usize];
        self.read_exact(&mut payload)?;
        Ok(payload)
    }
}

impl Read for FloodStream {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(part),
            Self::Tls(stream) => stream.read(part),
        }
    }
}

impl Write for FloodStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A WebSocket that floods, without blocking.
#[derive(Debug)]
pub(crate) struct Flooder {
    stream: FloodStream,
    http2: Option<Http2Frames>,
    script: Arc<[u8]>,
    /// Where the script goes on.
    at: usize,
}

impl Flooder {
    pub(crate) fn open(way: &Way, is_compressed: bool, script: &Arc<[u8]>) -> Result<Self> {
        let (stream, http2) = match way.via {
            Via::Http2 => {
                let mut stream = FloodStream::Tcp(tcp(way.connect)?);
                let http2 = Http2Frames::open(&mut stream, is_compressed)?;
                (stream, Some(http2))
            }
            _ => (way.open(if is_compressed { DEFLATE } else { "" })?, None),
        };
        stream.tcp().set_nonblocking(true)?;
        Ok(Self { stream, http2, script: Arc::clone(script), at: 0 })
    }

    /// Opens a session of Engine.IO, which then gets POSTs with this body.
    pub(crate) fn open_polling(server: SocketAddr, body: Option<&str>) -> Result<Self> {
        const PATH: &str = "/socket.io/?EIO=4&transport=polling";
        let mut stream = FloodStream::Tcp(tcp(server)?);
        let get = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(get.as_bytes())?;
        // The answer ends with an object.
        let (mut answer, mut byte) = (String::new(), [0]);
        while !answer.ends_with('}') {
            stream.read_exact(&mut byte)?;
            answer.push(char::from(byte[0]));
        }
        let (_, session) = answer.split_once("\r\n\r\n0").context("no session")?;
        let session: serde_json::Value = serde_json::from_str(session)?;
        let id = session["sid"].as_str().context("no id")?;
        let post = |body: &str| {
            let length = body.len();
            format!(
                "POST {PATH}&sid={id} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
        };
        let script = body.map_or_else(String::new, post);
        // Into the namespace.
        stream.write_all(post("40").as_bytes())?;
        stream.tcp().set_nonblocking(true)?;
        Ok(Self { stream, http2: None, script: script.into_bytes().into(), at: 0 })
    }

    /// Sends what the transport takes, at most so many bytes of the script, and drops what has
    /// arrived. Returns how many bytes were sent.
    pub(crate) fn step(&mut self, most: usize, part: &mut [u8]) -> Result<usize> {
        match self.stream.read(part) {
            Ok(0) => bail!("the server has ended a flooding client"),
            Ok(count) => self.http2.as_mut().map_or(Ok(()), |it| it.receive(&part[..count]))?,
            Err(error) => ensure!(error.kind() == ErrorKind::WouldBlock, "a read failed: {error}"),
        }
        let script = Arc::clone(&self.script);
        let rest = &script[self.at..];
        // Under a limit, not every few bytes are a frame of HTTP/2.
        let most = if self.http2.is_some() && most < 1024 { 0 } else { most };
        let rest = &rest[..rest.len().min(most)];
        let sent = match &mut self.http2 {
            Some(http2) => {
                let sent = http2.queue(rest);
                let written = write(&mut self.stream, &http2.output)?;
                http2.output.drain(..written);
                sent
            }
            None => write(&mut self.stream, rest)?,
        };
        if sent > 0 {
            self.at = (self.at + sent) % script.len();
        }
        Ok(sent)
    }
}

/// Writes what the transport takes.
fn write(stream: &mut FloodStream, bytes: &[u8]) -> Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.write(bytes) {
        Ok(count) => Ok(count),
        Err(error) => {
            ensure!(error.kind() == ErrorKind::WouldBlock, "a write failed: {error}");
            Ok(0)
        }
    }
}

/// A WebSocket on stream 1 of a connection of HTTP/2.
#[derive(Debug)]
struct Http2Frames {
    /// What the server takes more, of the connection and of the stream.
    windows: [i64; 2],
    initial_window: i64,
    is_open: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Http2Frames {
    /// Opens a WebSocket, by an extended CONNECT.
    fn open(stream: &mut FloodStream, is_compressed: bool) -> Result<Self> {
        /// END_HEADERS.
        const END: u8 = 4;
        let offer: &[(&str, &str)] = match is_compressed {
            true => &[("sec-websocket-extensions", "permessage-deflate")],
            false => &[],
        };
        stream.write_all(PREFACE)?;
        stream.write_all(&frame2(HEADERS, END, 1, &connect2(offer)))?;
        let mut frames = Self {
            windows: [65_535; 2],
            initial_window: 65_535,
            is_open: false,
            input: Vec::new(),
            output: Vec::new(),
        };
        let mut part = vec![0; 16 * 1024];
        while !frames.is_open {
            let count = stream.read(&mut part)?;
            ensure!(count > 0, "the server ends the connection during the handshake");
            frames.receive(&part[..count])?;
        }
        Ok(frames)
    }

    /// Handles frames. What arrives for the WebSocket is dropped, and the server may send as much
    /// again.
    fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        const ACK: u8 = 1;
        const INITIAL_WINDOW_SIZE: u16 = 4;
        self.input.extend_from_slice(bytes);
        while let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = self.input.first_chunk::<9>() {
            let whole = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.input.len() < whole {
                break;
            }
            let payload: Vec<u8> = self.input.drain(..whole).skip(9).collect();
            let id = u32::from_be_bytes([s0, s1, s2, s3]);
            let number = payload.first_chunk().map_or(0, |it| u32::from_be_bytes(*it));
            match kind {
                DATA if !payload.is_empty() => {
                    let more = (payload.len() as u32).to_be_bytes();
                    self.output.extend(frame2(WINDOW_UPDATE, 0, 0, &more));
                    self.output.extend(frame2(WINDOW_UPDATE, 0, 1, &more));
                }
                HEADERS => self.is_open = true,
                SETTINGS if flags & ACK == 0 => {
                    for setting in payload.chunks_exact(6) {
                        if setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                            let size =
                                setting[2..].first_chunk().map_or(0, |it| u32::from_be_bytes(*it));
                            self.windows[1] += i64::from(size) - self.initial_window;
                            self.initial_window = i64::from(size);
                        }
                    }
                    self.output.extend(frame2(SETTINGS, ACK, 0, b""));
                }
                PING if flags & ACK == 0 => self.output.extend(frame2(PING, ACK, 0, &payload)),
                WINDOW_UPDATE => self.windows[usize::from(id == 1)] += i64::from(number),
                RST_STREAM | GOAWAY => bail!("the server has ended a flooding client"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Queues bytes of the WebSocket, if there is nothing else to send. Returns how many.
    fn queue(&mut self, bytes: &[u8]) -> usize {
        let [conn, stream] = self.windows;
        let room = usize::try_from(conn.min(stream)).unwrap_or(0).min(16 * 1024);
        let bytes = &bytes[..bytes.len().min(room)];
        if bytes.is_empty() || !self.output.is_empty() {
            return 0;
        }
        self.output = frame2(DATA, 0, 1, bytes);
        self.windows.iter_mut().for_each(|window| *window -= bytes.len() as i64);
        bytes.len()
    }
}
