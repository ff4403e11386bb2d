//! A WebSocket client: how does a program connect to a `ws://` or `wss://` URL?
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
//! #     let conn = ws_core::Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
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
//! [`dial`] connects with the defaults. [`Dial`] has the settings: headers, subprotocols,
//! compression, limits, a timeout. [`Conn`] has the operations of a connection. It is a handle
//! that can be cloned and shared: one task can read while others write, ping or close.
//!
//! A program that sends one JSON message and closes (feature `json`, on by default):
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
//! #     let conn = ws_core::Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
//! #     let received = conn.read_json::<serde_json::Value>().await.unwrap();
//! #     (received, conn.read().await.unwrap_err().close_status())
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
//! A program without async code uses [`blocking`] (feature `blocking`).
//!
//! # Features
//!
//! The default features suit most programs. A program that needs fewer compiles faster without
//! them:
//!
//! ```toml
//! ws-client = { version = "0.1", default-features = false, features = ["rustls-tls-webpki-roots", "ring"] } # 41 crates
//! ```
//!
//! | feature | adds | crates |
//! | --- | --- | --- |
//! | none | `ws` URLs over HTTP/1.1, and redirects | 30 |
//! | `rustls-tls` (default) | `wss` by rustls: `rustls-tls-platform-verifier` and `aws-lc-rs` | +13 |
//! | `rustls-tls-platform-verifier` | trusted roots: the verifier of the operating system | |
//! | `rustls-tls-native-roots` | trusted roots: the certificate files of the operating system | |
//! | `rustls-tls-webpki-roots` | trusted roots: those of Mozilla, compiled in | |
//! | `rustls-tls-manual-roots` | trusted roots: only those of `Dialer::tls` | |
//! | `aws-lc-rs`, `ring` | the cryptography of rustls, which needs one of the two. `ring` compiles faster | |
//! | `native-tls` | `wss` by the library of the operating system (on Linux: OpenSSL, with its headers). Used by default if no feature adds roots for rustls; otherwise, select it by `Dialer::native_tls` | +14 |
//! | `http2` (default) | [`Dialer::http2`]: several WebSockets over one HTTP/2 connection | +8 |
//! | `proxy` (default) | [`Dialer::proxy`] and the proxies of the environment | +11 |
//! | `deflate` (default) | [`Dial::compression`] (permessage-deflate) | +2 |
//! | `reconnect` (default) | `Reconnect`: dials again when the connection is lost | +1 |
//! | `idn` (default) | internationalized domain names, such as `bücher.example` | +29 |
//! | `json` (default) | [`Conn::read_json`], [`Conn::write_json`], `Message::json`, `Reconnect::resumable` | +5 |
//! | `metrics` | metrics by the crate `metrics`, as the OBSERVABILITY.md of `ws-core` lists them | +3 |
//! | `reqwest` | `Dial::client`: dials by a `reqwest::Client` | +51 |
//! | `blocking` | [`blocking`]: the client without async code | |
//! | `proto` | protocol buffers: [`Conn::read_as`] with `codec::ProtobufCodec` | |
//! | `tungstenite` | `compat`: for code written for tokio-tungstenite | |
//!
//! The number of crates is that of a minimal program on Linux with this feature alone. Features
//! share crates. If a URL or a setting needs a feature that is not enabled, dialling fails with
//! [`DialError::MissingFeature`], which names it.
//!
//! # TLS, proxies and other transports
//!
//! By default, TLS uses the platform's root certificates, and proxies come from the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). A [`Dialer`] sets other root
//! certificates, a client certificate, a proxy (`CONNECT` or SOCKS) or a local address.
//!
//! ```no_run
//! use std::sync::Arc;
//! use ws_client::{Dial, Dialer, rustls};
//!
//! # async fn dial(config: Arc<rustls::ClientConfig>) -> Result<(), Box<dyn std::error::Error>> {
//! let dialer = Dialer::new().tls(config).proxy("socks5h://localhost:1080");
//! let conn = Dial::new("wss://intranet.example/events").dialer(&dialer).connect().await?;
//! println!("{:?} answers {:?}", conn.peer_addr(), conn.response());
//! # Ok(())
//! # }
//! ```
//!
//! `Dial::client` (feature `reqwest`) connects with your `reqwest::Client`, and with its cookie
//! store, resolver or Unix socket. To use a Cargo feature of `reqwest`, its TLS included, add
//! `reqwest` with that feature to your own manifest.
//!
//! [`Dial::connect_over`] does the opening handshake on any byte stream:
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
//! # HTTP/2
//!
//! `Dialer::http2` opens WebSockets to the same server as streams of one HTTP/2 connection
//! ([RFC 8441]). If a server does not support this, the dialer uses HTTP/1.1 instead, and
//! remembers the server:
//!
//! ```no_run
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
//! [RFC 8441]: https://www.rfc-editor.org/rfc/rfc8441
//!
//! # Reconnecting
//!
//! [`Reconnect`] dials again when the connection is lost. Hooks of the application set fresh
//! headers and renew subscriptions. Messages that are written in the meantime wait in a send queue.
//! See [`reconnect`].
//!
//! # Browsers
//!
//! For `wasm32-unknown-unknown`, the crate is a client of the browser's WebSocket, with the same
//! names. An application depends on it for both targets, with the default features; those that a
//! browser has no use for add nothing there. `metrics`, `tungstenite` and `blocking` are not for
//! browsers. Connections and futures are `Send`, as on other targets.
//!
//! ```toml
//! [target.'cfg(target_arch = "wasm32")'.dependencies]
//! wasm-bindgen-futures = "0.4" # `spawn_local` runs a client
//! ```
//!
//! What a browser cannot do has no method there:
//!
//! | | in a browser | reason |
//! | --- | --- | --- |
//! | `Dial` | [`Dial::new`], [`subprotocols`], [`read_limit`], [`connect_timeout`], [`close_timeout`] | a page cannot set headers, TLS, proxies or compression; cookies and `Origin` are those of the page |
//! | `Conn` | [`read`], [`write`], [`try_write`], [`flush`], [`messages`], [`close`], [`closed`], JSON and codecs | no pings, frames, addresses, statistics or end without a close frame |
//! | `wss`, IDN, compression | by the browser | it negotiates them itself |
//! | `DialError` | `Url`, `Subprotocol`, `Timeout`, and `Failed` for all else | a page must not explore a network, so it learns neither status nor cause |
//! | `Error` | `Closed`, `MessageTooBig`, `Timeout` (of `close`), `CloseSent`, `SendError`, `Codec` | the browser handles violations of the protocol itself: 1006 |
//! | close codes to send | 1000, 3000 to 4999, none | others are [`SendError::Code`]; the drop of the last handle sends none |
//! | a message over `read_limit` | closes with 3009; it was received whole | a browser does not send 1009, and has no limit of its own |
//! | a message that `read_json` cannot decode | closes with 3007 | a browser does not send 1007 |
//! | a full buffer | `write` waits until the browser has room: by the `WebSocketStream` of Chromium, elsewhere by a look every 10 ms | `WebSocket` has no event for it |
//! | a slow reader | Chromium stops the server; elsewhere unread messages have no bound | `WebSocket` cannot stop to receive |
//! | `Reconnect` | at most once; the wait ends early when the browser is online again or the page is visible, and does not end offline | no pings, so nothing confirms a message |
//!
//! [`subprotocols`]: Dial::subprotocols
//! [`read_limit`]: Dial::read_limit
//! [`connect_timeout`]: Dial::connect_timeout
//! [`close_timeout`]: Dial::close_timeout
//! [`read`]: Conn::read
//! [`write`]: Conn::write
//! [`try_write`]: Conn::try_write
//! [`flush`]: Conn::flush
//! [`messages`]: Conn::messages
//! [`close`]: Conn::close
//! [`closed`]: Conn::closed
//!
//! # Errors
//!
//! [`DialError`] has a variant for each step that can fail: URL, DNS, TCP, proxy, TLS, HTTP,
//! handshake. Its text is one line with the cause and, if there is one, the setting to change. If
//! the server refuses, the error contains the response:
//!
//! ```no_run
//! use ws_client::DialError;
//!
//! # async fn dial() {
//! match ws_client::dial("wss://example.com/private").await {
//!     Ok(conn) => println!("connected: {conn:?}"),
//!     Err(DialError::Refused(response)) => {
//!         println!("{}: {}", response.status, response.body_text());
//!     }
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! If the server accepts, the client verifies the response: its key, extensions and subprotocol
//! must match the request ([RFC 6455 §4.1]).
//!
//! [RFC 6455 §4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1

