//! When is something due? Instants are arguments; no clock is read here.

use std::time::{Duration, Instant};

use crate::{Config, Deadline, Keepalive};

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping: the peer has been silent.
    Ping,
    /// Stop waiting behind data with the close frame.
    HurryClose,
    /// Give the connection up.
    GiveUp(Deadline),
}

/// What a connection waits for, by the clock.
#[derive(Clone, Debug)]
pub struct Timers {
    watch: Option<Watch>,
    age: Option<Instant>,
    // Apart, since few connections have the one, and the other comes at the end.
    idle: Option<Box<Idle>>,
    close: Option<Box<Closing>>,
}

/// Looks after the peer now and then. It keeps a flag rather than an instant, so that
/// the clock need not be read when bytes arrive.
#[derive(Clone, Copy, Debug)]
struct Watch {
    keepalive: Keepalive,
    look: Instant,
    heard: bool,
    pinged: bool,
}

/// How much longer a message may take. The clock stands while nobody reads.
#[derive(Clone, Copy, Debug)]
struct Idle {
    period: Duration,
    left: Duration,
    since: Option<Instant>,
}

/// The two moments of a closing handshake.
#[derive(Clone, Copy, Debug)]
struct Closing {
    hurry: Option<Instant>,
    end: Instant,
}

impl Timers {
    /// The timers of a connection that opens at `now`.
    pub fn new(config: &Config, now: Instant) -> Self {
        let watch = |keepalive: Keepalive| {
            let look = now.checked_add(keepalive.interval)?;
            Some(Watch { keepalive, look, heard: false, pinged: false })
        };
        Self {
            watch: config.keepalive.get().and_then(watch),
            idle: config
                .idle_timeout
                .map(|period| Box::new(Idle { period, left: period, since: None })),
            age: config.max_age.and_then(|age| now.checked_add(age)),
            close: None,
        }
    }

