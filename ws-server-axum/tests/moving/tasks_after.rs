//! How does a chat with two tasks and a channel for each connection look with `ws-server-axum`?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use tokio::sync::broadcast;
use ws_server_axum::{Conn, Message, StatusCode, WebSocketUpgrade};

const KICKED: StatusCode = StatusCode::from_u16(4003).unwrap();

#[derive(Clone)]
struct App {
    news: broadcast::Sender<Message>,
    users: Arc<Mutex<HashMap<String, Conn>>>,
}

pub(super) fn app() -> Router {
    let app = App { news: broadcast::channel(100).0, users: Arc::default() };
    Router::new().route("/{user}", any(handler)).with_state(app)
}

async fn handler(
    Path(user): Path<String>,
    State(app): State<App>,
    ws: WebSocketUpgrade,
) -> Response {
    ws.on_upgrade(|conn| session(conn, user, app))
}

async fn session(conn: Conn, user: String, app: App) {
    app.users.lock().unwrap().insert(user.clone(), conn.clone());
    let mut news = app.news.subscribe();
    loop {
        tokio::select! {
            said = conn.read() => {
                let Ok(message) = said else { break };
                let Some(text) = message.as_text() else { continue };
                let Some(name) = text.strip_prefix("kick ") else {
                    let _ = app.news.send(message);
                    continue;
                };
                let kicked = app.users.lock().unwrap().get(name).cloned();
                if let Some(kicked) = kicked {
                    // `close` waits for the peer, and this loop need not.
                    tokio::spawn(async move { kicked.close(KICKED, "kicked").await });
                }
            }
            message = news.recv() => {
                // This one has missed messages, and goes on with the next.
                let Ok(message) = message else { continue };
                if conn.write(message).await.is_err() {
                    break;
                }
            }
        }
    }
    app.users.lock().unwrap().remove(&user);
}
