//! What do few connections have, on their reading side?

use std::sync::Arc;

use crate::conn::api::control_hooks::{Call, Hooks};
use crate::conn::driver::rate_limits::Arrival;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::wait_queue::Ticket;
use crate::frame::Frame;
use crate::proto::{CloseFrame, RateLimiter};
use crate::{Error, Message};

/// What stands apart, so that a connection without it is small; one that has any of it does
/// not take the short way.
#[derive(Default)]
pub(crate) struct Rare {
    /// A message that somebody met who had no use for it.
    pub(crate) parked: Option<Message>,
    /// A control frame that was met by who reads frames.
    pub(crate) control: Option<Frame>,
    pub(crate) hooks: Hooks,
    /// The hook to call when the lock is free.
    pub(crate) call: Option<Call>,
    pub(crate) rates: Option<RateLimiter>,
    /// How many bytes the rates know of.
    pub(crate) counted: u64,
    pub(crate) arrival: Option<Arc<Arrival>>,
    /// The peer's close frame, which is answered when this side has no more to say.
    pub(crate) unanswered: Option<CloseFrame>,
}

impl Reader {
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn has_parked(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.parked.is_some())
    }

    pub(crate) fn park(&mut self, message: Message) {
        self.rare_mut().parked = Some(message);
    }

    pub(crate) fn unpark(&mut self) -> Option<Message> {
        let message = self.rare.as_mut()?.parked.take();
        self.tidy_up();
        message
    }

    /// The message that somebody met who had no use for it. While a `MessageReader` is
    /// open, that is the end of its message, and nobody else's.
    #[inline]
    pub(crate) fn take_parked(&mut self, ticket: &Ticket) -> Option<Message> {
        if self.streaming {
            return None;
        }
        // Who parked it could not go on.
        let message = self.unpark()?;
        self.waiters.wake_others(ticket);
        Some(message)
    }

    /// The end of what the peer has to say, where this side may still say something.
    #[inline]
    pub(crate) fn half_over(&self) -> Option<Error> {
        let frame = self.rare.as_ref()?.unanswered.as_ref()?;
        Some(Error::Closed(frame.as_error().clone()))
    }

    /// Gives up what is empty.
    pub(crate) fn tidy_up(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self { parked, control, hooks, call, rates, counted: _, arrival: _, unanswered } = self;
        parked.is_none()
            && control.is_none()
            && hooks.is_empty()
            && call.is_none()
            && rates.is_none()
            && unanswered.is_none()
    }
}
