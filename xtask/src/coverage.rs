//! Which lines of the libraries does no test reach?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{process, workspace};

/// Source files that only tests use.
const TEST_FILES: [&str; 1] = ["deflate/oracle.rs"];

/// The packages whose tests run: those of a nested crate or an adapter test the library below it, too.
const TESTED: [&str; 10] = [
    "ws-core",
    "ws-client",
    "ws-events",
    "ws-events-broker",
    "ws-events-nats",
    "ws-events-redis",
    "ws-events-socketio",
    "ws-server-axum",
    "ws-server-hyper",
    "ws-server-warp",
];

/// The least part of the lines of a library that its tests reach, in tenths of a per cent.
const LEAST: usize = 950;

#[derive(Debug, clap::Args)]
pub(crate) struct CoverageArgs {
    /// The libraries whose lines are counted.
    #[arg(default_values = ["ws-core", "ws-events", "ws-client"])]
    libraries: Vec<String>,
    /// Print the numbers of the lines that are not reached.
    #[arg(long)]
    lines: bool,
}

/// Runs the tests of all library crates with the compiler's instrumentation, and counts lines.
pub(crate) fn run(args: &CoverageArgs) -> Result<()> {
    let dir = workspace::target_dir()?.join("coverage");
    // Profiles of an earlier build do not match.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Only the workspace is instrumented: its dependencies are built as always.
    let wrapper = dir.join("rustc");
    fs::write(&wrapper, "#!/bin/sh\nexec \"$@\" -C instrument-coverage\n")
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", wrapper.display()))?;
    let test = || {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--tests", "--all-features"]);
        cargo.args(TESTED.iter().flat_map(|package| ["--package", package]));
        cargo.env("RUSTC_WORKSPACE_WRAPPER", &wrapper);
        cargo.env("LLVM_PROFILE_FILE", dir.join("%p-%m.profraw"));
        cargo
    };
    let objects = executables(test().args(["--no-run", "--message-format", "json"]))?;
    process::run(&mut test())?;

    let profile = dir.join("merged.profdata");
    let mut merge = tool("llvm-profdata")?;
    merge.args(["merge", "--sparse", "--output"]).arg(&profile).args(profiles(&dir)?);
    process::run(&mut merge)?;
    let mut export = tool("llvm-cov")?;
    export.args(["export", "--format=lcov", "--instr-profile"]).arg(&profile);
    export.args(objects.iter().flat_map(|object| [Path::new("--object"), object]));
    let output = export.stderr(Stdio::inherit()).output().context("cannot run llvm-cov")?;
    ensure!(output.status.success(), "llvm-cov failed: {}", output.status);
    let report = String::from_utf8_lossy(&output.stdout);
    let tenths = args.libraries.iter().map(|library| print(library, &report, args.lines));
    let least = tenths.min().unwrap_or_default();
    ensure!(least >= LEAST, "a library has less than {} %", LEAST / 10);
    Ok(())
}

/// The test programs that this command builds.
fn executables(build: &mut Command) -> Result<Vec<PathBuf>> {
    let output = build.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the tests do not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = |line| {
        let message = serde_json::from_str::<Value>(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    };
    Ok(messages.lines().filter_map(path).collect())
}

fn profiles(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|it| it == "profraw")).collect())
}

/// A tool of the LLVM that the compiler has: another version cannot read its profiles.
fn tool(name: &str) -> Result<Command> {
    let output = Command::new("rustc").arg("-vV").current_dir(workspace::root()).output()?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = version.and_then(|version| version.split('.').next());
    let program = format!("{name}-{}", major.context("rustc does not name its LLVM")?);
    let found = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    ensure!(
        found.is_ok_and(|status| status.success()),
        "{program} is missing: it is in the package `llvm-{}` of Debian",
        major.unwrap_or_default()
    );
    Ok(Command::new(program))
}

/// Prints how many lines of each file are reached. Returns tenths of a per cent.
fn print(library: &str, report: &str, lines: bool) -> usize {
    let source = workspace::root().join(library).join("src");
    let (mut all, mut all_missed) = (0, 0);
    for file in report.split("end_of_record") {
        let Some(path) = file.lines().find_map(|line| line.strip_prefix("SF:")) else { continue };
        let Ok(path) = Path::new(path).strip_prefix(&source) else { continue };
        if TEST_FILES.iter().any(|file| path.ends_with(file)) {
            continue;
        }
        let text = fs::read_to_string(source.join(path)).unwrap_or_default();
        let tests = first_test_line(&text);
        let count = |line: &str| {
            let (number, count) = line.strip_prefix("DA:")?.split_once(',')?;
            Some((number.parse::<usize>().ok()?, count != "0"))
        };
        let counts = file.lines().filter_map(count);
        let counts: Vec<_> = counts.filter(|(line, _)| *line < tests).collect();
        let missed: Vec<_> =
            counts.iter().filter(|(_, reached)| !reached).map(|(line, _)| *line).collect();
        all += counts.len();
        all_missed += missed.len();
        if !missed.is_empty() {
            println!("{:5} of {:5} missed  {}", missed.len(), counts.len(), path.display());
            if lines {
                println!("{:24}{}", "", ranges(&missed).join(" "));
            }
        }
    }
    let tenths = 1000 * (all - all_missed) / all.max(1);
    println!("{library}: {}.{} % of {all} lines\n", tenths / 10, tenths % 10);
    tenths
}

/// The line from which a file has only tests, from 1.
fn first_test_line(text: &str) -> usize {
    let starts = |(line, next): (&str, &str)| line == "#[cfg(test)]" && next.ends_with('{');
    text.lines().zip(text.lines().skip(1)).position(starts).map_or(usize::MAX, |at| at + 1)
}

/// Lines that follow each other, as ranges.
fn ranges(lines: &[usize]) -> Vec<String> {
    let range = |run: &[usize]| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(usize::to_string).collect(),
    };
    lines.chunk_by(|one, next| one + 1 == *next).map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_before_the_tests_count() {
        assert_eq!(first_test_line("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), 3);
        assert_eq!(first_test_line("#[cfg(test)]\nmod oracle;\n\nfn a() {}\n"), usize::MAX);
    }

    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        assert_eq!(ranges(&[3, 5, 6, 7, 9]), ["3", "5-7", "9"]);
    }
}
