//! WebSockets on axum 0.8.
//!
//! [`WebSocketUpgrade`] is an extractor that reads like axum's own; [`websocket`] is a whole
//! route in one line; [`WebSocketLayer`] takes the WebSockets of a route that serves other
//! requests too. Everything that decides about a handshake is in [`AcceptOptions`];
//! everything that a connection can do is in [`Conn`].
//!
//! ```no_run
//! use axum::response::Response;
//! use axum::routing::any;
//! use axum::Router;
//! use ws_server_axum::{AcceptOptions, Conn, Error, WebSocketUpgrade, websocket};
//!
//! async fn echo(conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! async fn chat(ws: WebSocketUpgrade) -> Response {
//!     ws.protocols(["chat.v2", "chat.v1"]).max_message_size(64 * 1024).on_upgrade(echo)
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new()
//!         .route("/echo", websocket(AcceptOptions::new(), echo))
//!         .route("/chat", any(chat));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
//!     ws_server_axum::serve(listener, app).await
//! }
//! ```
//!
//! When a handler returns, the connection is closed with 1000, when it returns an error or
//! panics, with 1011. Connections that know of each other, with rooms, events and
//! broadcasts, are what `ws-events` is for: `ws.on_upgrade(hub.member())`.
//!
//! A route that takes one word in JSON, with the feature `json`, which is on by default:
//!
//! ```
//! # use std::time::Duration;
//! use ws_server_axum::{AcceptOptions, Conn, Error, StatusCode, websocket};
//!
//! #[derive(serde::Deserialize)]
//! struct Said {
//!     word: String,
//! }
//!
//! async fn listen(conn: Conn) -> Result<(), Error> {
//!     let Said { word } = conn.read_json().await?;
//!     println!("received: {word}");
//!     conn.close(StatusCode::NORMAL_CLOSURE, "").await
//! }
//!
//! let app = axum::Router::new().route("/", websocket(AcceptOptions::new(), listen));
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn check(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! #     let conn = ws_server_axum::test_client(app).websocket("/").connect().await?;
//! #     conn.write(r#"{"word": "hi"}"#).await?;
//! #     let read = tokio::time::timeout(Duration::from_secs(20), conn.read()).await?;
//! #     assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::NORMAL_CLOSURE));
//! #     Ok(())
//! # }
//! # check(app).unwrap();
//! ```
//!
//! # Routes
//!
//! `any` serves HTTP/1.1 and HTTP/2; `get` serves HTTP/1.1 alone, since a WebSocket over
//! HTTP/2 begins with CONNECT.
//!
//! # Which server
//!
//! `axum::serve` does for HTTP/1.1, where a connection takes its TCP stream over. Over HTTP/2,
//! which it speaks with axum's feature `http2`, WebSockets share the stream, and two settings
//! of it are not for WebSockets: without `TCP_NODELAY`, short messages wait for
//! acknowledgements, some 40 ms each; and one handler that leaves 1 MiB unread stalls all others
//! on its connection. It also waits for ever for a client that says nothing. [`serve`] and
//! [`serve_until`] have settings that are for WebSockets, and [`serve_stream`] is for TLS, or any
//! other stream.
//!
//! # Middleware
//!
//! What middleware attaches to a request is in `conn.request()` afterwards. Middleware that
//! passes the answer on, with its head unchanged, does no harm. A timeout counts until the
//! answer and not until the end of the connection. Leave WebSockets out of a cache, and
//! out of what reads or replaces the body of an answer with a 101 or a CONNECT: [`is_upgrade`]
//! tells them apart.
//!
//! # Shutting down
//!
//! `with_graceful_shutdown` and [`serve_until`] wait for requests that are under way. A
//! connection that was upgraded over HTTP/1.1 is none any more, and one over HTTP/2 is one for
//! as long as it is open, so the first would be cut off, and the second waited for without an
//! end. Give the options a [`ConnectionTracker`], and drain it as the last part of the signal, as
//! [`serve_until`] shows.
#![doc = ""]
#![doc = include_str!("../MOVING.md")]

mod layer;
mod refused;
mod route;
mod server;
mod upgrade;

pub use layer::{WebSocketLayer, WebSocketService};
pub use refused::Refused;
pub use route::websocket;
#[cfg(feature = "test-client")]
pub use server::test_client;
pub use server::{App, serve, serve_stream, serve_until};
pub use upgrade::{DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade};
#[cfg(feature = "json")]
pub use ws_server_hyper::JsonCodec;
#[cfg(feature = "proto")]
pub use ws_server_hyper::ProtobufCodec;
pub use ws_server_hyper::frame;
pub use ws_server_hyper::{
    AcceptOptions, Attributes, BufferPool, ByteStream, CloseError, CloseInfo, CloseInitiator,
    CloseRead, Codec, CodecError, Compression, Config, Conn, ConnStats, ConnectionTracker,
    Deadline, Decode, Direction, DrainConfig, DrainCounts, Encode, Error, Frame, HandlerOutput,
    HandlerPanic, HandshakeError, HandshakeRequest, InvalidStatusCode, JoinedMessages, Keepalive,
    Limit, Limits, Message, MessageReader, MessageStream, MessageType, MessageWriter, Negotiated,
    Origin, PathParams, PeerAddr, PreparedMessage, ProtocolError, Rate, Rejection, RequestInfo,
    Role, SendError, StatusCode, SubprotocolOrder, Tapped, TryWriteError, is_upgrade, pair,
    pair_with,
};
#[cfg(feature = "test-client")]
pub use ws_server_hyper::{TestClient, TestError, TestRequest};
