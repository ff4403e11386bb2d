//! Which steps does continuous integration run, and do they pass?

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{self, describe};
use crate::{autobahn, bench, book, crates, dependencies, features, fuzz, tidy, wasm, workspace};

/// Runs every step in order, up to the first failure.
pub(crate) fn run() -> Result<()> {
    let mut times = Vec::new();
    // The totals of the tests, which are printed last.
    let mut tests = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        println!("\n==> {name}");
        let started = Instant::now();
        outcome = step(&mut tests).with_context(|| format!("step `{name}` failed"));
        times.push((name, started.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            break;
        }
    }
    println!();
    for (name, time, good) in &times {
        println!("{}", line(name, *time, *good));
    }
    for said in tests {
        println!("{said}");
    }
    outcome
}

fn line(name: &str, time: Duration, good: bool) -> String {
    let outcome = if good { "ok" } else { "FAILED" };
    format!("{name:<10} {outcome:<6} {:>7.1} s", time.as_secs_f64())
}

type Step = fn(&mut Vec<String>) -> Result<()>;

const STEPS: [(&str, Step); 9] = [
    ("fmt", |_| {
        cargo("fmt --all --check")?;
        EXCLUDED
            .iter()
            .try_for_each(|it| cargo(&format!("fmt --all --check --manifest-path {it}/Cargo.toml")))
    }),
    ("clippy", |_| {
        cargo("clippy --workspace --all-targets --all-features -- -D warnings")?;
        // The crates must also build without their default features.
        cargo("clippy --package ws-core --no-default-features -- -D warnings")?;
        cargo("clippy --package ws-client --no-default-features -- -D warnings")?;
        for library in
            ["core", "client", "events", "events-nats", "events-redis", "events-socketio"]
        {
            features::check_each(&format!("ws-{library}"))?;
        }
        // The other features of the adapters are those of `ws-core`.
        for adapter in ["ws-server-axum", "ws-server-hyper", "ws-server-warp"] {
            features::check(adapter, Some("test-client"))?;
        }
        crates::check()
    }),
    ("docs", |_| {
        let mut doc = workspace::cargo();
        process::run(
            doc.args(["doc", "--workspace", "--no-deps", "--all-features"])
                .env("RUSTDOCFLAGS", "-Dwarnings"),
        )?;
        book::build()?;
        package()
    }),
    // Before the tests, which run what it builds.
    ("wasm", |_| wasm::build()),
    ("test", |said| {
        let mut test = workspace::cargo();
        test.args(["test", "--workspace", "--all-features"]);
        run_tests(&mut test, said)?;
        // Nothing is missing there.
        cargo("test --package ws-client --no-default-features --test missing_features")
    }),
    ("tidy", |_| {
        tidy::run()?;
        dependencies::check()
    }),
    ("bench", |_| bench::check()),
    ("autobahn", |_| {
        autobahn::run_with("server")?;
        // What the short form leaves out, large compressed payloads, is the same code in both roles.
        autobahn::run_with("client --quick")?;
        // The other cases test ws-core, which is the same under each adapter.
        autobahn::run_with("server 12.* 13.* --quick --adapter axum")?;
        autobahn::run_with("server 12.* 13.* --quick --adapter warp")?;
        // The large messages of section 9 take long through the translation.
        let http2 = "server 1.* 2.* 3.* 4.* 5.* 6.* 7.* 10.* 12.* 13.* --quick --http2 --adapter";
        ["hyper", "axum"].iter().try_for_each(|it| autobahn::run_with(&format!("{http2} {it}")))
    }),
    ("fuzz", |_| fuzz::all(None, 10)),
];

/// The workspaces beside the main one: see `exclude` in its manifest.
const EXCLUDED: [&str; 4] =
    ["ws-core/fuzz", "ws-events/socketio/tests/peers/rust", "xtask/bench", "xtask/wasm"];

/// Packages each crate that can be published, without compiling it again.
fn package() -> Result<()> {
    let metadata = workspace::metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.context("cargo metadata names no packages")?.iter();
    let published = packages.filter(|it| it.get("publish").is_some_and(Value::is_null));
    let names = published.filter_map(|it| it.get("name")?.as_str());
    let mut package = workspace::cargo();
    package.args(["package", "--quiet", "--no-verify", "--allow-dirty"]);
    process::run(package.args(names.flat_map(|name| ["--package", name])))
}

fn cargo(args: &str) -> Result<()> {
    process::run(workspace::cargo().args(args.split_whitespace()))
}

/// Runs the tests, and keeps their totals.
fn run_tests(command: &mut Command, said: &mut Vec<String>) -> Result<()> {
    let name = describe(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{name}`"))?;
    let mut sum = Sum::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read what the tests print")?;
            println!("{line}");
            sum.add(&line);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{name}`"))?;
    said.extend(sum.not_run.take());
    said.push(sum.line(status.success()));
    ensure!(status.success(), "`{name}` failed: {status}");
    Ok(())
}

/// The results of all test programs, added up.
#[derive(Debug, Default)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The line with the number of interop tests that were skipped.
    not_run: Option<String>,
}

impl Sum {
    fn add(&mut self, line: &str) {
        if line.contains("interop tests not run") {
            self.not_run = Some(line.to_owned());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for count in counts.split([';', '.']) {
            match count.trim().split_once(' ').map(|(number, what)| (number.parse::<u64>(), what)) {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }

    fn line(&self, good: bool) -> String {
        let Self { passed, failed, ignored, .. } = self;
        let outcome = if good { "ok" } else { "FAILED" };
        format!("test result: {outcome}. {passed} passed; {failed} failed; {ignored} ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_added_up() {
        let mut sum = Sum::default();
        for line in [
            "running 2 tests",
            "test a ... ok",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.50s",
            "3 interop tests not run",
            "test result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            sum.add(line);
        }
        assert_eq!(sum.line(false), "test result: FAILED. 42 passed; 1 failed; 1 ignored");
        assert_eq!(sum.not_run.as_deref(), Some("3 interop tests not run"));
    }

    #[test]
    fn a_step_takes_one_line() {
        let line = line("autobahn", Duration::from_millis(181_250), true);
        assert_eq!(line, "autobahn   ok       181.2 s");
    }
}
