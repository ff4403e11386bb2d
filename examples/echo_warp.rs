//! How do I serve WebSockets with warp?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use warp::Filter as _;
use ws_server_warp::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, recover, serve_until,
    shutdown_signal, websocket,
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
    let routes = warp::path::end().and(websocket(options, echo)).recover(recover);
    let listener = examples::listen("Sends every message back, with warp.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    // At Ctrl-C or SIGTERM, closes all connections with 1001.
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    // `warp::serve(routes)` works too, over HTTP/1.1 only.
    Ok(serve_until(listener, warp::service(routes), stop).await?)
}
