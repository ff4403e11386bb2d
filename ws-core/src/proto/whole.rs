//! Is this, as most often, a whole message in one frame?

use bytes::Bytes;

use super::inbound::Taken;
use super::{Inbound, Role};
use crate::frame::{Header, Mask, mask, mask_short};
use crate::{Message, MessageType};

/// Up to this length, text is unmasked and looked at in one pass.
const SHORT: usize = 256;

/// What lies at the front of some input.
#[derive(Clone, Copy, Debug)]
pub enum Front {
    /// A whole message.
    Message(Whole),
    /// A whole message of text that is none.
    NotUtf8,
    /// What the long way has to be taken for; the input is as it was.
    Other,
}

/// Where a whole message lies, unmasked, in the input that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    kind: MessageType,
    start: usize,
    end: usize,
}

impl Whole {
    /// The message, of the input that it lies in.
    #[inline]
    pub fn message(self, input: &[u8]) -> Message {
        let payload = input.get(self.start..self.end).unwrap_or_default();
        Message::from_checked(self.kind, Bytes::copy_from_slice(payload))
    }

    /// How many bytes of the input it took.
    #[inline]
    pub const fn taken(self) -> usize {
        self.end
    }
}

impl Inbound {
    /// The short way for what comes most often: a message in one frame, neither
    /// compressed nor longer than 64 KiB, that is all here. It is unmasked in place.
    #[inline(always)]
    pub fn front(&self, input: &mut [u8]) -> Front {
        if self.message.is_some() || self.taken != Taken::Whole {
            return Front::Other;
        }
        let Some((kind, key, payload, start)) = self.plain_frame(input) else {
            return Front::Other;
        };
        let limits = &self.config.limits;
        if payload.len() > limits.frame_size.min(limits.message_size) {
            return Front::Other;
        }
        let is_text = match (key, kind) {
            (None, MessageType::Binary) => true,
            (None, MessageType::Text) => simdutf8::basic::from_utf8(payload).is_ok(),
            (Some(key), MessageType::Text) if payload.len() <= SHORT => {
                mask_short(payload, key) || simdutf8::basic::from_utf8(payload).is_ok()
            }
            (Some(key), kind) => {
                mask(payload, key);
                kind == MessageType::Binary || simdutf8::basic::from_utf8(payload).is_ok()
            }
        };
        if is_text {
            Front::Message(Whole { kind, start, end: start + payload.len() })
        } else {
            Front::NotUtf8
        }
    }

    /// The type, mask and payload of a frame of that sort, and how long its header is.
    #[inline]
    fn plain_frame<'a>(
        &self,
        input: &'a mut [u8],
    ) -> Option<(MessageType, Option<Mask>, &'a mut [u8], usize)> {
        let &mut [flags, sizes, ref mut rest @ ..] = input else { return None };
        let kind = match flags {
            0x81 => MessageType::Text,
            0x82 => MessageType::Binary,
            _ => return None,
        };
        let (len, head, rest) = match sizes & 0x7f {
            126 => {
                let (len, rest) = rest.split_first_chunk_mut::<2>()?;
                let len = usize::from(u16::from_be_bytes(*len));
                (Some(len).filter(|len| *len > 125)?, 4, rest)
            }
            127 => return None,
            len => (usize::from(len), 2, rest),
        };
        match (self.role, sizes & 0x80 != 0) {
            (Role::Server, true) => {
                let (key, rest) = rest.split_first_chunk_mut::<4>()?;
                Some((kind, Some(Mask::new(*key)), rest.get_mut(..len)?, head + 4))
            }
            (Role::Client, false) => Some((kind, None, rest.get_mut(..len)?, head)),
            _ => None,
        }
    }

    /// Does a whole frame lie at the front of `input`, so that the next call would
    /// not have to wait? Said of the bytes that [`receive`](Self::receive) left over.
    #[inline]
    pub fn is_ready(&self, input: &[u8]) -> bool {
        let &[_, sizes, ..] = input else { return false };
        let mask = if sizes & 0x80 == 0 { 0 } else { 4 };
        let frame = match sizes & 0x7f {
            126 | 127 => match Header::decode(input) {
                Some((header, head)) => header.len.saturating_add(head as u64),
                None => return false,
            },
            len => u64::from(len) + mask + 2,
        };
        input.len() as u64 >= frame && !self.is_inside_frame()
    }
}
