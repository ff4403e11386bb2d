//! What does a neighbour see while other clients flood the server?

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use load::histogram::{Histogram, Percentiles};
use load::process::Process;

use crate::flood_client::{Flooder, Via, Way};
use crate::flood_kind::Flood;
use crate::report::{Finding, Report};
use crate::serve::{Adapter, Use};
use crate::target::{Target, own};
use crate::wire::frame;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FloodArgs {
    #[command(flatten)]
    way: Way,
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
    let mut clients = Vec::new();
    let script: Arc<[u8]> = match args.way.via {
        Via::Polling => Arc::default(),
        _ => args.kind.script(args.way.usage).into(),
    };
    for _ in 0..args.clients {
        clients.push(match args.way.via {
            Via::Polling => Flooder::open_polling(args.way.connect, args.kind.body().as_deref())?,
            _ => Flooder::open(&args.way, args.kind.is_compressed(), &script)?,
        });
    }
    println!("ready");
    let (began, mut sent) = (Instant::now(), 0);
    let mut part = vec![0; 64 * 1024];
    while began.elapsed().as_secs_f64() < args.seconds {
        let mut idle = true;
        for client in &mut clients {
            let allowed =
                |rate| ((rate * began.elapsed().as_secs_f64()) as usize).saturating_sub(sent);
            let allowed = args.rate.map_or(usize::MAX, allowed);
            let count = client.step(allowed, &mut part)?;
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

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NeighbourArgs {
    #[command(flatten)]
    way: Way,
}

/// Echoes one message of 16 B at a time until the input ends, and prints the percentiles in µs.
pub(crate) fn run_neighbour(args: &NeighbourArgs) -> Result<()> {
    pin()?;
    let mut stream = args.way.open("")?;
    stream.tcp().set_read_timeout(Some(Duration::from_secs(30)))?;
    let message = match args.way.usage {
        Use::Hub | Use::HubService => frame(0x81, br#"{"event":"echo","data":7}"#),
        Use::HubSocketIo => frame(0x81, br#"42["echo",7]"#),
        Use::Echo | Use::EchoSelect | Use::HubPlain => frame(0x82, &[7; 16]),
    };
    println!("ready");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut times = Histogram::new()?;
    // An attack may end before the first round trip.
    loop {
        let began = Instant::now();
        stream.write_all(&message)?;
        stream.next_frame().context("no echo within 30 s")?;
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
    let mut command = own(&["neighbour"])?;
    command.args(target.way.arguments()?);
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
fn flood(way: &Way, kind: Flood, seconds: f64, rate: Option<f64>) -> Result<f64> {
    let kind = clap::ValueEnum::to_possible_value(&kind).context("no name")?;
    let mut command = own(&["flood", "--kind", kind.get_name()])?;
    command.args(way.arguments()?).args(["--seconds", &seconds.to_string()]);
    command.args(rate.map(|rate| format!("--rate={rate}")));
    let (_process, mut answers) = Process::start(&mut command)?;
    answers.line().context("the flood has not begun")?;
    Ok(answers.line().context("the flood has failed")?.parse()?)
}

/// The highest median and p99 of a neighbour, in µs.
const BARS: (f64, f64) = (2_000.0, 30_000.0);

/// The bound of a neighbour beside other attacks than floods. They may end after a few round trips, so
/// the median is not judged.
pub(crate) fn neighbour_bound(short: bool) -> &'static str {
    if short { "(short: latency is not judged)" } else { "neighbour p99 < 30 ms" }
}

/// Whether a neighbour stayed within that bound.
pub(crate) fn is_quick(seen: &Percentiles, short: bool) -> bool {
    short || seen.p99 < BARS.1
}

pub(crate) fn run(report: &mut Report, targets: &mut [Target], short: bool) {
    for target in targets {
        let way = target.way.clone();
        let kinds = [&[Flood::Idle][..], &Flood::ALL, &[Flood::Echo]].concat();
        run_kinds(report, target, &way, &kinds, short);
    }
}

/// The same over HTTP/2, over TLS, on hubs, and with a handler that waits for several things. One
/// adapter is enough: it makes no difference there.
pub(crate) fn run_elsewhere(report: &mut Report, short: bool) -> Result<()> {
    let kinds = match short {
        true => {
            &[Flood::EmptyPongs, Flood::ShortFragments, Flood::ShortMessages, Flood::LargeMessages]
        }
        false => &Flood::ALL[..],
    };
    let kinds = [&[Flood::Idle], kinds].concat();
    let file = std::env::temp_dir().join(format!("ws-flood-{}.der", std::process::id()));
    let tls = format!("--tls={}", file.display());
    for (name, option) in [
        ("axum (HTTP/2)", None),
        ("axum (TLS)", Some(&*tls)),
        ("axum (`select!`)", Some("--use=echo-select")),
        ("hub on axum", Some("--use=hub")),
        ("plain hub on axum", Some("--use=hub-plain")),
        ("Socket.IO hub on axum", Some("--use=hub-socket-io")),
    ] {
        let mut target = Target::start(Adapter::Axum, option.as_slice())?;
        target.name = name.to_owned();
        let way = match option {
            None => target.way.over_http2(),
            Some(_) => target.way.clone(),
        };
        run_kinds(report, &mut target, &way, &kinds, short);
    }
    let mut target = Target::start(Adapter::Axum, &["--use=hub-service"])?;
    target.name = "Socket.IO hub on axum".to_owned();
    let way = Way { via: Via::Polling, ..target.way.clone() };
    run_kinds(report, &mut target, &way, &Flood::POSTS, short);
    // No certificate was written if no row was wanted.
    let _ = std::fs::remove_file(file);
    Ok(())
}

fn run_kinds(report: &mut Report, target: &mut Target, way: &Way, kinds: &[Flood], short: bool) {
    let seconds = if short { 0.2 } else { 4.0 };
    let name = target.name.clone();
    let mut rate = None;
    for &kind in kinds {
        let by = if way.via == Via::Polling { " by POSTs" } else { "" };
        let attack = format!("32 clients flood{by}: {}", kind.name());
        // rustls buffers up to 64 KiB in each direction.
        let tls_buffers = if way.certificate.is_some() { 2 * 32 * 64 / 1024 } else { 0 };
        let memory = match way.via {
            Via::Polling => kind.post_memory(),
            _ => kind.memory() + tls_buffers,
        };
        let bound = match short {
            false => format!("neighbour: median < 2 ms, p99 < 30 ms; memory < {memory} MiB"),
            true => format!("memory < {memory} MiB (short: latency is not judged)"),
        };
        report.row(&attack, &name, &bound, || {
            let (before, _) = target.allocated()?;
            let resident_before = target.reset_peak()?;
            let wanted = match kind {
                Flood::Echo => rate,
                _ if short => Some(kind.short_rate()),
                _ => kind.long_rate(),
            };
            let (taken, found) = beside(target, || flood(way, kind, seconds, wanted))?;
            if kind == Flood::EmptyPongs {
                rate = Some(taken);
            }
            let more = target.allocated()?.1 - before;
            let resident_more = target.peak()? - resident_before;
            if way.via != Via::Polling {
                target.wait_open(0, Duration::from_secs(20))?;
            }
            let Percentiles { p50, p99, .. } = found;
            let measured = format!(
                "median {:.2} ms, p99 {:.1} ms; {:.1} MB/s; {more} KiB more, resident {resident_more}",
                p50 / 1000.0,
                p99 / 1000.0,
                taken / 1e6
            );
            let quick = short || (p50 < BARS.0 && p99 < BARS.1) || kind == Flood::Echo;
            Ok(Finding::new(measured, quick && more.max(resident_more) < memory * 1024))
        });
    }
}
