//! How do I serve a connection that only writes?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, serve_until, shutdown_signal,
    websocket,
};

/// Sends a counter ten times per second.
///
/// To answer pings and detect a close at once, a connection has to be read. `close_read` reads in the
/// background, and closes with 1008 if a message arrives.
async fn count(conn: Conn) -> Result<(), Error> {
    // It returns a future of the end of the connection, which is not needed here.
    drop(conn.close_read());
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for number in 0_u64.. {
        ticks.tick().await;
        conn.write(number.to_string()).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, count));
    let listener =
        examples::listen("Sends a counter ten times per second, and reads nothing.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
