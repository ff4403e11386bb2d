//! How are the results of a measurement collected and printed?

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::args::BenchArgs;
use super::load::Counter;
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
        let live = !args.quiet && io::stderr().is_terminal();
        if args.json {
            return Self { live, style: Style::plain(), size };
        }
        let style = Style::of(&io::stdout());
        let how = match args.rate {
            Some(rate) => format!("{} messages/s each", count(rate.round() as u64)),
            None => format!("{} messages in flight each", args.pipeline),
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
        let result = json!({
            "url": url,
            "connections": args.connections,
            "bytes": self.size,
            "opened_seconds": opened.json(),
            "measured_seconds": measurement.took.as_secs_f64(),
            "sent": sent,
            "sent_per_second": per_second(*sent, measurement.took),
            "echoed": times.count(),
            "echoed_per_second": per_second(times.count(), measurement.took),
            "seconds": times.json(),
            "failures": failures,
        });
        print::report(format_args!("{result}"));
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
        let row = |name: &str, number: u64| {
            let each = per_second(number, measurement.took);
            let bytes = each as f64 * self.size as f64 / 1e6;
            let share = args.rate.map(|rate| {
                let requested = rate * f64::from(args.connections) * measurement.took.as_secs_f64();
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
        row("sent", *sent);
        row("echoed", times.count());
        if times.count() > 0 {
            let (names, times) = times.table();
            print::report(format_args!("\n{names}\n{}", self.style.paint(Color::Bold, times)));
        } else if failures.is_empty() {
            print::report(format_args!("no message came back: does the server echo?"));
        }
        for (why, number) in failures {
            let text = format!("{number} connections: {why}");
            print::report(format_args!("{}", self.style.paint(Color::Red, text)));
        }
    }
}

fn per_second(number: u64, took: Duration) -> u64 {
    (number as f64 / took.as_secs_f64().max(1e-9)).round() as u64
}
