//! A connection that is made again whenever it is lost.
//!
//! [`Reconnect`] takes a [`Dial`](crate::Dial) and says when to try again;
//! [`ReconnectingConn`] is read and written as a
//! [`Conn`](crate::Conn) is.
//!
//! ```
//! # use tokio::net::TcpListener;
//! # use ws_core::{AcceptOptions, Conn};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}", listener.local_addr()?);
//! # tokio::spawn(async move {
//! #     loop {
//! #         let (stream, _) = listener.accept().await.unwrap();
//! #         let conn = Conn::accept(stream, &AcceptOptions::new()).await.unwrap();
//! #         while let Ok(message) = conn.read().await {
//! #             conn.write(message).await.unwrap();
//! #         }
//! #     }
//! # });
//! # async fn fresh_token() -> Result<String, std::io::Error> { Ok("7c2f".to_owned()) }
//! use ws_client::{Dial, Reconnect, StatusCode};
//!
//! let conn = Reconnect::new(Dial::new(url))
//!     // Before each attempt: a token that has not expired.
//!     .on_attempt(async |dial, _| {
//!         let token = fresh_token().await?;
//!         Ok::<_, std::io::Error>(dial.header("authorization", format!("Bearer {token}")))
//!     })
//!     // On each connection, before anything else: what the server has to be told again.
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
//! # When it tries again
//!
//! | what happened | |
//! | --- | --- |
//! | no name, no route, no TCP, no TLS, no proxy, no answer in time | again |
//! | refused with 408, 425, 429, or a 5xx but 501 and 505, by the server or a proxy | again |
//! | refused with any other status, as 403, or 407 of a proxy; a redirect that is not followed | given up |
//! | the URL (of the server or a proxy), a header or a subprotocol cannot be sent; the answer is no WebSocket; no HTTP/2 where it is a must | given up |
//! | a hook of the application failed | again |
//! | closed with 1001, 1011 to 1014, a code of an application (4000 to 4999), or none (1005) | again |
//! | closed with a code of a library (3000 to 3999) but 3000 and 3003, or one without a meaning | again |
//! | the transport ended without a close frame (1006), or failed | again |
//! | a deadline of [`Config`](crate::Config) ran out: keepalive, idle, write, age | again |
//! | closed with 1000: it is done | given up |
//! | closed with 1002, 1003, 1007 to 1010, 3000 (unauthorized), 3003 (forbidden) | given up |
//! | the peer broke the protocol, or a limit | given up |
//!
//! [`Reconnect::classify`](crate::Reconnect::classify) changes rows of it. Between attempts it
//! waits as [`Backoff`] says, and at least as long as a `Retry-After` in seconds, up to an
//! hour. A connection that lasted less than the wait before it would have been counts as a
//! failed attempt, so a server that accepts and hangs up is not called upon in a hurry.
//!
//! A loss is noticed by whoever reads or writes, and without either as long as no message
//! waits to be read. A peer that is gone without a word is noticed by pings, which are on here unless the
//! [`Config`](crate::Config) of the `Dial` says something else about them.
//!
//! # What arrives
//!
//! What is written goes through an [`Outbox`], which says whether a message may be lost with
//! its connection or may come twice. What the peer sent is read at most once, in order: what
//! had arrived on a connection that is lost is read before what comes on the next, unless two
//! connections are lost without a read. What the peer sent meanwhile is for the application
//! to ask for, in `on_connect`.

mod backoff;
mod conn;
mod driver;
mod loss;
mod outbox;
mod settings;
mod shared;
mod state;

pub use backoff::Backoff;
pub use conn::ReconnectingConn;
pub use loss::{Loss, Verdict};
pub use outbox::{Outbox, WhenFull};
pub use settings::Reconnect;
pub use state::{Events, ReconnectError, State};
