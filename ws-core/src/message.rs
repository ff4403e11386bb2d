//! What is a message, and how is its payload stored?

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// The type of a message ([RFC 6455 §5.6]).
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

/// A whole message: its type and its payload.
///
/// Cloning is cheap. The payload is reference-counted; up to 32 bytes are stored inline, without
/// an allocation. A text message always holds valid UTF-8.
///
/// ```
/// use ws_core::{Message, MessageType};
///
/// let hello = Message::from("hello");
/// assert_eq!(hello.kind(), MessageType::Text);
/// assert_eq!(hello.as_text(), Some("hello"));
/// ```
///
/// Two messages are equal when their types and payloads are. Compression settings do not count.
#[derive(Clone)]
pub struct Message(Repr);

/// Where the payload is stored.
#[derive(Clone)]
enum Repr {
    Inline { flags: Flags, len: u32, bytes: InlineBytes },
    Heap { flags: Flags, payload: Bytes },
}

/// The longest inline payload in bytes. It does not make the message larger.
const MAX_INLINE: usize = 32;

/// An inline payload. Aligned to words, because messages are moved often.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct InlineBytes([u8; MAX_INLINE]);

/// The message type in the lowest bit, and the compression override above it.
#[derive(Clone, Copy)]
struct Flags(u16);

/// The compression of one message, where compression was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompressionOverride {
    /// As configured for the connection.
    Default,
    /// No compression.
    Off,
    /// This level.
    Level(u8),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from_utf8_unchecked(MessageType::Text, text.into().into())
    }

    /// A binary message.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::from_utf8_unchecked(MessageType::Binary, payload.into())
    }

    /// A text message from bytes, which are checked to be UTF-8.
    ///
    /// # Errors
    ///
    /// Returns the bytes when they are not UTF-8.
    pub fn text_from_bytes(payload: impl Into<Bytes>) -> Result<Self, Bytes> {
        let payload = payload.into();
        match simdutf8::basic::from_utf8(&payload) {
            Ok(_) => Ok(Self::from_utf8_unchecked(MessageType::Text, payload)),
            Err(_) => Err(payload),
        }
    }

    /// A message of type `kind`. `None` if it is text and the payload is not UTF-8.
    pub(crate) fn try_new(kind: MessageType, payload: Bytes) -> Option<Self> {
        match kind {
            MessageType::Binary => Some(Self::binary(payload)),
            MessageType::Text => Self::text_from_bytes(payload).ok(),
        }
    }

    /// Sends this message uncompressed, whatever was negotiated.
    ///
    /// Use it for payloads that are compressed already, and for secrets that must not share a
    /// compression window with text that an attacker controls.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.override_compression(CompressionOverride::Off);
        self
    }

    /// Sets the compression level of this message, from 0 (stored) to 9 (smallest), in place of
    /// [`Compression::level`](crate::Compression::level). Higher values mean 9.
    ///
    /// The message is compressed only if compression was negotiated and the payload reaches the
    /// [threshold](crate::Compression::threshold).
    #[must_use]
    pub fn compression_level(mut self, level: u8) -> Self {
        self.override_compression(CompressionOverride::Level(level.min(9)));
        self
    }

    /// The message type.
    #[inline]
    pub const fn kind(&self) -> MessageType {
        self.flags().kind()
    }

    /// Whether this is a text message.
    pub const fn is_text(&self) -> bool {
        matches!(self.kind(), MessageType::Text)
    }

    /// Whether this is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self.kind(), MessageType::Binary)
    }

    /// The payload.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes, .. } => bytes.0.get(..*len as usize).unwrap_or_default(),
            Repr::Heap { payload, .. } => payload,
        }
    }

    /// The text. `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind() {
            MessageType::Text => simdutf8::basic::from_utf8(self.as_bytes()).ok(),
            MessageType::Binary => None,
        }
    }

    /// The payload length in bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Repr::Inline { len, .. } => *len as usize,
            Repr::Heap { payload, .. } => payload.len(),
        }
    }

    /// Whether the payload is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload. It is shared with this message; an inline payload is copied.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Repr::Inline { .. } => Bytes::copy_from_slice(self.as_bytes()),
            Repr::Heap { payload, .. } => payload.clone(),
        }
    }

    /// The payload by value.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { .. } => self.to_bytes(),
            Repr::Heap { payload, .. } => payload,
        }
    }

    /// The type and the payload by value.
    pub fn into_parts(self) -> (MessageType, Bytes) {
        (self.kind(), self.into_bytes())
    }

    /// A message whose payload is known to be UTF-8 if `kind` is text.
    #[inline]
    pub(crate) const fn from_utf8_unchecked(kind: MessageType, payload: Bytes) -> Self {
        Self(Repr::Heap { flags: Flags::of(kind), payload })
    }

    /// As [`from_utf8_unchecked`](Self::from_utf8_unchecked), with a copy of the payload.
    #[inline(always)]
    pub(crate) fn copy_from_slice(kind: MessageType, payload: &[u8]) -> Self {
        if payload.len() > MAX_INLINE {
            return Self::from_utf8_unchecked(kind, Bytes::copy_from_slice(payload));
        }
        let mut bytes = InlineBytes([0; MAX_INLINE]);
        if let Some(inline) = bytes.0.get_mut(..payload.len()) {
            inline.copy_from_slice(payload);
        }
        Self(Repr::Inline { flags: Flags::of(kind), len: payload.len() as u32, bytes })
    }

    #[inline]
    const fn flags(&self) -> Flags {
        match &self.0 {
            Repr::Inline { flags, .. } | Repr::Heap { flags, .. } => *flags,
        }
    }

    pub(crate) const fn compression_override(&self) -> CompressionOverride {
        self.flags().compression()
    }

    fn override_compression(&mut self, setting: CompressionOverride) {
        match &mut self.0 {
            Repr::Inline { flags, .. } | Repr::Heap { flags, .. } => {
                *flags = flags.with_compression(setting);
            }
        }
    }
}

