//! How is a short message in one frame read and written without the general state machine?
//!
//! Reading: an unfragmented, uncompressed data frame of up to 64 KiB that has arrived in full is
//! unmasked in place and becomes a message. Writing: an uncompressed message of up to 4 KiB that
//! has nothing ahead of it in the send buffer becomes a frame on the stack. Everything else takes
//! the general path in [`Inbound`](super::Inbound) and [`Outbound`](super::Outbound).

use super::Role;
use super::send_buffer::MAX_COPIED;
use crate::frame::{Mask, OpCode, ShortHeader, mask, mask_short};
use crate::{Limits, Message, MessageType};

/// Text up to this length is unmasked and checked for ASCII in one pass.
const ONE_PASS: usize = 256;

/// The outcome of the fast path for the front of the input.
#[derive(Debug)]
pub(crate) enum FastPath<'a> {
    /// A complete message.
    Message(FastMessage<'a>),
    /// A complete text message that is not UTF-8.
    NotUtf8,
    /// Not a frame for the fast path. The input is unchanged.
    Other,
}

/// A complete message, unmasked in the input buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastMessage<'a> {
    kind: MessageType,
    payload: &'a [u8],
    /// The input behind the message.
    pub(crate) rest: &'a [u8],
}

/// A frame that is a whole message, still masked, and the input behind it.
struct SingleFrame<'a> {
    kind: MessageType,
    key: Option<Mask>,
    payload: &'a mut [u8],
    rest: &'a mut [u8],
}

impl FastMessage<'_> {
    /// Copies the message out of the input buffer.
    #[inline]
    pub(crate) fn message(self) -> Message {
        Message::copy_from_slice(self.kind, self.payload)
    }
}

/// Reads a message from the front of `input`, between two messages.
#[inline(always)]
pub(super) fn read<'a>(role: Role, limits: &Limits, input: &'a mut [u8]) -> FastPath<'a> {
    let Some(SingleFrame { kind, key, payload, rest }) = single_frame(role, input) else {
        return FastPath::Other;
    };
    if payload.len() > limits.frame_size || payload.len() > limits.message_size {
        return FastPath::Other;
    }
    let is_valid = match (key, kind) {
        (None, MessageType::Binary) => true,
        (None, MessageType::Text) => simdutf8::basic::from_utf8(payload).is_ok(),
        (Some(key), MessageType::Text) if payload.len() <= ONE_PASS => {
            mask_short(payload, key) || simdutf8::basic::from_utf8(payload).is_ok()
        }
        (Some(key), kind) => {
            mask(payload, key);
            kind == MessageType::Binary || simdutf8::basic::from_utf8(payload).is_ok()
        }
    };
    if is_valid {
        FastPath::Message(FastMessage { kind, payload, rest })
    } else {
        FastPath::NotUtf8
    }
}

/// Splits off an unfragmented, uncompressed data frame of up to 64 KiB that is complete and
/// masked as `role` requires.
#[inline]
fn single_frame(role: Role, input: &mut [u8]) -> Option<SingleFrame<'_>> {
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
    let (key, rest) = match (role, sizes & 0x80 != 0) {
        (Role::Server, true) => {
            let (key, rest) = rest.split_first_chunk_mut::<4>()?;
            (Some(Mask::new(*key)), rest)
        }
        (Role::Client, false) => (None, rest),
        _ => return None,
    };
    let (payload, rest) = rest.split_at_mut_checked(len)?;
    Some(SingleFrame { kind, key, payload, rest })
}

/// Writes a message frame to the front of `room` and returns it. `None` when the payload exceeds
/// [`MAX_COPIED`] bytes or does not fit.
#[inline]
pub(super) fn write<'a>(
    opcode: OpCode,
    key: Option<Mask>,
    payload: &[u8],
    room: &'a mut [u8],
) -> Option<&'a [u8]> {
    if payload.len() > MAX_COPIED {
        return None;
    }
    let header = ShortHeader::new(opcode, key, payload.len());
    *room.first_chunk_mut()? = header.bytes;
    let head = usize::from(header.len);
    let end = head + payload.len();
    let body = room.get_mut(head..end)?;
    body.copy_from_slice(payload);
    if let Some(key) = key {
        mask(body, key);
    }
    room.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Header;

    #[test]
    fn a_fast_path_frame_equals_the_general_encoding() {
        let key = Mask::new([1, 2, 3, 4]);
        for (len, key) in
            [0, 1, 125, 126, MAX_COPIED].into_iter().flat_map(|len| [(len, None), (len, Some(key))])
        {
            let payload = vec![b'a'; len];
            let mut room = vec![0xff; MAX_COPIED + ShortHeader::MAX_LEN];
            let frame = write(OpCode::TEXT, key, &payload, &mut room).unwrap();
            let header = Header { mask: key, ..Header::new(true, OpCode::TEXT, len as u64) };
            let mut long = header.encode().as_slice().to_vec();
            let mut masked = payload;
            if let Some(key) = key {
                mask(&mut masked, key);
            }
            long.append(&mut masked);
            assert_eq!(frame, long, "{len} bytes, {key:?}");
        }
    }

    #[test]
    fn long_payloads_and_short_rooms_take_the_general_path() {
        let mut room = [0; 16];
        assert_eq!(write(OpCode::TEXT, None, &[0; 15], &mut room), None);
        assert_eq!(write(OpCode::TEXT, None, &[0; 14], &mut room).unwrap().len(), 16);
        assert_eq!(write(OpCode::TEXT, None, b"", &mut room[..7]), None);
        let mut room = vec![0; 2 * MAX_COPIED];
        assert_eq!(write(OpCode::TEXT, None, &[0; MAX_COPIED + 1], &mut room), None);
    }
}
