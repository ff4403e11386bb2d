//! What does a node of a cluster do: publish, receive, and watch the others?
//!
//! Longer than 400 lines because the task of the cluster is read together with what it shares with
//! the senders.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant, sleep_until};

use super::config::{ClusterSettings, DeliveryOrder};
use super::core::ClusterCore;
use super::envelope::{AnswerPart, Body, EventBody, HeartbeatBody, Question, Target};
use super::gather::PendingRequest;
use super::head::{Head, HeadError};
use super::host::ClusterHost;
use super::inbox::{EnvelopeInbox, InboxItem, Silence};
use super::markers::Markers;
use super::members::{Change, Dropped, Members};
#[cfg(feature = "metrics")]
use super::metrics::ClusterMeter;
use super::node::{NodeId, NodeInfo};
use super::notices::{HubEvent, Notices};
use super::outbox::{Flow, Outbox, Taken};
use super::presence_sync::{PresenceExchange, sync_presence};
use super::responder::{AnswerLimits, AnswerPort, LONGEST_ACK, Responder};
use super::slots::Slots;
#[cfg(feature = "hmac")]
use super::stats::ClusterCounters;
use super::stats::{ClusterStats, count};
#[cfg(feature = "hmac")]
use crate::broker::signed::SignedBroker;
use crate::broker::{Broker, BrokerSink, BrokerStatus, InvalidSubject, PublishError, Subject};
use crate::delivery::enqueue::ClusterDelivery;

/// Envelopes that are handled before other tasks run.
const TURN: usize = 64;

/// Sockets that take about as long as an envelope.
const SOCKETS: usize = 64;

/// How soon a node answers a heartbeat. It answers those of many nodes together.
const ANSWER: Duration = Duration::from_millis(100);

/// How often the task looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// How often it publishes what is held, while it may.
const FLUSH_TICK: Duration = Duration::from_millis(10);

/// How many held envelopes are published at once.
const FLUSH: usize = 256;

/// After all nodes have subscribed again, and before held envelopes are published.
const GRACE: Duration = Duration::from_millis(250);

/// How long held envelopes wait for the other nodes.
const REJOIN: Duration = Duration::from_secs(2);

/// Subscriptions that are probed at once.
const PROBES: usize = 64;

/// The most subscriptions for which a missing claim is read as "nothing was published".
const MAX_COMPLETE: usize = 1024;

/// What the handles of a hub and the task of its cluster share.
pub(crate) struct ClusterEngine {
    pub(super) broker: Box<dyn Broker>,
    pub(super) node: NodeId,
    incarnation: u64,
    order: DeliveryOrder,
    heartbeat: Duration,
    pub(super) is_emitter: bool,
    prefix: String,
    /// All nodes subscribe to it.
    pub(super) all: Subject,
    /// This node alone subscribes to it.
    own: Subject,
    pub(super) presence: PresenceExchange,
    pub(super) slots: Slots,
    pub(super) markers: Arc<Markers>,
    inbox: EnvelopeInbox,
    outbox: Outbox,
    members: Mutex<Members>,
    pub(crate) core: ClusterCore,
}

impl ClusterEngine {
    /// Starts the broker and the task of the cluster. The settings were checked.
    pub(crate) fn start(
        broker: Box<dyn Broker>,
        config: ClusterSettings,
        notices: Arc<Notices>,
        host: Arc<dyn ClusterHost>,
    ) -> Result<Arc<Self>, InvalidSubject> {
        let node = NodeId::random();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let core = ClusterCore::new(&config, notices);
        #[cfg(feature = "hmac")]
        let broker = with_tags(broker, &config, &core.counters);
        let prefix = config.prefix;
        let engine = Arc::new(Self {
            broker,
            node,
            incarnation: since_epoch.map_or(0, |time| time.as_micros() as u64),
            order: config.order,
            heartbeat: config.heartbeat,
            is_emitter: config.is_emitter,
            all: Subject::new(format!("{prefix}.all"))?,
            own: own_subject(&prefix, node)?,
            presence: PresenceExchange::new(&prefix)?,
            slots: Slots::new(&prefix, config.routing, Arc::clone(&core.wake)),
            prefix,
            markers: Arc::default(),
            inbox: EnvelopeInbox::new(config.inbox, Arc::clone(&core.wake)),
            outbox: Outbox::new(config.outage),
            members: Mutex::new(Members::new(config.max_nodes)),
            core,
        });
        engine.broker.start(Arc::new(EngineSink(Arc::downgrade(&engine))));
        let first = if engine.is_emitter {
            vec![engine.own.clone()]
        } else {
            vec![engine.all.clone(), engine.own.clone()]
        };
        engine.subscribe(&first);
        let task = ClusterTask::new(Arc::clone(&engine), host);
        tokio::spawn(task.run());
        Ok(engine)
    }

