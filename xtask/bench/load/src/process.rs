//! How are child processes started, asked and ended, and on which processor does a program run?

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// A child process. Dropping it ends the process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: ChildStdin,
}

/// The output of a child process, by line.
#[derive(Debug)]
pub struct Answers(Lines<BufReader<ChildStdout>>);

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn start(command: &mut Command) -> Result<(Self, Answers)> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start {command:?}"))?;
        let input = child.stdin.take().context("no input")?;
        let answers = Answers(BufReader::new(child.stdout.take().context("no output")?).lines());
        Ok((Self { child, input }, answers))
    }

    /// The id of the process.
    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Writes a line to the process.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn order(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input, "{line}")?)
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    ///
    /// The operating system fails.
    pub fn wait(&mut self) -> Result<()> {
        self.child.wait().context("cannot wait for a process").map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answers {
    /// The next line.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn line(&mut self) -> Result<String> {
        Ok(self.0.next().context("the process has ended")??)
    }

    /// All lines, until the process ends.
    pub fn iter(&mut self) -> impl Iterator<Item = String> {
        self.0.by_ref().map_while(std::io::Result::ok)
    }
}

/// Keeps this process on these processors.
///
/// # Errors
///
/// One of them does not exist.
pub fn run_on(cores: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut set = CpuSet::new();
    cores
        .into_iter()
        .try_for_each(|core| set.set(core))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .context("cannot run on these processors")
}
