//! What is a hub expected to reach, and does it?

use anyhow::{Result, ensure};

/// The figures that are expected, as far as they have been missed.
#[derive(Debug, Default)]
pub(crate) struct Bars(Vec<String>);

impl Bars {
    pub(crate) fn at_most(&mut self, what: &str, value: f64, bar: f64) {
        self.hold(value <= bar, format!("{what}: {value:.2}, and at most {bar} is expected"));
    }

    pub(crate) fn at_least(&mut self, what: &str, value: f64, bar: f64) {
        self.hold(value >= bar, format!("{what}: {value:.2}, and at least {bar:.2} is expected"));
    }

    fn hold(&mut self, is_met: bool, text: String) {
        if !is_met {
            self.0.push(text);
        }
    }

    /// Shows what was missed; an error if that is asked for.
    pub(crate) fn judge(self, strictly: bool) -> Result<()> {
        for missed in &self.0 {
            println!("missed: {missed}");
        }
        ensure!(!strictly || self.0.is_empty(), "{} of what is expected was missed", self.0.len());
        Ok(())
    }
}