impl Flags {
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

    const fn with_compression(self, setting: CompressionOverride) -> Self {
        let bits = match setting {
            CompressionOverride::Default => 0,
            CompressionOverride::Off => 1,
            CompressionOverride::Level(level) => 2 + level as u16,
        };
        Self(self.0 & Self::BINARY | bits << 1)
    }

    const fn compression(self) -> CompressionOverride {
        match self.0 >> 1 {
            0 => CompressionOverride::Default,
            1 => CompressionOverride::Off,
            level => CompressionOverride::Level((level - 2) as u8),
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

impl_from!(Message {
    &str => |text: &str| Self::copy_from_slice(MessageType::Text, text.as_bytes()),
    String => Self::text,
    &[u8] => |payload| Self::copy_from_slice(MessageType::Binary, payload),
    Vec<u8> => Self::binary,
    Bytes => Self::binary,
    &Self => Self::clone,
});

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        Self::from(payload.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn text_that_is_not_utf8_is_rejected() {
        let bad = Message::text_from_bytes(&b"\xff"[..]).unwrap_err();
        assert_eq!(bad, &b"\xff"[..]);
        let good = Message::text_from_bytes("å".as_bytes()).unwrap();
        assert_eq!(good.as_text(), Some("å"));
    }

    #[test]
    fn inline_and_heap_messages_are_equal() {
        assert_eq!(size_of::<Message>(), 40);
        for len in [0, 1, MAX_INLINE - 1, MAX_INLINE, MAX_INLINE + 1, 1000] {
            let text = "a".repeat(len);
            let (copied, owned) = (Message::from(&*text), Message::text(text.clone()));
            assert_eq!(copied, owned, "{len}");
            let hash =
                |message: &Message| BuildHasherDefault::<DefaultHasher>::new().hash_one(message);
            assert_eq!(hash(&copied), hash(&owned));
            assert_eq!(copied.is_empty(), len == 0);
            assert_eq!((copied.len(), copied.as_bytes()), (len, text.as_bytes()));
            assert_eq!((copied.to_bytes(), owned.to_bytes()), (text.clone().into(), text.into()));
            assert_eq!(copied.clone().uncompressed().into_parts(), owned.into_parts());
        }
    }

    #[test]
    fn a_message_is_shown_with_its_type() {
        assert_eq!(format!("{:?}", Message::from("a")), "Text(\"a\")");
        assert_eq!(format!("{:?}", Message::from(b"\xff")), "Binary(b\"\\xff\")");
    }

    #[test]
    fn only_text_has_text() {
        assert_eq!(Message::from("a").as_text(), Some("a"));
        assert_eq!(Message::from(b"a").as_text(), None);
    }

    #[test]
    fn compression_settings_do_not_affect_equality() {
        assert_eq!(Message::from("a").uncompressed(), Message::from("a"));
        assert_eq!(Message::from("a").compression_level(9), Message::from("a"));
        assert_ne!(Message::from("a"), Message::from(b"a"));
    }

    #[test]
    fn the_last_compression_setting_wins() {
        for message in [Message::from("a"), Message::from(b"a")] {
            let kind = message.kind();
            for (message, setting) in [
                (message.clone(), CompressionOverride::Default),
                (message.clone().uncompressed(), CompressionOverride::Off),
                (
                    message.clone().uncompressed().compression_level(0),
                    CompressionOverride::Level(0),
                ),
                (
                    message.clone().compression_level(4).compression_level(200),
                    CompressionOverride::Level(9),
                ),
                (message.compression_level(4).uncompressed(), CompressionOverride::Off),
            ] {
                assert_eq!((message.compression_override(), message.kind()), (setting, kind));
            }
        }
    }

    #[test]
    fn types_display_as_words() {
        assert_eq!(MessageType::Text.to_string(), "text");
        assert_eq!(MessageType::Binary.to_string(), "binary");
    }
}
