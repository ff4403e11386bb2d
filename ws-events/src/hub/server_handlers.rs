//! What is an event of another server, and which handlers does it have?

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EncodeError;
use crate::cluster::NodeId;
use crate::cluster::envelope::AnswerPart;
use crate::cluster::responder::Responder;
use crate::events::data::EventData;
use crate::events::data_de::from_json;
use crate::events::protocol::serialize;

/// An event that another node has sent by [`Hub::server_emit`](crate::Hub::server_emit).
#[derive(Clone)]
pub struct ServerEvent {
    origin: NodeId,
    namespace: Arc<str>,
    name: Arc<str>,
    /// JSON. Bytes are base64.
    json: Arc<[u8]>,
    /// If the origin waits for an answer.
    reply: Option<Arc<ReplySlot>>,
}

/// Who waits for the answer to a server event. Without one, the origin learns that there is none.
pub(crate) struct ReplySlot(Mutex<Option<Responder>>);

impl ReplySlot {
    pub(crate) fn new(responder: Responder) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(responder))))
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if let Some(responder) = self.0.get_mut().take() {
            responder.done();
        }
    }
}

/// The answer of another node to an event: see [`ServerReply::ask`].
#[derive(Clone)]
pub struct ServerReply {
    node: NodeId,
    json: Bytes,
}

impl ServerReply {
    pub(crate) const fn new(node: NodeId, json: Bytes) -> Self {
        Self { node, json }
    }

    /// The node that has answered.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The answer, deserialised from JSON.
    ///
    /// # Errors
    ///
    /// If the answer is not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        from_json(&self.json, &[])
    }
}

impl fmt::Debug for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerReply")
            .field("node", &self.node)
            .field("json", &self.json.len())
            .finish()
    }
}

impl ServerEvent {
    pub(crate) fn new(
        origin: NodeId,
        namespace: Arc<str>,
        name: Arc<str>,
        data: &EventData,
        reply: Option<Arc<ReplySlot>>,
    ) -> Self {
        let mut json = Vec::new();
        data.write_base64(&mut json);
        Self { origin, namespace, name, json: json.into(), reply }
    }

    /// Answers an event that was sent by [`ServerReply::ask`]. Returns `false` if the origin does
    /// not wait for an answer, or has got one of this node.
    ///
    /// If all handlers end without an answer, the origin learns that there is none. A handler can
    /// answer later by a clone of the event.
    ///
    /// # Errors
    ///
    /// If the answer cannot be encoded. Nothing is sent then.
    pub fn reply<T: Serialize + ?Sized>(&self, answer: &T) -> Result<bool, EncodeError> {
        let mut json = Vec::new();
        serialize(answer)?.write_base64(&mut json);
        let Some(mut responder) = self.reply.as_ref().and_then(|reply| reply.0.lock().take())
        else {
            return Ok(false);
        };
        responder.part(AnswerPart::Reply(json.into()));
        responder.done();
        Ok(true)
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
