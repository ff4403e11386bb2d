//! How does one talk in groups? Who connects to `/red` or `/red,blue` hears those groups.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use axum::Router;
use tokio::net::TcpListener;
use ws_events::{Hub, Message, NotConnected, Socket};
use ws_server_axum::{AcceptOptions, websocket};

async fn join(socket: Socket) -> Result<(), NotConnected> {
    let request = socket.request();
    let groups = request.as_ref().and_then(|request| request.param("groups")).unwrap_or_default();
    groups.split(',').try_for_each(|group| socket.join(group))
}

/// To each in any of the groups once, but to whoever says it.
async fn say(socket: Socket, message: Message) {
    let mut rooms = socket.rooms().into_iter();
    if let Some(first) = rooms.next() {
        rooms.fold(socket.to(first), |target, room| target.to(room)).send(message);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::new();
    hub.on_connect(join);
    hub.on_message(say);
    let app = Router::new().route("/{groups}", websocket(AcceptOptions::new(), hub.handler()));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
