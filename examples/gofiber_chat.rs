//! How does the chat example of gofiber's socketio look with `ws-events`?
//!
//! Users connect to `/ws/NAME` and send each other JSON: the recipient, the sender, a custom event
//! and the text. The server forwards it unchanged.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use serde::Deserialize;
use ws_events::{
    DisconnectReason, EmitError, Event, EventError, EventPayload, Hub, Id, Json, Message, Socket,
    State,
};
use ws_server_axum::{AcceptOptions, Escaped, serve_until, shutdown_signal, websocket};

/// The fields of a client's message that the server reads.
#[derive(Deserialize)]
struct PrivateMessage {
    data: String,
    #[serde(default)]
    event: String,
    to: String,
}

/// The socket id of each user. With [`Socket::set_id`], the names could be the ids.
#[derive(Default)]
struct Users(Mutex<HashMap<String, Id>>);

/// The user's name, which is an attribute of the socket.
fn name(socket: &Socket) -> String {
    socket.attributes().named("user_id").unwrap_or_default()
}

/// The name for the terminal, which a user must not control.
fn shown(socket: &Socket) -> String {
    Escaped::new(&name(socket)).to_string()
}

async fn connected(socket: Socket, id: Id, State(users): State<Users>) -> Result<(), EmitError> {
    let request = socket.request();
    let user = request.as_ref().and_then(|request| request.param("user")).unwrap_or_default();
    println!("connect {}", Escaped::new(user));
    users.0.lock().insert(user.to_owned(), id.clone());
    socket.attributes().set("user_id", user.to_owned());
    socket.broadcast().send(format!("New user connected: {user} and UUID: {id}"));
    socket.send(format!("Hello user: {user} with UUID: {id}"))
}

async fn message(
    socket: Socket,
    Json(chat): Json<PrivateMessage>,
    message: Message,
    State(users): State<Users>,
) -> Result<(), String> {
    println!("message from {} to {}", shown(&socket), Escaped::new(&chat.to));
    match Event::from(chat.event) {
        Event::Custom(name) if name.is_empty() => {}
        event @ Event::Custom(_) => _ = socket.fire(event, chat.data),
        // Only the hub fires its own events, such as `disconnect`. The handlers of `error` run.
        event => return Err(format!("a peer may not fire `{event}`")),
    }
    let id = users.0.lock().get(&chat.to).cloned();
    // For an unknown name, the handlers of `error` run.
    let _ = socket.send_to(id.unwrap_or_else(|| Id::from(chat.to)), message);
    Ok(())
}

async fn custom(event: EventPayload) {
    println!("event {} of {}", Escaped::new(event.name()), shown(event.socket()));
}

async fn disconnected(
    socket: Socket,
    id: Id,
    reason: DisconnectReason,
    State(users): State<Users>,
) {
    let user = name(&socket);
    println!("disconnect {}: {reason:?}", shown(&socket));
    // Keeps the entry if the user has reconnected with another id.
    users.0.lock().retain(|_, other| *other != id);
    socket.broadcast().send(format!("User left: {user}"));
}

async fn failed(socket: Socket, error: EventError) {
    println!("error of {}: {error}", shown(&socket));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().state(Users::default()).build();
    hub.on("connect", connected);
    hub.on("message", message);
    hub.on("CUSTOM_EVENT", custom);
    hub.on("close", async |socket: Socket| println!("close {}", shown(&socket)));
    hub.on("disconnect", disconnected);
    hub.on("error", failed);
    let app = Router::new().route("/ws/{user}", websocket(AcceptOptions::new(), hub.handler()));
    let listener =
        examples::listen("The chat example of gofiber's socketio. Connect to /ws/NAME.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(10)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
