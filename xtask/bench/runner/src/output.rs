//! How are results written to files, as JSON and charts?

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::chart;
use crate::programs::cores;
use crate::results;
use crate::rounds::Plan;

/// The results of one run.
#[derive(Debug, Serialize)]
struct Run<'a> {
    machine: Machine,
    plan: &'a Plan,
    results: &'a [results::Result],
}

/// The machine of the run.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    compiler: String,
}

/// Writes the samples as JSON, and a chart per scenario.
pub(crate) fn write(out: &Path, plan: &Plan, results: &[results::Result]) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {} (--out)", out.display()))?;
    let run = Run { machine: machine(), plan, results };
    write_file(&out.join("results.json"), &serde_json::to_string_pretty(&run)?)?;
    for result in results {
        let path = out.join(format!("{}.svg", result.scenario.name));
        write_file(&path, &chart::render(result))?;
    }
    Ok(())
}

/// Writes a value as JSON, and prints the path.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_file(path, &serde_json::to_string_pretty(value)?)?;
    println!("\n{}", path.display());
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn machine() -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let processor = model.and_then(|line| line.split_once(": ")).map_or("unknown", |it| it.1);
    Machine {
        processor: processor.to_owned(),
        processors: cores(),
        kernel: says("uname", "-sr"),
        compiler: says("rustc", "--version"),
    }
}

fn says(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
