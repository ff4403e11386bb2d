//! How does a program in a browser use the browser's WebSocket with the API of this crate?
//!
//! A connection has a task, which owns the objects of the browser. Its handles share a
//! [`state`] with the task, so they are `Send`, like those of a native connection.

mod codec;
mod conn;
mod dial;
mod error;
mod event_socket;
mod message_stream;
#[cfg(feature = "reconnect")]
mod page;
pub(crate) mod runtime;
mod state;
mod stream_socket;
mod task;

pub use conn::Conn;
pub use dial::Dial;
pub use error::DialError;
pub use message_stream::MessageStream;
#[cfg(feature = "json")]
pub use ws_core::codec::JsonCodec;
#[cfg(feature = "proto")]
pub use ws_core::codec::ProtobufCodec;
pub use ws_core::codec::{Codec, CodecError, Decode, Encode};
pub use ws_core::{
    CloseError, CloseInfo, CloseInitiator, Deadline, Error, Escaped, InvalidStatusCode, Limit,
    Message, MessageType, SendError, StatusCode, TryWriteError,
};
