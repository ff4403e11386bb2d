//! How are fuzz targets run, and what do they find?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::{self, describe};
use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// One of the targets in `ws-core/fuzz/fuzz_targets`. Default: all, one per core at a time.
    target: Option<String>,
    /// How long each target runs.
    #[arg(default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    match args.target.as_deref().map(|word| (word, word.parse())) {
        // `fuzz 10` means all targets, 10 s each.
        Some((_, Ok(seconds))) => all(None, seconds),
        target => all(target.map(|(word, _)| word), args.seconds),
    }
}

/// Runs one target, or all, one per core at a time.
pub(crate) fn all(target: Option<&str>, seconds: u64) -> Result<()> {
    let dir = workspace::root().join("ws-core/fuzz");
    let targets = targets(&dir)?;
    if let Some(target) = target {
        ensure!(
            targets.iter().any(|known| known == target),
            "there is no target `{target}`; there are {}",
            targets.join(", ")
        );
    }
    let installed = workspace::cargo()
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    ensure!(installed, "cargo-fuzz is missing: `cargo install --locked cargo-fuzz`");
    match target {
        Some(target) => fuzz(&dir, target, seconds, Output::Terminal),
        None => all_at_once(&dir, &targets, seconds),
    }
}

/// Builds all targets, and runs as many at once as the machine has cores. Each uses one thread.
fn all_at_once(dir: &Path, targets: &[String], seconds: u64) -> Result<()> {
    let mut build = cargo();
    process::run(build.args(["fuzz", "build", "--fuzz-dir"]).arg(dir))?;
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            fuzz(dir, target, seconds, Output::Captured)?;
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
        let mut ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.try_for_each(|it| it.map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Where the output of a fuzzer goes.
#[derive(Clone, Copy, Debug)]
enum Output {
    Terminal,
    /// Printed when the target ends. Lines of several targets do not mix.
    Captured,
}

fn fuzz(dir: &Path, target: &str, seconds: u64, output: Output) -> Result<()> {
    println!("fuzz {target} for {seconds} s");
    let mut cargo = cargo();
    let corpus = dir.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    cargo.args(["fuzz", "run", "--fuzz-dir"]).arg(dir).arg(target).arg(corpus);
    // Without seeds, the first seconds pass before an input gets through the first checks.
    cargo.arg(dir.join("seeds").join(target));
    cargo.args(["--", &format!("-max_total_time={seconds}")]);
    // Limits of time and memory find inputs that hang or allocate too much. State that a thread
    // caches for the next message would be reported as a leak.
    cargo.args(["-timeout=10", "-rss_limit_mb=2048", "-detect_leaks=0"]);
    cargo.arg("-print_final_stats=1");
    let started = SystemTime::now();
    let ended = match output {
        Output::Terminal => process::run(&mut cargo),
        Output::Captured => run_captured(&mut cargo),
    };
    if let Err(error) = ended {
        match newest(&dir.join("artifacts").join(target), started) {
            Some(artifact) => bail!(
                "`{target}` found a failing input: {}\n\
                 Reproduce it: cargo fuzz run --fuzz-dir {} {target} {}",
                artifact.display(),
                dir.display(),
                artifact.display()
            ),
            None => return Err(error),
        }
    }
    Ok(())
}

/// Runs a command, and prints what it printed once it has ended.
fn run_captured(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let output = command.output().with_context(|| format!("cannot run `{name}`"))?;
    let printed = [output.stdout, output.stderr].concat();
    print!("{}", String::from_utf8_lossy(&printed));
    ensure!(output.status.success(), "`{name}` failed: {}", output.status);
    Ok(())
}

/// A cargo that can build fuzz targets.
fn cargo() -> Command {
    let mut cargo = workspace::cargo();
    if !is_nightly() {
        // Sanitizers are the only unstable feature that is needed.
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo
}

fn targets(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.join("fuzz_targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let name =
        |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned());
    let mut targets: Vec<_> = entries.filter_map(|entry| name(entry.ok()?)).collect();
    targets.sort();
    ensure!(!targets.is_empty(), "there are no targets in {}", dir.display());
    Ok(targets)
}

/// The newest file in `dir` that was written since then.
fn newest(dir: &Path, since: SystemTime) -> Option<PathBuf> {
    fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((fs::metadata(&path).ok()?.modified().ok()?, path))
        })
        .filter(|(written, _)| *written >= since)
        .max()
        .map(|(_, path)| path)
}

fn is_nightly() -> bool {
    let version = Command::new("rustc").arg("--version").current_dir(workspace::root()).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("nightly"))
}