    pub(crate) const fn order(&self) -> DeliveryOrder {
        self.order
    }

    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let mut nodes: Vec<_> = self.members.lock().nodes().collect();
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    pub(crate) fn stats(&self) -> ClusterStats {
        ClusterStats { nodes: self.count_nodes(), ..self.core.counters.stats() }
    }

    fn count_nodes(&self) -> usize {
        self.members.lock().nodes().count()
    }

    /// A room was created on this node. Called under the lock of its shard.
    pub(crate) fn add_room(&self, namespace: &str, room: &str) {
        if !self.is_emitter {
            self.slots.add_room(namespace, room);
        }
    }

    /// A room was removed on this node. Called under the lock of its shard.
    pub(crate) fn remove_room(&self, namespace: &str, room: &str) {
        if !self.is_emitter {
            self.slots.remove_room(namespace, room);
        }
    }

    /// Publishes what concerns the sockets of a target, to the nodes that may have some.
    pub(super) fn publish_to(
        &self,
        namespace: &str,
        target: &Target,
        body: &Body,
    ) -> ClusterDelivery {
        let room = match (target.everyone, target.rooms.as_slice(), target.ids.as_slice()) {
            (false, [room], []) => self.slots.subject(namespace, room),
            _ => None,
        };
        match self.publish(room.as_ref().unwrap_or(&self.all), body) {
            Ok(Taken::Published) => ClusterDelivery::Published,
            Ok(Taken::Held) => ClusterDelivery::Held,
            Err(refused) => self.core.refused(refused),
        }
    }

    /// Publishes to all nodes.
    pub(crate) fn publish_to_all(&self, body: &Body) -> ClusterDelivery {
        self.publish_to("", &Target { everyone: true, ..Target::default() }, body)
    }

    /// Asks all nodes.
    pub(crate) fn ask(&self, namespace: Arc<str>, question: Question) -> PendingRequest {
        let nodes: HashSet<_> = self.members.lock().nodes().map(|node| node.id).collect();
        let mut pending = self.core.requests.register(nodes);
        if !pending.open.is_empty() {
            let body = Body::Request { namespace, id: pending.id, question };
            if self.publish(&self.all, &body).is_err() {
                pending.give_up();
            }
        }
        pending
    }

    /// Nobody waits for the answers to a request any more.
    pub(crate) fn cancel(&self, id: u64) {
        // If it is lost, the others wait for longer than anybody is interested.
        let _ = self.publish(&self.all, &Body::Cancel { id });
    }

    /// Asks one node.
    pub(super) fn ask_node(&self, node: NodeId, question: Question) -> PendingRequest {
        self.ask_one(node, Arc::from(""), question)
    }

    /// Asks a namespace of one node.
    pub(super) fn ask_one(
        &self,
        node: NodeId,
        namespace: Arc<str>,
        question: Question,
    ) -> PendingRequest {
        let mut pending = self.core.requests.register([node].into());
        if !pending.open.is_empty() {
            let body = Body::Request { namespace, id: pending.id, question };
            let sent = own_subject(&self.prefix, node).map(|own| self.publish(&own, &body));
            match sent {
                Ok(Ok(_)) => {}
                Ok(Err(PublishError::Full)) => pending.refuse(),
                _ => pending.give_up(),
            }
        }
        pending
    }

    pub(super) fn publish(&self, subject: &Subject, body: &Body) -> Result<Taken, PublishError> {
        let broker = &*self.broker;
        let result = match body.encode(self.node, self.incarnation) {
            None => Err(PublishError::TooLarge),
            Some(envelope) if body.is_numbered() => {
                self.outbox.publish(broker, subject, envelope, Instant::now())
            }
            Some(envelope) => broker.publish(subject, envelope.freeze()).map(|()| Taken::Published),
        };
        self.core.published(result)
    }

