//! What can be done with all sockets together?

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::Notify;
use ws_core::{Conn, Message, PreparedMessage, SendError, StatusCode};

use crate::broker::Broker;
use crate::counters::Counters;
use crate::directory::Directory;
use crate::listeners::Listeners;
use crate::member::{Mail, Member, Seat};
use crate::outbox::Outbox;
use crate::posting::{Delivery, post_to};
use crate::protocol::{Emitted, Protocol};
use crate::rooms::{Room, Rooms};
use crate::stock::Stock;
use crate::target::Target;
use crate::turns::Turns;
use crate::{EmitError, EncodeError, Event, Handler, HubBuilder, HubStats, Id, ListenerId};
use crate::{Refusal, Socket, driver};

/// Sockets that know of each other: events, rooms, broadcasts.
///
/// A cheap handle. There may be many hubs in one process, and they share nothing. What
/// is sent never waits for a peer: it goes into the [outbox](Outbox) of each socket.
///
/// A handler asks the [`Socket`] for its hub, or takes [`State`](crate::State) out of it. One
/// that captures the hub itself keeps it for ever, since the hub keeps its handlers. Other tasks
/// have clones of it.
///
/// ```
/// use ws_core::Message;
/// use ws_events::{Hub, Socket};
///
/// let hub = Hub::new();
/// hub.on_connect(async |socket: Socket| socket.send("welcome"));
/// hub.on_message(async |socket: Socket, message: Message| {
///     socket.broadcast().send(message);
/// });
/// // With any adapter: `ws.on_upgrade(hub.member())`.
/// ```
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) everyone: Arc<Room<Seat>>,
    pub(crate) rooms: Rooms<Seat>,
    pub(crate) mailboxes: Stock<Mail>,
    pub(crate) directory: Directory<Member>,
    pub(crate) listeners: Listeners,
    pub(crate) middleware: RwLock<Vec<Arc<Middleware>>>,
    pub(crate) outbox: Outbox,
    pub(crate) protocol: Box<dyn Protocol>,
    pub(crate) broker: Box<dyn Broker>,
    /// Which hub this is, among those behind the broker.
    pub(crate) origin: u64,
    pub(crate) states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) counters: Counters,
    pub(crate) draining: AtomicBool,
    /// Told when it begins to drain.
    pub(crate) stopping: Notify,
    /// Who gives way when half of somebody's outbox is used.
    pub(crate) turns: Turns,
    /// How many connections are served, with those that are not let in yet.
    pub(crate) served: AtomicUsize,
    /// Told when one is served no longer.
    pub(crate) left: Notify,
}

pub(crate) type Middleware =
    dyn Fn(Socket) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>> + Send + Sync;

impl Inner {
    pub(crate) fn encode<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<Message, EncodeError> {
        let json = serde_json::to_vec(data).map_err(|error| EncodeError::Json(Arc::new(error)))?;
        self.protocol.encode(&Emitted { name: event, data: &json, ack: None, namespace: None })
    }
}

impl Hub {
    /// A hub with the defaults: see [`HubBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A hub with other settings.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// A handler of connections that makes each a socket of this hub: for `on_upgrade` of
    /// any adapter, and for `websocket(options, hub.member())`.
    ///
    /// ```
    /// # use ws_events::Hub;
    /// # use ws_core::Conn;
    /// # let hub = Hub::new();
    /// # fn on_upgrade<F: FnOnce(Conn) -> Fut, Fut: Future<Output = ()> + Send + 'static>(_: F) {}
    /// on_upgrade(hub.member());
    /// ```
    pub fn member(
        &self,
    ) -> impl FnOnce(Conn) -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + Sync + 'static
    {
        let hub = self.clone();
        move |conn| Box::pin(driver::serve(hub, conn))
    }

    /// Makes a connection a socket of this hub, and serves it to its end: reads it, calls
    /// the handlers, and writes what is sent to it. All of that happens in the task that
    /// awaits this, and handlers of one socket run one after the other.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the connection is dropped, and the socket leaves the hub. Its `disconnect`
    /// is handled in a task of its own then.
    pub async fn serve(&self, conn: Conn) {
        driver::serve(self.clone(), conn).await;
    }

    /// Asks before a connection becomes a socket, in the order in which such questions were
    /// added. One that is refused is closed as the [`Refusal`] says; nobody hears of it.
    ///
    /// The socket is in no room yet and found by nobody, but it can be given attributes and
    /// an id. To refuse by an HTTP status, before the upgrade, is up to the adapter.
    ///
    /// ```
    /// # use ws_events::{Hub, Refusal, Socket};
    /// # let hub = Hub::new();
    /// hub.middleware(async |socket: Socket| {
    ///     let request = socket.request().ok_or(Refusal::new("no request"))?;
    ///     match request.query("name") {
    ///         Some(name) => Ok(socket.attributes().insert(name.into_owned())),
    ///         None => Err(Refusal::new("say who you are")),
    ///     }
    /// });
    /// ```
    pub fn middleware<F, Fut>(&self, ask: F)
    where
        F: Fn(Socket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let ask: Arc<Middleware> = Arc::new(move |socket| Box::pin(ask(socket)));
        self.0.middleware.write().push(ask);
    }

