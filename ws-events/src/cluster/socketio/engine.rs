//! What does a hub do as one of the servers that `@socket.io/redis-adapter` joins?
//!
//! Longer than 400 lines because the task is read together with what it shares with the senders.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Duration, sleep};

use super::port::AdapterPort;
use super::wire::{NodeAnswer, NodeBroadcast, NodeMessage, NodeQuestion, NodeRequest};
use super::write;
use crate::broker::{
    BrokerSink, BrokerStatus, ChannelBroker, ChannelName, ChannelSink, PublishError,
};
use crate::cluster::answers::UNKNOWN;
use crate::cluster::config::ClusterSettings;
use crate::cluster::core::ClusterCore;
use crate::cluster::envelope::{
    AnswerPart, BroadcastBody, EventBody, ListedSocket, Operation, Question, Target,
};
use crate::cluster::fields::Malformed;
use crate::cluster::gather::PendingRequest;
use crate::cluster::host::ClusterHost;
#[cfg(feature = "metrics")]
use crate::cluster::metrics::ClusterMeter;
use crate::cluster::node::NodeId;
use crate::cluster::notices::{HubEvent, Notices};
use crate::cluster::responder::{AnswerLimits, LONGEST_ACK, Responder};
use crate::cluster::stats::{ClusterStats, count};
use crate::delivery::enqueue::ClusterDelivery;

/// Messages that are handled before other tasks run.
const TURN: usize = 64;

/// Sockets that take about as long as a message.
const SOCKETS: usize = 64;

/// How often the task looks whether the hub still exists.
const TICK: Duration = Duration::from_secs(1);

/// How long acknowledgements are awaited, if the server that asks does not say it. It cannot cancel
/// its request.
const DEFAULT_ACK: Duration = Duration::from_secs(60);

/// The longest id of a server or a request that is answered, in bytes.
const MAX_ID: usize = 256;

/// What the handles of a hub and the task of its cluster share.
pub(crate) struct SocketIoEngine {
    channels: Box<dyn ChannelBroker>,
    /// This server.
    uid: String,
    key: String,
    is_emitter: bool,
    inbox: ChannelInbox,
    /// The number of hubs of each namespace: a new one may exist before the old one is gone.
    namespaces: Mutex<HashMap<Arc<str>, usize>>,
    last_answer: AtomicU64,
    pub(crate) core: ClusterCore,
}

/// What has arrived, and is not handled.
struct ChannelInbox {
    limits: (usize, usize),
    waiting: Mutex<(VecDeque<ChannelItem>, usize)>,
}

enum ChannelItem {
    Message(Box<str>, Bytes),
    Status(BrokerStatus),
    ReceivedBy(u64, u64),
}

/// What a channel is for, and its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// With the room, if there is one.
    Broadcast(&'a str, Option<&'a str>),
    Request(&'a str),
    Answer,
}

impl SocketIoEngine {
    /// Starts the connection and the task. The settings were checked.
    pub(crate) fn start(
        channels: Box<dyn ChannelBroker>,
        settings: ClusterSettings,
        notices: Arc<Notices>,
        host: Arc<dyn ClusterHost>,
    ) -> Arc<Self> {
        let engine = Arc::new(Self {
            channels,
            uid: NodeId::random().to_string(),
            core: ClusterCore::new(&settings, notices),
            key: settings.prefix,
            is_emitter: settings.is_emitter,
            inbox: ChannelInbox { limits: settings.inbox, waiting: Mutex::default() },
            namespaces: Mutex::default(),
            last_answer: AtomicU64::new(0),
        });
        engine.channels.start(Arc::new(AdapterSink(Arc::downgrade(&engine))));
        tokio::spawn(run(Arc::clone(&engine), host));
        engine
    }

    /// The counters. Nothing tells of the other servers when they come and go.
    pub(crate) fn stats(&self) -> ClusterStats {
        self.core.counters.stats()
    }

    /// A hub of a namespace was made.
    pub(crate) fn add_namespace(&self, namespace: &Arc<str>) {
        let mut namespaces = self.namespaces.lock();
        let hubs = namespaces.entry(Arc::clone(namespace)).or_default();
        *hubs += 1;
        if *hubs == 1 {
            self.channels.subscribe(&self.names(namespace));
        }
    }

