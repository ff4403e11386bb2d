//! How long is the backoff before the next attempt to connect?

use std::time::Duration;

use rand::random_range;

/// Exponential backoff with equal jitter: the maximum wait doubles with each failed attempt, and
/// each wait is random between half of the maximum and the maximum.
///
/// The random half spreads the attempts of clients that lost the same server at the same time. The
/// fixed half guarantees a minimum wait.
///
/// ```
/// use std::time::Duration;
/// use ws_client::reconnect::Backoff;
///
/// // 50 to 100 ms, 100 to 200 ms, … 2.5 to 5 s.
/// let backoff = Backoff::new().first(Duration::from_millis(100)).max(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// The defaults: a first maximum of 1 s, and a maximum of 30 s.
    pub const fn new() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(30) }
    }

    /// Sets the maximum of the first wait. Default: 1 s. Values below 10 ms mean 10 ms.
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait.max(Self::MIN_FIRST);
        self
    }

    /// Sets the maximum of all waits. Default: 30 s. Values below [`first`](Self::first) mean
    /// `first`.
    pub const fn max(mut self, wait: Duration) -> Self {
        self.max = wait;
        self
    }

    /// A random wait after `failed` failed attempts in a row.
    pub(super) fn wait(&self, failed: u32) -> Duration {
        self.max_wait(failed).mul_f64(random_range(0.5..=1.0))
    }

    /// The maximum of that wait.
    pub(super) fn max_wait(&self, failed: u32) -> Duration {
        let times = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(times).min(self.max.max(self.first))
    }

    const MIN_FIRST: Duration = Duration::from_millis(10);
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let check = |backoff: Backoff, expected: [u64; 6]| {
            for (failed, expected) in [0, 1, 2, 3, 4, u32::MAX].into_iter().zip(expected) {
                assert_eq!(backoff.max_wait(failed), ms(expected), "{backoff:?}, {failed}");
            }
        };
        check(Backoff::new(), [1000, 1000, 2000, 4000, 8000, 30_000]);
        check(Backoff::new().first(ms(100)).max(ms(350)), [100, 100, 200, 350, 350, 350]);
        check(Backoff::new().first(ms(0)).max(ms(0)), [10, 10, 10, 10, 10, 10]);
        check(Backoff::new().first(ms(60_000)), [60_000; 6]);
    }

    #[test]
    fn waits_are_spread_over_the_upper_half() {
        let backoff = Backoff::new().first(ms(1000));
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(1)).collect();
        assert!(waits.iter().all(|wait| (ms(500)..=ms(1000)).contains(wait)));
        // Each tenth of that half occurs. A failure by chance has a probability below 10⁻⁴⁴.
        for from in (500..1000).step_by(50) {
            assert!(waits.iter().any(|wait| (ms(from)..ms(from + 50)).contains(wait)), "{from}");
        }
    }
}
