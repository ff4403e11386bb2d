//! How are protocol buffers encoded and decoded?

use super::{Codec, Decode, Encode};
use crate::{Message, MessageType};

/// Protocol buffers, by `prost`, in binary messages.
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
    /// Decodes this message as a protocol buffer, whether it is text or binary. An error does not
    /// close the connection.
    ///
    /// # Errors
    ///
    /// When the payload is not a valid value.
    pub fn proto<T: prost::Message + Default>(&self) -> Result<T, prost::DecodeError> {
        T::decode(self.as_bytes())
    }

    /// Encodes a value to a binary message.
    pub fn from_proto<T: prost::Message>(value: &T) -> Self {
        Self::binary(value.encode_to_vec())
    }
}
