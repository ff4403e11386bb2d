//! A WebSocket client.
//!
//! ```
//! # use tokio::net::TcpListener;
//! # use ws_core::AcceptOptions;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}", listener.local_addr()?);
//! # tokio::spawn(async move {
//! #     let (stream, _) = listener.accept().await.unwrap();
//! #     let conn = ws_core::Conn::accept(stream, &AcceptOptions::new()).await.unwrap();
//! #     while let Ok(message) = conn.read().await {
//! #         conn.write(message).await.unwrap();
//! #     }
//! # });
//! use ws_client::StatusCode;
//!
//! let conn = ws_client::dial(url).await?;
//! conn.write("hello").await?;
//! assert_eq!(conn.read().await?.as_text(), Some("hello"));
//! conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`dial`] connects as one usually wants to. [`Dial`] has the settings: headers,
//! subprotocols, compression, limits, a deadline. Everything that a connection can do is
//! in [`Conn`]: it is a handle to clone and share, and one task can read while others
//! write, ping or close.
//!
//! A program that says a word in JSON and goes, with the feature `json`, which is on by
//! default:
//!
//! ```
//! # use serde_json::json;
//! # use tokio::net::TcpListener;
//! # use ws_core::AcceptOptions;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}", listener.local_addr()?);
//! # let server = tokio::spawn(async move {
//! #     let (stream, _) = listener.accept().await.unwrap();
//! #     let conn = ws_core::Conn::accept(stream, &AcceptOptions::new()).await.unwrap();
//! #     let said = conn.read_json::<serde_json::Value>().await.unwrap();
//! #     (said, conn.read().await.unwrap_err().close_status())
//! # });
//! use std::time::Duration;
//!
//! use tokio::time::timeout;
//! use ws_client::{StatusCode, dial};
//!
//! let program = async {
//!     let conn = dial(url).await?;
//!     conn.write_json("hi").await?;
//!     conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! timeout(Duration::from_secs(60), program).await??;
//! # assert_eq!(server.await?, (json!("hi"), Some(StatusCode::NORMAL_CLOSURE)));
//! # Ok(())
//! # }
//! ```
//!
//! # Getting there
//!
//! By default the roots are the platform's, and the proxies those of the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). A [`Dialer`] has other ideas:
//! roots and a certificate, a proxy by `CONNECT` or SOCKS, a local address.
//!
//! ```no_run
//! use std::sync::Arc;
//! use ws_client::{Dial, Dialer, rustls};
//!
//! # async fn dial(config: Arc<rustls::ClientConfig>) -> Result<(), Box<dyn std::error::Error>> {
//! let dialer = Dialer::new().tls(config).proxy("socks5h://localhost:1080");
//! let conn = Dial::new("wss://intranet.example/events").dialer(&dialer).connect().await?;
//! println!("{:?} says {:?}", conn.peer_addr(), conn.response());
//! # Ok(())
//! # }
//! ```
//!
//! A [`reqwest::Client`] that an application has is given to [`Dial::client`], with all that
//! it can: a store of cookies, addresses of its own, a Unix socket. To use what `reqwest` has
//! behind Cargo features, name it in your own manifest too, with the feature.
//!
//! [`Dial::connect_over`] makes the opening handshake on any byte stream:
//!
//! ```no_run
//! # #[cfg(unix)]
//! # async fn dial() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::net::UnixStream;
//! use ws_client::Dial;
//!
//! let stream = UnixStream::connect("/run/chat.sock").await?;
//! let conn = Dial::new("ws://chat.internal/rooms/1").connect_over(stream).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Many at once
//!
//! `Dialer::http2` puts sockets to the same server into streams of one connection
//! ([RFC 8441]), where the server allows it. It finds that out by itself, goes by HTTP/1.1
//! where it is not so, and does not ask again:
//!
#![cfg_attr(feature = "http2", doc = "```no_run")]
#![cfg_attr(not(feature = "http2"), doc = "```ignore")]
//! use ws_client::{Dial, Dialer};
//!
//! # async fn dial() -> Result<(), ws_client::DialError> {
//! let dialer = Dialer::new().http2();
//! let prices = Dial::new("wss://example.com/prices").dialer(&dialer).connect().await?;
//! let news = Dial::new("wss://example.com/news").dialer(&dialer).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! That is the Cargo feature `http2`, which is on by default.
//!
//! [RFC 8441]: https://www.rfc-editor.org/rfc/rfc8441
//!
//! # Staying there
//!
//! [`Reconnect`] dials again whenever the connection is lost, with fresh headers and with
//! subscriptions made again, and promises what becomes of messages meanwhile: [`reconnect`]
//! tells.
//!
//! # When it fails
//!
//! [`DialError`] says which step failed: the URL, the name, TCP, the proxy, TLS, HTTP, or the
//! handshake. A server that refuses has its say:
//!
//! ```no_run
//! use ws_client::DialError;
//!
//! # async fn dial() {
//! match ws_client::dial("wss://example.com/private").await {
//!     Ok(conn) => println!("connected: {conn:?}"),
//!     Err(DialError::Refused(refusal)) => {
//!         println!("{}: {}", refusal.status, refusal.body_text());
//!     }
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! An answer that accepts is not taken on trust: the key, the extensions and the
//! subprotocol have to be what was asked for ([RFC 6455 §4.1]).
//!
//! [RFC 6455 §4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1

mod body;
mod dial;
mod dialer;
mod error;
#[cfg(feature = "http2")]
mod http2;
mod opening;
mod over_client;
mod over_stream;
mod patience;
mod reach;
pub mod reconnect;
mod redirect;
mod target;

pub use dial::Dial;
pub use dialer::Dialer;
pub use error::{DialError, InvalidHeader, Refusal};
pub use http;
pub use reach::ProxyError;
pub use reconnect::{Reconnect, ReconnectingConn};
pub use redirect::RedirectError;
pub use reqwest;
pub use target::InvalidUrl;
pub use tokio_rustls::rustls;
#[cfg(feature = "json")]
pub use ws_core::codec::JsonCodec;
#[cfg(feature = "proto")]
pub use ws_core::codec::ProtobufCodec;
pub use ws_core::codec::{Codec, CodecError, Decode, Encode};
#[cfg(feature = "tungstenite")]
pub use ws_core::compat;
pub use ws_core::conn::{Direction, JoinedMessages, Tapped};
pub use ws_core::frame;
pub use ws_core::frame::Frame;
pub use ws_core::handshake::HandshakeError;
pub use ws_core::handshake::InvalidSubprotocol;
pub use ws_core::{
    Attributes, BufferPool, ByteStream, CloseError, CloseInfo, CloseInitiator, CloseRead,
    Compression, Config, Conn, ConnStats, Deadline, Error, InvalidStatusCode, Keepalive, Limit,
    Limits, Message, MessageReader, MessageStream, MessageType, MessageWriter, PathParams,
    PeerAddr, PreparedMessage, ProtocolError, Rate, RequestInfo, Role, SendError, StatusCode,
    TryWriteError, pair, pair_with,
};

/// Connects to a `ws` or `wss` URL with the defaults of [`Dial`].
///
/// # Errors
///
/// As [`Dial::connect`].
///
/// # Cancel safety
///
/// Dropping the future gives the opening up.
pub async fn dial(url: impl AsRef<str>) -> Result<Conn, DialError> {
    Dial::new(url).connect().await
}
