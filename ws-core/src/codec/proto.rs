//! How do messages hold protocol buffers?

use super::{Codec, Decode, Encode};
use crate::{Message, MessageType};

/// Protocol buffers, by `prost`: in binary messages alone.
#[derive(Clone, Copy, Debug)]
pub struct ProtobufCodec;

impl Codec for ProtobufCodec {
    type Error = prost::DecodeError;
    const WRITES: MessageType = MessageType::Binary;

    fn reads(kind: MessageType) -> bool {
        kind == MessageType::Binary
    }
}

impl<T: prost::Message> Encode<T> for ProtobufCodec {
    fn encode(value: &T) -> Result<Vec<u8>, prost::DecodeError> {
        Ok(value.encode_to_vec())
    }
}

impl<T: prost::Message + Default> Decode<T> for ProtobufCodec {
    fn decode(payload: &[u8]) -> Result<T, prost::DecodeError> {
        T::decode(payload)
    }
}

impl Message {
    /// The value that this message holds as a protocol buffer, whatever its type.
    ///
    /// The connection is not touched: that of a message that holds none stays open.
    ///
    /// # Errors
    ///
    /// When it holds no such value.
    pub fn proto<T: prost::Message + Default>(&self) -> Result<T, prost::DecodeError> {
        T::decode(self.as_bytes())
    }

    /// A binary message that holds a value as a protocol buffer.
    pub fn from_proto<T: prost::Message>(value: &T) -> Self {
        Self::binary(value.encode_to_vec())
    }
}
