//! How does a short message become a frame, in the fewest steps?

use super::open_stream::opcode_of;
use super::queue::COPIED;
use crate::Message;
use crate::frame::{Mask, OpCode, mask};

/// The longest header of a short frame: two bytes, two of length, four of masking key.
const LONGEST: usize = 8;

/// Writes the frame of a message to the front of `room`: for one that leaves at once,
/// as it is. `None` when the payload is long, or the room short.
#[inline]
pub(super) fn frame<'a>(
    opcode: OpCode,
    key: Option<Mask>,
    payload: &[u8],
    room: &'a mut [u8],
) -> Option<&'a [u8]> {
    if payload.len() > COPIED {
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

/// The header of a frame that is a whole message, uncompressed and no longer than
/// [`COPIED`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortHeader {
    pub(super) bytes: [u8; LONGEST],
    /// How many of them it has.
    pub(super) len: u8,
}

impl ShortHeader {
    #[inline]
    pub(super) const fn new(opcode: OpCode, key: Option<Mask>, len: usize) -> Self {
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

    /// That of a message from a server. It is of use only if the message is short.
    pub(crate) fn of(message: &Message) -> Self {
        Self::new(opcode_of(message.kind()), None, message.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Header;

    #[test]
    fn a_short_frame_is_the_frame_that_the_long_way_makes() {
        let key = Mask::new([1, 2, 3, 4]);
        for (len, key) in
            [0, 1, 125, 126, COPIED].into_iter().flat_map(|len| [(len, None), (len, Some(key))])
        {
            let payload = vec![b'a'; len];
            let mut room = vec![0xff; COPIED + LONGEST];
            let frame = frame(OpCode::TEXT, key, &payload, &mut room).unwrap();
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
    fn what_has_no_room_and_what_is_long_goes_the_long_way() {
        let mut room = [0; 16];
        assert_eq!(frame(OpCode::TEXT, None, &[0; 15], &mut room), None);
        assert_eq!(frame(OpCode::TEXT, None, &[0; 14], &mut room).unwrap().len(), 16);
        assert_eq!(frame(OpCode::TEXT, None, b"", &mut room[..7]), None);
        let mut room = vec![0; 2 * COPIED];
        assert_eq!(frame(OpCode::TEXT, None, &[0; COPIED + 1], &mut room), None);
    }
}
