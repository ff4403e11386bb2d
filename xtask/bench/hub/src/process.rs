//! How does this program start itself as a child process?

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

/// A child process. Dropping it ends the process.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
}

/// The output of a child process, by line.
pub(crate) struct Answers(Lines<BufReader<ChildStdout>>);

impl Process {
    pub(crate) fn start(args: &[&str]) -> Result<(Self, Answers)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no input")?;
        let answers = Answers(BufReader::new(child.stdout.take().context("no output")?).lines());
        Ok((Self { child, orders }, answers))
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn order(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.orders, "{line}")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answers {
    pub(crate) fn next(&mut self) -> Result<String> {
        Ok(self.0.next().context("the process has ended")??)
    }

    /// All lines, until the process ends.
    pub(crate) fn iter(&mut self) -> impl Iterator<Item = String> {
        self.0.by_ref().map_while(Result::ok)
    }
}
