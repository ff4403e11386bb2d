//! When is something due? Instants are arguments; no clock is read here.

use std::time::{Duration, Instant};

use crate::{Config, Deadline};

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping: the peer has been silent.
    Ping,
    /// Stop waiting behind data with the close frame.
    PrioritizeClose,
    /// Give the connection up.
    GiveUp(Deadline),
}

/// What a connection waits for, by the clock.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    /// When to see whether the peer has been heard. A flag says that, rather than an
    /// instant, so that the clock need not be read when bytes arrive.
    look: Option<Instant>,
    heard: bool,
    pinged: bool,
    // Apart, since few connections have any of it before they close.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rare {
    age: Option<Instant>,
    idle: Option<Idle>,
    close: Option<Closing>,
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
        let look = config.keepalive.get().and_then(|keepalive| now.checked_add(keepalive.interval));
        let age = config.max_age.and_then(|age| now.checked_add(age));
        let idle = config.idle_timeout.map(|period| Idle { period, left: period, since: None });
        let rare = Rare { age, idle, close: None };
        let has_rare = age.is_some() || idle.is_some();
        Self { look, heard: false, pinged: false, rare: has_rare.then(|| Box::new(rare)) }
    }

    /// Notes that bytes arrived.
    #[inline]
    pub const fn heard(&mut self) {
        self.heard = true;
    }

    /// Notes that a message arrived.
    #[inline]
    pub const fn message(&mut self) {
        if let Some(idle) = self.idle() {
            idle.left = idle.period;
            idle.since = None;
        }
    }

    /// Notes that somebody waits for a message.
    pub fn resume(&mut self, now: Instant) {
        if let Some(idle) = self.idle() {
            idle.since.get_or_insert(now);
        }
    }

    /// Notes that nobody waits for a message any more.
    pub fn pause(&mut self, now: Instant) {
        if let Some(idle) = self.idle()
            && let Some(since) = idle.since.take()
        {
            idle.left = idle.left.saturating_sub(now.saturating_duration_since(since));
        }
    }

    /// Notes that a closing handshake began, which has to end within `timeout`. Only
    /// the first call counts.
    pub fn close(&mut self, now: Instant, timeout: Duration) {
        let end = now.checked_add(timeout).unwrap_or(now);
        let closing = Closing { hurry: now.checked_add(timeout / 2), end };
        self.rare.get_or_insert_default().close.get_or_insert(closing);
    }

    /// Is there nothing to wait for, until a closing handshake begins?
    #[inline]
    pub const fn is_off(&self) -> bool {
        self.look.is_none() && self.rare.is_none()
    }

    /// Do [`resume`](Self::resume) and [`pause`](Self::pause) matter?
    #[inline]
    pub const fn has_idle(&self) -> bool {
        match &self.rare {
            Some(rare) => rare.idle.is_some(),
            None => false,
        }
    }

    /// When the closing handshake has to have ended, if it has begun.
    pub fn close_end(&self) -> Option<Instant> {
        Some(self.rare.as_ref()?.close?.end)
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next(&self) -> Option<Instant> {
        let Some(rare) = &self.rare else { return self.look };
        if let Some(close) = rare.close {
            return Some(close.hurry.unwrap_or(close.end));
        }
        let idle = rare.idle.and_then(|idle| idle.since?.checked_add(idle.left));
        [self.look, idle, rare.age].into_iter().flatten().min()
    }

    /// What is due at `now`, with the settings that the connection began with. To be
    /// called until there is nothing, and only when all that had arrived by then has
    /// been looked at.
    pub fn expire(&mut self, now: Instant, config: &Config) -> Option<Due> {
        if let Some(rare) = &mut self.rare {
            if let Some(close) = &mut rare.close {
                return close.expire(now);
            }
            if rare.age.is_some_and(|age| now >= age) {
                return Some(Due::GiveUp(Deadline::Age));
            }
            if rare.idle.is_some_and(|idle| idle.is_over(now)) {
                return Some(Due::GiveUp(Deadline::Idle));
            }
        }
        if self.look.is_some_and(|look| now >= look) { self.look(now, config) } else { None }
    }

    /// Looks after the peer.
    fn look(&mut self, now: Instant, config: &Config) -> Option<Due> {
        let keepalive = config.keepalive.get();
        if std::mem::take(&mut self.heard) {
            self.look = keepalive.and_then(|keepalive| now.checked_add(keepalive.interval));
            self.pinged = false;
            return None;
        }
        if self.pinged {
            return Some(Due::GiveUp(Deadline::Keepalive));
        }
        self.look = keepalive.and_then(|keepalive| now.checked_add(keepalive.patience));
        self.pinged = true;
        Some(Due::Ping)
    }

    const fn idle(&mut self) -> Option<&mut Idle> {
        match &mut self.rare {
            Some(rare) => rare.idle.as_mut(),
            None => None,
        }
    }
}

impl Idle {
    fn is_over(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= self.left)
    }
}

impl Closing {
    fn expire(&mut self, now: Instant) -> Option<Due> {
        if now >= self.end {
            return Some(Due::GiveUp(Deadline::Close));
        }
        self.hurry.take_if(|hurry| now >= *hurry).map(|_| Due::PrioritizeClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keepalive;

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
                let due = timers.expire(now, &config);
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
            Config::new().keepalive(Keepalive::every(10 * SECOND).pong_timeout(90 * SECOND));
        check(config, &[], &[(10, Due::Ping), (100, Due::GiveUp(Deadline::Keepalive))]);
    }

    #[test]
    fn a_ping_may_wait_for_ever() {
        let patient = Keepalive::every(10 * SECOND).pong_timeout(Duration::MAX);
        check(Config::new().keepalive(patient), &[], &[(10, Due::Ping)]);
    }

    #[test]
    fn a_peer_that_could_not_be_heard_is_asked_before_it_is_given_up() {
        let start = Instant::now();
        let config = Config::new().keepalive(Keepalive::every(SECOND));
        let mut timers = Timers::new(&config, start);
        assert_eq!(timers.expire(start + 1000 * SECOND, &config), Some(Due::Ping));
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
        let config = Config::new().keepalive(Keepalive::default());
        let mut timers = Timers::new(&config, start);
        timers.close(start, 4 * SECOND);
        timers.close(start + 3 * SECOND, 4 * SECOND);
        assert_eq!(timers.expire(start + SECOND, &config), None);
        assert_eq!(timers.expire(start + 2 * SECOND, &config), Some(Due::PrioritizeClose));
        assert_eq!(timers.expire(start + 2 * SECOND, &config), None);
        assert_eq!(timers.next(), Some(start + 4 * SECOND));
        let end = timers.expire(start + 4 * SECOND, &config);
        assert_eq!(end, Some(Due::GiveUp(Deadline::Close)));
    }
}
