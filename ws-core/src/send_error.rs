//! Why must a frame not be sent?

use crate::{ProtocolError, StatusCode};

/// Why a frame must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A close code that must not be sent (RFC 6455 §7.4).
    Code(StatusCode),
    /// A close reason longer than 123 bytes, with its length.
    Reason(usize),
    /// A text message that is not UTF-8.
    NotUtf8,
    /// The payload of a ping or a pong is longer than 125 bytes. Holds its length.
    Control(usize),
    /// A raw frame that would violate the protocol at this point.
    Frame(ProtocolError),
    /// A raw frame whose payload does not have the length in its header.
    Length(u64),
}

impl_error!(SendError {
    Self::Code(why) => "close code {} must not be sent", why.as_u16();
    Self::Reason(why) => "a close reason has at most 123 bytes, not {why}";
    Self::NotUtf8 => "a text message must be UTF-8";
    Self::Control(why) => "a control frame has at most 125 bytes, not {why}";
    Self::Frame(why) => "{why}";
    Self::Length(why) => "the frame header declares {why} bytes, but the payload has another length";
});
