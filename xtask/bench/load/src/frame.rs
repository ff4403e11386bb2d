//! How does the load generator encode and decode frame headers?

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// FIN: the last frame of a message.
    pub fin: bool,
    /// RSV1: the message is compressed.
    pub rsv1: bool,
    /// RSV2 or RSV3 is set.
    pub reserved: bool,
    /// The opcode.
    pub opcode: u8,
    /// Whether it has a masking key.
    pub masked: bool,
    /// The length of the payload.
    pub len: u64,
}

/// The opcode of text frames.
pub const TEXT: u8 = 1;
/// The opcode of binary frames.
pub const BINARY: u8 = 2;
/// The opcode of close frames.
pub const CLOSE: u8 = 8;

/// The length of the longest header.
pub const MAX_HEADER: usize = 14;

impl Header {
    /// Decodes a header and its length; `None` while it is incomplete.
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let [first, second, rest @ ..] = input else { return None };
        let masked = second & 0x80 != 0;
        let (len, size) = match second & 0x7f {
            126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (short.into(), 2),
        };
        let size = if masked { size + 4 } else { size };
        let header = Self {
            fin: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            reserved: first & 0x30 != 0,
            opcode: first & 0x0f,
            masked,
            len,
        };
        (input.len() >= size).then_some((header, size))
    }

    /// Whether it is a control frame.
    pub const fn is_control(&self) -> bool {
        self.opcode & 0x08 != 0
    }
}

/// Appends a client's frame, with its payload masked by `key`.
pub fn encode(opcode: u8, rsv1: bool, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | if rsv1 { 0x40 } else { 0 } | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for (len, size) in [(0, 6), (125, 6), (126, 8), (0xffff, 8), (0x10000, 14)] {
            let mut frame = Vec::new();
            encode(BINARY, true, &vec![7; len], [1, 2, 3, 4], &mut frame);
            let header = Header {
                fin: true,
                rsv1: true,
                reserved: false,
                opcode: BINARY,
                masked: true,
                len: len as u64,
            };
            assert_eq!(Header::decode(&frame), Some((header, size)));
            assert_eq!(Header::decode(&frame[..size - 1]), None);
            assert_eq!(frame.len(), size + len);
            if len > 1 {
                assert_eq!(frame[size..size + 2], [7 ^ 1, 7 ^ 2]);
            }
        }
    }
}
