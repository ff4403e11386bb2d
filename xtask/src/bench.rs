//! Who serves WebSockets at the least cost? The answer is found by a workspace of its own.

use anyhow::Result;

use crate::{process, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What the benchmark is told; `cargo xtask bench --help` says what there is, and
    /// `cargo xtask bench hub --help` that of the hub.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let args: Vec<&str> = args.args.iter().map(String::as_str).collect();
    match args.split_first() {
        Some((&"hub", rest)) => {
            let hub = ["--quiet", "--release", "--package", "hub", "--features", "peers", "--"];
            built("run", &[&hub, rest].concat())
        }
        _ => bench(&args),
    }
}

/// Is the benchmark itself in order, and does a message still take as few instructions? The
/// servers of others are left out: they take longer to build than all the rest.
pub(crate) fn check() -> Result<()> {
    cargo("fmt", &["--all", "--check"])?;
    let ours = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let clippy: Vec<&str> = ours.clone().chain(["--all-targets", "--", "-D", "warnings"]).collect();
    built("clippy", &clippy)?;
    built("test", &ours.collect::<Vec<_>>())?;
    let kept = ["raw-tokio", "ours", "ours+hyper", "ours+axum", "ours+warp"];
    let only = kept.into_iter().flat_map(|name| ["--only", name]);
    bench(&["--instructions"].into_iter().chain(only).collect::<Vec<_>>())
}

const PACKAGES: &[&str] = &["hub", "kit", "limits", "load", "ours", "runner"];

fn bench(args: &[&str]) -> Result<()> {
    built("run", &[&["--quiet", "--package", "runner", "--"], args].concat())
}

/// Runs a command of cargo that builds something.
fn built(command: &str, args: &[&str]) -> Result<()> {
    let target = workspace::target_dir()?.join("bench-build");
    let target = target.to_string_lossy();
    cargo(command, &[&["--locked", "--target-dir", &target], args].concat())
}

fn cargo(command: &str, args: &[&str]) -> Result<()> {
    let mut cargo = workspace::cargo();
    let manifest = workspace::root().join("xtask/bench/Cargo.toml");
    process::run(cargo.arg(command).arg("--manifest-path").arg(manifest).args(args))
}
