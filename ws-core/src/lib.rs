//! The core of a WebSocket connection: vocabulary, protocol, handshake and [`Conn`].
//!
//! Applications name an adapter for their web framework, or the client, which re-export what
//! they need of this. By itself, it serves a bare TCP listener:
//!
#![cfg_attr(feature = "conn", doc = "```no_run")]
#![cfg_attr(not(feature = "conn"), doc = "```ignore")]
//! use tokio::net::TcpListener;
//! use ws_core::{AcceptOptions, Conn, Error};
//!
//! async fn echo(conn: Conn) -> Result<(), Error> {
//!     loop {
//!         let message = conn.read().await?;
//!         conn.write(message).await?;
//!     }
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:9000").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(async { Conn::serve(stream, &AcceptOptions::new(), echo).await });
//! }
//! # }
//! ```
//!
//! | to | there is |
//! | --- | --- |
//! | have a connection over any byte stream | [`Conn`], by `accept`, `serve` or `from_stream` |
//! | say what a server accepts | [`AcceptOptions`], and [`Config`] for what holds after the handshake |
//! | build an adapter, or a client | [`handshake`]: requests and responses as values |
//! | use another runtime, or none | [`proto`]: bytes in and events out, as a value |
//! | look at frames | [`frame`] |
//!
//! Without the feature `conn`, which is on by default, there are no connections, and neither
//! tokio nor anything else that waits; the rest is there. The features `json`, `proto` and
//! `tungstenite` add methods to messages and connections.

#[cfg(feature = "tungstenite")]
pub mod bridge;
#[cfg(doc)]
#[doc = include_str!("../COMING_FROM_GO.md")]
pub mod coming_from_go {}
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod proto;
pub mod utf8;

mod codec;
mod codec_error;
mod config;
#[cfg(feature = "conn")]
mod conn;
mod error;
#[cfg(feature = "conn")]
mod handler;
mod limit;
mod message;
mod prepared;
mod status;
mod unsendable;

#[cfg(feature = "json")]
pub use codec::JsonCodec;
#[cfg(feature = "proto")]
pub use codec::ProtobufCodec;
pub use codec::{Codec, Decode, Encode};
pub use codec_error::CodecError;
pub use config::{BufferPool, Compression, Config, Keepalive, Limits};
#[cfg(feature = "conn")]
pub use conn::{
    AcceptError, Attributes, Batch, ByteStream, CloseInfo, CloseInitiator, CloseRead, Conn,
    ConnStats, Direction, JoinedMessages, MessageReader, MessageStream, MessageWriter, PathParams,
    PeerAddr, RequestInfo, Tapped, pair, pair_with,
};
#[cfg(feature = "conn")]
pub use error::TryWriteError;
pub use error::{CloseError, Error, ProtocolError, close_status, is_close, is_unexpected_close};
pub use frame::Frame;
#[cfg(feature = "conn")]
pub use handler::{
    ConnectionGuard, ConnectionTracker, DrainConfig, DrainCounts, HandlerOutput, HandlerPanic,
};
pub use handshake::{
    AcceptOptions, HandshakeError, Negotiated, Origin, Rejection, SubprotocolOrder,
};
pub use limit::{Deadline, Limit, Rate};
pub use message::{Message, MessageType};
pub use prepared::PreparedMessage;
pub use proto::{Role, format_close_message};
pub use status::{InvalidStatusCode, StatusCode};
pub use unsendable::SendError;
