//! Which metrics does a hub record?
#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use support::{enter, wait_until};
use ws_core::Conn;
use ws_events::broker::{
    Broker as _, BrokerSink, BrokerStatus, LoopbackBus, LoopbackFaults, Subject,
};
use ws_events::cluster::{ClusterConfig, ClusterStats};
use ws_events::{ConnectRejection, Hub, SendQueueLimits, Socket};

/// The samples of hubs by name and labels, after all hubs have ended.
fn recorded(test: impl AsyncFnOnce()) -> BTreeMap<String, f64> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(test());
        drop(runtime);
    });
    let text = recorder.handle().render();
    samples(&text)
}

/// The samples of hubs and clusters in what Prometheus reads.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let is_ours = |line: &&str| {
        ["websocket_hub_", "websocket_cluster_"].iter().any(|it| line.starts_with(it))
    };
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(is_ours).map(sample).collect()
}

/// The rows of hubs in the table of OBSERVABILITY.md: names and labels, as Prometheus writes them.
fn documented() -> BTreeSet<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ws-core/OBSERVABILITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let is_ours = |line: &&str| {
        ["hub", "cluster"].iter().any(|it| line.starts_with(&format!("| `websocket.{it}.")))
    };
    let rows = text.lines().filter(is_ours);
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|it| it.trim().trim_matches('`')).collect();
        (cells[1].replace('.', "_"), cells[4].replace(['`', ' '], ""))
    };
    rows.map(row).collect()
}

/// A hub with a room, the client that is in it, and a socket that was a slow consumer.
async fn busy_hub() -> (Hub, Conn) {
    let hub = Hub::builder().send_queue(SendQueueLimits::new().messages(2)).build();
    let (slow, overwhelmed) = enter(&hub, "slow").await;
    let (fast, client) = enter(&hub, "fast").await;
    hub.middleware(async |_: Socket| Err(ConnectRejection::new("full")));
    let (_rejected, server) = ws_core::pair();
    tokio::spawn(hub.handler()(server));
    tokio::spawn(async move { overwhelmed.closed().await });
    fast.join("room").unwrap();
    for _ in 0..3 {
        let _ = slow.send("much");
    }
    fast.send("hello").unwrap();
    client.read().await.unwrap();
    wait_until(|| hub.stats().disconnected == 1 && hub.stats().rejected == 1).await;
    (hub, client)
}

#[test]
fn each_metric_of_the_table_is_recorded_with_its_labels_and_no_other() {
    let samples = recorded(async || {
        let (hub, _client) = busy_hub().await;
        tokio::time::pause();
        tokio::time::sleep(std::time::Duration::from_secs(6)).await; // tidy: sleep is the subject
        drop(hub);
        drop(node(&LoopbackBus::new(1)));
        tokio::time::sleep(std::time::Duration::from_secs(6)).await; // tidy: sleep is the subject
    });
    let shape = |key: &String| {
        let (name, labels) = key.trim_end_matches('}').split_once('{').unwrap_or((key, ""));
        let name = name.trim_end_matches("_sum").trim_end_matches("_count");
        let names = labels.split(',').map(|label| label.split('=').next().unwrap());
        (name.to_owned(), names.collect::<Vec<_>>().join(",").replace("quantile", ""))
    };
    assert_eq!(samples.keys().map(shape).collect::<BTreeSet<_>>(), documented());
}

/// A hub without sockets, on a bus.
fn node(bus: &LoopbackBus) -> Hub {
    Hub::builder().build_clustered(ClusterConfig::new(bus.join())).unwrap()
}

#[test]
fn the_state_of_brokers_and_what_is_lost_is_measured_while_it_changes() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Longer than two heartbeats, and than a silent node is up; then the counts are handed over.
    let settle = async || tokio::time::sleep(std::time::Duration::from_secs(20)).await; // tidy: sleep is the subject
    let check = |step: &str, expected: &[(&str, f64)]| {
        let samples = samples(&handle.render());
        for (name, value) in expected {
            let name = format!("websocket_cluster_{name}");
            assert_eq!(samples.get(&name), Some(value), "{step}: {name} of {samples:#?}");
        }
    };
    const UP: &str = "brokers{state=\"up\"}";
    const DOWN: &str = "brokers{state=\"down\"}";
    const LOST: &str = "envelopes{direction=\"receive\",outcome=\"lost\"}";
    const MALFORMED: &str = "envelopes{direction=\"receive\",outcome=\"malformed\"}";
    let run = async || {
        tokio::time::pause();
        let bus = LoopbackBus::new(1);
        bus.set_up(false);
        let (one, two) = (node(&bus), node(&bus));
        settle().await;
        check("before the first connection", &[(UP, 0.0), (DOWN, 2.0), ("nodes_active", 0.0)]);
        bus.set_up(true);
        settle().await;
        let known = ("nodes_active", 2.0);
        check("connected", &[(UP, 2.0), (DOWN, 0.0), known, (LOST, 0.0), (MALFORMED, 0.0)]);
        let before = ClusterStats::of(&two).unwrap();
        assert!(before.is_up && before.nodes == 1, "{before:?}");
        bus.set_faults(LoopbackFaults::new().loss(1.0));
        (0..7).for_each(|_| _ = one.send("lost"));
        bus.set_faults(LoopbackFaults::new());
        one.send("arrives");
        let other = bus.join();
        other.start(std::sync::Arc::new(Deaf));
        other.publish(&Subject::new("ws.all").unwrap(), "nonsense".into()).unwrap();
        settle().await;
        check("after losses", &[(UP, 2.0), known, (LOST, 7.0), (MALFORMED, 2.0)]);
        bus.set_up(false);
        one.send("refused");
        settle().await;
        let (stats, other) = (ClusterStats::of(&one).unwrap(), ClusterStats::of(&two).unwrap());
        assert!(!stats.is_up && stats.nodes == 0 && stats.refused >= 1, "{stats:?}");
        let outages = (stats.outages + other.outages) as f64;
        assert!(outages >= 2.0, "{stats:?}");
        check(
            "down",
            &[(UP, 0.0), (DOWN, 2.0), ("nodes_active", 0.0), ("broker_outages", outages)],
        );
        drop(two);
        settle().await;
        check("a hub has ended", &[(UP, 0.0), (DOWN, 1.0)]);
        drop(one);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(run());
        drop(runtime);
    });
    check("all hubs have ended", &[(UP, 0.0), (DOWN, 0.0), ("nodes_active", 0.0)]);
    let samples = samples(&handle.render());
    for outcome in [
        "direction=\"transmit\",outcome=\"published\"",
        "direction=\"transmit\",outcome=\"refused\"",
        "direction=\"receive\",outcome=\"received\"",
    ] {
        assert!(
            samples[&format!("websocket_cluster_envelopes{{{outcome}}}")] > 0.0,
            "{samples:#?}"
        );
    }
}

/// Another program at the broker.
struct Deaf;

impl BrokerSink for Deaf {
    fn message(&self, _: &str, _: Bytes) {}

    fn status(&self, _: BrokerStatus) {}
}
