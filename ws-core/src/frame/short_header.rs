//! How is the header of a single-frame message of up to 64 KiB encoded in the fewest steps?

use super::{Mask, OpCode};
use crate::Message;

/// The header of an unfragmented, uncompressed message with a payload of less than 64 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortHeader {
    pub(crate) bytes: [u8; Self::MAX_LEN],
    /// The number of bytes used.
    pub(crate) len: u8,
}

impl ShortHeader {
    /// Two bytes, two of length, four of masking key.
    pub(crate) const MAX_LEN: usize = 8;

    #[inline]
    pub(crate) const fn new(opcode: OpCode, key: Option<Mask>, len: usize) -> Self {
        let ([high, low], first) = ((len as u16).to_be_bytes(), 0x80 | opcode.as_u8());
        match key {
            None if len < 126 => Self { bytes: [first, low, 0, 0, 0, 0, 0, 0], len: 2 },
            None => Self { bytes: [first, 126, high, low, 0, 0, 0, 0], len: 4 },
            Some(key) => {
                let [a, b, c, d] = key.key();
                if len < 126 {
                    Self { bytes: [first, 0x80 | low, a, b, c, d, 0, 0], len: 6 }
                } else {
                    Self { bytes: [first, 0x80 | 126, high, low, a, b, c, d], len: 8 }
                }
            }
        }
    }

    /// The header of an unmasked message, as a server sends it. Valid for short messages only.
    pub(crate) fn of(message: &Message) -> Self {
        Self::new(OpCode::of(message.kind()), None, message.len())
    }
}
