//! What does the cluster ask of the hub of its process?

use std::sync::Arc;

use super::envelope::{BroadcastBody, EventBody, Operation, Question, Target};
use super::node::NodeId;
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
