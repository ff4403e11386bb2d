//! How does a broadcast chat look with `ws-server-axum`?

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use tokio::sync::broadcast;
use ws_server_axum::{Conn, Message, WebSocketUpgrade};

type Room = broadcast::Sender<Message>;

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler)).with_state(broadcast::channel(100).0)
}

async fn handler(State(room): State<Room>, ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(|socket| chat(socket, room))
}

async fn chat(socket: Conn, room: Room) {
    let mut news = room.subscribe();
    if socket.write(Message::from("welcome")).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            said = socket.read() => {
                let Ok(message) = said else { return };
                let _ = room.send(message);
            }
            Ok(message) = news.recv() => {
                if socket.write(message).await.is_err() {
                    return;
                }
            }
        }
    }
}
