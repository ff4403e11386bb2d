//! How are hubs compared on a machine with other load?
//!
//! All servers run at once, each with a load driver, in processes of their own. They are measured
//! in short turns, again and again, so a slowdown of the machine affects all of them.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use load::process::{Answers, Process};

use crate::drive::{Framing, Load, Shape, percentile};
use crate::serve::Kind;
use crate::server::Server;

/// The number of turns of each in a round.
const TURNS: usize = 4;

/// The results: a figure for each turn of each server.
pub(crate) struct Comparison {
    /// Thousands of deliveries per second.
    pub(crate) rates: Vec<Vec<f64>>,
    /// Processor time of the server per delivery, in nanoseconds.
    pub(crate) costs: Vec<Vec<f64>>,
}

impl Comparison {
    /// Measures all servers. Each round starts new processes.
    pub(crate) fn run(kinds: &[Kind], shape: Shape, rounds: usize, seconds: f64) -> Result<Self> {
        let none = vec![Vec::new(); kinds.len()];
        let mut comparison = Self { rates: none.clone(), costs: none };
        let seconds = seconds / TURNS as f64;
        for round in 0..rounds {
            let start = |kind: &Kind| DrivenServer::start(*kind, shape);
            let mut all: Vec<_> = kinds.iter().map(start).collect::<Result<_>>()?;
            for server in &mut all {
                server.run(seconds)?;
            }
            for turn in 0..TURNS * kinds.len() {
                let at = (turn + round) % kinds.len();
                let (rate, cost) = all[at].run(seconds)?;
                comparison.rates[at].push(rate / 1000.0);
                comparison.costs[at].push(cost);
            }
        }
        Ok(comparison)
    }

    /// The faster of the servers without a protocol.
    pub(crate) fn ceiling(&self, kinds: &[Kind]) -> Option<usize> {
        let raw = (0..kinds.len()).filter(|at| kinds[*at].is_raw());
        raw.max_by(|one, other| self.rate(*one).total_cmp(&self.rate(*other)))
    }

    pub(crate) fn rate(&self, at: usize) -> f64 {
        median(&self.rates[at])
    }
}

/// The median ratio of two servers in the same turns.
pub(crate) fn ratio(values: &[f64], others: &[f64]) -> f64 {
    median(&values.iter().zip(others).map(|(value, other)| value / other).collect::<Vec<_>>())
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// A server with its load driver. Dropping it ends both.
struct DrivenServer {
    _server: Server,
    driver: Process,
    answers: Answers,
}

impl DrivenServer {
    fn start(kind: Kind, shape: Shape) -> Result<Self> {
        let server = Server::start(kind, false)?;
        let numbers = [shape.conns, shape.burst, server.pid() as usize].map(|it| it.to_string());
        let [conns, burst, pid] = &numbers;
        let addr = server.addr.to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["drive", &kind.name(), &addr, conns, burst, pid]);
        let (driver, mut answers) = Process::start(&mut command)?;
        answers.line().context("a driver did not start")?;
        Ok(Self { _server: server, driver, answers })
    }

    /// Deliveries per second, and the cost of one in nanoseconds.
    fn run(&mut self, seconds: f64) -> Result<(f64, f64)> {
        self.driver.order(&seconds.to_string())?;
        let answer = self.answers.line()?;
        let (rate, cost) = answer.split_once(' ').context("no figures")?;
        Ok((rate.parse()?, cost.parse()?))
    }
}

/// A load driver: each line of its input is a number of seconds to run.
pub(crate) fn drive(kind: Kind, addr: SocketAddr, shape: Shape, server: i32) -> Result<()> {
    load::meter::allow_files(12_000)?;
    let mut load = Load::connect(addr, shape, Framing::of(kind))?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let sample = load.run(line?.parse()?, server).with_context(|| kind.name())?;
        println!("{} {}", sample.per_second(), sample.nanos());
    }
    Ok(())
}
