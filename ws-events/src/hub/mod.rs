//! What can an application do with all sockets of a hub?
//!
//! Longer than 400 lines because the calls of a hub are read together.

pub(crate) mod acks;
pub(crate) mod bodies;
pub(crate) mod broadcast;
pub(crate) mod builder;
pub(crate) mod check;
pub(crate) mod clustered;
pub(crate) mod expiry;
pub(crate) mod given_sessions;
pub(crate) mod history;
pub(crate) mod history_rules;
pub(crate) mod history_sink;
pub(crate) mod inspect;
pub(crate) mod kicks;
pub(crate) mod leaving_node;
pub(crate) mod membership;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod presence;
pub(crate) mod recovery;
pub(crate) mod recovery_failure;
pub(crate) mod remote;
pub(crate) mod remote_acks;
pub(crate) mod server_events;
pub(crate) mod server_handlers;
pub(crate) mod session_writes;
pub(crate) mod sessions;
pub(crate) mod shared_sessions;
pub(crate) mod shutdown;
pub(crate) mod socket;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::Notify;
use ws_core::handler::ConnectionTracker;
use ws_core::{Message, SendError, StatusCode};

use crate::cluster::notices::Notices;
use crate::cluster::seam::Cluster;
use crate::delivery::queue_pool::QueuePool;
use crate::delivery::recipient::DeliveryShared;
use crate::delivery::wire_format::{Encodings, WireFormat};
use crate::events::handler::{ErasedHandler, EventListeners, erase};
use crate::events::protocol::OutgoingEvent;
use crate::hub::broadcast::Recipients;
use crate::hub::history_rules::HubHistory;
use crate::hub::membership::RoomEntry;
use crate::hub::server_handlers::ServerHandlers;
use crate::hub::sessions::HubRecovery;
use crate::hub::socket::{SocketQueue, SocketShared};
use crate::presence::table::HubPresence;
use crate::registry::ids::IdRegistry;
use crate::registry::namespaces::NamespaceTable;
use crate::registry::rooms::{MemberList, RoomRegistry};
use crate::socketio::{ROOT, SocketIoLimits};
use crate::{
    Broadcast, ClusterDelivery, ConnectRejection, Delivery, EmitError, EncodeError, Event, Handler,
    HandlerArgs, HubStats, Id, ListenerId, Socket,
};

/// A hub: sockets with events, rooms and broadcasts.
///
/// A clone is a handle of the same hub. A process may have many hubs, which share nothing. A
/// message is put into the send queue of each recipient, and a sender never waits for a peer:
/// see [`SendQueueLimits`](crate::SendQueueLimits).
///
/// A handler gets the hub from its [`Socket`], and values of the hub as [`State`](crate::State). Do
/// not capture a clone of the hub in a handler: the hub owns its handlers, so it is not freed while
/// the handler is registered. Other tasks may keep clones.
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
/// // With any adapter: `ws.on_upgrade(hub.handler())`.
/// ```
#[derive(Clone)]
#[doc(alias("server", "socketio"))]
pub struct Hub(pub(crate) Arc<HubShared>);

