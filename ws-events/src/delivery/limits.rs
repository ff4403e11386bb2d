//! How much may wait for a slow peer, and what happens beyond?

use std::time::Duration;

use ws_core::StatusCode;

/// What may wait for one socket whose peer does not keep up.
///
/// It bounds the memory that a peer can make the hub hold: nothing else waits but the one
/// batch that the connection has in hand, which is about the high mark of
/// [`Config::write_buffer`](ws_core::Config::write_buffer).
///
/// It also has to hold what is sent before the socket's task has its turn to write. When half
/// of an outbox is used before that, the hub's handlers give way for a turn. So half of it has
/// to hold what one handler sends to one socket without waiting for anything in between.
///
/// ```
/// use ws_events::{Outbox, Overflow};
///
/// let outbox = Outbox::new().bytes(64 * 1024).messages(100).overflow(Overflow::DropOldest);
/// # let _ = outbox;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) overflow: Overflow,
}

/// What happens when something is sent to a socket whose [`Outbox`] is full.
///
/// Whatever it is, nobody else waits for it. Volatile messages are dropped before it comes
/// to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The socket is closed with this code, and what waited is discarded. The reason is
    /// `slow consumer`. By default with
    /// [`TRY_AGAIN_LATER`](StatusCode::TRY_AGAIN_LATER), 1013.
    Disconnect(StatusCode),
    /// The message is dropped.
    DropNewest,
    /// The oldest messages that wait are dropped, as many as make room.
    DropOldest,
    /// [`Socket::send_wait`](crate::Socket::send_wait) and
    /// [`emit_wait`](crate::Socket::emit_wait) wait for room, for so long at most. All else,
    /// such as a broadcast, waits for nothing: its message is dropped as with `DropNewest`.
    Block(Duration),
}

impl Outbox {
    /// 1 MiB, 1,024 messages, and then the socket is closed with 1013.
    pub const fn new() -> Self {
        Self {
            bytes: 1024 * 1024,
            messages: 1024,
            overflow: Overflow::Disconnect(StatusCode::TRY_AGAIN_LATER),
        }
    }

    /// How many bytes of payload may wait. One message alone may be longer. Default: 1 MiB.
    #[must_use]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// How many messages may wait; at least one. Default: 1,024.
    #[must_use]
    pub const fn messages(mut self, messages: usize) -> Self {
        self.messages = if messages == 0 { 1 } else { messages };
        self
    }

    /// What happens beyond. Default: [`Overflow::Disconnect`] with 1013.
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Is half of it used?
    pub(crate) const fn is_crowded(&self, messages: usize, bytes: usize) -> bool {
        messages.saturating_mul(2) >= self.messages || bytes.saturating_mul(2) >= self.bytes
    }

    /// Is there room for one more of this length?
    pub(crate) const fn has_room(&self, messages: usize, bytes: usize, more: usize) -> bool {
        messages == 0 || (messages < self.messages && bytes.saturating_add(more) <= self.bytes)
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}
