//! How do the servers of a cluster send events to each other?

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures::FutureExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use ws_core::Escaped;

use crate::cluster::Gathered;
use crate::cluster::envelope::{AnswerPart, Question};
use crate::events::protocol::OutgoingEvent;
use crate::hub::HubShared;
use crate::hub::bodies::event_body;
use crate::hub::server_handlers::{ServerEvent, ServerHandler, ServerReply};
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
        Ok(cluster.server_event(Arc::from(self.namespace()), event_body(&event)))
    }

    /// Adds a handler of an event that other nodes send by [`server_emit`](Self::server_emit).
    ///
    /// A handler answers by [`ServerEvent::reply`], if the other node waits for it. The handlers of
    /// all events of a hub, with its namespaces, are called one after the other, in
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

impl ServerReply {
    /// Sends an event to the handlers of all other nodes, as [`Hub::server_emit`] does, and waits for
    /// their answers: see [`ServerEvent::reply`]. A node whose handlers do not answer is among the missing. Without a
    /// [cluster](crate::cluster), nothing happens.
    ///
    /// Waits for at most [`request_timeout`](crate::cluster::ClusterConfig::request_timeout), and
    /// not for nodes that go down.
    ///
    /// ```
    /// use ws_events::ServerReply;
    ///
    /// # async fn example(hub: &ws_events::Hub) -> Result<(), ws_events::EncodeError> {
    /// let jobs = ServerReply::ask(hub, "jobs", &()).await?;
    /// let running: u32 = jobs.value.iter().filter_map(|reply| reply.json::<u32>().ok()).sum();
    /// println!("{running} jobs; no answer of {:?}", jobs.missing);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded. Nothing is sent then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the answers are ignored. The handlers run nevertheless.
    #[doc(alias = "serverSideEmitWithAck")]
    pub async fn ask<T: Serialize + ?Sized>(
        hub: &Hub,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Gathered<Vec<Self>>, EncodeError> {
        let event = OutgoingEvent::new(hub.namespace(), event.as_ref(), data)?;
        let Some(cluster) = &hub.0.cluster else { return Ok(Gathered::default()) };
        let question = Question::Reply(event_body(&event));
        let request = cluster.ask(Arc::from(hub.namespace()), question);
        let mut value = Vec::new();
        let missing = request.collect_one_each(cluster.request_timeout(), |node, part| {
            if let AnswerPart::Reply(json) = part {
                value.push(Self::new(node, json));
            }
        });
        let missing = missing.await;
        Ok(Gathered { value, missing })
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
