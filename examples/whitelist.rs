//! How do I accept only clients with allowed IP addresses?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Extension, Router};
use clap::Parser;
use examples::Listen;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, WebSocketUpgrade, serve_until,
    shutdown_signal,
};

/// Accepts only clients with these IP addresses.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// The allowed IP addresses.
    allowed: Vec<IpAddr>,
}

/// Behind a reverse proxy, this is the address of the proxy, unless the options name the proxy by
/// `AcceptOptions::trusted_proxies`.
async fn handle(State(allowed): State<Vec<IpAddr>>, ws: WebSocketUpgrade) -> Response {
    if !ws.peer_addr().is_some_and(|client| allowed.contains(&client.ip())) {
        return (StatusCode::FORBIDDEN, "address not allowed").into_response();
    }
    ws.on_upgrade(greet)
}

async fn greet(conn: Conn) -> Result<(), Error> {
    conn.write("welcome").await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, allowed } = Args::parse();
    let tracker = ConnectionTracker::new();
    // The settings of the extractor.
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", any(handle)).layer(Extension(options)).with_state(allowed);
    let listener = listen.bind().await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