    /// Notes that bytes arrived.
    #[inline]
    pub const fn heard(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.heard = true;
        }
    }

    /// Notes that a message arrived.
    #[inline]
    pub const fn message(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.left = idle.period;
            idle.since = None;
        }
    }

    /// Do [`resume`](Self::resume) and [`pause`](Self::pause) matter?
    #[inline]
    pub const fn has_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// Notes that somebody waits for a message.
    pub fn resume(&mut self, now: Instant) {
        if let Some(idle) = &mut self.idle {
            idle.since.get_or_insert(now);
        }
    }

    /// Notes that nobody waits for a message any more.
    pub fn pause(&mut self, now: Instant) {
        if let Some(idle) = &mut self.idle
            && let Some(since) = idle.since.take()
        {
            idle.left = idle.left.saturating_sub(now.saturating_duration_since(since));
        }
    }

    /// Notes that a closing handshake began, which has to end within `timeout`. Only
    /// the first call counts.
    pub fn close(&mut self, now: Instant, timeout: Duration) {
        if self.close.is_none() {
            let end = now.checked_add(timeout).unwrap_or(now);
            self.close = Some(Box::new(Closing { hurry: now.checked_add(timeout / 2), end }));
        }
    }

    /// When the closing handshake has to have ended, if it has begun.
    pub fn close_end(&self) -> Option<Instant> {
        self.close.as_ref().map(|close| close.end)
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next(&self) -> Option<Instant> {
        if let Some(close) = &self.close {
            return Some(close.hurry.unwrap_or(close.end));
        }
        let look = self.watch.map(|watch| watch.look);
        let idle = self.idle.as_ref().and_then(|idle| idle.since?.checked_add(idle.left));
        [look, idle, self.age].into_iter().flatten().min()
    }

    /// What is due at `now`. To be called until there is nothing, and only when all
    /// that had arrived by then has been looked at.
    pub fn expire(&mut self, now: Instant) -> Option<Due> {
        if let Some(close) = &mut self.close {
            if now >= close.end {
                return Some(Due::GiveUp(Deadline::Close));
            }
            return close.hurry.take_if(|hurry| now >= *hurry).map(|_| Due::HurryClose);
        }
        if self.age.is_some_and(|age| now >= age) {
            return Some(Due::GiveUp(Deadline::Age));
        }
        if let Some(idle) = &self.idle
            && idle.since.is_some_and(|since| now.saturating_duration_since(since) >= idle.left)
        {
            return Some(Due::GiveUp(Deadline::Idle));
        }
        let watch = self.watch.as_mut().filter(|watch| now >= watch.look)?;
        if watch.heard {
            watch.look = now + watch.keepalive.interval;
            (watch.heard, watch.pinged) = (false, false);
            return None;
        }
        if watch.pinged {
            return Some(Due::GiveUp(Deadline::Keepalive));
        }
        watch.look = now + watch.keepalive.patience;
        watch.pinged = true;
        Some(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Bytes at some seconds, and what is due at which second.
    fn check(config: Config, heard: &[u32], expected: &[(u32, Due)]) {
        let start = Instant::now();
        let mut timers = Timers::new(&config, start);
        timers.resume(start);
        let mut found = Vec::new();
        for second in 0..=200 {
            let now = start + second * SECOND;
            if heard.contains(&second) {
                timers.heard();
            }
            while timers.next().is_some_and(|next| next <= now) {
                let due = timers.expire(now);
                found.extend(due.map(|due| (second, due)));
                if matches!(due, Some(Due::GiveUp(_))) {
                    assert_eq!(found, expected);
                    return;
                }
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_silent_peer_is_pinged_once_and_given_up() {
        let config = Config::new().keepalive(Keepalive::every(30 * SECOND));
        check(config, &[], &[(30, Due::Ping), (60, Due::GiveUp(Deadline::Keepalive))]);
    }

    #[test]
    fn any_byte_counts_as_life() {
        let config = Config::new().keepalive(Keepalive::every(30 * SECOND));
        let expected = [(60, Due::Ping), (120, Due::Ping), (150, Due::GiveUp(Deadline::Keepalive))];
        check(config, &[10, 85], &expected);
    }

    #[test]
    fn a_ping_may_wait_as_long_as_one_likes_for_its_answer() {
        let config =
            Config::new().keepalive(Keepalive::every(10 * SECOND).answer_within(90 * SECOND));
        check(config, &[], &[(10, Due::Ping), (100, Due::GiveUp(Deadline::Keepalive))]);
    }

    #[test]
    fn a_peer_that_could_not_be_heard_is_asked_before_it_is_given_up() {
        let start = Instant::now();
        let config = Config::new().keepalive(Keepalive::every(SECOND));
        let mut timers = Timers::new(&config, start);
        assert_eq!(timers.expire(start + 1000 * SECOND), Some(Due::Ping));
    }

    #[test]
    fn pings_do_not_stop_the_idle_timeout() {
        let config = Config::new().idle_timeout(50 * SECOND);
        check(config, &[20, 40], &[(50, Due::GiveUp(Deadline::Idle))]);
    }

    #[test]
    fn the_idle_clock_stands_while_nobody_reads() {
        let start = Instant::now();
        let mut timers = Timers::new(&Config::new().idle_timeout(10 * SECOND), start);
        timers.resume(start);
        timers.pause(start + 6 * SECOND);
        assert_eq!(timers.next(), None);
        timers.resume(start + 100 * SECOND);
        assert_eq!(timers.next(), Some(start + 104 * SECOND));
        timers.message();
        timers.resume(start + 101 * SECOND);
        assert_eq!(timers.next(), Some(start + 111 * SECOND));
    }

    #[test]
    fn age_ends_even_a_busy_connection() {
        let config = Config::new().max_age(100 * SECOND);
        check(config, &[99], &[(100, Due::GiveUp(Deadline::Age))]);
    }

    #[test]
    fn closing_has_one_deadline_and_hurries_at_half_of_it() {
        let start = Instant::now();
        let mut timers = Timers::new(&Config::new().keepalive(Keepalive::default()), start);
        timers.close(start, 4 * SECOND);
        timers.close(start + 3 * SECOND, 4 * SECOND);
        assert_eq!(timers.expire(start + SECOND), None);
        assert_eq!(timers.expire(start + 2 * SECOND), Some(Due::HurryClose));
        assert_eq!(timers.expire(start + 2 * SECOND), None);
        assert_eq!(timers.next(), Some(start + 4 * SECOND));
        let end = timers.expire(start + 4 * SECOND);
        assert_eq!(end, Some(Due::GiveUp(Deadline::Close)));
    }
}
