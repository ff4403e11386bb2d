//! Why may a frame not be sent?

use crate::{ProtocolError, StatusCode};

/// Why a frame may not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A code that must not stand in a close frame.
    #[error("close code {} must not be sent", .0.as_u16())]
    Code(StatusCode),
    /// A reason longer than 123 bytes.
    #[error("a close reason has at most 123 bytes, not {0}")]
    Reason(usize),
    /// A text message that is not UTF-8.
    #[error("a text message has to be UTF-8")]
    NotUtf8,
    /// A ping or a pong longer than 125 bytes.
    #[error("a control frame has at most 125 bytes, not {0}")]
    Control(usize),
    /// A frame that breaks this rule, where it would come.
    #[error("{0}")]
    Frame(ProtocolError),
    /// A frame whose header claims this length, and whose payload has another.
    #[error("the frame claims {0} bytes, and has not as many")]
    Length(u64),
}
