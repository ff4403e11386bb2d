//! WebSockets on hyper 1.
//!
//! [`accept`] answers a request that asks for a WebSocket, and gives an [`Upgrade`]: a
//! [`Conn`] to come, which is there when hyper has sent the answer. Everything that
//! decides about a handshake is in [`AcceptOptions`]; everything that a connection can
//! do is in [`Conn`].
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
//! async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
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
//!     ws_server_hyper::serve(listener, service_fn(answer)).await
//! }
//! ```
//!
//! Connections that know of each other, with rooms, events and broadcasts, are what
//! `ws-events` is for: `upgrade.serve(hub.member())`.
//!
//! # Which server
//!
//! [`serve`] and [`serve_until`] take the connections of a listener, [`serve_stream`] one over
//! any stream, such as one of TLS or a Unix socket; each goes to [`server`], which is
//! hyper-util's for HTTP/1.1 and HTTP/2, with settings for WebSockets. Others do as well:
//! `hyper::server::conn::http1` `.with_upgrades()`, and any HTTP/2 server on which
//! `enable_connect_protocol` was called, without which clients do not try. Give them a timer,
//! or they wait for a silent client for ever. Where the stream is a `tokio::net::TcpStream`
//! in a `TokioIo`, and HTTP/1.1 is spoken, the connection takes it over as such, and sets
//! `TCP_NODELAY`. Over HTTP/2 the stream is shared, and stays with the server: set it when you
//! accept, or short messages wait for acknowledgements, some 40 ms each.
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
//! A graceful shutdown waits for requests that are under way. A connection that was upgraded
//! over HTTP/1.1 is none any more, and one over HTTP/2 is one for as long as it is open, so
//! the first would be cut off, and the second waited for without an end. Give the options a
//! [`ConnectionTracker`], and drain it before the shutdown, as [`serve_until`] shows.
//!
//! # What the handler knows
//!
//! [`Conn::request`] is the request as it came: uri, headers, query, cookies, and its
//! extensions. There is no router here: put [`PathParams`] among the extensions before
//! `accept` to have path parameters, and [`PeerAddr`] where the transport does not know the
//! client's address, as behind TLS or a proxy.

mod accept;
mod http2;
mod serve;
#[cfg(feature = "test-client")]
mod test_client;
mod upgrade;

pub use accept::{accept, accept_parts, is_upgrade, opening, try_accept};
pub use http2::server;
pub use serve::{serve, serve_stream, serve_until};
#[cfg(feature = "test-client")]
pub use test_client::{TestClient, TestError, TestRequest};
pub use upgrade::Upgrade;
#[cfg(feature = "json")]
pub use ws_core::codec::JsonCodec;
#[cfg(feature = "proto")]
pub use ws_core::codec::ProtobufCodec;
pub use ws_core::codec::{Codec, CodecError, Decode, Encode};
pub use ws_core::conn::{Direction, JoinedMessages, Tapped};
pub use ws_core::frame;
pub use ws_core::frame::Frame;
pub use ws_core::handler::{
    ConnectionTracker, DrainConfig, DrainCounts, HandlerOutput, HandlerPanic,
};
pub use ws_core::handshake::HandshakeRequest;
pub use ws_core::handshake::{HandshakeError, Negotiated, SubprotocolOrder};
pub use ws_core::{
    AcceptOptions, Attributes, BufferPool, ByteStream, CloseError, CloseInfo, CloseInitiator,
    CloseRead, Compression, Config, Conn, ConnStats, Deadline, Error, InvalidStatusCode, Keepalive,
    Limit, Limits, Message, MessageReader, MessageStream, MessageType, MessageWriter, Origin,
    PathParams, PeerAddr, PreparedMessage, ProtocolError, Rate, Rejection, RequestInfo, Role,
    SendError, StatusCode, TryWriteError, pair, pair_with,
};
