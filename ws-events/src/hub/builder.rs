//! Which settings does a hub have?
//!
//! Longer than 400 lines because each setting is documented at its setter.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};
use ws_core::handler::ConnectionTracker;

#[cfg(feature = "socketio-adapter")]
use crate::cluster::config::Backend;
use crate::cluster::notices::Notices;
use crate::cluster::seam::Cluster;
use crate::cluster::{ClusterConfig, ClusterConfigError};
use crate::delivery::queue_pool::QueuePool;
use crate::delivery::recipient::DeliveryShared;
use crate::delivery::send_queue::SendQueue;
use crate::delivery::wire_format::WireFormat;
use crate::events::handler::{ErasedHandler, erase};
use crate::hub::history_rules::HubHistory;
use crate::hub::remote::{ClusterRooms, MAX_SERVER_EVENTS, RemoteHost};
use crate::hub::server_events::run_handlers;
use crate::hub::{HubShared, SessionUser};
use crate::presence::table::{HubPresence, PresenceTable};
use crate::registry::ids::IdRegistry;
use crate::registry::namespaces::NamespaceTable;
use crate::registry::rooms::{MemberList, RoomObserver, RoomRegistry};
use crate::socketio::{ROOT, SocketIoLimits};
use crate::{
    Handler, HandlerArgs, History, HistoryStore, Hub, PresenceOptions, Protocol, Recovery,
    SendQueueLimits,
};

/// The number of shards of ids and of rooms, each with its own lock.
const SHARDS: usize = 64;

/// Settings of a hub. Made by [`Hub::builder`].
#[must_use = "settings do nothing before `build`"]
pub struct HubBuilder {
    send_queue: SendQueueLimits,
    format: WireFormat,
    serves_events: bool,
    pending_acks: usize,
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    no_error_events: bool,
    socketio: Arc<SocketIoLimits>,
    event_checks: Vec<Arc<dyn ErasedHandler>>,
    history: Vec<(Arc<str>, History)>,
    history_store: Option<Arc<dyn HistoryStore>>,
    recovery: Option<Recovery>,
    presence: PresenceOptions,
    tracker: Option<ConnectionTracker>,
}

