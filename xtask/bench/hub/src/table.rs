//! What is compared, and how is it shown?

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum as _;

use crate::bars::Bars;
use crate::drive::{Load, Sample, Shape, Speech};
use crate::inside::What;
use crate::serve::{CUT, Kind};

/// Rooms, and messages that are sent at once.
const SHAPES: [(usize, usize); 6] =
    [(100, 1), (100, 16), (1000, 1), (1000, 16), (10_000, 1), (10_000, 16)];

/// A server in a process of its own, which ends with this.
struct Server {
    child: Child,
    addr: std::net::SocketAddr,
    /// How many members it has cut.
    cut: Arc<AtomicUsize>,
}

impl Server {
    fn start(kind: Kind, narrow: bool) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &kind.name()])
            .args(narrow.then_some("--narrow"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line)?;
        let addr = line.trim().parse().context("the server did not start")?;
        let cut = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cut);
        // It ends with the server.
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.filter(|line| line == CUT).for_each(|_| _ = counter.fetch_add(1, Relaxed));
        });
        Ok(Self { child, addr, cut })
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(kind: Kind, shape: Shape, seconds: f64) -> Result<Sample> {
    let server = Server::start(kind, false)?;
    let speech = match kind {
        kind if kind.is_raw() => Speech::Raw,
        kind if kind.speaks_socket_io() => Speech::SocketIo,
        _ => Speech::WebSocket,
    };
    let pid = server.pid();
    let mut load = Load::connect(server.addr, shape, speech)?;
    load.run(seconds * 0.3, pid)?;
    load.run(seconds, pid)
}

/// What is measured over the network, and for how long.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) room: Option<usize>,
    pub(crate) burst: Option<usize>,
    pub(crate) only: Vec<Kind>,
}

impl Plan {
    /// Deliveries, and what slow ones do to others.
    pub(crate) fn measure(&self, bars: &mut Bars) -> Result<()> {
        load::meter::allow_files(12_000)?;
        self.deliveries(bars)?;
        let whole = self.room.is_none() && self.burst.is_none() && self.only.is_empty();
        if whole { stalled(self.rounds, self.seconds, bars) } else { Ok(()) }
    }

    fn is_meant(&self, conns: usize, burst: usize) -> bool {
        self.room.is_none_or(|room| room == conns) && self.burst.is_none_or(|it| it == burst)
    }

    fn kinds(&self) -> Vec<Kind> {
        let all = Kind::value_variants().iter().copied();
        all.filter(|kind| self.only.is_empty() || self.only.contains(kind)).collect()
    }

    /// At least 70 % of the ceiling, and ahead of the hubs of others.
    fn judge(&self, shape: &str, rates: &mut [Vec<f64>], ratios: &mut [Vec<f64>], bars: &mut Bars) {
        let kinds = self.kinds();
        let Some(ours) = kinds.iter().position(|kind| *kind == Kind::Ours) else { return };
        let rate = median(&mut rates[ours]);
        if kinds.iter().any(|kind| kind.is_raw()) {
            bars.at_least(&format!("{shape}, of the ceiling"), median(&mut ratios[ours]), 0.7);
        }
        for (at, kind) in kinds.iter().enumerate() {
            if *kind != Kind::Ours && !kind.is_raw() {
                let what = format!("{shape}, thousands a second beside {}", kind.name());
                bars.at_least(&what, rate, median(&mut rates[at]));
            }
        }
    }

    fn deliveries(&self, bars: &mut Bars) -> Result<()> {
        println!(
            "\ndeliveries of 100 B a second, in thousands; beside the faster of both raw in the same round"
        );
        println!("in brackets the processor time of the server for each delivery, in ns");
        for (conns, burst) in SHAPES.into_iter().filter(|it| self.is_meant(it.0, it.1)) {
            let shape = Shape { conns, burst, stalled: 0 };
            let kinds = self.kinds();
            let mut rates = vec![Vec::new(); kinds.len()];
            let (mut nanos, mut ratios, mut costs) = (rates.clone(), rates.clone(), rates.clone());
            for round in 0..self.rounds {
                let mut samples = vec![None; kinds.len()];
                // A machine that gets slower gets slower for all.
                for turn in 0..kinds.len() {
                    let at = (turn + round) % kinds.len();
                    samples[at] = Some(measure(kinds[at], shape, self.seconds)?);
                }
                let of = |value: fn(&Sample) -> f64| -> Vec<f64> {
                    samples.iter().map(|sample| sample.as_ref().map_or(0.0, value)).collect()
                };
                let (rate, nano) = (of(Sample::per_second), of(Sample::nanos));
                let raw = || kinds.iter().enumerate().filter(|(_, kind)| kind.is_raw());
                let ceiling = raw().map(|(at, _)| rate[at]).fold(0.0, f64::max);
                let floor = raw().map(|(at, _)| nano[at]).fold(f64::MAX, f64::min);
                for at in 0..kinds.len() {
                    rates[at].push(rate[at] / 1000.0);
                    nanos[at].push(nano[at]);
                    ratios[at].push(rate[at] / ceiling);
                    costs[at].push(nano[at] / floor);
                }
            }
            println!("\nroom of {conns}, {burst} at once");
            self.judge(&format!("room of {conns}, {burst} at once"), &mut rates, &mut ratios, bars);
            for (at, kind) in kinds.iter().enumerate() {
                println!(
                    "  {:<15} {:>8.1}  {:>4.0} %  [{:>7.0} ns, {:>5.2} x]",
                    kind.name(),
                    median(&mut rates[at]),
                    median(&mut ratios[at]) * 100.0,
                    median(&mut nanos[at]),
                    median(&mut costs[at]),
                );
            }
        }
        Ok(())
    }
}

