//! How does one body of HTTP long-polling carry several packets?

use bytes::Bytes;
use ws_core::Message;

use super::packet::{EnginePacket, EnginePacketError, push_base64};

/// The separator of packets.
const SEPARATOR: char = '\u{1e}';

/// The packets of a body, decoded one by one, so that many short packets take no more memory than
/// the body. The limit of the body bounds both.
#[derive(Clone, Debug)]
pub struct EnginePayload {
    /// Valid UTF-8.
    body: Bytes,
    /// Where the next packet begins; `None` after the last one.
    next: Option<usize>,
}

impl EnginePayload {
    /// The packets of a body. The iterator validates each one, and goes on behind one that is not
    /// valid. An empty body is one empty packet, which is not valid.
    ///
    /// # Errors
    ///
    /// [`EnginePacketError::Utf8`].
    pub fn new(body: Bytes) -> Result<Self, EnginePacketError> {
        str::from_utf8(&body).map_err(|_| EnginePacketError::Utf8)?;
        Ok(Self { body, next: Some(0) })
    }

    /// Skips the packets before the next message.
    pub(super) fn skip_to_message(&mut self) {
        loop {
            let rest = self.next.and_then(|next| self.body.get(next..)).unwrap_or_default();
            if matches!(rest.first(), None | Some(b'4' | b'b')) {
                return;
            }
            let end = rest.iter().position(|byte| *byte == SEPARATOR as u8);
            self.next = self.next.zip(end).map(|(next, end)| next + end + 1);
        }
    }

    /// Whether the next packet has at most `limit` bytes. Looks at no more of it.
    pub(super) fn is_next_within(&self, limit: usize) -> bool {
        let rest = self.next.and_then(|next| self.body.get(next..)).unwrap_or_default();
        match rest.get(..=limit) {
            Some(start) => start.contains(&(SEPARATOR as u8)),
            None => true,
        }
    }
}

impl Iterator for EnginePayload {
    type Item = Result<EnginePacket, EnginePacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.next?..).unwrap_or_default();
        let text = match rest.iter().position(|byte| *byte == SEPARATOR as u8) {
            Some(end) => {
                self.next = self.next.map(|next| next + end + 1);
                rest.get(..end).unwrap_or_default()
            }
            None => {
                self.next = None;
                rest
            }
        };
        // The separator is ASCII, so the parts are UTF-8, too.
        let text = str::from_utf8(text).map_err(|_| EnginePacketError::Utf8);
        Some(text.and_then(EnginePacket::from_text))
    }
}

/// A body for a GET.
#[derive(Debug, Default)]
pub(super) struct PayloadWriter(String);

impl PayloadWriter {
    /// Adds a message in the form that a WebSocket sends: text with its type, or binary.
    pub(super) fn push(&mut self, message: &Message) {
        self.separate();
        match message.as_text() {
            Some(packet) => self.0.push_str(packet),
            None => push_base64(&mut self.0, message.as_bytes()),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    /// Each packet has a type, so only the first one begins in an empty body.
    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push(SEPARATOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EnginePacket::{Close, Pong};
    use super::*;

    fn packets(body: &[u8]) -> Result<Vec<EnginePacket>, EnginePacketError> {
        EnginePayload::new(Bytes::copy_from_slice(body))?.collect()
    }

    fn text(text: &str) -> EnginePacket {
        EnginePacket::Message(Message::text(text))
    }

    fn binary(bytes: &[u8]) -> EnginePacket {
        EnginePacket::Message(Message::binary(bytes.to_vec()))
    }

    #[test]
    fn a_body_is_its_packets_in_order() {
        let check = |body: &str, expected: &[EnginePacket]| {
            assert_eq!(packets(body.as_bytes()).as_deref(), Ok(expected), "{body:?}");
            let mut writer = PayloadWriter::default();
            expected.iter().for_each(|packet| writer.push(&packet.to_message()));
            assert_eq!(writer.finish(), body);
        };
        check("4hello", &[text("hello")]);
        check("4a\u{1e}4b\u{1e}4c", &[text("a"), text("b"), text("c")]);
        check("4\u{1e}4", &[text(""), text("")]);
        check("4hello\u{1e}bAQIDBA==", &[text("hello"), binary(&[1, 2, 3, 4])]);
        check("3\u{1e}1", &[Pong(String::new()), Close]);
    }

    #[test]
    fn the_length_of_the_next_packet_is_known_before_it_is_decoded() {
        for (body, length) in [("4abc", 4), ("4abc\u{1e}4defghi", 4), ("4\u{1e}", 1), ("", 0)] {
            let payload = EnginePayload::new(Bytes::from_static(body.as_bytes())).unwrap();
            for limit in 0..body.len() + 2 {
                assert_eq!(payload.is_next_within(limit), length <= limit, "{body:?} {limit}");
            }
        }
        let mut payload = EnginePayload::new(Bytes::from_static(b"4a\x1e4bc")).unwrap();
        payload.next();
        assert!(payload.is_next_within(3) && !payload.is_next_within(2));
        payload.next();
        assert!(payload.is_next_within(0), "there is none");
    }

    #[test]
    fn a_body_with_one_malformed_packet_is_refused_as_a_whole() {
        let check = |body: &[u8], error: EnginePacketError| {
            assert_eq!(packets(body), Err(error), "{body:?}");
        };
        check(b"", EnginePacketError::Empty);
        check(b"\x1e", EnginePacketError::Empty);
        check(b"4a\x1e", EnginePacketError::Empty);
        check(b"4a\x1e\x1e4b", EnginePacketError::Empty);
        check(b"abc", EnginePacketError::UnknownType('a'));
        check(b"4a\x1ebA", EnginePacketError::Base64);
        check(b"4a\x1e1x", EnginePacketError::UnexpectedData('1'));
        check(b"4\xff", EnginePacketError::Utf8);
        check(b"4\xe2\x82\x1e4", EnginePacketError::Utf8);
        // The form of Engine.IO v3.
        check(b"6:4hello", EnginePacketError::UnexpectedData('6'));
    }
}
