//! How are the processor time and memory of a process read from the operating system?

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Instant,
    measured: Option<Duration>,
    own: Duration,
    all: Duration,
}

/// The use of processors between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// The length in seconds.
    pub seconds: f64,
    /// Processor time of the measured process, in nanoseconds.
    pub measured_ns: u64,
    /// Processor time of this process, in nanoseconds.
    pub own_ns: u64,
    /// The share of one processor that all other processes used.
    pub foreign: f64,
}

impl Moment {
    /// The current time, with the clock of the process `pid` if one is measured.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn now(pid: Option<i32>) -> Result<Self> {
        let measured = pid.map(process_time).transpose()?;
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into();
        Ok(Self { measured, own, all: busy_time()?, at: Instant::now() })
    }

    /// The use since `earlier`.
    pub fn since(&self, earlier: &Self) -> Used {
        let nanos = |now: Duration, then| now.saturating_sub(then).as_nanos() as u64;
        let measured =
            self.measured.zip(earlier.measured).map_or(0, |(now, then)| nanos(now, then));
        let own = nanos(self.own, earlier.own);
        let all = nanos(self.all, earlier.all);
        let seconds = self.at.duration_since(earlier.at).as_secs_f64();
        let foreign = all.saturating_sub(measured + own) as f64 / 1e9 / seconds.max(1e-9);
        Used { seconds, measured_ns: measured, own_ns: own, foreign }
    }
}

fn process_time(pid: i32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid));
    let clock = clock.with_context(|| format!("the measured process {pid} has ended"))?;
    Ok(clock_gettime(clock)?.into())
}

/// The busy time of all processors together, with the time that a host took away.
fn busy_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum();
    Ok(Duration::from_millis(busy * 1000 / TICKS_PER_SECOND))
}

/// The ticks per second in `/proc`, which are the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The resident memory of a process in bytes.
///
/// # Errors
///
/// The process has ended.
pub fn resident_bytes(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has no Rss"))? * 1024)
}

/// Raises the limit of open files of this process and its children to the hard limit.
///
/// # Errors
///
/// The hard limit is below `wanted`.
pub fn allow_files(wanted: u64) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(wanted), hard.max(wanted)).or_else(|_| {
        anyhow::ensure!(hard >= wanted, "{wanted} open files are needed: raise `ulimit -Hn`");
        Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
    })
}
