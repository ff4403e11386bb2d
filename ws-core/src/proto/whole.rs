//! Is this, as most often, a whole message in one frame?

use super::by_frame::Taken;
use super::{Inbound, Role};
use crate::frame::{Header, Mask, mask, mask_short};
use crate::{Message, MessageType};

/// Up to this length, text is unmasked and looked at in one pass.
const SHORT: usize = 256;

/// What lies at the front of some input.
#[derive(Debug)]
pub enum FastPath<'a> {
    /// A whole message.
    Message(Whole<'a>),
    /// A whole message of text that is none.
    NotUtf8,
    /// What the long way has to be taken for; the input is as it was.
    Other,
}

/// A whole message, unmasked in the input that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    kind: MessageType,
    payload: &'a [u8],
    /// What follows in the input.
    pub rest: &'a [u8],
}

/// A frame that is a whole message, still masked, and what is behind it.
struct Plain<'a> {
    kind: MessageType,
    key: Option<Mask>,
    payload: &'a mut [u8],
    behind: &'a mut [u8],
}

impl Whole<'_> {
    /// The message, apart from the input.
    #[inline]
    pub fn message(self) -> Message {
        Message::copied(self.kind, self.payload)
    }
}

impl Inbound {
    /// The short way for what comes most often: a message in one frame, neither
    /// compressed nor longer than 64 KiB, that is all here. It is unmasked in place.
    #[inline(always)]
    pub fn fast_path<'a>(&self, input: &'a mut [u8]) -> FastPath<'a> {
        if self.message.is_some() || self.taken != Taken::Whole {
            return FastPath::Other;
        }
        let Some(Plain { kind, key, payload, behind }) = self.plain_frame(input) else {
            return FastPath::Other;
        };
        let limits = &self.config.limits;
        if payload.len() > limits.frame_size || payload.len() > limits.message_size {
            return FastPath::Other;
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
            FastPath::Message(Whole { kind, payload, rest: behind })
        } else {
            FastPath::NotUtf8
        }
    }

    /// A frame of that sort, if all of it is here.
    #[inline]
    fn plain_frame<'a>(&self, input: &'a mut [u8]) -> Option<Plain<'a>> {
        let &mut [flags, sizes, ref mut rest @ ..] = input else { return None };
        let kind = match flags {
            0x81 => MessageType::Text,
            0x82 => MessageType::Binary,
            _ => return None,
        };
        let (len, rest) = match sizes & 0x7f {
            126 => {
                let (len, rest) = rest.split_first_chunk_mut::<2>()?;
                let len = usize::from(u16::from_be_bytes(*len));
                (Some(len).filter(|len| *len > 125)?, rest)
            }
            127 => return None,
            len => (usize::from(len), rest),
        };
        let (key, rest) = match (self.role, sizes & 0x80 != 0) {
            (Role::Server, true) => {
                let (key, rest) = rest.split_first_chunk_mut::<4>()?;
                (Some(Mask::new(*key)), rest)
            }
            (Role::Client, false) => (None, rest),
            _ => return None,
        };
        let (payload, behind) = rest.split_at_mut_checked(len)?;
        Some(Plain { kind, key, payload, behind })
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
