//! How fast is an echo of bytes with epoll, without a runtime or protocol?
//!
//! With `--variant websocket`, it is the reference server for clients: it unmasks each frame.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result, bail};
use kit::{Mode, Options};
use limits::unmask::Unmasker;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

fn main() -> Result<()> {
    let options = Options::of_process();
    let listener = TcpListener::bind(options.listen).context("cannot listen (--listen)")?;
    listener.set_nonblocking(true)?;
    kit::print_address(&listener.local_addr()?.to_string())?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut server = Server { epoll, listener, conns: Vec::new(), options, frames: Vec::new() };
    let mut buffer = vec![0; 64 * 1024];
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let count = server.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                LISTENER => server.accept()?,
                id => server.serve(id as usize, &mut buffer)?,
            }
        }
    }
}

const LISTENER: u64 = u64::MAX;

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    conns: Vec<Option<Conn>>,
    options: &'static Options,
    /// A buffer for unmasked frames.
    frames: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    opening: Option<Vec<u8>>,
    unmasker: Unmasker,
    /// The bytes that the socket did not take.
    rest: Vec<u8>,
    /// Whether it waits for writability instead of readability.
    waiting: bool,
}

impl Server {
    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept (file descriptors?)"),
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let id = self.conns.len() as u64;
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, id))?;
            let (opening, unmasker, rest) = (Some(Vec::new()), Unmasker::default(), Vec::new());
            self.conns.push(Some(Conn { stream, opening, unmasker, rest, waiting: false }));
        }
    }

    /// Handles the readiness of a connection.
    fn serve(&mut self, id: usize, buffer: &mut [u8]) -> Result<()> {
        let Some(conn) = &mut self.conns[id] else { return Ok(()) };
        if !conn.rest.is_empty() {
            let rest = std::mem::take(&mut conn.rest);
            return self.send(id, &rest);
        }
        let count = match conn.stream.read(buffer) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The connection has ended.
            _ => {
                self.conns[id] = None;
                return Ok(());
            }
        };
        let bytes = &mut buffer[..count];
        if let Some(head) = &mut conn.opening {
            head.extend_from_slice(bytes);
            if let Some((answer, _)) = kit::answer(head)? {
                conn.opening = None;
                conn.stream.write_all(answer.as_bytes())?;
            }
            return Ok(());
        }
        if self.options.is("websocket") {
            let mut frames = std::mem::take(&mut self.frames);
            frames.clear();
            conn.unmasker.unmask(bytes, &mut frames);
            self.send(id, &frames)?;
            self.frames = frames;
            return Ok(());
        }
        match self.options.mode {
            Mode::Echo => self.send(id, bytes),
            Mode::Fanout => (0..self.conns.len())
                .filter(|other| *other != id)
                .try_for_each(|other| self.send(other, bytes)),
            Mode::Burst => bail!("this server has no bursts: omit `--mode`"),
        }
    }

    /// Sends as much as the socket takes. The rest is sent before the next read.
    fn send(&mut self, id: usize, bytes: &[u8]) -> Result<()> {
        let Some(conn) = &mut self.conns[id] else { return Ok(()) };
        let sent = match conn.stream.write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.conns[id] = None;
                return Ok(());
            }
        };
        let was_waiting = conn.waiting;
        conn.rest.extend_from_slice(&bytes[sent..]);
        conn.waiting = !conn.rest.is_empty();
        if conn.waiting != was_waiting {
            let wish = if conn.waiting { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
            self.epoll.modify(&conn.stream, &mut EpollEvent::new(wish, id as u64))?;
        }
        Ok(())
    }
}
