//! Do several hubs act as one, over a bus in memory, with paused time?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::EventLog;
use bytes::Bytes;
use parking_lot::Mutex;
use ws_core::{Conn, Message, StatusCode, pair};
use ws_events::broker::{Broker as _, LoopbackBroker, LoopbackBus, LoopbackFaults, Subject};
use ws_events::cluster::{
    ClusterConfig, ClusterConfigError, ClusterStats, DeliveryOrder, HubEvent, HubEvents, NodeId,
    OutagePolicy, Routing,
};
use ws_events::{
    AckError, ClusterDelivery, EmitError, History, HistoryError, Hub, HubBuilder, Json,
    SendQueueLimits, ServerEvent, ServerReply, Socket,
};

/// Lets time pass, which is paused otherwise.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: sleep is the subject
}

/// Longer than a broker, an event loop and a reader take.
pub(crate) const SOON: Duration = Duration::from_millis(100);

/// Longer than two heartbeats, and than a silent node is up.
pub(crate) const LONG: Duration = Duration::from_secs(11);

/// A hub with one socket, in the room `room`, and what its peer has got.
struct Node {
    hub: Hub,
    broker: LoopbackBroker,
    socket: Socket,
    events: HubEvents,
    got: Arc<Mutex<Vec<String>>>,
}

impl Node {
    async fn start(
        bus: &LoopbackBus,
        id: &str,
        set: impl Fn(ClusterConfig) -> ClusterConfig,
    ) -> Self {
        let broker = bus.join();
        let config = set(ClusterConfig::new(broker.clone()));
        let hub = Hub::builder().envelope().build_clustered(config).unwrap();
        let events = hub.events();
        let (socket, got) = connect(&hub, id).await;
        socket.join("room").unwrap();
        Self { hub, broker, socket, events, got }
    }

    /// What its peer has got since the last call.
    async fn take(&self) -> Vec<String> {
        pass(SOON).await;
        std::mem::take(&mut self.got.lock())
    }

    /// The events so far.
    async fn take_events(&mut self) -> Vec<HubEvent> {
        let mut events = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(SOON, self.events.next()).await {
            events.push(event);
        }
        events
    }

    fn stats(&self) -> ClusterStats {
        ClusterStats::of(&self.hub).unwrap()
    }

    /// Its id, as another node knows it.
    fn id_at(&self, other: &Self) -> NodeId {
        let nodes = other.hub.nodes();
        let ids = |node: &Self| node.hub.nodes().iter().map(|it| it.id).collect::<BTreeSet<_>>();
        let own = ids(self);
        nodes.iter().map(|it| it.id).find(|id| !own.contains(id)).unwrap()
    }
}

/// A peer that keeps what it gets, and acknowledges events by their data.
pub(crate) async fn connect(hub: &Hub, id: &str) -> (Socket, Arc<Mutex<Vec<String>>>) {
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    let before = hub.len();
    while hub.len() == before {
        tokio::task::yield_now().await;
    }
    let is_new = |socket: &Socket| socket.attributes().named::<bool>("known").is_none();
    let socket = hub.everyone().local().sockets().into_iter().find(is_new).unwrap();
    socket.attributes().set("known", true);
    socket.set_id(id).unwrap();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    tokio::spawn(read(client, Arc::clone(&got)));
    (socket, got)
}

