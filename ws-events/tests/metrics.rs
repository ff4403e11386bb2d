//! Which metrics does a hub record?
#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use metrics_exporter_prometheus::PrometheusBuilder;
use support::{enter, wait_until};
use ws_core::Conn;
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
    let samples = text.lines().filter(|line| line.starts_with("websocket_hub_"));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

/// The rows of hubs in the table of OBSERVABILITY.md: names and labels, as Prometheus writes them.
fn documented() -> BTreeSet<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ws-core/OBSERVABILITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `websocket.hub."));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|it| it.trim().trim_matches('`')).collect();
        (cells[1].replace('.', "_"), cells[4].to_owned())
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
    });
    let shape = |key: &String| {
        let (name, labels) = key.trim_end_matches('}').split_once('{').unwrap_or((key, ""));
        let name = name.trim_end_matches("_sum").trim_end_matches("_count");
        let label = labels.split('=').next().unwrap().replace("quantile", "");
        (name.to_owned(), label)
    };
    assert_eq!(samples.keys().map(shape).collect::<BTreeSet<_>>(), documented());
}
