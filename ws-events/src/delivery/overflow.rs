//! How many messages may be queued for a slow peer, and what happens beyond that?

use std::time::Duration;

use ws_core::StatusCode;

/// The limits of a socket's send queue, and what happens beyond them.
///
/// The limits bound the memory for a slow peer. Besides the queue, a connection holds one batch of
/// about the high watermark of [`Config::write_buffer`](ws_core::Config::write_buffer).
///
/// While a [session](crate::Recovery) is being recovered, what is sent to its socket counts as queued. What
/// the client has missed is queued before it, and may be as much again.
///
/// A message also waits in the queue until the socket's task runs. If a queue is half full before
/// that, the handlers of the hub yield, but only where they await something. A handler that sends
/// more than half of the limits to one socket without an `await` can overflow the queue of a peer
/// that is not slow.
///
/// ```
/// use ws_events::{Overflow, SendQueueLimits};
///
/// let limits =
///     SendQueueLimits::new().bytes(64 * 1024).messages(100).overflow(Overflow::DropOldest);
/// # let _ = limits;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("backpressure", "capacity"))]
pub struct SendQueueLimits {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) overflow: Overflow,
}

/// What happens to a message for a socket whose send queue is full.
///
/// A sender never waits for room, except in [`Socket::send_wait`](crate::Socket::send_wait) and
/// [`emit_wait`](crate::Socket::emit_wait). A volatile message for a full queue is dropped,
/// whatever the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The socket is closed with this code and the reason `slow consumer`, and the queued
    /// messages are discarded. The default, with
    /// [`TRY_AGAIN_LATER`](StatusCode::TRY_AGAIN_LATER), 1013.
    Disconnect(StatusCode),
    /// The message is dropped.
    DropNewest,
    /// The oldest queued messages are dropped until there is room.
    DropOldest,
    /// [`Socket::send_wait`](crate::Socket::send_wait) and
    /// [`emit_wait`](crate::Socket::emit_wait) wait for room, at most for this duration. All
    /// other sends drop the message, as with `DropNewest`.
    Block(Duration),
}

impl Default for Overflow {
    /// [`Disconnect`](Self::Disconnect) with 1013.
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Overflow {
    const DEFAULT: Self = Self::Disconnect(StatusCode::TRY_AGAIN_LATER);
}

impl SendQueueLimits {
    /// 1 MiB and 1,024 messages. Beyond that the socket is closed with 1013.
    pub const fn new() -> Self {
        Self { bytes: 1024 * 1024, messages: 1024, overflow: Overflow::DEFAULT }
    }

    /// The largest number of queued payload bytes. A message for an empty queue may be larger.
    /// Default: 1 MiB.
    #[must_use]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The largest number of queued messages, at least one. Default: 1,024.
    #[must_use]
    pub const fn messages(mut self, messages: usize) -> Self {
        self.messages = if messages == 0 { 1 } else { messages };
        self
    }

    /// What happens beyond the limits. Default: [`Overflow::Disconnect`] with 1013.
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

/// What a full queue does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverflowAction {
    /// The socket is closed as a slow consumer.
    Disconnect(StatusCode),
    /// The oldest messages make room.
    DropOldest,
    DropMessage,
}

impl SendQueueLimits {
    /// The largest number of queued messages.
    pub(crate) const fn message_limit(&self) -> usize {
        self.messages
    }

    /// Whether a queue of so many messages and bytes has room for one more message of this size.
    /// An empty queue has room for any.
    #[inline]
    pub(crate) const fn have_room(&self, messages: usize, bytes: usize, size: usize) -> bool {
        messages == 0 || (messages < self.messages && bytes.saturating_add(size) <= self.bytes)
    }

    /// Whether a queue of so many messages and bytes is half full.
    #[inline]
    pub(crate) const fn are_half_reached(&self, messages: usize, bytes: usize) -> bool {
        messages.saturating_mul(2) >= self.messages || bytes.saturating_mul(2) >= self.bytes
    }

    /// What happens to a message beyond the limits, or to a volatile one while the peer does not
    /// keep up.
    pub(crate) const fn overflow_action(&self, volatile: bool) -> OverflowAction {
        match self.overflow {
            _ if volatile => OverflowAction::DropMessage,
            Overflow::Disconnect(code) => OverflowAction::Disconnect(code),
            Overflow::DropOldest => OverflowAction::DropOldest,
            Overflow::DropNewest | Overflow::Block(_) => OverflowAction::DropMessage,
        }
    }
}

impl Default for SendQueueLimits {
    fn default() -> Self {
        Self::new()
    }
}
