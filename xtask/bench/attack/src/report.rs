//! How are the results of the attacks collected, printed and kept?

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;

/// What a check has found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// The measured values.
    pub(crate) measured: String,
    /// Whether they are within the bound.
    pub(crate) held: bool,
}

impl Finding {
    pub(crate) fn new(measured: impl Into<String>, held: bool) -> Self {
        Self { measured: measured.into(), held }
    }
}

struct Row {
    attack: String,
    target: String,
    bound: String,
    finding: Finding,
}

/// All results so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// Only attacks with this in their name run.
    only: Option<String>,
}

impl Report {
    pub(crate) fn new(only: Option<String>) -> Self {
        Self { rows: Vec::new(), only }
    }

    /// Whether an attack was asked for.
    pub(crate) fn wants(&self, attack: &str) -> bool {
        self.only.as_deref().is_none_or(|only| attack.contains(only))
    }

    /// Runs a check if it was asked for. An error fails the row.
    pub(crate) fn row(
        &mut self,
        attack: &str,
        target: &str,
        bound: &str,
        check: impl FnOnce() -> Result<Finding>,
    ) {
        if !self.wants(attack) {
            return;
        }
        let began = Instant::now();
        let finding = check().unwrap_or_else(|error| Finding::new(format!("{error:#}"), false));
        let outcome = if finding.held { "ok" } else { "FAILED" };
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{outcome:<6} {seconds:>5.1} s | {attack} | {target} | {bound} | {}",
            finding.measured
        );
        let (attack, target, bound) = (attack.to_owned(), target.to_owned(), bound.to_owned());
        self.rows.push(Row { attack, target, bound, finding });
    }

    /// The number of rows, and of those that failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.iter().filter(|row| !row.finding.held).count())
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| attack | target | bound | measured | |\n| --- | --- | --- | --- | --- |\n"
                .to_owned();
        for Row { attack, target, bound, finding } in &self.rows {
            let outcome = if finding.held { "ok" } else { "FAILED" };
            let measured = finding.measured.replace('|', "\\|").replace('\n', " ");
            // Writing to a string does not fail.
            let _ = writeln!(text, "| {attack} | {target} | {bound} | {measured} | {outcome} |");
        }
        text
    }
}
