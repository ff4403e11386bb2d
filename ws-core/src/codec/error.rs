//! Why could a message not be decoded, or a value not be encoded?

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::{Escaped, MessageType, StatusCode};

/// Why a message could not be decoded, or why a value could not be encoded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The message has a type that the format does not use. `Conn::read_as` closes the connection
    /// with [`UNSUPPORTED_DATA`](StatusCode::UNSUPPORTED_DATA).
    Type(MessageType),
    /// The payload is not a valid value. `Conn::read_as` closes the connection with
    /// [`INVALID_FRAME_PAYLOAD_DATA`](StatusCode::INVALID_FRAME_PAYLOAD_DATA).
    ///
    /// The text of this error includes that of the cause, [escaped](Escaped), since a decoder may
    /// quote the payload. Therefore the cause is not the `source`.
    Decode(Arc<dyn StdError + Send + Sync>),
    /// The value could not be encoded. Nothing was sent.
    Encode(Arc<dyn StdError + Send + Sync>),
}

impl CodecError {
    /// The close code to send, if the peer is at fault.
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
            Self::Type(kind) => write!(f, "unexpected {kind} message"),
            Self::Decode(cause) => {
                let cause = cause.to_string();
                write!(f, "the message is not a valid value: {}", Escaped::new(&cause))
            }
            Self::Encode(cause) => write!(f, "the value cannot be encoded: {cause}"),
        }
    }
}

/// The text includes that of the cause, so there is no `source`.
impl StdError for CodecError {}
