//! What does the cluster ask of the hub of its process?

use std::sync::Arc;

use super::envelope::{BroadcastBody, EventBody, Operation, Question, Target};
use super::node::NodeId;
use super::presence_body::{PresenceOp, PresencePart};
use super::responder::Responder;

/// The sockets of this process. Nothing that it is asked is published again, except by a
/// [`Responder`].
pub(crate) trait ClusterHost: Send + Sync {
    /// Whether the hub still exists.
    fn is_alive(&self) -> bool;

    /// Delivers a broadcast. Returns the number of its sockets.
    fn deliver(
        &self,
        namespace: &str,
        target: Target,
        volatile: bool,
        body: BroadcastBody,
    ) -> usize;

    /// What other nodes have sent may be lost.
    fn missed(&self);

    /// Changes sockets.
    fn operate(&self, namespace: &str, target: Target, operation: Operation);

    /// Answers a question, but for [`Question::Reply`]. What takes time is done by another task.
    fn answer(&self, namespace: &str, question: Question, responder: Responder);

    /// Queues an event for the handlers of the server, one of which may answer. Returns `false` if
    /// there are too many.
    fn server_event(
        &self,
        origin: NodeId,
        namespace: Arc<str>,
        event: EventBody,
        responder: Option<Responder>,
    ) -> bool;

    /// Who is present, if the application uses that.
    fn presence(&self) -> Option<Arc<dyn PresenceHost>>;

    /// Whether there is a room, or a socket, with this name.
    #[cfg(feature = "socketio-adapter")]
    fn has_room(&self, namespace: &str, room: &str) -> bool;

    /// The ids of sockets.
    #[cfg(feature = "socketio-adapter")]
    fn ids(&self, namespace: &str, target: Target) -> Vec<Arc<str>>;

    /// The names of all rooms. Each socket is one, by its id.
    #[cfg(feature = "socketio-adapter")]
    fn rooms(&self, namespace: &str) -> Vec<Arc<str>>;

    /// The number of sockets, of all namespaces.
    fn sockets(&self) -> u64;
}

/// Who is present on this node, and what it knows of the others.
pub(crate) trait PresenceHost: Send + Sync {
    /// The version of the entries of this node.
    fn version(&self) -> u64;

    /// A node that is up says that its entries have this version. Returns whether to ask for its list.
    fn claimed(&self, node: NodeId, version: u64) -> bool;

    /// A batch of changes has arrived. Returns whether to ask for the list of the node.
    fn changed(&self, node: NodeId, version: u64, ops: Vec<PresenceOp>) -> bool;

    /// Whether the list of a node is still to be asked for.
    fn is_behind(&self, node: NodeId) -> bool;

    /// A part of the list of a node has arrived.
    fn part(&self, node: NodeId, part: PresencePart);

    /// All parts have arrived, unless `is_complete` is false.
    fn listed(&self, node: NodeId, is_complete: bool);

    /// A node is down.
    fn node_down(&self, node: NodeId);
}
