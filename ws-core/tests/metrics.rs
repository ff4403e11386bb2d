//! Which metrics does a connection record, and when?
#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::{connect, run, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::advance;
use ws_core::{
    AcceptOptions, Acceptor, Compression, Config, Conn, Keepalive, Role, StatusCode, pair_with,
};

/// Runs a test with a recorder of its own, and returns what it has recorded.
fn recorded(test: impl AsyncFnOnce(&PrometheusHandle)) -> Samples {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || run(test(&handle)));
    Samples::of(&handle)
}

/// The samples by name and labels, such as `websocket_messages{role="server",direction="receive"}`.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    fn of(handle: &PrometheusHandle) -> Self {
        let text = handle.render();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Self(samples.map(sample).collect())
    }

    /// The sum of the samples of a metric that have all these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_it = |(key, _): &(&String, &f64)| {
            let (found, rest) = key.split_once('{').unwrap_or((key, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        };
        self.0.iter().filter(of_it).map(|(_, value)| value).sum()
    }

    /// The names of the metrics with those of their labels.
    fn shapes(&self) -> BTreeSet<(String, Vec<String>)> {
        let shape = |key: &String| {
            let (name, labels) = key.trim_end_matches('}').split_once('{').unwrap_or((key, ""));
            let name = name.trim_end_matches("_sum").trim_end_matches("_count");
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
            // The quantiles of a summary.
            let mut labels: Vec<_> =
                labels.filter(|it| *it != "quantile").map(str::to_owned).collect();
            labels.sort();
            (name.to_owned(), labels)
        };
        self.0.keys().map(shape).collect()
    }
}

/// The names and labels in the table of OBSERVABILITY.md, as Prometheus writes them.
fn documented() -> BTreeSet<(String, Vec<String>)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/OBSERVABILITY.md"));
    let text = text.unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `websocket."));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').replace('.', "_");
        let mut labels: Vec<_> =
            cells[4].split(", ").map(|it| it.trim_matches('`').to_owned()).collect();
        labels.retain(|label| !label.is_empty());
        labels.sort();
        (name, labels)
    };
    let of_ws_events = ["websocket_hub_", "websocket_cluster_"];
    let is_ours = |name: &str| of_ws_events.iter().all(|other| !name.starts_with(other));
    rows.map(row).filter(|(name, _)| is_ours(name)).collect()
}

/// A client and a server with compression and keepalive.
fn compressed_pair() -> (Conn, Conn) {
    let config = || {
        Config::new()
            .compression(Compression::context_takeover().threshold(0))
            .keepalive(Keepalive::every(Duration::from_secs(20)))
    };
    pair_with(config(), config())
}

/// Lets so many seconds pass, in steps in which the tasks of connections run.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        // A timer fires up to a millisecond late.
        advance(Duration::from_millis(1001)).await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Makes an opening handshake with this `Origin`.
async fn shake_hands(origin: &str) {
    let (here, mut there) = duplex(4096);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    there.write_all(request.as_bytes()).await.unwrap();
    let accepted = Acceptor::new(&AcceptOptions::new()).accept(here).await;
    let mut response = [0; 12];
    there.read_exact(&mut response).await.unwrap();
    assert_eq!(accepted.is_ok(), response.ends_with(b"101"));
}

