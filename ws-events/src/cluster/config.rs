//! Which settings does a cluster have?

use std::fmt;
use std::time::Duration;

#[cfg(feature = "hmac")]
use crate::broker::signed::SHORTEST_KEY;
use crate::broker::{Broker, InvalidSubject, Subject};

/// The settings of a hub in a cluster: see
/// [`HubBuilder::build_clustered`](crate::HubBuilder::build_clustered).
#[must_use = "settings do nothing before `HubBuilder::build_clustered`"]
pub struct ClusterConfig {
    pub(crate) broker: Box<dyn Broker>,
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
        /// The most bytes that are held. Beyond that, broadcasts are refused.
        bytes: usize,
        /// How long they are held. Older ones are dropped, and reported as
        /// [`HubEvent::Unsent`](super::HubEvent::Unsent).
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
    /// There is no key, or one is shorter than 32 bytes.
    #[cfg(feature = "hmac")]
    #[error("a cluster with keys has at least one, and each has at least 32 bytes")]
    Key,
}

impl ClusterConfig {
    /// Settings with this broker and all defaults.
    pub fn new(broker: impl Broker) -> Self {
        Self {
            broker: Box::new(broker),
            prefix: "ws".to_owned(),
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

    /// The first part of all subjects. Applications with different prefixes do not see each other at
    /// a common broker. Default: `ws`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How broadcasts to rooms find their nodes. Default: [`Routing::Partitioned`] with 64.
    pub const fn routing(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// In which order members get broadcasts. Default: [`DeliveryOrder::LocalFirst`].
    pub const fn order(mut self, order: DeliveryOrder) -> Self {
        self.order = order;
        self
    }

    /// What happens while the broker is down. Default: [`OutagePolicy::FailFast`].
    pub const fn outage(mut self, policy: OutagePolicy) -> Self {
        self.outage = policy;
        self
    }

    /// How often this node tells the others that it lives. A node that is silent for 10/3 of this
    /// time, by its own setting, is down for this one. Default: 3 s; at least 100 ms.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval.max(Duration::from_millis(100));
        self
    }

    /// How long [`Broadcast::fetch_sockets`](crate::Broadcast::fetch_sockets) and similar calls wait
    /// for the other nodes. Default: 5 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The most envelopes, and their bytes, that have arrived and are not delivered yet. Beyond
    /// that, they are dropped. Default: 65,536 and 16 MiB.
    pub const fn inbox(mut self, envelopes: usize, bytes: usize) -> Self {
        self.inbox = (envelopes, bytes);
        self
    }

    /// The most nodes that this one knows. Default: 1,024.
    pub const fn max_nodes(mut self, nodes: usize) -> Self {
        self.max_nodes = nodes;
        self
    }

    /// Makes a hub that only sends, for a process without sockets, such as a scheduled job. It gets
    /// no broadcasts, and is not among the [nodes](crate::Hub::nodes). Its requests are answered.
    /// Default: it is a node.
    pub const fn emitter(mut self) -> Self {
        self.is_emitter = true;
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
        self.keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// The time after which a silent node is down.
    pub(crate) fn dead_after(heartbeat: Duration) -> Duration {
        heartbeat * 10 / 3
    }

    pub(crate) fn check(&self) -> Result<(), ClusterConfigError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ClusterConfigError::NoRuntime);
        }
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
        let capabilities = self.broker.capabilities();
        if self.order == DeliveryOrder::BrokerOrdered && !capabilities.total_order {
            return Err(ClusterConfigError::NoTotalOrder(capabilities.name));
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("broker", &self.broker.capabilities().name)
            .field("prefix", &self.prefix)
            .field("routing", &self.routing)
            .field("order", &self.order)
            .field("outage", &self.outage)
            .finish_non_exhaustive()
    }
}
