//! How do the protocol's deadlines become sleeps?

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Config;
use crate::proto::{Due, Timers};

/// The deadlines of a connection, and the one sleep that waits for the next of them.
///
/// Absent on a connection that has none: that saves its memory.
#[derive(Default)]
pub(super) struct Clock(Option<Box<Running>>);

struct Running {
    timers: Timers,
    /// The sleep, and what it waits for.
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Whom the sleep will wake, while it is for what is due next.
    armed: Option<Waker>,
}

impl Clock {
    /// The clock of a connection that opens now.
    pub(super) fn new(config: &Config) -> Self {
        let timed = config.keepalive.get().is_some()
            || config.idle_timeout.is_some()
            || config.max_age.is_some();
        if timed { Self(Some(Box::new(Running::new(config)))) } else { Self(None) }
    }

    #[inline]
    pub(super) fn heard(&mut self) {
        if let Some(running) = &mut self.0 {
            running.timers.heard();
        }
    }

    #[inline]
    pub(super) fn message(&mut self) {
        if let Some(running) = &mut self.0 {
            running.timers.message();
        }
    }

    /// Nobody waits for a message any more.
    #[inline]
    pub(super) fn pause(&mut self) {
        if let Some(running) = &mut self.0
            && running.timers.has_idle()
        {
            running.timers.pause(Instant::now().into_std());
        }
    }

    /// The closing handshake begins.
    pub(super) fn close(&mut self, config: &Config) {
        let running = self.0.get_or_insert_with(|| Box::new(Running::new(config)));
        running.timers.close(Instant::now().into_std(), config.close_timeout);
        running.armed = None;
    }

    /// How much longer the closing handshake may take.
    pub(super) fn close_left(&self, otherwise: Duration) -> Duration {
        let end = self.0.as_ref().and_then(|running| running.timers.close_end());
        end.map_or(otherwise, |end| {
            Instant::from_std(end).saturating_duration_since(Instant::now())
        })
    }

    /// Is there nothing to do but to wait for the sleep, or nothing to wait for?
    #[inline]
    pub(super) fn is_armed(&self, cx: &Context<'_>) -> bool {
        self.0.as_ref().is_none_or(|running| running.is_armed(cx))
    }

    /// Waits for what is due next. To be called only when nothing more can be read,
    /// so that the peer is not blamed for what lies in the socket.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        self.0.as_mut().map_or(Poll::Pending, |running| running.poll(cx))
    }
}

impl Running {
    fn new(config: &Config) -> Self {
        Self { timers: Timers::new(config, Instant::now().into_std()), sleep: None, armed: None }
    }

    /// Is there nothing to do but to wait for the sleep?
    #[inline]
    fn is_armed(&self, cx: &Context<'_>) -> bool {
        let waker = self.armed.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        waker && self.sleep.as_ref().is_some_and(|(_, sleep)| !sleep.is_elapsed())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        self.armed = None;
        if self.timers.has_idle() {
            self.timers.resume(Instant::now().into_std());
        }
        loop {
            let Some(next) = self.timers.next().map(Instant::from_std) else {
                return Poll::Pending;
            };
            let (until, sleep) = match &mut self.sleep {
                Some(sleep) => sleep,
                // Without a runtime there are no sleeps, and nothing is ever due.
                None if Handle::try_current().is_err() => return Poll::Pending,
                none => none.insert((next, Box::pin(sleep_until(next)))),
            };
            if *until != next {
                *until = next;
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                // The idle clock starts and stops, and with it changes what is due next.
                self.armed = (!self.timers.has_idle()).then(|| cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(due) = self.timers.expire(Instant::now().into_std()) {
                return Poll::Ready(due);
            }
        }
    }
}
