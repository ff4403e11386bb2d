//! What happens with a hostile client of HTTP/2?

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use load::drive::conn::connect;

use crate::flood;
use crate::report::{Finding, Report};
use crate::target::Target;
use crate::wire::{
    self, Answer2, CONTINUATION, DATA, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    answer2, connect2, frame2, headers2,
};

/// END_HEADERS.
const END: u8 = 4;
/// END_HEADERS and END_STREAM.
const LAST: u8 = 5;

/// An attack: the frames after the preface, repeated, and whether the answer is as documented.
struct Attack {
    what: &'static str,
    bound: &'static str,
    frames: Vec<u8>,
    is_held: fn(&Answer2) -> bool,
}

fn attacks(short: bool) -> Vec<Attack> {
    let many = if short { 2_000 } else { 50_000 };
    let get =
        headers2(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    let streams = |count: u32| (0..count).map(|number| 2 * number + 1);
    // The memory is the bound.
    let any: fn(&Answer2) -> bool = |_| true;
    // The end of the transport may overtake the frame.
    let calmed: fn(&Answer2) -> bool = |it| it.ended || it.goaway == Some(11);
    let ends: fn(&Answer2) -> bool = |it| it.ended || it.goaway.is_some();
    vec![
        Attack {
            what: "rapid reset",
            bound: "GOAWAY(ENHANCE_YOUR_CALM), and the end",
            frames: streams(many)
                .flat_map(|id| {
                    let reset = frame2(RST_STREAM, 0, id, &8_u32.to_be_bytes());
                    [frame2(HEADERS, LAST, id, &get), reset].concat()
                })
                .collect(),
            is_held: calmed,
        },
        Attack {
            what: "rapid reset of extended CONNECT",
            bound: "GOAWAY(ENHANCE_YOUR_CALM), and the end",
            frames: streams(many)
                .flat_map(|id| {
                    let reset = frame2(RST_STREAM, 0, id, &8_u32.to_be_bytes());
                    [frame2(HEADERS, END, id, &connect2(&[])), reset].concat()
                })
                .collect(),
            is_held: calmed,
        },
        Attack {
            what: "CONTINUATION flood",
            bound: "the connection ends",
            frames: {
                let mut frames = frame2(HEADERS, 0, 1, &get);
                let more = headers2(&[("x-long", &"a".repeat(120))]).repeat(100);
                frames.extend(frame2(CONTINUATION, 0, 1, &more).repeat(many as usize / 20));
                frames
            },
            is_held: ends,
        },
        Attack {
            what: "empty CONTINUATION flood",
            bound: "the connection ends",
            frames: {
                let mut frames = frame2(HEADERS, 0, 1, &get);
                frames.extend(frame2(CONTINUATION, 0, 1, b"").repeat(many as usize * 4));
                frames
            },
            is_held: ends,
        },
        Attack {
            what: "SETTINGS flood without reading",
            bound: "bounded memory",
            frames: frame2(SETTINGS, 0, 0, b"").repeat(many as usize * 4),
            is_held: any,
        },
        Attack {
            what: "PING flood without reading",
            bound: "bounded memory",
            frames: frame2(PING, 0, 0, &[0; 8]).repeat(many as usize * 4),
            is_held: any,
        },
        Attack {
            what: "window beyond 2^31-1",
            bound: "GOAWAY(FLOW_CONTROL_ERROR)",
            frames: frame2(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            is_held: |it| it.goaway == Some(3) || it.ended,
        },
        Attack {
            what: "window of zero more",
            bound: "GOAWAY(PROTOCOL_ERROR)",
            frames: frame2(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
            is_held: |it| it.goaway == Some(1) || it.ended,
        },
        Attack {
            what: "DATA on a stream that is not open",
            bound: "GOAWAY",
            frames: frame2(DATA, 0, 7, b"hello"),
            is_held: ends,
        },
        Attack {
            what: "headers of 64 KB",
            bound: "431, reset or GOAWAY",
            frames: {
                let mut block = connect2(&[]);
                let line = "a".repeat(120);
                (0..500).for_each(|_| block.extend(headers2(&[("x", &line)])));
                let mut parts = block.chunks(16_000);
                let mut frames = frame2(HEADERS, 0, 1, parts.next().unwrap_or_default());
                parts.for_each(|part| frames.extend(frame2(CONTINUATION, 0, 1, part)));
                frames.extend(frame2(CONTINUATION, END, 1, b""));
                frames
            },
            is_held: |it| {
                it.ended || it.goaway.is_some() || !(it.answered.is_empty() && it.reset.is_empty())
            },
        },
        Attack {
            what: "400 WebSockets on one connection",
            bound: "256 are answered, the others are refused",
            frames: streams(400).flat_map(|id| frame2(HEADERS, END, id, &connect2(&[]))).collect(),
            is_held: |it| {
                it.answered.len() <= 256 && (it.reset.len() >= 144 || it.goaway.is_some())
            },
        },
        Attack {
            what: "extended CONNECT with content-length: 5",
            bound: "the HTTP/2 connection ends (a limit of hyper), or the other streams are answered",
            frames: [
                frame2(HEADERS, END, 1, &connect2(&[])),
                frame2(HEADERS, END, 3, &connect2(&[("content-length", "5")])),
                frame2(HEADERS, END, 5, &connect2(&[])),
            ]
            .concat(),
            // hyper 1.12 ends the connection before our service sees the request.
            is_held: |it| {
                it.ended || it.goaway.is_some() || [1, 5].iter().all(|id| it.answered.contains(id))
            },
        },
        Attack {
            what: "CONNECT without a protocol, path or scheme",
            bound: "an answer, or a reset of this stream only",
            frames: [
                frame2(
                    HEADERS,
                    END,
                    1,
                    &headers2(&[(":method", "CONNECT"), (":authority", "a:80")]),
                ),
                frame2(
                    HEADERS,
                    END,
                    3,
                    &headers2(&[
                        (":method", "CONNECT"),
                        (":protocol", "websocket"),
                        (":authority", "a"),
                    ]),
                ),
                frame2(
                    HEADERS,
                    LAST,
                    5,
                    &headers2(&[
                        (":method", "OPTIONS"),
                        (":scheme", "http"),
                        (":authority", "a"),
                        (":path", "*"),
                    ]),
                ),
                frame2(HEADERS, END, 7, &connect2(&[])),
            ]
            .concat(),
            is_held: |it| it.answered.contains(&7),
        },
    ]
}

pub(crate) fn run(report: &mut Report, targets: &mut [Target], short: bool) {
    for target in targets {
        let name = format!("{} (HTTP/2)", target.name);
        for attack in attacks(short) {
            let quick = flood::neighbour_bound(short);
            let bound = format!("{}; < 8 MiB more memory; no panic; {quick}", attack.bound);
            report.row(attack.what, &name, &bound, || {
                let (before, panics) = (target.reset_peak()?, target.panics()?.0);
                let (found, seen) = flood::beside(target, || {
                    let mut stream = connect(target.address)?;
                    send(&mut stream, &attack.frames)?;
                    answer2(&mut stream, Duration::from_millis(300))
                })?;
                let more = target.peak()? - before;
                let panics = target.panics()?.0 - panics;
                target.wait_open(0, Duration::from_secs(10))?;
                let measured = format!(
                    "{} answered, {} reset, goaway {:?}{}; {more} KiB more; neighbour p99 {:.1} ms{}",
                    found.answered.len(),
                    found.reset.len(),
                    found.goaway,
                    if found.ended { ", ended" } else { "" },
                    seen.p99 / 1000.0,
                    if panics > 0 { format!("; {panics} panics") } else { String::new() },
                );
                let held = (attack.is_held)(&found)
                    && more < 8192
                    && panics == 0
                    && flood::is_quick(&seen, short);
                Ok(Finding::new(measured, held))
            });
        }
        let quick = flood::neighbour_bound(short);
        let bound =
            format!("GOAWAY(ENHANCE_YOUR_CALM), and the end; < 24 MiB more memory; {quick}");
        report.row("DATA frames of 1 B that are not read", &name, &bound, || {
            let before = target.reset_peak()?;
            let (found, seen) = flood::beside(target, || unread(target.address))?;
            let more = target.peak()? - before;
            target.wait_open(0, Duration::from_secs(10))?;
            let measured = format!(
                "goaway {:?}{}; {more} KiB more; neighbour p99 {:.1} ms",
                found.goaway,
                if found.ended { ", ended" } else { "" },
                seen.p99 / 1000.0,
            );
            let calmed = found.goaway == Some(11) || found.ended;
            let held = calmed && more < 24 * 1024 && flood::is_quick(&seen, short);
            Ok(Finding::new(measured, held))
        });
        report.row(
            "WebSocket abuses on a stream",
            &name,
            "close frame 1002, then the end of the stream",
            || {
                let mut stream = connect(target.address)?;
                let data = frame2(DATA, 0, 1, &wire::frame(0xf1, b"a"));
                send(&mut stream, &[frame2(HEADERS, END, 1, &connect2(&[])), data].concat())?;
                let mut found = Vec::new();
                stream.set_read_timeout(Some(Duration::from_millis(500)))?;
                let _ = std::io::Read::read_to_end(&mut stream, &mut found);
                let closed = found.windows(4).any(|it| it[0] == 0x88 && it[2..] == [0x03, 0xea]);
                Ok(Finding::new(if closed { "1002" } else { "no close frame" }, closed))
            },
        );
    }
}

/// Fills the window of a WebSocket that is not read with messages in frames of one byte, as often as the
/// server opens it.
fn unread(server: SocketAddr) -> Result<Answer2> {
    let mut stream = connect(server)?;
    let hold = frame2(DATA, 0, 1, &wire::frame(0x81, b"hold"));
    send(&mut stream, &[frame2(HEADERS, END, 1, &connect2(&[])), hold].concat())?;
    let message = wire::frame(0x82, b"a");
    let mut bytes = message.iter().cycle();
    let (mut window, mut found) = (60_000, Answer2::default());
    while window > 0 && !found.ended && found.goaway.is_none() {
        let frames: Vec<u8> =
            bytes.by_ref().take(window).flat_map(|byte| frame2(DATA, 0, 1, &[*byte])).collect();
        // The server may have ended.
        let _ = stream.write_all(&frames);
        found = answer2(&mut stream, Duration::from_millis(300))?;
        window = found.window as usize;
    }
    Ok(found)
}

/// Sends the preface and frames, until the server ends or takes no more.
fn send(stream: &mut TcpStream, frames: &[u8]) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(PREFACE)?;
    let _ = stream.write_all(frames);
    Ok(())
}
