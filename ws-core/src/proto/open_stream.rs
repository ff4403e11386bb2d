//! What is the next frame of a message that is sent piece by piece?

use super::Outbound;
use crate::MessageType;
use crate::frame::OpCode;

/// A message that is sent piece by piece: what its next frame is. As wide as a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenStream {
    Text,
    Binary,
    More,
    DeflatedText,
    DeflatedBinary,
    DeflatedMore,
    /// It is sent in frames that somebody else makes.
    Crafted,
}

impl OpenStream {
    pub(super) const fn new(kind: MessageType, deflated: bool) -> Self {
        match (kind, deflated) {
            (MessageType::Text, false) => Self::Text,
            (MessageType::Binary, false) => Self::Binary,
            (MessageType::Text, true) => Self::DeflatedText,
            (MessageType::Binary, true) => Self::DeflatedBinary,
        }
    }

    pub(super) const fn is_deflated(self) -> bool {
        matches!(self, Self::DeflatedText | Self::DeflatedBinary | Self::DeflatedMore)
    }

    pub(super) const fn has_begun(self) -> bool {
        matches!(self, Self::More | Self::DeflatedMore | Self::Crafted)
    }

    pub(super) const fn begun(self) -> Self {
        if self.is_deflated() { Self::DeflatedMore } else { Self::More }
    }

    /// The opcode of the next frame.
    pub(super) const fn opcode(self) -> OpCode {
        match self {
            Self::Text | Self::DeflatedText => OpCode::TEXT,
            Self::Binary | Self::DeflatedBinary => OpCode::BINARY,
            Self::More | Self::DeflatedMore | Self::Crafted => OpCode::CONTINUATION,
        }
    }

    /// The same, uncompressed.
    pub(super) const fn plain(self) -> Self {
        match self {
            Self::DeflatedText => Self::Text,
            Self::DeflatedBinary => Self::Binary,
            other => other,
        }
    }
}

impl Outbound {
    /// Makes the open message go uncompressed. Not to be called when there has been a piece
    /// of it.
    pub fn begin_uncompressed(&mut self) {
        self.stream = self.stream.map(OpenStream::plain);
    }

    /// Makes the open message go compressed at this level, from 0 to 9, if it goes compressed.
    /// Not to be called when there has been a piece of it.
    pub fn begin_at_level(&mut self, level: u8) {
        if self.stream.is_some_and(OpenStream::is_deflated)
            && let Some(compressor) = self.compressor()
        {
            compressor.begin_at(level);
        }
    }
}

/// The opcode of the first frame of a message.
pub(super) const fn opcode_of(kind: MessageType) -> OpCode {
    match kind {
        MessageType::Text => OpCode::TEXT,
        MessageType::Binary => OpCode::BINARY,
    }
}
