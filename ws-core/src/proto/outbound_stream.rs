//! Which frame comes next in a message that is sent in pieces?

use crate::MessageType;
use crate::frame::OpCode;

/// The next frame of a message that is sent in pieces or in raw frames. One byte wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutboundStream {
    Text,
    Binary,
    Continuation,
    CompressedText,
    CompressedBinary,
    CompressedContinuation,
    /// The application builds the frames.
    RawFrames,
}

impl OutboundStream {
    pub(super) const fn new(kind: MessageType, compressed: bool) -> Self {
        match (kind, compressed) {
            (MessageType::Text, false) => Self::Text,
            (MessageType::Binary, false) => Self::Binary,
            (MessageType::Text, true) => Self::CompressedText,
            (MessageType::Binary, true) => Self::CompressedBinary,
        }
    }

    pub(super) const fn is_compressed(self) -> bool {
        matches!(self, Self::CompressedText | Self::CompressedBinary | Self::CompressedContinuation)
    }

    pub(super) const fn has_begun(self) -> bool {
        matches!(self, Self::Continuation | Self::CompressedContinuation | Self::RawFrames)
    }

    /// The state after the first frame.
    pub(super) const fn continued(self) -> Self {
        if self.is_compressed() { Self::CompressedContinuation } else { Self::Continuation }
    }

    /// The opcode of the next frame.
    pub(super) const fn opcode(self) -> OpCode {
        match self {
            Self::Text | Self::CompressedText => OpCode::TEXT,
            Self::Binary | Self::CompressedBinary => OpCode::BINARY,
            Self::Continuation | Self::CompressedContinuation | Self::RawFrames => {
                OpCode::CONTINUATION
            }
        }
    }

    /// The same message without compression.
    pub(super) const fn uncompressed(self) -> Self {
        match self {
            Self::CompressedText => Self::Text,
            Self::CompressedBinary => Self::Binary,
            other => other,
        }
    }
}
