//! What is compared, and how is it shown?

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

use crate::drive::{Load, Sample, Shape, Speech};
use crate::inside::What;
use crate::serve::Kind;

/// Rooms, and messages that are sent at once.
const SHAPES: [(usize, usize); 6] =
    [(100, 1), (100, 16), (1000, 1), (1000, 16), (10_000, 1), (10_000, 16)];

/// A server in a process of its own, which ends with this.
struct Server {
    child: Child,
    addr: std::net::SocketAddr,
}

impl Server {
    fn start(kind: Kind) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &kind.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { addr: line.trim().parse().context("the server did not start")?, child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(kind: Kind, shape: Shape, seconds: f64) -> Result<Sample> {
    let server = Server::start(kind)?;
    let speech = match kind {
        kind if kind.is_raw() => Speech::Raw,
        kind if kind.speaks_socket_io() => Speech::SocketIo,
        _ => Speech::WebSocket,
    };
    let pid = server.child.id() as i32;
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
    pub(crate) fn measure(&self) -> Result<()> {
        load::meter::allow_files(12_000)?;
        self.deliveries()?;
        let whole = self.room.is_none() && self.burst.is_none() && self.only.is_empty();
        if whole { stalled(self.rounds, self.seconds) } else { Ok(()) }
    }

    fn is_meant(&self, conns: usize, burst: usize) -> bool {
        self.room.is_none_or(|room| room == conns) && self.burst.is_none_or(|it| it == burst)
    }

    fn kinds(&self) -> Vec<Kind> {
        let all = Kind::value_variants().iter().copied();
        all.filter(|kind| self.only.is_empty() || self.only.contains(kind)).collect()
    }

    fn deliveries(&self) -> Result<()> {
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

/// What do the others notice of some that do not read?
fn stalled(rounds: usize, seconds: f64) -> Result<()> {
    println!("\nours, room of 1000, 16 at once: time until a member has all, in µs");
    let mut moved = Vec::new();
    for round in 0..rounds {
        let of = |stalled| measure(Kind::Ours, Shape { conns: 1000, burst: 16, stalled }, seconds);
        let (without, with) = if round % 2 == 0 {
            let without = of(0)?;
            (without, of(10)?)
        } else {
            let with = of(10)?;
            (of(0)?, with)
        };
        println!(
            "  all read: p50 {:.0}, p99 {:.0};  10 of them do not: p50 {:.0}, p99 {:.0}",
            without.percentile(50),
            without.percentile(99),
            with.percentile(50),
            with.percentile(99),
        );
        moved.push(with.percentile(99) / without.percentile(99) - 1.0);
    }
    println!("  p99 of those who read moves by {:+.0} %", median(&mut moved) * 100.0);
    Ok(())
}

/// What it costs inside, each in a process of its own.
pub(crate) fn inside() -> Result<()> {
    let mut figures = Vec::new();
    for what in What::value_variants() {
        let name = what.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
        let output = Command::new(std::env::current_exe()?).args(["inside", &name]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{said}");
        if let Some(figure) = said.split_whitespace().next().and_then(|it| it.parse::<f64>().ok()) {
            figures.push(figure);
        }
    }
    if let [conns, members, ..] = figures.as_slice() {
        println!("{:.0} B that the hub adds to each", members - conns);
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
