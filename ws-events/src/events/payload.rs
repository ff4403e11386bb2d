//! What does a handler learn about an event?

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use ws_core::{Attributes, Message};

use crate::events::data_de::from_json;
use crate::events::protocol::PeerData;
use crate::socketio::inline_base64;
use crate::{Ack, DisconnectReason, Event, EventError, Id, Socket};

/// An event with its socket and its data.
///
/// Most handlers take single parts as arguments instead, such as [`Socket`] and
/// [`Json`](crate::Json).
#[derive(Clone)]
pub struct EventPayload(Arc<PayloadInner>);

struct PayloadInner {
    socket: Socket,
    event: Event,
    id: Id,
    payload: Payload,
    ack: Ack,
    /// Why the data could not be deserialised for a handler.
    undecodable: OnceLock<String>,
    /// The JSON of an event with attachments, with base64 in their places. In a box, since few events
    /// have any.
    inlined: OnceLock<Box<Message>>,
}

/// An event that waits for the handlers of a socket.
pub(crate) struct QueuedEvent {
    pub(crate) event: Event,
    pub(crate) payload: Payload,
}

/// The data of an event.
pub(crate) enum Payload {
    None,
    /// A message, or the payload of a ping or a pong: from the peer.
    Data(Message),
    /// A custom event of the peer, with the id of the acknowledgement that it expects.
    Request(PeerData, Option<u64>),
    /// The data of a custom event that the server has fired.
    Fired(Message),
    Disconnect(DisconnectReason),
    Error(EventError),
    Room(Arc<str>),
}

impl Payload {
    pub(crate) const fn is_data(&self) -> bool {
        matches!(self, Self::Data(_))
    }
}

impl EventPayload {
    pub(crate) fn new(socket: Socket, event: Event, payload: Payload) -> Self {
        let id = socket.id();
        let expected = if let Payload::Request(_, id) = payload { id } else { None };
        let ack = Ack::new(&socket, expected);
        let (undecodable, inlined) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(PayloadInner { socket, event, id, payload, ack, undecodable, inlined }))
    }

    /// The socket of the event.
    pub fn socket(&self) -> &Socket {
        &self.0.socket
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// The name of the event.
    pub fn name(&self) -> &str {
        self.0.event.as_str()
    }

    /// The id of the socket, as it was before the first handler was called.
    pub fn id(&self) -> &Id {
        &self.0.id
    }

    /// The attributes of the socket.
    pub fn attributes(&self) -> &Attributes {
        self.0.socket.attributes()
    }

    /// The message, the data of a custom event (JSON, if a peer sent it), or the payload of a
    /// ping or a pong. Empty for other events.
    ///
    /// Attachments of Socket.IO are base64 in the JSON, which is `null` if one of them has several
    /// places.
    pub fn data(&self) -> &[u8] {
        self.message().map_or(&[], Message::as_bytes)
    }

    /// [`data`](Self::data) with its type, text or binary. `None` for events without data.
    pub fn message(&self) -> Option<&Message> {
        match &self.0.payload {
            Payload::Request(PeerData { json, attachments }, _) if !attachments.is_empty() => {
                Some(self.0.inlined.get_or_init(|| {
                    let json = json.as_text().unwrap_or_default();
                    let inlined = inline_base64(json, attachments);
                    Box::new(Message::from(inlined.unwrap_or_else(|_| "null".to_owned())))
                }))
            }
            Payload::Data(message)
            | Payload::Fired(message)
            | Payload::Request(PeerData { json: message, .. }, _) => Some(message),
            Payload::None | Payload::Disconnect(_) | Payload::Error(_) | Payload::Room(_) => None,
        }
    }

    /// The data, deserialised from JSON. Bytes are as in [`Json`](crate::Json).
    ///
    /// # Errors
    ///
    /// If the data is not JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.0.payload {
            Payload::Request(data, _) => from_json(data.json.as_bytes(), &data.attachments),
            _ => from_json(self.data(), &[]),
        }
    }

    /// The error: always with `error`, and with `disconnect` if an `error` event follows it.
    pub fn error(&self) -> Option<Cow<'_, EventError>> {
        match &self.0.payload {
            Payload::Error(error) => Some(Cow::Borrowed(error)),
            Payload::Disconnect(reason) => reason.event_error().map(Cow::Owned),
            Payload::None
            | Payload::Data(_)
            | Payload::Request(..)
            | Payload::Fired(_)
            | Payload::Room(_) => None,
        }
    }

    /// Why the connection has ended: with `close` and `disconnect`.
    pub fn reason(&self) -> Option<&DisconnectReason> {
        if let Payload::Disconnect(reason) = &self.0.payload { Some(reason) } else { None }
    }

    /// The room: with `room_join` and `room_leave`.
    pub fn room(&self) -> Option<&str> {
        if let Payload::Room(name) = &self.0.payload { Some(name) } else { None }
    }

    /// Notes that the data is not of the type that a handler takes. Returns the reason.
    pub(crate) fn note_undecodable(&self, reason: String) -> String {
        self.0.undecodable.get_or_init(|| reason.clone());
        reason
    }

    /// Why data of the peer could not be deserialised for a handler.
    pub(crate) fn undecodable(&self) -> Option<&str> {
        let reason = self.0.undecodable.get()?;
        matches!(self.0.payload, Payload::Data(_) | Payload::Request(..)).then_some(reason)
    }

    /// The answer to the peer.
    pub(crate) fn ack(&self) -> &Ack {
        &self.0.ack
    }

    /// The data, without a copy.
    pub(crate) fn bytes(&self) -> Bytes {
        self.message().map(Message::to_bytes).unwrap_or_default()
    }
}

impl fmt::Debug for EventPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventPayload")
            .field("event", &self.0.event)
            .field("id", &self.0.id)
            .field("data", &self.data().len())
            .finish_non_exhaustive()
    }
}
