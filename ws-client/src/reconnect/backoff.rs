//! How long does one wait before the next attempt?

use std::time::Duration;

use rand::random_range;

/// How long to wait between attempts: twice as long each time up to a longest wait, and
/// each time anywhere from half of that to all of it.
///
/// The random half keeps a thousand clients that lost the same server from coming back in
/// the same instant; the other half keeps any of them from coming back at once.
///
/// ```
/// use std::time::Duration;
/// use ws_client::reconnect::Backoff;
///
/// // 50 to 100 ms, 100 to 200 ms, … 2.5 to 5 s.
/// let soon = Backoff::new().first(Duration::from_millis(100)).max(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// The defaults: at most 1 s at first, and at most 30 s in the end.
    pub const fn new() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(30) }
    }

    /// The longest that the first wait may be. Default: 1 s. Less than 10 ms is taken as
    /// 10 ms.
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait.max(Self::LEAST);
        self
    }

    /// The longest that any wait may be. Default: 30 s. Less than [`first`](Self::first) is
    /// taken as that.
    pub const fn max(mut self, wait: Duration) -> Self {
        self.max = wait;
        self
    }

    /// A wait, after so many attempts in a row have failed.
    pub(super) fn wait(&self, failed: u32) -> Duration {
        self.longest(failed).mul_f64(random_range(0.5..=1.0))
    }

    /// The longest that the wait may be.
    pub(super) fn longest(&self, failed: u32) -> Duration {
        let times = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(times).min(self.max.max(self.first))
    }

    const LEAST: Duration = Duration::from_millis(10);
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
    fn waits_double_up_to_the_longest() {
        let check = |backoff: Backoff, expected: [u64; 6]| {
            for (failed, expected) in [0, 1, 2, 3, 4, u32::MAX].into_iter().zip(expected) {
                assert_eq!(backoff.longest(failed), ms(expected), "{backoff:?}, {failed}");
            }
        };
        check(Backoff::new(), [1000, 1000, 2000, 4000, 8000, 30_000]);
        check(Backoff::new().first(ms(100)).max(ms(350)), [100, 100, 200, 350, 350, 350]);
        check(Backoff::new().first(ms(0)).max(ms(0)), [10, 10, 10, 10, 10, 10]);
        check(Backoff::new().first(ms(60_000)), [60_000; 6]);
    }

    #[test]
    fn a_wait_is_anywhere_in_the_upper_half() {
        let backoff = Backoff::new().first(ms(1000));
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(1)).collect();
        assert!(waits.iter().all(|wait| (ms(500)..=ms(1000)).contains(wait)));
        // Each tenth of the half has its share: that none has is less likely than 1 in 10⁴⁴.
        for from in (500..1000).step_by(50) {
            assert!(waits.iter().any(|wait| (ms(from)..ms(from + 50)).contains(wait)), "{from}");
        }
    }
}
