//! What does a neighbour see while other clients flood the server?

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use load::histogram::{Histogram, Percentiles};
use load::process::Process;

use crate::report::{Finding, Report};
use crate::target::{Target, own};
use crate::wire::{self, frame};

/// What each client sends as fast as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flood {
    /// Nothing: the reference.
    Idle,
    EmptyPongs,
    EmptyPings,
    FullPings,
    EmptyFragments,
    ShortFragments,
    EmptyMessages,
    ShortMessages,
    LongMessages,
    LargeMessages,
    /// Messages of 125 B, as many bytes per second as asked for: the reference.
    Echo,
}

impl Flood {
    const ALL: [Self; 9] = [
        Self::EmptyPongs,
        Self::EmptyPings,
        Self::FullPings,
        Self::EmptyFragments,
        Self::ShortFragments,
        Self::EmptyMessages,
        Self::ShortMessages,
        Self::LongMessages,
        Self::LargeMessages,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "no flood",
            Self::EmptyPongs => "empty pongs",
            Self::EmptyPings => "empty pings",
            Self::FullPings => "pings of 125 B",
            Self::EmptyFragments => "empty fragments",
            Self::ShortFragments => "fragments of 1 B",
            Self::EmptyMessages => "empty messages",
            Self::ShortMessages => "messages of 1 B",
            Self::LongMessages => "messages of 64 KiB",
            Self::LargeMessages => "messages of 1 MiB",
            Self::Echo => "echoes of 125 B at the byte rate of empty pongs",
        }
    }

    /// The bound of the server's memory, in MiB: a connection holds one message that it receives,
    /// and one that it sends.
    const fn memory(self) -> i64 {
        match self {
            Self::LargeMessages => 8 + 2 * 32,
            _ => 8,
        }
    }

    /// At least 64 KiB of frames, which can be repeated.
    fn script(self) -> Vec<u8> {
        let many = |frame: Vec<u8>| frame.repeat((64 * 1024 / frame.len()).max(1));
        // A message may have 131,072 fragments.
        let fragments = |payload: &[u8]| {
            let inner = frame(0x00, payload).repeat(8_000);
            [frame(0x02, payload), inner, frame(0x80, payload)].concat()
        };
        match self {
            Self::Idle => Vec::new(),
            Self::EmptyPongs => many(frame(0x8a, b"")),
            Self::EmptyPings => many(frame(0x89, b"")),
            Self::FullPings => many(frame(0x89, &[0; 125])),
            Self::EmptyFragments => fragments(b""),
            Self::ShortFragments => fragments(b"a"),
            Self::EmptyMessages => many(frame(0x82, b"")),
            Self::ShortMessages => many(frame(0x82, b"a")),
            Self::LongMessages => frame(0x82, &vec![0; 64 * 1024]),
            Self::LargeMessages => frame(0x82, &vec![0; 1024 * 1024]),
            Self::Echo => many(frame(0x82, &[0; 125])),
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FloodArgs {
    #[arg(long)]
    connect: SocketAddr,
    #[arg(long, value_enum)]
    kind: Flood,
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// The most bytes per second of all clients.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long)]
    seconds: f64,
}

/// Floods a server from one thread, and prints the bytes per second that it has taken.
pub(crate) fn run_flood(args: &FloodArgs) -> Result<()> {
    pin()?;
    let script = args.kind.script();
    let mut streams = Vec::new();
    for _ in 0..args.clients {
        let stream = wire::open(args.connect)?;
        stream.set_nonblocking(true)?;
        streams.push((stream, 0));
    }
    println!("ready");
    let (began, mut sent) = (Instant::now(), 0);
    let mut part = vec![0; 64 * 1024];
    while began.elapsed().as_secs_f64() < args.seconds {
        let mut idle = true;
        for (stream, at) in &mut streams {
            let allowed =
                |rate| ((rate * began.elapsed().as_secs_f64()) as usize).saturating_sub(sent);
            let allowed = args.rate.map_or(usize::MAX, allowed);
            let count = step(stream, &script, at, allowed, &mut part)?;
            sent += count;
            idle &= count == 0;
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    println!("{:.0}", sent as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Sends what the socket takes, and drops what has arrived.
fn step(
    stream: &mut TcpStream,
    script: &[u8],
    at: &mut usize,
    allowed: usize,
    part: &mut [u8],
) -> Result<usize> {
    match stream.read(part) {
        Ok(0) => anyhow::bail!("the server has ended a flooding client"),
        Ok(_) => {}
        Err(error) => ensure!(error.kind() == ErrorKind::WouldBlock, "a read failed: {error}"),
    }
    let rest = &script[*at..];
    let rest = &rest[..rest.len().min(allowed)];
    if rest.is_empty() {
        return Ok(0);
    }
    match stream.write(rest) {
        Ok(count) => {
            *at = (*at + count) % script.len();
            Ok(count)
        }
        Err(error) => {
            ensure!(error.kind() == ErrorKind::WouldBlock, "a write failed: {error}");
            Ok(0)
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NeighbourArgs {
    #[arg(long)]
    connect: SocketAddr,
    /// The server is a hub.
    #[arg(long)]
    hub: bool,
}

/// Echoes one message of 16 B at a time until the input ends, and prints the percentiles in µs.
pub(crate) fn run_neighbour(args: &NeighbourArgs) -> Result<()> {
    pin()?;
    let mut stream = wire::open(args.connect)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (message, answer) = match args.hub {
        true => (frame(0x81, br#"{"event":"echo","data":7}"#), HUB_ANSWER),
        false => (frame(0x82, &[7; 16]), 18),
    };
    let mut echo = vec![0; answer];
    println!("ready");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut times = Histogram::new()?;
    // An attack may end before the first round trip.
    loop {
        let began = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut echo).context("no echo within 30 s")?;
        times.add(began.elapsed());
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let found = times.percentiles().context("no round trip")?;
    println!("{} {}", found.p50, found.p99);
    Ok(())
}

/// The length of the answer of the hub: a header, and `{"event":"echo","data":"7"}`.
const HUB_ANSWER: usize = 2 + 27;

fn pin() -> Result<()> {
    match std::thread::available_parallelism().map_or(1, Into::into) {
        1 => Ok(()),
        _ => load::process::run_on([1]),
    }
}

/// Measures the round trips of a neighbour, in a process of its own, while `attack` runs.
pub(crate) fn beside<T>(
    target: &Target,
    attack: impl FnOnce() -> Result<T>,
) -> Result<(T, Percentiles)> {
    let address = target.address.to_string();
    let mut command = own(&["neighbour", "--connect", &address])?;
    command.args(target.is_hub.then_some("--hub"));
    let (mut process, mut answers) = Process::start(&mut command)?;
    answers.line()?;
    let outcome = attack()?;
    process.order("stop")?;
    let line = answers.line().context("the neighbour has failed")?;
    let (p50, p99) = line.split_once(' ').context("no percentiles")?;
    let found = Percentiles { p50: p50.parse()?, p99: p99.parse()?, ..Percentiles::default() };
    Ok((outcome, found))
}

/// Floods a server in a process of its own. Returns the bytes per second.
fn flood(server: SocketAddr, kind: Flood, seconds: f64, rate: Option<f64>) -> Result<f64> {
    let kind = clap::ValueEnum::to_possible_value(&kind).context("no name")?;
    let mut command = own(&["flood", "--kind", kind.get_name()])?;
    command.args(["--connect", &server.to_string(), "--seconds", &seconds.to_string()]);
    command.args(rate.map(|rate| format!("--rate={rate}")));
    let (_process, mut answers) = Process::start(&mut command)?;
    answers.line().context("the flood has not begun")?;
    Ok(answers.line().context("the flood has failed")?.parse()?)
}

/// The bytes per second of all clients in the short form, which a debug build can take.
const SHORT_RATE: f64 = 500_000.0;

/// The highest median and p99 of a neighbour, in µs.
const BARS: (f64, f64) = (2_000.0, 30_000.0);

pub(crate) fn run(report: &mut Report, targets: &mut [Target], short: bool) {
    let seconds = if short { 0.2 } else { 4.0 };
    for target in targets {
        let name = target.name.clone();
        let mut rate = None;
        let kinds = [&[Flood::Idle][..], &Flood::ALL, &[Flood::Echo]].concat();
        for kind in kinds {
            let attack = format!("32 clients flood: {}", kind.name());
            let memory = kind.memory();
            let bound = match short {
                false => format!("neighbour: median < 2 ms, p99 < 30 ms; memory < {memory} MiB"),
                true => format!("memory < {memory} MiB (short: latency is not judged)"),
            };
            report.row(&attack, &name, &bound, || {
                let before = target.reset_peak()?;
                let wanted = if kind == Flood::Echo { rate } else { short.then_some(SHORT_RATE) };
                let (taken, found) =
                    beside(target, || flood(target.address, kind, seconds, wanted))?;
                if kind == Flood::EmptyPongs {
                    rate = Some(taken);
                }
                let more = target.peak()? - before;
                target.wait_open(0, Duration::from_secs(20))?;
                let Percentiles { p50, p99, .. } = found;
                let measured = format!(
                    "median {:.2} ms, p99 {:.1} ms; {:.1} MB/s; {more} KiB more",
                    p50 / 1000.0,
                    p99 / 1000.0,
                    taken / 1e6
                );
                let quick = short || (p50 < BARS.0 && p99 < BARS.1) || kind == Flood::Echo;
                Ok(Finding::new(measured, quick && more < memory * 1024))
            });
        }
    }
}
