//! How are values read and written as JSON or in another format in a browser?

#[cfg(feature = "json")]
use ws_core::codec::JsonCodec;
use ws_core::codec::{CodecError, Decode, Encode};
use ws_core::{Error, Message};

use super::conn::Conn;

impl Conn {
    /// Reads the next message and decodes it with a [`Codec`](crate::Codec).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). [`Error::Codec`] when the message cannot be decoded: the
    /// connection is then closed with 3007, because a browser does not send 1007. To keep it open,
    /// `read` the message and [`decode`](Message::decode) it.
    ///
    /// # Cancel safety
    ///
    /// As `read`.
    pub async fn read_as<C, T>(&self) -> Result<T, Error>
    where
        C: Decode<T>,
    {
        let message = self.read().await?;
        message.decode::<C, T>().map_err(|error| {
            let error = Error::from(error);
            self.shared().change(|state| state.refuse(error.clone()));
            error
        })
    }

    /// Encodes a value with a [`Codec`](crate::Codec), and writes it as a message.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). [`Error::Codec`] when the value cannot be encoded: nothing is
    /// sent then, and the connection stays open.
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    pub fn write_as<C, T>(&self, value: &T) -> impl Future<Output = Result<(), Error>> + Send
    where
        C: Encode<T>,
        T: ?Sized,
    {
        self.write_encoded(Message::encode::<C, T>(value))
    }

    /// Reads the next message, text or binary, and decodes it as JSON.
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as).
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "json")]
    pub async fn read_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        self.read_as::<JsonCodec, T>().await
    }

    /// Writes a value as JSON, in a text message.
    ///
    /// # Errors
    ///
    /// As [`write_as`](Self::write_as).
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    #[cfg(feature = "json")]
    pub fn write_json<T>(&self, value: &T) -> impl Future<Output = Result<(), Error>> + Send
    where
        T: serde::Serialize + ?Sized,
    {
        self.write_as::<JsonCodec, T>(value)
    }

    /// The message contains the value, so the future holds nothing else.
    async fn write_encoded(&self, message: Result<Message, CodecError>) -> Result<(), Error> {
        self.write(message?).await
    }
}
