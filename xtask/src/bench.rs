//! How is the benchmark, a workspace of its own, built, checked and run?

use anyhow::Result;

use crate::{process, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Arguments of the benchmark: see `cargo xtask bench --help`, and for the hub
    /// `cargo xtask bench hub --help`. `cluster` measures two hubs over Redis and NATS,
    /// beside socket.io and socketioxide over Redis; `--short` is a trial of a few seconds.
    /// `history` measures what histories and recovery cost, and fails beyond the bars;
    /// `history --instructions` counts what an emit without one costs.
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
        Some((&"cluster", rest)) => {
            // A program of the other workspace, which depends on socketioxide.
            built("build", &["--quiet", "--release", "--package", "cluster-peer"])?;
            let peer = workspace::target_dir()?.join("release/cluster-peer");
            let bench = ["bench", "--package", "ws-events-broker", "--bench", "cluster", "--"];
            process::run(workspace::cargo().args(bench).args(rest).env("WS_CLUSTER_PEER", peer))
        }
        Some((&"history", rest)) => {
            let bench = ["bench", "--package", "ws-events-broker", "--bench", "history", "--"];
            process::run(workspace::cargo().args(bench).args(rest))
        }
        _ => bench(&args),
    }
}

/// The model of a cluster, which depends on `ws-events` alone.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// `--cores N`, `--gib N` and `--percent N` of a node, and `--simulate`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn model(args: &ModelArgs) -> Result<()> {
    let bench = ["bench", "--quiet", "--package", "ws-events-broker", "--bench", "model", "--"];
    process::run(workspace::cargo().args(bench).args(&args.args))
}

/// The programs of `attack`, which depend on all crates as the benchmark does.
#[derive(Debug, clap::Args)]
pub(crate) struct AttackArgs {
    /// Arguments of the program: see its `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs `task`, which is `attack`, `scale` or `soak`.
pub(crate) fn attack(task: &str, args: &AttackArgs) -> Result<()> {
    let args: Vec<&str> = args.args.iter().map(String::as_str).collect();
    built(
        "run",
        &[&["--quiet", "--release", "--package", "attack", "--", task], &args[..]].concat(),
    )
}

/// Checks lints and tests of the benchmark, runs the short form of the attacks, and checks the
/// instructions per message. Other libraries are left out, because they take longer to build than all
/// the rest.
pub(crate) fn check() -> Result<()> {
    let ours = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let clippy: Vec<&str> = ours.clone().chain(["--all-targets", "--", "-D", "warnings"]).collect();
    built("clippy", &clippy)?;
    built("test", &ours.collect::<Vec<_>>())?;
    // The build without optimisation is there already.
    built("run", &["--quiet", "--package", "attack", "--", "attack", "--short"])?;
    let kept = ["raw-tokio", "ours", "ours+hyper", "ours+axum", "ours+warp"];
    let only = kept.into_iter().flat_map(|name| ["--only", name]);
    bench(&["--instructions"].into_iter().chain(only).collect::<Vec<_>>())
}

const PACKAGES: &[&str] = &["attack", "hub", "kit", "limits", "load", "metered", "ours", "runner"];

fn bench(args: &[&str]) -> Result<()> {
    built("run", &[&["--quiet", "--package", "runner", "--"], args].concat())
}

/// Runs a cargo command that builds. The folder is that of the main workspace, which shares most of the
/// dependencies.
fn built(command: &str, args: &[&str]) -> Result<()> {
    let target = workspace::target_dir()?;
    let target = target.to_string_lossy();
    cargo(command, &[&["--locked", "--target-dir", &target], args].concat())
}

fn cargo(command: &str, args: &[&str]) -> Result<()> {
    let mut cargo = workspace::cargo();
    let manifest = workspace::root().join("xtask/bench/Cargo.toml");
    process::run(cargo.arg(command).arg("--manifest-path").arg(manifest).args(args))
}