    /// A hub of a namespace is gone.
    pub(crate) fn remove_namespace(&self, namespace: &str) {
        let mut namespaces = self.namespaces.lock();
        let Some(hubs) = namespaces.get_mut(namespace) else { return };
        *hubs -= 1;
        if *hubs == 0 {
            namespaces.remove(namespace);
            self.channels.unsubscribe(&self.names(namespace));
        }
    }

    pub(crate) fn broadcast(
        &self,
        namespace: &str,
        target: &Target,
        volatile: bool,
        body: &BroadcastBody,
    ) -> ClusterDelivery {
        match write::broadcast(&self.uid, namespace, target, volatile, body) {
            None => ClusterDelivery::Local,
            Some((room, message)) => {
                let all = self.broadcast_channel(namespace);
                // A server without the room need not read it.
                let channel = room.map_or_else(|| all.clone(), |room| format!("{all}{room}#"));
                self.delivery(self.publish(&channel, message, None))
            }
        }
    }

    pub(crate) fn operate(
        &self,
        namespace: &str,
        target: &Target,
        operation: &Operation,
    ) -> ClusterDelivery {
        match write::operation(&self.uid, target, operation) {
            None => ClusterDelivery::Local,
            Some(request) => {
                self.delivery(self.publish(&self.request_channel(namespace), request, None))
            }
        }
    }

    pub(crate) fn server_event(&self, namespace: &str, event: &EventBody) -> ClusterDelivery {
        let request = write::server_event(&self.uid, None, event);
        self.delivery(self.publish(&self.request_channel(namespace), request, None))
    }

    /// Asks all servers.
    pub(crate) fn ask(&self, namespace: &str, question: Question) -> PendingRequest {
        let mut pending = self.core.requests.register([UNKNOWN].into());
        if pending.open.is_empty() {
            return pending;
        }
        let (uid, id) = (&self.uid, self.request_id(pending.id));
        if let Question::Acks(..) = question {
            self.core.requests.counted(pending.id, |answers, _| answers.expect_clients());
        }
        let request = match question {
            Question::Sockets(target) | Question::Count(target) => write::fetch(uid, &id, &target),
            Question::Acks(target, event) => {
                write::broadcast_with_acks(uid, namespace, &id, &target, event)
            }
            Question::Reply(event) => Some(write::server_event(uid, Some(&id), &event)),
            // There are no such nodes.
            Question::Presence | Question::Session(_) => None,
        };
        let channel = self.request_channel(namespace);
        match request {
            // The target has no sockets.
            None => pending.open.clear(),
            Some(request) => {
                if self.publish(&channel, request, Some(pending.id)).is_err() {
                    pending.give_up();
                }
            }
        }
        pending
    }

    pub(super) fn publish(
        &self,
        channel: &str,
        message: Bytes,
        receipt: Option<u64>,
    ) -> Result<(), PublishError> {
        self.core.published(self.channels.publish(channel, message, receipt))
    }

    fn delivery(&self, published: Result<(), PublishError>) -> ClusterDelivery {
        published.map_or_else(|error| self.core.refused(error), |()| ClusterDelivery::Published)
    }

