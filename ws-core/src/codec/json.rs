//! How is JSON encoded and decoded?

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Codec, Decode, Encode};
use crate::{Message, MessageType};

/// JSON (RFC 8259). It is written to text messages, and read from text and binary messages.
#[derive(Clone, Copy, Debug)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    type Error = serde_json::Error;
    const WRITES: MessageType = MessageType::Text;
}

impl<T: Serialize + ?Sized> Encode<T> for JsonCodec {
    fn encode(value: &T) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(value)
    }
}

impl<T: DeserializeOwned> Decode<T> for JsonCodec {
    fn decode(payload: &[u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}

impl Message {
    /// Decodes this message as JSON, whether it is text or binary. The value may borrow from the
    /// message. An error does not close the connection.
    ///
    /// ```
    /// use ws_core::Message;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Join<'a> {
    ///     user: &'a str,
    /// }
    ///
    /// let message = Message::from(r#"{"user": "ann"}"#);
    /// assert_eq!(message.json::<Join>()?.user, "ann");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the payload is not a valid value, or is followed by other bytes.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// Encodes a value to a text message, for example for
    /// [`PreparedMessage`](crate::PreparedMessage) or `Conn::try_write`.
    ///
    /// # Errors
    ///
    /// When JSON cannot represent the value, such as a map with keys that are not strings.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::text)
    }
}
