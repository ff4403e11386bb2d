//! What is compared, and how is it shown?

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum as _;

use crate::bars::Bars;
use crate::contest::{Contest, beside, median};
use crate::drive::{Load, Sample, Shape, Speech};
use crate::inside::What;
use crate::serve::Kind;
use crate::server::Server;

/// Rooms, and messages that are sent at once.
const SHAPES: [(usize, usize); 6] =
    [(100, 1), (100, 16), (1000, 1), (1000, 16), (10_000, 1), (10_000, 16)];

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
    fn judge(&self, shape: &str, contest: &Contest, bars: &mut Bars) {
        let kinds = self.kinds();
        let Some(ours) = kinds.iter().position(|kind| *kind == Kind::Ours) else { return };
        if let Some(raw) = contest.ceiling(&kinds) {
            let share = beside(&contest.rates[ours], &contest.rates[raw]);
            bars.at_least(&format!("{shape}, of the ceiling"), share, 0.7);
        }
        for (at, kind) in kinds.iter().enumerate() {
            if *kind != Kind::Ours && !kind.is_raw() {
                let what = format!("{shape}, thousands a second beside {}", kind.name());
                bars.at_least(&what, contest.rate(ours), contest.rate(at));
            }
        }
    }

    fn deliveries(&self, bars: &mut Bars) -> Result<()> {
        println!("\ndeliveries of 100 B a second, in thousands; beside the faster of both raw");
        println!("in brackets the processor time of the server for each delivery, in ns");
        let kinds = self.kinds();
        for (conns, burst) in SHAPES.into_iter().filter(|it| self.is_meant(it.0, it.1)) {
            let shape = Shape { conns, burst, stalled: 0 };
            let contest = Contest::hold(&kinds, shape, self.rounds, self.seconds)?;
            let name = format!("room of {conns}, {burst} at once");
            println!("\n{name}");
            self.judge(&name, &contest, bars);
            let raw = contest.ceiling(&kinds).unwrap_or(0);
            for (at, kind) in kinds.iter().enumerate() {
                println!(
                    "  {:<15} {:>8.1}  {:>4.0} %  [{:>7.0} ns, {:>5.2} x]",
                    kind.name(),
                    contest.rate(at),
                    beside(&contest.rates[at], &contest.rates[raw]) * 100.0,
                    median(&contest.costs[at]),
                    beside(&contest.costs[at], &contest.costs[raw]),
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
    let (moved, more) = (median(&moved) * 100.0, median(&more));
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
