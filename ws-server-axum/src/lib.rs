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
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! When a handler returns, the connection is closed with 1000, when it returns an error or
//! panics, with 1011.
//!
//! # Routes
//!
//! `any` serves HTTP/1.1 and HTTP/2; `get` serves HTTP/1.1 alone, since a WebSocket over
//! HTTP/2 begins with CONNECT. For HTTP/2, switch on the feature `http2` of axum:
//! `axum::serve` does the rest but for one thing. Over HTTP/1.1 a connection takes its TCP
//! stream over and sets `TCP_NODELAY`; over HTTP/2 the stream is shared, so tell the listener,
//! or short messages wait for acknowledgements, some 40 ms each:
//!
//! ```no_run
//! use axum::serve::ListenerExt as _;
//!
//! # async fn serve(app: axum::Router) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
//! let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
//! axum::serve(listener, app).await
//! # }
//! ```
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
//! `with_graceful_shutdown` knows nothing of connections that were upgraded: give the options
//! a [`Tracker`], and drain it.
#![doc = ""]
#![doc = include_str!("../MOVING.md")]

mod layer;
mod refused;
mod route;
mod upgrade;

pub use layer::{WebSocketLayer, WebSocketService};
pub use refused::Refused;
#[cfg(feature = "test-client")]
pub use route::test_client;
pub use route::websocket;
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
