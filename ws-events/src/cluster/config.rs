//! Which settings does a cluster have?

use std::fmt;
use std::time::Duration;

#[cfg(feature = "socketio-adapter")]
use crate::broker::ChannelBroker;
#[cfg(feature = "hmac")]
use crate::broker::signed::SHORTEST_KEY;
use crate::broker::{Broker, BrokerCapabilities, InvalidSubject, Subject};

/// The settings of a hub in a cluster: see
/// [`HubBuilder::build_clustered`](crate::HubBuilder::build_clustered).
#[must_use = "settings do nothing before `HubBuilder::build_clustered`"]
pub struct ClusterConfig {
    pub(crate) backend: Backend,
    pub(crate) settings: ClusterSettings,
}

/// What joins the nodes.
pub(crate) enum Backend {
    Broker(Box<dyn Broker>),
    #[cfg(feature = "socketio-adapter")]
    SocketIo(Box<dyn ChannelBroker>),
}

impl Backend {
    fn name(&self) -> &'static str {
        match self {
            Self::Broker(broker) => broker.capabilities().name,
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(channels) => channels.capabilities().name,
        }
    }
}

/// The settings, without what joins the nodes.
pub(crate) struct ClusterSettings {
    pub(crate) prefix: String,
    pub(crate) routing: Routing,
    pub(crate) order: DeliveryOrder,
    pub(crate) outage: OutagePolicy,
    pub(crate) heartbeat: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) inbox: (usize, usize),
    pub(crate) max_nodes: usize,
    pub(crate) is_emitter: bool,
    #[cfg(feature = "hmac")]
    pub(crate) keys: Option<Vec<Vec<u8>>>,
}

/// On which subjects broadcasts to one room are published. It must be the same on all nodes:
/// otherwise, they do not get each other's broadcasts to rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routing {
    /// One of so many partitions, 1 to 4,096, selected by the name of the room. A node subscribes to
    /// those in which it has members. Few subscriptions; a node also gets broadcasts to rooms of the
    /// same partition in which it has no member.
    Partitioned(u16),
    /// A subject for each room. A node gets only what its members get. Many subscriptions; suits
    /// many rooms whose members are on few nodes.
    PerRoom,
    /// All nodes get all broadcasts. Suits few nodes.
    All,
}

/// In which order the members of a room get the broadcasts of several nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryOrder {
    /// The members on the sender's node get a broadcast at once, and the others by the broker. The
    /// broadcasts of each sender arrive in order; those of two nodes may arrive in another order at
    /// their own members.
    #[default]
    LocalFirst,
    /// All members, also those on the sender's node, get broadcasts by the broker, in the same order.
    /// It takes a round trip to the broker, nothing is delivered while the broker is down, and a
    /// socket that has just joined may miss broadcasts of its own node for that time. The broker must
    /// have a total order.
    ///
    /// A room with a history in a [store of the application](crate::HubBuilder::history_store) is
    /// ordered by that store, which has to pass the messages to all nodes.
    BrokerOrdered,
}

/// What happens to broadcasts while the broker does not take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutagePolicy {
    /// The members on the sender's node get them, and
    /// [`Delivery::cluster`](crate::Delivery::cluster) says that the others do not.
    #[default]
    FailFast,
    /// They are held, and published when the other nodes have subscribed again, together with those
    /// of the last second before the outage. Receivers drop what they have already.
    #[non_exhaustive]
    Buffer {
        /// The most bytes that are held. Beyond that, broadcasts are refused. While the broker takes
        /// them, those of the last second take up to half.
        bytes: usize,
        /// How long they are held, in all outages together. Older ones, and those that are left at the end of the hub, are
        /// dropped, and reported as [`HubEvent::Unsent`](super::HubEvent::Unsent).
        age: Duration,
    },
    /// As `FailFast`, but the result does not say that the others do not get them.
    LocalOnly,
}

impl OutagePolicy {
    /// [`Buffer`](Self::Buffer) with these limits.
    pub const fn buffer(bytes: usize, age: Duration) -> Self {
        Self::Buffer { bytes, age }
    }
}

