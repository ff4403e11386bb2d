//! Which frame comes next in a message that is sent in pieces?

use crate::MessageType;
use crate::frame::OpCode;

/// The next frame of a message that is sent in pieces or in raw frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutboundStream {
    /// Each piece is sent as frames; `next` is the opcode of the first of them.
    Pieces { next: OpCode, compressed: bool },
    /// The application builds the frames.
    RawFrames,
}

impl OutboundStream {
    pub(super) const fn new(kind: MessageType, compressed: bool) -> Self {
        Self::Pieces { next: OpCode::of(kind), compressed }
    }

    pub(super) const fn is_compressed(self) -> bool {
        matches!(self, Self::Pieces { compressed: true, .. })
    }

    pub(super) fn has_begun(self) -> bool {
        self.opcode() == OpCode::CONTINUATION
    }

    /// The state after the first frame.
    pub(super) const fn continued(self) -> Self {
        Self::Pieces { next: OpCode::CONTINUATION, compressed: self.is_compressed() }
    }

    /// The opcode of the next frame.
    pub(super) const fn opcode(self) -> OpCode {
        match self {
            Self::Pieces { next, .. } => next,
            Self::RawFrames => OpCode::CONTINUATION,
        }
    }

    /// The same message without compression, if its first frame is not sent yet.
    pub(super) fn uncompressed(self) -> Self {
        if self.has_begun() {
            self
        } else {
            Self::Pieces { next: self.opcode(), compressed: false }
        }
    }
}
