//! When does a client reconnect, and what happens to messages meanwhile?
//!
//! [`Reconnect`] takes a [`Dial`](crate::Dial), and has the retry policy. It makes a
//! [`ReconnectingConn`], which is read and written like a [`Conn`](crate::Conn).
//!
//! ```
//! # use tokio::net::TcpListener;
//! # use ws_core::{AcceptOptions, Acceptor};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}", listener.local_addr()?);
//! # tokio::spawn(async move {
//! #     loop {
//! #         let (stream, _) = listener.accept().await.unwrap();
//! #         let conn = Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
//! #         while let Ok(message) = conn.read().await {
//! #             conn.write(message).await.unwrap();
//! #         }
//! #     }
//! # });
//! # async fn fresh_token() -> Result<String, std::io::Error> { Ok("7c2f".to_owned()) }
//! use ws_client::{Dial, Reconnect, StatusCode};
//!
//! let conn = Reconnect::new(Dial::new(url))
//!     // Before each attempt: set a fresh token.
//!     .on_attempt(async |dial, _| {
//!         let token = fresh_token().await?;
//!         Ok::<_, std::io::Error>(dial.header("authorization", format!("Bearer {token}")))
//!     })
//!     // On each new connection: subscribe again.
//!     .on_connect(async |conn| conn.write(r#"{"subscribe":"prices"}"#).await)
//!     .connect()
//!     .await?;
//!
//! assert_eq!(conn.read().await?.as_text(), Some(r#"{"subscribe":"prices"}"#));
//! conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Retry policy
//!
//! | what happened | decision |
//! | --- | --- |
//! | DNS, TCP, TLS, the connection to the proxy, or the stream failed; connect timeout | retry |
//! | the server or the proxy refused with 408, 425, 429, or 5xx except 501 and 505 | retry |
//! | refused with another status, such as 403, or 407 of a proxy; a redirect is not followed | give up |
//! | the URL (of the server or proxy), a header or a subprotocol is invalid; the response does not match the request; no HTTP/2 with `http2_only` | give up |
//! | a hook of the application failed, also if it has closed the connection itself | retry |
//! | no answer to the request for a session within 10 s | retry |
//! | another answer to that request: the server has no sessions | give up |
//! | closed with 1001, 1011 to 1014, a private code (4000 to 4999), or no code (1005) | retry |
//! | closed with a registered code (3000 to 3999) except 3000 and 3003, or an undefined code | retry |
//! | the transport ended without a close frame (1006), or failed | retry |
//! | a timeout of [`Config`](crate::Config): keepalive, idle, write, age | retry |
//! | closed with 1000 (normal closure) | give up |
//! | closed with 1002, 1003, 1007 to 1010, 3000 (unauthorized), 3003 (forbidden) | give up |
//! | the peer violated the protocol or exceeded a limit | give up |
//!
//! [`Reconnect::classify`](crate::Reconnect::classify) changes the policy. The wait between
//! attempts is that of the [`Backoff`], plus the `Retry-After` of the server or the proxy, at most
//! one hour. A connection that lasts less than the maximum of the wait before it
//! ([`Backoff::first`] for the first connection) counts as a failed attempt. So the backoff also
//! applies to a server that accepts and then closes at once.
//!
//! Reads and writes detect the loss of a connection. Without them, the background task detects it
//! as [`Conn::closed`](crate::Conn::closed) does: it does not see a close frame behind more than
//! 64 KiB of unread messages (in a browser, 1 MiB). Keepalive pings detect a silent peer. They are on unless the
//! [`Config`](crate::Config) of the `Dial` turns them off.
//!
//! # Delivery guarantees
//!
//! Messages are written to a send queue. [`SendQueueConfig`] defines whether a message may be
//! lost with its connection, or may arrive twice.
//!
//! Messages of the peer are read at most once, in order. Messages that arrived on a lost connection
//! are read before those of the next one. If two connections are lost without a read, the messages
//! of the first are lost. To get messages that the peer sent between two connections, request them
//! in `on_connect`, or let a hub of `ws-events` do it:
//!
//! # Sessions
//!
//! With [`Reconnect::resumable`](crate::Reconnect::resumable), a new connection asks for the session
//! of the one before. If the hub recovers it, each event is read once and in order, as if the
//! connection had not been lost. Otherwise [`read`](ReconnectingConn::read) returns
//! [`ReconnectError::SessionLost`] once, behind what arrived before and in front of the events of the
//! new session: some may be missing there.

mod backoff;
mod conn;
mod driver;
mod events;
mod failure;
mod lifecycle;
mod send_queue;
mod session;
mod settings;
mod shared;

use std::pin::Pin;

/// A future of a hook.
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub use backoff::Backoff;
pub use conn::ReconnectingConn;
pub use events::{ReconnectEvents, ReconnectState};
pub use failure::{ConnectionFailure, ReconnectError, RetryDecision};
pub use send_queue::{SendQueueConfig, WhenFull};
pub use settings::Reconnect;