    /// Counts an envelope that is dropped.
    fn dropped(&self, counter: &AtomicU64) -> usize {
        count(counter, 1);
        1
    }

    pub(super) fn subscribe(&self, subjects: &[Subject]) {
        if !subjects.is_empty() {
            self.inbox.subscribed(subjects, Instant::now(), rand::random);
            self.broker.subscribe(subjects);
        }
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        if !subjects.is_empty() {
            self.broker.unsubscribe(subjects);
            self.inbox.unsubscribed(subjects);
            self.members.lock().unsubscribed(subjects);
        }
    }
}

impl fmt::Debug for ClusterEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterEngine").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Puts tags on all envelopes, if there are keys.
#[cfg(feature = "hmac")]
fn with_tags(
    broker: Box<dyn Broker>,
    config: &ClusterSettings,
    counters: &Arc<ClusterCounters>,
) -> Box<dyn Broker> {
    let Some(keys) = &config.keys else { return broker };
    let counters = Arc::clone(counters);
    let on_forged = Arc::new(move || count(&counters.forged, 1));
    Box::new(SignedBroker::new(broker, keys, on_forged))
}

fn own_subject(prefix: &str, node: NodeId) -> Result<Subject, InvalidSubject> {
    Subject::new(format!("{prefix}.n.{node}"))
}

/// Puts what the broker receives into the inbox.
struct EngineSink(Weak<ClusterEngine>);

impl BrokerSink for EngineSink {
    fn message(&self, subject: &str, envelope: Bytes) {
        let Some(engine) = self.0.upgrade() else { return };
        if !engine.inbox.put(subject, envelope) {
            count(&engine.core.counters.inbox_full, 1);
        }
    }

    fn status(&self, status: BrokerStatus) {
        if let Some(engine) = self.0.upgrade() {
            engine.inbox.put_status(status);
        }
    }
}

/// Sends the parts of an answer to the node that has asked.
struct NodePort {
    engine: Arc<ClusterEngine>,
    subject: Subject,
    id: u64,
}

impl AnswerPort for NodePort {
    fn send(&mut self, part: &AnswerPart) -> Result<(), PublishError> {
        let body = Body::Answer { id: self.id, part: part.clone() };
        self.engine.publish(&self.subject, &body).map(drop)
    }
}

/// The task of a cluster.
struct ClusterTask {
    engine: Arc<ClusterEngine>,
    host: Arc<dyn ClusterHost>,
    is_up: bool,
    next_heartbeat: Instant,
    next_tick: Instant,
    rejoin: Option<Rejoin>,
    #[cfg(feature = "metrics")]
    meter: ClusterMeter,
}

/// The broker is up again, and held envelopes wait for the other nodes.
struct Rejoin {
    since: Instant,
    /// The nodes that were not heard since then.
    nodes: HashSet<NodeId>,
    /// When the last of them was heard.
    all_heard: Option<Instant>,
}

impl ClusterTask {
    fn new(engine: Arc<ClusterEngine>, host: Arc<dyn ClusterHost>) -> Self {
        let now = Instant::now();
        let (next_heartbeat, next_tick) = (now + engine.heartbeat, now);
        Self {
            host,
            is_up: false,
            next_heartbeat,
            next_tick,
            rejoin: None,
            #[cfg(feature = "metrics")]
            meter: ClusterMeter::new(Arc::clone(&engine.core.counters), now),
            engine,
        }
    }

    async fn run(mut self) {
        let mut leaving = None;
        let deadline = loop {
            leaving = leaving.or_else(|| self.engine.core.deadline(&*self.host));
            // What is held is published first, as long as that may take.
            if let Some(deadline) = leaving
                && (!self.engine.outbox.is_holding() || Instant::now() >= deadline)
            {
                break deadline;
            }
            self.engine.subscribe(&self.engine.slots.take_wanted());
            if self.engine.presence.start(&self.engine) && self.is_up {
                // The heartbeats of the others say what there is to ask for.
                self.announce(true);
            }
            let mut handled = 0;
            while handled < TURN
                && let Some(arrival) = self.engine.inbox.take()
            {
                handled += self.handle(arrival);
            }
            let due = self.tick(Instant::now());
            if handled >= TURN {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.engine.core.wake.notified() => {}
                () = sleep_until(leaving.map_or(due, |deadline| due.min(deadline))) => {}
            }
        };
        self.leave();
        self.engine.broker.shutdown(deadline).await;
        while let Some(arrival) = self.engine.inbox.take() {
            if let InboxItem::Status(status @ BrokerStatus::Lost { .. }) = arrival {
                self.handle_status(status);
            }
        }
        self.engine.core.ended();
    }

