//! Does a cluster deliver in order, at most once, and report each loss once, whatever its bus does?

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Builder;
use ws_core::{Conn, pair};
use ws_events::Hub;
use ws_events::broker::{LoopbackBroker, LoopbackBus, LoopbackFaults};
use ws_events::cluster::{ClusterConfig, ClusterStats, HubEvent, OutagePolicy, Routing};

const NODES: usize = 3;
const ROOMS: usize = 4;

/// Lets time pass, which is paused otherwise.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: sleep is the subject
}

/// Longer than a silent node is up.
const LONG: Duration = Duration::from_secs(15);

/// What happens to the bus, and for how long.
#[derive(Clone, Debug)]
enum Step {
    /// Loss and duplication in percent, the longest delay, and whether it reorders.
    Faults(u8, u8, u16, bool),
    /// These nodes are cut off from the others.
    Cut([bool; NODES]),
    /// The connections of these nodes are down.
    Down([bool; NODES]),
    /// Messages of each node to each room.
    Send(Range<u8>),
    /// Milliseconds.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..60_u8, 0..60_u8, 0..1500_u16, any::<bool>()).prop_map(
            |(loss, double, delay, reorders)| Step::Faults(loss, double, delay, reorders)
        ),
        any::<[bool; NODES]>().prop_map(Step::Cut),
        any::<[bool; NODES]>().prop_map(Step::Down),
        (1..20_u8).prop_map(|count| Step::Send(0..count)),
        (0..3000_u16).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..25)
}

struct Node {
    hub: Hub,
    broker: LoopbackBroker,
    /// The texts that its member of each room got.
    got: Vec<Arc<Mutex<Vec<String>>>>,
    /// Envelopes lost, by origin and subject, as its events said.
    lost: Arc<Mutex<HashMap<(String, String), u64>>>,
}

async fn read(client: Conn, got: Arc<Mutex<Vec<String>>>) {
    while let Ok(message) = client.read().await {
        got.lock().push(message.as_text().unwrap().to_owned());
    }
}

async fn node(bus: &LoopbackBus, policy: OutagePolicy) -> Node {
    let broker = bus.join();
    // Few partitions, so that rooms share them.
    let config = ClusterConfig::new(broker.clone()).routing(Routing::Partitioned(2)).outage(policy);
    let hub = Hub::builder().build_clustered(config).unwrap();
    let mut got = Vec::new();
    for room in 0..ROOMS {
        let (client, server) = pair();
        tokio::spawn(hub.handler()(server));
        while hub.len() == room {
            tokio::task::yield_now().await;
        }
        let is_new = |socket: &ws_events::Socket| socket.rooms().is_empty();
        let socket = hub.everyone().sockets().into_iter().find(is_new).unwrap();
        socket.join(format!("room{room}")).unwrap();
        got.push(Arc::default());
        tokio::spawn(read(client, Arc::clone(&got[room])));
    }
    let lost: Arc<Mutex<HashMap<_, u64>>> = Arc::default();
    let (mut events, noted) = (hub.events(), Arc::clone(&lost));
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            assert!(!matches!(event, HubEvent::Missed { .. }));
            if let HubEvent::Gap { origin, subject, lost } = event {
                let key = (origin.to_string(), subject.to_string());
                *noted.lock().entry(key).or_default() += lost;
            }
        }
    });
    Node { hub, broker, got, lost }
}

fn check(seed: u64, policy: OutagePolicy, steps: Vec<Step>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(check_schedule(seed, policy, steps));
}

async fn check_schedule(seed: u64, policy: OutagePolicy, steps: Vec<Step>) {
    let bus = LoopbackBus::new(seed);
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(node(&bus, policy).await);
    }
    // Counting begins with the second heartbeat.
    pass(LONG).await;
    // What the broker or a buffer has taken, by sender and room.
    let mut accepted = [[0_u64; ROOMS]; NODES];
    let mut number = 0;
    for step in steps {
        match step {
            Step::Faults(loss, double, delay, reorders) => {
                let faults = LoopbackFaults::new()
                    .loss(f64::from(loss) / 100.0)
                    .duplication(f64::from(double) / 100.0)
                    .delay(Duration::ZERO..=Duration::from_millis(delay.into()))
                    .reorders(reorders);
                bus.set_faults(faults);
            }
            Step::Cut(cut) => {
                let of = |(node, cut): (&Node, bool)| node.broker.set_group(usize::from(cut));
                nodes.iter().zip(cut).for_each(of);
            }
            Step::Down(down) => {
                nodes.iter().zip(down).for_each(|(node, down)| node.broker.set_up(!down));
            }
            Step::Send(count) => {
                for _ in count {
                    number += 1;
                    for (sender, node) in nodes.iter().enumerate() {
                        for (room, accepted) in accepted[sender].iter_mut().enumerate() {
                            let text = format!("{sender} {number}");
                            let sent = node.hub.to(format!("room{room}")).send(text);
                            use ws_events::ClusterDelivery::{Held, Published};
                            *accepted += u64::from(matches!(sent.cluster, Published | Held));
                        }
                    }
                    tokio::task::yield_now().await;
                }
            }
            Step::Wait(time) => pass(Duration::from_millis(time.into())).await,
        }
    }
    bus.set_faults(LoopbackFaults::new());
    nodes.iter().for_each(|node| {
        node.broker.set_group(0);
        node.broker.set_up(true);
    });
    pass(LONG + LONG).await;
    for (at, node) in nodes.iter().enumerate() {
        let mut got = 0;
        for (room, texts) in node.got.iter().enumerate() {
            let mut last = [0; NODES];
            for text in texts.lock().iter() {
                let (sender, number) = text.split_once(' ').unwrap();
                let (sender, number): (usize, u32) =
                    (sender.parse().unwrap(), number.parse().unwrap());
                assert!(number > last[sender], "twice or out of order in room {room}: {text}");
                last[sender] = number;
                got += u64::from(sender != at);
            }
        }
        let is_other = |sender: &usize| *sender != at;
        let sent: u64 =
            (0..NODES).filter(is_other).map(|sender| accepted[sender].iter().sum::<u64>()).sum();
        let lost = node.lost.lock();
        // Requests and broadcasts to all are not a part of this.
        let rooms = lost.iter().filter(|((_, subject), _)| subject.contains(".p2."));
        let lost: u64 = rooms.map(|(_, lost)| lost).sum();
        assert_eq!(got + lost, sent, "node {at}: {got} arrived, {lost} are reported");
        assert_eq!(ClusterStats::of(&node.hub).unwrap().malformed, 0);
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn each_envelope_is_delivered_once_in_order_or_reported_once(
        seed: u64, steps in steps()
    ) {
        check(seed, OutagePolicy::FailFast, steps);
    }

    #[test]
    fn the_same_holds_with_a_buffer(seed: u64, steps in steps()) {
        check(seed, OutagePolicy::buffer(64 * 1024, Duration::from_secs(5)), steps);
    }
}
