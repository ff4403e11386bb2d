//! How do the hubs of several processes act as one?
//!
//! Each process has a hub, built by [`HubBuilder::build_clustered`](crate::HubBuilder::build_clustered)
//! with a [`Broker`](crate::broker::Broker). Then broadcasts, and what else a
//! [`Broadcast`](crate::Broadcast) can do, reach the sockets of all of them. The namespaces of a hub
//! share its broker. With the feature `socketio-adapter`, servers of Socket.IO in Node.js may be in
//! the same cluster: [`ClusterConfig::socketio`] says what is different then.
//!
//! # Guarantees
//!
//! * What one task sends to a room arrives at each member in that order, at most once, on all nodes.
//!   The same holds for all sockets, and for several rooms or ids, but not between these and rooms.
//! * A broadcast that does not get through is reported: the sender gets it in
//!   [`Delivery::cluster`](crate::Delivery::cluster), or the receiver gets
//!   [`HubEvent::Gap`]. A gap is counted in envelopes, for each receiving node, origin and subject.
//!   What was lost at the end of a series is reported with the second heartbeat after it.
//! * Counting begins with the first envelope, or the second heartbeat, of an origin on a subject
//!   after this node has subscribed to it. When a node dies, what it has sent last may be lost:
//!   [`HubEvent::NodeDown`] stands for that.
//! * A socket that has just joined a room gets the broadcasts of other nodes once the broker has
//!   processed the subscription of its node, one round trip later.
//! * Local delivery does not depend on the broker, unless [`DeliveryOrder::BrokerOrdered`] is set.
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! | --- | --- | --- |
//! | envelopes that wait for delivery | [`ClusterConfig::inbox`]: 65,536 and 16 MiB | dropped, and reported as a gap |
//! | an envelope | [`BrokerCapabilities::max_payload`](crate::broker::BrokerCapabilities::max_payload) | refused: [`ClusterDelivery::TooLarge`](crate::ClusterDelivery::TooLarge) |
//! | rooms, ids and other fields of an envelope | 16,384 | refused, as if it were too long |
//! | known nodes | [`ClusterConfig::max_nodes`]: 1,024 | envelopes of further nodes are dropped and counted |
//! | entries of [presence](crate::Presence) of a node | [`PresenceOptions::entries`](crate::PresenceOptions::entries): 100,000 | refused by its node, and ignored by the others |
//! | requests that wait for answers, and that are being answered | 1,024 each | the nodes are among the missing |
//! | what [`OutagePolicy::Buffer`] holds | its bytes and age | refused, or dropped and reported |
//! | events of [`Hub::events`](crate::Hub::events) that are not read | 1,024 | [`HubEvent::Missed`] |
//!
//! All that may publish at the broker are trusted. With the feature `hmac`, only those are that have
//! [a key](ClusterConfig::keys).

#[cfg(feature = "socketio-adapter")]
pub(crate) mod answers;
pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod encoding;
pub(crate) mod engine;
pub(crate) mod envelope;
pub(crate) mod fields;
pub(crate) mod gather;
pub(crate) mod head;
pub(crate) mod host;
pub(crate) mod inbox;
pub(crate) mod markers;
pub(crate) mod members;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod notices;
pub(crate) mod outbox;
pub(crate) mod presence_body;
pub(crate) mod presence_sync;
pub(crate) mod responder;
pub(crate) mod seam;
pub(crate) mod sequence;
pub(crate) mod session_body;
pub(crate) mod slots;
#[cfg(feature = "socketio-adapter")]
pub(crate) mod socketio;
pub(crate) mod stats;

pub use config::{ClusterConfig, ClusterConfigError, DeliveryOrder, OutagePolicy, Routing};
pub use gather::Gathered;
pub use node::{NodeId, NodeInfo, SocketInfo};
pub use notices::{HubEvent, HubEvents};
pub use stats::ClusterStats;
