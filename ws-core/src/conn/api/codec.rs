//! How does one receive and send values rather than messages?

use std::future::Future;

#[cfg(feature = "json")]
use crate::codec::JsonCodec;
#[cfg(feature = "proto")]
use crate::codec::ProtobufCodec;
use crate::codec::{CodecError, Decode, Encode};
use crate::conn::Conn;
use crate::proto::CloseFrame;
use crate::{Error, Message};

impl Conn {
    /// The value in the next message, in a format of your own; see [`Codec`](crate::codec::Codec).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). [`Error::Codec`] when the next message holds no such value:
    /// the connection has been closed then, with 1007, or with 1003 if the message has the
    /// wrong type. To look at a message without that, `read` it and [`decode`](Message::decode)
    /// it.
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

    /// Sends a value, in a format of your own; see [`Codec`](crate::codec::Codec).
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). [`Error::Codec`] when the format has no way to say it:
    /// nothing was sent then, and the connection stays open.
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

    /// The value that the next message holds as JSON, text or binary.
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
    /// As [`read_as`](Self::read_as): a message that is no such JSON closes the connection
    /// with 1007. [`Message::json`] does not.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "json")]
    pub async fn read_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        self.read_as::<JsonCodec, T>().await
    }

    /// Sends a value as JSON, in a text message.
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

    /// The value that the next message holds as a protocol buffer.
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as): a text message closes the connection with 1003, and a
    /// binary one that is no such protocol buffer with 1007.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "proto")]
    pub async fn read_proto<T: prost::Message + Default>(&self) -> Result<T, Error> {
        self.read_as::<ProtobufCodec, T>().await
    }

    /// Sends a value as a protocol buffer, in a binary message.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    #[cfg(feature = "proto")]
    pub fn write_proto<T>(&self, value: &T) -> impl Future<Output = Result<(), Error>> + Send
    where
        T: prost::Message,
    {
        self.write_as::<ProtobufCodec, T>(value)
    }

    /// The value is in the message by now, so the future holds no more than that.
    async fn write_encoded(&self, message: Result<Message, CodecError>) -> Result<(), Error> {
        self.write(message?).await
    }

    /// The peer is told why its message was no good.
    fn refuse(&self, error: CodecError) -> Error {
        let code = error.status();
        let text = error.to_string();
        let error = Error::from(error);
        if let Some(code) = code {
            self.shared().refuse(CloseFrame::of(code, &text), error.clone());
        }
        error
    }
}
