//! How does a task that is no handler tell a room what is new, and how does a hub stop?
//!
//! Whoever connects sees ten times a second what the hub does.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::time::interval;
use ws_events::{DrainReport, EncodeError, Hub, Socket};
use ws_server_axum::{AcceptOptions, websocket};

async fn show(hub: Hub) -> Result<(), EncodeError> {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        // Out of date soon: whoever is behind gets the next one after it has caught up.
        hub.to("dashboard").volatile().emit("stats", &hub.stats())?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().envelope().build();
    hub.on_connect(async |socket: Socket| socket.join("dashboard"));
    let showing = tokio::spawn(show(hub.clone()));
    let app = Router::new().route("/", websocket(AcceptOptions::new(), hub.handler()));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async move {
        let _ = ctrl_c().await;
        // Nobody else is let in, and those who are here get what was sent, and 1001.
        let DrainReport { notified, aborted, remaining, .. } =
            hub.drain(Duration::from_secs(10)).await;
        println!("{notified} notified, {aborted} aborted, {remaining} remaining");
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    showing.abort();
    Ok(())
}
