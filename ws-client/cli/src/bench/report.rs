//! How are the results of a measurement collected and printed?

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;

use super::args::BenchArgs;
use super::load::Counter;
use crate::latency::LatencyHistogram;
use crate::print::{self, Color, Style, count, time};

/// The results so far, and those of the last second.
pub(super) struct Measurement {
    sent: u64,
    took: Duration,
    times: LatencyHistogram,
    /// The latencies, the sent messages and the duration of the last second.
    last: (LatencyHistogram, u64, Duration),
}

impl Measurement {
    pub(super) fn new() -> Result<Self> {
        let last = (LatencyHistogram::new()?, 0, Duration::ZERO);
        Ok(Self { sent: 0, took: Duration::ZERO, times: LatencyHistogram::new()?, last })
    }

    pub(super) fn echoed(&self) -> u64 {
        self.times.count()
    }

    pub(super) fn add(&mut self, counters: Vec<Counter>, took: Duration) {
        let (times, sent, last_took) = &mut self.last;
        times.clear();
        (*sent, *last_took) = (0, took);
        for counter in counters {
            times.merge(&counter.times);
            *sent += counter.sent;
        }
        self.times.merge(times);
        self.sent += *sent;
        self.took += took;
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
        let style = Style::of(&io::stdout());
        let how = match args.rate {
            Some(rate) => format!("{} messages/s each", count(rate.round() as u64)),
            None => format!("{} messages in flight each", args.pipeline),
        };
        let url =
            if args.url.is_some() { url.to_owned() } else { format!("{url} (in this process)") };
        print::out(format_args!(
            "{}: {} connections, {how}, {size} bytes per message",
            style.paint(Color::Bold, url),
            count(args.connections.into()),
        ));
        Self { live, style, size }
    }

    pub(super) fn print_opened(&self, times: &LatencyHistogram) {
        let (median, max) = (time(times.percentile(50.0)), time(times.max()));
        print::out(format_args!("opened in {median} (median), {max} (maximum)"));
    }

    /// Prints a line that the next one overwrites.
    pub(super) fn print_progress(&self, measurement: &Measurement) {
        if !self.live {
            return;
        }
        let (times, _, took) = &measurement.last;
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
        if self.live {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        let row = |name: &str, number: u64| {
            let each = per_second(number, measurement.took);
            let bytes = each as f64 * self.size as f64 / 1e6;
            let share = args.rate.map(|rate| {
                let requested = rate * f64::from(args.connections) * measurement.took.as_secs_f64();
                format!("  {:>6.2} % of the requested rate", 100.0 * number as f64 / requested)
            });
            print::out(format_args!(
                "{name:<8}{:>14}{:>13}/s {bytes:>9.1} MB/s{}",
                count(number),
                count(each),
                share.unwrap_or_default(),
            ));
        };
        let echoed = measurement.echoed();
        print::out(format_args!("\nin {}:", time(measurement.took)));
        row("sent", measurement.sent);
        row("echoed", echoed);
        if echoed > 0 {
            let (names, times) = measurement.times.table();
            print::out(format_args!("\n{names}\n{}", self.style.paint(Color::Bold, times)));
        } else if failures.is_empty() {
            print::out(format_args!("no message came back: does the server echo?"));
        }
        for (why, number) in failures {
            let text = format!("{number} connections: {why}");
            print::out(format_args!("{}", self.style.paint(Color::Red, text)));
        }
    }
}

fn per_second(number: u64, took: Duration) -> u64 {
    (number as f64 / took.as_secs_f64().max(1e-9)).round() as u64
}
