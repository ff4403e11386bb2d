//! What does an application send and receive?

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// Whether a message is text or binary ([RFC 6455 §5.6]).
///
/// [RFC 6455 §5.6]: https://www.rfc-editor.org/rfc/rfc6455#section-5.6
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Binary => "binary",
        })
    }
}

/// One whole message: its type and its payload.
///
/// The payload is reference-counted, so a clone copies no bytes. A text message
/// holds UTF-8 by construction: there is no way to make one that does not.
///
/// ```
/// use ws_core::{Message, MessageType};
///
/// let hello = Message::from("hello");
/// assert_eq!(hello.kind(), MessageType::Text);
/// assert_eq!(hello.as_text(), Some("hello"));
/// ```
///
/// Two messages are equal when their types and payloads are, however they travel.
#[derive(Clone)]
pub struct Message {
    shape: Shape,
    payload: Bytes,
}

/// The type of a message in the lowest bit, and above it how the message is compressed. As
/// wide as a word: messages are moved often, and gaps in them would be moved piece by piece.
#[derive(Clone, Copy)]
struct Shape(usize);

/// How a message is compressed, where that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Squeeze {
    /// As the connection does.
    Usual,
    /// Not at all.
    Not,
    /// At this level.
    At(u8),
}

impl Shape {
    const BINARY: usize = 1;

    #[inline]
    const fn new(kind: MessageType) -> Self {
        Self(match kind {
            MessageType::Text => 0,
            MessageType::Binary => Self::BINARY,
        })
    }

    #[inline]
    const fn kind(self) -> MessageType {
        if self.0 & Self::BINARY == 0 { MessageType::Text } else { MessageType::Binary }
    }

    const fn squeezed(self, how: Squeeze) -> Self {
        let how = match how {
            Squeeze::Usual => 0,
            Squeeze::Not => 1,
            Squeeze::At(level) => 2 + level as usize,
        };
        Self(self.0 & Self::BINARY | how << 1)
    }

    const fn how(self) -> Squeeze {
        match self.0 >> 1 {
            0 => Squeeze::Usual,
            1 => Squeeze::Not,
            level => Squeeze::At((level - 2) as u8),
        }
    }
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from_checked(MessageType::Text, text.into().into())
    }

    /// A binary message.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::from_checked(MessageType::Binary, payload.into())
    }

    /// A text message of bytes that are checked to be UTF-8 first.
    ///
    /// # Errors
    ///
    /// Gives the bytes back when they are not UTF-8.
    pub fn text_from_bytes(payload: impl Into<Bytes>) -> Result<Self, Bytes> {
        let payload = payload.into();
        match simdutf8::basic::from_utf8(&payload) {
            Ok(_) => Ok(Self::from_checked(MessageType::Text, payload)),
            Err(_) => Err(payload),
        }
    }

    /// Makes this message leave without compression, whatever the connection agreed.
    ///
    /// Worth it for payloads that are compressed already, and for secrets that
    /// must not share a compression window with text that an attacker chooses.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.shape = self.shape.squeezed(Squeeze::Not);
        self
    }

    /// Makes this message leave compressed at this level, from 0 (stored) to 9 (small),
    /// rather than at that of [`Compression::level`](crate::Compression::level). Values
    /// above 9 are taken as 9.
    ///
    /// It is compressed only where that was agreed on, and from the
    /// [threshold](crate::Compression::threshold) on.
    #[must_use]
    pub fn compression_level(mut self, level: u8) -> Self {
        self.shape = self.shape.squeezed(Squeeze::At(level.min(9)));
        self
    }

    /// Is it text or binary?
    #[inline]
    pub const fn kind(&self) -> MessageType {
        self.shape.kind()
    }

    /// Is it a text message?
    pub const fn is_text(&self) -> bool {
        matches!(self.kind(), MessageType::Text)
    }

    /// Is it a binary message?
    pub const fn is_binary(&self) -> bool {
        matches!(self.kind(), MessageType::Binary)
    }

    /// The payload.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.payload
    }

    /// The text of a text message; `None` of a binary one.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind() {
            MessageType::Text => simdutf8::basic::from_utf8(&self.payload).ok(),
            MessageType::Binary => None,
        }
    }

    /// How many bytes the payload has.
    pub const fn len(&self) -> usize {
        self.payload.len()
    }

    /// Has the payload no bytes?
    pub const fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The payload by value.
    pub fn into_bytes(self) -> Bytes {
        self.payload
    }

    /// The type and the payload by value.
    pub fn into_parts(self) -> (MessageType, Bytes) {
        (self.kind(), self.payload)
    }

    /// A message of a payload that is known to be UTF-8 where `kind` says text.
    #[inline]
    pub(crate) const fn from_checked(kind: MessageType, payload: Bytes) -> Self {
        Self { shape: Shape::new(kind), payload }
    }

    pub(crate) const fn squeeze(&self) -> Squeeze {
        self.shape.how()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.payload == other.payload
    }
}

impl Eq for Message {}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.payload.hash(state);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => f.debug_tuple("Text").field(&text).finish(),
            None => f.debug_tuple("Binary").field(&self.payload).finish(),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(payload: &[u8]) -> Self {
        Self::binary(payload.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        Self::binary(payload.to_vec())
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Self::binary(payload)
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::binary(payload)
    }
}

impl From<&Self> for Message {
    fn from(message: &Self) -> Self {
        message.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf8_or_nothing() {
        let bad = Message::text_from_bytes(&b"\xff"[..]).unwrap_err();
        assert_eq!(bad, &b"\xff"[..]);
        let good = Message::text_from_bytes("å".as_bytes()).unwrap();
        assert_eq!(good.as_text(), Some("å"));
    }

    #[test]
    fn only_text_has_text() {
        assert_eq!(Message::from("a").as_text(), Some("a"));
        assert_eq!(Message::from(b"a").as_text(), None);
    }

    #[test]
    fn how_a_message_travels_does_not_make_it_another() {
        assert_eq!(Message::from("a").uncompressed(), Message::from("a"));
        assert_eq!(Message::from("a").compression_level(9), Message::from("a"));
        assert_ne!(Message::from("a"), Message::from(b"a"));
    }

    #[test]
    fn the_last_word_on_compression_counts() {
        for message in [Message::from("a"), Message::from(b"a")] {
            let kind = message.kind();
            for (message, how) in [
                (message.clone(), Squeeze::Usual),
                (message.clone().uncompressed(), Squeeze::Not),
                (message.clone().uncompressed().compression_level(0), Squeeze::At(0)),
                (message.clone().compression_level(4).compression_level(200), Squeeze::At(9)),
                (message.compression_level(4).uncompressed(), Squeeze::Not),
            ] {
                assert_eq!((message.squeeze(), message.kind()), (how, kind));
            }
        }
    }

    #[test]
    fn types_print_as_words() {
        assert_eq!(MessageType::Text.to_string(), "text");
        assert_eq!(MessageType::Binary.to_string(), "binary");
    }
}
