//! How does one see that a long measurement is alive?

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// A line on the terminal that says how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    done: usize,
    all: usize,
    began: Instant,
    /// When something was last said to what is not a terminal.
    said: Instant,
    terminal: bool,
}

impl Progress {
    /// Of so many steps.
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
            // It is only a sign of life.
            let _ = std::io::stderr().flush();
        } else if self.said.elapsed().as_secs() >= 10 {
            self.said = Instant::now();
            eprintln!("{line}");
        }
    }

    /// Says something that stays.
    pub(crate) fn note(&self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    /// Takes the line away, before something else is printed.
    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
