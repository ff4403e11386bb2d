//! Which timeout expires next, and what is due then?
//!
//! Instants are arguments; no clock is read.

use std::time::{Duration, Instant};

use crate::{Config, Deadline};

/// The action that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a ping: nothing was received for the keepalive interval.
    Ping,
    /// Send the close frame ahead of the data: half of `close_timeout` has passed.
    PrioritizeClose,
    /// Abort the connection.
    GiveUp(Deadline),
}

/// What keepalive knows of the peer since its last check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PeerActivity {
    /// Nothing was received.
    #[default]
    Silent,
    /// Nothing was received, and a ping was sent.
    Pinged,
    /// Bytes were received.
    Active,
}

/// The timeouts of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    /// When keepalive checks the peer next. Received bytes set a flag rather than an instant, so
    /// that they need not read the clock.
    check: Option<Instant>,
    peer: PeerActivity,
    // Boxed, since few connections use any of them before they close.
    optional: Option<Box<OptionalTimers>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OptionalTimers {
    age: Option<Instant>,
    idle: Option<IdleTimer>,
    close: Option<CloseTimer>,
}

/// The time left until a message has to arrive. It is paused while nothing reads.
#[derive(Clone, Copy, Debug)]
struct IdleTimer {
    period: Duration,
    left: Duration,
    since: Option<Instant>,
}

/// The two deadlines of a closing handshake.
#[derive(Clone, Copy, Debug)]
struct CloseTimer {
    prioritize: Option<Instant>,
    end: Instant,
}

impl Timers {
    /// The timers of a connection that opens at `now`.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let check =
            config.keepalive.get().and_then(|keepalive| now.checked_add(keepalive.interval));
        let age = config.max_age.and_then(|age| now.checked_add(age));
        let idle =
            config.idle_timeout.map(|period| IdleTimer { period, left: period, since: None });
        let optional = OptionalTimers { age, idle, close: None };
        let has_optional = age.is_some() || idle.is_some();
        Self {
            check,
            peer: PeerActivity::Silent,
            optional: has_optional.then(|| Box::new(optional)),
        }
    }

    /// Notes that bytes were received.
    #[inline]
    pub(crate) const fn heard(&mut self) {
        self.peer = PeerActivity::Active;
    }

    /// Notes that a message was received. Restarts the idle timeout.
    #[inline]
    pub(crate) fn message(&mut self) {
        if let Some(idle) = self.idle() {
            idle.left = idle.period;
            idle.since = None;
        }
    }

    /// Starts the idle timeout: a task waits for a message.
    pub(crate) fn resume(&mut self, now: Instant) {
        if let Some(idle) = self.idle() {
            idle.since.get_or_insert(now);
        }
    }

    /// Pauses the idle timeout: no task waits for a message.
    pub(crate) fn pause(&mut self, now: Instant) {
        if let Some(idle) = self.idle()
            && let Some(since) = idle.since.take()
        {
            idle.left = idle.left.saturating_sub(now.saturating_duration_since(since));
        }
    }

    /// Starts the closing handshake, which has to end within `timeout`. Only the first call
    /// counts.
    pub(crate) fn close(&mut self, now: Instant, timeout: Duration) {
        let end = now.checked_add(timeout).unwrap_or(now);
        let closing = CloseTimer { prioritize: now.checked_add(timeout / 2), end };
        self.optional.get_or_insert_default().close.get_or_insert(closing);
    }

    /// Ends keepalive: no more pings may be sent, and the peer has no reason to send anything soon.
    pub(crate) const fn stop_keepalive(&mut self) {
        self.check = None;
    }

    /// Whether no timeout is set, until a closing handshake begins.
    #[inline]
    pub(crate) const fn is_off(&self) -> bool {
        self.check.is_none() && self.optional.is_none()
    }

    /// Whether there is an idle timeout for [`resume`](Self::resume) and [`pause`](Self::pause).
    #[inline]
    pub(crate) const fn has_idle(&self) -> bool {
        matches!(&self.optional, Some(optional) if optional.idle.is_some())
    }

    /// Whether there are timeouts other than keepalive.
    pub(crate) const fn has_optional(&self) -> bool {
        self.optional.is_some()
    }

    /// The deadline of the closing handshake, if it has begun.
    pub(crate) fn close_end(&self) -> Option<Instant> {
        Some(self.optional.as_ref()?.close?.end)
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let Some(optional) = &self.optional else { return self.check };
        if let Some(close) = optional.close {
            return Some(close.prioritize.unwrap_or(close.end));
        }
        let idle = optional.idle.and_then(|idle| idle.since?.checked_add(idle.left));
        [self.check, idle, optional.age].into_iter().flatten().min()
    }

    /// The next action that is due at `now`. Call it until it returns `None`, and only after all
    /// input up to `now` has been processed. `config` is the one given to [`new`](Self::new).
    pub(crate) fn expire(&mut self, now: Instant, config: &Config) -> Option<Due> {
        if let Some(optional) = &mut self.optional {
            if let Some(close) = &mut optional.close {
                return close.expire(now);
            }
            if optional.age.is_some_and(|age| now >= age) {
                return Some(Due::GiveUp(Deadline::Age));
            }
            if optional.idle.is_some_and(|idle| idle.is_over(now)) {
                return Some(Due::GiveUp(Deadline::Idle));
            }
        }
        if self.check.is_some_and(|check| now >= check) {
            self.check_peer(now, config)
        } else {
            None
        }
    }

    /// The next action that is due at `now`, whatever input is yet to be processed: closing takes
    /// no longer, and the connection grows no older.
    pub(crate) fn expire_busy(&mut self, now: Instant) -> Option<Due> {
        let optional = self.optional.as_mut()?;
        if let Some(close) = &mut optional.close {
            return close.expire(now);
        }
        let is_over = optional.age.is_some_and(|age| now >= age);
        is_over.then_some(Due::GiveUp(Deadline::Age))
    }

    /// Checks whether the peer is alive.
    fn check_peer(&mut self, now: Instant, config: &Config) -> Option<Due> {
        let keepalive = config.keepalive.get();
        match self.peer {
            PeerActivity::Active => {
                self.check = keepalive.and_then(|keepalive| now.checked_add(keepalive.interval));
                self.peer = PeerActivity::Silent;
                None
            }
            PeerActivity::Silent => {
                self.check =
                    keepalive.and_then(|keepalive| now.checked_add(keepalive.pong_timeout));
                self.peer = PeerActivity::Pinged;
                Some(Due::Ping)
            }
            PeerActivity::Pinged => Some(Due::GiveUp(Deadline::Keepalive)),
        }
    }

    #[inline]
    fn idle(&mut self) -> Option<&mut IdleTimer> {
        self.optional.as_mut()?.idle.as_mut()
    }
}

