//! How does a WebSocket connection work: messages, protocol, opening handshake and [`Conn`]?
//!
//! Applications depend on the adapter for their web framework, or on the client. Both re-export the
//! [`prelude`]. Without an adapter, this crate serves a TCP listener:
//!
#![cfg_attr(all(feature = "conn", feature = "server"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "conn", feature = "server")), doc = "```ignore")]
//! use tokio::net::TcpListener;
//! use ws_core::{AcceptOptions, Acceptor, Conn, Error};
//!
//! async fn echo(conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! let acceptor = Acceptor::new(&AcceptOptions::new());
//! let listener = TcpListener::bind("127.0.0.1:9000").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(acceptor.serve(stream, echo));
//! }
//! # }
//! ```
//!
//! | task | start with |
//! | --- | --- |
//! | create a connection over any byte stream | [`Acceptor`], or [`Conn::from_stream`] |
//! | configure a server | [`AcceptOptions`], and [`Config`] for its connections |
//! | encode and decode values | [`codec`] |
//! | run handlers, and drain them at shutdown | [`handler`] |
//! | build an adapter or a client | [`handshake`] (requests and responses as values), [`adapter`] |
//! | use another runtime, or none | [`proto`] (sans-I/O: bytes in, events out) |
//! | read and write raw frames | [`frame`] |
//!
//! The features `conn`, `deflate` and `server` are on by default. Without `conn`, there is no [`Conn`]
//! and no dependency on tokio. Without `deflate`, compression is neither offered nor accepted. Without
//! `server`, a client compiles faster: there is no [`Acceptor`] with its options, and no [`handler`].
//! The features `json`, `proto` and `tungstenite` add methods to messages and connections. The
//! feature `metrics` records the metrics that OBSERVABILITY.md lists.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod macros;

#[cfg(feature = "conn")]
pub mod adapter;
pub mod codec;
#[cfg(doc)]
#[doc = include_str!("../COMING_FROM_GO.md")]
pub mod coming_from_go {}
#[cfg(feature = "tungstenite")]
pub mod compat;
#[cfg(feature = "conn")]
pub mod conn;
pub mod deflate;
pub mod frame;
#[cfg(all(feature = "conn", feature = "server"))]
pub mod handler;
pub mod handshake;
pub mod prelude;
pub mod proto;
pub mod redact;
pub mod utf8;

mod close_info;
mod config;
mod error;
mod escape;
mod exceeded;
mod message;
mod prepared;
mod protocol_error;
#[cfg(all(feature = "conn", feature = "server"))]
mod refusal_log;
mod send_error;
mod status;

pub use close_info::{CloseInfo, CloseInitiator};
pub use config::{BufferPool, Compression, Config, Keepalive, Limits};
#[cfg(all(feature = "conn", feature = "server"))]
pub use conn::AcceptError;
#[cfg(feature = "conn")]
pub use conn::{
    Attributes, ByteStream, CloseRead, Conn, ConnStats, MessageReader, MessageStream,
    MessageWriter, PathParams, PeerAddr, RequestInfo, pair, pair_with,
};
pub use error::{CloseError, Error, TryWriteError};
pub use escape::Escaped;
pub use exceeded::{Deadline, Limit, Rate};
#[cfg(feature = "server")]
pub use handshake::{AcceptOptions, Acceptor, Origin, Rejection};
pub use message::{Message, MessageType};
pub use prepared::PreparedMessage;
pub use proto::Role;
pub use protocol_error::ProtocolError;
pub use send_error::SendError;
pub use status::{InvalidStatusCode, StatusCode};