async fn read(client: Conn, got: Arc<Mutex<Vec<String>>>) {
    loop {
        let message = match client.read().await {
            Ok(message) => message,
            Err(error) => return got.lock().push(error.to_string()),
        };
        let text =
            message.as_text().map_or_else(|| format!("{:?}", message.as_bytes()), str::to_owned);
        let event: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        if let Some(event) = event
            && let (Some(id), data) = (event["id"].as_u64(), &event["data"])
            && data != "never"
        {
            client.write(format!(r#"{{"ack":{id},"data":{data}}}"#)).await.unwrap();
        }
        got.lock().push(text);
    }
}

/// Nodes that know each other.
async fn nodes(
    count: usize,
    set: impl Fn(ClusterConfig) -> ClusterConfig,
) -> (LoopbackBus, Vec<Node>) {
    let bus = LoopbackBus::new(1);
    let mut nodes = Vec::new();
    for at in 0..count {
        nodes.push(Node::start(&bus, &format!("id{at}"), &set).await);
    }
    pass(LONG).await;
    for node in &mut nodes {
        assert_eq!(node.hub.nodes().len(), count - 1);
        node.take_events().await;
    }
    (bus, nodes)
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_its_sockets_on_all_nodes_once() {
    for routing in [Routing::Partitioned(64), Routing::PerRoom, Routing::All] {
        let (_, nodes) = nodes(3, |config| config.routing(routing)).await;
        let (hub, socket) = (&nodes[0].hub, &nodes[0].socket);
        nodes[1].socket.join("other").unwrap();
        pass(SOON).await;
        hub.send("everyone");
        hub.to("room").to("other").send("rooms");
        hub.to("room").except("id1").except_room("none").send("but one");
        hub.to("room").except_room("other").send("but a room");
        assert_eq!(
            socket.to("room").emit("event", "others").unwrap().cluster,
            ClusterDelivery::Published
        );
        hub.to("nowhere").send("nobody");
        hub.ids(["id0", "id2"]).send("ids");
        hub.to("room").volatile().send(Message::binary(vec![1]));
        hub.to("room").local().send("local");
        assert_eq!(hub.ids(["id0"]).send("here").cluster, ClusterDelivery::Local);
        hub.emit_to("id1", "event", &Bytes::from_static(b"x")).unwrap();
        socket.send_to("id1", "direct").unwrap();
        hub.emit_to_list(["id1", "id0"], "event", &1)
            .unwrap()
            .iter()
            .for_each(|it| assert!(it.1.is_ok()));
        let event = r#"{"event":"event","data":"others"}"#;
        let bytes = r#"{"event":"event","data":"eA=="}"#;
        let one = r#"{"event":"event","data":1}"#;
        let expected: [&[&str]; 3] = [
            &["everyone", "rooms", "but one", "but a room", "ids", "[1]", "local", "here", one],
            &["everyone", "rooms", event, "[1]", bytes, "direct", one],
            &["everyone", "rooms", "but one", "but a room", event, "ids", "[1]"],
        ];
        for (node, expected) in nodes.iter().zip(expected) {
            assert_eq!(node.take().await, expected, "{routing:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn namespaces_share_the_broker_and_not_their_sockets() {
    let (_, nodes) = nodes(2, |config| config).await;
    let [one, two] = [&nodes[0], &nodes[1]].map(|node| node.hub.of("/admin"));
    let (socket, got) = connect(&two, "admin").await;
    socket.join("room").unwrap();
    pass(SOON).await;
    one.to("room").send("admins");
    one.emit("event", &1).unwrap();
    nodes[0].hub.of("/none").send("nobody");
    nodes[0].hub.to("room").send("users");
    assert_eq!(nodes[1].take().await, ["users"]);
    assert_eq!(*got.lock(), ["admins", r#"{"event":"event","data":1}"#]);
    assert_eq!(one.fetch_count_of_all().await, 1);
}

/// The sockets of all nodes.
trait CountAll {
    async fn fetch_count_of_all(&self) -> u64;
}

impl CountAll for Hub {
    async fn fetch_count_of_all(&self) -> u64 {
        let count = self.everyone().fetch_count().await;
        assert_eq!(count.missing, []);
        count.value
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_of_other_nodes_join_leave_and_are_closed() {
    let (_, nodes) = nodes(3, |config| config).await;
    let hub = &nodes[0].hub;
    assert_eq!(hub.ids(["id1", "id2"]).join("new"), 0);
    assert_eq!(hub.to("room").except("id2").leave("room"), 1);
    pass(SOON).await;
    let rooms: Vec<_> = nodes.iter().map(|node| node.socket.rooms()).collect();
    assert_eq!(rooms, [vec![], vec!["new".to_owned()], vec!["room".to_owned(), "new".to_owned()]]);
    let sockets = hub.to("new").fetch_sockets().await;
    let ids: BTreeSet<_> = sockets.value.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["id1", "id2"].into());
    assert!(sockets.missing.is_empty() && sockets.value.iter().all(|it| it.node.is_some()));
    let second = sockets.value.iter().find(|it| it.id == "id2").unwrap();
    assert_eq!(second.rooms.len(), 2);
    assert_eq!((hub.to("new").fetch_count().await.value, hub.to("new").count()), (2, 0));
    assert_eq!(hub.to("new").local().fetch_count().await.value, 0);
    let code = StatusCode::from_u16(4000).unwrap();
    assert_eq!(hub.to("new").except("id1").close(code, "bye").unwrap(), 0);
    assert!(nodes[2].take().await[0].contains("4000"));
    assert_eq!(hub.fetch_count_of_all().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_comes_in_parts() {
    let (bus, nodes) = nodes(2, |config| config).await;
    bus.set_max_payload(64 * 1024);
    for at in 0..600 {
        connect(&nodes[1].hub, &format!("{at:0>40}")).await;
    }
    let sockets = nodes[0].hub.everyone().fetch_sockets().await;
    assert_eq!((sockets.value.len(), sockets.missing), (602, vec![]));
}

#[tokio::test(start_paused = true)]
async fn sockets_of_all_nodes_acknowledge_an_event_and_missing_nodes_are_told() {
    let (_, nodes) = nodes(3, |config| config).await;
    let hub = &nodes[0].hub;
    let mut acks = hub.emit_acks("say", "yes");
    let mut answers = BTreeSet::new();
    while let Some((id, answer)) = acks.next().await {
        assert!(answers.insert((id.to_string(), answer.unwrap())));
    }
    let expected = ["id0", "id1", "id2"].map(|id| (id.to_owned(), "yes".to_owned()));
    assert_eq!((answers, acks.missing()), (expected.into(), &[][..]));
    // Nobody answers, and a node that is cut off does not even get the event.
    nodes[2].broker.set_group(1);
    let mut acks = hub.emit_acks("say", "never").timeout(Duration::from_secs(1));
    let mut late = BTreeSet::new();
    while let Some((id, answer)) = acks.next().await {
        assert!(matches!(answer, Err(AckError::Timeout)) && late.insert(id.to_string()));
    }
    assert_eq!(late, ["id0", "id1"].map(str::to_owned).into());
    assert_eq!(acks.missing(), [nodes[2].id_at(&nodes[0])]);
    // A socket that disconnects does not answer any more.
    let mut acks = hub.ids(["id1"]).emit_with_ack::<String, _>("say", "never").unwrap();
    pass(SOON).await;
    nodes[1].socket.close(StatusCode::NORMAL_CLOSURE, "").unwrap();
    assert!(matches!(acks.next().await, Some((_, Err(AckError::Disconnected)))));
}

/// An event for all sockets, each of which answers.
trait EmitAcks {
    fn emit_acks(&self, event: &str, data: &str) -> ws_events::BroadcastAcks<String>;
}

impl EmitAcks for Hub {
    fn emit_acks(&self, event: &str, data: &str) -> ws_events::BroadcastAcks<String> {
        self.everyone().emit_with_ack(event, data).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_or_is_silent_is_down_and_does_not_delay_answers() {
    let (_, mut nodes) = nodes(3, |config| config).await;
    let [second, third] = [1, 2].map(|at| nodes[at].id_at(&nodes[0]));
    assert_eq!(nodes[0].hub.nodes().iter().map(|it| it.sockets).sum::<u64>(), 2);
    let two = nodes.remove(1);
    two.hub.drain(Duration::from_secs(1)).await;
    assert_eq!(nodes[0].take_events().await, [HubEvent::NodeDown { node: second }]);
    nodes[1].broker.set_group(1);
    let before = tokio::time::Instant::now();
    let count = nodes[0].hub.everyone().fetch_count().await;
    assert_eq!((count.value, count.missing), (1, vec![third]));
    assert!(before.elapsed() <= Duration::from_secs(6));
    pass(LONG).await;
    assert_eq!(nodes[0].take_events().await, [HubEvent::NodeDown { node: third }]);
    assert_eq!(nodes[0].hub.everyone().fetch_count().await.missing, []);
    nodes[1].broker.set_group(0);
    pass(LONG).await;
    let events = nodes[0].take_events().await;
    assert_eq!(events[0], HubEvent::NodeUp { node: third });
}

#[tokio::test(start_paused = true)]
async fn each_loss_is_a_gap_also_at_the_end_of_a_series() {
    let (_, mut nodes) = nodes(2, |config| config.routing(Routing::Partitioned(1))).await;
    let origin = nodes[0].id_at(&nodes[1]);
    let gap = |lost| {
        let subject = Subject::new("ws.p1.0").unwrap();
        HubEvent::Gap { origin, subject, lost }
    };
    let send = |hub: &Hub, numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| _ = hub.to("room").send(number.to_string()));
    };
    send(&nodes[0].hub, 0..2);
    nodes[1].broker.set_group(1);
    send(&nodes[0].hub, 2..5);
    nodes[1].broker.set_group(0);
    send(&nodes[0].hub, 5..6);
    assert_eq!(nodes[1].take().await, ["0", "1", "5"]);
    assert_eq!(nodes[1].take_events().await, [gap(3)]);
    nodes[1].broker.set_group(1);
    send(&nodes[0].hub, 6..10);
    nodes[1].broker.set_group(0);
    pass(LONG).await;
    assert_eq!(nodes[1].take_events().await, [gap(4)]);
    pass(LONG).await;
    assert_eq!(nodes[1].take_events().await, []);
    assert_eq!(nodes[1].stats().lost, 7);
}

#[tokio::test(start_paused = true)]
async fn the_last_envelopes_of_a_node_that_leaves_are_a_gap_if_they_do_not_arrive() {
    let (_, mut nodes) = nodes(2, |config| config.routing(Routing::Partitioned(1))).await;
    let origin = nodes[0].id_at(&nodes[1]);
    let leaving = nodes.remove(0);
    leaving.hub.to("room").send("got");
    nodes[0].broker.set_group(1);
    (0..3).for_each(|_| _ = leaving.hub.to("room").send("lost"));
    nodes[0].broker.set_group(0);
    leaving.hub.drain(Duration::from_secs(1)).await;
    assert_eq!(nodes[0].take().await, ["got"]);
    assert_eq!(nodes[0].take_events().await, [HubEvent::NodeDown { node: origin }]);
    pass(LONG).await;
    let subject = Subject::new("ws.p1.0").unwrap();
    assert_eq!(nodes[0].take_events().await, [HubEvent::Gap { origin, subject, lost: 3 }]);
}

#[tokio::test(start_paused = true)]
async fn a_history_in_memory_is_that_of_one_node() {
    let bus = LoopbackBus::new(1);
    let hub = || {
        let config = ClusterConfig::new(bus.join());
        Hub::builder().envelope().history("room", History::new()).build_clustered(config).unwrap()
    };
    let hubs = [hub(), hub()];
    let mut peers = Vec::new();
    for hub in &hubs {
        let (socket, got) = connect(hub, &format!("id{}", peers.len())).await;
        socket.join("room").unwrap();
        peers.push((socket, got));
    }
    pass(LONG).await;
    assert_eq!(hubs[0].to("room").send("one").cluster, ClusterDelivery::Published);
    pass(SOON).await;
    let positions = hubs.each_ref().map(|hub| async {
        let messages = hub.room("room").latest(10).await.unwrap();
        assert_eq!(messages.len(), 1);
        messages[0].position
    });
    let [first, second] = positions;
    let (first, second) = (first.await, second.await);
    assert_ne!(first.epoch, second.epoch);
    assert!(hubs[0].room("room").since(first).await.unwrap().is_empty());
    let unknown = hubs[1].room("room").since(first).await;
    assert!(matches!(unknown, Err(HistoryError::UnknownPosition)), "{unknown:?}");
    for (_, got) in peers {
        assert_eq!(*got.lock(), ["one"]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_broker_local_delivery_goes_on_and_the_result_says_so() {
    for (policy, expected) in [
        (OutagePolicy::FailFast, ClusterDelivery::Down),
        (OutagePolicy::LocalOnly, ClusterDelivery::Local),
        (OutagePolicy::buffer(1 << 20, LONG), ClusterDelivery::Held),
    ] {
        let (bus, mut nodes) = nodes(2, |config| config.outage(policy)).await;
        bus.set_up(false);
        let sent = nodes[0].hub.to("room").send("down");
        assert_eq!((sent.queued, sent.cluster), (1, expected));
        let emitted = nodes[0].hub.emit_to("id1", "event", &1);
        assert_eq!(emitted.is_ok(), expected == ClusterDelivery::Held);
        assert!(emitted.is_ok() || matches!(emitted, Err(EmitError::NoSuchId(_))));
        assert_eq!(nodes[0].take().await, ["down"]);
        bus.set_up(true);
        pass(Duration::from_secs(3)).await;
        nodes[0].hub.to("room").send("up");
        let event = r#"{"event":"event","data":1}"#;
        let got = nodes[1].take().await;
        let held = ["down", event, "up"];
        assert_eq!(got, if expected == ClusterDelivery::Held { &held[..] } else { &["up"] });
        let cause = "the bus is down".into();
        assert_eq!(
            nodes[0].take_events().await,
            [HubEvent::BrokerDown { cause }, HubEvent::BrokerUp]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_buffer_a_short_outage_loses_and_doubles_nothing() {
    let policy = OutagePolicy::buffer(1 << 20, LONG);
    let (bus, mut nodes) = nodes(3, |config| config.outage(policy)).await;
    let mut sent = Vec::new();
    for number in 0..300 {
        if number == 100 {
            // What is on its way is lost, too.
            bus.set_faults(LoopbackFaults::new().delay(SOON..=SOON));
        }
        match number {
            110 => bus.set_up(false),
            180 => bus.set_up(true),
            _ => {}
        }
        let cluster = nodes[0].hub.to("room").send(number.to_string()).cluster;
        assert!(matches!(cluster, ClusterDelivery::Published | ClusterDelivery::Held));
        sent.push(number.to_string());
        pass(Duration::from_millis(10)).await;
    }
    pass(LONG).await;
    for node in &mut nodes {
        assert_eq!(node.take().await, sent);
        let is_gap = |event: &HubEvent| matches!(event, HubEvent::Gap { .. });
        assert!(!node.take_events().await.iter().any(is_gap));
    }
    assert!(nodes[1].stats().duplicates > 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_buffer_does_not_hold_for_long_enough_is_reported_by_both_sides() {
    let policy = OutagePolicy::buffer(1 << 20, Duration::from_secs(1));
    let (bus, mut nodes) = nodes(2, |config| config.outage(policy)).await;
    bus.set_up(false);
    (0..3).for_each(|_| _ = nodes[0].hub.to("room").send("lost"));
    pass(Duration::from_secs(3)).await;
    bus.set_up(true);
    pass(LONG + LONG).await;
    let events = nodes[0].take_events().await;
    assert!(events.contains(&HubEvent::Unsent { envelopes: 3 }), "{events:?}");
    let events = nodes[1].take_events().await;
    assert!(events.iter().any(|it| matches!(it, HubEvent::Gap { lost: 3, .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn ordered_by_the_broker_all_members_get_several_senders_in_one_order() {
    let (bus, nodes) = nodes(4, |config| config.order(DeliveryOrder::BrokerOrdered)).await;
    bus.set_faults(LoopbackFaults::new().delay(Duration::ZERO..=SOON));
    let senders = nodes.iter().enumerate().map(|(sender, node)| {
        let hub = node.hub.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                let sent = hub.to("room").send(format!("{sender}.{number}"));
                assert_eq!((sent.queued, sent.cluster), (0, ClusterDelivery::Published));
                tokio::task::yield_now().await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    pass(LONG).await;
    let first = nodes[0].take().await;
    assert_eq!(first.len(), 200);
    for node in &nodes[1..] {
        assert_eq!(node.take().await, first);
    }
}

#[tokio::test(start_paused = true)]
async fn ordered_by_the_broker_a_node_misses_nothing_of_its_own() {
    let set = |config: ClusterConfig| {
        config.order(DeliveryOrder::BrokerOrdered).routing(Routing::Partitioned(1))
    };
    let (_, mut nodes) = nodes(2, set).await;
    let hub = nodes[0].hub.clone();
    for text in ["first", "second"] {
        hub.to("room").send(text);
        hub.send(text);
        hub.to("room").join("other");
        hub.server_emit("event", &1).unwrap();
        assert_eq!(hub.everyone().fetch_count().await.value, 2);
    }
    for node in &mut nodes {
        assert_eq!(node.take().await, ["first", "first", "second", "second"]);
        assert_eq!(node.take_events().await, []);
        assert_eq!((node.stats().lost, node.stats().duplicates), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn servers_send_each_other_events_and_an_emitter_only_sends() {
    let (bus, nodes) = nodes(2, |config| config).await;
    let log = EventLog::default();
    for (at, node) in nodes.iter().enumerate() {
        let log = log.clone();
        node.hub.of("/admin").on_server("reload", move |event: ServerEvent| {
            let log = log.clone();
            async move { log.note(format!("{at} {} {:?}", event.name(), event.json::<u8>().unwrap())) }
        });
        node.hub.on_server("panics", async |_| panic!("a test"));
    }
    nodes[0].hub.server_emit("panics", &1).unwrap();
    assert_eq!(
        nodes[0].hub.of("/admin").server_emit("reload", &1).unwrap(),
        ClusterDelivery::Published
    );
    assert_eq!(log.take(1).await, ["1 reload 1"]);
    let config = ClusterConfig::new(bus.join()).emitter();
    let emitter = Hub::builder().envelope().build_clustered(config).unwrap();
    pass(LONG).await;
    assert_eq!((emitter.nodes().len(), nodes[0].hub.nodes().len()), (2, 1));
    emitter.to("room").emit("job", "done").unwrap();
    emitter.of("/admin").server_emit("reload", &2).unwrap();
    assert_eq!(log.take(2).await.len(), 2);
    assert_eq!(emitter.fetch_count_of_all().await, 2);
    for node in &nodes {
        assert_eq!(node.take().await, [r#"{"event":"job","data":"done"}"#]);
    }
    let received = ClusterStats::of(&emitter).unwrap().received;
    nodes[0].hub.send("broadcast");
    pass(SOON).await;
    assert_eq!(ClusterStats::of(&emitter).unwrap().received, received);
}

#[tokio::test(start_paused = true)]
async fn servers_answer_events_and_those_that_do_not_are_missing() {
    let (_, nodes) = nodes(4, |config| config).await;
    let asking = &nodes[0].hub;
    nodes[1].hub.on_server("ask", async |event: ServerEvent| {
        let n: u32 = event.json().unwrap();
        assert!(event.reply(&(n + 1)).unwrap());
        // The first answer counts.
        assert!(!event.reply(&0).unwrap());
    });
    nodes[2].hub.on_server("ask", async |event: ServerEvent| {
        tokio::spawn(async move {
            pass(SOON).await;
            assert!(event.reply(&(Bytes::from_static(b"x"), 2)).unwrap());
        });
    });
    nodes[3].hub.on_server("ask", async |_| {});
    let began = tokio::time::Instant::now();
    let answers = ServerReply::ask(asking, "ask", &1).await.unwrap();
    let [first, second] = &answers.value[..] else { panic!("{answers:?}") };
    assert_eq!((first.node(), first.json().ok()), (nodes[1].id_at(&nodes[0]), Some(2_u32)));
    let pair = (Bytes::from_static(b"x"), 2_u8);
    assert_eq!((second.node(), second.json().ok()), (nodes[2].id_at(&nodes[0]), Some(pair)));
    assert_eq!(answers.missing, [nodes[3].id_at(&nodes[0])]);
    // The others do not have the namespace.
    let answers = ServerReply::ask(&asking.of("/other"), "ask", &1).await.unwrap();
    assert_eq!((answers.value.len(), answers.missing.len()), (0, 3));
    // Nobody has waited for a timeout.
    assert!(began.elapsed() < Duration::from_secs(1));
    // An event without a question has no answer.
    let log = EventLog::default();
    let noted = log.clone();
    nodes[1].hub.on_server("tell", move |event: ServerEvent| {
        let noted = noted.clone();
        async move { noted.note(format!("{:?}", event.reply(&1))) }
    });
    asking.server_emit("tell", &1).unwrap();
    assert_eq!(log.take(1).await, ["Ok(false)"]);
    let alone = ServerReply::ask(&Hub::new(), "ask", &1).await.unwrap();
    assert_eq!((alone.value.len(), alone.missing.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_members_of_a_room_gets_nothing_of_it() {
    for routing in [Routing::Partitioned(4096), Routing::PerRoom] {
        let (_, nodes) = nodes(3, |config| config.routing(routing)).await;
        nodes[2].socket.leave("room");
        // A subscription lingers.
        pass(LONG).await;
        let before = nodes[2].stats().received;
        (0..100).for_each(|_| _ = nodes[0].hub.to("room").send("x"));
        assert_eq!(nodes[1].take().await.len(), 100);
        assert_eq!(nodes[2].stats().received, before, "{routing:?}");
        nodes[2].socket.join("room").unwrap();
        pass(SOON).await;
        nodes[0].hub.to("room").send("again");
        assert_eq!(nodes[2].take().await, ["again"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_went_deaf_is_renewed() {
    let (_, nodes) = nodes(2, |config| config.routing(Routing::Partitioned(1))).await;
    nodes[1].broker.unsubscribe(&[Subject::new("ws.p1.0").unwrap()]);
    nodes[0].hub.to("room").send("deaf");
    pass(6 * LONG).await;
    nodes[0].hub.to("room").send("hears");
    assert_eq!(nodes[1].take().await, ["hears"]);
    assert_eq!((nodes[1].stats().renewed, nodes[1].stats().lost), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn envelopes_beyond_the_limits_or_malformed_are_counted_and_never_delivered() {
    let bus = LoopbackBus::new(1);
    let set = |config: ClusterConfig| {
        config.inbox(3, 10_000).max_nodes(1).routing(Routing::Partitioned(1))
    };
    let mut node = Node::start(&bus, "id0", set).await;
    let other = Node::start(&bus, "id1", |config| config.routing(Routing::Partitioned(1))).await;
    pass(LONG).await;
    let _third = Node::start(&bus, "id2", |config| config.routing(Routing::Partitioned(1))).await;
    pass(LONG).await;
    assert_eq!((node.hub.nodes().len(), other.hub.nodes().len()), (1, 2));
    assert!(node.stats().too_many_nodes > 0);
    node.take_events().await;
    let full = node.stats().inbox_full;
    // All of them arrive before the task of the cluster runs.
    (0..10).for_each(|number| _ = other.hub.to("room").send(number.to_string()));
    assert_eq!(node.take().await, ["0", "1", "2"]);
    assert_eq!(node.stats().inbox_full - full, 7);
    pass(LONG).await;
    let events = node.take_events().await;
    assert!(matches!(events[..], [HubEvent::Gap { lost: 7, .. }]), "{events:?}");
    let all = Subject::new("ws.all").unwrap();
    for (envelope, malformed, unknown) in
        [(&b""[..], 1, 0), (b"WS\x02\0\x01\0\0\0", 1, 1), (b"XX", 2, 1), (&[0xFF; 60], 3, 1)]
    {
        other.broker.publish(&all, Bytes::copy_from_slice(envelope)).unwrap();
        assert_eq!(node.take().await, [""; 0]);
        let stats = node.stats();
        assert_eq!((stats.malformed, stats.unknown_version), (malformed, unknown));
    }
    bus.set_max_payload(1000);
    assert_eq!(other.hub.to("room").send("x".repeat(1000)).cluster, ClusterDelivery::TooLarge);
    let ids: Vec<_> = (0..20_000).map(|at| at.to_string()).collect();
    assert_eq!(other.hub.ids(&ids).send("x").cluster, ClusterDelivery::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn impossible_settings_are_errors() {
    let bus = LoopbackBus::new(1);
    bus.set_total_order(false);
    let build = |set: fn(ClusterConfig) -> ClusterConfig| {
        HubBuilder::default().build_clustered(set(ClusterConfig::new(bus.join()))).err()
    };
    assert_eq!(build(|it| it), None);
    let error = build(|it| it.order(DeliveryOrder::BrokerOrdered));
    assert_eq!(error, Some(ClusterConfigError::NoTotalOrder("loopback")));
    assert!(matches!(build(|it| it.prefix("a b")), Some(ClusterConfigError::Prefix(_))));
    for count in [0, 4097] {
        let config = ClusterConfig::new(bus.join()).routing(Routing::Partitioned(count));
        let error = Hub::builder().build_clustered(config).err();
        assert_eq!(error, Some(ClusterConfigError::Partitions(count)));
    }
}

/// A node with these keys, each of one repeated byte; without any, if there are none.
#[cfg(feature = "hmac")]
fn keyed<'a>(keys: &'a [u8]) -> impl Fn(ClusterConfig) -> ClusterConfig + 'a {
    move |config| match keys {
        [] => config,
        keys => config.keys(keys.iter().map(|key| [*key; 32])),
    }
}

#[cfg(feature = "hmac")]
#[tokio::test(start_paused = true)]
async fn what_has_no_tag_by_a_key_of_the_cluster_is_dropped_and_counted() {
    #[track_caller]
    fn is_counted(node: &Node, is_heard: bool) {
        assert_eq!((node.stats().forged == 0, node.stats().received > 0), (is_heard, is_heard));
    }
    // Keys of the sender and of the receiver → whether each hears the other.
    for (sender, receiver, hears) in [
        (&[1][..], &[1][..], [true, true]),
        (&[1], &[2], [false, false]),
        (&[1], &[], [false, false]),
        (&[1], &[1, 2], [true, true]),
        (&[2, 1], &[1, 2], [true, true]),
        (&[2, 1], &[1], [true, false]),
    ] {
        let bus = LoopbackBus::new(1);
        let one = Node::start(&bus, "one", keyed(sender)).await;
        let two = Node::start(&bus, "two", keyed(receiver)).await;
        pass(LONG).await;
        one.hub.to("room").except("one").send("hello");
        let got = two.take().await;
        assert_eq!(got.is_empty(), !hears[1], "{sender:?} {receiver:?}");
        assert_eq!([one.hub.nodes().len(), two.hub.nodes().len()], hears.map(usize::from));
        is_counted(&one, hears[0]);
        if receiver.is_empty() {
            // An envelope with a tag has a field that is cut off.
            assert!(two.stats().malformed > 0 && two.stats().received == 0);
        } else {
            is_counted(&two, hears[1]);
        }
    }
}

#[cfg(feature = "hmac")]
#[tokio::test]
async fn a_key_that_is_too_short_is_refused() {
    let bus = LoopbackBus::new(1);
    for (keys, is_possible) in
        [(vec![], false), (vec![31], false), (vec![32], true), (vec![32, 31], false)]
    {
        let keys = keys.iter().map(|len| vec![1; *len]);
        let config = ClusterConfig::new(bus.join()).keys(keys);
        let error = Hub::builder().build_clustered(config).err();
        assert_eq!(error, (!is_possible).then_some(ClusterConfigError::Key));
    }
}

#[test]
fn a_clustered_hub_needs_a_runtime() {
    let config = ClusterConfig::new(LoopbackBus::new(1).join());
    let error = Hub::builder().build_clustered(config).err();
    assert_eq!(error, Some(ClusterConfigError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_an_event_of_its_hub_also_without_a_cluster() {
    let limits = SendQueueLimits::new().messages(1);
    let hub = Hub::builder().send_queue(limits).build();
    let admin = hub.of("/admin");
    let mut events = hub.events();
    let (_client, server) = pair();
    tokio::spawn(admin.handler()(server));
    while admin.is_empty() {
        tokio::task::yield_now().await;
    }
    let socket = admin.everyone().sockets().remove(0);
    socket.set_id("slow").unwrap();
    while socket.send("more").is_ok() {}
    let expected = HubEvent::SlowConsumer { id: "slow".into(), namespace: "/admin".into() };
    assert_eq!(events.next().await, Some(expected));
    drop((hub, admin, socket));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn applications_with_different_prefixes_do_not_see_each_other() {
    let bus = LoopbackBus::new(1);
    let one = Node::start(&bus, "id0", |config| config.prefix("one")).await;
    let two = Node::start(&bus, "id1", |config| config.prefix("two")).await;
    pass(LONG).await;
    assert_eq!(one.hub.nodes().len() + two.hub.nodes().len(), 0);
    one.hub.send("one");
    assert_eq!((one.take().await.len(), two.take().await.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_ends_with_the_last_handle_of_its_hub() {
    let (bus, mut nodes) = nodes(1, |config| config).await;
    let hub = Hub::builder().build_clustered(ClusterConfig::new(bus.join())).unwrap();
    pass(SOON).await;
    let node = nodes[0].hub.nodes()[0].id;
    let mut events = hub.events();
    drop(hub);
    pass(Duration::from_secs(3)).await;
    let expected = [HubEvent::NodeUp { node }, HubEvent::NodeDown { node }];
    assert_eq!(nodes[0].take_events().await, expected);
    while events.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn handlers_of_a_clustered_hub_reach_the_sockets_of_all_nodes() {
    let (_, nodes) = nodes(2, |config| config).await;
    for node in &nodes {
        node.hub.on("say", async |socket: Socket, Json(text): Json<String>| {
            socket.to("room").emit("said", &text).map(drop)
        });
    }
    let (client, server) = pair();
    tokio::spawn(nodes[0].hub.handler()(server));
    client.write(r#"{"event":"say","data":"hello"}"#).await.unwrap();
    for node in &nodes {
        assert_eq!(node.take().await, [r#"{"event":"said","data":"hello"}"#]);
    }
}
