//! Which state do the handles and the task of a `ReconnectingConn` share?

use std::collections::VecDeque;
use std::fmt;

use tokio::sync::broadcast;

use super::events::{ReconnectEvents, ReconnectState};
use super::failure::ReconnectError;
use super::lifecycle::{Action, Lifecycle, LifecycleEvent};
use super::send_queue::{QueueFull, SendQueue, SendQueueConfig};
use crate::watched::Watched;
use crate::{Conn, Message};

/// How many states [`ReconnectEvents`] buffers.
const EVENT_BUFFER: usize = 64;

/// The state, and its subscribers.
pub(super) struct Shared {
    pub(super) state: Watched<SharedState>,
    events: broadcast::Sender<ReconnectState>,
}

pub(super) struct SharedState {
    pub(super) life: Lifecycle<Conn>,
    /// The connections with messages to read: the current one, and the one before it.
    unread: VecDeque<Conn>,
    pub(super) queue: SendQueue,
}

impl Shared {
    /// The first state, and the first action of the task.
    pub(super) fn new(queue: SendQueueConfig) -> (Self, Action<Conn>) {
        let (life, action) = Lifecycle::new();
        let inner = SharedState { life, unread: VecDeque::new(), queue: SendQueue::new(queue) };
        let shared =
            Self { state: Watched::new(inner), events: broadcast::Sender::new(EVENT_BUFFER) };
        (shared, action)
    }

    /// Applies an event, and publishes the new state.
    pub(super) fn apply(&self, event: LifecycleEvent<Conn>) -> Action<Conn> {
        self.state.change(|inner| {
            if let LifecycleEvent::Established(conn) = &event {
                inner.use_conn(conn);
            }
            let action = inner.life.on(event);
            match action {
                Action::Dial { .. } | Action::Serve { .. } | Action::Wait(_) | Action::Stop => {
                    // Fails if there is no receiver.
                    let _ = self.events.send(inner.life.state());
                }
                Action::Close | Action::Nothing => {}
            }
            action
        })
    }

    pub(super) fn events(&self) -> ReconnectEvents {
        // `apply` sends under the same lock, so no state is missed.
        self.state.look(|inner| ReconnectEvents::new(inner.life.state(), self.events.subscribe()))
    }
}

impl SharedState {
    /// Reads from a new connection, after those before it, and sends the queue again.
    fn use_conn(&mut self, conn: &Conn) {
        while self.unread.len() > 1 {
            self.unread.pop_front();
        }
        self.unread.push_back(conn.clone());
        self.queue.restart();
    }

    /// The connection to read from. `None` means: wait for one.
    pub(super) fn unread(&self) -> Option<Result<Conn, ReconnectError>> {
        self.or_end(self.unread.front().cloned())
    }

    /// The value, or why there are no more connections. `None` means: wait for one of them.
    pub(super) fn or_end<T>(&self, value: Option<T>) -> Option<Result<T, ReconnectError>> {
        value.map(Ok).or_else(|| self.life.end().map(Err))
    }

    /// The connection that can be used, or why there is none any more. `None` means: wait.
    pub(super) fn open_conn(&self) -> Option<Result<Conn, ReconnectError>> {
        if let Some(error) = self.life.write_error() {
            return Some(Err(error));
        }
        // The task learns of the end a moment later.
        let conn = self.life.conn().filter(|conn| conn.close_info().is_none());
        conn.cloned().map(Ok)
    }

    /// All messages of this connection were read.
    pub(super) fn remove_unread(&mut self, conn: &Conn) {
        self.unread.retain(|unread| unread.id() != conn.id());
    }

    /// Queues a message. `None` means: wait for space.
    pub(super) fn push(&mut self, message: &Message) -> Option<Result<(), ReconnectError>> {
        if let Some(error) = self.life.write_error() {
            return Some(Err(error));
        }
        match self.queue.push(message) {
            Ok(()) => Some(Ok(())),
            Err(QueueFull::Refused) => Some(Err(ReconnectError::SendQueueFull)),
            Err(QueueFull::MustWait) => None,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, queued) =
            self.state.look(|inner| (inner.life.state(), inner.queue.end() - inner.queue.first()));
        f.debug_struct("ReconnectingConn")
            .field("state", &state)
            .field("queued", &queued)
            .finish_non_exhaustive()
    }
}