    /// Claims what this node has published or dropped, and tells the others that it leaves. If envelopes
    /// are dropped, it says no goodbye: the others report them when they find it silent.
    fn leave(&mut self) {
        let unsent = self.engine.outbox.end();
        self.announce(false);
        if unsent > 0 {
            self.report_unsent(unsent);
        } else {
            let _ = self.engine.publish(&self.engine.all, &Body::Goodbye);
        }
    }

    fn report_unsent(&self, envelopes: u64) {
        if envelopes > 0 {
            count(&self.engine.core.counters.unsent, envelopes);
            self.engine.core.notices.report(HubEvent::Unsent { envelopes });
        }
    }

    /// Returns about how much work it was.
    fn handle(&mut self, arrival: InboxItem) -> usize {
        match arrival {
            InboxItem::Envelope(subject, envelope) => {
                return self.handle_envelope(&subject, &envelope);
            }
            InboxItem::Status(status) => self.handle_status(status),
        }
        1
    }

    fn handle_status(&mut self, status: BrokerStatus) {
        self.engine.core.counters.note_status(&status);
        match status {
            BrokerStatus::Up => {
                self.is_up = true;
                self.engine.inbox.reset_silence(Instant::now());
                self.engine.core.notices.report(HubEvent::BrokerUp);
                self.announce(true);
            }
            BrokerStatus::Down { cause } => {
                self.is_up = false;
                self.rejoin = None;
                self.engine.outbox.broker_down(Instant::now());
                self.engine.core.notices.broker_down(self.engine.broker.capabilities().name, cause);
            }
            BrokerStatus::Lost { envelopes } => {
                self.engine.core.notices.report(HubEvent::Unsent { envelopes });
            }
        }
    }

    /// Returns about how much work it was.
    fn handle_envelope(&mut self, subject: &Subject, envelope: &Bytes) -> usize {
        let engine = Arc::clone(&self.engine);
        let decoded = Head::decode(envelope).and_then(|(head, fields)| {
            let body = Body::decode(head.kind, fields);
            Ok((head, body.map_err(|_| HeadError::Malformed)?))
        });
        let (head, body) = match decoded {
            Ok(decoded) => decoded,
            Err(HeadError::Malformed) => return engine.dropped(&engine.core.counters.malformed),
            Err(HeadError::UnknownVersion) => {
                return engine.dropped(&engine.core.counters.unknown_version);
            }
        };
        let is_own = head.origin == engine.node;
        if is_own && let Body::Marker { id } = body {
            engine.markers.arrived(id, subject);
        }
        if is_own && engine.order != DeliveryOrder::BrokerOrdered {
            return 1;
        }
        let (now, mut changes) = (Instant::now(), Vec::new());
        let origin = (head.origin, head.incarnation);
        let received =
            engine.members.lock().receive(origin, subject, head.number, now, &mut changes);
        self.report(subject, changes);
        match received {
            Ok(()) if is_own => {}
            Ok(()) => count(&engine.core.counters.received, 1),
            Err(Dropped::Duplicate) => return engine.dropped(&engine.core.counters.duplicates),
            Err(Dropped::TooManyNodes) => {
                return engine.dropped(&engine.core.counters.too_many_nodes);
            }
        }
        if is_own && !matches!(body, Body::Broadcast { .. } | Body::Heartbeat(_)) {
            // It is done here already, and has only the number of an envelope.
            return 1;
        }
        self.handle_body(subject, head.origin, body)
    }

