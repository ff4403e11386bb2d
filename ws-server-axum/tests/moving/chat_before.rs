//! How does a broadcast chat look with axum's own `ws`?

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use tokio::sync::broadcast;

type Room = broadcast::Sender<Message>;

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler)).with_state(broadcast::channel(100).0)
}

async fn handler(State(room): State<Room>, ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(|socket| chat(socket, room))
}

async fn chat(mut socket: WebSocket, room: Room) {
    let mut news = room.subscribe();
    if socket.send(Message::from("welcome")).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            said = socket.recv() => {
                let Some(Ok(message)) = said else { return };
                let _ = room.send(message);
            }
            Ok(message) = news.recv() => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}
