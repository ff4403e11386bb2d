//! Does each query of the dashboard return data of the metrics example?

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use ws_client::{Compression, Conn, StatusCode};

use crate::program::{Example, Running, free_port, in_time, skip};

/// A Prometheus that reads one example. It is ended on drop.
struct Prometheus {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// `None` if it is not installed.
    fn start(target: u16) -> Option<Self> {
        let port = free_port();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("prometheus.yml");
        let job = json!({
            "job_name": "websocket",
            "static_configs": [{ "targets": [format!("127.0.0.1:{target}")] }],
        });
        // JSON is YAML.
        let text = json!({ "global": { "scrape_interval": "1s" }, "scrape_configs": [job] });
        fs::write(&config, text.to_string()).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(Self { child: child.ok()?, port, folder })
    }

    /// The values that an instant query returns now.
    async fn query(&self, query: &str) -> Option<Vec<f64>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("http://127.0.0.1:{}/api/v1/query?query={encoded}", self.port);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).send().await.ok()?;
        let text = response.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {text}");
        let series = answer["data"]["result"].as_array()?;
        series.iter().map(|one| one["value"][1].as_str()?.parse().ok()).collect()
    }

    /// The metrics of ours that it has read, without the suffixes of histograms.
    async fn names(&self) -> BTreeSet<String> {
        let url = format!("http://127.0.0.1:{}/api/v1/label/__name__/values", self.port);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let text = client.get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let names = answer["data"].as_array().unwrap().iter().filter_map(Value::as_str);
        let ours = names.filter(|name| name.starts_with("websocket_"));
        let suffixes = ["_bucket", "_sum", "_count"];
        let base = |name: &str| {
            let mut bases = suffixes.iter().filter_map(|suffix| name.strip_suffix(suffix));
            bases.next().unwrap_or(name).to_owned()
        };
        ours.map(base).collect()
    }

    /// Waits until a query returns data: a number for at least one series.
    async fn wait_for_data(&self, query: &str) {
        let has_data = |values: Vec<f64>| values.iter().any(|value| value.is_finite());
        while !self.query(query).await.is_some_and(has_data) {
            sleep(Duration::from_millis(250)).await; // tidy: sleep is the subject
        }
    }
}

/// A Redis on a free port, and its URL. `None` if it is not installed.
fn redis() -> Option<(Running, String)> {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skip("redis-server is not installed");
        return None;
    };
    Some((Running(child), format!("redis://127.0.0.1:{port}")))
}

/// The queries of the dashboard with their panels.
fn queries() -> Vec<(String, String)> {
    let text = include_str!("../metrics/dashboard.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

async fn dial(server: &Example, compression: Compression) -> Conn {
    in_time(server.dial("/ws").compression(compression).connect()).await.unwrap()
}

/// Causes all that the dashboard shows, again and again.
async fn cause_traffic(server: &Example) {
    let compression = Compression::no_context_takeover().threshold(0);
    // It answers pings.
    let listener = dial(server, compression).await;
    tokio::spawn(async move { while listener.read().await.is_ok() {} });
    // It reads nothing, and becomes a slow consumer.
    let _slow = dial(server, Compression::off()).await;
    for round in 0_u32.. {
        let conn = dial(server, compression).await;
        // More than the buffers between the server and the slow consumer.
        let (repeats, messages) = if round < 10 { (20_000, 20) } else { (100, 1) };
        let text = "hello ".repeat(repeats);
        let event = json!({ "event": "say", "data": text }).to_string();
        for _ in 0..messages {
            in_time(conn.write(&*event)).await.unwrap();
            in_time(conn.read()).await.unwrap();
        }
        in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
        let foreign = server.dial("/ws").origin("http://elsewhere.example");
        in_time(foreign.connect()).await.unwrap_err();
        sleep(Duration::from_millis(100)).await; // tidy: sleep is the subject
    }
}

#[tokio::test]
async fn each_query_of_the_dashboard_returns_data() {
    let Some((_redis, broker)) = redis() else { return };
    let start = |port| {
        let metrics = format!("--metrics=127.0.0.1:{port}");
        let args = ["--listen=127.0.0.1:0", &*metrics, "--broker", &broker];
        Example::start_for("metrics", &args, Duration::from_secs(300))
    };
    let port = free_port();
    // The second one makes the first one a node of a cluster.
    let (server, _other) = (start(port), start(free_port()));
    let Some(prometheus) = Prometheus::start(port) else {
        return skip("prometheus is not installed");
    };
    let queries = queries();
    assert!(queries.len() >= 30, "{queries:?}");
    let asking = async {
        for (panel, query) in &queries {
            let asked = timeout(Duration::from_secs(120), prometheus.wait_for_data(query)).await;
            assert!(asked.is_ok(), "`{panel}` has no data: {query}");
        }
    };
    tokio::select! {
        () = asking => {}
        () = cause_traffic(&server) => {}
    }
    let nodes = prometheus.query("max(websocket_cluster_nodes_active)").await;
    assert_eq!(nodes.as_deref(), Some(&[1.0][..]));
    // The dashboard shows all that is recorded.
    let names = prometheus.names().await;
    assert!(names.len() > 24, "{names:?}");
    let is_shown = |name: &str| queries.iter().any(|(_, query)| query.contains(name));
    let unused: Vec<_> = names.iter().filter(|name| !is_shown(name)).collect();
    assert_eq!(unused, [""; 0]);
}
