//! Which task of the project is run by `cargo xtask TASK`?

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task reports to a terminal")]

mod autobahn;
mod bench;
mod book;
mod ci;
mod coverage;
mod crates;
mod dependencies;
mod features;
mod fuzz;
mod process;
mod tidy;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the public names and methods of each library, as they are counted.
    Api(tidy::ApiArgs),
    /// Attack every server, the client and the hub, and compare with the documented bounds.
    #[command(disable_help_flag = true)]
    Attack(bench::AttackArgs),
    /// Run the Autobahn conformance suite against the server, the client, or both.
    Autobahn(autobahn::AutobahnArgs),
    /// Compare the server with other libraries.
    #[command(disable_help_flag = true)]
    Bench(bench::BenchArgs),
    /// Build the book with mdBook.
    Book,
    /// Run the steps of continuous integration in order, up to the first failure.
    Ci,
    /// Count the lines of the libraries that their tests reach.
    Coverage(coverage::CoverageArgs),
    /// Count the crates that the client takes with each of its features, and check the caps.
    Crates(crates::CratesArgs),
    /// Check licences, sources and wildcards of the dependencies by `deny.toml`, and that their
    /// oldest versions fit together.
    Dependencies,
    /// Check each library with none of its features, and with each of them alone.
    Features(features::FeaturesArgs),
    /// Run fuzz targets.
    Fuzz(fuzz::FuzzArgs),
    /// Compute how many nodes a cluster needs, and what its broker carries. `--simulate` compares the
    /// model with 1,000 hubs on a bus in memory.
    #[command(disable_help_flag = true)]
    Model(bench::ModelArgs),
    /// Measure 100,000 idle and 20,000 active connections.
    #[command(disable_help_flag = true)]
    Scale(bench::AttackArgs),
    /// Run a mixed load through every feature, and check invariants and memory.
    #[command(disable_help_flag = true)]
    Soak(bench::AttackArgs),
    /// Check the rules that the compiler does not check.
    Tidy,
    /// Build the client for browsers, check its size, and test it in Chromium and node.
    Wasm(wasm::WasmArgs),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Api(args) => tidy::api(&args),
        Task::Attack(args) => bench::attack("attack", &args),
        Task::Autobahn(args) => autobahn::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Book => book::build(),
        Task::Ci => ci::run(),
        Task::Coverage(args) => coverage::run(&args),
        Task::Crates(args) => crates::run(&args),
        Task::Dependencies => dependencies::check(),
        Task::Features(args) => features::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Model(args) => bench::model(&args),
        Task::Scale(args) => bench::attack("scale", &args),
        Task::Soak(args) => bench::attack("soak", &args),
        Task::Tidy => tidy::run(),
        Task::Wasm(args) => wasm::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
