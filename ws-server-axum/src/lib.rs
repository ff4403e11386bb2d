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
//! panics, with 1011.
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
//! on its connection. [`serve`] and [`serve_until`] have settings that are. For TLS, or any
//! other stream, give `ws_server_hyper::server()` a `hyper_util::service::TowerToHyperService`
//! of the router.
//!
//! # Middleware
//!
//! What middleware attaches to a request is in `conn.request()` afterwards. Middleware that
//! passes the answer on, with its head unchanged, does no harm. A timeout counts until the
//! answer and not until the end of the connection. Leave WebSockets out of a cache, and
//! out of what reads or replaces the body of an answer with a 101 or a CONNECT.
//!
//! # Shutting down
//!
//! `with_graceful_shutdown` and [`serve_until`] know nothing of connections that were upgraded:
//! give the options a [`Tracker`], and drain it.
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
pub use server::{serve, serve_until};
pub use upgrade::{DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade};
pub use ws_server_hyper::{
    AcceptOptions, BufferPool, CloseError, CloseRead, Compression, Config, Conn, Counts, Deadline,
    Drain, EndedBy, Ending, Error, Keepalive, Limits, Message, MessageReader, MessageType,
    MessageWriter, Opening, Origin, Outcome, Panicked, PathParams, PeerAddr, Prepared,
    ProtocolError, Rejection, RequestInfo, Stats, StatusCode, SubprotocolOrder, Tracker,
    TryWriteError, Values, is_upgrade,
};
#[cfg(feature = "test-client")]
pub use ws_server_hyper::{TestClient, TestError, TestRequest};
