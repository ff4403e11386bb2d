//! Who serves WebSockets at the least cost? `cargo xtask bench`.

mod contestants;
mod instructions;
mod programs;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::contestants::{CONTESTANTS, Contestant, Kind};
use crate::programs::Programs;

/// Measures our server beside others, in turns, under the same load.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// Beside us and the limits, measure only this one; may be said several times.
    #[arg(long, value_name = "NAME")]
    against: Vec<String>,
    /// Where results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Count user-space instructions per message, rather than measure time (needs valgrind).
    #[arg(long)]
    instructions: bool,
    /// Measure only this one; may be said several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
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
    let contestants = choose(args)?;
    let programs = Programs::new()?;
    programs.build(&contestants)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {} (--out)", args.out.display()))?;
    if args.instructions {
        return instructions::run(&programs, &contestants, &args.out);
    }
    Ok(())
}

/// The contestants that were asked for.
fn choose(args: &Args) -> Result<Vec<&'static Contestant>> {
    for name in args.against.iter().chain(&args.only) {
        if Contestant::find(name).is_none() {
            let names: Vec<_> = CONTESTANTS.iter().map(|it| it.name).collect();
            bail!("there is no contestant `{name}`; there are {}", names.join(", "));
        }
    }
    let named = |names: &[String], it: &Contestant| names.iter().any(|name| name == it.name);
    let chosen = CONTESTANTS.iter().filter(|it| {
        if !args.only.is_empty() {
            return named(&args.only, it);
        }
        let others = matches!(it.kind, Kind::Peer | Kind::Batch);
        !others || args.against.is_empty() || named(&args.against, it)
    });
    Ok(chosen.collect())
}
