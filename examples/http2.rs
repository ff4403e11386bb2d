//! How do I serve WebSockets over HTTP/2 (RFC 8441)?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_server_axum::{
    AcceptOptions, Compression, Conn, ConnectionTracker, DrainConfig, Error, serve_until,
    shutdown_signal, websocket,
};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Routes and handlers are the same as for HTTP/1.1. Browsers negotiate HTTP/2 by ALPN, which
/// needs TLS. This example serves clients with prior knowledge, without TLS.
///
/// `axum::serve` works too, with axum's feature `http2`. `ws_server_axum::serve_until` also sets
/// `TCP_NODELAY`, timeouts, and flow control windows so that a slow WebSocket does not stall the
/// others.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    let options =
        AcceptOptions::new().compression(Compression::no_context_takeover()).tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    let listener = examples::listen("Sends every message back, over HTTP/1.1 and HTTP/2.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
