//! Do all nodes of a cluster know who is present, whatever the bus does, within the bound of the docs?

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Builder;
use ws_core::{Conn, pair};
use ws_events::broker::{LoopbackBroker, LoopbackBus, LoopbackFaults};
use ws_events::cluster::{ClusterConfig, ClusterStats};
use ws_events::{Hub, PresenceChange, PresenceChanges, PresenceList, PresenceOptions, Socket};

/// Lets time pass, which is paused otherwise.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: sleep is the subject
}

const HEARTBEAT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(10);

/// Longer than the interval.
const SOON: Duration = Duration::from_millis(300);

/// The bound of joins, updates and `untrack`.
const CHANGED: Duration = Duration::from_secs(5 + 3 + 1);

/// The bound of sockets that have ended: the grace period begins within the bound of changes.
const ENDED: Duration = Duration::from_secs(5 + 3 + 1 + 10);

/// The bound of those of a node that was killed: 10/3 heartbeats, the bound of a tick and the grace
/// period.
const GONE: Duration = Duration::from_secs(10 + 1 + 10);

struct Node {
    hub: Hub,
    broker: LoopbackBroker,
    /// The sockets, with their peers and keys.
    sockets: Vec<(Socket, Conn, String, u32)>,
    /// What a reader that keeps up knows.
    followed: Arc<Mutex<PresenceList>>,
    /// A reader that does not read before the end.
    lazy: PresenceChanges,
}

impl Node {
    fn start(bus: &LoopbackBus, options: PresenceOptions) -> Self {
        let broker = bus.join();
        let config =
            ClusterConfig::new(broker.clone()).heartbeat(HEARTBEAT).request_timeout(REQUEST);
        let hub = Hub::builder().presence(options).build_clustered(config).unwrap();
        let (mut changes, lazy) = (hub.presence("room").changes(), hub.presence("room").changes());
        let followed = Arc::<Mutex<PresenceList>>::default();
        let follow = Arc::clone(&followed);
        tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                apply(&mut follow.lock(), &change);
            }
        });
        Self { hub, broker, sockets: Vec::new(), followed, lazy }
    }

    async fn join(&mut self, key: &str, meta: u32) {
        let (client, server) = pair();
        let known = self.hub.everyone().local().sockets();
        tokio::spawn(self.hub.handler()(server));
        let socket = loop {
            let sockets = self.hub.everyone().local().sockets();
            if let Some(socket) = sockets.into_iter().find(|it| !known.contains(it)) {
                break socket;
            }
            tokio::task::yield_now().await;
        };
        self.hub.presence("room").track(&socket, key, &meta).unwrap();
        self.sockets.push((socket, client, key.to_owned(), meta));
    }

    /// The peer of a socket is gone.
    async fn end(&mut self, at: usize) {
        let (socket, client, ..) = self.sockets.remove(at);
        drop(client);
        while self.hub.socket(socket.id()).is_some() {
            tokio::task::yield_now().await;
        }
    }

    fn untrack(&mut self, at: usize) {
        let (socket, _, key, _) = self.sockets.remove(at);
        assert!(self.hub.presence("room").untrack(&socket, key));
    }

    fn update(&mut self, at: usize, meta: u32) {
        let (socket, _, key, old) = &mut self.sockets[at];
        *old = meta;
        self.hub.presence("room").update(socket, key, &meta).unwrap();
    }

    /// The keys and metadata that it lists, sorted.
    fn list(&self) -> Vec<String> {
        texts(&self.hub.presence("room").list())
    }

    /// The keys and metadata of its own sockets.
    fn truth(&self) -> Vec<String> {
        self.sockets.iter().map(|(.., key, meta)| format!("{key}:{meta}")).collect()
    }

    fn check_readers(&mut self) {
        use futures::FutureExt as _;
        let list = self.hub.presence("room").list();
        assert_eq!(*self.followed.lock(), list);
        let mut lazy = PresenceList::default();
        let mut count = 0;
        while let Some(change) = self.lazy.next().now_or_never() {
            apply(&mut lazy, &change.unwrap());
            count += 1;
        }
        assert!(count <= 17, "{count} changes were waiting");
        assert!(count == 0 || lazy == list, "{lazy:?} {list:?}");
    }
}

fn apply(list: &mut PresenceList, change: &PresenceChange) {
    match change {
        PresenceChange::List(whole) => *list = whole.clone(),
        PresenceChange::Diff(diff) => list.apply(diff),
    }
}

fn texts(list: &PresenceList) -> Vec<String> {
    let entries = list.values().flatten();
    let mut texts: Vec<_> =
        entries.map(|entry| format!("{}:{}", entry.key, entry.meta_json())).collect();
    texts.sort();
    texts
}

