//! How is the progress of the Autobahn suite shown?

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows progress: live on a terminal, every 15 seconds in a log.
#[derive(Debug)]
pub(crate) struct Progress {
    role: &'static str,
    started: Instant,
    shown: Instant,
    total: usize,
    started_cases: usize,
    /// The current case of each part.
    current: BTreeMap<usize, String>,
    live: bool,
}

impl Progress {
    pub(crate) fn new(role: &'static str, total: usize) -> Self {
        let now = Instant::now();
        let live = io::stdout().is_terminal();
        Self {
            role,
            started: now,
            shown: now,
            total,
            started_cases: 0,
            current: BTreeMap::new(),
            live,
        }
    }

    /// Reads a line of the suite's output about a part.
    pub(crate) fn add_line(&mut self, part: usize, line: &str) {
        let Some(case) = case_in(line) else { return };
        self.current.insert(part, case.to_owned());
        self.started_cases += 1;
    }

    /// Prints the progress, if enough time has passed since the last time.
    pub(crate) fn print(&mut self) {
        let interval = if self.live { Duration::from_millis(200) } else { Duration::from_secs(15) };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        if self.live {
            // Returns to the start of the line and clears it.
            print!("\r\x1b[K{}", self.line());
            // An error here shows again when the results are printed.
            let _ = io::stdout().flush();
        } else {
            println!("{}", self.line());
        }
    }

    /// Removes the live line.
    pub(crate) fn finish(self) {
        if self.live {
            print!("\r\x1b[K");
        }
    }

    fn line(&self) -> String {
        let Self { role, started_cases, total, .. } = self;
        let current: Vec<_> = self.current.values().map(String::as_str).collect();
        let seconds = self.started.elapsed().as_secs();
        format!(
            "autobahn {role}: {started_cases}/{total} cases, {seconds} s, at {}",
            current.join(" and ")
        )
    }
}

/// The case that a line of the suite names as the current one.
fn case_in(line: &str) -> Option<&str> {
    line.strip_prefix("Running test case ID ")?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_is_found_in_the_output_of_the_suite() {
        let line = "Running test case ID 1.1.7 for agent ws from peer 127.0.0.1:9";
        assert_eq!(case_in(line), Some("1.1.7"));
        assert_eq!(case_in("Ok, will run 517 test cases"), None);
    }

    #[test]
    fn each_part_has_its_place() {
        let mut progress = Progress::new("server", 517);
        progress.add_line(1, "Running test case ID 13.1.2 for agent ws");
        progress.add_line(0, "Running test case ID 12.3.4 for agent ws");
        progress.add_line(0, "Servers = ['ws://127.0.0.1:1']");
        let line = progress.line();
        assert!(line.contains("2/517 cases") && line.ends_with("at 12.3.4 and 13.1.2"), "{line}");
    }
}