/// How many of a room of 1,000 do not read.
const STALLED: usize = 10;

/// A room of 1,000, of whom some do not read, until these are cut.
struct Stall {
    sample: Sample,
    /// Memory of the server, at most and before anything was sent, in bytes.
    memory: u64,
}

impl Stall {
    fn measure(stalled: usize, seconds: f64) -> Result<Self> {
        let server = Server::start(Kind::Ours, true)?;
        let shape = Shape { conns: 1000, burst: 16, stalled };
        let mut load = Load::connect(server.addr, shape, Speech::WebSocket)?;
        let resident = || load::meter::resident_bytes(server.pid());
        let before = resident()?;
        let most = AtomicU64::new(before);
        let sample = load.run_until(seconds, server.pid(), || {
            most.fetch_max(resident().unwrap_or(0), Relaxed);
            server.cut.load(Relaxed) >= stalled
        })?;
        let cut = server.cut.load(Relaxed);
        ensure!(cut == stalled, "{cut} were cut, and {stalled} did not read");
        Ok(Self { sample, memory: most.load(Relaxed) - before })
    }
}

fn more_kib(with: &Stall, without: &Stall) -> f64 {
    (with.memory as f64 - without.memory as f64) / 1024.0
}

/// What do the others notice of some that do not read, until they are cut?
fn stalled(rounds: usize, seconds: f64, bars: &mut Bars) -> Result<()> {
    println!("\nours, room of 1000, 16 at once: time until a member has all, in µs");
    let (mut moved, mut more) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let of = |stalled| Stall::measure(stalled, seconds);
        let (without, with) = if round % 2 == 0 {
            let without = of(0)?;
            (without, of(STALLED)?)
        } else {
            let with = of(STALLED)?;
            (of(0)?, with)
        };
        println!(
            "  all read: p50 {:.0}, p99 {:.0};  {STALLED} do not, until they are cut: \
             p50 {:.0}, p99 {:.0}, and {:+.0} KiB",
            without.sample.percentile(50),
            without.sample.percentile(99),
            with.sample.percentile(50),
            with.sample.percentile(99),
            more_kib(&with, &without),
        );
        moved.push(with.sample.percentile(99) / without.sample.percentile(99) - 1.0);
        more.push(more_kib(&with, &without));
    }
    let (moved, more) = (median(&mut moved) * 100.0, median(&mut more));
    println!("  p99 of those who read moves by {moved:+.0} %");
    bars.at_most("the p99 of those who read moves by so many per cent", moved, 20.0);
    // An outbox of 1,024 messages, which all share, and what a connection holds itself.
    let bar = (STALLED * (1024 * 128 + 64 * 1024)) as f64 / 1024.0 + 1024.0;
    bars.at_most("KiB for those who do not read", more, bar);
    Ok(())
}

/// What it costs inside, each in a process of its own.
pub(crate) fn inside(bars: &mut Bars) -> Result<()> {
    let mut figures = Vec::new();
    for what in What::value_variants() {
        let name = what.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
        let output = Command::new(std::env::current_exe()?).args(["inside", &name]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{said}");
        let number = |line: &str| line.split_whitespace().next()?.parse::<f64>().ok();
        figures.extend(said.lines().filter_map(number));
    }
    let [conns, members, _asleep, awake, room, walk] = figures[..] else {
        bail!("other figures than were expected: {figures:?}");
    };
    println!("{:.0} B that the hub adds to each", members - conns);
    bars.at_most("bytes that the hub adds to each", members - conns, 1536.0);
    bars.at_most("ns to put a message into an outbox", awake, 150.0);
    bars.at_most("ns to join and leave", room, 1000.0);
    bars.at_most("ns for each member on the way", walk, 10.0);
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
