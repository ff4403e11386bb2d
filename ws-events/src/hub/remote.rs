//! How does a hub do what other nodes of its cluster ask?

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_core::{Message, PreparedMessage, StatusCode};

use crate::cluster::engine::{ClusterEngine, Responder};
use crate::cluster::envelope::{
    AnswerPart, BroadcastBody, EventBody, Operation, Question, RemoteAck, Target,
};
use crate::cluster::host::ClusterHost;
use crate::cluster::node::NodeId;
use crate::events::data::EventData;
use crate::events::protocol::{Content, OutgoingEvent, PeerData, is_valid_name};
use crate::events::shape::ArgShape;
use crate::hub::HubShared;
use crate::hub::ack_collector::AckCollector;
use crate::hub::server_events::ServerEvent;
use crate::registry::rooms::RoomObserver;
use crate::socketio::ROOT;
use crate::{AckError, EmitError, Hub, Id, Socket};

/// The sockets of one part of an answer.
const CHUNK: usize = 256;

/// How long a node waits for acknowledgements that another node has asked for. That node cancels
/// the request when it has waited long enough.
const LONGEST_ACK: Duration = Duration::from_secs(600);

/// The server events that wait for their handlers.
pub(crate) const MAX_SERVER_EVENTS: usize = 1024;

/// The hub of this process, for its cluster.
pub(crate) struct RemoteHost {
    /// Not set while the hub is being built.
    hub: OnceLock<Weak<HubShared>>,
    server_events: mpsc::Sender<ServerEvent>,
}

impl RemoteHost {
    pub(crate) const fn new(server_events: mpsc::Sender<ServerEvent>) -> Self {
        Self { hub: OnceLock::new(), server_events }
    }

    /// The hub is built.
    pub(crate) fn set_hub(&self, hub: &Hub) {
        let _ = self.hub.set(Arc::downgrade(&hub.0));
    }

    /// The namespace with this name, if it exists here.
    fn namespace(&self, name: &str) -> Option<Hub> {
        Hub(self.hub.get()?.upgrade()?).existing(name)
    }
}

impl ClusterHost for RemoteHost {
    fn is_alive(&self) -> bool {
        self.hub.get().is_none_or(|hub| hub.strong_count() > 0)
    }

    fn deliver(&self, namespace: &str, target: Target, volatile: bool, body: BroadcastBody) {
        let Some(hub) = self.namespace(namespace) else { return };
        let mut broadcast = hub.remote(target);
        if volatile {
            broadcast = broadcast.volatile();
        }
        let message = match body {
            BroadcastBody::Text(text) => Message::text_from_bytes(text).ok(),
            BroadcastBody::Binary(bytes) => Some(Message::binary(bytes)),
            BroadcastBody::Event(event) => {
                if let Some(event) = outgoing_event(namespace, &event) {
                    broadcast.deliver(Content::Event(&event));
                }
                return;
            }
        };
        if let Some(message) = message {
            broadcast.deliver(Content::Message(&PreparedMessage::new(message), namespace));
        }
    }

    fn operate(&self, namespace: &str, target: Target, operation: Operation) {
        let Some(hub) = self.namespace(namespace) else { return };
        let broadcast = hub.remote(target);
        match operation {
            Operation::Join(room) => _ = broadcast.join(room),
            Operation::Leave(room) => _ = broadcast.leave(room),
            // It was checked by the sender, and is again.
            Operation::Close(code, reason) => {
                if let Some(code) = StatusCode::from_u16(code) {
                    let _ = broadcast.close(code, &reason);
                }
            }
        }
    }

    fn answer(&self, namespace: &str, question: Question, mut responder: Responder) {
        let Some(hub) = self.namespace(namespace) else { return responder.done() };
        match question {
            Question::Count(target) => {
                responder.part(AnswerPart::Count(hub.remote(target).count() as u64));
                responder.done();
            }
            Question::Sockets(target) => {
                let sockets = hub.remote(target).sockets();
                for sockets in sockets.chunks(CHUNK) {
                    responder.part(AnswerPart::Sockets(sockets.iter().map(described).collect()));
                }
                responder.done();
            }
            Question::Acks(target, event) => {
                let Some(mut event) = outgoing_event(namespace, &event) else {
                    return responder.done();
                };
                let acks = hub.remote(target).collect_acks(&mut event);
                responder.spawn(|responder| answer_acks(acks, responder));
            }
        }
    }

    fn server_event(&self, origin: NodeId, namespace: Arc<str>, event: EventBody) -> bool {
        let Some(data) = event_data(&event) else { return true };
        let event = ServerEvent::new(origin, namespace, event.name, &data);
        self.server_events.try_send(event).is_ok()
    }

    fn sockets(&self) -> u64 {
        let Some(hub) = self.hub.get().and_then(Weak::upgrade).map(Hub) else { return 0 };
        let namespaces = hub.0.namespaces.all();
        namespaces.iter().chain([&hub]).map(|hub| hub.len() as u64).sum()
    }
}

impl Hub {
    /// The namespace with this name, if it exists.
    pub(crate) fn existing(&self, name: &str) -> Option<Self> {
        if name == ROOT { Some(self.clone()) } else { self.0.namespaces.find(name) }
    }
}