#[test]
fn each_metric_of_the_table_is_recorded_with_its_labels_and_no_other() {
    let samples = recorded(async |_| {
        let (client, server) = compressed_pair();
        let reading = {
            let server = server.clone();
            tokio::spawn(async move { while server.read().await.is_ok() {} })
        };
        client.write("hello hello hello").await.unwrap();
        soon(client.ping()).await.unwrap();
        soon(client.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
        reading.await.unwrap();
        // It is closed before the transport takes the message.
        let (stuck, _peer) = connect(Role::Server, Config::new(), None, 1024);
        stuck.write(vec![0; 4 << 20]).await.unwrap();
        pass(6).await;
        drop(stuck);
        shake_hands("http://a").await;
        shake_hands("http://b").await;
    });
    assert_eq!(samples.shapes(), documented());
}

#[test]
fn the_counts_are_those_of_the_connection() {
    let mut stats = None;
    let samples = recorded(async |_| {
        let (client, server) = compressed_pair();
        for size in [0, 1, 100, 100_000] {
            client.write("x".repeat(size)).await.unwrap();
            soon(server.read()).await.unwrap();
            // Some of them are handed over before the end.
            advance(Duration::from_secs(3)).await;
        }
        let reading = tokio::spawn(async move { client.read().await });
        soon(server.close(StatusCode::try_from(4001).unwrap(), "")).await.unwrap();
        reading.await.unwrap().unwrap_err();
        stats = Some(server.stats());
    });
    let stats = stats.unwrap();
    assert_eq!(stats.messages_in, 4);
    let sum = |name: &str, labels: &[&str]| samples.sum(name, labels) as u64;
    for (name, labels, expected) in [
        ("websocket_messages", &[r#"direction="receive""#][..], stats.messages_in),
        ("websocket_messages", &[r#"direction="transmit""#], stats.messages_out),
        ("websocket_io", &[r#"direction="receive""#], stats.bytes_in),
        ("websocket_io", &[r#"direction="transmit""#], stats.bytes_out),
        ("websocket_compression_payload", &[r#"form="compressed""#], stats.before_inflate),
        ("websocket_compression_payload", &[r#"form="uncompressed""#], stats.after_inflate),
        ("websocket_connections_opened", &[], 1),
        ("websocket_connections_active", &[], 0),
        ("websocket_connections_closed", &[r#"by="local""#, r#"code="4001""#], 1),
        ("websocket_connection_duration_count", &[], 1),
        ("websocket_connection_duration_sum", &[], 12),
    ] {
        let server = [labels, &[r#"role="server""#]].concat();
        assert_eq!(sum(name, &server), expected, "{name} {labels:?}");
    }
    assert_eq!(sum("websocket_connections_closed", &[r#"by="peer""#, r#"code="4xxx""#]), 1);
}

#[test]
fn an_open_connection_hands_over_its_counts_every_five_seconds() {
    recorded(async |handle| {
        let (client, server) = compressed_pair();
        let sent = || Samples::of(handle).sum("websocket_messages", &[r#"role="client""#]);
        for round in 1..=3 {
            client.write("hello").await.unwrap();
            soon(server.read()).await.unwrap();
            assert_eq!(sent(), f64::from(round - 1));
            pass(5).await;
            assert_eq!(sent(), f64::from(round));
        }
    });
}

#[test]
fn pings_of_the_keepalive_are_measured() {
    let samples = recorded(async |_| {
        let (client, server) = compressed_pair();
        let reading = tokio::spawn(async move { server.read().await });
        // Both read, and nothing arrives but pings and pongs.
        let read = tokio::time::timeout(Duration::from_secs(70), client.read()).await;
        assert!(read.is_err());
        drop(client);
        reading.await.unwrap().unwrap_err();
    });
    for role in [r#"role="client""#, r#"role="server""#] {
        let pings = samples.sum("websocket_ping_duration_count", &[role]);
        assert!((1.0..=3.0).contains(&pings), "{role}: {pings}");
    }
    assert_eq!(samples.sum("websocket_connections_active", &[]), 0.0);
}

/// A connection with a full send buffer that ends like this has nothing left, and this close code.
fn check_end(code: &str, end: impl FnOnce(Conn)) {
    let samples = recorded(async |handle| {
        let (here, _there) = connect(Role::Server, Config::new(), None, 1024);
        here.write(vec![0; 4 << 20]).await.unwrap();
        pass(6).await;
        let queued = || Samples::of(handle).sum("websocket_send_buffer_usage", &[]);
        assert!(queued() > 0.0);
        end(here);
        assert_eq!(queued(), 0.0);
    });
    assert_eq!(samples.sum("websocket_connections_active", &[]), 0.0, "{code}");
    assert_eq!(samples.sum("websocket_connections_closed", &[]), 1.0, "{code}");
    assert_eq!(samples.sum("websocket_connections_closed", &[code]), 1.0, "{code}");
}

#[test]
fn a_connection_that_ends_in_any_way_is_not_active_and_has_no_send_buffer() {
    check_end(r#"code="1001""#, drop);
    check_end(r#"code="4001""#, |conn| {
        let closing = conn.close(StatusCode::try_from(4001).unwrap(), "").now_or_never();
        assert!(closing.is_none());
    });
    check_end(r#"code="1006""#, |conn| conn.close_now());
    check_end(r#"code="1006""#, |conn| {
        conn.close_now();
        conn.close_now();
    });
}
