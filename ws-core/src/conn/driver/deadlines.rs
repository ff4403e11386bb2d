//! How does a connection keep its deadlines?

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::Instant;

use crate::Config;
use crate::conn::driver::connection::Shared;
use crate::conn::runtime::timer::Alarm;
use crate::proto::{Due, Timers};

/// The deadlines of a connection, and its alarm for the next of them.
#[derive(Default)]
pub(crate) struct Clock {
    timers: Timers,
    /// Set while somebody waits; it stays as it is when that is over. It never rings
    /// later than anything is due, but may ring earlier.
    alarm: Option<Alarm>,
}

impl Clock {
    /// The clock of a connection that opens now.
    pub(crate) fn new(config: &Config) -> Self {
        Self { timers: Timers::new(config, Instant::now().into_std()), alarm: None }
    }

    #[inline]
    pub(crate) const fn heard(&mut self) {
        self.timers.heard();
    }

    #[inline]
    pub(crate) const fn message(&mut self) {
        self.timers.message();
    }

    /// Nobody waits for a message any more.
    #[inline]
    pub(crate) fn pause(&mut self) {
        if self.timers.has_idle() {
            self.timers.pause(Instant::now().into_std());
        }
    }

    /// The closing handshake begins.
    pub(crate) fn close(&mut self, config: &Config) {
        self.timers.close(Instant::now().into_std(), config.close_timeout);
        // It is due before anything else.
        self.alarm = None;
    }

    /// The alarm has rung, or will not.
    pub(crate) fn ring(&mut self) {
        self.alarm = None;
    }

    /// How much longer the closing handshake may take.
    pub(crate) fn close_left(&self, otherwise: Duration) -> Duration {
        self.timers.close_end().map_or(otherwise, |end| {
            Instant::from_std(end).saturating_duration_since(Instant::now())
        })
    }

    /// Is there nothing to do but to wait for the alarm, or nothing to wait for?
    #[inline]
    pub(crate) const fn is_set(&self) -> bool {
        match self.alarm {
            // The idle clock starts and stops, and with it changes what is due next.
            Some(_) => !self.timers.has_idle(),
            None => self.timers.is_off(),
        }
    }

    /// Waits for what is due next. To be called only when nothing more can be read,
    /// so that the peer is not blamed for what lies in the socket.
    pub(crate) fn poll(&mut self, shared: &Shared, cx: &Context<'_>) -> Poll<Due> {
        // Without a runtime there are no alarms, and nothing is ever due.
        if self.alarm.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let now = Instant::now();
        self.timers.resume(now.into_std());
        while let Some(next) = self.timers.next().map(Instant::from_std) {
            if next > now {
                if !self.alarm.as_ref().is_some_and(|alarm| alarm.is_by(next)) {
                    self.alarm = Alarm::set(next, shared);
                }
                break;
            }
            // A task that has used up its turn is told that there is nothing to read.
            if !coop::has_budget_remaining() {
                cx.waker().wake_by_ref();
                break;
            }
            if let Some(due) = self.timers.expire(now.into_std(), &shared.facts.config) {
                return Poll::Ready(due);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle connection has one.
    #[test]
    fn a_clock_is_small() {
        assert!(size_of::<Clock>() <= 48, "{}", size_of::<Clock>());
    }
}
