//! How does a server take its listening socket from systemd, so that restarts refuse no client?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use examples::Listen;
use listenfd::ListenFd;
use tokio::net::TcpListener;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, serve_until, shutdown_signal,
    websocket,
};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = Listen::parse("Echoes, on a socket of systemd or on an address");
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)?
        }
        // Started by hand.
        None => listen.bind().await?,
    };
    println!("listening on ws://{}", listener.local_addr()?);
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(30))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
