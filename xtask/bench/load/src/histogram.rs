//! How are latencies counted in a histogram of fixed size?

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts durations with a precision of 1 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

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

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 - STEP_BITS as usize + 1) * STEPS], total: 0 }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slot(nanos)] += 1;
        self.total += 1;
    }

    /// Removes all durations.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The percentiles; `None` without a duration.
    pub fn percentiles(&self) -> Option<Percentiles> {
        (self.total > 0).then(|| Percentiles {
            p50: self.micros(0.5),
            p90: self.micros(0.9),
            p99: self.micros(0.99),
            p999: self.micros(0.999),
        })
    }

    fn micros(&self, share: f64) -> f64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let slot = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        middle(slot.unwrap_or_default()) / 1000.0
    }
}

/// The number of steps in each power of two.
const STEPS: usize = 1 << STEP_BITS;
const STEP_BITS: u32 = 6;

fn slot(nanos: u64) -> usize {
    let power = (nanos | 1).ilog2();
    match power.checked_sub(STEP_BITS) {
        None => nanos as usize,
        Some(shift) => (shift as usize + 1) * STEPS + ((nanos >> shift) as usize - STEPS),
    }
}

/// The middle of the range of a slot.
fn middle(slot: usize) -> f64 {
    match (slot / STEPS).checked_sub(1) {
        None => slot as f64,
        Some(shift) => ((slot % STEPS + STEPS) as f64 + 0.5) * 2f64.powi(shift as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_order_and_near() {
        let mut last = 0;
        for nanos in (0..1000).chain((10..60).map(|power| (1 << power) + 12345)) {
            let slot = slot(nanos);
            assert!(slot >= last, "{nanos}");
            last = slot;
            assert!((middle(slot) - nanos as f64).abs() <= nanos as f64 * 0.01 + 1.0, "{nanos}");
        }
        let mut histogram = Histogram::default();
        histogram.add(Duration::MAX);
        assert!(histogram.percentiles().is_some());
    }

    #[test]
    fn percentiles_are_where_they_should_be() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let found = histogram.percentiles().unwrap();
        assert!((found.p50 - 500.0).abs() < 15.0, "{found:?}");
        assert!((found.p99 - 990.0).abs() < 25.0, "{found:?}");
    }
}
