//! What can an application do with the nodes of a cluster?

use std::sync::Arc;

use crate::cluster::envelope::{AnswerPart, Operation, Question};
use crate::cluster::{ClusterStats, Gathered, HubEvents, NodeInfo, SocketInfo};
use crate::hub::broadcast::Broadcast;
use crate::{ClusterDelivery, Hub, Id};

impl Hub {
    /// The other nodes of the [cluster](crate::cluster), as far as this one knows. Empty without a
    /// cluster.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.0.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.nodes())
    }

    /// What happens to the hub, with its [namespaces](Self::of), and its cluster from now on: nodes
    /// come and go, the broker is down, messages were lost, a slow consumer was closed.
    ///
    /// ```no_run
    /// # async fn watch(hub: ws_events::Hub) {
    /// use ws_events::cluster::HubEvent;
    ///
    /// let mut events = hub.events();
    /// while let Some(event) = events.next().await {
    ///     if let HubEvent::Gap { origin, subject, lost } = event {
    ///         println!("{lost} envelopes of {origin} on {subject} are lost");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> HubEvents {
        self.0.notices.subscribe()
    }
}

impl ClusterStats {
    /// The counters of the cluster of a hub; `None` without a cluster.
    pub fn of(hub: &Hub) -> Option<Self> {
        Some(hub.0.cluster.as_ref()?.stats())
    }
}

impl Broadcast {
    /// The sockets of all nodes of the [cluster](crate::cluster), in no particular order. Without a
    /// cluster, or after [`local`](Self::local), those of this process.
    ///
    /// Waits for at most [`request_timeout`](crate::cluster::ClusterConfig::request_timeout), and
    /// not for nodes that go down. [`sockets`](Self::sockets) does not wait, and gives handles of the
    /// sockets of this process.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Gathered<Vec<SocketInfo>> {
        let request = self.cluster().map(|cluster| {
            let question = Question::Sockets(self.target());
            (cluster.ask(self.namespace(), question), cluster.request_timeout())
        });
        let local = self.sockets().into_iter().map(|socket| SocketInfo {
            id: socket.id(),
            node: None,
            rooms: socket.0.room_names(),
        });
        let mut value: Vec<_> = local.collect();
        let Some((request, limit)) = request else {
            return Gathered { value, missing: Vec::new() };
        };
        let missing = request.collect(limit, |node, part| {
            if let AnswerPart::Sockets(sockets) = part {
                let info = |(id, rooms)| SocketInfo { id: Id(id), node: Some(node), rooms };
                value.extend(sockets.into_iter().map(info));
            }
        });
        let missing = missing.await;
        Gathered { value, missing }
    }

    /// The number of sockets of all nodes of the [cluster](crate::cluster). It waits as
    /// [`fetch_sockets`](Self::fetch_sockets) does; [`count`](Self::count) is that of this process.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn fetch_count(&self) -> Gathered<u64> {
        let request = self.cluster().map(|cluster| {
            let question = Question::Count(self.target());
            (cluster.ask(self.namespace(), question), cluster.request_timeout())
        });
        let mut value = self.count() as u64;
        let Some((request, limit)) = request else {
            return Gathered { value, missing: Vec::new() };
        };
        let missing = request.collect(limit, |_, part| {
            value += match part {
                AnswerPart::Count(count) => count,
                // Servers of Node.js tell which they are.
                AnswerPart::Sockets(sockets) => sockets.len() as u64,
                _ => 0,
            };
        });
        let missing = missing.await;
        Gathered { value, missing }
    }

    /// Does something with these sockets on the other nodes.
    pub(crate) fn operate_elsewhere(&self, operation: impl FnOnce() -> Operation) {
        let Some(cluster) = self.cluster() else { return };
        // What is refused is counted.
        let _ = cluster.operate(self.namespace(), self.target(), operation());
    }

    fn namespace(&self) -> Arc<str> {
        Arc::from(self.hub().namespace())
    }
}

impl Hub {
    /// Whether sockets of these ids may be on other nodes, to which `publish` sends them something.
    pub(crate) fn publish_elsewhere(
        &self,
        ids: &[Id],
        publish: impl FnOnce(&Broadcast) -> ClusterDelivery,
    ) -> bool {
        if self.0.cluster.is_none() || ids.is_empty() {
            return false;
        }
        matches!(publish(&self.ids(ids)), ClusterDelivery::Published | ClusterDelivery::Held)
    }
}
