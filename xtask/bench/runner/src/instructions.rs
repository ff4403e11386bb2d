//! How many user-space instructions does a message take?
//!
//! The difference between two runs of different length, divided by the difference in messages. It
//! is the same each time, whatever else the machine does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use load::scenario::Scenario;
use serde::{Deserialize, Serialize};

use crate::implementations::{Entry, Implementation};
use crate::output::write_json;
use crate::programs::{Programs, Server, require};

/// The instructions of one implementation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct InstructionCounts {
    name: String,
    /// Per message of 128 B, one in flight.
    lone: f64,
    /// Per message of 24 B, 16 in flight.
    pipelined: f64,
}

/// Counts, prints the counts, and writes them to a file.
pub(crate) fn run(
    programs: &Programs,
    implementations: &[&'static Implementation],
    out: &Path,
) -> Result<()> {
    require("valgrind", "--version", "instructions")?;
    println!("user-space instructions per message, 16 connections\n");
    println!("{:<26} {:>24} {:>24}", "(kept)", "128 B, 1 in flight", "24 B, 16 in flight");
    let kept = kept()?;
    let mut all = Vec::new();
    let mut moved = Vec::new();
    for implementation in implementations.iter().filter(|implementation| implementation.echoes()) {
        let lone = count(programs, implementation, "echo-128", "1", out)?;
        let pipelined = count(programs, implementation, "pipeline", "16", out)?;
        let kept = kept.iter().find(|kept| kept.name == implementation.name);
        let beside = |now: f64, kept: Option<f64>| {
            let kept = kept.map(|kept| format!("({kept:.1})")).unwrap_or_default();
            format!("{now:.1} {kept:>10}")
        };
        let figures = [(lone, kept.map(|it| it.lone)), (pipelined, kept.map(|it| it.pipelined))];
        let name = implementation.name;
        let [first, second] = figures.map(|(now, kept)| beside(now, kept));
        println!("{name:<26} {first:>24} {second:>24}");
        if figures.iter().any(|(now, kept)| has_moved(*now, *kept)) {
            moved.push(name);
        }
        all.push(InstructionCounts { name: name.to_owned(), lone, pipelined });
    }
    write_json(&out.join("instructions.json"), &all)?;
    ensure!(
        moved.is_empty(),
        "more than 10 % off the figures in {KEPT}: {}; if that is intended, update them and give \
         the reason in the commit",
        moved.join(", ")
    );
    Ok(())
}

/// The file with the figures that a change is compared with.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json");

/// The figures that a change is compared with.
fn kept() -> Result<Vec<InstructionCounts>> {
    let text = fs::read_to_string(KEPT).with_context(|| format!("cannot read {KEPT}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot parse {KEPT}"))
}

/// Whether a figure differs from the kept one by more than a tenth.
fn has_moved(now: f64, kept: Option<f64>) -> bool {
    kept.is_some_and(|kept| (now - kept).abs() > kept / 10.0)
}

/// The instructions per message.
fn count(
    programs: &Programs,
    implementation: &'static Implementation,
    scenario: &str,
    in_flight: &str,
    out: &Path,
) -> Result<f64> {
    let scenario = Scenario::named(scenario)?;
    let entry = Entry::of(implementation);
    let file = out.join(format!("callgrind-{}-{}", implementation.name, scenario.name));
    // The instructions of a whole run.
    let total = |messages: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["-q", "--tool=callgrind"]);
        valgrind.arg(format!("--callgrind-out-file={}", file.display()));
        let messages = messages.to_string();
        let more = ["--conns", "16", "--in-flight", in_flight, "--messages", &messages];
        let text = programs.trace(&mut valgrind, (&entry, scenario), &more, Server::end, &file)?;
        read_total(&text).with_context(|| format!("{} has no total", file.display()))
    };
    let (short, long) = (total(SHORT)?, total(LONG)?);
    Ok(long.saturating_sub(short) as f64 / (LONG - SHORT) as f64)
}

// Multiples of a whole batch on each connection.
const SHORT: u64 = 8 * 16 * 16;
const LONG: u64 = 48 * 16 * 16;

/// The total in the output of callgrind.
fn read_total(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_tenth_is_allowed() {
        assert!(!has_moved(109.0, Some(100.0)) && !has_moved(91.0, Some(100.0)));
        assert!(has_moved(111.0, Some(100.0)) && has_moved(89.0, Some(100.0)));
        assert!(!has_moved(111.0, None));
    }

    #[test]
    fn the_total_is_found() {
        assert_eq!(read_total("events: Ir\nfn=(1)\n0 5\ntotals: 123\n"), Some(123));
        assert_eq!(read_total("events: Ir\n"), None);
    }
}
