//! How is a server put under load by this program, which prints its report as one line of JSON?

use anyhow::{Result, bail};
use clap::Parser;
use load::drive::carrier::Connector;
use load::drive::traffic::Traffic;
use load::drive::window::Extent;
use load::drive::{http2, idle, upgrades};
use load::options::LoadOptions;
use load::process::run_on;
use load::scenario::{Carrier, Scenario, Shape};

/// Puts a WebSocket server under load, and checks all replies.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    load: LoadOptions,
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
    /// Over HTTP/2, the number of further WebSockets that send, and take no answers.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Processor to run on.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(core) = args.core {
        run_on([core])?;
    }
    let LoadOptions { connect, scenario, certificate, pid, seconds, warm_up } = args.load;
    let scenario = Scenario::named(&scenario)?;
    let scenario = Scenario {
        conns: args.conns.unwrap_or(scenario.conns),
        in_flight: args.in_flight.unwrap_or(scenario.in_flight),
        ..*scenario
    };
    let extent = match args.messages {
        Some(messages) => Extent::Messages(messages),
        None => Extent::Time(warm_up, seconds),
    };
    let connector = Connector::new(connect, &scenario, certificate.as_deref())?;
    let report = match scenario.shape {
        Shape::Idle => idle::run(&connector, &scenario, args.raw, pid)?,
        Shape::Client => bail!("the load of this scenario is a client, not the generator"),
        Shape::Upgrades => upgrades::run(&connector, &scenario, pid, extent)?,
        Shape::Echo if scenario.carrier == Carrier::Http2 => {
            http2::run(&connector, &scenario, args.stalled, pid, extent)?
        }
        Shape::Echo | Shape::Rate(_) | Shape::Fanout | Shape::Burst => {
            Traffic::open(&connector, scenario, args.raw)?.run(pid, extent)?
        }
    };
    report.print()
}
