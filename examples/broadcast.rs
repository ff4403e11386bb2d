//! How do I broadcast a message to all clients?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_events::{Hub, Message, Socket};
use ws_server_axum::{AcceptOptions, serve_until, shutdown_signal, websocket};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::new();
    // The frame is encoded once. Each client has its own send queue, so a slow one delays nobody.
    hub.on_message(async |socket: Socket, message: Message| {
        let delivery = socket.hub().send(message);
        println!("queued for {} of {} clients", delivery.queued, delivery.matched);
    });
    let app = Router::new().route("/", websocket(AcceptOptions::new(), hub.handler()));
    let listener = examples::listen("Sends each message to all clients.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(10)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
