//! WebSockets on hyper 1.
//!
//! [`accept`] validates a WebSocket request, and returns the response to send and an [`Upgrade`], a
//! future that resolves to the [`Conn`]. [`AcceptOptions`] has the settings of the handshake;
//! [`Conn`] has the operations of a connection.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use tokio::net::TcpListener;
//! use ws_server_hyper::{AcceptOptions, Conn, Error};
//!
//! async fn echo(conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! async fn handle(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
//!         Ok((response, upgrade)) => {
//!             tokio::spawn(upgrade.serve(echo));
//!             Ok(response)
//!         }
//!         Err(rejection) => Ok(rejection.into_response().map(Full::from)),
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:9000").await?;
//!     ws_server_hyper::serve(listener, service_fn(handle)).await
//! }
//! ```
//!
//! For rooms, events and broadcasts, use `ws-events`: `upgrade.serve(hub.handler())`.
//!
//! # Choosing a server
//!
//! [`serve`] and [`serve_until`] serve a listener. [`serve_stream`] serves one connection over
//! any stream, such as TLS or a Unix socket. All three use [`http_builder`]: hyper-util's server
//! for HTTP/1.1 and HTTP/2 with settings for WebSockets.
//!
//! Other servers work too: `hyper::server::conn::http1` with `.with_upgrades()`, and any HTTP/2
//! server with `enable_connect_protocol`, which clients require. Set a timer on such a server:
//! without a timer, silent clients have no timeout.
//!
//! Over HTTP/1.1, if the stream is a `tokio::net::TcpStream` in a `TokioIo`, the connection takes
//! it over and sets `TCP_NODELAY`. Over HTTP/2, the server keeps the stream: set `TCP_NODELAY` when
//! you accept it. Otherwise short messages wait for TCP acknowledgements, about 40 ms each.
//!
//! hyper 1.12 ends a whole HTTP/2 connection when a CONNECT declares content (`content-length: 5`),
//! before any service sees the request (`poll_server` in `proto/h2/server.rs`). Every WebSocket on
//! that connection ends. A proxy that shares a connection between its clients has to remove the
//! header, which has no meaning in a CONNECT.
//!
//! h2 also ends a whole HTTP/2 connection when some 32,000 short DATA frames are not read: see
//! [`http_builder`]. A proxy that shares a connection between its clients lets one client end the
//! WebSockets of the others by this, if their handlers do not read.
//!
//! hyper 1.12 does not reset a stream whose bytes wait for the peer (`UpgradedSendStreamTask` in
//! `proto/h2/upgrade.rs`). After `write_timeout`, the WebSocket ends and its handler goes on, but
//! hyper holds the stream with up to 128 KiB until the peer takes them or the HTTP/2 connection
//! ends. A connection has at most 256 streams.
//!
//! # Middleware
//!
//! `tower` middleware works in front of a service: extensions that it adds to the request are in
//! `conn.request()`. Middleware has to pass the response on with its head unchanged. A timeout
//! limits the time to the response, not the life of the connection. Exclude WebSocket requests
//! from caches, and from middleware that reads or replaces the body of a 101 response or of a
//! response to CONNECT; [`is_upgrade`] detects them.
//!
//! # Graceful shutdown
//!
//! A graceful shutdown waits for requests in progress. A WebSocket over HTTP/1.1 is not a request
//! in progress, so the shutdown does not wait for it, and it breaks when the program exits. A
//! WebSocket over HTTP/2 is one, so it delays the shutdown until it closes. Pass a
//! [`ConnectionTracker`] to the options and drain it before the shutdown: see [`serve_until`].
//! [`shutdown_signal`] waits for Ctrl-C or SIGTERM.
//!
//! # Request data
//!
//! [`Conn::request`] has the URI, headers, query, cookies and extensions of the request. hyper has
//! no router: for path parameters, insert [`PathParams`] as an extension before `accept`. If the
//! transport does not know the client's address, as behind TLS or a proxy, insert [`PeerAddr`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod accept_loop;
mod http2_stream;
mod http_connection;
mod serve;
mod shutdown_signal;
#[cfg(feature = "test-client")]
mod test_client;
mod upgrade;
mod write_timeout;

pub use accept::{accept, accept_optional, accept_parts, handshake_request, is_upgrade};
pub use http_connection::http_builder;
pub use serve::{serve, serve_stream, serve_until};
pub use shutdown_signal::shutdown_signal;
#[cfg(feature = "test-client")]
pub use test_client::{TestClient, TestError, TestRequest};
pub use upgrade::Upgrade;
pub use ws_core::frame;
pub use ws_core::prelude::{self, *};
