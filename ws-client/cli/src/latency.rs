//! How are latencies summarised as percentiles?

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::print::time;

/// Latencies from 1 ns to 1 h, with a precision of three digits.
pub(crate) struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?))
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Fails only if the bounds differ.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    fn columns(&self) -> [(&'static str, Duration); 7] {
        let mean = Duration::from_secs_f64((self.0.mean() / 1e9).max(0.0));
        [
            ("min", Duration::from_nanos(self.0.min())),
            ("mean", mean),
            ("p50", self.percentile(50.0)),
            ("p90", self.percentile(90.0)),
            ("p99", self.percentile(99.0)),
            ("p99.9", self.percentile(99.9)),
            ("max", self.max()),
        ]
    }

    /// The columns of the table in seconds, for `--json`; null without a value.
    pub(crate) fn json(&self) -> Value {
        if self.count() == 0 {
            return Value::Null;
        }
        let fields =
            self.columns().map(|(name, time)| (name.to_owned(), time.as_secs_f64().into()));
        Value::Object(fields.into_iter().collect())
    }

    /// A line of column names, and a line of values.
    pub(crate) fn table(&self) -> (String, String) {
        let (mut names, mut times) = (String::new(), String::new());
        for (name, value) in self.columns() {
            names.push_str(&format!("{name:>11}"));
            times.push_str(&format!("{:>11}", time(value)));
        }
        (names, times)
    }
}
