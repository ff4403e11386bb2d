//! What happens when a hub gets hostile events, and when its members do not read?

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::flood;
use crate::report::{Finding, Report};
use crate::serve::Adapter;
use crate::target::Target;
use crate::wire::{self, frame};

fn event(name: &str, data: &str) -> Vec<u8> {
    frame(0x81, format!("{{\"event\":\"{name}\",\"data\":{data}}}").as_bytes())
}

/// Waits for the echo of a number, past all other messages.
fn echo(stream: &mut TcpStream, number: u64) -> Result<()> {
    stream.write_all(&event("echo", &number.to_string()))?;
    let wanted = format!("{{\"event\":\"echo\",\"data\":\"{number}\"}}");
    let (mut found, mut part) = (Vec::new(), [0; 4096]);
    while !found.windows(wanted.len()).any(|it| it == wanted.as_bytes()) {
        let count = stream.read(&mut part)?;
        ensure!(count > 0, "the connection ended");
        found.extend_from_slice(&part[..count]);
    }
    Ok(())
}

/// Malformed messages. Each counts as one `error` event, and the socket stays open.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: String| frame(0x81, text.as_bytes());
    let mut rows: Vec<_> = [
        "connect",
        "message",
        "ping",
        "pong",
        "close",
        "disconnect",
        "error",
        "room_join",
        "room_leave",
    ]
    .into_iter()
    .map(|name| (name, event(name, "1")))
    .collect();
    rows.extend([
        ("escaped lifecycle name", text("{\"event\":\"\\u0063onnect\"}".to_owned())),
        ("two names", text("{\"event\":\"echo\",\"event\":\"connect\"}".to_owned())),
        ("name of 10 KB", event(&"a".repeat(10_000), "1")),
        ("empty name", event("", "1")),
        ("no name", text("{\"data\":1}".to_owned())),
        ("number as name", text("{\"event\":1}".to_owned())),
        ("not JSON", text("hello".to_owned())),
        ("half of JSON", text("{\"event\":\"echo\",\"data\":[".to_owned())),
        ("an array", text("[\"echo\",1]".to_owned() + "x")),
        ("arrays 100,000 deep", event("say", &("[".repeat(100_000) + &"]".repeat(100_000)))),
        ("objects 100,000 deep", text("{\"event\":".repeat(100_000))),
    ]);
    rows
}

pub(crate) fn run(report: &mut Report, short: bool) -> Result<()> {
    let mut targets = Vec::new();
    for adapter in Adapter::ALL {
        targets.push(Target::start(adapter, &["--use=hub"])?);
    }
    for target in &mut targets {
        let name = format!("hub on {}", target.name);
        let bound = "an `error` event; no lifecycle handler runs; no panic; the socket stays";
        report.row("hostile events", &name, bound, || {
            let before = target.stats()?;
            let mut stream = wire::open(target.address)?;
            let rows = malformed();
            for (_, bytes) in &rows {
                stream.write_all(bytes)?;
            }
            echo(&mut stream, 7)?;
            let after = target.stats()?;
            let errors = after.errors - before.errors;
            let (connects, panics) = (after.connects - before.connects, target.panics()?.0);
            let disconnects = after.disconnects - before.disconnects;
            let measured = format!(
                "{errors} errors of {}, {connects} connect, {disconnects} disconnect, {panics} panics",
                rows.len()
            );
            // Deep data may also be taken as it is.
            let held = errors + 1 >= rows.len() as u64
                && connects == 1
                && disconnects == 0
                && panics == 0;
            Ok(Finding::new(measured, held))
        });
        let count = if short { 5_000 } else { 200_000 };
        report.row(&format!("{count} unknown events"), &name, "nothing is kept: < 2 MiB", || {
            let mut stream = wire::open(target.address)?;
            echo(&mut stream, 1)?;
            let before = target.reset_peak()?;
            for number in 0..count {
                stream.write_all(&event(&format!("unknown-{number}"), "1"))?;
            }
            echo(&mut stream, 2)?;
            let more = target.peak()? - before;
            Ok(Finding::new(format!("{more} KiB more"), more < 2048))
        });
    }
    // One is enough: delivery does not depend on the adapter.
    if let Some(target) = targets.iter().find(|it| it.name == "axum") {
        silent_members(report, target, short);
    }
    Ok(())
}

/// Members of a room that do not read, beside one that does.
fn silent_members(report: &mut Report, target: &Target, short: bool) {
    const SILENT: usize = 8;
    let count = if short { 2_000 } else { 20_000 };
    let attack = format!("{SILENT} members do not read {count} broadcasts of 4 KiB");
    let bound = "closed as slow consumers; 1 MiB each; the reader gets all";
    let bound = format!("{bound}; {}", flood::neighbour_bound(short));
    report.row(&attack, "hub on axum", &bound, || {
        let mut reader = wire::open(target.address)?;
        let mut sender = wire::open(target.address)?;
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            silent.push(wire::open(target.address)?);
        }
        for stream in silent.iter_mut().chain([&mut reader, &mut sender]) {
            stream.write_all(&event("join", "\"room\""))?;
            echo(stream, 1)?;
        }
        let before = target.reset_peak()?;
        let counting = std::thread::spawn(move || -> Result<usize> {
            let (mut bytes, mut part) = (0, vec![0; 64 * 1024]);
            let whole = count * 4096;
            let began = Instant::now();
            while bytes < whole && began.elapsed() < Duration::from_secs(60) {
                let read = reader.read(&mut part)?;
                ensure!(read > 0, "the reader was closed after {bytes} B");
                bytes += read;
            }
            Ok(bytes / 4096)
        });
        let data = format!("\"room:{}\"", "a".repeat(4096));
        let (sent, seen) = flood::beside(target, || {
            for number in 0..count {
                sender.write_all(&event("say", &data))?;
                // The reader keeps up: nothing but the silent members fills a queue.
                if number % 16 == 15 {
                    echo(&mut sender, number as u64)?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(counting.join())
        })?;
        let got = sent.map_err(|_| anyhow::anyhow!("the reader has panicked"))??;
        let more = target.peak()? - before;
        drop(silent);
        let measured = format!(
            "{got} of {count} read; {more} KiB more; neighbour p99 {:.1} ms",
            seen.p99 / 1000.0
        );
        let held = got >= count
            && more < (SILENT as i64 + 1) * 1024 + 4096
            && flood::is_quick(&seen, short);
        Ok(Finding::new(measured, held))
    });
}