    fn broadcast_channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.key)
    }

    fn request_channel(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.key)
    }

    /// What is subscribed to for a namespace. A namespace with `#` would be mistaken for another one.
    fn names(&self, namespace: &str) -> Vec<ChannelName> {
        if namespace.contains('#') {
            return Vec::new();
        }
        let answers = format!("{}-response#{namespace}#", self.key);
        let own = format!("{answers}{}#", self.uid);
        let mut names = vec![ChannelName::Exact(answers.into()), ChannelName::Exact(own.into())];
        if !self.is_emitter {
            names.push(ChannelName::Prefix(self.broadcast_channel(namespace).into()));
            names.push(ChannelName::Exact(self.request_channel(namespace).into()));
        }
        names
    }

    /// The id of a request: it has to be unique among all servers.
    fn request_id(&self, number: u64) -> String {
        format!("{}{number:x}", self.uid)
    }

    /// The number of a request of this server.
    fn request_number(&self, id: &str) -> Option<u64> {
        u64::from_str_radix(id.strip_prefix(self.uid.as_str())?, 16).ok()
    }

    fn malformed(&self) {
        count(&self.core.counters.malformed, 1);
    }

    /// Returns about how much work it was.
    fn handle(self: &Arc<Self>, host: &dyn ClusterHost, item: ChannelItem) -> usize {
        match item {
            ChannelItem::Message(channel, message) => {
                let handled = self.handle_message(host, &channel, &message);
                return 1 + handled.unwrap_or_else(|Malformed| {
                    self.malformed();
                    0
                });
            }
            ChannelItem::Status(status) => self.handle_status(status),
            ChannelItem::ReceivedBy(request, servers) => {
                self.core
                    .requests
                    .counted(request, |answers, send| answers.received_by(servers, send));
            }
        }
        1
    }

    fn handle_status(&self, status: BrokerStatus) {
        self.core.counters.note_status(&status);
        match status {
            BrokerStatus::Up => self.core.notices.report(HubEvent::BrokerUp),
            BrokerStatus::Down { cause } => {
                self.core.notices.broker_down(self.channels.capabilities().name, cause);
            }
            BrokerStatus::Lost { envelopes } => {
                self.core.notices.report(HubEvent::Unsent { envelopes });
            }
        }
    }

    fn handle_message(
        self: &Arc<Self>,
        host: &dyn ClusterHost,
        channel: &str,
        message: &[u8],
    ) -> Result<usize, Malformed> {
        if message.len() > self.channels.capabilities().max_payload {
            return Err(Malformed);
        }
        match place(&self.key, channel).ok_or(Malformed)? {
            Place::Broadcast(namespace, room) => {
                if room.is_some_and(|room| !host.has_room(namespace, room)) {
                    return Ok(0);
                }
                let message = NodeMessage::read(message)?;
                let Some(broadcast) = message.broadcast(namespace, &self.uid)? else {
                    return Ok(0);
                };
                count(&self.core.counters.received, 1);
                let NodeBroadcast { target, volatile, body } = broadcast;
                Ok(host.deliver(namespace, target, volatile, body) / SOCKETS)
            }
            Place::Request(namespace) => {
                let request = NodeMessage::read(message)?.request(namespace)?;
                self.handle_request(host, namespace, request);
                Ok(0)
            }
            // Most answers are for others.
            Place::Answer if !self.core.requests.is_waiting() => Ok(0),
            Place::Answer => {
                let message = NodeMessage::read(message)?;
                let id = message.answered()?;
                if let Some(number) = id.and_then(|id| self.request_number(&id)) {
                    self.handle_answer(number, message.answer()?)?;
                }
                Ok(0)
            }
        }
    }

    fn handle_answer(&self, number: u64, answer: NodeAnswer) -> Result<(), Malformed> {
        let mut is_possible = true;
        self.core.requests.counted(number, |answers, send| match answer {
            NodeAnswer::Sockets(sockets) => {
                answers.answer(vec![AnswerPart::Sockets(sockets)], send);
            }
            NodeAnswer::Reply(json) => answers.answer(vec![AnswerPart::Reply(json)], send),
            NodeAnswer::ClientCount(count) => is_possible = answers.clients(count, send),
            NodeAnswer::Ack(ack) => answers.acknowledgement(ack, send),
        });
        if is_possible { Ok(()) } else { Err(Malformed) }
    }

    fn handle_request(
        self: &Arc<Self>,
        host: &dyn ClusterHost,
        namespace: &str,
        request: NodeRequest,
    ) {
        let NodeRequest { uid, id, what } = request;
        if uid.as_deref() == Some(&*self.uid) {
            // It was done here already. Redis has counted this server, too.
            if let Some(number) = id.and_then(|id| self.request_number(&id)) {
                self.core.requests.counted(number, |answers, send| answers.own(send));
            }
            return;
        }
        count(&self.core.counters.received, 1);
        let channel = self.answer_channel(namespace, uid.as_deref());
        let id = id.filter(|id| id.len() <= MAX_ID);
        match what {
            NodeQuestion::Sockets(target) => {
                if let Some(id) = id {
                    let responder = self.responder(channel, id, Some(Vec::new()), None);
                    host.answer(namespace, Question::Sockets(target), responder);
                }
            }
            NodeQuestion::Acks(target, event, limit) => {
                if let Some(id) = id {
                    let responder = self.responder(channel, id, None, limit);
                    host.answer(namespace, Question::Acks(target, event), responder);
                }
            }
            NodeQuestion::ServerEvent(event) => {
                let origin = node_of(uid.as_deref().unwrap_or_default());
                let responder = id.map(|id| self.responder(channel, id, None, None));
                if !host.server_event(origin, namespace.into(), event, responder) {
                    count(&self.core.counters.server_events_dropped, 1);
                }
            }
            NodeQuestion::Operate(target, operations) => {
                for operation in operations {
                    host.operate(namespace, target.clone(), operation);
                }
                if let Some(id) = id {
                    // Who is refused waits until its timeout.
                    let _ = self.publish(&channel, write::done_answer(&id), None);
                }
            }
            NodeQuestion::Ids(target) => {
                if let Some(id) = id {
                    let ids = host.ids(namespace, target);
                    let _ = self.publish(&channel, write::ids_answer(&id, &ids), None);
                }
            }
            NodeQuestion::Rooms => {
                if let Some(id) = id {
                    let rooms = write::rooms_answer(&id, &host.rooms(namespace));
                    let _ = self.publish(&channel, rooms, None);
                }
            }
            NodeQuestion::Unknown => {}
        }
    }

    /// Where a server waits for an answer.
    fn answer_channel(&self, namespace: &str, uid: Option<&str>) -> String {
        let all = format!("{}-response#{namespace}#", self.key);
        match uid.filter(|uid| uid.len() <= MAX_ID) {
            Some(uid) => format!("{all}{uid}#"),
            None => all,
        }
    }

    /// With `sockets`, the answer is a list of them. `limit`: how long acknowledgements are awaited.
    fn responder(
        self: &Arc<Self>,
        channel: String,
        id: String,
        sockets: Option<Vec<ListedSocket>>,
        limit: Option<Duration>,
    ) -> Responder {
        let request = (UNKNOWN, self.last_answer.fetch_add(1, Relaxed));
        let port = AdapterPort { engine: Arc::clone(self), channel, id, sockets, clients: 0 };
        let limits = AnswerLimits {
            part: self.core.request_timeout,
            acknowledgements: limit.unwrap_or(DEFAULT_ACK).min(LONGEST_ACK),
        };
        Responder::new(Arc::clone(&self.core.answering), request, Box::new(port), limits)
    }
}

