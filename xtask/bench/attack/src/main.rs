//! Does the library hold under attack, for hours, and with 100,000 connections?

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program reports to a terminal")]

mod client;
mod flood;
mod flood_client;
mod flood_kind;
mod http;
mod http2;
mod hub;
mod hubs;
mod origins;
mod plot;
mod protocol;
mod record;
mod report;
mod scale;
mod serve;
mod soak;
mod target;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::serve::Adapter;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Attack every server, the client and the hub, and compare with the documented bounds.
    Attack(AttackArgs),
    /// Measure many connections.
    Scale(scale::ScaleArgs),
    /// Run a mixed load, and check invariants and memory.
    Soak(soak::SoakArgs),
    /// Hold the connections of `scale`.
    #[command(hide = true)]
    Clients(scale::ClientsArgs),
    /// Start a server that is attacked.
    #[command(hide = true)]
    Serve(serve::ServeArgs),
    /// Flood a server.
    #[command(hide = true)]
    Flood(flood::FloodArgs),
    /// Measure round trips.
    #[command(hide = true)]
    Neighbour(flood::NeighbourArgs),
    /// Dial a hostile server, or a server through a hostile proxy.
    #[command(hide = true)]
    Dial(client::DialArgs),
}

#[derive(Debug, clap::Args)]
struct AttackArgs {
    /// Small counts, and no judgement of latencies.
    #[arg(long)]
    short: bool,
    /// Only attacks with this in their name.
    #[arg(long)]
    only: Option<String>,
    /// The file of the report.
    #[arg(long, default_value = "target/attack/report.md")]
    report: PathBuf,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Attack(args) => attack(args),
        Task::Scale(args) => scale::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Clients(args) => scale::run_clients(&args),
        Task::Serve(args) => serve::run(&args),
        Task::Flood(args) => flood::run_flood(&args),
        Task::Neighbour(args) => flood::run_neighbour(&args),
        Task::Dial(args) => client::run_dial(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attack(args: AttackArgs) -> Result<()> {
    let AttackArgs { short, only, report: file } = args;
    load::meter::allow_files(1_000)?;
    let mut report = Report::new(only);
    let began = Instant::now();
    let idle = protocol::targets(&Adapter::ALL, &[])?;
    let silent = report.wants("slow loris").then(|| http::silent(&idle));
    {
        let mut targets = protocol::targets(&Adapter::ALL, &[])?;
        protocol::run(&mut report, &mut targets);
        origins::run(&mut report, &mut targets);
        http::run(&mut report, &mut targets, short);
    }
    let deadline = format!("--deadlines={}", http::DEADLINE);
    http::deadlines(&mut report, &mut protocol::targets(&Adapter::ALL, &[&deadline])?, short);
    http2::run(&mut report, &mut protocol::targets(&Adapter::HTTP, &[])?, short);
    client::run(&mut report)?;
    hub::run(&mut report, short)?;
    flood::run(&mut report, &mut protocol::targets(&Adapter::ALL, &[])?, short);
    flood::run_elsewhere(&mut report, short)?;
    if let Some(silent) = silent {
        silent.report(&mut report);
    }
    drop(idle);
    let (rows, failed) = report.counts();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&file, report.markdown())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let seconds = began.elapsed().as_secs();
    println!("{rows} rows, {failed} failed, {seconds} s: {}", file.display());
    ensure!(failed == 0, "{failed} of {rows} rows failed");
    Ok(())
}
