//! WebSockets on warp 0.4.
//!
//! [`ws`] is a filter that composes with all others, and gives a [`Ws`], whose
//! [`on_upgrade`](Ws::on_upgrade) makes the reply; [`websocket`] is both in one. Everything
//! that decides about a handshake is in [`AcceptOptions`]; everything that a connection can
//! do is in [`Conn`].
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
//! When a handler returns, the connection is closed with 1000, when it returns an error or
//! panics, with 1011. Connections that know of each other, with rooms, events and
//! broadcasts, are what `ws-events` is for: `ws.on_upgrade(hub.member())`.
//!
//! # Rejections
//!
//! A request that is no good opening handshake is rejected with [`Refused`], so `or` takes it
//! up. warp answers custom rejections with 500 unless something recovers from them: end your
//! routes with `.recover(ws_server_warp::recover)`, or look for [`Refused`] in a function of
//! your own.
//!
//! # Which server
//!
//! Under `warp::serve` there are WebSockets over HTTP/1.1 alone: it does not allow extended
//! CONNECT. [`serve`], [`serve_until`] and [`serve_stream`] speak HTTP/2 as well, and by them
//! [`Conn::request`] has the extensions that the request came with.
//!
//! # Middleware
//!
//! `tower` middleware goes around `warp::service(routes)`, and the whole to one of these
//! servers. What it attaches to a request, `warp::ext::get` takes, and [`Ws::local`] gives to
//! the handler, as [`Ws::param`] does with parameters of the path, which warp does not name; a
//! [`PeerAddr`] is taken by itself. Middleware that passes the reply on, with its head
//! unchanged, does no harm. A timeout counts until the reply and not until the end of the
//! connection. Leave WebSockets out of a cache, and out of what reads or replaces the body of a
//! reply with a 101 or a CONNECT: [`is_upgrade`] tells them apart.
//!
//! # Shutting down
//!
//! A graceful shutdown, warp's or [`serve_until`], waits for requests that are under way. A
//! connection that was upgraded over HTTP/1.1 is none any more, and one over HTTP/2 is one for
//! as long as it is open, so the first would be cut off, and the second waited for without an
//! end. Give the options a [`ConnectionTracker`], and drain it as the last part of the signal, as
//! [`serve_until`] shows.

mod filter;
mod refused;
mod server;

pub use filter::{Ws, websocket, ws};
pub use refused::{Refused, recover};
#[cfg(feature = "test-client")]
pub use server::test_client;
pub use server::{Filtered, serve, serve_stream, serve_until};
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
