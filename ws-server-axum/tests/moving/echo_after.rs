//! How does an echo look with `ws-server-axum`?

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use ws_server_axum::{Conn, WebSocketUpgrade};

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler))
}

async fn handler(ws: WebSocketUpgrade) -> Response {
    ws.protocols(["echo"]).max_message_size(64 * 1024).on_upgrade(echo)
}

async fn echo(socket: Conn) {
    while let Ok(message) = socket.read().await {
        if socket.write(message).await.is_err() {
            return;
        }
    }
}
