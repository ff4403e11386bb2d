//! What may a handler ask for?

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use ws_core::Message;

use crate::{Event, EventPayload, Fault, Id, Reason, Socket};

/// What a handler's argument can be: something taken out of an event.
///
/// The hub's own are [`Socket`], [`EventPayload`], [`Json`], [`State`], [`Room`],
/// [`Message`], [`Bytes`], [`String`], [`Id`], [`Event`], [`Reason`] and [`Fault`], and
/// `Option` of any of them, which takes what does not fit as `None`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken out of an event",
    note = "a handler's arguments are `Socket`, `Json<T>`, `State<T>`, `EventPayload` and others \
            that implement `FromEvent`"
)]
pub trait FromEvent: Sized + Send + 'static {
    /// Takes it out.
    ///
    /// # Errors
    ///
    /// What is wrong with the data, for people: it goes into an `error` event, and the
    /// handler is not called.
    fn from_event(event: &EventPayload) -> Result<Self, String>;
}

/// The data of an event, taken from JSON.
///
/// ```
/// # use serde::Deserialize;
/// use ws_events::{Hub, Json, Socket};
///
/// #[derive(Deserialize)]
/// struct Say {
///     room: String,
///     text: String,
/// }
///
/// let hub = Hub::builder().envelope().build();
/// hub.on("say", async |socket: Socket, Json(say): Json<Say>| {
///     socket.to(&say.room).emit("said", &say.text)?;
///     Ok::<_, ws_events::EncodeError>(())
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// What the hub was [given](crate::HubBuilder::state) for its handlers.
#[derive(Clone, Debug)]
pub struct State<T>(pub Arc<T>);

/// The name of the room that was entered or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room(pub Arc<str>);

impl FromEvent for Socket {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(event.socket().clone())
    }
}

impl FromEvent for EventPayload {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(event.clone())
    }
}

impl<T: DeserializeOwned + Send + 'static> FromEvent for Json<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.json().map(Json).map_err(|error| error.to_string())
    }
}

impl<T: Send + Sync + 'static> FromEvent for State<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        let state = event.socket().hub().state::<T>();
        state.map(State).ok_or_else(|| format!("no `{}` in the hub", std::any::type_name::<T>()))
    }
}

impl FromEvent for Room {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.room().map(|name| Self(Arc::from(name))).ok_or_else(|| "no room".to_owned())
    }
}

impl FromEvent for Message {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.message().cloned().ok_or_else(|| "no message".to_owned())
    }
}

impl FromEvent for Bytes {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(event.bytes())
    }
}

impl FromEvent for String {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        std::str::from_utf8(event.data()).map(str::to_owned).map_err(|error| error.to_string())
    }
}

impl FromEvent for Id {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(event.id().clone())
    }
}

impl FromEvent for Event {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(event.event().clone())
    }
}

impl FromEvent for Reason {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.reason().cloned().ok_or_else(|| "the socket has not ended".to_owned())
    }
}

impl FromEvent for Fault {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.error().map(|fault| fault.into_owned()).ok_or_else(|| "nothing is wrong".to_owned())
    }
}

impl<T: FromEvent> FromEvent for Option<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(T::from_event(event).ok())
    }
}
