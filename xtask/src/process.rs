//! How are child processes started, watched and ended?

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Runs a command to its end, on the same terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("cannot run `{name}`"))?;
    ensure!(status.success(), "`{name}` failed: {status}");
    Ok(())
}

/// The command as it would be typed.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A program in the background. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Background {
    name: String,
    child: Child,
    lines: Receiver<String>,
    /// The command that ends the program where killing the child does not: a container.
    on_drop: Option<Command>,
}

impl Background {
    /// Starts `command`. Its output goes to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let mut log_file =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file.try_clone().context("cannot share the log")?)
            .spawn()
            .with_context(|| format!("cannot start `{}`", describe(command)))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // Reads to the end in any case: a full pipe would block the program.
            thread::spawn(move || {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                    // Reading goes on if the log cannot be written.
                    let _ = writeln!(log_file, "{line}");
                    let _ = sender.send(line);
                }
            });
        }
        Ok(Self { name: name.to_owned(), child, lines, on_drop: None })
    }

    /// Also runs `command` when this is dropped.
    #[must_use]
    pub(crate) fn on_drop(mut self, command: Command) -> Self {
        self.on_drop = Some(command);
        self
    }

    /// The lines that were printed since the last call.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter()
    }

    /// Waits for a line for which `find` returns a value.
    pub(crate) fn wait_for_line<T>(
        &self,
        timeout: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match find(&line) {
                    Some(found) => return Ok(found),
                    None => seen.push(line),
                },
                Err(why) => {
                    let why = match why {
                        RecvTimeoutError::Timeout => "is not ready in time",
                        RecvTimeoutError::Disconnected => "ended before it was ready",
                    };
                    bail!("{} {why}; it printed: {:?}", self.name, seen.join("\n"));
                }
            }
        }
    }

    /// The exit status, if the program has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot watch {}", self.name))
    }

    /// The name for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Errors mean that the program has ended already.
        if let Some(command) = &mut self.on_drop {
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    fn shell(script: &str) -> Background {
        let log = env::temp_dir().join(format!(
            "xtask-process-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        let started = Background::start("it", Command::new("sh").args(["-c", script]), &log);
        std::fs::remove_file(log).unwrap();
        started.unwrap()
    }

    fn number(line: &str) -> Option<u16> {
        line.parse().ok()
    }

    #[test]
    fn the_awaited_line_is_found_and_drop_ends_the_program() {
        let it = shell("echo wait; echo $$; exec tail -f /dev/null");
        let id = it.wait_for_line(Duration::from_secs(10), |line| line.parse::<u32>().ok());
        let id = id.unwrap().to_string();
        let alive = || Command::new("kill").args(["-0", &id]).output().unwrap().status.success();
        assert!(alive());
        drop(it);
        assert!(!alive());
    }

    #[test]
    fn an_early_end_and_a_timeout_are_different_errors() {
        let early = shell("echo bad luck").wait_for_line(Duration::from_secs(10), number);
        let early = early.unwrap_err().to_string();
        assert!(early.contains("ended before") && early.contains("bad luck"), "{early}");
        let late = shell("exec tail -f /dev/null").wait_for_line(Duration::from_millis(50), number);
        assert!(late.unwrap_err().to_string().contains("in time"));
    }
}
