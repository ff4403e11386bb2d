//! How do the servers of a cluster send events to each other?

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures::FutureExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use ws_core::Escaped;

use crate::cluster::envelope::Body;
use crate::events::protocol::OutgoingEvent;
use crate::hub::HubShared;
use crate::hub::bodies::event_body;
use crate::hub::server_handlers::{ServerEvent, ServerHandler};
use crate::{ClusterDelivery, EncodeError, Hub};

impl Hub {
    /// Sends an event to the handlers of all other nodes: see [`on_server`](Self::on_server). Sockets
    /// do not get it. Without a [cluster](crate::cluster), nothing happens.
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded. Nothing is sent then.
    #[doc(alias = "serverSideEmit")]
    pub fn server_emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<ClusterDelivery, EncodeError> {
        let event = OutgoingEvent::new(self.namespace(), event.as_ref(), data)?;
        let Some(cluster) = &self.0.cluster else { return Ok(ClusterDelivery::Local) };
        let namespace = Arc::from(self.namespace());
        let body = Body::ServerEvent { namespace, event: event_body(&event) };
        Ok(cluster.publish_to_all(&body))
    }

    /// Adds a handler of an event that other nodes send by [`server_emit`](Self::server_emit).
    ///
    /// The handlers of all events of a hub, with its namespaces, are called one after the other, in
    /// the order in which the events arrived. Up to 1,024 events wait for them; further ones are
    /// dropped and [counted](crate::cluster::ClusterStats::server_events_dropped). A panic ends the
    /// handler, and is logged.
    ///
    /// ```
    /// # let hub = ws_events::Hub::new();
    /// use ws_events::ServerEvent;
    ///
    /// hub.on_server("reload", async |event: ServerEvent| {
    ///     println!("{} says: {:?}", event.origin(), event.json::<String>());
    /// });
    /// ```
    #[doc(alias = "serverSideEmit")]
    pub fn on_server<F, Fut>(&self, event: impl AsRef<str>, handler: F)
    where
        F: Fn(ServerEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler: Arc<ServerHandler> = Arc::new(move |event| Box::pin(handler(event)));
        self.0.server_handlers.add(event.as_ref(), handler);
    }
}

/// Calls the handlers of events of other servers, until the cluster ends.
pub(crate) async fn run_handlers(hub: Weak<HubShared>, mut events: mpsc::Receiver<ServerEvent>) {
    while let Some(event) = events.recv().await {
        let handlers = {
            let Some(hub) = hub.upgrade().map(Hub) else { return };
            let Some(namespace) = hub.existing(event.namespace()) else { continue };
            namespace.0.server_handlers.of(event.name())
        };
        for handler in handlers {
            let handling = async { handler(event.clone()).await };
            if AssertUnwindSafe(handling).catch_unwind().await.is_err() {
                let event = Escaped::new(event.name());
                tracing::error!(%event, "a handler of a server event has panicked");
            }
        }
    }
}
