//! The core of a WebSocket connection: vocabulary, protocol, handshake and [`Conn`].

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
pub use codec::Json;
#[cfg(feature = "proto")]
pub use codec::Proto;
pub use codec::{Codec, Decode, Encode};
pub use codec_error::CodecError;
pub use config::{BufferPool, Compression, Config, Keepalive, Limits};
#[cfg(feature = "conn")]
pub use conn::{
    AcceptError, Batch, ByteStream, CloseRead, Conn, Direction, EndedBy, Ending, JoinedMessages,
    MessageReader, MessageWriter, Messages, PathParams, PeerAddr, RequestInfo, Stats, Tapped,
    Values, pair, pair_with,
};
#[cfg(feature = "conn")]
pub use error::TryWriteError;
pub use error::{CloseError, Error, ProtocolError, close_status, is_close, is_unexpected_close};
pub use frame::Frame;
#[cfg(feature = "conn")]
pub use handler::{Admitted, Counts, Drain, Outcome, Panicked, Tracker};
pub use handshake::{AcceptOptions, Agreed, HandshakeError, Origin, Rejection, SubprotocolOrder};
pub use limit::{Deadline, Limit, Rate};
pub use message::{Message, MessageType};
pub use prepared::Prepared;
pub use proto::{Role, format_close_message};
pub use status::{InvalidStatusCode, StatusCode};
pub use unsendable::Unsendable;
