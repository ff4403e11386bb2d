//! What is a socket, behind its handles?

use std::sync::{Arc, Weak};
use std::task::Waker;

use bytes::Bytes;
use once_cell::race::OnceBox;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use ws_core::{Attributes, Conn, Message, PreparedMessage};

use crate::directory::Name;
use crate::event::News;
use crate::hub::Inner;
use crate::listeners::Listeners;
use crate::mail::Weigh;
use crate::mailbox::Mailbox;
use crate::rooms::Place;
use crate::{Event, Id};

/// A socket, behind its handles.
pub(crate) struct Member {
    pub(crate) hub: Arc<Inner>,
    /// Where its task runs.
    pub(crate) runtime: Option<Handle>,
    pub(crate) name: Name,
    pub(crate) mailbox: Arc<Mail>,
    pub(crate) attributes: Attributes,
    /// Taken when it is over: whoever keeps a handle does not keep the connection. A carrier
    /// reads it while it writes, and what it calls on the way may read it, too.
    conn: RwLock<Option<Conn>>,
    pub(crate) places: Mutex<Places>,
    /// Those of this socket alone.
    pub(crate) listeners: OnceBox<Listeners>,
}

pub(crate) type Mail = Mailbox<PreparedMessage, Told>;

/// A socket as its rooms have it: who sends to a room needs the mailboxes and, mostly,
/// nothing else.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) mailbox: Arc<Mail>,
    pub(crate) member: Arc<Member>,
}

impl Seat {
    pub(crate) fn of(member: &Arc<Member>) -> Self {
        Self { mailbox: Arc::clone(&member.mailbox), member: Arc::clone(member) }
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.member, &other.member)
    }
}

/// An event that waits for the handlers.
pub(crate) struct Told {
    pub(crate) event: Event,
    pub(crate) news: News,
}

/// Where a socket is.
pub(crate) enum Places {
    /// Not let in yet.
    Outside,
    /// Everywhere, and in these rooms.
    In { everywhere: Place<Seat>, rooms: Vec<Place<Seat>> },
    /// Nowhere any more.
    Gone,
}

impl Member {
    pub(crate) fn new(hub: Arc<Inner>, conn: Conn) -> Arc<Self> {
        let mailbox = hub.mailboxes.take();
        Arc::new(Self {
            hub,
            runtime: Handle::try_current().ok(),
            name: Name::new(Id::random().0),
            mailbox,
            attributes: conn.attributes().clone(),
            conn: RwLock::new(Some(conn)),
            places: Mutex::new(Places::Outside),
            listeners: OnceBox::new(),
        })
    }

    /// Has the processor fetch what a carrier needs.
    pub(crate) fn look(&self) {
        std::hint::black_box(self.conn.is_locked());
    }

    /// Looks at the connection, unless it is over. It stays until then.
    pub(crate) fn with_conn<T>(&self, look: impl FnOnce(&Conn) -> T) -> Option<T> {
        self.conn.read_recursive().as_ref().map(look)
    }

    /// Keeps the connection no longer.
    pub(crate) fn drop_conn(&self) {
        let conn = self.conn.write().take();
        // Without the lock: what is kept with it may be of the application.
        drop(conn);
    }

    /// Would any handler hear of it?
    pub(crate) fn hears(&self, event: &Event) -> bool {
        self.hub.listeners.hears(event)
            || self.listeners.get().is_some_and(|listeners| listeners.hears(event))
    }

    /// Has pings and pongs told, if any handler hears of them. The connection remembers
    /// that until it is over.
    pub(crate) fn watch(self: &Arc<Self>, conn: &Conn) {
        // Weakly, since the connection is kept by what it tells.
        if self.hears(&Event::Ping) {
            let member = Arc::downgrade(self);
            conn.on_ping(move |_, payload| {
                Self::control(&member, Event::Ping, payload);
                true
            });
        }
        if self.hears(&Event::Pong) {
            let member = Arc::downgrade(self);
            conn.on_pong(move |_, payload| Self::control(&member, Event::Pong, payload));
        }
    }

    fn control(member: &Weak<Self>, event: Event, payload: &Bytes) {
        if let Some(member) = member.upgrade() {
            member.tell(event, News::Data(Message::binary(payload.clone())));
        }
    }

    /// Puts an event before the handlers, if there are any and there is room. Says whether
    /// it did. To be called without any lock.
    pub(crate) fn tell(&self, event: Event, news: News) -> bool {
        if !self.hears(&event) {
            return false;
        }
        match self.mailbox.tell(Told { event, news }) {
            Ok(task) => {
                if let Some(task) = task {
                    task.wake();
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Tells of a room, which is never left out. To be called under the lock of the places,
    /// so that what is told is in order and comes before the end; the waker is to be woken
    /// without it.
    pub(crate) fn tell_of_room(&self, event: Event, room: &Arc<str>) -> Option<Waker> {
        if !self.hears(&event) {
            return None;
        }
        self.mailbox.tell_surely(Told { event, news: News::Room(Arc::clone(room)) })
    }

    /// Forgets what is of the application, or would keep the connection, for good.
    pub(crate) fn empty(&self) {
        // First, since what is of the application may panic.
        self.drop_conn();
        drop(self.mailbox.take_events());
        self.attributes.seal();
        if let Some(listeners) = self.listeners.get() {
            listeners.clear();
        }
    }
}

impl Weigh for PreparedMessage {
    fn weight(&self) -> usize {
        self.message().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every socket is one.
    #[test]
    fn a_member_is_small() {
        assert!(size_of::<Member>() <= 288, "{}", size_of::<Member>());
    }
}
