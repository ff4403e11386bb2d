//! How does an echo look with axum's own `ws`?

use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler))
}

async fn handler(ws: WebSocketUpgrade) -> Response {
    ws.protocols(["echo"]).max_message_size(64 * 1024).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
