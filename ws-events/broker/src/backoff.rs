//! How long does a driver wait before it connects again?

use std::time::Duration;

use rand::RngExt as _;

/// The delays between attempts to connect.
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self { next: FIRST_DELAY.min(max), max }
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST_DELAY.min(self.max);
    }

    /// A random delay, of at least half of the present step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

const FIRST_DELAY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(300));
        for _ in 0..2 {
            for step in [50, 100, 200, 300, 300] {
                let (delay, step) = (backoff.next(), Duration::from_millis(step));
                assert!(step / 2 <= delay && delay <= step, "{delay:?} of {step:?}");
            }
            backoff.reset();
        }
        assert!(Backoff::new(Duration::from_millis(1)).next() <= Duration::from_millis(1));
    }
}
