//! How are values read and written as JSON or in another format?

use std::future::Future;

#[cfg(feature = "json")]
use crate::codec::JsonCodec;
use crate::codec::{CodecError, Decode, Encode};
use crate::conn::Conn;
use crate::proto::CloseFrame;
use crate::{Error, Message};

impl Conn {
    /// Reads the next message and decodes it with a [`Codec`](crate::codec::Codec).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). [`Error::Codec`] when the message cannot be decoded: the
    /// connection is then closed with 1007, or with 1003 if the message has the wrong type. To
    /// keep it open, `read` the message and [`decode`](Message::decode) it.
    ///
    /// # Cancel safety
    ///
    /// As `read`.
    pub async fn read_as<C, T>(&self) -> Result<T, Error>
    where
        C: Decode<T>,
    {
        let message = self.read().await?;
        message.decode::<C, T>().map_err(|error| self.refuse(error))
    }

    /// Encodes a value with a [`Codec`](crate::codec::Codec), and writes it as a message.
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
    /// ```
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Move {
    ///     from: (u8, u8),
    ///     to: (u8, u8),
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ws_core::Error> {
    /// let (here, there) = ws_core::pair();
    /// here.write_json(&Move { from: (4, 1), to: (4, 3) }).await?;
    /// let Move { from, to } = there.read_json().await?;
    /// assert_eq!((from, to), ((4, 1), (4, 3)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as): a message that cannot be decoded closes the connection
    /// with 1007. [`Message::json`] does not close it.
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

    /// Fails the connection because of a message that cannot be decoded.
    pub(crate) fn refuse(&self, error: CodecError) -> Error {
        let code = error.status();
        let text = error.to_string();
        let error = Error::from(error);
        if let Some(code) = code {
            self.connection().refuse(CloseFrame::of(code, &text), error.clone());
        }
        error
    }
}
