//! Which state do the handles and the task of a `ReconnectingConn` share?

use std::collections::VecDeque;
use std::fmt;

use tokio::sync::{Semaphore, SemaphorePermit, broadcast};

use super::events::{ReconnectEvents, ReconnectState};
use super::failure::ReconnectError;
use super::lifecycle::{Action, Lifecycle, LifecycleEvent};
use super::send_queue::{QueueFull, SendQueue, SendQueueConfig};
use super::session::{SessionFormat, SessionState};
use crate::watched::Watched;
use crate::{Conn, Message};

/// How many states [`ReconnectEvents`] buffers.
const EVENT_BUFFER: usize = 64;

/// The state, and its subscribers.
pub(super) struct Shared {
    pub(super) state: Watched<SharedState>,
    pub(super) session: Option<SessionFormat>,
    /// One permit: with a session, one call reads at a time, so that offsets are noted in order.
    reader: Semaphore,
    events: broadcast::Sender<ReconnectState>,
}

pub(super) struct SharedState {
    pub(super) life: Lifecycle<Conn>,
    /// The connections with messages to read: the current one, and the one before it.
    pub(super) unread: VecDeque<Unread>,
    pub(super) session: Option<SessionState>,
    pub(super) queue: SendQueue,
}

/// A connection with messages to read.
pub(super) struct Unread {
    pub(super) conn: Conn,
    /// Whether a session was lost before its messages.
    pub(super) is_behind_loss: bool,
}

/// What an application reads next.
pub(super) enum NextRead {
    /// The next message of this connection.
    From(Conn),
    Message(Message),
}

impl Shared {
    /// The first state, and the first action of the task.
    pub(super) fn new(
        queue: SendQueueConfig,
        session: Option<SessionFormat>,
    ) -> (Self, Action<Conn>) {
        let (life, action) = Lifecycle::new();
        let (unread, queue) = (VecDeque::new(), SendQueue::new(queue));
        let state = session.map(SessionState::new);
        let shared = Self {
            state: Watched::new(SharedState { life, unread, session: state, queue }),
            session,
            reader: Semaphore::new(1),
            events: broadcast::Sender::new(EVENT_BUFFER),
        };
        (shared, action)
    }

    /// Waits until no other call reads, if the order of the calls matters.
    pub(super) async fn begin_reading(&self) -> Option<SemaphorePermit<'_>> {
        let session = self.session?;
        match self.reader.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => session.turn(&self.reader).await,
        }
    }

    /// A message was read from a connection. `None` if it is not for the application now.
    pub(super) fn received(&self, conn: &Conn, message: Message) -> Option<Message> {
        match self.session {
            None => Some(message),
            Some(session) => session.received(self, conn, message),
        }
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
        let mut is_behind_loss =
            self.session.as_mut().is_some_and(|session| std::mem::take(&mut session.is_lost));
        while self.unread.len() > 1 {
            let dropped = self.unread.pop_front();
            let is_lost = dropped.is_some_and(|unread| unread.is_behind_loss);
            if let Some(next) = self.unread.front_mut() {
                next.is_behind_loss |= is_lost;
            } else {
                is_behind_loss |= is_lost;
            }
        }
        self.unread.push_back(Unread { conn: conn.clone(), is_behind_loss });
        self.queue.restart();
    }

    /// What to read next. `None` means: wait for it.
    pub(super) fn next_read(&mut self) -> Option<Result<NextRead, ReconnectError>> {
        if let Some(held) = self.session.as_mut().and_then(SessionState::take_held) {
            return Some(Ok(NextRead::Message(held)));
        }
        let Some(next) = self.unread.front_mut() else { return self.or_end(None) };
        if std::mem::take(&mut next.is_behind_loss) {
            return Some(Err(ReconnectError::SessionLost));
        }
        let waits = self.session.as_ref().is_some_and(|session| session.waits(next.conn.id()));
        (!waits).then(|| Ok(NextRead::From(next.conn.clone())))
    }

    /// Whether the last connection has the session of the one before.
    pub(super) fn recovered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.recovered)
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
        self.unread.retain(|unread| unread.conn.id() != conn.id());
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
