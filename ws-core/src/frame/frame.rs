//! What is a raw frame, and how is one built bit by bit?

use std::fmt;

use bytes::Bytes;

use super::{Header, Mask, OpCode, mask};
use crate::{Message, StatusCode};

/// A raw frame (RFC 6455 §5.2). `Conn::frames` reads and writes raw frames. Every bit of a frame
/// can be set.
///
/// The payload is unmasked.
///
/// ```
/// use ws_core::frame::{Frame, OpCode};
///
/// let hello = Frame::text("Hel").fin(false);
/// let end = Frame::new(OpCode::CONTINUATION, "lo").masked_with([0x37, 0xfa, 0x21, 0x3d]);
/// assert_eq!(hello.encode(), b"\x01\x03Hel");
/// assert_eq!(end.encode(), b"\x80\x82\x37\xfa\x21\x3d\x5b\x95");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Frame {
    header: Header,
    masking: Masking,
    payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Masking {
    /// As RFC 6455 §5.3 requires of the sender.
    Auto,
    /// As set in the header.
    Explicit,
}

impl Frame {
    /// A frame with this payload. FIN is set, the reserved bits are not.
    pub fn new(opcode: OpCode, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let header = Header::new(true, opcode, payload.len() as u64);
        Self { header, masking: Masking::Auto, payload }
    }

    /// A text message in one frame.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(OpCode::TEXT, text.into())
    }

    /// A binary message in one frame.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::BINARY, payload)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::PING, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(OpCode::PONG, payload)
    }

    /// A close frame with any code and a reason of any length.
    pub fn close(code: StatusCode, reason: &str) -> Self {
        Self::new(OpCode::CLOSE, [&code.as_u16().to_be_bytes(), reason.as_bytes()].concat())
    }

    /// Sets FIN: the frame is the last of its message. Default: set.
    pub const fn fin(mut self, on: bool) -> Self {
        self.header.fin = on;
        self
    }

    /// Sets RSV1: the message is compressed (RFC 7692 §6).
    pub const fn rsv1(mut self, on: bool) -> Self {
        self.header.rsv1 = on;
        self
    }

    /// Sets RSV2, which is reserved.
    pub const fn rsv2(mut self, on: bool) -> Self {
        self.header.rsv2 = on;
        self
    }

    /// Sets RSV3, which is reserved.
    pub const fn rsv3(mut self, on: bool) -> Self {
        self.header.rsv3 = on;
        self
    }

    /// Masks the frame with this key, on a client and on a server. By default, a client masks it
    /// with a random key and a server does not mask it (RFC 6455 §5.3).
    pub const fn masked_with(mut self, key: [u8; 4]) -> Self {
        self.header.mask = Some(Mask::new(key));
        self.masking = Masking::Explicit;
        self
    }

    /// Sends the frame unmasked, on a client and on a server.
    pub const fn unmasked(mut self) -> Self {
        self.header.mask = None;
        self.masking = Masking::Explicit;
        self
    }

    /// Sets the payload length in the header, which may differ from the actual length.
    pub const fn declared_len(mut self, len: u64) -> Self {
        self.header.len = len;
        self
    }

    /// Encodes the payload length in more bytes than it needs, which §5.2 forbids.
    pub const fn non_minimal_len(mut self) -> Self {
        self.header.minimal = false;
        self
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The opcode.
    pub const fn opcode(&self) -> OpCode {
        self.header.opcode
    }

    /// Whether FIN is set: the frame is the last of its message.
    pub const fn is_fin(&self) -> bool {
        self.header.fin
    }

    /// Whether this is a control frame.
    pub const fn is_control(&self) -> bool {
        self.header.opcode.is_control()
    }

    /// The code of a close frame, which may be one that must not be sent. `None` without a code,
    /// and for other frames.
    pub fn close_code(&self) -> Option<StatusCode> {
        let code = self.payload.first_chunk().filter(|_| self.opcode() == OpCode::CLOSE)?;
        StatusCode::from_u16(u16::from_be_bytes(*code))
    }

    /// The payload: unmasked, and compressed if the message is.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload by value.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Encodes the frame. It is masked only if [`masked_with`](Self::masked_with) was called.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode().as_slice().to_vec();
        let body = bytes.len();
        bytes.extend_from_slice(&self.payload);
        if let Some(key) = self.header.mask {
            mask(bytes.get_mut(body..).unwrap_or_default(), key);
        }
        bytes
    }

    /// Decodes the frame at the front of `input`. Returns it with the number of bytes used, or
    /// `None` when more bytes are needed. Every bit pattern is a frame.
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let (header, head) = Header::decode(input)?;
        let end = head.checked_add(usize::try_from(header.len).ok()?)?;
        let mut payload = input.get(head..end)?.to_vec();
        if let Some(key) = header.mask {
            mask(&mut payload, key);
        }
        Some((Self { header, masking: Masking::Explicit, payload: payload.into() }, end))
    }

    /// A received frame with its unmasked payload.
    pub(crate) const fn received(header: Header, payload: Bytes) -> Self {
        Self { header, masking: Masking::Explicit, payload }
    }

    /// Masks the frame with `key`, unless its masking was set explicitly.
    pub(crate) const fn masked_by_role(mut self, key: Option<Mask>) -> Self {
        if matches!(self.masking, Masking::Auto) {
            self.header.mask = key;
        }
        self
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("header", &self.header)
            .field("payload", &self.payload)
            .finish()
    }
}