    fn handle_body(&mut self, subject: &Subject, origin: NodeId, body: Body) -> usize {
        let engine = Arc::clone(&self.engine);
        match body {
            Body::Broadcast { namespace, target, volatile, body } => {
                return 1 + self.host.deliver(&namespace, target, volatile, body) / SOCKETS;
            }
            Body::Operation { namespace, target, operation } => {
                self.host.operate(&namespace, target, operation);
            }
            Body::Heartbeat(heartbeat) => self.handle_heartbeat(subject, origin, &heartbeat),
            Body::Goodbye => {
                let mut changes = Vec::new();
                engine.members.lock().leave(origin, &mut changes);
                // All that it has sent was sent before this.
                self.tell(subject, changes);
            }
            Body::Presence { version, ops } => {
                let work = 1 + ops.len() / SOCKETS;
                if let Some(presence) = self.host.presence()
                    && presence.changed(origin, version, ops)
                {
                    sync_presence(engine, origin, presence);
                }
                return work;
            }
            Body::Marker { id } => engine.markers.arrived(id, subject),
            Body::Probe | Body::Unknown => {}
            Body::Request { namespace, id, question } => {
                if let Ok(subject) = own_subject(&engine.prefix, origin) {
                    let answering = Arc::clone(&engine.core.answering);
                    let limits = AnswerLimits {
                        part: engine.core.request_timeout,
                        acknowledgements: LONGEST_ACK,
                    };
                    let port = Box::new(NodePort { engine, subject, id });
                    let responder = Responder::new(answering, (origin, id), port, limits);
                    self.answer(origin, namespace, question, responder);
                }
            }
            Body::Answer { id, part } => engine.core.requests.receive(origin, id, part),
            Body::Cancel { id } => {
                engine.core.answering.cancel((origin, id));
            }
            Body::ServerEvent { namespace, event } => {
                self.server_event(origin, namespace, event, None);
            }
        }
        1
    }

    fn answer(
        &self,
        origin: NodeId,
        namespace: Arc<str>,
        question: Question,
        responder: Responder,
    ) {
        match question {
            Question::Reply(event) => {
                self.server_event(origin, namespace, event, Some(responder));
            }
            question => self.host.answer(&namespace, question, responder),
        }
    }

    fn server_event(
        &self,
        origin: NodeId,
        namespace: Arc<str>,
        event: EventBody,
        responder: Option<Responder>,
    ) {
        if !self.host.server_event(origin, namespace, event, responder) {
            count(&self.engine.core.counters.server_events_dropped, 1);
        }
    }

    fn handle_heartbeat(&mut self, subject: &Subject, origin: NodeId, heartbeat: &HeartbeatBody) {
        let (engine, now) = (Arc::clone(&self.engine), Instant::now());
        let settled = engine.heartbeat;
        let all = engine.inbox.settled(now, settled, MAX_COMPLETE);
        let counted = |subject: &str| engine.inbox.is_settled(subject, now, settled);
        let mut changes = Vec::new();
        let is_own = origin == engine.node;
        engine.members.lock().heartbeat(origin, heartbeat, is_own, &counted, &all, &mut changes);
        self.report(subject, changes);
        if is_own {
            return;
        }
        if let Some(rejoin) = &mut self.rejoin {
            rejoin.heard(origin, now);
        }
        if engine.is_emitter {
            return;
        }
        if let (Some(version), Some(presence)) = (heartbeat.presence, self.host.presence())
            && presence.claimed(origin, version)
        {
            sync_presence(Arc::clone(&engine), origin, presence);
        }
        if heartbeat.is_emitter {
            // It gets nothing from the subject of all nodes.
            if let Ok(subject) = own_subject(&engine.prefix, origin) {
                self.announce_on(&subject, false);
            }
        } else if heartbeat.wants_answer {
            self.next_heartbeat = self.next_heartbeat.min(now + ANSWER);
        }
    }

    /// Reports what has changed about other nodes. What was lost may have been for a session that waits.
    fn report(&self, subject: &Subject, changes: Vec<Change>) {
        let is_loss = |change: &Change| match change {
            Change::Up(_) => false,
            Change::Down(_) => true,
            Change::Gap(_, gap, _) => *gap != self.engine.own,
        };
        if changes.iter().any(is_loss) {
            self.host.missed();
        }
        self.tell(subject, changes);
    }

