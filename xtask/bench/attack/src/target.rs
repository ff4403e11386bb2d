//! What is known about a server while it is attacked: memory, descriptors, tasks, panics?

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;
use load::process::{Answers, Process};

use crate::flood_client::{Via, Way};
use crate::serve::{Adapter, Use};

/// A server in a process of its own. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// How its clients reach it.
    pub(crate) way: Way,
    process: Process,
    answers: Answers,
    log: PathBuf,
}

/// The counts of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    /// Tasks of the runtime.
    pub(crate) tasks: usize,
    /// WebSockets.
    pub(crate) open: usize,
    pub(crate) connects: u64,
    pub(crate) disconnects: u64,
    pub(crate) errors: u64,
}

impl Target {
    /// Starts a server on the first processor.
    pub(crate) fn start(adapter: Adapter, more: &[&str]) -> Result<Self> {
        let mut command = own(&["serve", "--adapter", adapter.name()])?;
        if std::thread::available_parallelism().map_or(1, Into::into) > 1 {
            command.arg("--core=0");
        }
        command.args(more);
        let name = adapter.name().to_owned();
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = std::env::temp_dir()
            .join(format!("ws-attack-{}-{number}-{name}.log", std::process::id()));
        let file = fs::File::create(&log).with_context(|| format!("no {}", log.display()))?;
        let (process, mut answers) = Process::start(command.stderr(Stdio::from(file)))?;
        let line = answers.line()?;
        let address = line.strip_prefix("listening on ").context("the server has no address")?;
        let address = address.parse()?;
        let option = |name| more.iter().find_map(|it| it.strip_prefix(name));
        let usage = option("--use=").map_or(Ok(Use::Echo), |usage| Use::from_str(usage, false));
        let certificate = option("--tls=").map(str::to_owned);
        let way = Way {
            connect: address,
            via: if certificate.is_some() { Via::Tls } else { Via::Tcp },
            usage: usage.map_err(anyhow::Error::msg)?,
            certificate,
        };
        Ok(Self { name, address, way, process, answers, log })
    }

    /// The counts at this moment.
    pub(crate) fn stats(&mut self) -> Result<Stats> {
        let line = self.ask("stats")?;
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || -> Result<u64> { Ok(numbers.next().context("too few counts")??) };
        Ok(Stats {
            tasks: next()? as usize,
            open: next()? as usize,
            connects: next()?,
            disconnects: next()?,
            errors: next()?,
        })
    }

    /// Sends a line to the process, and returns its answer.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        self.begin(order)?;
        self.answer()
    }

    /// Sends a line to the process.
    pub(crate) fn begin(&mut self, order: &str) -> Result<()> {
        self.process.order(order)
    }

    /// The answer to a line.
    pub(crate) fn answer(&mut self) -> Result<String> {
        self.answers.line().with_context(|| format!("{} has ended", self.name))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id()
    }

    /// The resident memory, in KiB.
    pub(crate) fn memory(&self) -> Result<i64> {
        status(self.pid(), "VmRSS:")
    }

    /// The memory that is allocated, and its peak since the last call, in KiB.
    pub(crate) fn allocated(&mut self) -> Result<(i64, i64)> {
        let line = self.ask("memory")?;
        let (current, peak) = line.split_once(' ').context("no memory")?;
        let kib = |bytes: &str| -> Result<i64> { Ok(bytes.parse::<i64>()? / 1024) };
        Ok((kib(current)?, kib(peak)?))
    }

    /// Forgets the peak of the resident memory, and returns the present one, in KiB.
    pub(crate) fn reset_peak(&self) -> Result<i64> {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5")?;
        self.memory()
    }

    /// The peak of the resident memory since [`reset_peak`](Self::reset_peak), in KiB.
    pub(crate) fn peak(&self) -> Result<i64> {
        status(self.pid(), "VmHWM:")
    }

    /// The number of open files.
    pub(crate) fn files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// Panics so far, and the first of them.
    pub(crate) fn panics(&self) -> Result<(usize, String)> {
        let log = fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log);
        let mut found = log.lines().filter(|line| line.contains("panicked at"));
        let first = found.next().unwrap_or_default().to_owned();
        Ok((usize::from(!first.is_empty()) + found.count(), first))
    }

    /// Waits until only `open` WebSockets are left. Returns how long that took.
    pub(crate) fn wait_open(&mut self, open: usize, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let now = self.stats()?.open;
            if now <= open {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < limit, "{now} connections are open after {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until at most `files` are open. Returns their number.
    pub(crate) fn wait_files(&self, files: usize, limit: Duration) -> Result<usize> {
        wait_for(|| self.files(), files, limit)
    }

    /// Waits until at most so many tasks are left, and returns how many are.
    pub(crate) fn wait_tasks(&mut self, tasks: usize, limit: Duration) -> Result<usize> {
        wait_for(|| Ok(self.stats()?.tasks), tasks, limit)
    }
}

/// Waits until a count is at most so large, and returns it.
fn wait_for(
    mut count: impl FnMut() -> Result<usize>,
    most: usize,
    limit: Duration,
) -> Result<usize> {
    let began = Instant::now();
    loop {
        let now = count()?;
        if now <= most || began.elapsed() > limit {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.log);
    }
}

/// A line of `/proc/PID/status`, in KiB.
pub(crate) fn status(pid: i32, name: &str) -> Result<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("the process {pid} has ended"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.with_context(|| format!("no {name} of process {pid}"))
}

/// This program with other arguments.
pub(crate) fn own(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}
