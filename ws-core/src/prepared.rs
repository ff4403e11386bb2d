//! How is a message encoded and compressed once for many connections?

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::Message;
use crate::frame::ShortHeader;

/// A message for many connections, as a broadcast sends it. See `Conn::write_prepared`.
///
/// All connections share the payload. It is compressed once for all connections without context
/// takeover that have the same level and window. A connection with context takeover compresses the
/// message itself, because its output refers to earlier messages. Each connection of a client masks
/// the message itself (RFC 6455 §5.3).
///
/// A clone shares the message.
///
/// ```
/// use ws_core::{Message, PreparedMessage};
///
/// let news = PreparedMessage::new("the same for everybody");
/// assert_eq!(news.message(), &Message::from("the same for everybody"));
/// ```
#[derive(Clone)]
#[doc(alias("broadcast", "fanout"))]
pub struct PreparedMessage(Arc<SharedMessage>);

struct SharedMessage {
    message: Message,
    /// The messages that follow directly.
    rest: Box<[PreparedMessage]>,
    /// The frame header of the unmasked, unfragmented, uncompressed message.
    header: ShortHeader,
    deflated: Mutex<Vec<CachedPayload>>,
}

/// The compressed payload for some settings. `None` if it would not be smaller.
struct CachedPayload {
    /// The level and the window bits.
    settings: (u8, u8),
    payload: Option<Bytes>,
}

impl PreparedMessage {
    /// Prepares a message.
    pub fn new(message: impl Into<Message>) -> Self {
        Self::with_rest(message.into(), Box::default())
    }

    /// Prepares a message and the messages that follow it. They are written together: no other
    /// message comes between them.
    ///
    /// ```
    /// use ws_core::{Message, PreparedMessage};
    ///
    /// let photo = Message::binary(vec![0xFF, 0xD8]);
    /// let prepared = PreparedMessage::sequence("a photo follows", [photo.clone()]);
    /// assert!(prepared.messages().eq([&Message::from("a photo follows"), &photo]));
    /// ```
    pub fn sequence(
        first: impl Into<Message>,
        rest: impl IntoIterator<Item: Into<Message>>,
    ) -> Self {
        Self::with_rest(first.into(), rest.into_iter().map(Self::new).collect())
    }

    fn with_rest(message: Message, rest: Box<[Self]>) -> Self {
        let header = ShortHeader::of(&message);
        Self(Arc::new(SharedMessage { message, rest, header, deflated: Mutex::new(Vec::new()) }))
    }

    /// The message; the first one of a [`sequence`](Self::sequence).
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// All messages, in order: several for a [`sequence`](Self::sequence), otherwise one.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        std::iter::once(self.message()).chain(self.0.rest.iter().map(Self::message))
    }

    /// The messages after the first.
    #[cfg(feature = "conn")]
    #[inline]
    pub(crate) fn rest(&self) -> &[Self] {
        &self.0.rest
    }

    /// The frame header of the unmasked, unfragmented, uncompressed message. Valid for a short
    /// message.
    #[inline]
    pub(crate) fn header(&self) -> &ShortHeader {
        &self.0.header
    }

    /// The compressed payload for these settings. Calls `deflate` on the first use of them.
    pub(crate) fn deflated(
        &self,
        settings: (u8, u8),
        deflate: impl FnOnce() -> Option<Bytes>,
    ) -> Option<Bytes> {
        // The lock is held meanwhile, so that others wait instead of compressing again.
        let mut deflated = self.0.deflated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = deflated.iter().find(|done| done.settings == settings) {
            return done.payload.clone();
        }
        let payload = deflate();
        deflated.push(CachedPayload { settings, payload: payload.clone() });
        payload
    }
}

impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreparedMessage").field(&self.0.message).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_compressed_once_for_the_same_settings() {
        let prepared = PreparedMessage::new("text");
        let mut runs = 0;
        for settings in [(1, 15), (1, 15), (2, 15), (1, 15), (1, 9), (2, 15)] {
            let payload = Some(Bytes::from(vec![settings.0, settings.1]));
            let deflated = prepared.deflated(settings, || {
                runs += 1;
                payload.clone()
            });
            assert_eq!(deflated, payload);
        }
        assert_eq!(runs, 3);
        assert_eq!(format!("{prepared:?}"), "PreparedMessage(Text(\"text\"))");
    }
}
