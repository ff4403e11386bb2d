//! Which figures must the hub reach, and which does it miss?

use anyhow::{Result, ensure};

/// Collects the requirements that are not met.
#[derive(Debug, Default)]
pub(crate) struct Requirements(Vec<String>);

impl Requirements {
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.require(value <= limit, format!("{what}: {value:.2}, required: at most {limit}"));
    }

    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.require(value >= limit, format!("{what}: {value:.2}, required: at least {limit:.2}"));
    }

    fn require(&mut self, is_met: bool, text: String) {
        if !is_met {
            self.0.push(text);
        }
    }

    /// Prints the requirements that are not met. With `strictly`, they are an error.
    pub(crate) fn finish(self, strictly: bool) -> Result<()> {
        for missed in &self.0 {
            println!("missed: {missed}");
        }
        ensure!(!strictly || self.0.is_empty(), "{} requirements are not met", self.0.len());
        Ok(())
    }
}
