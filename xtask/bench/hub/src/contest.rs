//! How are several compared on a machine that is never quiet?
//!
//! All are there at once, each a server and a driver in processes of their own, and have
//! short turns, again and again: what slows the machine down for a while slows all of them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::drive::{Load, Shape, Speech};
use crate::process::{Answers, Process};
use crate::serve::Kind;
use crate::server::Server;

/// How many turns each has in a round.
const TURNS: usize = 4;

/// What came of it, a figure for each turn of each.
pub(crate) struct Contest {
    /// In thousands a second.
    pub(crate) rates: Vec<Vec<f64>>,
    /// Processor time of the server for each delivery, in nanoseconds.
    pub(crate) costs: Vec<Vec<f64>>,
}

impl Contest {
    /// In each round, all begin anew.
    pub(crate) fn hold(kinds: &[Kind], shape: Shape, rounds: usize, seconds: f64) -> Result<Self> {
        let none = vec![Vec::new(); kinds.len()];
        let mut contest = Self { rates: none.clone(), costs: none };
        let seconds = seconds / TURNS as f64;
        for round in 0..rounds {
            let start = |kind: &Kind| Contestant::start(*kind, shape);
            let mut all: Vec<_> = kinds.iter().map(start).collect::<Result<_>>()?;
            for contestant in &mut all {
                contestant.run(seconds)?;
            }
            for turn in 0..TURNS * kinds.len() {
                let at = (turn + round) % kinds.len();
                let (rate, cost) = all[at].run(seconds)?;
                contest.rates[at].push(rate / 1000.0);
                contest.costs[at].push(cost);
            }
        }
        Ok(contest)
    }

    /// The fastest of those who do nothing but send.
    pub(crate) fn ceiling(&self, kinds: &[Kind]) -> Option<usize> {
        let raw = (0..kinds.len()).filter(|at| kinds[*at].is_raw());
        raw.max_by(|one, other| self.rate(*one).total_cmp(&self.rate(*other)))
    }

    pub(crate) fn rate(&self, at: usize) -> f64 {
        median(&self.rates[at])
    }
}

/// Each beside what another had in the same turn.
pub(crate) fn beside(values: &[f64], others: &[f64]) -> f64 {
    median(&values.iter().zip(others).map(|(value, other)| value / other).collect::<Vec<_>>())
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A server and who drives it, which end with this.
struct Contestant {
    _server: Server,
    driver: Process,
    answers: Answers,
}

impl Contestant {
    fn start(kind: Kind, shape: Shape) -> Result<Self> {
        let server = Server::start(kind, false)?;
        let numbers = [shape.conns, shape.burst, server.pid() as usize].map(|it| it.to_string());
        let [conns, burst, pid] = &numbers;
        let addr = server.addr.to_string();
        let (driver, mut answers) =
            Process::start(&["drive", &kind.name(), &addr, conns, burst, pid])?;
        answers.next().context("a driver does not start")?;
        Ok(Self { _server: server, driver, answers })
    }

    /// Deliveries a second, and what one costs in nanoseconds.
    fn run(&mut self, seconds: f64) -> Result<(f64, f64)> {
        self.driver.order(&seconds.to_string())?;
        let answer = self.answers.next()?;
        let (rate, cost) = answer.split_once(' ').context("no figures")?;
        Ok((rate.parse()?, cost.parse()?))
    }
}

/// A driver: runs for as many seconds as each line of its input says.
pub(crate) fn drive(kind: Kind, addr: SocketAddr, shape: Shape, server: i32) -> Result<()> {
    load::meter::allow_files(12_000)?;
    let mut load = Load::connect(addr, shape, Speech::of(kind))?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let sample = load.run(line?.parse()?, server).with_context(|| kind.name())?;
        println!("{} {}", sample.per_second(), sample.nanos());
    }
    Ok(())
}
