//! Do hubs over a broker get every message once, or report how many they did not get?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use ws_core::{Conn, pair};
use ws_events::cluster::{ClusterConfig, DeliveryOrder, HubEvent, OutagePolicy};
use ws_events::{ClusterDelivery, Hub, PresenceOptions};
use ws_events_broker::DriverConfig;

use super::contract::Connect;
use super::pointer::Pointer;
use super::{Server, pause, within};

/// A hub with one member in the room.
struct Node {
    hub: Hub,
    /// What the member has got.
    got: Arc<Mutex<Vec<String>>>,
    /// The events of the hub.
    events: Arc<Mutex<Vec<HubEvent>>>,
    changes: watch::Sender<()>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    async fn start(config: ClusterConfig) -> Self {
        let (grace, interval) = (Duration::from_millis(200), Duration::from_millis(20));
        let presence = PresenceOptions::new().grace(grace).interval(interval);
        let hub = Hub::builder().presence(presence).build_clustered(config).unwrap();
        let (events, got) = (Arc::<Mutex<Vec<HubEvent>>>::default(), Arc::default());
        let changes = watch::Sender::new(());
        let (mut reported, all, changed) = (hub.events(), Arc::clone(&events), changes.clone());
        let watching = tokio::spawn(async move {
            while let Some(event) = reported.next().await {
                all.lock().push(event);
                changed.send_replace(());
            }
        });
        let (client, server) = pair();
        let serving = tokio::spawn(hub.handler()(server));
        let reading = tokio::spawn(read(client, Arc::clone(&got), changes.clone()));
        within(async {
            while hub.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        hub.everyone().local().join("room");
        let tasks = [watching, reading, tokio::spawn(async move { drop(serving.await) })];
        Self { hub, got, events, changes, tasks }
    }

    /// The numbers of one sender, in the order of their arrival.
    fn numbers(&self, sender: usize) -> Vec<usize> {
        let number = |text: &String| {
            let (from, number) = text.split_once(':')?;
            (from.parse() == Ok(sender)).then(|| number.parse().unwrap())
        };
        self.got.lock().iter().filter_map(number).collect()
    }

    /// The envelopes of rooms that did not arrive here, as the hub reports them.
    fn gaps(&self) -> u64 {
        let lost = |event: &HubEvent| match event {
            HubEvent::Gap { subject, lost, .. } if subject.as_str().contains(".p") => *lost,
            _ => 0,
        };
        self.events.lock().iter().map(lost).sum()
    }

    fn count(&self, is_counted: impl Fn(&HubEvent) -> bool) -> usize {
        self.events.lock().iter().filter(|event| is_counted(event)).count()
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        within(async {
            while !condition(self) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }
}

async fn read(client: Conn, got: Arc<Mutex<Vec<String>>>, changes: watch::Sender<()>) {
    while let Ok(message) = client.read().await {
        got.lock().extend(message.as_text().map(str::to_owned));
        changes.send_replace(());
    }
}

/// Three hubs, each of which gets what the others send.
async fn start(
    server: &Server,
    connect: Connect,
    set: impl Fn(ClusterConfig) -> ClusterConfig,
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let broker = Pointer::new(connect(server.port, DriverConfig::new()));
        nodes.push(Node::start(set(ClusterConfig::new(broker))).await);
    }
    within(async {
        for (index, node) in nodes.iter().enumerate() {
            let marker = format!("hello {index}");
            while !nodes.iter().all(|other| other.got.lock().contains(&marker)) {
                node.hub.to("room").send(marker.as_str());
                pause().await;
            }
        }
        while !nodes.iter().all(|node| node.hub.nodes().len() == 2) {
            pause().await;
        }
    })
    .await;
    nodes
}

/// Three hubs send at the same time.
pub(crate) async fn check_steady(server: &Server, connect: Connect, order: DeliveryOrder) {
    const COUNT: usize = 500;
    let nodes = start(server, connect, |config| config.order(order)).await;
    let sending = nodes.iter().enumerate().map(|(sender, node)| async move {
        for number in 0..COUNT {
            let sent = node.hub.to("room").send(format!("{sender}:{number}"));
            assert_eq!(sent.cluster, ClusterDelivery::Published);
            tokio::task::yield_now().await;
        }
    });
    futures::future::join_all(sending).await;
    for node in &nodes {
        for sender in 0..3 {
            node.until(|node| node.numbers(sender).len() >= COUNT).await;
            assert!(node.numbers(sender).into_iter().eq(0..COUNT), "out of order, or twice");
        }
        assert_eq!(node.gaps(), 0);
    }
    if order == DeliveryOrder::BrokerOrdered {
        let sequence = |node: &Node| {
            let got = node.got.lock();
            got.iter().filter(|text| text.contains(':')).cloned().collect::<Vec<_>>()
        };
        assert!(nodes.windows(2).all(|pair| sequence(&pair[0]) == sequence(&pair[1])));
    }
}

/// The server is killed under load, and starts again. Returns the hubs.
async fn interrupt(
    server: &mut Server,
    connect: Connect,
    outage: OutagePolicy,
    pause_before_restart: Duration,
) -> (Vec<Node>, Vec<(usize, ClusterDelivery)>) {
    let nodes = start(server, connect, |config| config.outage(outage)).await;
    let up = |node: &Node| node.count(|event| *event == HubEvent::BrokerUp);
    let ups: Vec<_> = nodes.iter().map(up).collect();
    let sent = Mutex::new(Vec::new());
    let is_over = watch::Sender::new(false);
    let sending = async {
        for number in 0.. {
            if *is_over.borrow() {
                return;
            }
            let delivery = nodes[0].hub.to("room").send(format!("0:{number}"));
            assert_eq!(delivery.queued, 1, "local delivery is not interrupted");
            sent.lock().push((number, delivery.cluster));
            match number % 20 {
                0 => pause().await,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let restarting = async {
        nodes[1].until(|node| node.numbers(0).len() > 500).await;
        server.kill();
        for node in &nodes {
            let is_down = |event: &HubEvent| matches!(event, HubEvent::BrokerDown { .. });
            node.until(|node| node.count(is_down) > 0).await;
        }
        sleep(pause_before_restart).await; // tidy: sleep is the subject
        server.restart().await;
        for (node, ups) in nodes.iter().zip(&ups) {
            node.until(|node| up(node) > *ups).await;
        }
        is_over.send_replace(true);
    };
    tokio::join!(sending, restarting);
    // All after this arrives.
    within(async {
        while !nodes.iter().all(|node| node.got.lock().contains(&"end".to_owned())) {
            nodes[0].hub.to("room").send("end");
            pause().await;
        }
    })
    .await;
    (nodes, sent.into_inner())
}

/// Without a buffer: what is missing is what was refused, and what the hubs report.
pub(crate) async fn check_outage(server: &mut Server, connect: Connect) {
    let (nodes, sent) = interrupt(server, connect, OutagePolicy::FailFast, Duration::ZERO).await;
    let published =
        |(_, cluster): &&(usize, ClusterDelivery)| *cluster == ClusterDelivery::Published;
    let published = sent.iter().filter(published).count();
    assert!(published < sent.len(), "nothing was refused");
    assert_eq!(nodes[0].numbers(0).len(), sent.len());
    for node in &nodes[1..] {
        let numbers = node.numbers(0);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or twice");
        assert_eq!(published as u64, numbers.len() as u64 + node.gaps());
    }
}

/// With a buffer, an outage of 0.7 s loses nothing.
pub(crate) async fn check_buffer(server: &mut Server, connect: Connect) {
    let outage = OutagePolicy::buffer(8 * 1024 * 1024, Duration::from_secs(30));
    let (nodes, sent) = interrupt(server, connect, outage, Duration::from_millis(700)).await;
    for node in &nodes {
        node.until(|node| node.numbers(0).len() >= sent.len()).await;
        assert!(node.numbers(0).into_iter().eq(0..sent.len()), "out of order, or twice");
        assert_eq!(node.gaps(), 0);
    }
    assert!(sent.iter().any(|(_, cluster)| *cluster == ClusterDelivery::Held));
}

/// Three hubs are replaced one after the other, while all of them send. Nothing is lost: each gets
/// what the others send from the first message on until its own drain, in order and once.
pub(crate) async fn check_rolling_restart(server: &Server, connect: Connect) {
    const NODES: usize = 3;
    /// Waits until the last one of so many messages has arrived.
    async fn until_sent(node: &Node, sender: usize, count: usize) {
        let last = format!("{sender}:{}", count - 1);
        node.until(|node| node.got.lock().iter().rev().any(|text| *text == last)).await;
    }
    let mut nodes = VecDeque::new();
    for (sender, node) in start(server, connect, |config| config).await.into_iter().enumerate() {
        nodes.push_back(Sender::start(sender, node));
    }
    let mut old = Vec::new();
    for sender in NODES..2 * NODES {
        for (node, other) in nodes.iter().flat_map(|node| nodes.iter().map(move |it| (node, it))) {
            node.node.until(|node| node.numbers(other.number).len() > 100).await;
        }
        let mut leaving = nodes.pop_front().unwrap();
        let count = leaving.stop().await;
        let report = within(leaving.node.hub.drain(Duration::from_secs(5))).await;
        assert_eq!((report.notified, report.aborted, report.remaining), (1, 0, 0));
        for node in &nodes {
            until_sent(&node.node, leaving.number, count).await;
        }
        old.push(leaving);
        let broker = Pointer::new(connect(server.port, DriverConfig::new()));
        let node = Node::start(ClusterConfig::new(broker)).await;
        node.until(|node| node.count(|event| *event == HubEvent::BrokerUp) > 0).await;
        nodes.push_back(Sender::start(sender, node));
    }
    for at in 0..nodes.len() {
        // Also the newest one gets messages of the others.
        let (number, newest) = (nodes[at].number, &nodes[nodes.len() - 1]);
        newest.node.until(|node| !node.numbers(number).is_empty()).await;
        let count = nodes[at].stop().await;
        for node in &nodes {
            until_sent(&node.node, number, count).await;
        }
    }
    for Sender { number, node, .. } in old.iter().chain(&nodes) {
        for sender in 0..2 * NODES {
            let numbers = node.numbers(sender);
            let is_next = |pair: &[usize]| pair[0] + 1 == pair[1];
            assert!(numbers.windows(2).all(is_next), "{number} of {sender}: {numbers:?}");
        }
        assert_eq!(node.gaps(), 0, "{number}");
    }
}

/// A hub that sends numbers until it is stopped.
struct Sender {
    number: usize,
    node: Node,
    is_over: watch::Sender<bool>,
    sending: JoinHandle<usize>,
}

impl Sender {
    fn start(sender: usize, node: Node) -> Self {
        let is_over = watch::Sender::new(false);
        let (hub, stop) = (node.hub.clone(), is_over.subscribe());
        let sending = tokio::spawn(async move {
            let mut number = 0;
            while !*stop.borrow() {
                let delivery = hub.to("room").send(format!("{sender}:{number}"));
                assert_eq!(delivery.cluster, ClusterDelivery::Published);
                number += 1;
                match number % 5 {
                    0 => pause().await,
                    _ => tokio::task::yield_now().await,
                }
            }
            number
        });
        Self { number: sender, node, is_over, sending }
    }

    /// Returns how many it has sent.
    async fn stop(&mut self) -> usize {
        self.is_over.send_replace(true);
        within(&mut self.sending).await.unwrap()
    }
}

/// Three hubs know who is present, also after an outage in which one of them was lost.
pub(crate) async fn check_presence(server: &mut Server, connect: Connect) {
    let heartbeat = Duration::from_millis(300);
    let mut nodes = start(server, connect, |config| config.heartbeat(heartbeat)).await;
    let track = |node: &Node, key: &str, meta: u32| {
        let socket = node.hub.everyone().local().sockets().remove(0);
        node.hub.presence("room").track(&socket, key, &meta).unwrap();
    };
    let list = |node: &Node| {
        let list = node.hub.presence("room").list();
        let entries = list.values().flatten();
        entries.map(|entry| format!("{}:{}", entry.key, entry.meta_json())).collect::<Vec<_>>()
    };
    async fn until(nodes: &[Node], is_so: impl Fn(&Node) -> bool) {
        within(async {
            while !nodes.iter().all(&is_so) {
                pause().await;
            }
        })
        .await;
    }
    for (node, key) in nodes.iter().zip(["ann", "bob", "ann"]) {
        track(node, key, 1);
    }
    until(&nodes, |node| list(node) == ["ann:1", "ann:1", "bob:1"]).await;
    server.kill();
    // Its goodbye does not arrive, and what the others publish does not either.
    drop(nodes.remove(0));
    track(&nodes[0], "bob", 2);
    track(&nodes[1], "cid", 3);
    server.restart().await;
    until(&nodes, |node| list(node) == ["ann:1", "bob:2", "cid:3"]).await;
}
