//! What can be done with one socket?

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use ws_core::proto::CloseFrame;
use ws_core::{Attributes, Conn, Message, PreparedMessage, RequestInfo, SendError, StatusCode};

use crate::directory::Unnamed;
use crate::event::News;
use crate::mail::Order;
use crate::member::{Member, Places};
use crate::outbox::Overflow;
use crate::posting::{Delivery, Posting, post_to, post_wait};
use crate::target::Target;
use crate::{EmitError, EncodeError, Event, Fault, Handler, Hub, Id, ListenerId, SetIdError};
use crate::{SocketStats, listeners::Listeners};

/// A socket of a [`Hub`]: a connection that has an id, attributes, rooms and handlers.
///
/// A cheap handle: clone it, keep it. What is done with it never waits, but for
/// [`send_wait`](Self::send_wait): messages go into the socket's [outbox](crate::Outbox).
/// A handle keeps neither the connection open nor, when it is over, what the application
/// kept with it.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<Member>);

impl Socket {
    pub(crate) fn of(member: &Arc<Member>) -> Self {
        Self(Arc::clone(member))
    }

    /// The hub that it belongs to.
    pub fn hub(&self) -> Hub {
        Hub(Arc::clone(&self.0.hub))
    }

    /// Its id.
    pub fn id(&self) -> Id {
        Id(self.0.name.get())
    }

    /// Gives it another id, by which it is found from now on. To give it the one that it has
    /// changes nothing, and is no error.
    ///
    /// # Errors
    ///
    /// When another socket has it, or this one has ended. Nothing changes then. A socket
    /// that middleware has yet to let in only says which id it wants: if another gets it
    /// first, this one is not let in.
    pub fn set_id(&self, id: impl Into<Id>) -> Result<(), SetIdError> {
        let renamed = self.0.hub.directory.rename(&self.0, &self.0.name, id.into().0);
        renamed.map_err(|why| match why {
            Unnamed::Taken => SetIdError::Taken,
            Unnamed::Gone => SetIdError::Closed,
        })
    }

