//! WebSockets on axum 0.8.
//!
//! [`WebSocketUpgrade`] is an extractor with the same methods as axum's own. [`websocket`] is a
//! route for WebSockets only. [`WebSocketLayer`] handles the WebSocket requests of a route that
//! also serves other requests. [`AcceptOptions`] has the settings of the handshake; [`Conn`] has
//! the operations of a connection.
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
//! When a handler returns, the connection closes with 1000; when it returns an error or panics,
//! with 1011. For rooms, events and broadcasts, use `ws-events`: `ws.on_upgrade(hub.handler())`.
//!
//! A route that reads a value as JSON (feature `json`, enabled by default):
//!
//! ```
//! # use std::time::Duration;
//! use ws_server_axum::{AcceptOptions, Conn, Error, StatusCode, websocket};
//!
//! #[derive(serde::Deserialize)]
//! struct Greeting {
//!     word: String,
//! }
//!
//! async fn receive(conn: Conn) -> Result<(), Error> {
//!     let Greeting { word } = conn.read_json().await?;
//!     println!("received: {word}");
//!     conn.close(StatusCode::NORMAL_CLOSURE, "").await
//! }
//!
//! let app = axum::Router::new().route("/", websocket(AcceptOptions::new(), receive));
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
//! Use `any` for HTTP/1.1 and HTTP/2. `get` supports only HTTP/1.1, because a WebSocket over
//! HTTP/2 starts with CONNECT.
//!
//! A service that is mounted by `nest_service` gets the request without the prefix of its path, its
//! path parameters and the address of the client: see [`nested`].
//!
//! # Choosing a server
//!
//! `axum::serve` works for HTTP/1.1, but has no timeout for silent clients. A client that has sent
//! only a part of its request delays the graceful shutdown without a limit. Up to 16 requests that a
//! client has pipelined are handled before other connections. Over HTTP/2 (axum's
//! feature `http2`), WebSockets share a TCP stream, and `axum::serve` has two more drawbacks:
//!
//! * It does not set `TCP_NODELAY`, so short messages wait for TCP acknowledgements, about 40 ms
//!   each.
//! * A handler that leaves 1 MiB unread stalls the other handlers of its HTTP/2 connection.
//!
//! [`serve`] and [`serve_until`] have none of these drawbacks. [`serve_stream`] serves TLS or any
//! other stream.
//!
//! Over HTTP/2, a CONNECT that declares content (`content-length: 5`) ends the whole connection, and
//! every WebSocket on it: see [`ws_server_hyper`]. A proxy that shares a connection between its
//! clients has to remove the header.
//!
//! # Middleware
//!
//! Extensions that middleware adds to the request are in `conn.request()`. Middleware has to
//! pass the response on with its head unchanged. A timeout limits the time to the response, not
//! the life of the connection. Exclude WebSocket requests from caches, and from middleware that
//! reads or replaces the body of a 101 response or of a response to CONNECT; [`is_upgrade`]
//! detects them.
//!
//! # Graceful shutdown
//!
//! `with_graceful_shutdown` and [`serve_until`] wait for requests in progress. A WebSocket over
//! HTTP/1.1 is not a request in progress, so the shutdown does not wait for it, and it breaks when
//! the program exits. A WebSocket over HTTP/2 is one, so it delays the shutdown until it closes.
//! Pass a [`ConnectionTracker`] to the options and drain it as the last step of the `signal`
//! future: see [`serve_until`]. [`shutdown_signal`] waits for Ctrl-C or SIGTERM.
#![doc = ""]
#![doc = include_str!("../MOVING.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod nested;
mod rejection;
mod route;
mod server;
mod settings;
mod upgrade;

pub use nested::{NestedService, nested};
pub use rejection::UpgradeRejection;
pub use route::{WebSocketLayer, WebSocketService, websocket};
#[cfg(feature = "test-client")]
pub use server::test_client;
pub use server::{ServeApp, serve, serve_stream, serve_until};
pub use upgrade::{DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade};
pub use ws_server_hyper::frame;
pub use ws_server_hyper::is_upgrade;
pub use ws_server_hyper::prelude::{self, *};
pub use ws_server_hyper::shutdown_signal;
#[cfg(feature = "test-client")]
pub use ws_server_hyper::{TestClient, TestError, TestRequest};
