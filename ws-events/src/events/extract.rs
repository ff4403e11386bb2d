//! What may a handler ask for?

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use ws_core::Message;

use crate::{Event, EventPayload, Fault, Id, Reason, Socket};

/// What a handler's argument can be: something taken out of an event.
///
/// | argument | what it is |
/// | --- | --- |
/// | [`Socket`], [`Id`], [`Event`] | what it happened to, its id, and what it is |
/// | [`Json<T>`](Json) | the data, taken from JSON |
/// | [`Message`], [`Bytes`], [`String`] | the data as it is |
/// | [`State<T>`](State) | what the hub was given for its handlers |
/// | [`Attribute<T>`](Attribute) | what is kept with the socket |
/// | [`Room`] | with `room_join` and `room_leave` |
/// | [`Reason`] | with `close` and `disconnect` |
/// | [`Fault`] | with `error`, and with `disconnect` where there is one |
/// | [`EventPayload`] | all of it |
/// | `Option` of any of them | `None` where it does not fit |
///
/// An application may have its own, such as who is logged in:
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
    message = "`{Self}` cannot be taken out of an event",
    note = "a handler's arguments are `Socket`, `Json<T>`, `State<T>`, `Attribute<T>`, `EventPayload` \
            and others that implement `FromEvent`"
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

/// What the hub was [given](crate::HubBuilder::state) for its handlers, by its type.
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

/// What is kept with the socket by its type, among its [attributes](Socket::attributes): a
/// clone of it.
///
/// ```
/// use ws_events::{Attribute, Hub, Refusal, Socket};
///
/// #[derive(Clone)]
/// struct Name(String);
///
/// let hub = Hub::new();
/// hub.middleware(async |socket: Socket| {
///     let request = socket.request().ok_or(Refusal::new("no request"))?;
///     let name = request.query("name").ok_or(Refusal::new("say who you are"))?;
///     socket.attributes().insert(Name(name.into_owned()));
///     Ok(())
/// });
/// hub.on_connect(async |socket: Socket, Attribute(Name(name)): Attribute<Name>| {
///     socket.broadcast().send(format!("{name} is here"));
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Attribute<T>(pub T);

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
        state.map(State).ok_or_else(|| {
            format!("the hub was built without a state of type `{}`", std::any::type_name::<T>())
        })
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
