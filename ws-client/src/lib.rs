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
//! HTTP is the business of [`reqwest`]: names, TLS, proxies. By default the roots are the
//! platform's and the proxies those of the environment (`HTTPS_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`); a `reqwest::Client` with other ideas is given to [`Dial::client`]:
//!
//! ```no_run
//! use ws_client::{Dial, reqwest};
//!
//! # async fn dial(root: reqwest::Certificate) -> Result<(), Box<dyn std::error::Error>> {
//! let client = reqwest::Client::builder()
//!     .http1_only()
//!     .tls_certs_only([root])
//!     .proxy(reqwest::Proxy::https("socks5h://localhost:1080")?)
//!     .build()?;
//! let conn = Dial::new("wss://intranet.example/events").client(client).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `wss` goes through an HTTP proxy by `CONNECT`. `ws` does not: `reqwest` hands the
//! request itself to the proxy, and few proxies pass an upgrade on. SOCKS proxies carry
//! both. To use what `reqwest` has behind Cargo features, such as a store of cookies, name
//! it in your own manifest too, with the feature.
//!
//! Without HTTP below, [`Dial::connect_over`] makes the opening handshake on any byte
//! stream:
//!
//! ```no_run
//! use tokio::net::TcpStream;
//! use ws_client::Dial;
//!
//! # async fn dial() -> Result<(), Box<dyn std::error::Error>> {
//! let stream = TcpStream::connect("127.0.0.1:9000").await?;
//! let conn = Dial::new("ws://chat.internal/rooms/1").connect_over(stream).await?;
//! # Ok(())
//! # }
//! ```
//!
//! That is also the faster way for plain TCP, since `reqwest` does not give its streams
//! away.
//!
//! # When it fails
//!
//! [`DialError`] says which step failed. A server that refuses has its say:
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
mod error;
mod opening;
mod over_http;
mod over_stream;
mod patience;
mod target;

pub use dial::Dial;
pub use error::{DialError, InvalidHeader, RedirectError, Refusal};
pub use http;
pub use reqwest;
pub use target::InvalidUrl;
#[cfg(feature = "json")]
pub use ws_core::Json;
#[cfg(feature = "proto")]
pub use ws_core::Proto;
pub use ws_core::handshake::InvalidSubprotocol;
pub use ws_core::{
    BufferPool, ByteStream, CloseError, CloseRead, Codec, CodecError, Compression, Config, Conn,
    Deadline, Decode, Direction, Encode, EndedBy, Ending, Error, Frame, HandshakeError,
    JoinedMessages, Keepalive, Limit, Limits, Message, MessageReader, MessageType, MessageWriter,
    Messages, Prepared, ProtocolError, Rate, Stats, StatusCode, Tapped, TryWriteError, Unsendable,
    close_status, format_close_message, is_close, is_unexpected_close,
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
