//! How does a server stop without cutting anybody off?
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, websocket};

/// Sends every message back, until the peer is gone or the server is.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Waits for Ctrl-C or Enter.
async fn signal() {
    let mut line = String::new();
    let mut input = BufReader::new(stdin());
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        Ok(1..) = input.read_line(&mut line) => {}
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async move {
        signal().await;
        // The tracker tells the connections, and waits for their handlers…
        let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
        println!("{} told, {} cut, {} left", counts.told, counts.cut, counts.open);
    };
    // …and axum then stops listening, and waits for the requests under way: over HTTP/2, a
    // connection that was not drained would be one.
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    // Reading from a terminal cannot be given up: it would hold the runtime.
    std::process::exit(0)
}
