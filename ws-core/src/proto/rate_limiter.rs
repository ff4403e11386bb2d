//! Does the peer exceed a rate limit?
//!
//! Each limit is a token bucket. Instants are arguments; no clock is read.

use std::time::{Duration, Instant};

use super::Failure;
use crate::{Limits, Rate};

/// The rate limits of a connection: messages, bytes and control frames per second.
#[derive(Clone, Debug)]
pub(crate) struct RateLimiter {
    messages: TokenBucket,
    bytes: TokenBucket,
    control: TokenBucket,
}

impl RateLimiter {
    /// The limiter of a connection that opens at `now`. `None` without any rate limit.
    pub(crate) fn new(limits: &Limits, now: Instant) -> Option<Self> {
        limits.has_rates().then(|| Self {
            messages: TokenBucket::new(limits.messages_per_second, now),
            bytes: TokenBucket::new(limits.bytes_per_second, now),
            control: TokenBucket::new(limits.control_frames_per_second, now),
        })
    }

    /// Counts `count` messages, bytes or control frames. `now` is called only when the bucket has
    /// to be refilled.
    ///
    /// # Errors
    ///
    /// When the limit is exceeded.
    pub(crate) fn take(
        &mut self,
        setting: Rate,
        count: u64,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), Failure> {
        let bucket = match setting {
            Rate::Messages => &mut self.messages,
            Rate::Bytes => &mut self.bytes,
            Rate::ControlFrames => &mut self.control,
        };
        let too_fast = |limit| Failure::TooFast { limit: limit as usize, setting };
        bucket.take(count, now).map_err(too_fast)
    }

    /// Notes that all input up to `now` has been counted. Tokens beyond one second's worth are
    /// discarded: the peer was idle.
    pub(crate) fn reset_idle(&mut self, now: Instant) {
        for bucket in [&mut self.messages, &mut self.bytes, &mut self.control] {
            bucket.fill(now);
            bucket.left = bucket.left.min(bucket.limit);
        }
    }
}

/// A token bucket. It starts with one second's worth of tokens.
#[derive(Clone, Debug)]
struct TokenBucket {
    limit: u64,
    left: u64,
    /// The time up to which tokens have been added.
    filled: Instant,
}

impl TokenBucket {
    const fn new(limit: usize, now: Instant) -> Self {
        Self { limit: limit as u64, left: limit as u64, filled: now }
    }

    /// Takes `count` tokens. Fails with the limit.
    fn take(&mut self, count: u64, now: impl FnOnce() -> Instant) -> Result<(), u64> {
        if count > self.left {
            self.fill(now());
        }
        self.left = self.left.checked_sub(count).ok_or(self.limit)?;
        Ok(())
    }

    /// Adds the tokens for the time since the last call.
    fn fill(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.filled).as_nanos();
        let limit = u128::from(self.limit);
        let worth = time.saturating_mul(limit) / SECOND;
        let Some(used) = worth.saturating_mul(SECOND).checked_div(limit) else { return };
        self.left = self.left.saturating_add(u64::try_from(worth).unwrap_or(u64::MAX));
        // The time for a fraction of a token is kept.
        let used = Duration::from_nanos(u64::try_from(used).unwrap_or(u64::MAX));
        self.filled = self.filled.checked_add(used).unwrap_or(now);
    }
}

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn frequent_resets_lose_no_tokens() {
        let start = Instant::now();
        let mut limiter = limiter(start);
        let mut now = start;
        // Eight messages per second, with a reset just before each.
        for _ in 0..1000 {
            now += Duration::from_millis(99);
            limiter.reset_idle(now);
            now += Duration::from_millis(26);
            assert_eq!(limiter.take(Rate::Messages, 1, || now), Ok(()));
        }
    }

    fn limiter(now: Instant) -> RateLimiter {
        let limits = Limits::new().messages_per_second(10);
        RateLimiter::new(&limits, now).unwrap()
    }

    /// The number of messages that pass at once.
    fn most(limiter: &mut RateLimiter, now: Instant) -> usize {
        (0..1000).take_while(|_| limiter.take(Rate::Messages, 1, || now).is_ok()).count()
    }

    #[test]
    fn without_limits_there_is_no_limiter() {
        assert!(RateLimiter::new(&Limits::new(), Instant::now()).is_none());
    }

    #[test]
    fn a_second_allows_the_limit_and_so_does_the_start() {
        let start = Instant::now();
        let mut limiter = limiter(start);
        assert_eq!(most(&mut limiter, start), 10);
        assert_eq!(most(&mut limiter, start + SECOND / 2), 5);
        assert_eq!(most(&mut limiter, start + SECOND / 2 + SECOND), 10);
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut limiter = limiter(start);
        limiter.reset_idle(start + 100 * SECOND);
        assert_eq!(most(&mut limiter, start + 100 * SECOND), 10);
    }

    #[test]
    fn unread_backlog_does_not_count_against_the_peer() {
        let start = Instant::now();
        let mut limiter = limiter(start);
        assert_eq!(most(&mut limiter, start + 5 * SECOND), 60);
    }

    #[test]
    fn other_rates_stay_unlimited() {
        let start = Instant::now();
        let mut limiter = limiter(start);
        assert_eq!(limiter.take(Rate::Bytes, u64::MAX / 2, || start), Ok(()));
        assert_eq!(limiter.take(Rate::ControlFrames, 1, || start), Ok(()));
    }

    proptest! {
        /// A peer gets one second's worth and what the elapsed time allows.
        #[test]
        fn no_pattern_passes_more(steps in prop::collection::vec((0..3000u64, 0..40u64), 1..50)) {
            let start = Instant::now();
            let mut limiter = limiter(start);
            let (mut now, mut let_in) = (start, 0);
            for (millis, messages) in steps {
                limiter.reset_idle(now);
                now += Duration::from_millis(millis);
                for _ in 0..messages {
                    let_in += u64::from(limiter.take(Rate::Messages, 1, || now).is_ok());
                }
                let most = 10 + (now - start).as_millis() as u64 / 100;
                prop_assert!(let_in <= most, "{} of {}", let_in, most);
            }
        }
    }
}
