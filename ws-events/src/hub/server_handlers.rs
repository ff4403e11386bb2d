//! What is an event of another server, and which handlers does it have?

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;

use crate::cluster::NodeId;
use crate::events::data::EventData;
use crate::events::data_de::from_json;

/// An event that another node has sent by [`Hub::server_emit`](crate::Hub::server_emit).
#[derive(Clone)]
pub struct ServerEvent {
    origin: NodeId,
    namespace: Arc<str>,
    name: Arc<str>,
    /// JSON. Bytes are base64.
    json: Arc<[u8]>,
}

impl ServerEvent {
    pub(crate) fn new(
        origin: NodeId,
        namespace: Arc<str>,
        name: Arc<str>,
        data: &EventData,
    ) -> Self {
        let mut json = Vec::new();
        data.write_base64(&mut json);
        Self { origin, namespace, name, json: json.into() }
    }

    /// The node that has sent it.
    pub const fn origin(&self) -> NodeId {
        self.origin
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the event.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data, deserialised from JSON.
    ///
    /// # Errors
    ///
    /// If the data is not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        from_json(&self.json, &[])
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent")
            .field("origin", &self.origin)
            .field("name", &self.name)
            .field("data", &self.json.len())
            .finish_non_exhaustive()
    }
}

/// A handler of an event of another server.
pub(crate) type ServerHandler = dyn Fn(ServerEvent) -> BoxFuture<'static, ()> + Send + Sync;

/// The handlers of events of other servers, by their names.
#[derive(Default)]
pub(crate) struct ServerHandlers(RwLock<HashMap<Arc<str>, Vec<Arc<ServerHandler>>>>);

impl ServerHandlers {
    pub(crate) fn add(&self, event: &str, handler: Arc<ServerHandler>) {
        self.0.write().entry(Arc::from(event)).or_default().push(handler);
    }

    pub(crate) fn of(&self, event: &str) -> Vec<Arc<ServerHandler>> {
        self.0.read().get(event).cloned().unwrap_or_default()
    }
}