    /// What the application keeps with it, by type or by name: at first, what was kept with
    /// the [connection](ws_core::Conn::values) when the hub was given it. Handlers ask for one
    /// by its type, as [`Attribute<T>`](crate::Attribute).
    ///
    /// Forgotten when its end has been handled; from then on nothing is kept.
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// Sends it a message as it is.
    ///
    /// # Errors
    ///
    /// When it will not get it. [`EmitError::Full`] and [`EmitError::SlowConsumer`] are what
    /// the hub's [`Overflow`] makes of a peer that does not keep up.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), EmitError> {
        self.send_prepared(&PreparedMessage::new(message))
    }

    /// As [`send`](Self::send), of a message that is prepared already.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub fn send_prepared(&self, message: &PreparedMessage) -> Result<(), EmitError> {
        post_to(&self.0, message)
    }

    /// Sends it an event, whose data is made into JSON.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and when it cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        self.send(self.0.hub.encode(event.as_ref(), data)?)
    }

    /// As [`send`](Self::send), and with [`Overflow::Block`] waits for room first. With any
    /// other overflow it is `send`, and waits for nothing.
    ///
    /// A handler that waits so, for the peer whose event it handles, holds up what this peer
    /// sends and nobody else's. Those who wait for room are in no order: any of them may be
    /// the next.
    ///
    /// # Errors
    ///
    /// As `send`: [`EmitError::Full`] when there was no room for as long as `Block` says,
    /// [`EmitError::Closed`] when the socket ends meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the message has not been sent.
    pub async fn send_wait(&self, message: impl Into<Message>) -> Result<(), EmitError> {
        self.post_wait(PreparedMessage::new(message)).await
    }

    /// As [`emit`](Self::emit), and waits as [`send_wait`](Self::send_wait) does.
    ///
    /// # Errors
    ///
    /// As `send_wait`, and when it cannot be encoded.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the event has not been sent.
    pub async fn emit_wait<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        let message = self.0.hub.encode(event.as_ref(), data)?;
        self.post_wait(PreparedMessage::new(message)).await
    }

    async fn post_wait(&self, message: PreparedMessage) -> Result<(), EmitError> {
        let outbox = &self.0.hub.outbox;
        let Overflow::Block(patience) = outbox.overflow else { return post_to(&self.0, &message) };
        post_wait(&self.0, &message, patience).await
    }

    /// Sends a message to another socket.
    ///
    /// # Errors
    ///
    /// As [`Hub::send_to`]. When nobody has the id, this socket also gets an `error` event
    /// with [`Fault::NoSuchId`].
    pub fn send_to(
        &self,
        id: impl AsRef<str>,
        message: impl Into<Message>,
    ) -> Result<(), EmitError> {
        self.report(self.hub().send_to(id, message))
    }

    /// Sends an event to another socket.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and when it cannot be encoded.
    pub fn emit_to<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        self.report(self.hub().emit_to(id, event, data))
    }

    /// Sends a message to several others, and says for each what became of it.
    pub fn send_to_list<I>(
        &self,
        ids: I,
        message: impl Into<Message>,
    ) -> Vec<(Id, Result<(), EmitError>)>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let sent = self.hub().send_to_list(ids, message);
        sent.into_iter().map(|(id, result)| (id, self.report(result))).collect()
    }

    /// Sends an event to several others, encoded once, and says for each what became of it.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded. Nothing is sent then.
    #[expect(clippy::type_complexity, reason = "a name for it would say less")]
    pub fn emit_to_list<T, I>(
        &self,
        ids: I,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Vec<(Id, Result<(), EmitError>)>, EncodeError>
    where
        T: Serialize + ?Sized,
        I: IntoIterator<Item: AsRef<str>>,
    {
        Ok(self.send_to_list(ids, self.0.hub.encode(event.as_ref(), data)?))
    }

    fn report(&self, sent: Result<(), EmitError>) -> Result<(), EmitError> {
        if let Err(EmitError::NoSuchId(id)) = &sent {
            self.0.tell(Event::Error, News::Wrong(Fault::NoSuchId(id.clone())));
        }
        sent
    }

    /// Everyone but this socket. Everyone without exception is [`Hub::everyone`].
    pub fn broadcast(&self) -> Target {
        self.hub().everyone().except_member(&self.0)
    }

    /// Those in a room, but this socket.
    pub fn to(&self, room: impl AsRef<str>) -> Target {
        self.hub().to(room).except_member(&self.0)
    }

    /// Sends a message only if the socket keeps up: see [`Target::volatile`].
    pub fn send_volatile(&self, message: impl Into<Message>) -> Delivery {
        let message = PreparedMessage::new(message);
        let mut posting = Posting::to_one(&message, &self.0.hub.outbox, true);
        posting.to(&self.0.mailbox, &self.0);
        posting.done(&self.0.hub)
    }

    /// Sends an event only if the socket keeps up: see [`Target::volatile`].
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub fn emit_volatile<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        Ok(self.send_volatile(self.0.hub.encode(event.as_ref(), data)?))
    }

    /// Has the handlers of an event called, here on the server. Nothing goes over the
    /// wire. Says whether they will be: not if there are none, if 1,024 events wait for the
    /// socket's handlers already, or if the socket has ended.
    ///
    /// It happens in the task of the socket, after what that has to handle already. What
    /// was fired by the end is handled before the `disconnect`.
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> bool {
        self.0.tell(event.into(), News::Data(data.into()))
    }

    /// Adds a handler for this socket alone. It is called after those of the hub.
    pub fn on<H, Args>(&self, event: impl Into<Event>, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: 'static,
    {
        let listeners = self.0.listeners.get_or_init(Box::<Listeners>::default);
        let event = event.into();
        let is_control = matches!(event, Event::Ping | Event::Pong);
        let id = listeners.add(Some(event), handler);
        if is_control && let Some(conn) = self.conn() {
            self.0.watch(&conn);
        }
        if matches!(*self.0.places.lock(), Places::Gone) {
            // It would never be dropped.
            listeners.clear();
        }
        id
    }

    /// Removes a handler of this socket. Says whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.listeners.get().is_some_and(|listeners| listeners.remove(id))
    }

    /// Closes it, without waiting for that. What was sent before goes out first, for at most
    /// half of the connection's [`close_timeout`](ws_core::Config::close_timeout); then the
    /// closing handshake has that time. Does nothing if the socket is closing already.
    ///
    /// The code may tell a client whether to come back: `ws_client::Reconnect` stays away
    /// after [`POLICY_VIOLATION`](StatusCode::POLICY_VIOLATION), 1008, and comes back after a
    /// code of your own, from 4000 on, unless it is told otherwise.
    ///
    /// ```
    /// # fn kick(hub: &ws_events::Hub) -> Result<(), ws_events::SendError> {
    /// use ws_events::StatusCode;
    ///
    /// if let Some(socket) = hub.socket("ann") {
    ///     socket.close(StatusCode::POLICY_VIOLATION, "no shouting in here")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the code or the reason may not be sent. Nothing happens then.
    pub fn close(&self, code: StatusCode, reason: &str) -> Result<(), SendError> {
        CloseFrame::new(code, reason)?;
        self.order(Order { code, reason: reason.to_owned(), too_slow: None });
        Ok(())
    }

    /// Orders its task to close. Says whether this is the first order.
    pub(crate) fn order(&self, order: Order) -> bool {
        match self.0.mailbox.close(order) {
            Ok(task) => {
                if let Some(task) = task {
                    task.wake();
                }
                true
            }
            Err(_) => false,
        }
    }

    /// May anything be sent to it still? A peer that has vanished may not have been
    /// noticed.
    pub fn is_alive(&self) -> bool {
        self.0.mailbox.is_open()
    }

    /// How it keeps up.
    pub fn stats(&self) -> SocketStats {
        let level = self.0.mailbox.level();
        SocketStats { messages: level.messages, bytes: level.bytes, dropped: level.dropped }
    }

    /// The connection below: to ping, or to ask what it knows. `None` when its end has been
    /// handled: handlers of `disconnect` have it still, unless the task that served it was
    /// dropped.
    ///
    /// The hub reads it: whoever else does takes messages away from the handlers. What is
    /// written to it directly overtakes what waits in the outbox.
    pub fn conn(&self) -> Option<Conn> {
        self.0.with_conn(Conn::clone)
    }

    /// The request that the connection began with, where it was kept; `None` when there is no
    /// [`conn`](Self::conn) any more.
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        self.0.with_conn(Conn::request)?
    }

    /// The address at the other end, where it is known; `None` when there is no
    /// [`conn`](Self::conn) any more.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.with_conn(Conn::peer_addr)?
    }
}

/// Two handles of the same socket are equal.
impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}
