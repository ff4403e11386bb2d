//! How do the official Socket.IO client and plain WebSockets share the rooms of one hub?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse as _, Redirect};
use axum::routing::get;
use clap::Parser;
use examples::Listen;
use serde::{Deserialize, Serialize};
use ws_events::{
    Attribute, ConnectRejection, EncodeError, Hub, Json, NotConnected, RequestInfo, Socket,
};
use ws_events_socketio::SocketIo;
use ws_server_axum::{AcceptOptions, nested, serve_until, shutdown_signal, websocket};

/// Where the page gets the official client, unless it is given by `--client`.
const CLIENT: &str = "https://cdn.socket.io/4.8.1/socket.io.min.js";

const ROOM: &str = "lobby";

/// Serves a chat to Socket.IO clients at `/socket.io/`, and to plain WebSockets at `/ws`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// A file with the official client, for pages without access to cdn.socket.io.
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
}

/// What a client of Socket.IO sends as `auth`.
#[derive(Deserialize)]
struct Auth {
    name: String,
}

/// The user of a socket.
#[derive(Clone)]
struct User(String);

#[derive(Serialize)]
struct Said<'a> {
    from: &'a str,
    text: &'a str,
}

/// The name is in `auth`, or in the query of a plain WebSocket. The client chooses it.
async fn check_name(socket: Socket) -> Result<(), ConnectRejection> {
    let request = socket.request();
    let of_query = |request: &RequestInfo| request.query("name").map(Cow::into_owned);
    let name = match socket.auth::<Option<Auth>>() {
        Ok(Some(Auth { name })) => Some(name),
        _ => request.as_deref().and_then(of_query),
    };
    let is_valid = |name: &String| {
        (1..=24).contains(&name.chars().count()) && !name.contains(char::is_control)
    };
    let name = name.filter(is_valid).ok_or_else(|| {
        ConnectRejection::new("a name has 1 to 24 characters")
            .data(&serde_json::json!({ "max": 24 }))
    })?;
    socket.attributes().insert(User(name));
    Ok(())
}

async fn enter(socket: Socket, Attribute(User(name)): Attribute<User>) -> Result<(), String> {
    socket.join(ROOM).map_err(|error: NotConnected| error.to_string())?;
    socket.to(ROOM).emit("entered", &name).map_err(|error| error.to_string())?;
    Ok(())
}

/// The value acknowledges the event: the number of sockets that get the message.
async fn say(
    socket: Socket,
    Attribute(User(from)): Attribute<User>,
    Json(text): Json<String>,
) -> Result<usize, String> {
    // The page counts UTF-16 code units, of which a character has one or two.
    if text.chars().count() > 1000 {
        return Err("a message has at most 1,000 characters".to_owned());
    }
    let said = Said { from: &from, text: &text };
    let sent = socket.hub().to(ROOM).emit("said", &said);
    sent.map(|delivery| delivery.queued).map_err(|error| error.to_string())
}

/// Peers that do not keep up do not need it.
async fn typing(socket: Socket, Attribute(User(name)): Attribute<User>) -> Result<(), EncodeError> {
    socket.to(ROOM).volatile().emit("typing", &name).map(drop)
}

async fn left(socket: Socket, Attribute(User(name)): Attribute<User>) -> Result<(), EncodeError> {
    socket.to(ROOM).emit("left", &name).map(drop)
}

fn chat() -> Hub {
    let hub = Hub::builder().envelope().build();
    hub.middleware(check_name);
    hub.on_connect(enter);
    hub.on("say", say);
    hub.on("typing", typing);
    hub.on_disconnect(left);
    hub
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, client } = Args::parse();
    let client = match client {
        Some(file) => {
            let read = tokio::fs::read(&file).await;
            Some(read.with_context(|| format!("cannot read {}", file.display()))?)
        }
        None => None,
    };
    let script = match client {
        Some(code) => get(async || ([(CONTENT_TYPE, "text/javascript")], code).into_response()),
        None => get(async || Redirect::temporary(CLIENT).into_response()),
    };
    let hub = chat();
    let app = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/socket.io.js", script)
        .route("/ws", websocket(AcceptOptions::new(), hub.handler()))
        .nest_service("/socket.io/", nested(SocketIo::new(&hub)));
    let listener = listen.bind().await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async move {
        shutdown_signal().await;
        hub.drain(Duration::from_secs(5)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