/// What the handles of a hub and its sockets share.
pub(crate) struct HubShared {
    pub(crate) everyone: Arc<MemberList<RoomEntry>>,
    pub(crate) rooms: RoomRegistry<RoomEntry>,
    pub(crate) queues: QueuePool<SocketQueue>,
    pub(crate) ids: IdRegistry<SocketShared>,
    pub(crate) listeners: EventListeners,
    pub(crate) middleware: RwLock<Vec<Arc<Middleware>>>,
    /// The checks of events, which run before the handlers.
    pub(crate) event_checks: Vec<Arc<dyn ErasedHandler>>,
    pub(crate) delivery: DeliveryShared,
    /// The format of connections whose protocol is not chosen by the caller.
    pub(crate) format: WireFormat,
    /// Whether it serves a format that has events.
    pub(crate) has_events: AtomicBool,
    pub(crate) last_ack: AtomicU64,
    /// The largest number of acknowledgements that a socket waits for.
    pub(crate) max_pending_acks: usize,
    pub(crate) socketio: Arc<SocketIoLimits>,
    /// If any room has a history, or sessions are recovered.
    pub(crate) history: Option<Box<HubHistory>>,
    pub(crate) presence: HubPresence,
    /// The user of a session that can be recovered.
    pub(crate) session_user: Option<Arc<SessionUser>>,
    pub(crate) namespaces: Arc<NamespaceTable<Hub>>,
    /// For a namespace: the hub that it belongs to, and its name.
    pub(crate) root: Option<(Weak<Self>, Arc<str>)>,
    /// The other nodes, if there are some. Shared with the namespaces.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) server_handlers: ServerHandlers,
    /// Shared with the namespaces.
    pub(crate) notices: Arc<Notices>,
    /// Of the servers that accept the connections. Shared with the namespaces.
    pub(crate) tracker: Option<ConnectionTracker>,
    pub(crate) states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// Whether a peer receives events about its mistakes.
    pub(crate) error_events: bool,
    /// Whether the handlers were checked, when the first socket connected.
    pub(crate) checked: AtomicBool,
    pub(crate) draining: AtomicBool,
    /// Notified when the hub begins to drain.
    pub(crate) drain_started: Notify,
    /// The number of connections that are served, with those that are connecting.
    pub(crate) active: AtomicUsize,
    /// The number of sessions of Socket.IO.
    pub(crate) sessions: AtomicUsize,
    /// Notified when `active` or `sessions` becomes zero.
    pub(crate) idle: Notify,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: crate::delivery::metrics::HubMetrics,
}

pub(crate) type Middleware =
    dyn Fn(Socket) -> BoxFuture<'static, Result<(), ConnectRejection>> + Send + Sync;

pub(crate) type SessionUser = dyn Fn(&Socket) -> Option<String> + Send + Sync;

impl Hub {
    /// Adds a check of new connections. Checks run in the order in which they were added. A
    /// rejected connection is closed with the close frame of the [`ConnectRejection`], and no
    /// handler is called.
    ///
    /// During a check, the socket is in no room, and a lookup by its id does not find it. The check
    /// can set its id and its attributes. A check has no time limit. It is dropped when the
    /// connection ends or the hub drains. To reject with an HTTP status before the upgrade, use the
    /// adapter.
    ///
    /// A check takes the socket, and no other argument of a handler. The socket has the rest:
    /// [`auth`](Socket::auth) of a client of Socket.IO, [`request`](Socket::request) with its
    /// extensions, [`peer_addr`](Socket::peer_addr), [`attributes`](Socket::attributes), and
    /// `socket.hub()` with its [`state`](Self::state) and [namespace](Self::namespace).
    ///
    /// ```
    /// # use ws_events::{ConnectRejection, Hub, Socket};
    /// # let hub = Hub::new();
    /// hub.middleware(async |socket: Socket| {
    ///     let request = socket.request().ok_or(ConnectRejection::new("no request"))?;
    ///     match request.query("name") {
    ///         Some(name) => Ok(socket.attributes().insert(name.into_owned())),
    ///         None => Err(ConnectRejection::new("a name is required")),
    ///     }
    /// });
    /// ```
    #[doc(alias("use", "auth"))]
    pub fn middleware<F, Fut>(&self, check: F)
    where
        F: Fn(Socket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ConnectRejection>> + Send + 'static,
    {
        let check: Arc<Middleware> = Arc::new(move |socket| Box::pin(check(socket)));
        self.0.middleware.write().push(check);
    }

    /// Adds a handler of an [`Event`]: one of the hub's own, as a variant or by its name, or a
    /// custom event of the application.
    ///
    /// The handlers of an event are called in the order in which they were added.
    #[doc(alias("subscribe", "listen"))]
    pub fn on<H, Args>(&self, event: impl Into<Event>, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: HandlerArgs,
    {
        self.0.listeners.add(Some(event.into()), erase(handler))
    }

    /// Adds a handler of all custom events. It is called after the handlers for one name.
    pub fn on_any<H, Args>(&self, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: HandlerArgs,
    {
        self.0.listeners.add(None, erase(handler))
    }

    /// Removes a handler. Returns whether it was registered.
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.listeners.remove(id)
    }

    /// Removes all handlers of an event. Returns their number.
    pub fn off_all(&self, event: impl Into<Event>) -> usize {
        self.0.listeners.remove_all(&event.into())
    }

    /// A broadcast to all sockets.
    pub fn everyone(&self) -> Broadcast {
        Broadcast::new(self.clone(), Recipients::Everyone)
    }

    /// A broadcast to a room.
    #[doc(alias("room", "channel", "topic", "publish"))]
    pub fn to(&self, room: impl AsRef<str>) -> Broadcast {
        let rooms = vec![Arc::from(room.as_ref())];
        Broadcast::new(self.clone(), Recipients::Union { rooms, ids: Vec::new() })
    }

    /// A broadcast to the sockets that have these ids when the message is sent.
    pub fn ids<I>(&self, ids: I) -> Broadcast
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let ids = ids.into_iter().map(|id| Arc::from(id.as_ref())).collect();
        Broadcast::new(self.clone(), Recipients::Union { rooms: Vec::new(), ids })
    }

    /// Sends an event to all sockets.
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        self.everyone().emit(event, data)
    }

