//! How are values encoded to messages and decoded from them?

mod error;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "proto")]
mod protobuf;

use std::error::Error as StdError;
use std::sync::Arc;

pub use self::error::CodecError;
#[cfg(feature = "json")]
pub use self::json::JsonCodec;
#[cfg(feature = "proto")]
pub use self::protobuf::ProtobufCodec;
use crate::{Message, MessageType, SendError};

/// A format for values in messages. [`Encode`] and [`Decode`] define which values it supports.
///
/// The features `json` and `proto` provide JSON and protocol buffers. Another format takes three
/// small implementations:
///
/// ```
/// use std::num::ParseIntError;
///
/// use ws_core::MessageType;
/// use ws_core::codec::{Codec, Decode, Encode};
///
/// /// Decimal numbers.
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
    /// The error of encoding and decoding. It is not sent to the peer.
    type Error: StdError + Send + Sync + 'static;

    /// The type of encoded messages.
    const WRITES: MessageType;

    /// Whether messages of this type can be decoded. Default: both types. A message of any other
    /// type closes the connection with 1003.
    fn reads(kind: MessageType) -> bool {
        let _ = kind;
        true
    }
}

/// A format that can encode `T`.
pub trait Encode<T: ?Sized>: Codec {
    /// Encodes a value to a payload. It must be UTF-8 if [`WRITES`](Codec::WRITES) is text.
    ///
    /// # Errors
    ///
    /// When the format cannot represent the value.
    fn encode(value: &T) -> Result<Vec<u8>, Self::Error>;
}

/// A format that can decode `T`.
pub trait Decode<T>: Codec {
    /// Decodes a payload.
    ///
    /// # Errors
    ///
    /// When the payload is not a valid value. The connection is then closed with 1007.
    fn decode(payload: &[u8]) -> Result<T, Self::Error>;
}

impl Message {
    /// Decodes this message. Unlike `Conn::read_as`, an error does not close the connection.
    ///
    /// # Errors
    ///
    /// When the format does not use this message type, or the payload is not a valid value.
    pub fn decode<C, T>(&self) -> Result<T, CodecError>
    where
        C: Decode<T>,
    {
        if !C::reads(self.kind()) {
            return Err(CodecError::Type(self.kind()));
        }
        C::decode(self.as_bytes()).map_err(|error| CodecError::Decode(Arc::new(error)))
    }

    /// Encodes a value to a message, for example for
    /// [`PreparedMessage`](crate::PreparedMessage) or `Conn::try_write`.
    ///
    /// # Errors
    ///
    /// When the format cannot represent the value.
    pub fn encode<C, T>(value: &T) -> Result<Self, CodecError>
    where
        C: Encode<T>,
        T: ?Sized,
    {
        let payload = C::encode(value).map_err(|error| CodecError::Encode(Arc::new(error)))?;
        Self::try_new(C::WRITES, payload.into())
            .ok_or_else(|| CodecError::Encode(Arc::new(SendError::NotUtf8)))
    }
}
