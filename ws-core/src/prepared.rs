//! What can be done once for a message that goes to many?

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::Message;
use crate::proto::ShortHeader;

/// A message for many connections: `Conn::write_prepared` sends it.
///
/// Its payload is shared by all of them, and it is compressed once for all that
/// compress in the same way: without context takeover, at the same level and with the
/// same window. A connection with context takeover compresses for itself, since what it
/// sends refers to what it sent before; a client masks for itself (RFC 6455 §5.3).
///
/// A cheap handle: a clone copies no bytes.
///
/// ```
/// use ws_core::{Message, PreparedMessage};
///
/// let news = PreparedMessage::new("the same for everybody");
/// assert_eq!(news.message(), &Message::from("the same for everybody"));
/// ```
#[derive(Clone)]
pub struct PreparedMessage(Arc<Inner>);

struct Inner {
    message: Message,
    /// The header of its frame, where it leaves as it is, unmasked and in one piece.
    header: ShortHeader,
    deflated: Mutex<Vec<Deflated>>,
}

/// The payload as it is compressed with certain settings; `None` if that is not worth
/// it.
struct Deflated {
    settings: (u8, u8),
    payload: Option<Bytes>,
}

impl PreparedMessage {
    /// Prepares a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let header = ShortHeader::of(&message);
        Self(Arc::new(Inner { message, header, deflated: Mutex::new(Vec::new()) }))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The header of its frame, if it is short and leaves as it is, unmasked.
    #[inline]
    pub(crate) fn header(&self) -> &ShortHeader {
        &self.0.header
    }

    /// The payload as it is compressed with these settings, by `deflate` if nobody has
    /// done it before.
    pub(crate) fn deflated(
        &self,
        settings: (u8, u8),
        deflate: impl FnOnce() -> Option<Bytes>,
    ) -> Option<Bytes> {
        // Others that want the same wait, rather than do the same.
        let mut deflated = self.0.deflated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = deflated.iter().find(|done| done.settings == settings) {
            return done.payload.clone();
        }
        let payload = deflate();
        deflated.push(Deflated { settings, payload: payload.clone() });
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
    }
}
