//! WebSockets on warp 0.4.
//!
//! [`ws`] is a filter that composes with others and extracts a [`Ws`];
//! [`on_upgrade`](Ws::on_upgrade) returns the reply. [`websocket`] is a route for WebSockets, which
//! combines both steps. [`AcceptOptions`] has the settings of the handshake; [`Conn`] has the
//! operations of a connection.
//!
//! ```no_run
//! use tokio::net::TcpListener;
//! use warp::Filter as _;
//! use ws_server_warp::{AcceptOptions, Conn, Error, Ws, recover, serve, websocket, ws};
//!
//! async fn echo(conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let echoes = warp::path!("echo").and(websocket(AcceptOptions::new(), echo));
//!     let rooms = warp::path!("room" / u32)
//!         .and(ws(AcceptOptions::new().subprotocols(["chat"])))
//!         .map(|room: u32, ws: Ws| ws.param("room", room.to_string()).on_upgrade(echo));
//!     let routes = echoes.or(rooms).recover(recover);
//!     let listener = TcpListener::bind("127.0.0.1:9000").await?;
//!     serve(listener, warp::service(routes)).await
//! }
//! ```
//!
//! When a handler returns, the connection closes with 1000; when it returns an error or panics,
//! with 1011. For rooms, events and broadcasts, use `ws-events`: `ws.on_upgrade(hub.handler())`.
//!
//! # Rejections
//!
//! A request without a valid opening handshake is rejected with [`HandshakeRejected`], and `or`
//! tries the next filter. warp replies to unhandled custom rejections with 500: end the routes
//! with `.recover(ws_server_warp::recover)`, or find [`HandshakeRejected`] in your own recover
//! function.
//!
//! # Choosing a server
//!
//! `warp::serve` supports WebSockets over HTTP/1.1 only, because it does not enable extended
//! CONNECT. [`serve`], [`serve_until`] and [`serve_stream`] also support HTTP/2. Under
//! `warp::serve`, [`Conn::request`] does not have the extensions of the request. There, warp's
//! filters `path::full`, `tail` and `peek` panic on a target without a path, such as that of
//! `CONNECT a:80`. The servers of this crate answer such a request before warp does.
//!
//! Over HTTP/2, a CONNECT that declares content (`content-length: 5`) ends the whole connection, and
//! every WebSocket on it: see [`ws_server_hyper`]. A proxy that shares a connection between its
//! clients has to remove the header.
//!
//! # Middleware
//!
//! `tower` middleware wraps `warp::service(routes)`; pass the result to [`serve`], [`serve_until`]
//! or [`serve_stream`]. warp hides the extensions that middleware adds to a request. [`ws`] finds only
//! [`PeerAddr`] and [`Encrypted`] among them: [`AcceptOptions::filter`], `ConnectionLimits::per_key`
//! and [`Conn::request`] do not see others. [`with_extensions`] around the `warp::service` shows
//! them all. `warp::ext::get` extracts one, and [`Ws::extension`] passes it to the handler.
//! [`Ws::param`] does the same for path parameters, which have no names in warp.
//!
//! Middleware has to pass the reply on with its head unchanged. A timeout limits the time to the
//! reply, not the life of the connection. Exclude WebSocket requests from caches, and from
//! middleware that reads or replaces the body of a 101 reply or of a reply to CONNECT;
//! [`is_upgrade`] detects them.
//!
//! # Graceful shutdown
//!
//! warp's graceful shutdown and [`serve_until`] wait for requests in progress. A WebSocket over
//! HTTP/1.1 is not a request in progress, so the shutdown does not wait for it, and it breaks when
//! the program exits. A WebSocket over HTTP/2 is one, so it delays the shutdown until it closes.
//! Pass a [`ConnectionTracker`] to the options and drain it as the last step of the `signal`
//! future: see [`serve_until`]. [`shutdown_signal`] waits for Ctrl-C or SIGTERM.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod filter;
mod rejection;
mod server;

pub use filter::{Ws, websocket, ws};
pub use rejection::{HandshakeRejected, recover};
#[cfg(feature = "test-client")]
pub use server::test_client;
pub use server::{ServeFilter, WithExtensions, serve, serve_stream, serve_until, with_extensions};
pub use ws_server_hyper::frame;
pub use ws_server_hyper::is_upgrade;
pub use ws_server_hyper::prelude::{self, *};
pub use ws_server_hyper::shutdown_signal;
#[cfg(feature = "test-client")]
pub use ws_server_hyper::{TestClient, TestError, TestRequest};
