//! How are the contestants measured, so that the mood of the machine is nobody's advantage?
//!
//! In rounds: each takes its turn, under a server of its own, in an order that changes. What
//! others did on the machine meanwhile is known, and a sample under which too much was done is
//! taken again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use load::report::Report;
use load::scenario::{Scenario, Shape};
use load::script::Random;
use serde::Serialize;

use crate::contestants::Entry;
use crate::programs::{Programs, Server};
use crate::progress::Progress;

/// How long, and how often.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
    /// How often a disturbed sample is taken again.
    pub(crate) patience: usize,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    /// Did others use the machine, in this last of all attempts as in those before?
    pub(crate) disturbed: bool,
    #[serde(flatten)]
    pub(crate) report: Report,
}

/// All measurements of one entry.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    /// How many samples were taken again.
    pub(crate) repeated: usize,
    /// Why there are no samples, if it failed.
    pub(crate) failure: Option<String>,
}

/// How much of one processor others may use during a sample.
pub(crate) const TOLERANCE: f64 = 0.15;

/// Measures all entries of a scenario.
pub(crate) fn run(
    programs: &Programs,
    scenario: &Scenario,
    entries: &[Entry],
    plan: &Plan,
    progress: &mut Progress,
) -> Vec<Series> {
    let empty = |entry: &Entry| Series {
        name: entry.name.clone(),
        samples: Vec::new(),
        repeated: 0,
        failure: None,
    };
    let mut series: Vec<Series> = entries.iter().map(empty).collect();
    for round in 0..plan.rounds_of(scenario) {
        for at in order(round, entries.len()) {
            let (entry, series) = (&entries[at], &mut series[at]);
            if series.failure.is_some() {
                continue;
            }
            progress.step(scenario.name, &entry.name, round);
            if let Err(error) = measure(programs, scenario, entry, plan, round, series) {
                // What follows is a backtrace of the generator, if there is one.
                let error = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                progress.note(&format!("{}: {}: {error}", scenario.name, entry.name));
                series.failure = Some(error);
            }
        }
    }
    series
}

impl Plan {
    /// Memory is the same in each round, or nearly so.
    pub(crate) fn rounds_of(&self, scenario: &Scenario) -> usize {
        match scenario.shape {
            Shape::Idle => self.rounds.min(2),
            _ => self.rounds,
        }
    }
}

/// Who comes when: in another order each round, so that nobody always comes after the same one.
/// It is the same in each run.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random(round as u64 * 0x9e37_79b9 + 1);
    for left in (1..count).rev() {
        order.swap(left, (random.draw() >> 16) as usize % (left + 1));
    }
    order
}

/// Takes a sample, and takes it again while it is disturbed and there is patience.
fn measure(
    programs: &Programs,
    scenario: &Scenario,
    entry: &Entry,
    plan: &Plan,
    round: usize,
    series: &mut Series,
) -> Result<()> {
    let mut best: Option<Report> = None;
    for attempt in 0..=plan.patience {
        if attempt > 0 {
            series.repeated += 1;
            // What disturbs may pass.
            std::thread::sleep(Duration::from_millis(100));
        }
        let report = sample(programs, scenario, entry, plan)?;
        if best.as_ref().is_none_or(|best| report.foreign < best.foreign) {
            best = Some(report);
        }
        if best.as_ref().is_some_and(|best| best.foreign <= TOLERANCE) {
            break;
        }
    }
    let report = best.context("nothing was measured")?;
    let disturbed = report.foreign > TOLERANCE;
    series.samples.push(Sample { round, disturbed, report });
    Ok(())
}

fn sample(programs: &Programs, scenario: &Scenario, entry: &Entry, plan: &Plan) -> Result<Report> {
    let (seconds, warm_up) = (plan.seconds.to_string(), plan.warm_up.to_string());
    let more = ["--seconds", &seconds, "--warm-up", &warm_up];
    if scenario.shape == Shape::Client {
        return programs.load_from(entry.contestant.program, scenario, &more);
    }
    let mut command = programs.command(entry.contestant.program_for(scenario));
    command.args(entry.arguments(scenario));
    let server = Server::start(&mut command, 0..entry.workers)?;
    programs.load(&server, scenario, entry.contestant.is_raw(), &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_a_turn_in_each_round_and_orders_differ() {
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
