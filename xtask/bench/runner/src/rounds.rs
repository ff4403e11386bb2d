//! How are implementations measured in rounds, so that noise of the machine affects all alike?
//!
//! Each round measures each entry once, with a new server, in another order. A sample during which
//! other processes used too much of the machine is repeated.

use std::time::Duration;

use anyhow::Result;
use load::report::Report;
use load::scenario::{Scenario, Shape};
use load::script::Random;
use serde::Serialize;

use crate::implementations::Entry;
use crate::programs::{Programs, Server};
use crate::progress::Progress;

/// The number of rounds and the length of samples.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
    /// How often a disturbed sample is repeated.
    pub(crate) repeats: usize,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    /// Whether other processes disturbed all attempts.
    pub(crate) disturbed: bool,
    #[serde(flatten)]
    pub(crate) report: Report,
}

/// All samples of one entry.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    /// The number of repeated samples.
    pub(crate) repeated: usize,
    /// The error, if a sample failed.
    pub(crate) failure: Option<String>,
}

/// The share of one processor that other processes may use during a sample.
pub(crate) const TOLERANCE: f64 = 0.15;

/// Measures all entries of a scenario.
pub(crate) fn run(
    programs: &Programs,
    scenario: &Scenario,
    entries: &[Entry],
    plan: &Plan,
    progress: &mut Progress,
) -> Vec<Series> {
    let empty = |entry: &Entry| Series { name: entry.name.clone(), ..Series::default() };
    let mut series: Vec<Series> = entries.iter().map(empty).collect();
    for round in 0..plan.rounds_of(scenario) {
        for at in order(round, entries.len()) {
            let (entry, series) = (&entries[at], &mut series[at]);
            if series.failure.is_some() {
                continue;
            }
            progress.step(scenario.name, &entry.name, round);
            if let Err(error) = measure(programs, scenario, entry, plan, round, series) {
                // Further lines are a backtrace of the load generator.
                let error = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                progress.note(&format!("{}: {}: {error}", scenario.name, entry.name));
                series.failure = Some(error);
            }
        }
    }
    series
}

impl Plan {
    /// Memory hardly differs between rounds.
    pub(crate) fn rounds_of(&self, scenario: &Scenario) -> usize {
        match scenario.shape {
            Shape::Idle => self.rounds.min(2),
            _ => self.rounds,
        }
    }
}

/// The order of entries in a round: a shuffle that differs between rounds, and is the same in
/// each run.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random(round as u64 * 0x9e37_79b9 + 1);
    for left in (1..count).rev() {
        order.swap(left, (random.draw() >> 16) as usize % (left + 1));
    }
    order
}

/// Takes a sample, and repeats it while it is disturbed, up to the limit of the plan.
fn measure(
    programs: &Programs,
    scenario: &Scenario,
    entry: &Entry,
    plan: &Plan,
    round: usize,
    series: &mut Series,
) -> Result<()> {
    let mut report = sample(programs, scenario, entry, plan)?;
    for _ in 0..plan.repeats {
        if report.foreign <= TOLERANCE {
            break;
        }
        series.repeated += 1;
        // The disturbance may be over then.
        std::thread::sleep(Duration::from_millis(100));
        let again = sample(programs, scenario, entry, plan)?;
        if again.foreign < report.foreign {
            report = again;
        }
    }
    let disturbed = report.foreign > TOLERANCE;
    series.samples.push(Sample { round, disturbed, report });
    Ok(())
}

fn sample(programs: &Programs, scenario: &Scenario, entry: &Entry, plan: &Plan) -> Result<Report> {
    let (seconds, warm_up) = (plan.seconds.to_string(), plan.warm_up.to_string());
    let more = ["--seconds", &seconds, "--warm-up", &warm_up];
    if scenario.shape == Shape::Client {
        return programs.load_from(entry.implementation.program, scenario, &more);
    }
    let mut command = programs.command(&entry.implementation.program_for(scenario));
    command.args(programs.arguments(entry, scenario));
    let server = Server::start(&mut command, 0..entry.workers)?;
    let stalled = format!("--stalled={}", entry.stalled);
    let more = [&more[..], &[&stalled]].concat();
    programs.load(&server, scenario, entry.implementation.is_raw(), &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_all_entries_in_another_order() {
        let mut orders: Vec<_> = (0..5).map(|round| order(round, 14)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..14).collect::<Vec<_>>());
        }
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 5);
        assert_eq!(order(3, 1), [0]);
    }
}
