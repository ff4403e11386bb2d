//! How is the progress of a long measurement shown?

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// A progress line on the terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    done: usize,
    all: usize,
    began: Instant,
    /// The time of the last line in a log, which is not a terminal.
    said: Instant,
    terminal: bool,
}

impl Progress {
    /// Progress through a number of steps.
    pub(crate) fn new(all: usize) -> Self {
        let now = Instant::now();
        Self { done: 0, all, began: now, said: now, terminal: std::io::stderr().is_terminal() }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, scenario: &str, entry: &str, round: usize) {
        let seconds = self.began.elapsed().as_secs();
        let line = format!(
            "[{}/{}, {seconds} s] {scenario}, round {}: {entry}",
            self.done + 1,
            self.all,
            round + 1
        );
        self.done += 1;
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            // An error of the terminal does not matter here.
            let _ = std::io::stderr().flush();
        } else if self.said.elapsed().as_secs() >= 10 {
            self.said = Instant::now();
            eprintln!("{line}");
        }
    }

    /// Prints a line that stays.
    pub(crate) fn note(&self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    /// Removes the line before other output.
    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
