//! How do I send to a room from a background task, and shut a hub down?
//!
//! Each client receives the statistics of the hub ten times per second.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use tokio::time::interval;
use ws_events::{EncodeError, Hub, Socket};
use ws_server_axum::{AcceptOptions, serve_until, shutdown_signal, websocket};

async fn publish_stats(hub: Hub) -> Result<(), EncodeError> {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        // Volatile: skips clients whose send queue is not empty. They get a later update.
        hub.to("dashboard").volatile().emit("stats", &hub.stats())?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().envelope().build();
    hub.on_connect(async |socket: Socket| socket.join("dashboard"));
    let publisher = tokio::spawn(publish_stats(hub.clone()));
    let app = Router::new().route("/", websocket(AcceptOptions::new(), hub.handler()));
    let listener =
        examples::listen("Sends statistics to all clients, ten times per second.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async move {
        shutdown_signal().await;
        // Rejects new clients, sends the queued messages, and closes with 1001.
        let drained = hub.drain(Duration::from_secs(10)).await;
        println!(
            "{} notified, {} aborted, {} remaining",
            drained.notified, drained.aborted, drained.remaining
        );
    };
    serve_until(listener, app, stop).await?;
    publisher.abort();
    Ok(())
}