fn described(socket: &Socket) -> (Arc<str>, Vec<Arc<str>>) {
    (socket.id().0, socket.0.room_names())
}

/// Sends the acknowledgements of the sockets of this node to the node that has asked.
async fn answer_acks(mut acks: AckCollector, mut responder: Responder) {
    for ids in acks.ids().chunks(CHUNK) {
        responder.part(AnswerPart::Expected(ids.to_vec()));
    }
    responder.part(AnswerPart::AllExpected);
    let answering = async {
        while let Some((id, answer)) = acks.next().await {
            responder.part(AnswerPart::Ack(id.0, remote_ack(answer)));
        }
    };
    let _ = timeout(LONGEST_ACK, answering).await;
    responder.done();
}

/// The codes of errors between nodes.
mod code {
    pub(super) const DISCONNECTED: u8 = 1;
    pub(super) const TOO_MANY: u8 = 2;
    pub(super) const UNSUPPORTED: u8 = 3;
    pub(super) const FULL: u8 = 4;
    pub(super) const SLOW_CONSUMER: u8 = 5;
    pub(super) const CLOSED: u8 = 6;
    pub(super) const TIMEOUT: u8 = 7;
}

fn remote_ack(answer: Result<PeerData, AckError>) -> RemoteAck {
    let code = match answer {
        Ok(PeerData { json, attachments }) => return RemoteAck::Data(json.to_bytes(), attachments),
        Err(AckError::TooMany { limit }) => return RemoteAck::Failed(code::TOO_MANY, limit as u64),
        Err(AckError::Timeout) => code::TIMEOUT,
        Err(AckError::Disconnected) => code::DISCONNECTED,
        Err(AckError::Unsupported) => code::UNSUPPORTED,
        Err(AckError::Emit(EmitError::Full)) => code::FULL,
        Err(AckError::Emit(EmitError::SlowConsumer)) => code::SLOW_CONSUMER,
        Err(AckError::Emit(_) | AckError::Decode(_)) => code::CLOSED,
    };
    RemoteAck::Failed(code, 0)
}

pub(crate) fn local_ack(ack: RemoteAck) -> Result<PeerData, AckError> {
    Err(match ack {
        RemoteAck::Data(json, attachments) => {
            let json = Message::text_from_bytes(json).unwrap_or_else(Message::binary);
            return Ok(PeerData { json, attachments });
        }
        RemoteAck::Failed(code::TIMEOUT, _) => AckError::Timeout,
        RemoteAck::Failed(code::TOO_MANY, limit) => {
            AckError::TooMany { limit: usize::try_from(limit).unwrap_or(usize::MAX) }
        }
        RemoteAck::Failed(code::UNSUPPORTED, _) => AckError::Unsupported,
        RemoteAck::Failed(code::FULL, _) => AckError::Emit(EmitError::Full),
        RemoteAck::Failed(code::SLOW_CONSUMER, _) => AckError::Emit(EmitError::SlowConsumer),
        RemoteAck::Failed(code::CLOSED, _) => AckError::Emit(EmitError::Closed),
        RemoteAck::Failed(..) => AckError::Disconnected,
    })
}

/// The event of another node, if its parts fit together.
fn outgoing_event<'a>(namespace: &'a str, event: &'a EventBody) -> Option<OutgoingEvent<'a>> {
    if !is_valid_name(&event.name) {
        return None;
    }
    Some(OutgoingEvent { namespace, name: &event.name, data: event_data(event)?, ack: None })
}

fn event_data(event: &EventBody) -> Option<EventData> {
    let part = |(place, bytes): &(u64, Bytes)| Some((usize::try_from(*place).ok()?, bytes.clone()));
    let bytes: Option<Vec<_>> = event.bytes.iter().map(part).collect();
    EventData::from_parts(event.json.to_vec(), bytes?, ArgShape::from_code(event.shape)?)
}

/// An event, for other nodes.
pub(crate) fn event_body(event: &OutgoingEvent<'_>) -> EventBody {
    let (json, bytes, shape) = event.data.parts();
    EventBody {
        name: Arc::from(event.name),
        json: Bytes::copy_from_slice(json),
        bytes: bytes.iter().map(|(place, bytes)| (*place as u64, bytes.clone())).collect(),
        shape: shape.code(),
    }
}

/// What a broadcast sends, for other nodes.
pub(crate) fn broadcast_body(content: Content<'_>) -> BroadcastBody {
    match content {
        Content::Event(event) => BroadcastBody::Event(event_body(event)),
        Content::Message(message, _) => {
            let message = message.message();
            let bytes = message.to_bytes();
            if message.is_text() {
                BroadcastBody::Text(bytes)
            } else {
                BroadcastBody::Binary(bytes)
            }
        }
    }
}

/// Tells the cluster which rooms a namespace has.
pub(crate) struct ClusterRooms {
    pub(crate) cluster: Arc<ClusterEngine>,
    pub(crate) namespace: Arc<str>,
}

impl RoomObserver for ClusterRooms {
    fn created(&self, room: &str) {
        self.cluster.add_room(&self.namespace, room);
    }

    fn removed(&self, room: &str) {
        self.cluster.remove_room(&self.namespace, room);
    }
}

/// The id of a socket of any node.
pub(crate) const fn remote_id(id: Arc<str>) -> Id {
    Id(id)
}
