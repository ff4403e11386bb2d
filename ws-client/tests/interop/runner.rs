//! How does the test harness skip tests whose peer is not installed?
//!
//! The harness of the standard library cannot skip a running test, nor print a summary after its
//! own. This one supports the most important arguments, and counts skipped tests on its last line.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::peers::{self, Missing};

/// The timeout of a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// A test that runs in its own runtime. An error fails it.
pub(crate) struct Test {
    name: String,
    run: Box<dyn Fn() -> Running + Send + Sync>,
}

type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

impl Test {
    pub(crate) fn new<F>(
        name: impl Into<String>,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + 'static,
    {
        Self { name: name.into(), run: Box::new(move || Box::pin(run())) }
    }

    fn outcome(&self) -> Outcome {
        let run = AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let within = runtime.block_on(async {
                tokio::time::timeout(PATIENCE, (self.run)()).await.context("it takes too long")
            });
            within?
        });
        match catch_unwind(run).unwrap_or_else(|_| Err(anyhow!("it panicked"))) {
            Ok(()) => Outcome::Passed,
            Err(error) => match error.downcast::<Missing>() {
                Ok(missing) if !Missing::is_required() => Outcome::NotRun(missing),
                Ok(missing) => Outcome::Failed(anyhow!("{missing} ({})", missing.why())),
                Err(error) => Outcome::Failed(error),
            },
        }
    }
}

enum Outcome {
    Passed,
    Failed(anyhow::Error),
    NotRun(Missing),
}

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<Test>) -> Result<ExitCode> {
    let asked = Asked::of(std::env::args().skip(1))?;
    let all = tests.len();
    let tests: Vec<_> = tests.into_iter().filter(|test| asked.wants(&test.name)).collect();
    let mut out = io::stdout();
    if asked.list {
        for test in &tests {
            writeln!(out, "{}: test", test.name)?;
        }
        if !asked.terse {
            writeln!(out, "\n{} tests, 0 benchmarks", tests.len())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "\nrunning {} tests", tests.len())?;
    let began = Instant::now();
    let mut sum = Sum::default();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (done, finished) = mpsc::channel();
        for _ in 0..asked.threads {
            let (done, next, tests) = (done.clone(), &next, &tests);
            scope.spawn(move || {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let outcome = test.outcome();
                    if done.send((test, outcome, began.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (test, outcome, took) in finished {
            sum.add(&mut out, &asked, &test.name, outcome, took)?;
        }
        io::Result::Ok(())
    })?;
    sum.print(&mut out, all - tests.len(), began.elapsed())?;
    Ok(if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) })
}

/// The results so far.
#[derive(Default)]
struct Sum {
    passed: usize,
    failed: Vec<(String, anyhow::Error)>,
    missing: BTreeSet<String>,
    not_run: usize,
}

impl Sum {
    fn add(
        &mut self,
        out: &mut impl Write,
        asked: &Asked,
        name: &str,
        outcome: Outcome,
        took: Duration,
    ) -> io::Result<()> {
        let (letter, word) = match &outcome {
            Outcome::Passed => ('.', format!("ok <{:.1}s>", took.as_secs_f64())),
            Outcome::Failed(_) => ('F', "FAILED".to_owned()),
            Outcome::NotRun(missing) => ('n', format!("not run ({missing})")),
        };
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(error) => self.failed.push((name.to_owned(), error)),
            Outcome::NotRun(missing) => {
                self.not_run += 1;
                self.missing.insert(format!("{missing} ({})", missing.why()));
            }
        }
        if asked.quiet {
            write!(out, "{letter}")?;
        } else {
            writeln!(out, "test {name} ... {word}")?;
        }
        out.flush()
    }

    fn print(&self, out: &mut impl Write, filtered: usize, took: Duration) -> io::Result<()> {
        let Self { passed, failed, missing, not_run } = self;
        if !failed.is_empty() {
            writeln!(out, "\nfailures:\n")?;
            for (name, error) in failed {
                writeln!(out, "---- {name} ----\n{error:#}\n")?;
            }
            writeln!(out, "failures:")?;
            for (name, _) in failed {
                writeln!(out, "    {name}")?;
            }
        }
        let word = if failed.is_empty() { "ok" } else { "FAILED" };
        writeln!(
            out,
            "\ntest result: {word}. {passed} passed; {} failed; {not_run} ignored; 0 measured; \
             {filtered} filtered out; finished in {:.2}s\n",
            failed.len(),
            took.as_secs_f64(),
        )?;
        for version in peers::versions() {
            writeln!(out, "with {version}")?;
        }
        for what in missing {
            writeln!(out, "{what}")?;
        }
        writeln!(out, "{not_run} interop tests not run")
    }
}

/// The arguments, as in the harness of the standard library.
struct Asked {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    terse: bool,
    quiet: bool,
    /// Only ignored tests: there are none.
    ignored: bool,
    threads: usize,
}

impl Asked {
    fn of(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self {
            filters: Vec::new(),
            skipped: Vec::new(),
            exact: false,
            list: false,
            terse: false,
            quiet: false,
            ignored: false,
            threads: thread::available_parallelism().map_or(1, Into::into),
        };
        while let Some(arg) = args.next() {
            let (flag, mut value) = match arg.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            let mut value =
                || value.take().or_else(|| args.next()).with_context(|| format!("{flag} what?"));
            match flag {
                "--exact" => asked.exact = true,
                "--list" => asked.list = true,
                "--quiet" | "-q" => asked.quiet = true,
                "--ignored" => asked.ignored = true,
                "--format" => asked.terse = value()? == "terse",
                "--skip" => asked.skipped.push(value()?),
                "--test-threads" => asked.threads = value()?.parse().context("--test-threads")?,
                "--color" | "--logfile" | "--shuffle-seed" | "-Z" => drop(value()?),
                // Output is not captured, and other arguments have no effect.
                flag if flag.starts_with('-') => {}
                filter => asked.filters.push(filter.to_owned()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        let is = |filter: &String| if self.exact { name == filter } else { name.contains(filter) };
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(is))
            && !self.skipped.iter().any(is)
    }
}
