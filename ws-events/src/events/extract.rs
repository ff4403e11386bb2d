//! Which arguments can a handler have, and how are they extracted from an event?

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ws_core::Message;

use crate::{Ack, DisconnectReason, Event, EventError, EventPayload, Hub, Id, Socket};

/// An argument of a handler, extracted from an event.
///
/// | argument | value |
/// | --- | --- |
/// | [`Socket`], [`Id`], [`Event`] | the socket, its id, the event |
/// | [`Json<T>`](Json) | the data, deserialised from JSON |
/// | [`Message`], [`Bytes`], [`String`] | the data, unchanged |
/// | [`Ack`] | the answer, if the peer asks for one |
/// | [`State<T>`](State) | state of the hub, by type |
/// | [`Attribute<T>`](Attribute) | an attribute of the socket, by type |
/// | [`Room`] | with `room_join` and `room_leave` |
/// | [`DisconnectReason`] | with `close` and `disconnect` |
/// | [`EventError`] | with `error`, and with `disconnect` if an `error` event follows it |
/// | [`EventPayload`] | the whole event |
/// | `Option` of any of them | `None` if the extraction fails |
///
/// An application can implement this trait for its own types, such as the logged-in user:
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
    label = "not an argument of a handler",
    note = "a handler's arguments are `Socket`, `Json<T>`, `State<T>`, `Attribute<T>`, `EventPayload` \
            and others that implement `FromEvent`; `Json` and `State` are those of `ws_events`, not \
            of a web framework"
)]
pub trait FromEvent: Sized + Send + 'static {
    /// Extracts the argument.
    ///
    /// # Errors
    ///
    /// A description of what is wrong. It becomes an `error` event, and the handler is not
    /// called.
    fn from_event(event: &EventPayload) -> Result<Self, String>;

    /// Checks whether a hub can provide the argument, for [`Hub::check`]. Default: it can.
    ///
    /// # Errors
    ///
    /// A description of what is missing.
    fn check(hub: &Hub) -> Result<(), String> {
        let _ = hub;
        Ok(())
    }
}

/// The data of an event, deserialised from JSON.
///
/// Bytes in the data, such as a field of type [`Bytes`], are an attachment of Socket.IO, or are read
/// from a base64 string or a list of numbers. An attachment for a `serde_json::Value` or a `String` is
/// base64; beside such a value, bytes in a field of a `flatten` or an untagged enum are the bytes of the
/// base64 text. If a handler [returns](crate::HandlerReply) a `Json`, or `Ok` of one, it is the answer to
/// the peer.
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
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
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

/// Implements [`FromEvent`] for types, each by an expression.
macro_rules! from_event {
    ($($({$($generics:tt)*})? $type:ty = |$event:ident| $extract:expr;)*) => {$(
        impl $(<$($generics)*>)? FromEvent for $type {
            fn from_event($event: &EventPayload) -> Result<Self, String> {
                $extract
            }
        }
    )*};
}

from_event! {
    Socket = |event| Ok(event.socket().clone());
    EventPayload = |event| Ok(event.clone());
    Id = |event| Ok(event.id().clone());
    Event = |event| Ok(event.event().clone());
    Bytes = |event| Ok(event.bytes());
    Ack = |event| Ok(event.ack().take());
    Message = |event| event.message().cloned().ok_or_else(|| "not a message event".to_owned());
    String = |event| {
        std::str::from_utf8(event.data()).map(str::to_owned).map_err(|error| error.to_string())
    };
    Room = |event| {
        event.room().map(|name| Self(Arc::from(name))).ok_or_else(|| "not a room event".to_owned())
    };
    DisconnectReason = |event| {
        event.reason().cloned().ok_or_else(|| "the socket has not ended".to_owned())
    };
    EventError = |event| {
        event.error().map(|error| error.into_owned()).ok_or_else(|| "no error".to_owned())
    };
    {T: DeserializeOwned + Send + 'static} Json<T> = |event| {
        event.json().map(Json).map_err(|error| event.note_undecodable(error.to_string()))
    };
    {T: Clone + Send + Sync + 'static} Attribute<T> = |event| {
        event.attributes().get().map(Self).ok_or_else(|| {
            format!("the socket has no attribute of type `{}`", std::any::type_name::<T>())
        })
    };
    {T: FromEvent} Option<T> = |event| Ok(T::from_event(event).ok());
}

impl<T: Send + Sync + 'static> FromEvent for State<T> {
    fn from_event(event: &EventPayload) -> Result<Self, String> {
        event.socket().hub().state::<T>().map(State).ok_or_else(no_state::<T>)
    }

    fn check(hub: &Hub) -> Result<(), String> {
        hub.state::<T>().map(drop).ok_or_else(no_state::<T>)
    }
}

fn no_state<T>() -> String {
    format!("the hub has no state of type `{}`", std::any::type_name::<T>())
}
