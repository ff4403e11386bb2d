//! How are latencies counted in a histogram of fixed size?

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts durations with a precision of 1 %.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
}

/// An hour, in nanoseconds. Longer durations count as one.
const LONGEST: u64 = 3_600_000_000_000;

impl Histogram {
    /// An empty histogram.
    ///
    /// # Errors
    ///
    /// Its constants are wrong.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(hdrhistogram::Histogram::new_with_max(LONGEST, 2)?))
    }

    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Removes all durations.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The percentiles; `None` without a duration.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let micros =
            |share| self.0.median_equivalent(self.0.value_at_quantile(share)) as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: micros(0.5),
            p90: micros(0.9),
            p99: micros(0.99),
            p999: micros(0.999),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_near() {
        for nanos in (0..1000).chain((10..41).map(|power| (1 << power) + 12345)) {
            let mut histogram = Histogram::new().unwrap();
            histogram.add(Duration::from_nanos(nanos));
            let found = histogram.percentiles().unwrap().p50 * 1000.0;
            assert!((found - nanos as f64).abs() <= nanos as f64 * 0.01 + 1.0, "{nanos}");
        }
        let mut histogram = Histogram::new().unwrap();
        histogram.add(Duration::MAX);
        assert!(histogram.percentiles().is_some());
    }

    #[test]
    fn percentiles_are_where_they_should_be() {
        let mut histogram = Histogram::new().unwrap();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let found = histogram.percentiles().unwrap();
        assert!((found.p50 - 500.0).abs() < 15.0, "{found:?}");
        assert!((found.p99 - 990.0).abs() < 25.0, "{found:?}");
    }
}
