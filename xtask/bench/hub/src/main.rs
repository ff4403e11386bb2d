//! What does a hub cost, beside bare TCP and beside other hubs?

mod bars;
mod contest;
mod drive;
mod inside;
mod process;
mod raw;
mod serve;
mod server;
mod table;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::drive::Shape;
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
    /// End with an error if anything that is expected of the hub is missed.
    #[arg(long)]
    check: bool,
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
        /// With little room in the operating system for what a peer does not take.
        #[arg(long)]
        narrow: bool,
    },
    /// Who drives a server, for as many seconds as each line of its input says.
    Drive {
        /// What the server is.
        #[arg(value_enum)]
        kind: Kind,
        /// Where it is.
        addr: SocketAddr,
        /// How many members.
        conns: usize,
        /// How many messages at once.
        burst: usize,
        /// The process of the server.
        server: i32,
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
        Some(Part::Serve { kind, narrow }) => {
            run_on(0)?;
            serve::serve(kind, narrow)
        }
        Some(Part::Drive { kind, addr, conns, burst, server }) => {
            run_on(1)?;
            contest::drive(kind, addr, Shape { conns, burst, stalled: 0 }, server)
        }
        Some(Part::Inside { what, members }) => {
            run_on(0)?;
            inside::run(what, members)
        }
        None => {
            let rounds = args.rounds.unwrap_or(if args.short { 3 } else { 7 });
            let seconds = args.seconds.unwrap_or(if args.short { 0.4 } else { 1.0 });
            let mut bars = bars::Bars::default();
            if !args.network {
                table::inside(&mut bars)?;
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
                plan.measure(&mut bars)?;
            }
            bars.judge(args.check)
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
