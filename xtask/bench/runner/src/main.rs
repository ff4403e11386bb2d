//! How does `cargo xtask bench` compare the cost of WebSocket libraries?

mod chart;
mod implementations;
mod instructions;
mod output;
mod programs;
mod progress;
mod results;
mod rounds;
mod syscalls;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use load::meter::allow_files;
use load::scenario::{SCENARIOS, Scenario};

use crate::implementations::{Entry, IMPLEMENTATIONS, Implementation, Kind};
use crate::programs::Programs;
use crate::progress::Progress;
use crate::rounds::Plan;

/// Compares the server with other libraries under the same load.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// Measure only this scenario; may be repeated.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Measure `ours`, the limits and this implementation; may be repeated.
    #[arg(long, value_name = "NAME")]
    against: Vec<String>,
    /// Measure only this implementation; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "against")]
    only: Vec<String>,
    /// Measure this adapter beside the WebSockets of its framework: hyper, axum or warp.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["against", "only"])]
    adapter: Option<String>,
    /// Shorter samples, and without `--scenario` fewer scenarios and implementations: under three
    /// minutes after the build.
    #[arg(long)]
    short: bool,
    /// Number of samples of each implementation in each scenario.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Length of a sample in seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Folder for results.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Count user-space instructions per message instead of time (needs valgrind).
    #[arg(long)]
    instructions: bool,
    /// Count system calls per message instead of time (needs strace).
    #[arg(long, conflicts_with = "instructions")]
    syscalls: bool,
    /// Use the programs of the last build.
    #[arg(long)]
    no_build: bool,
    /// List scenarios and implementations.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.list {
        list();
        return Ok(());
    }
    let implementations = implementations(args)?;
    let scenarios = scenarios(args)?;
    let programs = Programs::new()?;
    if !args.no_build {
        programs.build(&implementations, &scenarios)?;
    }
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {} (--out)", args.out.display()))?;
    if args.instructions {
        return instructions::run(&programs, &implementations, &args.out);
    }
    if args.syscalls {
        return syscalls::run(&programs, &scenarios, &implementations, &args.out);
    }
    measure(args, &programs, &scenarios, &implementations)
}

/// Measures scenario by scenario, and writes the results after each.
fn measure(
    args: &Args,
    programs: &Programs,
    scenarios: &[&'static Scenario],
    implementations: &[&'static Implementation],
) -> Result<()> {
    // Servers inherit the limit.
    allow_files(11_000)?;
    let plan = plan(args);
    let all: Vec<_> = scenarios
        .iter()
        .map(|scenario| (*scenario, Entry::all(implementations, scenario)))
        .filter(|(_, entries)| !entries.is_empty())
        .collect();
    let steps = all.iter().map(|(scenario, entries)| entries.len() * plan.rounds_of(scenario));
    let mut progress = Progress::new(steps.sum());
    let mut results = Vec::new();
    for (scenario, entries) in &all {
        let series = rounds::run(programs, scenario, entries, &plan, &mut progress);
        let result = results::of(scenario, entries, series);
        progress.clear();
        println!("{}", table::render(&result));
        results.push(result);
        output::write(&args.out, &plan, &results)?;
    }
    println!("samples and charts: {}", args.out.display());
    let failed = results.iter().flat_map(|it| &it.rows).filter(|row| row.series.failure.is_some());
    match failed.count() {
        0 => Ok(()),
        count => bail!("{count} of the rows above failed"),
    }
}

fn plan(args: &Args) -> Plan {
    let (rounds, seconds, warm_up, repeats) =
        if args.short { (3, 0.4, 0.15, 1) } else { (5, 1.0, 0.3, 3) };
    Plan {
        rounds: args.rounds.unwrap_or(rounds).max(1),
        seconds: args.seconds.unwrap_or(seconds),
        warm_up,
        repeats,
    }
}

/// The selected implementations.
fn implementations(args: &Args) -> Result<Vec<&'static Implementation>> {
    if let Some(adapter) = &args.adapter {
        return Implementation::by_adapter(adapter).with_context(|| {
            format!("there is no adapter `{adapter}`; there are hyper, axum, warp")
        });
    }
    for name in args.against.iter().chain(&args.only) {
        if Implementation::find(name).is_none() {
            let names: Vec<_> = IMPLEMENTATIONS.iter().map(|it| it.name).collect();
            bail!("there is no implementation `{name}`; there are {}", names.join(", "));
        }
    }
    let named = |names: &[String], it: &Implementation| names.iter().any(|name| name == it.name);
    let chosen = IMPLEMENTATIONS.iter().filter(|it| {
        let other = matches!(it.kind, Kind::Peer | Kind::Batch);
        match (args.only.is_empty(), args.against.is_empty()) {
            (false, _) => named(&args.only, it),
            (true, false) => !other || named(&args.against, it),
            (true, true) => {
                let is_survey = args.short && args.scenario.is_empty();
                !other || !is_survey || SHORT_AGAINST.contains(&it.name)
            }
        }
    });
    Ok(chosen.collect())
}

/// The selected scenarios.
fn scenarios(args: &Args) -> Result<Vec<&'static Scenario>> {
    let names: Vec<&str> = match (args.scenario.is_empty(), args.short) {
        (false, _) => args.scenario.iter().map(String::as_str).collect(),
        (true, true) => SHORT_SCENARIOS.to_vec(),
        (true, false) => SCENARIOS.iter().map(|scenario| scenario.name).collect(),
    };
    names.into_iter().map(Scenario::named).collect()
}

fn list() {
    println!("scenarios (--scenario)");
    for scenario in SCENARIOS {
        println!("  {:<18} {}", scenario.name, scenario.title);
    }
    println!("\nimplementations (--against, --only)");
    for implementation in IMPLEMENTATIONS {
        println!("  {:<26} {:?}", implementation.name, implementation.kind);
    }
}

/// The scenarios and other libraries of a short run: a scenario of each kind, and the libraries
/// that are best in most of them.
const SHORT_SCENARIOS: &[&str] = &[
    "echo-128",
    "pipeline",
    "rate",
    "echo-16k-utf8",
    "echo-1m-4",
    "latency",
    "deflate-1k",
    "fanout-w1",
];
const SHORT_AGAINST: &[&str] =
    &["fastwebsockets", "yawc", "tokio-websockets", "tungstenite", "tungstenite+rb16k+batch"];
