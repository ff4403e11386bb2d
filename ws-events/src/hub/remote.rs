//! How does a hub do what other nodes of its cluster ask?

use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::mpsc;
use ws_core::{Message, PreparedMessage, StatusCode};

use crate::cluster::envelope::{AnswerPart, BroadcastBody, EventBody, Operation, Question, Target};
use crate::cluster::host::{ClusterHost, PresenceHost};
use crate::cluster::node::NodeId;
use crate::cluster::presence_body::{PresencePart, PresenceRecord};
use crate::cluster::responder::Responder;
use crate::cluster::seam::Cluster;
use crate::events::protocol::Content;
use crate::hub::HubShared;
use crate::hub::acks::AckCollector;
use crate::hub::bodies::{event_data, outgoing_event, remote_ack};
use crate::hub::server_handlers::{ReplySlot, ServerEvent};
use crate::hub::sessions::HubRecovery;
use crate::presence::own::{BATCH, BATCH_BYTES};
use crate::registry::rooms::RoomObserver;
use crate::socketio::ROOT;
use crate::{Hub, Socket};

/// The sockets of one part of an answer.
const CHUNK: usize = 256;

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

    fn deliver(
        &self,
        namespace: &str,
        target: Target,
        volatile: bool,
        body: BroadcastBody,
    ) -> usize {
        let Some(hub) = self.namespace(namespace) else { return 0 };
        let mut broadcast = hub.remote(target);
        if volatile {
            broadcast = broadcast.volatile();
        }
        let message = match body {
            BroadcastBody::Text(text) => Message::text_from_bytes(text).ok(),
            BroadcastBody::Binary(bytes) => Some(Message::binary(bytes)),
            BroadcastBody::Event(event) => {
                let Some(event) = outgoing_event(namespace, &event) else { return 0 };
                return broadcast.deliver(Content::Event(&event)).matched;
            }
        };
        let Some(message) = message else { return 0 };
        let message = PreparedMessage::new(message);
        broadcast.deliver(Content::Message(&message, namespace)).matched
    }

    fn missed(&self) {
        let Some(hub) = self.hub.get().and_then(Weak::upgrade).map(Hub) else { return };
        for hub in hub.0.namespaces.all().iter().chain([&hub]) {
            hub.0.recovery().into_iter().for_each(HubRecovery::count_unknown);
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
            Operation::CloseSession(code, reason) => {
                if let Some(code) = StatusCode::from_u16(code) {
                    for socket in broadcast.sockets() {
                        let _ = socket.close_session(code, &reason);
                    }
                }
            }
        }
    }

    fn answer(&self, namespace: &str, question: Question, mut responder: Responder) {
        if let Question::Presence = question {
            let hub = self.hub.get().and_then(Weak::upgrade);
            let Some(hub) = hub else { return responder.done() };
            let (version, records) = hub.presence.table().records();
            return responder.spawn(|responder| answer_presence(version, records, responder));
        }
        let Some(hub) = self.namespace(namespace) else { return responder.done() };
        match question {
            Question::Session(question) => match hub.0.shared_recovery() {
                Some(recovery) => Arc::clone(recovery).answer(question, responder),
                None => responder.done(),
            },
            Question::Count(target) => {
                responder.part(AnswerPart::Count(hub.remote(target).count() as u64));
                responder.done();
            }
            Question::Sockets(target) => {
                let sockets = hub.remote(target).sockets();
                responder.spawn(|responder| answer_sockets(sockets, responder));
            }
            // An event for the server, and what was answered.
            Question::Reply(_) | Question::Presence => responder.done(),
            Question::Acks(target, event) => {
                let Some(mut event) = outgoing_event(namespace, &event) else {
                    return responder.done();
                };
                let mut acks = hub.remote(target).collect_acks(&mut event);
                acks.set_timeout(responder.limits().acknowledgements);
                responder.spawn(|responder| answer_acks(acks, responder));
            }
        }
    }

    fn server_event(
        &self,
        origin: NodeId,
        namespace: Arc<str>,
        event: EventBody,
        responder: Option<Responder>,
    ) -> bool {
        let reply = responder.map(ReplySlot::new);
        let Some(data) = event_data(&event) else { return true };
        let event = ServerEvent::new(origin, namespace, event.name, &data, reply);
        self.server_events.try_send(event).is_ok()
    }

    fn presence(&self) -> Option<Arc<dyn PresenceHost>> {
        self.hub.get()?.upgrade()?.presence.table().shared()
    }

    #[cfg(feature = "socketio-adapter")]
    fn has_room(&self, namespace: &str, room: &str) -> bool {
        self.namespace(namespace)
            .is_some_and(|hub| hub.0.rooms.find(room).is_some() || hub.0.ids.find(room).is_some())
    }

    #[cfg(feature = "socketio-adapter")]
    fn ids(&self, namespace: &str, target: Target) -> Vec<Arc<str>> {
        let Some(hub) = self.namespace(namespace) else { return Vec::new() };
        hub.remote(target).sockets().iter().map(|socket| socket.id().0).collect()
    }

    #[cfg(feature = "socketio-adapter")]
    fn rooms(&self, namespace: &str) -> Vec<Arc<str>> {
        let Some(hub) = self.namespace(namespace) else { return Vec::new() };
        let ids = hub.everyone().sockets().into_iter().map(|socket| socket.id().0);
        ids.chain(hub.0.rooms.names()).collect()
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

/// Sends what is known of sockets to the node that has asked.
async fn answer_sockets(sockets: Vec<Socket>, mut responder: Responder) {
    for sockets in sockets.chunks(CHUNK) {
        let sockets = sockets.iter().map(described).collect();
        responder.part_wait(AnswerPart::Sockets(sockets)).await;
        tokio::task::yield_now().await;
    }
    responder.done();
}

/// Sends the acknowledgements of the sockets of this node to the node that has asked.
async fn answer_acks(mut acks: AckCollector, mut responder: Responder) {
    for ids in acks.ids().chunks(CHUNK) {
        responder.part_wait(AnswerPart::Expected(ids.to_vec())).await;
    }
    responder.part_wait(AnswerPart::AllExpected).await;
    while let Some((id, answer)) = acks.next().await {
        responder.part_wait(AnswerPart::Ack(id.0, remote_ack(answer))).await;
    }
    responder.done();
}

/// Sends the presence of this node to the node that has asked.
async fn answer_presence(version: u64, records: Vec<PresenceRecord>, mut responder: Responder) {
    let total = records.len() as u64;
    let part = |records| AnswerPart::Presence(PresencePart { version, total, records });
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for record in records {
        bytes += record.size();
        chunk.push(record);
        if chunk.len() >= BATCH || bytes >= BATCH_BYTES {
            responder.part_wait(part(std::mem::take(&mut chunk))).await;
            bytes = 0;
            tokio::task::yield_now().await;
        }
    }
    responder.part_wait(part(chunk)).await;
    responder.done();
}

/// Tells the cluster which rooms a namespace has.
pub(crate) struct ClusterRooms {
    cluster: Cluster,
    namespace: Arc<str>,
}

impl ClusterRooms {
    pub(crate) fn new(cluster: Cluster, namespace: Arc<str>) -> Self {
        cluster.add_namespace(&namespace);
        Self { cluster, namespace }
    }
}

impl Drop for ClusterRooms {
    fn drop(&mut self) {
        self.cluster.remove_namespace(&self.namespace);
    }
}

impl RoomObserver for ClusterRooms {
    fn created(&self, room: &str) {
        self.cluster.add_room(&self.namespace, room);
    }

    fn removed(&self, room: &str) {
        self.cluster.remove_room(&self.namespace, room);
    }
}
