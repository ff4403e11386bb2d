//! Which arguments can a handler have, and how are they extracted from an event?

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use ws_core::Message;

use crate::{DisconnectReason, Event, EventError, EventPayload, Id, Socket};

/// An argument of a handler, extracted from an event.
///
/// | argument | value |
/// | --- | --- |
/// | [`Socket`], [`Id`], [`Event`] | the socket, its id, the event |
/// | [`Json<T>`](Json) | the data, deserialised from JSON |
/// | [`Message`], [`Bytes`], [`String`] | the data, unchanged |
/// | [`State<T>`](State) | state of the hub, by type |
/// | [`Attribute<T>`](Attribute) | an attribute of the socket, by type |
/// | [`Room`] | with `room_join` and `room_leave` |
/// | [`DisconnectReason`] | with `close` and `disconnect` |
/// | [`EventError`] | with `error`, and with `disconnect` if the connection was lost |
/// | [`EventPayload`] | all of it |
/// | `Option` of any of them | `None` if the extraction fails |
///
/// An application can implement it for its own types, such as the logged-in user:
///
/// ```
/// use ws_events::{EventPayload, FromEvent};
///
/// #[derive(Clone)]
/// struct Admin(String);
///
/// impl FromEvent for Admin {
///     fn from_event(event: &EventPayload) -> Result<Self, String> {
///         event.attributes().get().ok_or_else(|| "only for admins".to_owned())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from an event",
    note = "a handler's arguments are `Socket`, `Json<T>`, `State<T>`, `Attribute<T>`, `EventPayload` \
            and others that implement `FromEvent`"
)]
pub trait FromEvent: Sized + Send + 'static {
    /// Extracts the argument.
    ///
    /// # Errors
    ///
    /// A description of what is wrong. It becomes an `error` event, and the handler is not
    /// called.
    fn from_event(event: &EventPayload) -> Result<Self, String>;
}

/// The data of an event, deserialised from JSON.
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

/// State of the hub, by type: see [`HubBuilder::state`](crate::HubBuilder::state).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use ws_events::{Hub, State};
///
/// let hub = Hub::builder().state(AtomicU64::new(0)).build();
/// hub.on_connect(async |State(visits): State<AtomicU64>| {
///     visits.fetch_add(1, Ordering::Relaxed);
/// });
/// ```
#[derive(Clone, Debug)]
pub struct State<T>(pub Arc<T>);

/// A clone of an [attribute](Socket::attributes) of the socket, by type.
///
/// ```
/// use ws_events::{Attribute, ConnectRejection, Hub, Socket};
///
/// #[derive(Clone)]
/// struct Name(String);
///
/// let hub = Hub::new();
/// hub.middleware(async |socket: Socket| {
///     let request = socket.request().ok_or(ConnectRejection::new("no request"))?;
///     let name = request.query("name").ok_or(ConnectRejection::new("a name is required"))?;
///     socket.attributes().insert(Name(name.into_owned()));
///     Ok(())
/// });
/// hub.on_connect(async |socket: Socket, Attribute(Name(name)): Attribute<Name>| {
///     socket.broadcast().send(format!("{name} has joined"));
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Attribute<T>(pub T);

/// The name of the room that the socket has joined or left.
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
        state
            .map(State)
            .ok_or_else(|| format!("the hub has no state of type `{}`", std::any::type_name::<T>()))
    }
}

impl<T: Clone + Send + Sync + 'static> FromEvent for Attribute<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.attributes().get().map(Self).ok_or_else(|| {
            format!("the socket has no attribute of type `{}`", std::any::type_name::<T>())
        })
    }
}

impl FromEvent for Room {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.room().map(|name| Self(Arc::from(name))).ok_or_else(|| "not a room event".to_owned())
    }
}

impl FromEvent for Message {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.message().cloned().ok_or_else(|| "not a message event".to_owned())
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

impl FromEvent for DisconnectReason {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.reason().cloned().ok_or_else(|| "the socket has not ended".to_owned())
    }
}

impl FromEvent for EventError {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.error().map(|error| error.into_owned()).ok_or_else(|| "no error".to_owned())
    }
}

impl<T: FromEvent> FromEvent for Option<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        Ok(T::from_event(event).ok())
    }
}
