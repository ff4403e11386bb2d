//! What happens with hostile heads of HTTP/1.1, and with clients that stay silent?

use std::io::Write as _;
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use load::drive::conn::connect;

use crate::report::{Finding, Report};
use crate::serve::Adapter;
use crate::target::Target;
use crate::wire::{self, frame, head};

/// Requests that two parsers could read differently, and the statuses that are allowed. None may
/// become a WebSocket.
fn smuggling() -> Vec<(&'static str, String)> {
    let get = |more: &str| head("GET / HTTP/1.1\r\nHost: a", more) + "\r\n";
    vec![
        ("content-length", get("Content-Length: 5\r\n") + "hello"),
        ("transfer-encoding", get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        ("both lengths", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        ("two lengths", get("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello"),
        ("negative length", get("Content-Length: -1\r\n")),
        ("encoding that is not last", get("Transfer-Encoding: chunked, gzip\r\n")),
        ("encoding with a tab", get("Transfer-Encoding:\tchunked\r\n") + "0\r\n\r\n"),
        ("space before the colon", get("Content-Length : 5\r\n") + "hello"),
        ("folded line", get("X: a\r\n b\r\n")),
        ("bare CR in a value", get("X: a\rGET /evil HTTP/1.1\r\n")),
        ("NUL in a value", get("X: a\0b\r\n")),
        ("NUL in a name", get("X\0: a\r\n")),
        ("two hosts", get("Host: b\r\n")),
        ("no host", head("GET / HTTP/1.1", "") + "\r\n"),
        ("host with a space", head("GET / HTTP/1.1\r\nHost: a b", "") + "\r\n"),
        ("host with a userinfo", head("GET / HTTP/1.1\r\nHost: u@a", "") + "\r\n"),
        ("two spaces in the first line", head("GET  /  HTTP/1.1\r\nHost: a", "") + "\r\n"),
        ("HTTP/1.0", head("GET / HTTP/1.0\r\nHost: a", "") + "\r\n"),
        ("HTTP/1.2", head("GET / HTTP/1.2\r\nHost: a", "") + "\r\n"),
        ("HTTP/9.9", head("GET / HTTP/9.9\r\nHost: a", "") + "\r\n"),
        ("POST", head("POST / HTTP/1.1\r\nHost: a", "") + "\r\n"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\0\r\n\r\n".to_owned()),
        ("foreign origin", get("Origin: http://evil.example\r\n")),
    ]
}

/// Every form of target (RFC 9112 §3.2) with each method.
fn forms() -> Vec<String> {
    let targets = ["/", "http://a/", "a:80", "*", "http://a", "//a", "/%00", "?x", "a"];
    let methods = ["GET", "CONNECT", "OPTIONS", "POST", "HEAD", "BREW"];
    let pairs = methods.iter().flat_map(|method| targets.iter().map(move |it| (method, it)));
    pairs
        .flat_map(|(method, target)| {
            let line = format!("{method} {target} HTTP/1.1\r\nHost: a");
            [format!("{line}\r\nConnection: close\r\n\r\n"), head(&line, "") + "\r\n"]
        })
        .collect()
}

pub(crate) fn run(report: &mut Report, targets: &mut [Target], short: bool) {
    for target in targets {
        let name = target.name.clone();
        report.row("request smuggling", &name, "never 101", || {
            let rows = smuggling();
            let mut wrong = Vec::new();
            for (what, bytes) in &rows {
                // No answer, but an end, is allowed.
                if wire::status(target.address, bytes.as_bytes()).is_ok_and(|it| it == 101) {
                    wrong.push(*what);
                }
            }
            let measured = match wrong.is_empty() {
                true => format!("{} of {} refused", rows.len(), rows.len()),
                false => format!("accepted: {}", wrong.join(", ")),
            };
            Ok(Finding::new(measured, wrong.is_empty()))
        });
        report.row("every form of target × method", &name, "an answer, no panic", || {
            let rows = forms();
            let before = target.panics()?.0;
            let mut silent = Vec::new();
            for bytes in &rows {
                if wire::status(target.address, bytes.as_bytes()).is_err() {
                    silent.push(bytes.lines().next().unwrap_or_default().to_owned());
                }
            }
            let (panics, first) = target.panics()?;
            let panics = panics - before;
            let measured = format!(
                "{} of {} answered, {panics} panics{}",
                rows.len() - silent.len(),
                rows.len(),
                match (silent.first(), panics) {
                    (Some(line), _) => format!(", none for `{line}`"),
                    (None, 0) => String::new(),
                    (None, _) => format!(": {first}"),
                }
            );
            Ok(Finding::new(measured, silent.is_empty() && panics == 0))
        });
        heads(report, target);
        storms(report, target, if short { 300 } else { 20_000 });
    }
}

/// Heads that are too large.
fn heads(report: &mut Report, target: &mut Target) {
    let name = target.name.clone();
    let large =
        head("GET / HTTP/1.1\r\nHost: a", &format!("X: {}\r\n", "a".repeat(380_000))) + "\r\n";
    let many = head("GET / HTTP/1.1\r\nHost: a", &"X: a\r\n".repeat(150)) + "\r\n";
    let path = format!("GET /?{} HTTP/1.1\r\nHost: a", "a".repeat(60_000));
    let path = head(&path, "") + "\r\n";
    for (what, bytes, statuses) in [
        ("head of 380 KB", large, &[431][..]),
        ("150 headers", many, &[431]),
        ("target of 60 KB", path, &[431, 414]),
    ] {
        report.row(what, &name, "431 (16 KiB and 100 headers)", || {
            let status = wire::status(target.address, bytes.as_bytes())?;
            Ok(Finding::new(status.to_string(), statuses.contains(&status)))
        });
    }
    report.row("200 idle connections with a head of 15 KB", &name, "20 KiB for each", || {
        let more = format!("Cookie: {}\r\n", "a".repeat(15_000));
        let warm = wire::open_with(target.address, &more)?;
        let before = target.memory()?;
        let streams: Result<Vec<_>> =
            (0..200).map(|_| wire::open_with(target.address, &more)).collect();
        let streams = streams?;
        target.stats()?;
        let each = (target.memory()? - before) as f64 / 200.0;
        drop((streams, warm));
        target.wait_open(0, Duration::from_secs(10))?;
        Ok(Finding::new(format!("{each:.1} KiB for each"), each <= 20.0))
    });
}

/// The task that looks at idle connections ends within two of its periods.
const LOOK: Duration = Duration::from_secs(3);

/// Connections that come and go in every state.
fn storms(report: &mut Report, target: &mut Target, count: usize) {
    let name = target.name.clone();
    let attack = format!("storm of {count} connections, ended in every state");
    report.row(
        &attack,
        &name,
        "no file, task or connection is left; memory flat within 2 MiB",
        || {
            storm(target, count / 4)?;
            target.wait_open(0, Duration::from_secs(10))?;
            let (files, tasks) =
                (target.wait_files(0, Duration::from_millis(300))?, target.wait_tasks(0, LOOK)?);
            let before = target.memory()?;
            let began = Instant::now();
            storm(target, count)?;
            let rate = count as f64 / began.elapsed().as_secs_f64();
            target.wait_open(0, Duration::from_secs(10))?;
            let left = target.wait_files(files, Duration::from_secs(5))?.saturating_sub(files);
            let tasks = target.wait_tasks(tasks, LOOK)?.saturating_sub(tasks);
            let more = target.memory()? - before;
            let measured =
                format!("{rate:.0}/s; {left} files, {tasks} tasks left; {more} KiB more");
            Ok(Finding::new(measured, left == 0 && tasks == 0 && more <= 2048))
        },
    );
}

fn storm(target: &Target, count: usize) -> Result<()> {
    let text = frame(0x81, b"hello");
    for number in 0..count {
        match number % 6 {
            0 => drop(connect(target.address)?),
            1 => reset(wire::open(target.address)?),
            2 => wire::open(target.address)?.write_all(&text[..3])?,
            3 => connect(target.address)?.write_all(b"GET / HTTP/1.1\r\nHo")?,
            4 => {
                let mut stream = wire::open(target.address)?;
                stream.write_all(&text)?;
                reset(stream);
            }
            _ => {
                let mut stream = wire::open(target.address)?;
                stream.write_all(&frame(0x88, b"\x03\xe8"))?;
                wire::end(&mut stream)?;
            }
        }
    }
    Ok(())
}

/// Ends a connection with RST.
fn reset(stream: TcpStream) {
    let socket = tokio::net::TcpSocket::from_std_stream(stream);
    // Without it, the connection ends with FIN, which is a state as well.
    let _ = socket.set_zero_linger();
}

/// Clients that stay silent, each until its deadline. They run beside the other attacks.
pub(crate) struct Silent(Vec<Slow>);

struct Slow {
    what: &'static str,
    target: String,
    bound: u64,
    running: JoinHandle<Result<Duration>>,
}

/// What a silent client has sent, and whether it goes on with one byte per second.
const SILENT: [(&str, &[u8], bool); 4] = [
    ("nothing is sent", b"", false),
    ("half a head", b"GET / HTTP/1.1\r\nHost: a\r\n", false),
    ("one byte of the head per second", b"GET / HTTP/1.1\r\nX: ", true),
    ("half of the HTTP/2 preface", b"PRI * HTTP/2.0\r\n", false),
];

/// Starts them: 10 s is documented for a bare stream, 30 s for HTTP.
pub(crate) fn silent(targets: &[Target]) -> Silent {
    let mut all = Vec::new();
    for target in targets {
        let bound = if target.name == Adapter::Bare.name() { 10 } else { 30 };
        for (what, input, trickles) in SILENT {
            if bound == 10 && what.contains("HTTP/2") {
                continue;
            }
            let address = target.address;
            let running = std::thread::spawn(move || -> Result<Duration> {
                let began = Instant::now();
                let mut stream = connect(address)?;
                stream.write_all(input)?;
                if trickles {
                    let mut other = stream.try_clone()?;
                    std::thread::spawn(move || {
                        while other.write_all(b"a").is_ok() {
                            std::thread::sleep(Duration::from_secs(1));
                        }
                    });
                }
                wire::gone(&mut stream, Duration::from_secs(40))?;
                Ok(began.elapsed())
            });
            all.push(Slow { what, target: target.name.clone(), bound, running });
        }
    }
    Silent(all)
}

impl Silent {
    /// Waits for their ends.
    pub(crate) fn report(self, report: &mut Report) {
        for Slow { what, target, bound, running } in self.0 {
            report.row(&format!("slow loris: {what}"), &target, &format!("{bound} s"), || {
                let took = running.join().ok().context("a thread has panicked")??.as_secs_f64();
                // A server that hangs up at once has no deadline.
                let held = (bound as f64 - 0.5..bound as f64 + 3.0).contains(&took);
                Ok(Finding::new(format!("{took:.1} s"), held))
            });
        }
    }
}

/// WebSockets that stay silent or take nothing, with deadlines of 300 ms.
pub(crate) fn deadlines(report: &mut Report, targets: &mut [Target], short: bool) {
    for target in targets {
        let name = target.name.clone();
        for (what, bytes) in [
            ("idle WebSocket without pongs", Vec::new()),
            ("half a message, then silence", frame(0x81, b"hello")[..7].to_vec()),
            ("half a header, then silence", vec![0x81]),
        ] {
            let bound = format!(
                "{DEADLINE} to {} ms (deadlines of {DEADLINE} ms){}",
                3 * DEADLINE,
                allowed(short)
            );
            report.row(what, &name, &bound, || {
                let mut stream = wire::open(target.address)?;
                stream.write_all(&bytes)?;
                ended_within(target, Instant::now(), DEADLINE..=3 * DEADLINE, short)
            });
        }
        let bound = 3 * DEADLINE;
        report.row(
            "takes nothing of its echoes",
            &name,
            &format!("{DEADLINE} to {bound} ms (write timeout){}", allowed(short)),
            || {
                let mut stream = wire::open(target.address)?;
                let began = Instant::now();
                stream.set_write_timeout(Some(Duration::from_millis(200)))?;
                let message = frame(0x82, &vec![0; 64 * 1024]);
                while stream.write_all(&message).is_ok() {}
                ended_within(target, began, DEADLINE..=bound, short)
            },
        );
        report.row(
            "close frame, then nothing",
            &name,
            &format!("{bound} ms (close timeout){}", allowed(short)),
            || {
                let mut stream = wire::open(target.address)?;
                stream.write_all(&frame(0x88, b"\x03\xe8"))?;
                // The server has answered, and closes at once.
                ended_within(target, Instant::now(), 0..=bound, short)
            },
        );
    }
}

/// All deadlines of [`deadlines`], in milliseconds.
pub(crate) const DEADLINE: u64 = 300;

/// What a busy machine may add, in milliseconds. The server looks once per second at a connection whose
/// task waits in a write.
fn slack(short: bool) -> u64 {
    if short { 10_000 } else { 3_000 }
}

fn allowed(short: bool) -> String {
    format!("; {} s more are allowed", slack(short) / 1000)
}

/// Waits until no WebSocket is open: so many milliseconds after `began`. A server that hangs up at once
/// has no deadline.
fn ended_within(
    target: &mut Target,
    began: Instant,
    bound: RangeInclusive<u64>,
    short: bool,
) -> Result<Finding> {
    let most = *bound.end() + slack(short);
    // Longer than the bound, so that the row has a figure if it fails.
    target.wait_open(0, Duration::from_millis(2 * most))?;
    let took = began.elapsed().as_millis();
    let held = (u128::from(*bound.start())..=u128::from(most)).contains(&took);
    Ok(Finding::new(format!("{took} ms"), held))
}