/// Why a hub was not built. Its text is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterConfigError {
    /// There is no tokio runtime, in which the tasks of the cluster could run.
    #[error("a clustered hub has to be built in a tokio runtime")]
    NoRuntime,
    /// The prefix is not allowed in a subject.
    #[error("invalid prefix of a cluster: {0}")]
    Prefix(InvalidSubject),
    /// The number of partitions is not from 1 to 4,096.
    #[error("a cluster has 1 to 4,096 partitions, not {0}")]
    Partitions(u16),
    /// [`DeliveryOrder::BrokerOrdered`] needs a broker with a total order, and this one has none.
    #[error("`BrokerOrdered` needs a broker with a total order, which {0} does not have")]
    NoTotalOrder(&'static str),
    /// Servers of Socket.IO in Node.js have no such thing: see
    /// [`ClusterConfig::socketio`].
    #[cfg(feature = "socketio-adapter")]
    #[error("a cluster with servers of Socket.IO in Node.js has no {0}")]
    Unsupported(&'static str),
    /// There is no key, or one is shorter than 32 bytes.
    #[cfg(feature = "hmac")]
    #[error("a cluster with keys has at least one, and each has at least 32 bytes")]
    Key,
}

impl ClusterConfig {
    /// Settings with this broker and all defaults.
    pub fn new(broker: impl Broker) -> Self {
        Self { backend: Backend::Broker(Box::new(broker)), settings: ClusterSettings::new("ws") }
    }

    /// Settings of a hub in a cluster of Socket.IO servers in Node.js, with all defaults:
    /// `ws_events_redis::SocketIoAdapter`.
    ///
    /// Broadcasts, with acknowledgements too, joins, leaves, closes,
    /// [`fetch_sockets`](crate::Broadcast::fetch_sockets) and
    /// [`server_emit`](crate::Hub::server_emit) reach all servers, in both directions, with these
    /// differences:
    ///
    /// * The [`prefix`](Self::prefix) is the `key` of the adapter: `socket.io` by default.
    /// * Nothing is numbered: no [`HubEvent::Gap`](super::HubEvent::Gap) reports what was lost, and
    ///   `routing`, `heartbeat` and `max_nodes` have no effect.
    /// * The protocol does not say who the servers are: [`Hub::nodes`](crate::Hub::nodes) is empty. A
    ///   [`NodeId`](super::NodeId) of an answer, or of a server that did not answer, is the number of
    ///   the answer. The id of a socket of another server that acknowledges is `?` and a number.
    /// * `inbox` bounds the messages that wait. What does not fit is lost, and
    ///   [counted](super::ClusterStats::inbox_full).
    /// * The answer of a server is one message: a list of more sockets than a message holds is not
    ///   sent, and the server is among the missing.
    /// * Each server has a [`Presence`](crate::Presence) of its own, of its own sockets.
    /// * Other servers see an empty `handshake` and `data` of the sockets of this one.
    ///
    /// What the protocol cannot do is an error when the hub is built:
    /// [`ClusterConfigError::Unsupported`].
    #[cfg(feature = "socketio-adapter")]
    pub fn socketio(channels: impl ChannelBroker) -> Self {
        let backend = Backend::SocketIo(Box::new(channels));
        Self { backend, settings: ClusterSettings::new("socket.io") }
    }

    /// The first part of all subjects. Applications with different prefixes do not see each other at
    /// a common broker. Default: `ws`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// How broadcasts to rooms find their nodes. Default: [`Routing::Partitioned`] with 64.
    pub const fn routing(mut self, routing: Routing) -> Self {
        self.settings.routing = routing;
        self
    }

    /// In which order members get broadcasts. Default: [`DeliveryOrder::LocalFirst`].
    pub const fn order(mut self, order: DeliveryOrder) -> Self {
        self.settings.order = order;
        self
    }

    /// What happens while the broker is down. Default: [`OutagePolicy::FailFast`].
    pub const fn outage(mut self, policy: OutagePolicy) -> Self {
        self.settings.outage = policy;
        self
    }

    /// How often this node tells the others that it lives. A node that is silent for 10/3 of this
    /// time, by its own setting, is down for this one. Default: 3 s; at least 100 ms.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.settings.heartbeat = interval.max(Duration::from_millis(100));
        self
    }

    /// How long [`Broadcast::fetch_sockets`](crate::Broadcast::fetch_sockets) and similar calls wait
    /// for the other nodes. Default: 5 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// The most envelopes, and their bytes, that have arrived and are not delivered yet. Beyond
    /// that, they are dropped. Default: 65,536 and 16 MiB.
    pub const fn inbox(mut self, envelopes: usize, bytes: usize) -> Self {
        self.settings.inbox = (envelopes, bytes);
        self
    }

    /// The most nodes that this one knows. Default: 1,024.
    pub const fn max_nodes(mut self, nodes: usize) -> Self {
        self.settings.max_nodes = nodes;
        self
    }

    /// Makes a hub that only sends, for a process without sockets, such as a scheduled job. It gets
    /// no broadcasts, and is not among the [nodes](crate::Hub::nodes). Its requests are answered.
    /// Default: it is a node.
    pub const fn emitter(mut self) -> Self {
        self.settings.is_emitter = true;
        self
    }

    /// Keys of the cluster. Each envelope gets a tag by the first key, HMAC-SHA-256 of 32 bytes. An
    /// envelope without a tag by any of the keys is dropped, and
    /// [counted](super::ClusterStats::forged). Default: no tags, and all envelopes are accepted.
    ///
    /// To change a key without a gap, let all nodes accept the new one, `[old, new]`; then send with
    /// it, `[new, old]`; then leave the old one out. A node that has keys and one that has none do
    /// not hear each other.
    ///
    /// A tag does not hide what an envelope has. Somebody who can read and publish can publish an
    /// old envelope again: a node drops it as a duplicate for as long as it knows its origin.
    #[cfg(feature = "hmac")]
    pub fn keys<K: Into<Vec<u8>>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.settings.keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    pub(crate) fn check(&self) -> Result<(), ClusterConfigError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ClusterConfigError::NoRuntime);
        }
        match &self.backend {
            Backend::Broker(broker) => self.settings.check(broker.capabilities()),
            #[cfg(feature = "socketio-adapter")]
            Backend::SocketIo(_) => self.settings.check_socketio(),
        }
    }
}

