//! Which servers of HTTP/2 are hostile?

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::Result;

use super::script::{Hostile, Reach, SCRIPT, raw, repeat, wait};
use crate::wire::{
    CONTINUATION, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame2, headers2,
};

/// Settings (RFC 9113 §6.5.2, RFC 8441 §3).
const INITIAL_WINDOW_SIZE: u16 = 4;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// The answer has no more headers.
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let pair =
        |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame2(SETTINGS, 0, 0, &values.iter().flat_map(pair).collect::<Vec<_>>())
}

/// A server, from its settings to the request of the client.
struct Server {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Server {
    /// Reads the preface, and sends settings with extended CONNECT.
    fn start(mut stream: TcpStream, more: &[(u16, u32)]) -> Result<Self> {
        stream.set_read_timeout(Some(SCRIPT))?;
        stream.read_exact(&mut [0; 24])?;
        let all = [&[(ENABLE_CONNECT_PROTOCOL, 1)], more].concat();
        stream.write_all(&settings(&all))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Answers settings and pings up to the first request, and returns its stream.
    fn request(&mut self) -> Result<u32> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let [a, b, c, kind, flags, id @ ..] = head;
            self.input.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
            self.stream.read_exact(&mut self.input)?;
            match kind {
                HEADERS => return Ok(u32::from_be_bytes(id)),
                SETTINGS if flags & ACK == 0 => {
                    self.stream.write_all(&frame2(SETTINGS, ACK, 0, b""))?;
                }
                PING if flags & ACK == 0 => {
                    self.stream.write_all(&frame2(PING, ACK, 0, &self.input))?;
                }
                _ => {}
            }
        }
    }
}

/// A server that does this when the request has arrived.
fn asked(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(TcpStream, u32) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    raw(Reach::Http2, what, outcome, move |stream| {
        let mut server = Server::start(stream, &[])?;
        let id = server.request()?;
        script(server.stream, id)
    })
}

/// A server that sends its settings, and then the same bytes without end, and reads nothing.
fn flood(what: &'static str, outcome: &'static [&'static str], bytes: Vec<u8>) -> Hostile {
    raw(Reach::Http2, what, outcome, move |stream| {
        let mut server = Server::start(stream, &[])?;
        repeat(&mut server.stream, &bytes)
    })
}

/// The answer that accepts a stream.
fn accept(id: u32) -> Vec<u8> {
    frame2(HEADERS, END_HEADERS, id, &headers2(&[(":status", "200")]))
}

pub(super) fn servers() -> Vec<Hostile> {
    let http = &["HTTP exchange failed"][..];
    let code = |code: u32| code.to_be_bytes();
    vec![
        raw(Reach::Http2, "HTTP/1.1", http, |mut stream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
            wait(&mut stream)
        }),
        raw(Reach::Http2, "no settings", &["longer than"], |mut stream| wait(&mut stream)),
        raw(Reach::Http2, "GOAWAY at once", http, |stream| {
            let mut server = Server::start(stream, &[])?;
            server.stream.write_all(&frame2(GOAWAY, 0, 0, &[0; 8]))?;
            wait(&mut server.stream)
        }),
        raw(
            Reach::Http2,
            "extended CONNECT taken back",
            &["longer than", "over HTTP/2"],
            |stream| {
                let mut server = Server::start(stream, &[])?;
                server.stream.write_all(&settings(&[(ENABLE_CONNECT_PROTOCOL, 0)]))?;
                wait(&mut server.stream)
            },
        ),
        raw(Reach::Http2, "extended CONNECT of 7", http, |mut stream| {
            stream.write_all(&settings(&[(ENABLE_CONNECT_PROTOCOL, 7)]))?;
            wait(&mut stream)
        }),
        raw(Reach::Http2, "frame of 16 MiB", http, |stream| {
            let mut server = Server::start(stream, &[])?;
            server.stream.write_all(&[0xff, 0xff, 0xff, PING, 0, 0, 0, 0, 0])?;
            wait(&mut server.stream)
        }),
        raw(Reach::Http2, "window beyond 2^31", http, |stream| {
            let mut server = Server::start(stream, &[])?;
            server.stream.write_all(&frame2(
                WINDOW_UPDATE,
                0,
                0,
                &0x7fff_ffff_u32.to_be_bytes(),
            ))?;
            wait(&mut server.stream)
        }),
        flood("endless SETTINGS", &["longer than", "HTTP exchange"], settings(&[]).repeat(500)),
        flood(
            "endless PING",
            &["longer than", "HTTP exchange"],
            frame2(PING, 0, 0, &[0; 8]).repeat(500),
        ),
        asked("no answer", &["longer than"], |mut stream, _| wait(&mut stream)),
        asked("endless CONTINUATION", http, |mut stream, id| {
            stream.write_all(&frame2(HEADERS, 0, id, &headers2(&[(":status", "200")])))?;
            let field = headers2(&[("x", &"a".repeat(100))]);
            repeat(&mut stream, &frame2(CONTINUATION, 0, id, &field.repeat(100)))
        }),
        asked("push of a stream", http, |mut stream, id| {
            stream.write_all(&frame2(5, END_HEADERS, id, &2_u32.to_be_bytes()))?;
            wait(&mut stream)
        }),
        asked("answer to a stream that is not open", http, |mut stream, id| {
            stream.write_all(&accept(id + 20))?;
            wait(&mut stream)
        }),
        asked("status 101", &["longer than"], |mut stream, id| {
            let head = headers2(&[(":status", "101")]);
            stream.write_all(&frame2(HEADERS, END_HEADERS, id, &head))?;
            wait(&mut stream)
        }),
        asked("endless interim answers", &["interim"], |mut stream, id| {
            let head = headers2(&[(":status", "103")]);
            repeat(&mut stream, &frame2(HEADERS, END_HEADERS, id, &head).repeat(500))
        }),
        asked("endless RST_STREAM", &["1006"], move |mut stream, id| {
            stream.write_all(&accept(id))?;
            repeat(&mut stream, &frame2(RST_STREAM, 0, id, &code(8)).repeat(500))
        }),
        asked("refused without end", http, move |mut stream, id| {
            stream.write_all(&frame2(RST_STREAM, 0, id, &code(7)))?;
            wait(&mut stream)
        }),
        asked("GOAWAY with an error after the answer", &["1006"], move |mut stream, id| {
            stream.write_all(&accept(id))?;
            stream.write_all(&frame2(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]))?;
            Ok(())
        }),
        raw(
            Reach::Http2Writes,
            "flow-control window that stays 0",
            &["`Config::write_timeout`"],
            |stream| {
                let mut server = Server::start(stream, &[(INITIAL_WINDOW_SIZE, 0)])?;
                let id = server.request()?;
                server.stream.write_all(&accept(id))?;
                wait(&mut server.stream)
            },
        ),
    ]
}
