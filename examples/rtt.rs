//! How do I measure the round-trip time of each client by pings?
//!
//! All clients receive the round-trip times of all clients.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_events::{Conn, Hub, Socket};
use ws_server_axum::{AcceptOptions, serve_until, shutdown_signal, websocket};

/// Pings a client twice per second until it disconnects.
async fn measure(socket: Socket, conn: Conn) {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while let Ok(rtt) = conn.ping().await {
        let line = (socket.id(), rtt.as_micros());
        // Volatile: skips clients whose send queue is not empty.
        let sent = socket.hub().everyone().volatile().emit("rtt", &line);
        if sent.is_err() {
            return;
        }
        ticks.tick().await;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().envelope().build();
    hub.on_connect(async |socket: Socket| {
        // Spawned, because the handlers of a socket run one after the other.
        if let Some(conn) = socket.conn() {
            tokio::spawn(measure(socket, conn));
        }
    });
    let app = Router::new().route("/", websocket(AcceptOptions::new(), hub.handler()));
    let listener = examples::listen("Prints the round-trip time of each client.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(10)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