    fn tell(&self, subject: &Subject, changes: Vec<Change>) {
        let engine = &self.engine;
        for change in changes {
            engine.core.notices.report(match change {
                Change::Up(node) => HubEvent::NodeUp { node },
                Change::Down(node) => {
                    engine.core.requests.node_lost(node);
                    engine.core.answering.node_lost(node);
                    if let Some(presence) = self.host.presence() {
                        presence.node_down(node);
                    }
                    HubEvent::NodeDown { node }
                }
                Change::Gap(origin, gap, lost) => {
                    count(&engine.core.counters.lost, lost);
                    if gap == engine.own || *subject == engine.own {
                        // A part of an answer may be lost.
                        engine.core.requests.node_lost(origin);
                    }
                    HubEvent::Gap { origin, subject: gap, lost }
                }
            });
        }
    }

    /// Tells the others that this node lives.
    fn announce(&mut self, wants_answer: bool) {
        self.next_heartbeat = Instant::now() + self.engine.heartbeat;
        self.announce_on(&self.engine.all, wants_answer);
    }

    fn announce_on(&self, subject: &Subject, wants_answer: bool) {
        let engine = &self.engine;
        let (claims, is_complete) = match engine.outbox.claims() {
            Some((claims, is_complete)) => (claims, Some(is_complete)),
            None => (Vec::new(), None),
        };
        let heartbeat = HeartbeatBody {
            sockets: self.host.sockets(),
            is_emitter: engine.is_emitter,
            wants_answer,
            is_complete,
            claims,
            presence: engine.presence.version(&*self.host),
        };
        // The next one may get through.
        let _ = engine.publish(subject, &Body::Heartbeat(heartbeat));
    }

    /// Does what is due, and returns when to look again.
    fn tick(&mut self, now: Instant) -> Instant {
        if now >= self.next_heartbeat {
            self.announce(false);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK.min(self.engine.heartbeat);
            self.watch(now);
            #[cfg(feature = "metrics")]
            self.meter.tick(now, || self.engine.count_nodes());
        }
        let due = self.next_heartbeat.min(self.next_tick);
        if self.flush(now) { due } else { due.min(now + FLUSH_TICK) }
    }

    fn watch(&self, now: Instant) {
        let engine = &self.engine;
        let dead_after = ClusterSettings::dead_after(engine.heartbeat);
        let mut changes = Vec::new();
        engine.members.lock().tick(now, dead_after, &mut changes);
        self.report(&engine.all, changes);
        engine.unsubscribe(&engine.slots.take_unwanted(now));
        self.report_unsent(engine.outbox.expire(now));
        if self.is_up {
            for silence in engine.inbox.silent(now, dead_after, PROBES) {
                match silence {
                    Silence::Probe(subject) => _ = engine.publish(&subject, &Body::Probe),
                    Silence::Renew(subject) => {
                        count(&engine.core.counters.renewed, 1);
                        tracing::warn!(%subject, "no message arrives on a subject: subscribing again");
                        engine.broker.unsubscribe(std::slice::from_ref(&subject));
                        engine.broker.subscribe(std::slice::from_ref(&subject));
                    }
                }
            }
        }
    }

    /// Publishes what is held, if it may be. Returns whether nothing is left to do.
    fn flush(&mut self, now: Instant) -> bool {
        let engine = &self.engine;
        match engine.outbox.flow() {
            Flow::Open | Flow::Ended => {
                self.rejoin = None;
                true
            }
            Flow::Full => engine.outbox.flush(&*engine.broker, FLUSH, now),
            Flow::Down if !self.is_up => true,
            Flow::Down => {
                let rejoin = self.rejoin.get_or_insert_with(|| Rejoin {
                    since: now,
                    nodes: engine.members.lock().known().filter(|it| *it != engine.node).collect(),
                    all_heard: None,
                });
                if !rejoin.is_over(now) {
                    return false;
                }
                let is_empty = engine.outbox.flush(&*engine.broker, FLUSH, now);
                if is_empty {
                    // With what was published.
                    self.announce(false);
                }
                is_empty
            }
        }
    }
}

impl Rejoin {
    fn heard(&mut self, node: NodeId, now: Instant) {
        self.nodes.remove(&node);
        if self.nodes.is_empty() {
            self.all_heard.get_or_insert(now);
        }
    }

    /// Whether the other nodes have subscribed again, or take too long.
    fn is_over(&mut self, now: Instant) -> bool {
        if self.nodes.is_empty() {
            self.all_heard.get_or_insert(now);
        }
        self.all_heard.is_some_and(|heard| now.duration_since(heard) >= GRACE)
            || now.duration_since(self.since) >= REJOIN
    }
}
