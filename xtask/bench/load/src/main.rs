//! How is a server put under load by this program, which prints its report as one line of JSON?

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

/// Puts a WebSocket server under load, and checks all replies.
#[derive(Debug, Parser)]
struct Args {
    /// Address of the server.
    #[arg(long)]
    connect: SocketAddr,
    /// Name of the scenario.
    #[arg(long)]
    scenario: String,
    /// Process id of the server, to read its processor time.
    #[arg(long)]
    pid: Option<i32>,
    /// Measured time in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Warm-up in seconds before that.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// Number of messages, instead of a time.
    #[arg(long)]
    messages: Option<u64>,
    /// Number of connections, instead of the scenario's.
    #[arg(long)]
    conns: Option<usize>,
    /// Number of messages in flight, instead of the scenario's.
    #[arg(long)]
    in_flight: Option<usize>,
    /// The server echoes bytes: frames come back with their masks.
    #[arg(long)]
    raw: bool,
    /// Processor to run on.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(core) = args.core {
        let mut set = CpuSet::new();
        set.set(core)
            .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
            .with_context(|| format!("cannot run on processor {core}: omit `--core`"))?;
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
        Shape::Client => bail!("the load of this scenario is a client, not the generator"),
        Shape::Echo | Shape::Rate(_) | Shape::Fanout | Shape::Burst => {
            Traffic::open(args.connect, scenario, args.raw)?.run(args.pid, extent)?
        }
    };
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &report)?;
    Ok(writeln!(out)?)
}
