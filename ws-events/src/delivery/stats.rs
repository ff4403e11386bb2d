//! What is counted for a hub and for a socket?

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// The counters of a hub: see [`Hub::stats`](crate::Hub::stats).
///
/// Each message for an open socket is counted once as `queued` or `refused`. Each queued message
/// is later counted as `written`, `dropped` or `discarded`; until then it is
/// [`waiting`](Self::waiting). A message for a socket that is closing, or for an unknown id, is
/// not counted: its sender gets an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HubStats {
    /// Sockets that are connected now.
    pub sockets: usize,
    /// Rooms that have members now.
    pub rooms: usize,
    /// Sockets that have connected so far.
    pub connected: u64,
    /// Sockets that have disconnected so far.
    pub disconnected: u64,
    /// Connections that were rejected: by middleware, because their id was taken, or because
    /// the hub was draining. A connection that ends before its rejection is not counted.
    pub rejected: u64,
    /// Sockets that were closed as slow consumers.
    pub slow_consumers: u64,
    /// Messages put into send queues, one for each recipient.
    pub queued: u64,
    /// Messages written to connections.
    pub written: u64,
    /// Messages not put into a send queue: the queue was full (with
    /// [`Overflow::Block`](crate::Overflow), until its timeout), or the message was volatile.
    pub refused: u64,
    /// Messages removed from a send queue to make room: [`Overflow::DropOldest`](crate::Overflow).
    pub dropped: u64,
    /// Messages that were queued when their socket was closed or disconnected.
    pub discarded: u64,
    /// Payload bytes that are in send queues now. A message counts for each recipient, although
    /// they share its memory.
    pub queued_bytes: u64,
}

impl HubStats {
    /// The messages that are in send queues now.
    pub const fn waiting(&self) -> u64 {
        self.queued.saturating_sub(self.written + self.dropped + self.discarded)
    }
}

/// The send queue of one socket: see [`Socket::stats`](crate::Socket::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SocketStats {
    /// Messages in its send queue.
    pub messages: usize,
    /// Payload bytes in its send queue.
    pub bytes: usize,
    /// Messages for it that were dropped so far.
    pub dropped: u64,
}

/// Messages that were queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connected: AtomicU64,
    pub(crate) disconnected: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) discarded: AtomicU64,
    /// Below zero for a moment: a message may be written before its sender has counted it.
    pub(crate) queued_bytes: AtomicI64,
}

impl Counters {
    pub(crate) fn stats(&self, sockets: usize, rooms: usize) -> HubStats {
        // First those that `waiting` subtracts, so that it is never too small.
        let written = self.written.load(Relaxed);
        let dropped = self.dropped.load(Relaxed);
        let discarded = self.discarded.load(Relaxed);
        HubStats {
            sockets,
            rooms,
            connected: self.connected.load(Relaxed),
            disconnected: self.disconnected.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            slow_consumers: self.slow_consumers.load(Relaxed),
            queued: self.queued.load(Relaxed),
            written,
            refused: self.refused.load(Relaxed),
            dropped,
            discarded,
            queued_bytes: u64::try_from(self.queued_bytes.load(Relaxed)).unwrap_or(0),
        }
    }

    /// Counts queued messages that were discarded.
    pub(crate) fn discard(&self, backlog: Backlog) {
        add(&self.discarded, backlog.messages);
        self.change_queued_bytes(0, backlog.bytes);
    }

    /// Counts payload bytes that were put into send queues and taken out of them.
    pub(crate) fn change_queued_bytes(&self, put: usize, taken: usize) {
        if put != taken {
            // Both are far below the limit of the type: they are lengths of buffers in memory.
            self.queued_bytes.fetch_add((put as i64).wrapping_sub(taken as i64), Relaxed);
        }
    }
}

/// Adds to a counter. It skips zero, since all threads share the counter.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    if more > 0 {
        counter.fetch_add(more as u64, Relaxed);
    }
}
