//! How is a frame header encoded and decoded?

use super::Mask;
use crate::MessageType;

/// The longest header in bytes: two, eight of length, four of masking key.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// The opcode of a frame (RFC 6455 §5.2): four bits. Some values are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpCode(u8);

impl OpCode {
    /// Continues the message of the previous frame.
    pub const CONTINUATION: Self = Self(0x0);
    /// Begins a text message.
    pub const TEXT: Self = Self(0x1);
    /// Begins a binary message.
    pub const BINARY: Self = Self(0x2);
    /// Closes the connection.
    pub const CLOSE: Self = Self(0x8);
    /// Asks for a pong.
    pub const PING: Self = Self(0x9);
    /// Answers a ping, or is sent unsolicited.
    pub const PONG: Self = Self(0xa);

    /// The opcode with this number. Only the lower four bits count.
    pub const fn from_u8(bits: u8) -> Self {
        Self(bits & 0x0f)
    }

    /// The number.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// The opcode of the first frame of a message.
    pub(crate) const fn of(kind: MessageType) -> Self {
        match kind {
            MessageType::Text => Self::TEXT,
            MessageType::Binary => Self::BINARY,
        }
    }

    /// Whether this is a control frame, including the reserved ones.
    pub const fn is_control(self) -> bool {
        self.0 & 0x8 != 0
    }
}

/// The header of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// FIN: the last frame of its message.
    pub fin: bool,
    /// RSV1: the message is compressed, if compression was negotiated.
    pub rsv1: bool,
    /// RSV2: reserved.
    pub rsv2: bool,
    /// RSV3: reserved.
    pub rsv3: bool,
    /// The opcode.
    pub opcode: OpCode,
    /// The masking key, if the payload is masked.
    pub mask: Option<Mask>,
    /// The payload length in bytes.
    pub len: u64,
    /// The length is encoded in the fewest bytes.
    pub minimal: bool,
}

impl Header {
    /// The header of an unmasked frame without reserved bits.
    pub const fn new(fin: bool, opcode: OpCode, len: u64) -> Self {
        Self { fin, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None, len, minimal: true }
    }

    /// Decodes the header at the front of `input`. Returns it with the number of bytes used, or
    /// `None` when more bytes are needed.
    #[inline]
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let mut rest = input;
        let [flags, sizes] = take(&mut rest)?;
        let (len, minimal) = match sizes & 0x7f {
            126 => {
                let len = u64::from(u16::from_be_bytes(take(&mut rest)?));
                (len, len > 125)
            }
            127 => {
                let len = u64::from_be_bytes(take(&mut rest)?);
                (len, len > 0xffff)
            }
            short => (u64::from(short), true),
        };
        let mask = match sizes & 0x80 {
            0 => None,
            _ => Some(Mask::new(take(&mut rest)?)),
        };
        let header = Self {
            fin: flags & 0x80 != 0,
            rsv1: flags & 0x40 != 0,
            rsv2: flags & 0x20 != 0,
            rsv3: flags & 0x10 != 0,
            opcode: OpCode::from_u8(flags),
            mask,
            len,
            minimal,
        };
        Some((header, input.len() - rest.len()))
    }

    /// Encodes the header. The length takes the fewest bytes if `minimal` is set.
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        let mut out = EncodedHeader { bytes: [0; MAX_HEADER], len: 0 };
        let bit = |set, at: u32| u8::from(set) << at;
        let flags = bit(self.fin, 7) | bit(self.rsv1, 6) | bit(self.rsv2, 5) | bit(self.rsv3, 4);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        match (self.len, self.minimal) {
            (len @ 0..=125, true) => out.push([flags | self.opcode.0, masked | len as u8]),
            (len @ 126..=0xffff, true) | (len @ 0..=125, false) => {
                out.push([flags | self.opcode.0, masked | 126]);
                out.push((len as u16).to_be_bytes());
            }
            (len, _) => {
                out.push([flags | self.opcode.0, masked | 127]);
                out.push(len.to_be_bytes());
            }
        }
        if let Some(mask) = self.mask {
            out.push(mask.key());
        }
        out
    }
}

/// An encoded header.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl EncodedHeader {
    /// Appends the header to `out`. A copy of fixed length is faster than one of the exact
    /// length.
    #[inline]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(room) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut()) {
            *room = bytes;
            self.len += N;
        }
    }
}

/// Takes the first `N` bytes off `input`.
#[inline]
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_header() -> impl Strategy<Value = Header> {
        let flags = any::<(bool, bool, bool, bool)>();
        let len = prop_oneof![0..130u64, 65_000..66_000u64, any::<u64>()];
        (flags, 0..16u8, any::<Option<[u8; 4]>>(), len, any::<bool>()).prop_map(
            |((fin, rsv1, rsv2, rsv3), opcode, key, len, minimal)| Header {
                fin,
                rsv1,
                rsv2,
                rsv3,
                opcode: OpCode::from_u8(opcode),
                mask: key.map(Mask::new),
                len,
                // No length past 0xffff can be written in more bytes than it needs.
                minimal: minimal || len > 0xffff,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(header in any_header()) {
            let bytes = header.encode();
            let bytes = bytes.as_slice();
            prop_assert_eq!(Header::decode(bytes), Some((header, bytes.len())));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::decode(&bytes[..cut]), None);
            }
        }

        #[test]
        fn every_pattern_of_bits_decodes(bytes in any::<[u8; MAX_HEADER]>()) {
            let (header, taken) = Header::decode(&bytes).unwrap();
            let again = header.encode();
            // One that is written too long may be written too long in two ways.
            if header.minimal {
                prop_assert_eq!(again.as_slice(), &bytes[..taken]);
            }
        }
    }

    /// The examples of RFC 6455 §5.7.
    #[test]
    fn the_examples_of_the_rfc_decode() {
        let check = |bytes: &[u8], fin, opcode, masked, len| {
            let (header, _) = Header::decode(bytes).unwrap();
            assert_eq!(
                (header.fin, header.opcode, header.mask.is_some(), header.len),
                (fin, opcode, masked, len)
            );
        };
        check(b"\x81\x05Hello", true, OpCode::TEXT, false, 5);
        check(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, OpCode::TEXT, true, 5);
        check(b"\x01\x03Hel", false, OpCode::TEXT, false, 3);
        check(b"\x80\x02lo", true, OpCode::CONTINUATION, false, 2);
        check(b"\x89\x05Hello", true, OpCode::PING, false, 5);
        check(b"\x82\x7e\x01\x00", true, OpCode::BINARY, false, 256);
        check(b"\x82\x7f\0\0\0\0\0\x01\0\0", true, OpCode::BINARY, false, 65536);
    }
}
