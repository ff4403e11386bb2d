//! How does `cargo xtask bench hub` compare the hub with bare TCP and with other hubs?

mod comparison;
mod drive;
mod inside;
mod raw;
mod serve;
mod server;
mod table;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use load::process::run_on;

use crate::drive::Shape;
use crate::serve::Kind;

/// Measures the hub: deliveries over the network, and costs without a network.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer and shorter rounds.
    #[arg(long)]
    short: bool,
    /// Number of rounds for each server and shape.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each round.
    #[arg(long)]
    seconds: Option<f64>,
    /// Measure without a network only.
    #[arg(long)]
    inside: bool,
    /// Measure over the network only.
    #[arg(long, conflicts_with = "inside")]
    network: bool,
    /// Fail if a requirement is not met.
    #[arg(long)]
    check: bool,
    /// The protocol of the members. With `socketio`, the hub over Socket.IO is compared with itself
    /// over plain messages, and with other hubs that speak Socket.IO.
    #[arg(long, value_enum, default_value_t = Protocol::Plain)]
    protocol: Protocol,
    /// Only rooms of this size.
    #[arg(long)]
    room: Option<usize>,
    /// Only bursts of this size.
    #[arg(long)]
    burst: Option<usize>,
    /// Only this server; may be repeated.
    #[arg(long)]
    only: Vec<Kind>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Plain,
    Socketio,
}

/// The part of this program that runs in a child process.
#[derive(Debug, Subcommand)]
enum Part {
    /// A server that sends to a room, until its input ends.
    Serve {
        /// The server.
        #[arg(value_enum)]
        kind: Kind,
        /// With small send buffers in the kernel.
        #[arg(long)]
        small_buffers: bool,
    },
    /// A load driver: each line of its input is a number of seconds to run.
    Drive {
        /// The server.
        #[arg(value_enum)]
        kind: Kind,
        /// Address of the server.
        addr: SocketAddr,
        /// Number of members.
        conns: usize,
        /// Messages of a burst.
        burst: usize,
        /// Process id of the server.
        server: i32,
    },
    /// Costs without a network.
    Inside {
        #[arg(value_enum)]
        what: inside::Measurement,
        /// Number of members.
        #[arg(long, default_value_t = 100_000)]
        members: usize,
    },
}

/// Servers run on one processor, unless they have two threads, load drivers on another.
fn main() -> Result<()> {
    let args = Args::parse();
    match args.part {
        Some(Part::Serve { kind, small_buffers }) => {
            run_on(0..kind.threads())?;
            serve::serve(kind, small_buffers)
        }
        Some(Part::Drive { kind, addr, conns, burst, server }) => {
            run_on([1])?;
            comparison::drive(kind, addr, Shape { conns, burst, stalled: 0 }, server)
        }
        Some(Part::Inside { what, members }) => {
            run_on([0])?;
            inside::run(what, members)
        }
        None => {
            let rounds = args.rounds.unwrap_or(if args.short { 3 } else { 7 });
            let seconds = args.seconds.unwrap_or(if args.short { 0.4 } else { 1.0 });
            let mut requirements = table::Requirements::default();
            if !args.network {
                table::inside(args.protocol, &mut requirements)?;
            }
            if !args.inside {
                run_on([1])?;
                let plan = table::Plan {
                    rounds,
                    seconds,
                    room: args.room,
                    burst: args.burst,
                    only: args.only,
                    protocol: args.protocol,
                };
                plan.measure(&mut requirements)?;
            }
            requirements.finish(args.check)
        }
    }
}