impl fmt::Debug for SocketIoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoEngine").field("uid", &self.uid).finish_non_exhaustive()
    }
}

/// The task: it ends with the hub.
async fn run(engine: Arc<SocketIoEngine>, host: Arc<dyn ClusterHost>) {
    #[cfg(feature = "metrics")]
    let mut meter =
        ClusterMeter::new(Arc::clone(&engine.core.counters), tokio::time::Instant::now());
    let deadline = loop {
        if let Some(deadline) = engine.core.deadline(&*host) {
            break deadline;
        }
        let mut handled = 0;
        while handled < TURN
            && let Some(item) = engine.inbox.take()
        {
            handled += engine.handle(&*host, item);
        }
        #[cfg(feature = "metrics")]
        meter.tick(tokio::time::Instant::now(), || engine.stats().nodes);
        if handled >= TURN {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = engine.core.wake.notified() => {}
            () = sleep(TICK) => {}
        }
    };
    engine.channels.shutdown(deadline).await;
    while let Some(item) = engine.inbox.take() {
        if let ChannelItem::Status(status @ BrokerStatus::Lost { .. }) = item {
            engine.handle_status(status);
        }
    }
    engine.core.ended();
}

/// Which server is it? The `uid` of a hub is the text of its number.
fn node_of(uid: &str) -> NodeId {
    let number = u64::from_str_radix(uid, 16).ok().filter(|_| uid.len() == 16);
    // Those of Node.js have six characters, and an emitter seven.
    let packed = || uid.bytes().fold(0, |number: u64, byte| (number << 8) | u64::from(byte));
    NodeId(number.unwrap_or_else(packed))
}

