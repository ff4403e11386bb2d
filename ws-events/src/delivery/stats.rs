//! What is counted, for one hub and for one socket?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// What a hub has done so far: see [`Hub::stats`](crate::Hub::stats).
///
/// Every message for a socket that is open is counted once as `queued` or as `refused`, and
/// every queued one later as `written`, `dropped` or `discarded`, or is among the `waiting`.
/// A message for a socket that is closing, or for an id that nobody has, is not counted: who
/// sends it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HubStats {
    /// Sockets that are connected now.
    pub sockets: usize,
    /// Rooms that somebody is in now.
    pub rooms: usize,
    /// Sockets that were connected so far.
    pub connected: u64,
    /// Sockets that have ended.
    pub disconnected: u64,
    /// Connections that were not let in: middleware refused them, their id was taken, or
    /// the hub was being drained. One whose peer was gone before it could be told is not
    /// counted.
    pub turned_away: u64,
    /// Sockets that were closed because they did not keep up.
    pub slow_consumers: u64,
    /// Messages put into outboxes: one for each recipient.
    pub queued: u64,
    /// Messages handed to connections.
    pub written: u64,
    /// Messages that were not put into an outbox: it was full, and stayed so for as long as
    /// anybody waited, or they were volatile.
    pub refused: u64,
    /// Messages taken out of an outbox to make room: [`Overflow::DropOldest`](crate::Overflow).
    pub dropped: u64,
    /// Messages that waited when their socket ended or was cut.
    pub discarded: u64,
}

impl HubStats {
    /// How many messages wait in outboxes now.
    pub const fn waiting(&self) -> u64 {
        self.queued.saturating_sub(self.written + self.dropped + self.discarded)
    }
}

/// How one socket keeps up: see [`Socket::stats`](crate::Socket::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SocketStats {
    /// Messages that wait in its outbox.
    pub messages: usize,
    /// Bytes of payload that wait there.
    pub bytes: usize,
    /// Messages for it that were dropped so far.
    pub dropped: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connected: AtomicU64,
    pub(crate) disconnected: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) discarded: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> HubStats {
        // Those that make `waiting` smaller are read first.
        let written = self.written.load(Relaxed);
        let dropped = self.dropped.load(Relaxed);
        let discarded = self.discarded.load(Relaxed);
        HubStats {
            sockets: 0,
            rooms: 0,
            connected: self.connected.load(Relaxed),
            disconnected: self.disconnected.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            slow_consumers: self.slow_consumers.load(Relaxed),
            queued: self.queued.load(Relaxed),
            written,
            refused: self.refused.load(Relaxed),
            dropped,
            discarded,
        }
    }
}

/// Adds, unless there is nothing to add: the counter is shared by all threads.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    if more > 0 {
        counter.fetch_add(more as u64, Relaxed);
    }
}