impl ClusterSettings {
    fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            routing: Routing::Partitioned(64),
            order: DeliveryOrder::LocalFirst,
            outage: OutagePolicy::FailFast,
            heartbeat: Duration::from_secs(3),
            request_timeout: Duration::from_secs(5),
            inbox: (64 * 1024, 16 * 1024 * 1024),
            max_nodes: 1024,
            is_emitter: false,
            #[cfg(feature = "hmac")]
            keys: None,
        }
    }

    /// The time after which a silent node is down.
    pub(crate) fn dead_after(heartbeat: Duration) -> Duration {
        heartbeat * 10 / 3
    }

    fn check(&self, capabilities: BrokerCapabilities) -> Result<(), ClusterConfigError> {
        // With the longest ending.
        Subject::new(format!("{}.n.0123456789abcdef", self.prefix))
            .map_err(ClusterConfigError::Prefix)?;
        if let Routing::Partitioned(partitions) = self.routing
            && !(1..=4096).contains(&partitions)
        {
            return Err(ClusterConfigError::Partitions(partitions));
        }
        #[cfg(feature = "hmac")]
        if let Some(keys) = &self.keys
            && (keys.is_empty() || keys.iter().any(|key| key.len() < SHORTEST_KEY))
        {
            return Err(ClusterConfigError::Key);
        }
        if self.order == DeliveryOrder::BrokerOrdered && !capabilities.total_order {
            return Err(ClusterConfigError::NoTotalOrder(capabilities.name));
        }
        Ok(())
    }

    #[cfg(feature = "socketio-adapter")]
    fn check_socketio(&self) -> Result<(), ClusterConfigError> {
        let unsupported = |what| Err(ClusterConfigError::Unsupported(what));
        if self.prefix.is_empty() || self.prefix.len() > MAX_KEY || self.prefix.contains('#') {
            return unsupported("a prefix that is empty, has `#`, or is longer than 200 bytes");
        }
        if self.order == DeliveryOrder::BrokerOrdered {
            return unsupported("`DeliveryOrder::BrokerOrdered`");
        }
        if let OutagePolicy::Buffer { .. } = self.outage {
            return unsupported("`OutagePolicy::Buffer`");
        }
        #[cfg(feature = "hmac")]
        if self.keys.is_some() {
            return unsupported("`ClusterConfig::keys`");
        }
        Ok(())
    }
}

/// The longest prefix of the channels of Socket.IO, in bytes.
#[cfg(feature = "socketio-adapter")]
const MAX_KEY: usize = 200;

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("backend", &self.backend.name())
            .field("prefix", &self.settings.prefix)
            .field("routing", &self.settings.routing)
            .field("order", &self.settings.order)
            .field("outage", &self.settings.outage)
            .finish_non_exhaustive()
    }
}