#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod macros;

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(any(feature = "reconnect", not(target_arch = "wasm32")))]
mod causes;
mod dial_timeout;
#[cfg(any(feature = "http2", feature = "reconnect", target_arch = "wasm32"))]
mod first_ready;
mod invalid_url;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(feature = "reconnect")]
pub mod reconnect;
#[cfg(any(feature = "reconnect", target_arch = "wasm32"))]
mod watched;

pub use dial_timeout::{DialStep, DialTimeout};
pub use invalid_url::InvalidUrl;
#[cfg(feature = "reconnect")]
pub use reconnect::{Reconnect, ReconnectingConn};
pub use ws_core::handshake::InvalidSubprotocol;

// Two clients have the same names: one for programs with sockets, and one for browsers.
#[cfg(not(target_arch = "wasm32"))]
pub use native::*;

#[cfg(target_arch = "wasm32")]
pub use browser::*;

/// Connects to a `ws` or `wss` URL with the defaults of [`Dial`].
///
/// # Errors
///
/// As [`Dial::connect`].
///
/// # Cancel safety
///
/// Dropping the future cancels the opening handshake.
#[doc(alias = "connect")]
#[doc(alias = "connect_async")]
#[doc(alias = "client")]
pub async fn dial(url: impl AsRef<str>) -> Result<Conn, DialError> {
    Dial::new(url).connect().await
}
