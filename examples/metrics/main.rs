//! How do I measure a server with Prometheus and Grafana?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use examples::{Listen, bind};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;
use ws_events::cluster::ClusterConfig;
use ws_events::{EmitError, Hub, Json, Socket};
use ws_events_redis::{RedisBroker, RedisConfig};
use ws_server_axum::{AcceptOptions, Compression, Config, Keepalive};
use ws_server_axum::{serve, serve_until, shutdown_signal, websocket};

// ANCHOR: install
/// The upper bounds of the histograms, in seconds.
const DURATIONS: [f64; 12] =
    [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3600.0];

/// The same for the numbers of sockets in a room.
const SIZES: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 1000.0, 10_000.0];

/// Installs the recorder: before the hub is built, and the first connection opens.
fn install() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Suffix("duration".to_owned()), &DURATIONS)?
        .set_buckets_for_metric(Matcher::Suffix("room.sockets".to_owned()), &SIZES)?;
    Ok(builder.install_recorder()?)
}
// ANCHOR_END: install

/// Frees what the recorder keeps of histograms that nobody reads.
async fn upkeep(recorder: PrometheusHandle) {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

/// Serves a hub, and its metrics to Prometheus.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// The address of the metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    metrics: SocketAddr,
    /// The Redis that joins several of these servers, such as redis://127.0.0.1.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
}

/// A hub that sends each text to a room.
fn hub(broker: Option<String>) -> anyhow::Result<Hub> {
    let builder = Hub::builder().envelope();
    let hub = match broker {
        None => builder.build(),
        Some(url) => {
            let broker = RedisBroker::new(RedisConfig::new(url))?;
            builder.build_clustered(ClusterConfig::new(broker).prefix("metrics"))?
        }
    };
    hub.on_connect(async |socket: Socket| socket.join("lobby"));
    hub.on("say", async |socket: Socket, Json(text): Json<String>| -> Result<(), EmitError> {
        socket.hub().to("lobby").emit("said", &text)?;
        Ok(())
    });
    Ok(hub)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, metrics, broker } = Args::parse();
    let recorder = install()?;
    tokio::spawn(upkeep(recorder.clone()));
    // Often, to measure many round-trip times.
    let keepalive = Keepalive::every(Duration::from_secs(5));
    let config = Config::new().keepalive(keepalive).compression(Compression::no_context_takeover());
    let options = AcceptOptions::new().config(config);
    let hub = hub(broker)?;
    let app = Router::new().route("/ws", websocket(options, hub.handler()));
    // On a port of its own, which the network does not reach.
    let page = Router::new().route("/metrics", get(move || async move { recorder.render() }));
    let listener = listen.bind().await?;
    let metrics_listener = bind(metrics, "--metrics").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    println!("metrics on http://{}/metrics", metrics_listener.local_addr()?);
    // Unlike `axum::serve`, it disconnects a client that sends half a request.
    let serving = tokio::spawn(serve(metrics_listener, page));
    let stop = async {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(5)).await;
    };
    serve_until(listener, app, stop).await?;
    serving.abort();
    Ok(())
}
