//! Which shapes are measured, what must they reach, and how are results printed?

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum as _;

use crate::Protocol;
use crate::comparison::{Comparison, median, ratio};
use crate::drive::{Framing, Load, Sample, Shape};
use crate::inside::Measurement;
use crate::serve::Kind;
use crate::server::Server;

/// Collects the requirements that are not met.
#[derive(Debug, Default)]
pub(crate) struct Requirements(Vec<String>);

impl Requirements {
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.require(value <= limit, format!("{what}: {value:.2}, required: at most {limit}"));
    }

    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.require(value >= limit, format!("{what}: {value:.2}, required: at least {limit:.2}"));
    }

    fn require(&mut self, is_met: bool, text: String) {
        if !is_met {
            self.0.push(text);
        }
    }

    /// Prints the requirements that are not met. With `strictly`, they are an error.
    pub(crate) fn finish(self, strictly: bool) -> Result<()> {
        for missed in &self.0 {
            println!("missed: {missed}");
        }
        ensure!(!strictly || self.0.is_empty(), "{} requirements are not met", self.0.len());
        Ok(())
    }
}

/// Sizes of rooms and bursts.
const SHAPES: [(usize, usize); 6] =
    [(100, 1), (100, 16), (1000, 1), (1000, 16), (10_000, 1), (10_000, 16)];

/// The shapes that are measured over the network, and the length of each.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) room: Option<usize>,
    pub(crate) burst: Option<usize>,
    pub(crate) only: Vec<Kind>,
    pub(crate) protocol: Protocol,
}

impl Plan {
    /// Measures deliveries, and the effect of slow consumers on the others.
    pub(crate) fn measure(&self, requirements: &mut Requirements) -> Result<()> {
        load::meter::allow_files(12_000)?;
        self.deliveries(requirements)?;
        let whole = self.room.is_none()
            && self.burst.is_none()
            && self.only.is_empty()
            && self.protocol == Protocol::Plain;
        if whole { stalled(self.rounds, self.seconds, requirements) } else { Ok(()) }
    }

    fn is_selected(&self, conns: usize, burst: usize) -> bool {
        self.room.is_none_or(|room| room == conns) && self.burst.is_none_or(|it| it == burst)
    }

    fn kinds(&self) -> Vec<Kind> {
        let all = Kind::value_variants().iter().copied();
        let is_measured = |kind: &Kind| match self.protocol {
            _ if !self.only.is_empty() => self.only.contains(kind),
            Protocol::Plain => !matches!(kind, Kind::OursSocketio | Kind::SocketioNode),
            Protocol::Socketio => *kind == Kind::Ours || kind.speaks_socket_io(),
        };
        all.filter(is_measured).collect()
    }

    /// Over Socket.IO: requires at least 90 % of plain messages, and more than other hubs.
    fn require_socketio(
        &self,
        shape: &str,
        comparison: &Comparison,
        requirements: &mut Requirements,
    ) {
        let kinds = self.kinds();
        let at = |kind| kinds.iter().position(|it| *it == kind);
        let Some(ours) = at(Kind::OursSocketio) else { return };
        if let Some(plain) = at(Kind::Ours) {
            let share = ratio(&comparison.rates[ours], &comparison.rates[plain]);
            requirements.at_least(&format!("{shape}, of plain messages"), share, 0.9);
        }
        for (at, kind) in kinds.iter().enumerate() {
            if kind.speaks_socket_io() && !kind.is_ours() {
                let what = format!("{shape}, thousands per second, and {}", kind.name());
                requirements.at_least(&what, comparison.rate(ours), comparison.rate(at));
            }
        }
    }

    /// Requires at least 70 % of the ceiling, and more than other hubs.
    fn require(&self, shape: &str, comparison: &Comparison, requirements: &mut Requirements) {
        let kinds = self.kinds();
        let Some(ours) = kinds.iter().position(|kind| *kind == Kind::Ours) else { return };
        if let Some(raw) = comparison.ceiling(&kinds) {
            let share = ratio(&comparison.rates[ours], &comparison.rates[raw]);
            requirements.at_least(&format!("{shape}, of the ceiling"), share, 0.7);
        }
        for (at, kind) in kinds.iter().enumerate() {
            if !kind.is_ours() && !kind.is_raw() {
                let what = format!("{shape}, thousands per second, and {}", kind.name());
                requirements.at_least(&what, comparison.rate(ours), comparison.rate(at));
            }
        }
    }

