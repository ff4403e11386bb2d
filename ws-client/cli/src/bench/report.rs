//! How are the results of a measurement collected and printed?

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::BenchArgs;
use super::load::{Counter, Pattern};
use crate::latency::LatencyHistogram;
use crate::print::{self, Color, Style, count, time};

/// The results so far, and those of the last second, with the time of their measurement.
pub(super) struct Measurement {
    pub(super) total: Counter,
    took: Duration,
    last: (Counter, Duration),
}

impl Measurement {
    pub(super) fn new() -> Result<Self> {
        let last = (Counter::new()?, Duration::ZERO);
        Ok(Self { total: Counter::new()?, took: Duration::ZERO, last })
    }

    pub(super) fn add(&mut self, results: Counter, took: Duration) {
        self.total.merge(&results);
        self.took += took;
        self.last = (results, took);
    }
}

pub(super) struct BenchReport {
    live: bool,
    style: Style,
    size: usize,
}

impl BenchReport {
    pub(super) fn new(args: &BenchArgs, url: &str, size: usize) -> Self {
        let live = !args.quiet && io::stderr().is_terminal() && !print::is_dumb();
        if args.json {
            return Self { live, style: Style::plain(), size };
        }
        let style = Style::of(&io::stdout());
        let how = match args.pattern() {
            Pattern::Rate(rate) => format!("{} messages/s each", count(rate.round() as u64)),
            Pattern::Pipeline(number) => format!("{number} messages in flight each"),
            Pattern::Fanout(rate) => {
                format!("{} messages/s from one to all", count(rate.round() as u64))
            }
        };
        let place = if args.url.is_some() { "" } else { " (in this process)" };
        let url = style.paint(Color::Bold, format_args!("{url}{place}"));
        let connections = count(args.connections.into());
        print::report(format_args!(
            "{url}: {connections} connections, {how}, {size} bytes per message"
        ));
        Self { live, style, size }
    }

    /// Prints the result as one JSON object.
    pub(super) fn print_json(
        &self,
        args: &BenchArgs,
        url: &str,
        opened: &LatencyHistogram,
        measurement: &Measurement,
        failures: &BTreeMap<String, u64>,
    ) {
        self.clear_progress();
        let Counter { sent, times } = &measurement.total;
        let mut result = json!({
            "url": url,
            "connections": args.connections,
            "bytes": self.size,
            "opened_seconds": opened.json(),
            "measured_seconds": measurement.took.as_secs_f64(),
            "sent": sent,
            "sent_per_second": per_second(*sent, measurement.took),
            "seconds": times.json(),
            "failures": failures,
        });
        let name = args.pattern().received();
        if let Value::Object(fields) = &mut result {
            let each = per_second(times.count(), measurement.took);
            fields.insert(name.to_owned(), times.count().into());
            fields.insert(format!("{name}_per_second"), each.into());
        }
        print::json(&result);
    }

    fn clear_progress(&self) {
        if self.live {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }

    pub(super) fn print_opened(&self, times: &LatencyHistogram) {
        let (median, max) = (time(times.percentile(50.0)), time(times.max()));
        print::report(format_args!("opened in {median} (median), {max} (maximum)"));
    }

    /// Prints a line that the next one overwrites.
    pub(super) fn print_progress(&self, measurement: &Measurement) {
        if !self.live {
            return;
        }
        let (Counter { times, .. }, took) = &measurement.last;
        let each = per_second(times.count(), *took);
        let line = format!(
            "{:>4.0} s  {:>11} echoes/s  p50 {}  p99 {}  max {}",
            measurement.took.as_secs_f64(),
            count(each),
            time(times.percentile(50.0)),
            time(times.percentile(99.0)),
            time(times.max()),
        );
        let mut out = io::stderr().lock();
        // Standard error may be closed.
        let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
    }

    pub(super) fn print_result(
        &self,
        args: &BenchArgs,
        measurement: &Measurement,
        failures: BTreeMap<String, u64>,
    ) {
        self.clear_progress();
        let requested = match args.pattern() {
            Pattern::Rate(rate) => Some(rate * f64::from(args.connections)),
            Pattern::Fanout(rate) => Some(rate),
            Pattern::Pipeline(_) => None,
        };
        let row = |name: &str, number: u64, requested: Option<f64>| {
            let each = per_second(number, measurement.took);
            let bytes = each as f64 * self.size as f64 / 1e6;
            let share = requested.map(|rate| {
                let requested = rate * measurement.took.as_secs_f64();
                format!("  {:>6.2} % of the requested rate", 100.0 * number as f64 / requested)
            });
            print::report(format_args!(
                "{name:<8}{:>14}{:>13}/s {bytes:>9.1} MB/s{}",
                count(number),
                count(each),
                share.unwrap_or_default(),
            ));
        };
        let Counter { sent, times } = &measurement.total;
        print::report(format_args!("\nin {}:", time(measurement.took)));
        row("sent", *sent, requested);
        match args.pattern() {
            Pattern::Fanout(_) => {
                row("received", times.count(), None);
                let each = times.count() as f64 / (*sent).max(1) as f64;
                print::report(format_args!("each message reached {each:.1} connections"));
            }
            Pattern::Rate(_) | Pattern::Pipeline(_) => row("echoed", times.count(), requested),
        }
        if times.count() > 0 {
            let (names, times) = times.table();
            print::report(format_args!("\n{names}\n{}", self.style.paint(Color::Bold, times)));
        } else if failures.is_empty() {
            let does = match args.pattern() {
                Pattern::Fanout(_) => "send it to all connections",
                Pattern::Rate(_) | Pattern::Pipeline(_) => "echo",
            };
            print::report(format_args!("no message came back: does the server {does}?"));
        }
        for (why, number) in failures {
            let text = format!("{number} connections: {why}");
            print::report(format_args!("{}", self.style.paint(Color::Red, text)));
        }
    }
}

/// What the measurement exceeds of `--max-p99` and `--min-rate`.
pub(super) fn missed_thresholds(args: &BenchArgs, measurement: &Measurement) -> Vec<String> {
    let Counter { times, .. } = &measurement.total;
    let (p99, rate) = (times.percentile(99.0), per_second(times.count(), measurement.took));
    let mut missed = Vec::new();
    if let Some(most) = args.max_p99.filter(|most| p99 > *most) {
        missed.push(format!("p99 is {}, more than {} (--max-p99)", time(p99), time(most)));
    }
    if let Some(least) = args.min_rate.filter(|least| (rate as f64) < *least) {
        let name = args.pattern().received();
        missed.push(format!("{rate} messages/s {name}, fewer than {least} (--min-rate)"));
    }
    missed
}

fn per_second(number: u64, took: Duration) -> u64 {
    (number as f64 / took.as_secs_f64().max(1e-9)).round() as u64
}