    /// Sends a message to all sockets.
    pub fn send(&self, message: impl Into<Message>) -> Delivery {
        self.everyone().send(message)
    }

    /// Sends an event to the socket with this id.
    ///
    /// # Errors
    ///
    /// [`EmitError::NoSuchId`] if no socket has the id; otherwise as [`Socket::emit`]. In a
    /// [cluster](crate::cluster), an id that is not of this process may be of another one: then there
    /// is no error if the event was published.
    pub fn emit_to<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        let id = id.as_ref();
        let sent = self.find(id).and_then(|socket| socket.emit(&event, data));
        let Err(EmitError::NoSuchId(unknown)) = sent else { return sent };
        let mut encoded = Ok(());
        let is_published = self.publish_elsewhere(std::slice::from_ref(&unknown), |others| {
            let sent = others.emit(&event, data);
            let published = sent.as_ref().map_or(ClusterDelivery::Local, |sent| sent.cluster);
            encoded = sent.map(drop);
            published
        });
        encoded?;
        if is_published { Ok(()) } else { Err(EmitError::NoSuchId(unknown)) }
    }

    /// Sends an event to several sockets, and returns the result for each, in the order of the ids.
    /// It is encoded once. If the totals suffice, use [`ids`](Self::ids). Ids of other nodes are as in
    /// [`emit_to`](Self::emit_to).
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded.
    #[expect(clippy::type_complexity, reason = "an alias would hide the type")]
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
        let event = self.0.event(event.as_ref(), data)?;
        let encode = |format, at| event.encode(format, at);
        let mut encodings = Encodings::each(&encode);
        encodings.set_sent(self.0.recovery().map(HubRecovery::next_plain));
        let send = |id: I::Item| {
            let id = id.as_ref();
            (Id::from(id), self.find(id).and_then(|socket| socket.send_encoded(&mut encodings)))
        };
        let mut sent: Vec<_> = ids.into_iter().map(send).collect();
        let is_unknown = |sent: &&mut (Id, _)| matches!(sent.1, Err(EmitError::NoSuchId(_)));
        let unknown: Vec<_> =
            sent.iter_mut().filter(is_unknown).map(|(id, _)| id.clone()).collect();
        let publish = |others: &Broadcast| others.send_event(&event).cluster;
        if self.publish_elsewhere(&unknown, publish) {
            sent.iter_mut().filter(is_unknown).for_each(|(_, result)| *result = Ok(()));
        }
        Ok(sent)
    }

    /// Calls the handlers of an event on the server, for each socket: see [`Broadcast::fire`].
    #[doc(alias = "trigger")]
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> usize {
        self.everyone().fire(event, data)
    }

    /// The socket with this id.
    pub fn socket(&self, id: impl AsRef<str>) -> Option<Socket> {
        self.0.ids.find(id.as_ref()).map(Socket)
    }

    /// The number of sockets.
    pub fn len(&self) -> usize {
        self.0.everyone.len()
    }

    /// Whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the rooms that have members.
    pub fn rooms(&self) -> Vec<String> {
        self.0.rooms.names().iter().map(|name| name.as_ref().to_owned()).collect()
    }

    /// The counters of the hub.
    #[doc(alias = "metrics")]
    pub fn stats(&self) -> HubStats {
        self.0.delivery.counters.stats(self.len(), self.0.rooms.len())
    }

    /// A value of the hub's state, by type: see [`HubBuilder::state`](crate::HubBuilder::state).
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.states.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// Closes all sockets of this process. New connections are still accepted.
    ///
    /// # Errors
    ///
    /// If the code or the reason is not allowed in a close frame. No socket is closed then.
    pub fn close_all(&self, code: StatusCode, reason: &str) -> Result<usize, SendError> {
        self.everyone().local().close(code, reason)
    }

    /// Whether the hub is draining: see [`drain`](Self::drain).
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    fn find(&self, id: &str) -> Result<Socket, EmitError> {
        self.socket(id).ok_or_else(|| {
            if let Some(recovery) = self.0.recovery() {
                recovery.count_for_id(id);
            }
            EmitError::NoSuchId(Id::from(id))
        })
    }
}

