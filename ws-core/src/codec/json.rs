//! How do messages hold JSON?

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Codec, Decode, Encode};
use crate::{Message, MessageType};

/// JSON (RFC 8259): written as text, read from text and from binary messages.
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
    /// The value that this message holds as JSON, text or binary. What it borrows, it
    /// borrows from the message.
    ///
    /// The connection is not touched: that of a message that holds none stays open.
    ///
    /// ```
    /// use ws_core::Message;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Said<'a> {
    ///     who: &'a str,
    /// }
    ///
    /// let message = Message::from(r#"{"who": "ann"}"#);
    /// assert_eq!(message.json::<Said>()?.who, "ann");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it holds no such value, or something behind it.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// A text message that holds a value as JSON: for [`PreparedMessage`](crate::PreparedMessage), for
    /// `Conn::try_write`.
    ///
    /// # Errors
    ///
    /// When JSON has no way to say it, such as a map whose keys are no strings.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::text)
    }
}