    /// Adds a handler of an event: one of the [`Event`]s of the hub, also by its name, or
    /// one of the application's own.
    ///
    /// Several handlers of one event are called in the order in which they were added.
    pub fn on<H, Args>(&self, event: impl Into<Event>, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: 'static,
    {
        self.0.listeners.add(Some(event.into()), handler)
    }

    /// Adds a handler of all events of the application's own, whatever their names. It is
    /// called after those that are for one name.
    pub fn on_any<H, Args>(&self, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: 'static,
    {
        self.0.listeners.add(None, handler)
    }

    /// Removes a handler. Says whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.listeners.remove(id)
    }

    /// Removes all handlers of an event. Says how many they were.
    pub fn off_all(&self, event: impl Into<Event>) -> usize {
        self.0.listeners.remove_all(&event.into())
    }

    /// Everyone.
    pub fn everyone(&self) -> Target {
        Target::everyone(self.clone())
    }

    /// Those in a room.
    pub fn to(&self, room: impl AsRef<str>) -> Target {
        Target::room(self.clone(), room.as_ref())
    }

    /// Those with these ids, as far as anybody has them when something is done.
    pub fn ids<I>(&self, ids: I) -> Target
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let ids = ids.into_iter().map(|id| Arc::from(id.as_ref())).collect();
        Target::ids(self.clone(), ids)
    }

    /// Sends an event to everyone.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        self.everyone().emit(event, data)
    }

    /// Sends a message to everyone.
    pub fn send(&self, message: impl Into<Message>) -> Delivery {
        self.everyone().send(message)
    }

    /// Sends a message to the socket with this id.
    ///
    /// # Errors
    ///
    /// [`EmitError::NoSuchId`] when nobody has it; otherwise as [`Socket::send`].
    pub fn send_to(
        &self,
        id: impl AsRef<str>,
        message: impl Into<Message>,
    ) -> Result<(), EmitError> {
        self.find(id.as_ref())?.send(message)
    }

    /// Sends an event to the socket with this id.
    ///
    /// # Errors
    ///
    /// [`EmitError::NoSuchId`] when nobody has it; otherwise as [`Socket::emit`].
    pub fn emit_to<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        self.find(id.as_ref())?.emit(event, data)
    }

    /// Sends a message to several sockets, and says for each what became of it, in the
    /// order of the ids. It is encoded once.
    pub fn send_to_list<I>(
        &self,
        ids: I,
        message: impl Into<Message>,
    ) -> Vec<(Id, Result<(), EmitError>)>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let message = PreparedMessage::new(message);
        let send = |id: I::Item| {
            let id = id.as_ref();
            (Id::from(id), self.find(id).and_then(|socket| post_to(&socket.0, &message)))
        };
        ids.into_iter().map(send).collect()
    }

    /// As [`send_to_list`](Self::send_to_list), of an event.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
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
        Ok(self.send_to_list(ids, self.0.encode(event.as_ref(), data)?))
    }

    /// Has the handlers of an event called, here on the server, for every socket: see
    /// [`Target::fire`].
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> usize {
        self.everyone().fire(event, data)
    }

    /// The socket with this id.
    pub fn socket(&self, id: impl AsRef<str>) -> Option<Socket> {
        self.0.directory.find(id.as_ref()).map(Socket)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.0.everyone.len()
    }

    /// Is there no socket?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the rooms that somebody is in.
    pub fn rooms(&self) -> Vec<String> {
        self.0.rooms.names().iter().map(|name| name.as_ref().to_owned()).collect()
    }

    /// What it has done so far.
    pub fn stats(&self) -> HubStats {
        let counted = self.0.counters.stats();
        HubStats { sockets: self.len(), rooms: self.0.rooms.len(), ..counted }
    }

    /// What the hub was [given](HubBuilder::state), by its type.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.states.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// Closes everyone. Who comes later is welcome.
    ///
    /// # Errors
    ///
    /// When the code or the reason may not be sent. Nobody is closed then.
    pub fn close_all(&self, code: StatusCode, reason: &str) -> Result<usize, SendError> {
        self.everyone().close(code, reason)
    }

    /// Is it being drained?
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    fn find(&self, id: &str) -> Result<Socket, EmitError> {
        self.socket(id).ok_or_else(|| EmitError::NoSuchId(Id::from(id)))
    }
}

/// The handlers of the hub's own events: each is [`on`](Hub::on) with the event's name.
macro_rules! on {
    ($($(#[$doc:meta])* $name:ident $event:ident)*) => {
        impl Hub {
            $($(#[$doc])*
            pub fn $name<H, Args>(&self, handler: H) -> ListenerId
            where
                H: Handler<Args>,
                Args: 'static,
            {
                self.on(Event::$event, handler)
            })*
        }
    };
}

on! {
    /// A socket is connected: see [`Event::Connect`].
    on_connect Connect
    /// A message has arrived: see [`Event::Message`].
    on_message Message
    /// The peer has sent a ping: see [`Event::Ping`]. For sockets that connect from now on.
    on_ping Ping
    /// The peer has sent a pong: see [`Event::Pong`]. For sockets that connect from now on.
    on_pong Pong
    /// This side has closed a socket: see [`Event::Close`].
    on_close Close
    /// A connection is over: see [`Event::Disconnect`].
    on_disconnect Disconnect
    /// Something went wrong: see [`Event::Error`].
    on_error Error
    /// A socket has entered a room: see [`Event::RoomJoin`].
    on_room_join RoomJoin
    /// A socket has left a room: see [`Event::RoomLeave`].
    on_room_leave RoomLeave
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
