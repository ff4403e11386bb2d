//! What does a hub cost, beside bare TCP and beside other hubs?

mod drive;
mod inside;
mod raw;
mod serve;
mod table;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::serve::Kind;

/// Measures the hub: deliveries over the network, and what it takes inside.
#[derive(Debug, Parser)]
struct Args {
    /// A quick look: fewer rounds, each shorter.
    #[arg(long)]
    short: bool,
    /// How often each contestant is measured in each shape.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each time, in seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Leave the network out.
    #[arg(long)]
    inside: bool,
    /// Measure over the network alone.
    #[arg(long, conflicts_with = "inside")]
    network: bool,
    /// Only a room of so many members.
    #[arg(long)]
    room: Option<usize>,
    /// Only so many messages at once.
    #[arg(long)]
    burst: Option<usize>,
    /// Only this one; may be said several times.
    #[arg(long)]
    only: Vec<Kind>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program is, when it starts itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// A server that sends to a room, until its input ends.
    Serve {
        /// Which.
        #[arg(value_enum)]
        kind: Kind,
    },
    /// Costs without a network.
    Inside {
        #[arg(value_enum)]
        what: inside::What,
        /// How many members.
        #[arg(long, default_value_t = 100_000)]
        members: usize,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.part {
        Some(Part::Serve { kind }) => {
            run_on(0)?;
            serve::serve(kind)
        }
        Some(Part::Inside { what, members }) => {
            run_on(0)?;
            inside::run(what, members)
        }
        None => {
            let rounds = args.rounds.unwrap_or(if args.short { 3 } else { 7 });
            let seconds = args.seconds.unwrap_or(if args.short { 0.4 } else { 1.0 });
            if !args.network {
                table::inside()?;
            }
            if !args.inside {
                run_on(1)?;
                let plan = table::Plan {
                    rounds,
                    seconds,
                    room: args.room,
                    burst: args.burst,
                    only: args.only,
                };
                plan.measure()?;
            }
            Ok(())
        }
    }
}

/// The server has one processor, and who drives it another.
fn run_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .with_context(|| format!("cannot run on processor {core}"))
}
