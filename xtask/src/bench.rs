//! Who serves WebSockets at the least cost? The answer is found by a workspace of its own.

use anyhow::Result;

use crate::{process, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the benchmark is told; `cargo xtask bench --help` says what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut cargo = workspace::cargo();
    let manifest = workspace::root().join("xtask/bench/Cargo.toml");
    cargo.args(["run", "--quiet", "--locked", "--package", "runner", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(workspace::target_dir()?.join("bench-build"));
    cargo.arg("--").args(&args.args);
    process::run(&mut cargo)
}
