//! How many instructions does a message take, outside of the kernel?
//!
//! What two runs of different length differ by, divided by the messages that they differ by:
//! it is the same each time, whatever else the machine does.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use load::scenario::Scenario;
use serde::{Deserialize, Serialize};

use crate::contestants::{Contestant, Entry};
use crate::programs::{Programs, Server};

/// What was counted of one contestant.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Counted {
    name: String,
    /// Of one message of 128 B, one in flight.
    lone: f64,
    /// Of one message of 24 B, 16 in flight.
    pipelined: f64,
}

/// Counts, says what it counted, and writes it down.
pub(crate) fn run(
    programs: &Programs,
    contestants: &[&'static Contestant],
    out: &Path,
) -> Result<()> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    ensure!(found.is_ok(), "valgrind is missing: install it to count instructions");
    println!("user-space instructions per message, 16 connections\n");
    println!("{:<26} {:>24} {:>24}", "(kept)", "128 B, 1 in flight", "24 B, 16 in flight");
    let kept = kept()?;
    let mut all = Vec::new();
    let mut moved = Vec::new();
    for contestant in contestants.iter().filter(|contestant| contestant.echoes()) {
        let lone = count(programs, contestant, "echo-128", "1", out)?;
        let pipelined = count(programs, contestant, "pipeline", "16", out)?;
        let kept = kept.iter().find(|kept| kept.name == contestant.name);
        let beside = |now: f64, kept: Option<f64>| {
            let kept = kept.map(|kept| format!("({kept:.1})")).unwrap_or_default();
            format!("{now:.1} {kept:>10}")
        };
        let lone_kept = kept.map(|kept| kept.lone);
        let pipelined_kept = kept.map(|kept| kept.pipelined);
        println!(
            "{:<26} {:>24} {:>24}",
            contestant.name,
            beside(lone, lone_kept),
            beside(pipelined, pipelined_kept)
        );
        if has_moved(lone, lone_kept) || has_moved(pipelined, pipelined_kept) {
            moved.push(contestant.name);
        }
        all.push(Counted { name: contestant.name.to_owned(), lone, pipelined });
    }
    let path = out.join("instructions.json");
    fs::write(&path, serde_json::to_vec_pretty(&all)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", path.display());
    ensure!(
        moved.is_empty(),
        "more than 10 % off the figures that are kept: {}; if that is meant, write the new \
         ones to {KEPT} and say why in the commit",
        moved.join(", ")
    );
    Ok(())
}

/// Where the figures are that a change is held to.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json");

/// The figures that a change is held to.
fn kept() -> Result<Vec<Counted>> {
    let text = fs::read_to_string(KEPT).with_context(|| format!("cannot read {KEPT}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot understand {KEPT}"))
}

/// Is a figure more than a tenth off, to either side?
fn has_moved(now: f64, kept: Option<f64>) -> bool {
    kept.is_some_and(|kept| (now - kept).abs() > kept / 10.0)
}

/// The instructions of one message.
fn count(
    programs: &Programs,
    contestant: &'static Contestant,
    scenario: &str,
    in_flight: &str,
    out: &Path,
) -> Result<f64> {
    let scenario = Scenario::find(scenario).context("there is no such scenario")?;
    let run = |messages: u64| total(programs, contestant, scenario, in_flight, messages, out);
    let (short, long) = (run(SHORT)?, run(LONG)?);
    Ok(long.saturating_sub(short) as f64 / (LONG - SHORT) as f64)
}

// So many that each connection sends whole batches.
const SHORT: u64 = 8 * 16 * 16;
const LONG: u64 = 48 * 16 * 16;

/// The instructions of a whole run.
fn total(
    programs: &Programs,
    contestant: &'static Contestant,
    scenario: &Scenario,
    in_flight: &str,
    messages: u64,
    out: &Path,
) -> Result<u64> {
    let file = out.join(format!("callgrind-{}-{}", contestant.name, scenario.name));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(programs.path(contestant.program_for(scenario)));
    valgrind.args(Entry::of(contestant).arguments(scenario));
    let server = Server::start(&mut valgrind, 0..1)?;
    let messages = messages.to_string();
    let more = ["--conns", "16", "--in-flight", in_flight, "--messages", &messages];
    programs.load(&server, scenario, contestant.is_raw(), &more)?;
    server.end()?;
    let text = fs::read_to_string(&file)
        .with_context(|| format!("valgrind has not written {}", file.display()))?;
    read_total(&text).with_context(|| format!("{} names no total", file.display()))
}

/// The sum in what callgrind writes.
fn read_total(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_may_come_and_go() {
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
