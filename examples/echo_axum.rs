//! How do I serve WebSockets with axum?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, serve_until, shutdown_signal,
    websocket,
};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    let listener = examples::listen("Sends every message back, with axum.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    // At Ctrl-C or SIGTERM, closes all connections with 1001.
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