    fn deliveries(&self, requirements: &mut Requirements) -> Result<()> {
        let reference = match self.protocol {
            Protocol::Plain => "the faster raw server",
            Protocol::Socketio => "our hub over plain messages",
        };
        println!("\nthousands of deliveries of 100 B per second; % of {reference}");
        println!("in brackets: processor time of the server per delivery, in ns");
        let kinds = self.kinds();
        for (conns, burst) in SHAPES.into_iter().filter(|it| self.is_selected(it.0, it.1)) {
            let shape = Shape { conns, burst, stalled: 0 };
            let comparison = Comparison::run(&kinds, shape, self.rounds, self.seconds)?;
            let name = format!("room of {conns}, {burst} at once");
            println!("\n{name}");
            match self.protocol {
                Protocol::Plain => self.require(&name, &comparison, requirements),
                Protocol::Socketio => self.require_socketio(&name, &comparison, requirements),
            }
            let raw = comparison.ceiling(&kinds).unwrap_or(0);
            for (at, kind) in kinds.iter().enumerate() {
                println!(
                    "  {:<15} {:>8.1}  {:>4.0} %  [{:>7.0} ns, {:>5.2} x]",
                    kind.name(),
                    comparison.rate(at),
                    ratio(&comparison.rates[at], &comparison.rates[raw]) * 100.0,
                    median(&comparison.costs[at]),
                    ratio(&comparison.costs[at], &comparison.costs[raw]),
                );
            }
        }
        Ok(())
    }
}

/// The number of members that do not read, in a room of 1,000.
const STALLED: usize = 10;

/// A run with a room of 1,000 in which some members do not read, until they are disconnected.
struct SlowConsumers {
    sample: Sample,
    /// The growth of the server's memory to its peak, in bytes.
    memory: u64,
}

impl SlowConsumers {
    fn measure(stalled: usize, seconds: f64) -> Result<Self> {
        let server = Server::start(Kind::Ours, true)?;
        let shape = Shape { conns: 1000, burst: 16, stalled };
        let mut load = Load::connect(server.addr, shape, Framing::WebSocket)?;
        let resident = || load::meter::resident_bytes(server.pid());
        let before = resident()?;
        let most = AtomicU64::new(before);
        let sample = load.run_until(seconds, server.pid(), || {
            most.fetch_max(resident().unwrap_or(0), Relaxed);
            server.disconnected.load(Relaxed) >= stalled
        })?;
        let cut = server.disconnected.load(Relaxed);
        ensure!(cut == stalled, "{cut} members were disconnected, and {stalled} did not read");
        Ok(Self { sample, memory: most.load(Relaxed) - before })
    }
}

fn more_kib(with: &SlowConsumers, without: &SlowConsumers) -> f64 {
    (with.memory as f64 - without.memory as f64) / 1024.0
}

/// Measures the effect of members that do not read on the latency of the others.
fn stalled(rounds: usize, seconds: f64, requirements: &mut Requirements) -> Result<()> {
    println!("\nours, room of 1000, 16 at once: time until a member has received all, in µs");
    let (mut moved, mut more) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let of = |stalled| SlowConsumers::measure(stalled, seconds);
        let (without, with) = if round % 2 == 0 {
            let without = of(0)?;
            (without, of(STALLED)?)
        } else {
            let with = of(STALLED)?;
            (of(0)?, with)
        };
        println!(
            "  all read: p50 {:.0}, p99 {:.0};  {STALLED} do not, until they are disconnected: \
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
    let (moved, more) = (median(&moved) * 100.0, median(&more));
    println!("  p99 of the reading members changes by {moved:+.0} %");
    requirements.at_most("change of the p99 of reading members, in per cent", moved, 20.0);
    // Queues of 1,024 shared messages, and the write buffer of each connection.
    let limit = (STALLED * (1024 * 128 + 64 * 1024)) as f64 / 1024.0 + 1024.0;
    requirements.at_most("KiB for members that do not read", more, limit);
    Ok(())
}

/// Measures costs without a network, each in a process of its own.
pub(crate) fn inside(protocol: Protocol, requirements: &mut Requirements) -> Result<()> {
    let mut figures = Vec::new();
    for what in Measurement::of(protocol) {
        let name = what.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
        let output = Command::new(std::env::current_exe()?).args(["inside", &name]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{text}");
        let number = |line: &str| line.split_whitespace().next()?.parse::<f64>().ok();
        figures.extend(text.lines().filter_map(number));
    }
    if protocol == Protocol::Socketio {
        let [members, socketio, _polling] = figures[..] else {
            bail!("unexpected figures: {figures:?}");
        };
        println!("{:.0} B that Socket.IO adds to each member", socketio - members);
        requirements.at_most("bytes that Socket.IO adds to a member", socketio - members, 1024.0);
        return Ok(());
    }
    let [conns, members, _asleep, awake, room, walk] = figures[..] else {
        bail!("unexpected figures: {figures:?}");
    };
    println!("{:.0} B that the hub adds to each connection", members - conns);
    requirements.at_most("bytes that the hub adds to each connection", members - conns, 1536.0);
    requirements.at_most("ns to enqueue a message", awake, 150.0);
    requirements.at_most("ns to join and leave a room", room, 1000.0);
    requirements.at_most("ns per member to iterate a room", walk, 10.0);
    Ok(())
}