fn place<'a>(key: &str, channel: &'a str) -> Option<Place<'a>> {
    let rest = channel.strip_prefix(key)?;
    let named = |rest: &'a str| rest.split_once('#');
    if let Some(rest) = rest.strip_prefix('#') {
        let (namespace, room) = named(rest)?;
        return Some(Place::Broadcast(namespace, room.strip_suffix('#')));
    }
    if let Some(rest) = rest.strip_prefix("-request#") {
        return Some(Place::Request(named(rest)?.0));
    }
    rest.strip_prefix("-response#").map(|_| Place::Answer)
}

impl ChannelInbox {
    /// Puts a message in. Returns `false` if it does not fit.
    fn put(&self, channel: &str, message: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        let (most, most_bytes) = self.limits;
        let bytes = waiting.1.saturating_add(channel.len() + message.len());
        if waiting.0.len() >= most || bytes > most_bytes {
            return false;
        }
        waiting.1 = bytes;
        waiting.0.push_back(ChannelItem::Message(channel.into(), message));
        true
    }

    /// Puts in what always fits: there is little of it.
    fn put_other(&self, item: ChannelItem) {
        self.waiting.lock().0.push_back(item);
    }

    fn take(&self) -> Option<ChannelItem> {
        let mut waiting = self.waiting.lock();
        let item = waiting.0.pop_front()?;
        if let ChannelItem::Message(channel, message) = &item {
            waiting.1 -= channel.len() + message.len();
        }
        if waiting.0.is_empty() {
            // A burst leaves no memory behind.
            waiting.0.shrink_to(64);
        }
        Some(item)
    }
}

/// Puts what arrives into the inbox.
struct AdapterSink(Weak<SocketIoEngine>);

impl AdapterSink {
    fn put(&self, item: ChannelItem) {
        if let Some(engine) = self.0.upgrade() {
            engine.inbox.put_other(item);
            engine.core.wake.notify_one();
        }
    }
}

impl BrokerSink for AdapterSink {
    fn message(&self, channel: &str, message: Bytes) {
        let Some(engine) = self.0.upgrade() else { return };
        if engine.inbox.put(channel, message) {
            engine.core.wake.notify_one();
        } else {
            count(&engine.core.counters.inbox_full, 1);
        }
    }

    fn status(&self, status: BrokerStatus) {
        self.put(ChannelItem::Status(status));
    }
}

impl ChannelSink for AdapterSink {
    fn received_by(&self, receipt: u64, subscribers: u64) {
        self.put(ChannelItem::ReceivedBy(receipt, subscribers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_says_what_a_message_is() {
        let check = |channel, expected| assert_eq!(place("socket.io", channel), expected);
        check("socket.io#/#", Some(Place::Broadcast("/", None)));
        check("socket.io#/admin#a#b#", Some(Place::Broadcast("/admin", Some("a#b"))));
        check("socket.io#/##", Some(Place::Broadcast("/", Some(""))));
        check("socket.io-request#/#", Some(Place::Request("/")));
        check("socket.io-response#/#", Some(Place::Answer));
        check("socket.io-response#/#abc#", Some(Place::Answer));
        for channel in ["", "socket.io", "socket.io#", "socket.io#/", "other#/#", "socket.io2#/#"] {
            check(channel, None);
        }
    }

    #[test]
    fn a_server_has_one_number() {
        let own = NodeId(0x0123_4567_89AB_CDEF);
        assert_eq!(node_of(&own.to_string()), own);
        assert_eq!(node_of("ab"), NodeId(0x6162));
        assert_ne!(node_of("emitter"), node_of("emittes"));
        assert_eq!(node_of(""), NodeId(0));
    }

    #[test]
    fn an_inbox_is_bounded() {
        let inbox = |limits| ChannelInbox { limits, waiting: Mutex::default() };
        let few = inbox((2, 100));
        assert_eq!([1, 2, 3].map(|_| few.put("c", Bytes::new())), [true, true, false]);
        assert!(few.take().is_some() && few.put("c", Bytes::new()));
        let small = inbox((100, 10));
        assert_eq!([4, 4, 4].map(|len| small.put("c", vec![0; len].into())), [true, true, false]);
        assert!(small.take().is_some() && small.take().is_some() && small.take().is_none());
        assert!(small.put("c", vec![0; 9].into()) && !small.put("", vec![0; 1].into()));
    }
}
