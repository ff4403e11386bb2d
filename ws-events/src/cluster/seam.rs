//! What can a hub do with its cluster, whichever protocol joins the nodes?
//!
//! Upwards, a cluster calls a [`ClusterHost`].

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::config::{Backend, ClusterConfig, ClusterConfigError, DeliveryOrder};
use super::core::ClusterCore;
use super::engine::ClusterEngine;
use super::envelope::{Body, BroadcastBody, EventBody, Operation, Question, Target};
use super::gather::PendingRequest;
use super::host::ClusterHost;
use super::node::NodeInfo;
use super::notices::Notices;
use super::presence_body::PresenceOp;
#[cfg(feature = "socketio-adapter")]
use super::socketio::engine::SocketIoEngine;
use super::stats::ClusterStats;
use crate::delivery::enqueue::ClusterDelivery;

/// The cluster of a hub. A clone is a handle of the same.
#[derive(Clone, Debug)]
pub(crate) enum Cluster {
    /// Hubs, over any broker.
    Engine(Arc<ClusterEngine>),
    /// Hubs and servers of Node.js.
    #[cfg(feature = "socketio-adapter")]
    SocketIo(Arc<SocketIoEngine>),
}

impl Cluster {
    /// Starts the tasks. The settings were checked.
    pub(crate) fn start(
        config: ClusterConfig,
        notices: Arc<Notices>,
        host: Arc<dyn ClusterHost>,
    ) -> Result<Self, ClusterConfigError> {
        let ClusterConfig { backend, settings } = config;
        match backend {
            Backend::Broker(broker) => {
                let engine = ClusterEngine::start(broker, settings, notices, host);
                engine.map(Self::Engine).map_err(ClusterConfigError::Prefix)
            }
            #[cfg(feature = "socketio-adapter")]
            Backend::SocketIo(channels) => {
                Ok(Self::SocketIo(SocketIoEngine::start(channels, settings, notices, host)))
            }
        }
    }

    /// If it is one of hubs alone.
    pub(crate) const fn engine(&self) -> Option<&Arc<ClusterEngine>> {
        match self {
            Self::Engine(engine) => Some(engine),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => None,
        }
    }

    pub(crate) fn order(&self) -> DeliveryOrder {
        match self {
            Self::Engine(engine) => engine.order(),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => DeliveryOrder::LocalFirst,
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.core().request_timeout
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        match self {
            Self::Engine(engine) => engine.nodes(),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => Vec::new(),
        }
    }

    pub(crate) fn stats(&self) -> ClusterStats {
        match self {
            Self::Engine(engine) => engine.stats(),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.stats(),
        }
    }

    /// A hub of a namespace was made.
    #[cfg_attr(
        not(feature = "socketio-adapter"),
        expect(unused_variables, reason = "our nodes know namespaces by envelopes")
    )]
    pub(crate) fn add_namespace(&self, namespace: &Arc<str>) {
        match self {
            Self::Engine(_) => {}
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.add_namespace(namespace),
        }
    }

    /// A hub of a namespace is gone.
    #[cfg_attr(
        not(feature = "socketio-adapter"),
        expect(unused_variables, reason = "our nodes know namespaces by envelopes")
    )]
    pub(crate) fn remove_namespace(&self, namespace: &str) {
        match self {
            Self::Engine(_) => {}
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.remove_namespace(namespace),
        }
    }

    /// A room was created on this node. Called under the lock of its shard.
    pub(crate) fn add_room(&self, namespace: &str, room: &str) {
        match self {
            Self::Engine(engine) => engine.add_room(namespace, room),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => {}
        }
    }

    /// A room was removed on this node. Called under the lock of its shard.
    pub(crate) fn remove_room(&self, namespace: &str, room: &str) {
        match self {
            Self::Engine(engine) => engine.remove_room(namespace, room),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => {}
        }
    }

    /// Sends to the sockets of other nodes.
    pub(crate) fn broadcast(
        &self,
        namespace: Arc<str>,
        target: Target,
        volatile: bool,
        body: BroadcastBody,
    ) -> ClusterDelivery {
        match self {
            Self::Engine(engine) => {
                let body = Body::Broadcast { namespace, target, volatile, body };
                let Body::Broadcast { namespace, target, .. } = &body else {
                    return ClusterDelivery::Local;
                };
                engine.publish_to(namespace, target, &body)
            }
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.broadcast(&namespace, &target, volatile, &body),
        }
    }

    /// Changes the sockets of other nodes.
    pub(crate) fn operate(
        &self,
        namespace: Arc<str>,
        target: Target,
        operation: Operation,
    ) -> ClusterDelivery {
        match self {
            Self::Engine(engine) => {
                let body = Body::Operation { namespace, target, operation };
                let Body::Operation { namespace, target, .. } = &body else {
                    return ClusterDelivery::Local;
                };
                engine.publish_to(namespace, target, &body)
            }
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.operate(&namespace, &target, &operation),
        }
    }

    /// Sends an event to the handlers of the other nodes.
    pub(crate) fn server_event(&self, namespace: Arc<str>, event: EventBody) -> ClusterDelivery {
        match self {
            Self::Engine(engine) => engine.publish_to_all(&Body::ServerEvent { namespace, event }),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.server_event(&namespace, &event),
        }
    }

    /// Asks the other nodes.
    pub(crate) fn ask(&self, namespace: Arc<str>, question: Question) -> PendingRequest {
        match self {
            Self::Engine(engine) => engine.ask(namespace, question),
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => engine.ask(&namespace, question),
        }
    }

    /// Nobody waits for the answers to a request any more.
    pub(crate) fn cancel(&self, id: u64) {
        match self {
            Self::Engine(engine) => engine.cancel(id),
            // The other servers know the timeout.
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => {}
        }
    }

    /// The application uses presence.
    pub(crate) fn use_presence(&self) {
        match self {
            Self::Engine(engine) => engine.use_presence(),
            // Each server has its own.
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(_) => {}
        }
    }

    /// Publishes changes of the presence of this node.
    #[cfg_attr(
        not(feature = "socketio-adapter"),
        expect(irrefutable_let_patterns, reason = "servers of Node.js know no presence")
    )]
    pub(crate) fn publish_presence(&self, version: u64, ops: Vec<PresenceOp>) {
        if let Self::Engine(engine) = self {
            engine.publish_presence(version, ops);
        }
    }

    /// Leaves the cluster until `deadline`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown goes on.
    pub(crate) async fn shut_down(&self, deadline: Instant) {
        self.core().shut_down(deadline).await;
    }

    fn core(&self) -> &ClusterCore {
        match self {
            Self::Engine(engine) => &engine.core,
            #[cfg(feature = "socketio-adapter")]
            Self::SocketIo(engine) => &engine.core,
        }
    }
}
