//! How do values become messages, and messages values?

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "proto")]
mod proto;

use std::error::Error as StdError;
use std::sync::Arc;

#[cfg(feature = "json")]
pub use self::json::JsonCodec;
#[cfg(feature = "proto")]
pub use self::proto::ProtobufCodec;
use crate::{CodecError, Message, MessageType};

/// A format in which messages hold values. What it can write and read is said by
/// [`Encode`] and [`Decode`].
///
/// JSON and protocol buffers are there behind the features `json` and `proto`. Another one
/// is three small implementations:
///
/// ```
/// use std::num::ParseIntError;
///
/// use ws_core::{Codec, Decode, Encode, MessageType};
///
/// /// Numbers as they are written by hand.
/// struct Decimal;
///
/// impl Codec for Decimal {
///     type Error = ParseIntError;
///     const WRITES: MessageType = MessageType::Text;
/// }
///
/// impl Encode<u32> for Decimal {
///     fn encode(value: &u32) -> Result<Vec<u8>, ParseIntError> {
///         Ok(value.to_string().into())
///     }
/// }
///
/// impl Decode<u32> for Decimal {
///     fn decode(payload: &[u8]) -> Result<u32, ParseIntError> {
///         String::from_utf8_lossy(payload).parse()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ws_core::Error> {
/// let (here, there) = ws_core::pair();
/// here.write_as::<Decimal, _>(&42).await?;
/// assert_eq!(there.read_as::<Decimal, u32>().await?, 42);
/// # Ok(())
/// # }
/// ```
pub trait Codec {
    /// What can go wrong. It is not shown to the peer.
    type Error: StdError + Send + Sync + 'static;

    /// The type of the messages that are written.
    const WRITES: MessageType;

    /// Can a message of this type hold a value? By default, both can. The connection is
    /// closed with 1003 over one that cannot.
    fn reads(kind: MessageType) -> bool {
        let _ = kind;
        true
    }
}

/// A format that `T` can be written in.
pub trait Encode<T: ?Sized>: Codec {
    /// The payload that holds a value. For a text message, it has to be UTF-8.
    ///
    /// # Errors
    ///
    /// When the format has no way to say it.
    fn encode(value: &T) -> Result<Vec<u8>, Self::Error>;
}

/// A format that `T` can be read from.
pub trait Decode<T>: Codec {
    /// The value that a payload holds.
    ///
    /// # Errors
    ///
    /// When it holds none. The connection is closed with 1007 then.
    fn decode(payload: &[u8]) -> Result<T, Self::Error>;
}

impl Message {
    /// The value that this message holds, in a format of your own.
    ///
    /// The connection is not touched: that of a message that holds none stays open, which is
    /// the difference to `Conn::read_as`.
    ///
    /// # Errors
    ///
    /// When the format does not use this type of message, or the payload holds no such value.
    pub fn decode<C, T>(&self) -> Result<T, CodecError>
    where
        C: Decode<T>,
    {
        if !C::reads(self.kind()) {
            return Err(CodecError::Type(self.kind()));
        }
        C::decode(self.as_bytes()).map_err(|error| CodecError::Decode(Arc::new(error)))
    }

    /// A message that holds a value, in a format of your own: for
    /// [`PreparedMessage`](crate::PreparedMessage), for `Conn::try_write`.
    ///
    /// # Errors
    ///
    /// When the format has no way to say it.
    pub fn encode<C, T>(value: &T) -> Result<Self, CodecError>
    where
        C: Encode<T>,
        T: ?Sized,
    {
        let payload = C::encode(value).map_err(|error| CodecError::Encode(Arc::new(error)))?;
        let message = Self::try_new(C::WRITES, payload.into());
        message.map_err(|error| CodecError::Encode(Arc::new(error)))
    }
}
