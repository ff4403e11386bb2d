//! How does a chat with two tasks and a channel for each connection look with axum's own `ws`?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{broadcast, mpsc};

#[derive(Clone)]
struct App {
    news: broadcast::Sender<Message>,
    users: Arc<Mutex<HashMap<String, mpsc::Sender<Message>>>>,
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
    ws.on_upgrade(|socket| session(socket, user, app))
}

async fn session(socket: WebSocket, user: String, app: App) {
    let (mut sink, mut stream) = socket.split();
    let (direct, mut inbox) = mpsc::channel(32);
    app.users.lock().unwrap().insert(user.clone(), direct);
    let mut news = app.news.subscribe();

    let mut sender = tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                Some(message) = inbox.recv() => message,
                Ok(message) = news.recv() => message,
                else => return,
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let App { news, users } = app.clone();
    let mut receiver = tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = &message else { continue };
            let Some(name) = text.strip_prefix("kick ") else {
                let _ = news.send(message);
                continue;
            };
            let direct = users.lock().unwrap().get(name).cloned();
            if let Some(direct) = direct {
                let frame = CloseFrame { code: 4003, reason: "kicked".into() };
                let _ = direct.send(Message::Close(Some(frame))).await;
            }
        }
    });
    tokio::select! {
        _ = &mut sender => receiver.abort(),
        _ = &mut receiver => sender.abort(),
    }
    app.users.lock().unwrap().remove(&user);
}