/// Nodes that know each other.
async fn nodes(bus: &LoopbackBus, count: usize) -> Vec<Node> {
    let nodes: Vec<_> = (0..count).map(|_| Node::start(bus, PresenceOptions::new())).collect();
    pass(SOON).await;
    assert!(nodes.iter().all(|node| node.hub.nodes().len() == count - 1));
    nodes
}

#[track_caller]
fn check(nodes: &[Node], expected: &[&str]) {
    for (at, node) in nodes.iter().enumerate() {
        assert_eq!(node.list(), expected, "node {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_nodes_list_the_sockets_of_all() {
    let bus = LoopbackBus::new(1);
    let mut nodes = nodes(&bus, 3).await;
    nodes[0].join("ann", 1).await;
    nodes[1].join("ann", 2).await;
    nodes[2].join("bob", 3).await;
    pass(SOON).await;
    check(&nodes, &["ann:1", "ann:2", "bob:3"]);
    nodes[1].update(0, 4);
    nodes[2].untrack(0);
    pass(SOON).await;
    check(&nodes, &["ann:1", "ann:4"]);
    nodes[0].end(0).await;
    pass(GRACE - SOON).await;
    check(&nodes, &["ann:1", "ann:4"]);
    pass(SOON + SOON + SOON).await;
    check(&nodes, &["ann:4"]);
    // Other namespaces have lists of their own.
    assert!(nodes[0].hub.of("/admin").presence("room").list().is_empty());
    nodes.iter_mut().for_each(Node::check_readers);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_later_asks_for_the_lists_in_parts() {
    let bus = LoopbackBus::new(1);
    bus.set_max_payload(40 * 1024);
    let mut nodes = nodes(&bus, 2).await;
    let (mut expected, text) = (Vec::new(), "x".repeat(200));
    for at in 0..600 {
        nodes[0].join(&format!("{at:03}{text}"), at).await;
        expected.push(format!("{at:03}{text}:{at}"));
    }
    pass(SOON).await;
    assert_eq!(nodes[1].list(), expected);
    nodes.push(Node::start(&bus, PresenceOptions::new()));
    assert_eq!(nodes[2].list(), [""; 0]);
    pass(HEARTBEAT).await;
    assert_eq!(nodes[2].list(), expected);
    assert_eq!(ClusterStats::of(&nodes[2].hub).unwrap().malformed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_does_not_use_presence_exchanges_none() {
    let bus = LoopbackBus::new(1);
    let mut node = Node::start(&bus, PresenceOptions::new());
    let other = Hub::builder().build_clustered(ClusterConfig::new(bus.join())).unwrap();
    pass(HEARTBEAT * 3).await;
    let received = || ClusterStats::of(&other).unwrap().received;
    let before = received();
    for at in 0..100 {
        node.join("ann", 1).await;
        node.untrack(node.sockets.len() - 1);
        node.join(&format!("bob{at}"), 2).await;
        pass(Duration::from_millis(10)).await;
    }
    pass(HEARTBEAT * 2).await;
    // Heartbeats alone, within 7 s.
    assert!(received() - before <= 3, "{}", received() - before);
    other.presence("room").list();
    pass(HEARTBEAT).await;
    assert_eq!(other.presence("room").list().values().flatten().count(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_asked_for_after_the_next_heartbeat() {
    let bus = LoopbackBus::new(1);
    let mut nodes = nodes(&bus, 2).await;
    nodes[0].join("ann", 1).await;
    pass(SOON).await;
    bus.set_faults(LoopbackFaults::new().loss(1.0));
    nodes[0].join("bob", 2).await;
    nodes[0].update(0, 3);
    pass(SOON).await;
    bus.set_faults(LoopbackFaults::new());
    assert_eq!(nodes[1].list(), ["ann:1"]);
    pass(HEARTBEAT + SOON).await;
    check(&nodes, &["ann:3", "bob:2"]);
    // A batch is lost, and the next one shows it.
    bus.set_faults(LoopbackFaults::new().loss(1.0));
    nodes[0].untrack(0);
    pass(Duration::from_millis(201)).await;
    bus.set_faults(LoopbackFaults::new());
    nodes[0].join("cid", 4).await;
    pass(SOON + SOON).await;
    assert_eq!(nodes[1].list(), ["ann:3", "bob:2", "cid:4"]);
    pass(GRACE).await;
    check(&nodes, &["bob:2", "cid:4"]);
    // It is repaired, so it is no gap for the application.
    assert_eq!(ClusterStats::of(&nodes[1].hub).unwrap().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_what_is_collected_and_not_published_yet() {
    let bus = LoopbackBus::new(1);
    let interval = Duration::from_secs(5);
    let mut node = Node::start(&bus, PresenceOptions::new().interval(interval));
    node.join("ann", 1).await;
    pass(interval + SOON).await;
    node.join("bob", 2).await;
    let late = Node::start(&bus, PresenceOptions::new());
    pass(HEARTBEAT + SOON).await;
    assert_eq!(late.list(), ["ann:1", "bob:2"]);
    // Before the interval of its coming is over.
    node.untrack(1);
    pass(interval + SOON).await;
    assert_eq!(late.list(), ["ann:1"]);
}

#[tokio::test(start_paused = true)]
async fn the_sockets_of_a_node_that_is_killed_leave_within_the_bound() {
    let bus = LoopbackBus::new(1);
    let mut nodes = nodes(&bus, 3).await;
    nodes[0].join("ann", 1).await;
    nodes[1].join("bob", 2).await;
    pass(SOON).await;
    // No goodbye arrives.
    nodes[0].broker.set_group(1);
    drop(nodes.remove(0));
    pass(Duration::from_secs(9)).await;
    check(&nodes, &["ann:1", "bob:2"]);
    pass(GONE - Duration::from_secs(9)).await;
    check(&nodes, &["bob:2"]);
    pass(SOON).await;
    nodes.iter_mut().for_each(Node::check_readers);
}

#[tokio::test(start_paused = true)]
async fn a_return_to_another_node_within_the_grace_period_is_no_change() {
    let bus = LoopbackBus::new(1);
    let mut nodes = nodes(&bus, 3).await;
    nodes[0].join("ann", 1).await;
    pass(SOON).await;
    let mut changes = nodes[2].hub.presence("room").changes();
    changes.next().await;
    // Its node says goodbye.
    drop(nodes.remove(0));
    pass(Duration::from_secs(5)).await;
    nodes[0].join("ann", 1).await;
    pass(GONE).await;
    check(&nodes, &["ann:1"]);
    use futures::FutureExt as _;
    assert!(changes.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_comes_back_with_its_sockets() {
    let bus = LoopbackBus::new(1);
    let mut nodes = nodes(&bus, 2).await;
    nodes[0].join("ann", 1).await;
    nodes[1].join("bob", 2).await;
    pass(SOON).await;
    nodes[0].broker.set_group(1);
    pass(GONE).await;
    assert_eq!((nodes[0].list(), nodes[1].list()), (vec!["ann:1".into()], vec!["bob:2".into()]));
    nodes[0].broker.set_group(0);
    pass(CHANGED).await;
    check(&nodes, &["ann:1", "bob:2"]);
    nodes.iter_mut().for_each(Node::check_readers);
}

#[tokio::test(start_paused = true)]
async fn entries_of_another_node_beyond_the_limit_are_ignored() {
    let bus = LoopbackBus::new(1);
    let mut many = Node::start(&bus, PresenceOptions::new());
    let few = Node::start(&bus, PresenceOptions::new().entries(2));
    pass(SOON).await;
    for key in ["ann", "bob", "cid"] {
        many.join(key, 1).await;
        pass(SOON).await;
    }
    assert_eq!(few.list(), ["ann:1", "bob:1"]);
    let late = Node::start(&bus, PresenceOptions::new().entries(2));
    pass(CHANGED).await;
    assert_eq!(late.list(), ["ann:1", "bob:1"]);
    many.untrack(0);
    pass(SOON).await;
    assert_eq!((few.list(), late.list()), (vec!["bob:1".into()], vec!["bob:1".to_owned()]));
}

const NODES: usize = 3;

/// What happens to the sockets, the nodes and the bus.
#[derive(Clone, Debug)]
enum Step {
    Join {
        node: usize,
        key: u8,
        meta: u32,
    },
    Update {
        node: usize,
        at: usize,
        meta: u32,
    },
    Untrack {
        node: usize,
        at: usize,
    },
    End {
        node: usize,
        at: usize,
    },
    /// Loss and duplication in percent, the longest delay, and whether it reorders.
    Faults(u8, u8, u16, bool),
    /// These nodes are cut off from the others.
    Cut([bool; NODES]),
    /// The connections of these nodes are down.
    Down([bool; NODES]),
    Kill(usize),
    /// Milliseconds.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, at, meta) = (0..NODES, 0..4_usize, 0..3_u32);
    let join = (node.clone(), 0..4_u8, meta.clone());
    let step = prop_oneof![
        6 => join.prop_map(|(node, key, meta)| Step::Join { node, key, meta }),
        2 => (node.clone(), at.clone(), meta).prop_map(|(node, at, meta)| Step::Update { node, at, meta }),
        2 => (node.clone(), at.clone()).prop_map(|(node, at)| Step::Untrack { node, at }),
        3 => (node.clone(), at).prop_map(|(node, at)| Step::End { node, at }),
        3 => (0..90_u8, 0..60_u8, 0..1500_u16, any::<bool>()).prop_map(
            |(loss, double, delay, reorders)| Step::Faults(loss, double, delay, reorders)
        ),
        1 => any::<[bool; NODES]>().prop_map(Step::Cut),
        1 => any::<[bool; NODES]>().prop_map(Step::Down),
        1 => node.prop_map(Step::Kill),
        4 => (0..5000_u16).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn check_schedule(seed: u64, steps: Vec<Step>) {
    let bus = LoopbackBus::new(seed);
    let mut nodes: Vec<_> = nodes(&bus, NODES).await.into_iter().map(Some).collect();
    let has_killed = steps.iter().any(|step| matches!(step, Step::Kill(_)));
    for step in steps {
        let alive = |nodes: &mut Vec<Option<Node>>, node: usize, at: usize| {
            let node = nodes[node].take()?;
            let at = (!node.sockets.is_empty()).then(|| at % node.sockets.len());
            Some((node, at))
        };
        match step {
            Step::Join { node, key, meta } => {
                if let Some(node) = &mut nodes[node] {
                    node.join(&format!("key{key}"), meta).await;
                }
            }
            Step::Update { node: index, at, meta } => {
                if let Some((mut node, at)) = alive(&mut nodes, index, at) {
                    at.into_iter().for_each(|at| node.update(at, meta));
                    nodes[index] = Some(node);
                }
            }
            Step::Untrack { node: index, at } => {
                if let Some((mut node, at)) = alive(&mut nodes, index, at) {
                    at.into_iter().for_each(|at| node.untrack(at));
                    nodes[index] = Some(node);
                }
            }
            Step::End { node: index, at } => {
                if let Some((mut node, at)) = alive(&mut nodes, index, at) {
                    if let Some(at) = at {
                        node.end(at).await;
                    }
                    nodes[index] = Some(node);
                }
            }
            Step::Faults(loss, double, delay, reorders) => bus.set_faults(
                LoopbackFaults::new()
                    .loss(f64::from(loss) / 100.0)
                    .duplication(f64::from(double) / 100.0)
                    .delay(Duration::ZERO..=Duration::from_millis(delay.into()))
                    .reorders(reorders),
            ),
            Step::Cut(cut) => {
                for (node, cut) in nodes.iter().zip(cut) {
                    node.iter().for_each(|node| node.broker.set_group(usize::from(cut)));
                }
            }
            Step::Down(down) => {
                for (node, down) in nodes.iter().zip(down) {
                    node.iter().for_each(|node| node.broker.set_up(!down));
                }
            }
            Step::Kill(index) => {
                if let Some(node) = nodes[index].take() {
                    // No goodbye arrives.
                    node.broker.set_group(10 + index);
                }
            }
            Step::Wait(time) => pass(Duration::from_millis(time.into())).await,
        }
    }
    bus.set_faults(LoopbackFaults::new());
    for node in nodes.iter().flatten() {
        node.broker.set_group(0);
        node.broker.set_up(true);
    }
    // What is still on its way is a fault, too.
    pass(Duration::from_millis(1500)).await;
    pass(CHANGED).await;
    let mut nodes: Vec<_> = nodes.into_iter().flatten().collect();
    let mut truth: Vec<_> = nodes.iter().flat_map(Node::truth).collect();
    truth.sort();
    for node in &nodes {
        // All who are there; some may be there who have gone.
        let mut list = node.list();
        for entry in &truth {
            let at = list.iter().position(|listed| listed == entry);
            list.remove(at.unwrap_or_else(|| panic!("{entry} is missing")));
        }
    }
    pass(if has_killed { GONE } else { ENDED } - CHANGED).await;
    for (at, node) in nodes.iter().enumerate() {
        assert_eq!(node.list(), truth, "node {at}");
        assert_eq!(ClusterStats::of(&node.hub).unwrap().malformed, 0);
    }
    pass(SOON).await;
    nodes.iter_mut().for_each(Node::check_readers);
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn within_the_bound_all_nodes_list_the_truth_and_no_ghost(seed: u64, steps in steps()) {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check_schedule(seed, steps));
    }
}
