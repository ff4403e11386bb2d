//! How are the figures of a measurement told?

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;

use super::Args;
use super::load::Counter;
use crate::percentiles::Times;
use crate::print::{self, Style, count, time};

/// What was measured, in rounds of a second or so.
pub(super) struct Rounds {
    sent: u64,
    took: Duration,
    times: Times,
    last: (Times, u64, Duration),
}

impl Rounds {
    pub(super) fn new() -> Result<Self> {
        let last = (Times::new()?, 0, Duration::ZERO);
        Ok(Self { sent: 0, took: Duration::ZERO, times: Times::new()?, last })
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

pub(super) struct Report {
    live: bool,
    style: Style,
    size: usize,
}

impl Report {
    pub(super) fn new(args: &Args, url: &str, size: usize) -> Self {
        let live = !args.quiet && io::stderr().is_terminal();
        let style = Style::of(&io::stdout());
        let how = match args.rate {
            Some(rate) => format!("{} messages a second each", count(rate.round() as u64)),
            None => format!("{} messages under way each", args.pipeline),
        };
        let url =
            if args.url.is_some() { url.to_owned() } else { format!("{url} (in this process)") };
        print::out(format_args!(
            "{}: {} connections, {how}, {size} bytes a message",
            style.bold(url),
            count(args.connections.into()),
        ));
        Self { live, style, size }
    }

    pub(super) fn opened(&self, times: &Times) {
        let (middle, most) = (time(times.at(50.0)), time(times.max()));
        print::out(format_args!("opened in {middle} (half of them), {most} (all)"));
    }

    /// One line that is written over by the next.
    pub(super) fn progress(&self, rounds: &Rounds) {
        if !self.live {
            return;
        }
        let (times, _, took) = &rounds.last;
        let each = per_second(times.count(), *took);
        let line = format!(
            "{:>4.0} s  {:>11} echoes/s  p50 {}  p99 {}  max {}",
            rounds.took.as_secs_f64(),
            count(each),
            time(times.at(50.0)),
            time(times.at(99.0)),
            time(times.max()),
        );
        let mut out = io::stderr().lock();
        // Nobody may be there to read it.
        let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
    }

    pub(super) fn result(&self, args: &Args, rounds: &Rounds, failures: BTreeMap<String, u64>) {
        if self.live {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        let row = |name: &str, number: u64| {
            let each = per_second(number, rounds.took);
            let bytes = each as f64 * self.size as f64 / 1e6;
            let share = args.rate.map(|rate| {
                let asked = rate * f64::from(args.connections) * rounds.took.as_secs_f64();
                format!("  {:>6.2} % of what was asked for", 100.0 * number as f64 / asked)
            });
            print::out(format_args!(
                "{name:<8}{:>14}{:>13}/s {bytes:>9.1} MB/s{}",
                count(number),
                count(each),
                share.unwrap_or_default(),
            ));
        };
        let echoed = rounds.echoed();
        print::out(format_args!("\nin {}:", time(rounds.took)));
        row("sent", rounds.sent);
        row("echoed", echoed);
        if echoed > 0 {
            let (names, times) = rounds.times.table();
            print::out(format_args!("\n{names}\n{}", self.style.bold(times)));
        } else if failures.is_empty() {
            print::out(format_args!("nothing came back: does the server echo?"));
        }
        for (why, number) in failures {
            let text = format!("{number} connections: {why}");
            print::out(format_args!("{}", self.style.bad(text)));
        }
    }
}

fn per_second(number: u64, took: Duration) -> u64 {
    (number as f64 / took.as_secs_f64().max(1e-9)).round() as u64
}
