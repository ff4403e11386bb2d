//! How do I shut a server down gracefully?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
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

/// Waits for Ctrl-C, SIGTERM or Enter.
async fn stop_requested() {
    let mut line = String::new();
    let mut input = BufReader::new(stdin());
    tokio::select! {
        () = shutdown_signal() => {}
        Ok(1..) = input.read_line(&mut line) => {}
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    let listener = examples::listen(
        "Sends every message back, and shuts down gracefully at Ctrl-C or SIGTERM.",
    )
    .await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async move {
        stop_requested().await;
        // Sends 1001 to all connections, and waits for their handlers, up to 10 s.
        let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
        println!("{} notified, {} aborted, {} left", counts.notified, counts.aborted, counts.open);
    };
    // After the drain, the server stops listening and waits for requests in progress, up to 10 s.
    // With `axum::serve(…).with_graceful_shutdown(stop)`, a client can hold this without a limit.
    serve_until(listener, app, stop).await?;
    // The blocking read of the terminal cannot be cancelled, and would delay the end of the runtime.
    std::process::exit(0)
}