impl From<Message> for Frame {
    fn from(message: Message) -> Self {
        Self::new(OpCode::of(message.kind()), message.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_bit_can_be_set() {
        let plain = Frame::binary("x");
        for (frame, wire) in [
            (plain.clone(), &b"\x82\x01x"[..]),
            (plain.clone().fin(false), b"\x02\x01x"),
            (plain.clone().rsv1(true), b"\xc2\x01x"),
            (plain.clone().rsv2(true), b"\xa2\x01x"),
            (plain.clone().rsv3(true), b"\x92\x01x"),
            (plain.clone().non_minimal_len(), b"\x82\x7e\x00\x01x"),
            (plain.clone().declared_len(4), b"\x82\x04x"),
            (plain.clone().masked_with([1, 2, 3, 4]), b"\x82\x81\x01\x02\x03\x04y"),
            (plain.masked_with([1; 4]).unmasked(), b"\x82\x01x"),
            (Frame::new(OpCode::from_u8(0xb), ""), b"\x8b\x00"),
            (Frame::close(StatusCode::ABNORMAL_CLOSURE, "no"), b"\x88\x04\x03\xeeno"),
        ] {
            assert_eq!(frame.encode(), wire, "{frame:?}");
        }
    }

    #[test]
    fn only_a_close_frame_has_a_close_code() {
        let code = |frame: Frame| frame.close_code().map(StatusCode::as_u16);
        assert_eq!(code(Frame::close(StatusCode::GOING_AWAY, "bye")), Some(1001));
        assert_eq!(code(Frame::close(StatusCode::ABNORMAL_CLOSURE, "")), Some(1006));
        assert_eq!(code(Frame::new(OpCode::CLOSE, "")), None);
        assert_eq!(code(Frame::new(OpCode::CLOSE, "\x03")), None);
        assert_eq!(code(Frame::new(OpCode::CLOSE, vec![0, 1])), None);
        assert_eq!(code(Frame::ping(vec![0x03, 0xe9])), None);
    }

    #[test]
    fn a_frame_is_shown_with_its_payload() {
        assert!(format!("{:?}", Frame::ping("käse")).ends_with(r#"payload: b"k\xc3\xa4se" }"#));
    }

    proptest! {
        #[test]
        fn encoded_frames_decode_to_the_same(
            bits in any::<u8>(),
            key in any::<Option<[u8; 4]>>(),
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let frame = Frame::new(OpCode::from_u8(bits), payload)
                .fin(bits & 0x80 != 0)
                .rsv1(bits & 0x40 != 0)
                .rsv2(bits & 0x20 != 0)
                .rsv3(bits & 0x10 != 0);
            let frame = match key {
                Some(key) => frame.masked_with(key),
                None => frame.unmasked(),
            };
            let wire = frame.encode();
            prop_assert_eq!(Frame::decode(&wire), Some((frame, wire.len())));
            for cut in 0..wire.len() {
                prop_assert_eq!(Frame::decode(&wire[..cut]), None);
            }
        }
    }
}
