//! Does the peer send faster than it may? Instants are arguments; no clock is read here.

use std::time::{Duration, Instant};

use super::Failure;
use crate::{Limits, Rate};

/// The limits on what may come in a second, and how much of that is left.
#[derive(Clone, Debug)]
pub struct Rates {
    messages: Bucket,
    bytes: Bucket,
    control: Bucket,
}

impl Rates {
    /// The rates of a connection that opens at `now`; `None` if there is no limit on any.
    pub fn new(limits: &Limits, now: Instant) -> Option<Self> {
        limits.has_rates().then(|| Self {
            messages: Bucket::new(limits.messages_per_second, now),
            bytes: Bucket::new(limits.bytes_per_second, now),
            control: Bucket::new(limits.control_frames_per_second, now),
        })
    }

    /// Notes that a message has come. The time is asked for only when it decides.
    ///
    /// # Errors
    ///
    /// When it is one too many.
    pub fn message(&mut self, now: impl FnOnce() -> Instant) -> Result<(), Failure> {
        self.messages.take(1, now).map_err(|limit| too_fast(limit, Rate::Messages))
    }

    /// Notes that bytes have come.
    ///
    /// # Errors
    ///
    /// When they are too many.
    pub fn bytes(&mut self, count: u64, now: impl FnOnce() -> Instant) -> Result<(), Failure> {
        self.bytes.take(count, now).map_err(|limit| too_fast(limit, Rate::Bytes))
    }

    /// Notes that a control frame has come.
    ///
    /// # Errors
    ///
    /// When it is one too many.
    pub fn control_frame(&mut self, now: impl FnOnce() -> Instant) -> Result<(), Failure> {
        self.control.take(1, now).map_err(|limit| too_fast(limit, Rate::ControlFrames))
    }

    /// Notes that all that had come by `now` has been looked at. What is saved up beyond a
    /// second's worth is lost then: the peer could have sent, and did not.
    pub fn reset_idle(&mut self, now: Instant) {
        for bucket in [&mut self.messages, &mut self.bytes, &mut self.control] {
            bucket.fill(now);
            bucket.left = bucket.left.min(bucket.limit);
        }
    }
}

const fn too_fast(limit: u64, setting: Rate) -> Failure {
    Failure::TooFast { limit: limit as usize, setting }
}

/// A second's worth of something, which fills as time goes by.
#[derive(Clone, Debug)]
struct Bucket {
    limit: u64,
    left: u64,
    /// Up to when time has been made use of.
    filled: Instant,
}

impl Bucket {
    const fn new(limit: usize, now: Instant) -> Self {
        Self { limit: limit as u64, left: limit as u64, filled: now }
    }

    /// Takes so much out, or says what the limit is.
    fn take(&mut self, count: u64, now: impl FnOnce() -> Instant) -> Result<(), u64> {
        if count > self.left {
            self.fill(now());
        }
        self.left = self.left.checked_sub(count).ok_or(self.limit)?;
        Ok(())
    }

    /// Puts in what the time since the last call is worth.
    fn fill(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.filled).as_nanos();
        let limit = u128::from(self.limit);
        let worth = time.saturating_mul(limit) / SECOND;
        let Some(used) = worth.saturating_mul(SECOND).checked_div(limit) else { return };
        self.left = self.left.saturating_add(u64::try_from(worth).unwrap_or(u64::MAX));
        // Time that is not worth a whole one yet is not lost.
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
    fn being_looked_at_often_costs_nothing() {
        let start = Instant::now();
        let mut rates = rates(start);
        let mut now = start;
        // Eight a second, and looked at just before every next one is worth it.
        for _ in 0..1000 {
            now += Duration::from_millis(99);
            rates.reset_idle(now);
            now += Duration::from_millis(26);
            assert_eq!(rates.message(|| now), Ok(()));
        }
    }

    fn rates(now: Instant) -> Rates {
        let limits = Limits::new().messages_per_second(10);
        Rates::new(&limits, now).unwrap()
    }

    /// How many messages may come at once.
    fn most(rates: &mut Rates, now: Instant) -> usize {
        (0..1000).take_while(|_| rates.message(|| now).is_ok()).count()
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        assert!(Rates::new(&Limits::new(), Instant::now()).is_none());
    }

    #[test]
    fn a_second_is_worth_the_limit_and_so_is_the_beginning() {
        let start = Instant::now();
        let mut rates = rates(start);
        assert_eq!(most(&mut rates, start), 10);
        assert_eq!(most(&mut rates, start + SECOND / 2), 5);
        assert_eq!(most(&mut rates, start + SECOND / 2 + SECOND), 10);
    }

    #[test]
    fn silence_is_not_saved_up() {
        let start = Instant::now();
        let mut rates = rates(start);
        rates.reset_idle(start + 100 * SECOND);
        assert_eq!(most(&mut rates, start + 100 * SECOND), 10);
    }

    #[test]
    fn what_piled_up_unread_is_not_held_against_the_peer() {
        let start = Instant::now();
        let mut rates = rates(start);
        assert_eq!(most(&mut rates, start + 5 * SECOND), 60);
    }

    #[test]
    fn what_has_no_limit_of_its_own_has_none() {
        let start = Instant::now();
        let mut rates = rates(start);
        assert_eq!(rates.bytes(u64::MAX / 2, || start), Ok(()));
        assert_eq!(rates.control_frame(|| start), Ok(()));
    }

    proptest! {
        /// Whoever is caught up with gets no more than a second's worth and what time brings.
        #[test]
        fn no_pattern_gets_more_through(steps in prop::collection::vec((0..3000u64, 0..40u64), 1..50)) {
            let start = Instant::now();
            let mut rates = rates(start);
            let (mut now, mut let_in) = (start, 0);
            for (millis, messages) in steps {
                rates.reset_idle(now);
                now += Duration::from_millis(millis);
                for _ in 0..messages {
                    let_in += u64::from(rates.message(|| now).is_ok());
                }
                let most = 10 + (now - start).as_millis() as u64 / 100;
                prop_assert!(let_in <= most, "{} of {}", let_in, most);
            }
        }
    }
}
