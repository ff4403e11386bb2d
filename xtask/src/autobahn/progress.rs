//! How far is the suite?

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tells the terminal, live, or a log, from time to time.
#[derive(Debug)]
pub(crate) struct Progress {
    role: &'static str,
    started: Instant,
    shown: Instant,
    total: usize,
    begun: usize,
    /// The case that each part is at.
    at: Vec<String>,
    live: bool,
}

impl Progress {
    pub(crate) fn new(role: &'static str, total: usize) -> Self {
        let now = Instant::now();
        let live = io::stdout().is_terminal();
        Self { role, started: now, shown: now, total, begun: 0, at: Vec::new(), live }
    }

    /// Takes in a line that the suite printed about a part.
    pub(crate) fn hear(&mut self, part: usize, line: &str) {
        let Some(case) = case_in(line) else { return };
        if self.at.len() <= part {
            self.at.resize(part + 1, "the start".to_owned());
        }
        if let Some(at) = self.at.get_mut(part) {
            case.clone_into(at);
        }
        self.begun += 1;
    }

    /// Prints how far it is, if it is time to.
    pub(crate) fn show(&mut self) {
        let pause = if self.live { Duration::from_millis(200) } else { Duration::from_secs(15) };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        if self.live {
            // Back to the start of the line, and clear it.
            print!("\r\x1b[K{}", self.line());
            // A terminal that has gone away is found out by those who print results.
            let _ = io::stdout().flush();
        } else {
            println!("{}", self.line());
        }
    }

    /// Takes a live line away again.
    pub(crate) fn finish(self) {
        if self.live {
            print!("\r\x1b[K");
        }
    }

    fn line(&self) -> String {
        let Self { role, begun, total, .. } = self;
        let seconds = self.started.elapsed().as_secs();
        format!("autobahn {role}: {begun}/{total} cases, {seconds} s, at {}", self.at.join(" and "))
    }
}

/// The case that the suite says it is at.
fn case_in(line: &str) -> Option<&str> {
    line.strip_prefix("Running test case ID ")?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_is_found_in_what_the_suite_prints() {
        let line = "Running test case ID 1.1.7 for agent ws from peer 127.0.0.1:9";
        assert_eq!(case_in(line), Some("1.1.7"));
        assert_eq!(case_in("Ok, will run 517 test cases"), None);
    }

    #[test]
    fn each_part_has_its_place() {
        let mut progress = Progress::new("server", 517);
        progress.hear(1, "Running test case ID 13.1.2 for agent ws");
        progress.hear(0, "Running test case ID 12.3.4 for agent ws");
        progress.hear(0, "Servers = ['ws://127.0.0.1:1']");
        let line = progress.line();
        assert!(line.contains("2/517 cases") && line.ends_with("at 12.3.4 and 13.1.2"), "{line}");
    }
}
