//! What is put into a mailbox and taken out of it, and what is said about that?

use std::task::Waker;

use smallvec::SmallVec;
use ws_core::StatusCode;

/// So many messages are taken out at once.
pub(crate) const AT_ONCE: usize = 16;

/// How many events may wait for the handlers of a socket. Those that must not be lost are
/// not bounded by it.
pub(crate) const EVENTS: usize = 1024;

/// How long something is that is sent.
pub(crate) trait Weigh {
    /// In bytes of payload.
    fn weight(&self) -> usize;
}

/// The order to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    /// How many bytes waited when the socket was found to be too slow, if it was.
    pub(crate) too_slow: Option<usize>,
}

/// What the task of a socket has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    Write,
    /// The transport has left a part of what a carrier brought.
    Flush,
    Close(Box<Order>),
}

/// How something is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Only to who keeps up.
    pub(crate) volatile: bool,
    /// By a carrier, if the task sleeps.
    pub(crate) carried: bool,
}

/// Who is to be told that something was put in?
#[derive(Debug)]
#[must_use]
pub(crate) enum Call {
    /// The task is awake, or waits for its transport, or a carrier is on its way.
    Nobody,
    /// The task, which sleeps.
    Task(Waker),
    /// A carrier.
    Carrier,
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits; so many older ones were dropped for it. `crowded` is when half of the room
    /// is used, and the socket's task has yet to have its turn.
    Queued { dropped: usize, crowded: bool },
    /// It was dropped.
    Dropped,
    /// The socket is closed for it, and so many that waited are discarded.
    Cut { discarded: usize },
    /// The socket takes nothing any more.
    Closed,
}

/// Some that are taken out at once.
pub(crate) type Items<T> = SmallVec<[T; AT_ONCE]>;

/// What was taken out, to be written.
pub(crate) struct Taken<T> {
    pub(crate) items: Items<T>,
    /// Nothing else waited. A carrier is through, and another is called for what comes.
    pub(crate) is_all: bool,
}

impl<T> Taken<T> {
    pub(crate) fn nothing() -> Self {
        Self { items: Items::new(), is_all: true }
    }
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) dropped: u64,
}
