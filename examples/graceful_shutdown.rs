//! How do I shut a server down gracefully?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, websocket};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Waits for Ctrl-C or Enter.
async fn shutdown_signal() {
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
        shutdown_signal().await;
        // Sends 1001 to all connections, and waits for their handlers, up to 10 s.
        let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
        println!("{} notified, {} aborted, {} left", counts.notified, counts.aborted, counts.open);
    };
    // After the signal, axum stops listening and waits for requests in progress. An open WebSocket
    // over HTTP/2 is one, so drain the tracker first.
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    // The blocking read of the terminal cannot be cancelled, and would delay the end of the runtime.
    std::process::exit(0)
}
