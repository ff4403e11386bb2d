//! What do the handles and the task that connects have in common?

use std::collections::VecDeque;
use std::fmt;

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::outbox::Queue;
use super::{Events, Outbox, ReconnectError, State, WhenFull};
use crate::{Conn, Error, Message, StatusCode};

/// One state, and one signal that it has changed.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    told: broadcast::Sender<State>,
}

pub(super) struct Inner {
    state: State,
    /// The connections that may have something to read: the present one, and before it the
    /// one that was lost last.
    unread: VecDeque<Conn>,
    pub(super) current: Option<Conn>,
    pub(super) queue: Queue,
    pub(super) leaving: Option<Leaving>,
    /// How the connection took it that it was closed.
    pub(super) closed: Result<(), Error>,
}

/// Why is the task to end?
#[derive(Clone, Debug)]
pub(super) enum Leaving {
    /// The application has closed the connection.
    Close(StatusCode, String),
    /// The last handle is gone.
    Gone,
}

impl Shared {
    pub(super) fn new(outbox: Outbox) -> Self {
        let inner = Inner {
            state: State::Connecting { attempt: 1 },
            unread: VecDeque::new(),
            current: None,
            queue: Queue::new(outbox),
            leaving: None,
            closed: Ok(()),
        };
        Self {
            inner: Mutex::new(inner),
            changed: watch::Sender::new(()),
            told: broadcast::Sender::new(64),
        }
    }

    /// Looks.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.lock())
    }

    /// Changes something, and wakes whoever waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner.lock());
        self.changed.send_replace(());
        changed
    }

    /// Waits until there is something to see.
    ///
    /// # Cancel safety
    ///
    /// What `look` did when it saw something is done; before, it has done nothing.
    pub(super) async fn wait<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(seen) = look(&mut self.inner.lock()) {
                return seen;
            }
            // The sender is `self`'s, so this only returns when something has changed.
            let _ = changed.changed().await;
        }
    }

    /// Goes on to another state.
    pub(super) fn tell(&self, state: State) {
        self.change(|inner| self.tell_in(inner, state));
    }

    /// There is a connection.
    pub(super) fn begin(&self, conn: &Conn) {
        self.change(|inner| {
            while inner.unread.len() > 1 {
                inner.unread.pop_front();
            }
            inner.unread.push_back(conn.clone());
            inner.current = Some(conn.clone());
            inner.queue.start_again();
            self.tell_in(inner, State::Connected);
        });
    }

    /// The connection is lost.
    pub(super) fn lose(&self) {
        self.change(|inner| inner.current = None);
    }

    /// There will be no connection any more.
    pub(super) fn end(&self, why: ReconnectError) {
        self.change(|inner| {
            inner.current = None;
            if inner.ended().is_none() {
                self.tell_in(inner, State::Ended(why));
            }
        });
    }

    pub(super) fn events(&self) -> Events {
        // Under the lock, so that no state falls between.
        let inner = self.inner.lock();
        Events::new(inner.state.clone(), self.told.subscribe())
    }

    fn tell_in(&self, inner: &mut Inner, state: State) {
        inner.state = state.clone();
        // Whether anybody listens is nobody's business.
        let _ = self.told.send(state);
    }
}

impl Inner {
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Why there will be no connection any more.
    pub(super) fn ended(&self) -> Option<ReconnectError> {
        match &self.state {
            State::Ended(why) => Some(why.clone()),
            State::Connecting { .. } | State::Connected | State::Waiting { .. } => None,
        }
    }

    /// Why no message is taken any more.
    pub(super) fn closed(&self) -> Option<ReconnectError> {
        self.ended().or_else(|| self.leaving.is_some().then_some(ReconnectError::Closed))
    }

    /// The connection to read from.
    pub(super) fn unread(&self) -> Option<Result<Conn, ReconnectError>> {
        match self.unread.front() {
            Some(conn) => Some(Ok(conn.clone())),
            None => self.ended().map(Err),
        }
    }

    /// There is nothing more to read on this connection.
    pub(super) fn has_read(&mut self, conn: &Conn) {
        self.unread.retain(|unread| unread.id() != conn.id());
    }

    /// Takes a message, unless it has to wait for room.
    pub(super) fn push(&mut self, message: &Message) -> Result<Result<(), ReconnectError>, Full> {
        if let Some(why) = self.closed() {
            return Ok(Err(why));
        }
        match self.queue.push(message) {
            Ok(()) => Ok(Ok(())),
            Err(WhenFull::Refuse) => Ok(Err(ReconnectError::OutboxFull)),
            Err(WhenFull::Wait | WhenFull::DropOldest) => Err(Full),
        }
    }
}

/// There is no room for a message.
pub(super) struct Full;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("ReconnectingConn")
            .field("state", &inner.state)
            .field("waiting", &(inner.queue.end() - inner.queue.first()))
            .finish_non_exhaustive()
    }
}