impl Hub {
    /// A hub with the default settings: see [`HubBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings of a new hub.
    pub fn builder() -> HubBuilder {
        HubBuilder {
            send_queue: SendQueueLimits::new(),
            format: WireFormat::Plain,
            serves_events: false,
            pending_acks: 1024,
            states: HashMap::new(),
            no_error_events: false,
            socketio: Arc::default(),
            event_checks: Vec::new(),
            history: Vec::new(),
            history_store: None,
            recovery: None,
            presence: PresenceOptions::new(),
            tracker: None,
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for HubBuilder {
    fn default() -> Self {
        Hub::builder()
    }
}

impl HubBuilder {
    /// The limits of the send queue of each socket. Default: 1 MiB and 1,024 messages; beyond
    /// that a socket is closed with 1013.
    #[doc(alias = "backpressure")]
    pub const fn send_queue(mut self, limits: SendQueueLimits) -> Self {
        self.send_queue = limits;
        self
    }

    /// Treats text messages as events, encoded as `{"event":"name","data":…}` in both directions:
    /// `emit` sends them, and `on("name", …)` handles them. Binary messages stay messages.
    ///
    /// With a number as `id`, an event asks for an acknowledgement, `{"ack":id,"data":…}`, in both
    /// directions: see [`Ack`](crate::Ack) and
    /// [`Socket::emit_with_ack`](crate::Socket::emit_with_ack). Bytes in `data` are base64.
    ///
    /// A name has at most 256 bytes. Missing `data` is `null`, and other fields of the object
    /// are ignored. A text message that is not such an object, or that has the name of one of
    /// the hub's [own events](crate::Event), becomes an `error` event with
    /// [`EventError::Malformed`](crate::EventError::Malformed); the socket stays open.
    ///
    /// Default: no message is an event, and `emit` returns an error.
    pub const fn envelope(mut self) -> Self {
        self.format = WireFormat::Envelope;
        self
    }

    /// Announces that [`Hub::serve_as`] will serve connections with this protocol. The one of
    /// [`Hub::serve`] stays. Without it, a hub learns that when the first of them connects: until then
    /// [`emit`](Hub::emit) returns an error, and [`check`](Hub::check) reports the handlers of events.
    ///
    /// Not needed with [`envelope`](Self::envelope), or for clients of Socket.IO.
    pub const fn serves(mut self, protocol: Protocol) -> Self {
        self.serves_events |= protocol.format().has_events();
        self
    }

    /// The largest number of acknowledgements that each socket waits for:
    /// [`emit_with_ack`](crate::Socket::emit_with_ack) returns an error beyond that. Default:
    /// 1,024.
    pub const fn pending_acks(mut self, limit: usize) -> Self {
        self.pending_acks = limit;
        self
    }

    /// Sends no `error` events to peers. By default, a hub with an [`envelope`](Self::envelope)
    /// answers a message that it cannot handle with an event `error`, if the peer keeps up:
    ///
    /// ```json
    /// {"event":"error","data":{"code":"invalid_data","event":"say","text":"missing field `room`"}}
    /// ```
    ///
    /// The code is `malformed` if the text is no event, `unhandled` if the event has no handler,
    /// and `invalid_data` if a [`Json<T>`](crate::Json) of a handler cannot be deserialised. The
    /// text is that of `serde_json`, and names fields and variants of `T`. Errors of handlers are
    /// never sent.
    pub const fn no_error_events(mut self) -> Self {
        self.no_error_events = true;
        self
    }

    /// The limits of clients that speak Socket.IO. Default: see [`SocketIoLimits`].
    pub fn socketio(mut self, limits: SocketIoLimits) -> Self {
        self.socketio = Arc::new(limits);
        self
    }

    /// Adds a check of the events and messages of peers: a handler that runs before those of each
    /// event that has any, also in [namespaces](Hub::of). If it returns an error, the others are not
    /// called, an `error` event with [`EventError::Failed`](crate::EventError::Failed) follows, and
    /// the peer gets no acknowledgement. Checks run in the order in which they were added. Default:
    /// none.
    ///
    /// ```
    /// use ws_events::{Event, Hub, Socket};
    ///
    /// #[derive(Clone)]
    /// struct Muted;
    ///
    /// let builder = Hub::builder().envelope();
    /// let hub = builder.event_middleware(async |socket: Socket, event: Event| {
    ///     let is_muted = socket.attributes().get::<Muted>().is_some();
    ///     if is_muted && event.as_str() == "say" { Err("muted") } else { Ok(()) }
    /// });
    /// # let _ = hub.build();
    /// ```
    #[doc(alias = "use")]
    pub fn event_middleware<H, Args>(mut self, check: H) -> Self
    where
        H: Handler<Args>,
        Args: HandlerArgs,
    {
        self.event_checks.push(erase(check));
        self
    }

    /// Keeps what is sent to a room, or to each room whose name matches a pattern, in which `*`
    /// stands for any text that is not empty. If several apply, the first one counts.
    ///
    /// The history has what a [`Broadcast`](crate::Broadcast) sends to exactly this room, with the
    /// events and messages of [`Socket::to`](crate::Socket::to). It does not have volatile messages,
    /// questions that are to be acknowledged, and what is sent to several rooms, to ids, or to all.
    /// [`Delivery::stored`](crate::Delivery::stored) shows it for each broadcast. The position of a
    /// message follows the order in which all members of the room get the messages. [`Hub::room`]
    /// reads the history.
    ///
    /// Namespaces have the same settings, and histories of their own. Default: no room has a
    /// history.
    pub fn history(mut self, rooms: impl AsRef<str>, limits: History) -> Self {
        self.history.push((Arc::from(rooms.as_ref()), limits));
        self
    }

    /// Where the histories are kept. Default: a [`MemoryHistory`](crate::MemoryHistory) of at most
    /// 64 MiB. With a store that several processes share, such as `RedisHistory` of `ws-events-redis`,
    /// each member of a room gets the messages in the order of the store, whichever process has sent
    /// them: [`Delivery::stored`](crate::Delivery::stored) is `Queued` then.
    pub fn history_store(mut self, store: impl HistoryStore) -> Self {
        self.history_store = Some(Arc::new(store));
        self
    }

    /// Recovers sessions: a client whose connection was lost comes back with the id, the rooms and
    /// the [kept](Recovery::keep) attributes of its socket, and gets all that it has missed, in
    /// order and once. If that is not possible, its socket is a new one, and it gets nothing of the
    /// session. [`Socket::recovered`](crate::Socket::recovered) tells the two apart, and the client
    /// learns it, too.
    ///
    /// Recovery covers clients of Socket.IO, and connections that are served as
    /// [`Protocol::Resumable`](crate::Protocol::Resumable). A client may come back any number of
    /// times, each time within the [window](Recovery::window), also before the loss of its connection
    /// was detected. [Middleware](Hub::middleware) runs again. If it sets an id, it finds the id taken
    /// while the lost connection still has it: set the ids of new sockets in a handler of `connect`.
    ///
    /// A session is in the memory of the process that its client was connected to. A
    /// [store](Recovery::store) lets the client get it on any node of a [cluster](crate::cluster). What
    /// the other nodes send while the client is away counts, too, and what is lost between nodes
    /// counts as missed.
    ///
    /// A session is not recovered if a message was missed that is not in the
    /// [history](Self::history) of a room, or not any more; if more was missed than fits into the
    /// [send queue](Self::send_queue); or if the last message that the client has is not among the
    /// last 1,024 that were sent to it. Volatile messages, acknowledgements and questions that are
    /// to be acknowledged do not count. A session ends when its client closes the connection with
    /// 1000 or without a code, or leaves the namespace, and when
    /// [`Socket::close`](crate::Socket::close) closes it, unless with 1001, 1012 or 1013.
    /// [`Socket::send`](crate::Socket::send) of a hub with an envelope has no place for an offset,
    /// so prefer [`Socket::emit`](crate::Socket::emit).
    ///
    /// A client of Socket.IO does nothing: `socket.recovered` is true after the event `connect`. Each
    /// event has one more argument then, the offset, as with other servers. Its token stays the same,
    /// because its library compares it.
    ///
    /// A resumable connection begins with a message of the client, within 10 s, and with its answer.
    /// The token is a secret: keep it out of URLs and logs. Each answer has a new one. If the
    /// connection is lost before the answer has arrived, so is the session. The module in
    /// [`JS`](crate::JS) does all of it with the option `resume`, and `ws_client::Reconnect` after
    /// `resumable`. Without them:
    ///
    /// ```js
    /// let token = null, at = null;
    /// function connect() {
    ///   const socket = new WebSocket("wss://example.com/chat");
    ///   socket.onopen = () => socket.send(JSON.stringify({ resume: token, at }));
    ///   socket.onclose = () => setTimeout(connect, 500 + 500 * Math.random());
    ///   socket.onmessage = ({ data }) => {
    ///     const message = JSON.parse(data);
    ///     if (message.session) {
    ///       token = message.session;
    ///       if (!message.recovered) loadEverything();
    ///       return;
    ///     }
    ///     at = message.at ?? at;
    ///     handle(message.event, message.data);
    ///   };
    /// }
    /// ```
    ///
    /// Default: no session is recovered.
    #[doc(alias("connection_state_recovery", "resume"))]
    pub fn recovery(mut self, settings: Recovery) -> Self {
        self.recovery = Some(settings);
        self
    }

    /// The settings of [presence](Hub::presence), for the hub and its namespaces. Default: see
    /// [`PresenceOptions`].
    pub fn presence(mut self, options: PresenceOptions) -> Self {
        self.presence = options;
        self
    }

    /// The tracker of the [`AcceptOptions`](ws_core::AcceptOptions::tracker) by which servers accept
    /// the connections of the hub. [`Hub::drain`] closes it first, so these servers answer new
    /// handshakes with 503 and `Retry-After`. Without it, they accept a new connection, and the hub
    /// closes it with 1001. Default: none.
    ///
    /// ```
    /// # use ws_events::Hub;
    /// # use ws_server_axum::{AcceptOptions, ConnectionTracker, websocket};
    /// let tracker = ConnectionTracker::new();
    /// let hub = Hub::builder().tracker(&tracker).build();
    /// let route = websocket(AcceptOptions::new().tracker(&tracker), hub.handler());
    /// # let _: axum::Router = axum::Router::new().route("/", route);
    /// ```
    pub fn tracker(mut self, tracker: &ConnectionTracker) -> Self {
        self.tracker = Some(tracker.clone());
        self
    }

    /// A value that handlers get as [`State<T>`](crate::State), one for each type. Mutable state
    /// needs a lock or an atomic. Default: none.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// Makes the hub.
    #[must_use = "a hub does nothing without sockets"]
    pub fn build(self) -> Hub {
        self.build_with(None, Arc::default())
    }

    /// Makes a hub that is a node of a [cluster](crate::cluster), and starts the tasks of the cluster
    /// and its broker. It does not wait for the network. The tasks end with the hub, or with
    /// [`Hub::drain`].
    ///
    /// # Errors
    ///
    /// If the settings are not possible, or there is no tokio runtime.
    pub fn build_clustered(self, config: ClusterConfig) -> Result<Hub, ClusterConfigError> {
        config.check()?;
        #[cfg(feature = "socketio-adapter")]
        if matches!(config.backend, Backend::SocketIo(_))
            && (!self.history.is_empty() || self.history_store.is_some())
        {
            // Broadcasts of the other servers have no positions.
            return Err(ClusterConfigError::Unsupported("`HubBuilder::history`"));
        }
        let notices: Arc<Notices> = Arc::default();
        let (sender, server_events) = mpsc::channel(MAX_SERVER_EVENTS);
        let host = Arc::new(RemoteHost::new(sender));
        let cluster = Cluster::start(config, Arc::clone(&notices), Arc::clone(&host) as _)?;
        let hub = self.build_with(Some(cluster), notices);
        host.set_hub(&hub);
        tokio::spawn(run_handlers(Arc::downgrade(&hub.0), server_events));
        Ok(hub)
    }

    fn build_with(mut self, cluster: Option<Cluster>, notices: Arc<Notices>) -> Hub {
        let rules = std::mem::take(&mut self.history);
        let recovery = self.recovery.take();
        let sessions = recovery.as_ref().map(Recovery::sessions_settings);
        let history = HubHistory::new(rules, self.history_store.take(), sessions, cluster.as_ref());
        let user = recovery.and_then(|recovery| recovery.user);
        let table = PresenceTable::new(self.presence.clone(), cluster.clone());
        let presence = HubPresence::new(table);
        let hub = Arc::new(self.shared(None, history, user, presence, cluster, notices));
        hub.start_history();
        Hub(hub)
    }

    fn shared(
        self,
        root: Option<(Weak<HubShared>, Arc<str>)>,
        history: Option<Box<HubHistory>>,
        session_user: Option<Arc<SessionUser>>,
        presence: HubPresence,
        cluster: Option<Cluster>,
        notices: Arc<Notices>,
    ) -> HubShared {
        let name = || root.as_ref().map_or_else(|| Arc::from(ROOT), |(_, name)| Arc::clone(name));
        let observer = cluster.as_ref().map(|cluster| {
            Box::new(ClusterRooms::new(cluster.clone(), name())) as Box<dyn RoomObserver>
        });
        let observer = match &history {
            Some(history) => history.observe(name(), observer),
            None => observer,
        };
        HubShared {
            everyone: MemberList::new(Arc::from("")),
            rooms: RoomRegistry::new(SHARDS, observer),
            queues: QueuePool::new(SendQueue::new),
            ids: IdRegistry::new(SHARDS),
            listeners: Default::default(),
            middleware: RwLock::default(),
            event_checks: self.event_checks,
            delivery: DeliveryShared { limits: self.send_queue, ..DeliveryShared::default() },
            format: self.format,
            has_events: AtomicBool::new(self.format.has_events() || self.serves_events),
            last_ack: AtomicU64::new(0),
            max_pending_acks: self.pending_acks,
            socketio: self.socketio,
            history,
            session_user,
            presence,
            namespaces: Arc::new(NamespaceTable::new()),
            root,
            cluster,
            server_handlers: Default::default(),
            notices,
            tracker: self.tracker,
            states: self.states,
            error_events: !self.no_error_events,
            checked: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drain_started: Notify::new(),
            active: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            idle: Notify::new(),
            #[cfg(feature = "metrics")]
            metrics: Default::default(),
        }
    }
}

impl Hub {
    /// A new namespace of this hub, with the same settings.
    pub(crate) fn child(&self, name: &str) -> Self {
        let hub = &self.0;
        let settings = HubBuilder {
            send_queue: hub.delivery.limits.clone(),
            serves_events: false,
            format: hub.format,
            pending_acks: hub.max_pending_acks,
            states: hub.states.clone(),
            no_error_events: !hub.error_events,
            socketio: Arc::clone(&hub.socketio),
            event_checks: hub.event_checks.clone(),
            history: Vec::new(),
            history_store: None,
            recovery: None,
            // Its table is shared.
            presence: PresenceOptions::new(),
            tracker: hub.tracker.clone(),
        };
        let root = Some((Arc::downgrade(hub), Arc::from(name)));
        let history = hub.history.as_ref();
        let history = history.map(|history| history.child(hub.cluster.as_ref(), name));
        let (user, cluster) = (hub.session_user.clone(), hub.cluster.clone());
        let presence = hub.presence.child();
        let notices = Arc::clone(&hub.notices);
        let child = settings.shared(root, history, user, presence, cluster, notices);
        child.has_events.store(hub.has_events.load(SeqCst), SeqCst);
        child.draining.store(hub.draining.load(SeqCst), SeqCst);
        Self(Arc::new(child))
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("send_queue", &self.send_queue)
            .field("format", &self.format)
            .field("pending_acks", &self.pending_acks)
            .field("states", &self.states.len())
            .field("no_error_events", &self.no_error_events)
            .field("history", &self.history)
            .finish()
    }
}
