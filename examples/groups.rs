//! How do I send to groups (rooms)?
//!
//! A client that connects to `/red,blue` joins both rooms.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_events::{Hub, Message, NotConnected, Socket};
use ws_server_axum::{AcceptOptions, serve_until, shutdown_signal, websocket};

async fn join(socket: Socket) -> Result<(), NotConnected> {
    let request = socket.request();
    let groups = request.as_ref().and_then(|request| request.param("groups")).unwrap_or_default();
    groups.split(',').try_for_each(|group| socket.join(group))
}

/// Sends a message to the other members of all rooms of the sender, once to each.
async fn forward(socket: Socket, message: Message) {
    let mut rooms = socket.rooms().into_iter();
    if let Some(first) = rooms.next() {
        rooms.fold(socket.to(first), |target, room| target.to(room)).send(message);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::new();
    hub.on_connect(join);
    hub.on_message(forward);
    let app = Router::new().route("/{groups}", websocket(AcceptOptions::new(), hub.handler()));
    let listener =
        examples::listen("Sends to groups. Connect to /red,blue to join two of them.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(10)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
