//! How many system calls does a message take?
//!
//! strace counts two runs of different length, as for instructions.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use load::scenario::{Scenario, Shape};
use serde::Serialize;

use crate::implementations::{Entry, Implementation};
use crate::output::write_json;
use crate::programs::{Programs, Server, require};

/// The system calls of one implementation in one scenario.
#[derive(Debug, Serialize)]
struct SyscallCounts {
    scenario: &'static str,
    name: String,
    /// Calls per message, by name.
    calls: BTreeMap<String, f64>,
}

/// Counts, prints the counts, and writes them to a file.
pub(crate) fn run(
    programs: &Programs,
    scenarios: &[&'static Scenario],
    implementations: &[&'static Implementation],
    out: &Path,
) -> Result<()> {
    require("strace", "-V", "system calls")?;
    let mut all = Vec::new();
    for scenario in scenarios.iter().filter(|it| it.shape == Shape::Echo) {
        println!("\nsystem calls per message, {}: {}\n", scenario.name, scenario.title);
        for entry in Entry::all(implementations, scenario) {
            let calls = count(programs, scenario, &entry, out)?;
            println!("  {:<26} {}", entry.name, describe(&calls));
            all.push(SyscallCounts { scenario: scenario.name, name: entry.name, calls });
        }
    }
    write_json(&out.join("syscalls.json"), &all)
}

/// The calls per message.
fn count(
    programs: &Programs,
    scenario: &'static Scenario,
    entry: &Entry,
    out: &Path,
) -> Result<BTreeMap<String, f64>> {
    // Long messages take more time, and fewer of them are enough.
    let enough = if scenario.size > 64 * 1024 { 1_000 } else { 20_000 };
    // Whole batches on each connection.
    let batch = (scenario.conns * scenario.in_flight) as u64;
    let (short, long) = (2 * batch, (2 + enough / batch) * batch);
    let file = out.join("strace.txt");
    // The calls of a whole run. strace ends together with the server, so the signal goes to the server.
    let total = |messages: u64| {
        let mut strace = Command::new("strace");
        strace.args(["-c", "-f", "-o"]).arg(&file);
        let more = ["--messages", &messages.to_string()];
        let text =
            programs.trace(&mut strace, (entry, scenario), &more, Server::end_child, &file)?;
        anyhow::Ok(read(&text))
    };
    let (before, after) = (total(short)?, total(long)?);
    let each = |(name, count): (String, u64)| {
        let count = count.saturating_sub(before.get(&name).copied().unwrap_or_default());
        (name, count as f64 / (long - short) as f64)
    };
    Ok(after.into_iter().map(each).filter(|(_, count)| *count > 0.0005).collect())
}

/// The column of calls in the output of strace, by name.
fn read(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // % time, seconds, usecs/call, calls, errors if there were any, name
        let [share, _, _, calls, .., name] = words.as_slice() else { return None };
        share.parse::<f64>().ok()?;
        (*name != "total").then(|| Some(((*name).to_owned(), calls.parse().ok()?)))?
    };
    text.lines().filter_map(line).collect()
}

fn describe(calls: &BTreeMap<String, f64>) -> String {
    let sum: f64 = calls.values().sum();
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by(|a, b| b.1.total_cmp(a.1));
    let each: Vec<_> = calls.iter().map(|(name, count)| format!("{name} {count:.3}")).collect();
    format!("{sum:>7.3}  {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_strace_are_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    \x20 60.00    0.000600           6       100        10 recvfrom\n\
                    \x20 40.00    0.000400           4        90           sendto\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.001000           5       190        10 total\n";
        let expected = [("recvfrom".to_owned(), 100), ("sendto".to_owned(), 90)];
        assert_eq!(read(text), BTreeMap::from(expected));
    }
}
