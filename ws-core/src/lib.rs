//! The core of a WebSocket connection: vocabulary, protocol, handshake and [`Conn`].

pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod proto;
pub mod utf8;

mod config;
#[cfg(feature = "conn")]
mod conn;
mod error;
#[cfg(feature = "conn")]
mod handler;
mod message;
mod prepared;
mod status;

pub use config::{BufferPool, Compression, Config, Keepalive, Limits};
#[cfg(feature = "conn")]
pub use conn::{
    AcceptError, CloseRead, Conn, EndedBy, Ending, MessageReader, MessageWriter, PathParams,
    PeerAddr, RequestInfo, Stats, Values, pair, pair_with,
};
#[cfg(feature = "conn")]
pub use error::TryWriteError;
pub use error::{
    CloseError, Deadline, Error, Limit, ProtocolError, Unsendable, close_status, is_close,
    is_unexpected_close,
};
#[cfg(feature = "conn")]
pub use handler::{Admitted, Counts, Drain, Outcome, Panicked, Tracker};
pub use handshake::{AcceptOptions, Agreed, HandshakeError, Origin, Rejection, SubprotocolOrder};
pub use message::{Message, MessageType};
pub use prepared::Prepared;
pub use proto::Role;
pub use status::{InvalidStatusCode, StatusCode};
