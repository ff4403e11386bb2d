//! The core of a WebSocket connection: vocabulary, protocol, handshake and [`Conn`].

pub mod deflate;
pub mod frame;
pub mod handshake;

mod config;
mod error;
mod message;
mod status;

pub use config::{Compression, Config, Keepalive, Limits};
pub use error::{
    CloseError, Deadline, Error, Limit, ProtocolError, Unsendable, close_status, is_close,
    is_unexpected_close,
};
pub use handshake::Agreed;
pub use message::{Message, MessageType};
pub use status::{InvalidStatusCode, StatusCode};