impl HubShared {
    /// An event, to be encoded for its recipients.
    pub(crate) fn event<'a, T: Serialize + ?Sized>(
        &'a self,
        name: &'a str,
        data: &T,
    ) -> Result<OutgoingEvent<'a>, EncodeError> {
        if !self.has_events.load(Ordering::Relaxed) {
            return Err(EncodeError::NoEnvelope);
        }
        OutgoingEvent::new(self.namespace(), name, data)
    }

    /// The hub serves connections of this format from now on.
    pub(crate) fn serves(&self, format: WireFormat) {
        if format.has_events() && !self.has_events.load(Ordering::Relaxed) {
            self.has_events.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until the hub drains.
    pub(crate) async fn drain_started(&self) {
        let mut started = pin!(self.drain_started.notified());
        // From here on, no notification is missed.
        started.as_mut().enable();
        if !self.draining.load(Ordering::SeqCst) {
            started.await;
        }
    }

    /// If its sessions are recovered.
    pub(crate) fn recovery(&self) -> Option<&HubRecovery> {
        self.history.as_ref()?.recovery.as_deref()
    }

    /// As [`recovery`](Self::recovery), for a task.
    pub(crate) fn shared_recovery(&self) -> Option<&Arc<HubRecovery>> {
        self.history.as_ref()?.recovery.as_ref()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.root.as_ref().map_or(ROOT, |(_, name)| name)
    }

    /// The id of a new acknowledgement. Small enough for a number of JavaScript.
    pub(crate) fn next_ack_id(&self) -> u64 {
        self.last_ack.fetch_add(1, Ordering::Relaxed)
    }
}

/// Handlers of the hub's own events: each is [`on`](Hub::on) with the event.
macro_rules! on {
    ($($(#[$doc:meta])* $name:ident $event:ident)*) => {
        impl Hub {
            $($(#[$doc])*
            pub fn $name<H, Args>(&self, handler: H) -> ListenerId
            where
                H: Handler<Args>,
                Args: HandlerArgs,
            {
                self.on(Event::$event, handler)
            })*
        }
    };
}

on! {
    /// Adds a handler for new sockets: see [`Event::Connect`].
    #[doc(alias = "on_open")]
    on_connect Connect
    /// Adds a handler for messages: see [`Event::Message`].
    #[doc(alias = "recv")]
    on_message Message
    /// Adds a handler for sockets that this side closes: see [`Event::Close`].
    on_close Close
    /// Adds a handler for connections that have ended: see [`Event::Disconnect`].
    on_disconnect Disconnect
    /// Adds a handler for errors: see [`Event::Error`].
    on_error Error
    /// Adds a handler for sockets that join a room: see [`Event::RoomJoin`].
    on_room_join RoomJoin
    /// Adds a handler for sockets that leave a room: see [`Event::RoomLeave`].
    on_room_leave RoomLeave
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
