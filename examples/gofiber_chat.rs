//! How does the chat of gofiber's socketio look here?
//!
//! Users connect to `/ws/NAME`, and send each other JSON: whom it is for, an event to be
//! handled here, and the text.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use axum::Router;
use serde::Deserialize;
use tokio::net::TcpListener;
use ws_events::{EmitError, EventPayload, Fault, Hub, Id, Json, Reason, Refusal, Socket};
use ws_server_axum::{AcceptOptions, websocket};

/// What a client sends.
#[derive(Deserialize)]
struct Letter {
    data: String,
    #[serde(default)]
    event: String,
    to: String,
}

/// Known by the name of the user rather than by a random id, so that there is no map to
/// keep; a name that is in use is refused.
async fn name_it(socket: Socket) -> Result<(), Refusal> {
    let request = socket.request().ok_or_else(|| Refusal::new("no request"))?;
    let user = request.param("user").ok_or_else(|| Refusal::new("no name"))?;
    socket.attributes().set("user", user.to_owned());
    socket.set_id(user).map_err(|error| Refusal::new(error.to_string()))
}

async fn connected(socket: Socket, id: Id) -> Result<(), EmitError> {
    println!("connect {id}");
    socket.broadcast().send(format!("New user connected: {id}"));
    socket.send(format!("Hello user: {id}"))
}

async fn message(socket: Socket, Json(letter): Json<Letter>) -> Result<(), EmitError> {
    println!("message from {} to {}", socket.id(), letter.to);
    if !letter.event.is_empty() {
        socket.fire(letter.event.as_str(), letter.data.as_str());
    }
    // A name that nobody has is told to the handlers of `error`.
    let _ = socket.send_to(&letter.to, letter.data);
    Ok(())
}

async fn custom(event: EventPayload) {
    println!("event {} of {}", event.name(), event.id());
}

async fn disconnected(socket: Socket, id: Id, reason: Reason) {
    println!("disconnect {id}: {reason:?}");
    socket.broadcast().send(format!("User left: {id}"));
}

async fn failed(id: Id, fault: Fault) {
    println!("error of {id}: {fault}");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::new();
    hub.middleware(name_it);
    hub.on("connect", connected);
    hub.on("message", message);
    hub.on("CUSTOM_EVENT", custom);
    hub.on("close", async |id: Id| println!("close {id}"));
    hub.on("disconnect", disconnected);
    hub.on("error", failed);
    let app = Router::new().route("/ws/{user}", websocket(AcceptOptions::new(), hub.member()));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
