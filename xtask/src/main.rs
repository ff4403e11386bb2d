//! Which chore is to be done? `cargo xtask WORD`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore reports to a terminal")]

mod autobahn;
mod bench;
mod ci;
mod fuzz;
mod process;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Run the Autobahn conformance suite against our server, our client, or both.
    Autobahn(autobahn::Args),
    /// Measure our server beside other libraries.
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Everything that continuous integration runs, in order, up to the first failure.
    Ci,
    /// Run fuzz targets.
    Fuzz(fuzz::Args),
    /// Check the promises that the compiler cannot keep.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().word {
        Word::Autobahn(args) => autobahn::run(&args),
        Word::Bench(args) => bench::run(&args),
        Word::Ci => ci::run(),
        Word::Fuzz(args) => fuzz::run(&args),
        Word::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
