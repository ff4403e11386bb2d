//! Why did a message and a value not become each other?

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::{MessageType, StatusCode};

/// Why a message and a value did not become each other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// A message of a type that the format does not use arrived; it is this one. `Conn::read_as`
    /// tells the peer so with [`UNSUPPORTED_DATA`](StatusCode::UNSUPPORTED_DATA).
    Type(MessageType),
    /// A message did not hold what it should. `Conn::read_as` tells the peer so with
    /// [`INVALID_FRAME_PAYLOAD_DATA`](StatusCode::INVALID_FRAME_PAYLOAD_DATA).
    Decode(Arc<dyn StdError + Send + Sync>),
    /// A value could not become a message, and nothing was sent.
    Encode(Arc<dyn StdError + Send + Sync>),
}

impl CodecError {
    /// The code that a peer is sent for it, if the peer is at fault.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Type(_) => Some(StatusCode::UNSUPPORTED_DATA),
            Self::Decode(_) => Some(StatusCode::INVALID_FRAME_PAYLOAD_DATA),
            Self::Encode(_) => None,
        }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "a {kind} message arrived where the other type should"),
            Self::Decode(_) => f.write_str("the message does not hold what it should"),
            Self::Encode(_) => f.write_str("the value cannot become a message"),
        }
    }
}

impl StdError for CodecError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Type(_) => None,
            Self::Decode(error) | Self::Encode(error) => Some(&**error),
        }
    }
}
