//! How is a server put under load? It prints what it measured, as one line of JSON.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use load::drive::idle;
use load::drive::traffic::Traffic;
use load::drive::window::Extent;
use load::scenario::{SCENARIOS, Scenario, Shape};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Puts a WebSocket server under load, and checks all that it answers.
#[derive(Debug, Parser)]
struct Args {
    /// Where the server is.
    #[arg(long)]
    connect: SocketAddr,
    /// Which load.
    #[arg(long)]
    scenario: String,
    /// The server's process, to read its clock.
    #[arg(long)]
    pid: Option<i32>,
    /// How long to measure.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long to wait before that.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// End after so many messages, rather than after a time.
    #[arg(long)]
    messages: Option<u64>,
    /// Other than the scenario's number of connections.
    #[arg(long)]
    conns: Option<usize>,
    /// Other than the scenario's number of messages in flight.
    #[arg(long)]
    in_flight: Option<usize>,
    /// The server has no protocol: it sends frames back as they are, with their masks.
    #[arg(long)]
    raw: bool,
    /// The processor to run on.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(core) = args.core {
        let mut set = CpuSet::new();
        set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).with_context(
            || format!("cannot run on processor {core}: leave `--core` away where there is none"),
        )?;
    }
    let Some(scenario) = Scenario::find(&args.scenario) else {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("there is no scenario `{}`; there are {}", args.scenario, names.join(", "));
    };
    let scenario = Scenario {
        conns: args.conns.unwrap_or(scenario.conns),
        in_flight: args.in_flight.unwrap_or(scenario.in_flight),
        ..*scenario
    };
    let seconds = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
    let extent = match args.messages {
        Some(messages) => Extent::Messages(messages),
        None => Extent::Time(seconds(args.warm_up), seconds(args.seconds)),
    };
    let report = match scenario.shape {
        Shape::Idle => idle::run(args.connect, &scenario, args.raw, args.pid)?,
        Shape::Client => bail!("here a client makes the load, and not the generator"),
        Shape::Echo | Shape::Rate(_) | Shape::Fanout | Shape::Burst => {
            Traffic::open(args.connect, scenario, args.raw)?.run(args.pid, extent)?
        }
    };
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &report)?;
    Ok(writeln!(out)?)
}
