//! What is known of another node, and of a socket there?

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::registry::id::Id;

/// Identifies a node of a cluster: a hub in a process. Random for each hub that is built.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u64);

impl NodeId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().as_u64_pair().0)
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As its text.
impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Another node of the cluster: see [`Hub::nodes`](crate::Hub::nodes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its sockets, of all namespaces, at its last heartbeat.
    pub sockets: u64,
}

/// A socket of any node: see [`Broadcast::fetch_sockets`](crate::Broadcast::fetch_sockets).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SocketInfo {
    /// Its id.
    pub id: Id,
    /// Its node; `None` for this one.
    pub node: Option<NodeId>,
    /// The names of its rooms, in no particular order.
    pub rooms: Vec<Arc<str>>,
}
