//! How does a socket enter its hub, and how does it leave?
//!
//! Whatever becomes of the task of a socket, the socket leaves: [`Guest`] sees to it when
//! it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use ws_core::Conn;

use crate::delivery::queue_types::Order;
use crate::delivery::stats::add;
use crate::events::dispatch::dispatch;
use crate::events::event::News;
use crate::hub::Inner;
use crate::hub::member::{Member, Places, Seat, Told};
use crate::registry::rooms::Room;
use crate::{Event, Hub, Reason, Refusal, SetIdError, Socket};

/// A socket that is not let in yet, or that is not let in and has yet to be told.
pub(crate) struct Arrival {
    socket: Socket,
    /// Until it is let in.
    guest: Option<Guest>,
}

/// A socket that is in the hub.
pub(crate) struct Stay {
    socket: Socket,
    /// Until the end.
    guest: Option<Guest>,
}

/// A socket that the hub counts. Dropped, it leaves everything and forgets everything, and
/// nobody is told.
struct Guest(Socket);

impl Arrival {
    pub(crate) fn new(hub: Hub, conn: &Conn) -> Self {
        hub.0.served.fetch_add(1, SeqCst);
        let socket = Socket(Member::new(hub.0, conn.clone()));
        Self { guest: Some(Guest(socket.clone())), socket }
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Lets it in: it is found by its id, and it is among everyone.
    pub(crate) fn enter(&mut self) -> Result<Stay, Refusal> {
        let member = &self.socket.0;
        let hub = &member.hub;
        if hub.draining.load(SeqCst) {
            return Err(Refusal::draining());
        }
        if hub.directory.list(member, &member.name).is_err() {
            return Err(SetIdError::Taken.into());
        }
        {
            let mut places = member.places.lock();
            *places =
                Places::In { everywhere: hub.everyone.enter(&Seat::of(member)), rooms: Vec::new() };
        }
        add(&hub.counters.connected, 1);
        if hub.draining.load(SeqCst) {
            // Whoever drains may have told everyone before.
            let Refusal { code, reason } = Refusal::draining();
            self.socket.order(Order { code, reason, too_slow: None });
        }
        Ok(Stay { socket: self.socket.clone(), guest: self.guest.take() })
    }
}

impl Stay {
    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The end: its handlers are told, and it leaves.
    pub(crate) fn end(mut self, reason: Reason) -> Leaving {
        Leaving::of(self.guest.take(), reason)
    }
}

impl Drop for Stay {
    /// Its task was dropped.
    fn drop(&mut self) {
        if self.guest.is_some() {
            self.socket.0.give_up();
            self.socket.0.drop_conn();
            drop(Leaving::of(self.guest.take(), Reason::Dropped));
        }
    }
}

/// The end of a socket, under way. On the heap: while the socket lives, there is no room
/// held for it.
///
/// If its task is dropped before it is through, another does the rest, as long as there is
/// a runtime.
pub(crate) struct Leaving(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Leaving {
    fn of(guest: Option<Guest>, reason: Reason) -> Self {
        Self(guest.map(|guest| Box::pin(guest.leave(reason)) as _))
    }
}

impl Future for Leaving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(leaving) = &mut self.0 {
            ready!(leaving.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(leaving) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(leaving));
        }
    }
}

impl Guest {
    async fn leave(self, reason: Reason) {
        let Self(socket) = &self;
        socket.0.give_up();
        // What was told by now. From here on nothing is but of rooms.
        self.handle_told().await;
        if matches!(reason, Reason::Closed(_) | Reason::SlowConsumer { .. }) {
            dispatch(socket, Event::Close, News::Gone(reason.clone())).await;
        }
        let fault = reason.fault();
        dispatch(socket, Event::Disconnect, News::Gone(reason)).await;
        if let Some(fault) = fault {
            dispatch(socket, Event::Error, News::Wrong(fault)).await;
        }
        let rooms = socket.0.leave_all();
        // Those that it has entered or left meanwhile; there will be no more.
        self.handle_told().await;
        for room in rooms {
            dispatch(socket, Event::RoomLeave, News::Room(room)).await;
        }
    }

    /// Handles what waits now, and not what comes of it.
    async fn handle_told(&self) {
        for Told { event, news } in self.0.0.mailbox.take_events() {
            dispatch(&self.0, event, news).await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let member = &self.0.0;
        let _served = Served(&member.hub);
        member.give_up();
        member.leave_all();
        member.hub.directory.unlist(&member.name);
        member.empty();
    }
}

/// One that is served, until this is dropped: also when what is of the application panics.
struct Served<'a>(&'a Inner);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if self.0.served.fetch_sub(1, SeqCst) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

impl Member {
    /// There is nobody to send to any more.
    pub(crate) fn stop_sending(&self) {
        add(&self.hub.counters.discarded, self.mailbox.discard());
    }

    /// Takes nothing any more, and forgets what waits to be sent.
    fn give_up(&self) {
        add(&self.hub.counters.discarded, self.mailbox.shut());
    }

    /// Leaves every room, for good. Gives their names.
    fn leave_all(self: &Arc<Self>) -> Vec<Arc<str>> {
        let places = std::mem::replace(&mut *self.places.lock(), Places::Gone);
        let Places::In { everywhere, rooms } = places else { return Vec::new() };
        let seat = Seat::of(self);
        Room::leave(&everywhere, &seat);
        add(&self.hub.counters.disconnected, 1);
        rooms
            .iter()
            .map(|place| {
                self.hub.rooms.leave(place, &seat);
                Arc::clone(place.room().name())
            })
            .collect()
    }
}
