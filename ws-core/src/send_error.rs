//! Why must a frame not be sent?

use crate::{ProtocolError, StatusCode};

/// Why a frame must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A close code that must not be sent (RFC 6455 §7.4).
    #[error("close code {} must not be sent", .0.as_u16())]
    Code(StatusCode),
    /// A close reason longer than 123 bytes, with its length.
    #[error("a close reason has at most 123 bytes, not {0}")]
    Reason(usize),
    /// A text message that is not UTF-8.
    #[error("a text message must be UTF-8")]
    NotUtf8,
    /// The payload of a ping or a pong is longer than 125 bytes. Holds its length.
    #[error("a control frame has at most 125 bytes, not {0}")]
    Control(usize),
    /// A raw frame that would violate the protocol at this point.
    #[error("{0}")]
    Frame(ProtocolError),
    /// A raw frame whose payload does not have the length in its header.
    #[error("the frame header declares {0} bytes, but the payload has another length")]
    Length(u64),
}
