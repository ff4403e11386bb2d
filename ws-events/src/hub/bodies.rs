//! How do events, messages and acknowledgements become parts of envelopes, and the reverse?

use std::sync::Arc;

use bytes::Bytes;
use ws_core::Message;

use crate::cluster::envelope::{BroadcastBody, EventBody, RemoteAck};
use crate::events::data::EventData;
use crate::events::protocol::{Content, OutgoingEvent, PeerData, is_valid_name};
use crate::events::shape::ArgShape;
use crate::{AckError, EmitError, Event};

/// The codes of errors between nodes.
mod code {
    pub(super) const DISCONNECTED: u8 = 1;
    pub(super) const TOO_MANY: u8 = 2;
    pub(super) const UNSUPPORTED: u8 = 3;
    pub(super) const FULL: u8 = 4;
    pub(super) const SLOW_CONSUMER: u8 = 5;
    pub(super) const CLOSED: u8 = 6;
    pub(super) const TIMEOUT: u8 = 7;
}

/// The acknowledgement of a socket, for another node.
pub(crate) fn remote_ack(answer: Result<PeerData, AckError>) -> RemoteAck {
    let code = match answer {
        Ok(PeerData { json, attachments }) => return RemoteAck::Data(json.to_bytes(), attachments),
        Err(AckError::TooMany { limit }) => return RemoteAck::Failed(code::TOO_MANY, limit as u64),
        Err(AckError::Timeout) => code::TIMEOUT,
        Err(AckError::Disconnected) => code::DISCONNECTED,
        Err(AckError::Unsupported) => code::UNSUPPORTED,
        Err(AckError::Emit(EmitError::Full)) => code::FULL,
        Err(AckError::Emit(EmitError::SlowConsumer)) => code::SLOW_CONSUMER,
        Err(AckError::Emit(_) | AckError::Decode(_)) => code::CLOSED,
    };
    RemoteAck::Failed(code, 0)
}

/// The acknowledgement of a socket of another node.
pub(crate) fn local_ack(ack: RemoteAck) -> Result<PeerData, AckError> {
    Err(match ack {
        RemoteAck::Data(json, attachments) => {
            let json = Message::text_from_bytes(json).unwrap_or_else(Message::binary);
            return Ok(PeerData { json, attachments });
        }
        RemoteAck::Failed(code::TIMEOUT, _) => AckError::Timeout,
        RemoteAck::Failed(code::TOO_MANY, limit) => {
            AckError::TooMany { limit: usize::try_from(limit).unwrap_or(usize::MAX) }
        }
        RemoteAck::Failed(code::UNSUPPORTED, _) => AckError::Unsupported,
        RemoteAck::Failed(code::FULL, _) => AckError::Emit(EmitError::Full),
        RemoteAck::Failed(code::SLOW_CONSUMER, _) => AckError::Emit(EmitError::SlowConsumer),
        RemoteAck::Failed(code::CLOSED, _) => AckError::Emit(EmitError::Closed),
        RemoteAck::Failed(..) => AckError::Disconnected,
    })
}

/// The event of another node, if its parts fit together.
pub(crate) fn outgoing_event<'a>(
    namespace: &'a str,
    event: &'a EventBody,
) -> Option<OutgoingEvent<'a>> {
    // Servers of Node.js may send any value as a message.
    if !is_valid_name(&event.name) && *event.name != *Event::Message.as_str() {
        return None;
    }
    Some(OutgoingEvent { namespace, name: &event.name, data: event_data(event)?, ack: None })
}

/// The data of an event of another node, if its parts fit together.
pub(crate) fn event_data(event: &EventBody) -> Option<EventData> {
    let part = |(place, bytes): &(u64, Bytes)| Some((usize::try_from(*place).ok()?, bytes.clone()));
    let bytes: Option<Vec<_>> = event.bytes.iter().map(part).collect();
    EventData::of_parts(&event.json, bytes?, ArgShape::from_code(event.shape)?)
}

/// An event, for other nodes.
pub(crate) fn event_body(event: &OutgoingEvent<'_>) -> EventBody {
    let (json, bytes, shape) = event.data.as_parts();
    EventBody {
        name: Arc::from(event.name),
        json: Bytes::copy_from_slice(json),
        bytes: bytes.iter().map(|(place, bytes)| (*place as u64, bytes.clone())).collect(),
        shape: shape.code(),
    }
}

/// What a broadcast sends, for other nodes.
pub(crate) fn broadcast_body(content: Content<'_>) -> BroadcastBody {
    match content {
        Content::Event(event) => BroadcastBody::Event(event_body(event)),
        Content::Message(message, _) => {
            let message = message.message();
            let bytes = message.to_bytes();
            if message.is_text() {
                BroadcastBody::Text(bytes)
            } else {
                BroadcastBody::Binary(bytes)
            }
        }
    }
}