impl IdleTimer {
    fn is_over(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= self.left)
    }
}

impl CloseTimer {
    fn expire(&mut self, now: Instant) -> Option<Due> {
        if now >= self.end {
            return Some(Due::GiveUp(Deadline::Close));
        }
        self.prioritize.take_if(|prioritize| now >= *prioritize).map(|_| Due::PrioritizeClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keepalive;

    const SECOND: Duration = Duration::from_secs(1);

    /// Receives bytes at some seconds, and compares what is due at which second.
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
    fn a_silent_peer_is_pinged_once_and_then_aborted() {
        let config = Config::new().keepalive(Keepalive::every(30 * SECOND));
        check(config, &[], &[(30, Due::Ping), (60, Due::GiveUp(Deadline::Keepalive))]);
    }

    #[test]
    fn any_byte_counts_as_activity() {
        let config = Config::new().keepalive(Keepalive::every(30 * SECOND));
        let expected = [(60, Due::Ping), (120, Due::Ping), (150, Due::GiveUp(Deadline::Keepalive))];
        check(config, &[10, 85], &expected);
    }

    #[test]
    fn the_pong_timeout_may_exceed_the_interval() {
        let config =
            Config::new().keepalive(Keepalive::every(10 * SECOND).pong_timeout(90 * SECOND));
        check(config, &[], &[(10, Due::Ping), (100, Due::GiveUp(Deadline::Keepalive))]);
    }

    #[test]
    fn the_pong_timeout_may_be_unlimited() {
        let patient = Keepalive::every(10 * SECOND).pong_timeout(Duration::MAX);
        check(Config::new().keepalive(patient), &[], &[(10, Due::Ping)]);
    }

    #[test]
    fn a_peer_is_pinged_before_it_is_aborted() {
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
    fn the_idle_timeout_is_paused_while_nothing_reads() {
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
    fn max_age_ends_a_busy_connection() {
        let config = Config::new().max_age(100 * SECOND);
        check(config, &[99], &[(100, Due::GiveUp(Deadline::Age))]);
    }

    #[test]
    fn closing_prioritizes_the_close_frame_at_half_of_its_deadline() {
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
