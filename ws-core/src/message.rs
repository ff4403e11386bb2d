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
/// A clone is cheap: the payload is reference-counted, and a short one (up to 32 bytes)
/// stands in the message itself, without any allocation. A text message holds UTF-8 by
/// construction: there is no way to make one that does not.
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
pub struct Message(Held);

/// Where the payload is.
#[derive(Clone)]
enum Held {
    Here { shape: Shape, len: u32, bytes: Short },
    Shared { shape: Shape, payload: Bytes },
}

/// How long a payload may be to stand in the message: the message is not larger for it.
const SHORT: usize = 32;

/// A short payload. In step with words, since messages are moved often.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Short([u8; SHORT]);

/// The type of a message in the lowest bit, and above it how the message is compressed.
#[derive(Clone, Copy)]
struct Shape(u16);

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

    /// A message of this type, if these bytes may be one.
    pub(crate) fn try_new(kind: MessageType, payload: Bytes) -> Result<Self, crate::SendError> {
        match kind {
            MessageType::Binary => Ok(Self::binary(payload)),
            MessageType::Text => {
                Self::text_from_bytes(payload).map_err(|_| crate::SendError::NotUtf8)
            }
        }
    }

    /// Makes this message leave without compression, whatever the connection agreed.
    ///
    /// Worth it for payloads that are compressed already, and for secrets that
    /// must not share a compression window with text that an attacker chooses.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.squeeze_by(Squeeze::Not);
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
        self.squeeze_by(Squeeze::At(level.min(9)));
        self
    }

    /// Is it text or binary?
    #[inline]
    pub const fn kind(&self) -> MessageType {
        self.shape().kind()
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
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Here { len, bytes, .. } => bytes.0.get(..*len as usize).unwrap_or_default(),
            Held::Shared { payload, .. } => payload,
        }
    }

    /// The text of a text message; `None` of a binary one.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind() {
            MessageType::Text => simdutf8::basic::from_utf8(self.as_bytes()).ok(),
            MessageType::Binary => None,
        }
    }

    /// How many bytes the payload has.
    #[inline]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Held::Here { len, .. } => *len as usize,
            Held::Shared { payload, .. } => payload.len(),
        }
    }

    /// Has the payload no bytes?
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload, shared with this message; a short one is copied.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Held::Here { .. } => Bytes::copy_from_slice(self.as_bytes()),
            Held::Shared { payload, .. } => payload.clone(),
        }
    }

    /// The payload by value.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Held::Here { .. } => self.to_bytes(),
            Held::Shared { payload, .. } => payload,
        }
    }

    /// The type and the payload by value.
    pub fn into_parts(self) -> (MessageType, Bytes) {
        (self.kind(), self.into_bytes())
    }

    /// A message of a payload that is known to be UTF-8 where `kind` says text.
    #[inline]
    pub(crate) const fn from_checked(kind: MessageType, payload: Bytes) -> Self {
        Self(Held::Shared { shape: Shape::of(kind), payload })
    }

    /// As [`from_checked`](Self::from_checked), of a payload that has to be copied.
    #[inline]
    pub(crate) fn copied(kind: MessageType, payload: &[u8]) -> Self {
        if payload.len() > SHORT {
            return Self::from_checked(kind, Bytes::copy_from_slice(payload));
        }
        let mut bytes = Short([0; SHORT]);
        if let Some(here) = bytes.0.get_mut(..payload.len()) {
            here.copy_from_slice(payload);
        }
        Self(Held::Here { shape: Shape::of(kind), len: payload.len() as u32, bytes })
    }

    #[inline]
    const fn shape(&self) -> Shape {
        match &self.0 {
            Held::Here { shape, .. } | Held::Shared { shape, .. } => *shape,
        }
    }

    pub(crate) const fn squeeze(&self) -> Squeeze {
        self.shape().how()
    }

    fn squeeze_by(&mut self, how: Squeeze) {
        match &mut self.0 {
            Held::Here { shape, .. } | Held::Shared { shape, .. } => *shape = shape.squeezed(how),
        }
    }
}

impl Shape {
    const BINARY: u16 = 1;

    #[inline]
    const fn of(kind: MessageType) -> Self {
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
            Squeeze::At(level) => 2 + level as u16,
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

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Message {}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => f.debug_tuple("Text").field(&text).finish(),
            None => f.debug_tuple("Binary").field(&self.to_bytes()).finish(),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::copied(MessageType::Text, text.as_bytes())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(payload: &[u8]) -> Self {
        Self::copied(MessageType::Binary, payload)
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        Self::from(payload.as_slice())
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
    fn a_message_is_the_same_wherever_its_payload_is() {
        assert_eq!(size_of::<Message>(), 40);
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let text = "a".repeat(len);
            let (copied, owned) = (Message::from(&*text), Message::text(text.clone()));
            assert_eq!(copied, owned, "{len}");
            assert_eq!((copied.len(), copied.as_bytes()), (len, text.as_bytes()));
            assert_eq!((copied.to_bytes(), owned.to_bytes()), (text.clone().into(), text.into()));
            assert_eq!(copied.clone().uncompressed().into_parts(), owned.into_parts());
        }
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
