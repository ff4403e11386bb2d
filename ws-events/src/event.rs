//! What happens to a socket, and what is a handler told of it?

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use ws_core::{Attributes, Message};

use crate::{Fault, Id, Reason, Socket};

/// What happens to a socket.
///
/// The names of the hub's own, as texts, mean these events; any other text is a custom
/// event. So [`Hub::on`](crate::Hub::on) takes either.
///
/// One that nobody handles is dropped; if a peer sent it, the log has a word of it at the
/// level `debug`.
///
/// For each socket: `Connect` comes before any other. `Close` comes before `Disconnect`,
/// and only if this side closed. `Disconnect` comes once, after the last `Message` and what
/// was fired by then, while the socket is still in its rooms. `Error` comes after the
/// `Disconnect` that it is the cause of, and never instead of it. `RoomLeave` comes at the
/// very end for the rooms that the socket was in still. Each `RoomJoin` has its `RoomLeave`,
/// in this order, whatever becomes of the socket, as long as there is a runtime.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The socket is in the hub: it is found by its id, and a broadcast reaches it.
    Connect,
    /// A message has arrived that is no event of its own.
    Message,
    /// The peer has sent a ping, which was answered. Not told while 1,024 events wait.
    Ping,
    /// The peer has sent a pong. Not told while 1,024 events wait.
    Pong,
    /// This side has closed the socket.
    Close,
    /// The connection is over, for the [`Reason`] that the handler can ask for.
    Disconnect,
    /// Something went wrong: the [`Fault`] says what. Where nobody handles it, panics and
    /// errors of handlers are logged as errors, and what peers send amiss as warnings.
    Error,
    /// The socket has entered a room.
    RoomJoin,
    /// The socket has left a room.
    RoomLeave,
    /// An event of the application.
    Custom(Arc<str>),
}

impl Event {
    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Connect => "connect",
            Self::Message => "message",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Close => "close",
            Self::Disconnect => "disconnect",
            Self::Error => "error",
            Self::RoomJoin => "room_join",
            Self::RoomLeave => "room_leave",
            Self::Custom(name) => name,
        }
    }

    /// The place in a table of those that are not custom.
    pub(crate) const fn place(&self) -> Option<usize> {
        Some(match self {
            Self::Connect => 0,
            Self::Message => 1,
            Self::Ping => 2,
            Self::Pong => 3,
            Self::Close => 4,
            Self::Disconnect => 5,
            Self::Error => 6,
            Self::RoomJoin => 7,
            Self::RoomLeave => 8,
            Self::Custom(_) => return None,
        })
    }

    /// How many places there are.
    pub(crate) const PLACES: usize = 9;

    fn reserved(name: &str) -> Option<Self> {
        Some(match name {
            "connect" => Self::Connect,
            "message" => Self::Message,
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            "close" => Self::Close,
            "disconnect" => Self::Disconnect,
            "error" => Self::Error,
            "room_join" => Self::RoomJoin,
            "room_leave" => Self::RoomLeave,
            _ => return None,
        })
    }

    /// Is it a name that a peer may send?
    pub(crate) fn is_custom(name: &str) -> bool {
        Self::reserved(name).is_none()
    }
}

impl From<&str> for Event {
    fn from(name: &str) -> Self {
        Self::reserved(name).unwrap_or_else(|| Self::Custom(Arc::from(name)))
    }
}

impl From<String> for Event {
    fn from(name: String) -> Self {
        Self::from(&*name)
    }
}

impl From<&Self> for Event {
    fn from(event: &Self) -> Self {
        event.clone()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An event as a handler sees it: everything there is to know of it.
///
/// Most handlers name what they want instead, such as [`Socket`] and [`Json`](crate::Json).
#[derive(Clone)]
pub struct EventPayload(Arc<Inner>);

struct Inner {
    socket: Socket,
    event: Event,
    id: Id,
    news: News,
}

/// What comes with an event.
pub(crate) enum News {
    /// Nothing.
    Bare,
    /// A message, the data of a custom event, or the payload of a ping or a pong.
    Data(Message),
    Gone(Reason),
    Wrong(Fault),
    Room(Arc<str>),
}

impl EventPayload {
    pub(crate) fn new(socket: Socket, event: Event, news: News) -> Self {
        let id = socket.id();
        Self(Arc::new(Inner { socket, event, id, news }))
    }

    /// The socket that it happened to.
    pub fn socket(&self) -> &Socket {
        &self.0.socket
    }

    /// What happened.
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// The name of the event.
    pub fn name(&self) -> &str {
        self.0.event.as_str()
    }

    /// The id that the socket had when the first handler was about to be called.
    pub fn id(&self) -> &Id {
        &self.0.id
    }

    /// What the application keeps with the socket.
    pub fn attributes(&self) -> &Attributes {
        self.0.socket.attributes()
    }

    /// What came with it: the message, the data of a custom event (JSON, if a peer sent
    /// it), the payload of a ping or a pong. Empty for the others.
    pub fn data(&self) -> &[u8] {
        self.message().map_or(&[], Message::as_bytes)
    }

    /// As [`data`](Self::data), with its type: text or binary. `None` where nothing comes
    /// with the event.
    pub fn message(&self) -> Option<&Message> {
        match &self.0.news {
            News::Data(message) => Some(message),
            News::Bare | News::Gone(_) | News::Wrong(_) | News::Room(_) => None,
        }
    }

    /// The data, taken from JSON.
    ///
    /// # Errors
    ///
    /// When it is not, or does not fit.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.data())
    }

    /// What went wrong: with `error` always, and with `disconnect` when the connection was
    /// lost.
    pub fn error(&self) -> Option<Cow<'_, Fault>> {
        match &self.0.news {
            News::Wrong(fault) => Some(Cow::Borrowed(fault)),
            News::Gone(reason) => reason.fault().map(Cow::Owned),
            News::Bare | News::Data(_) | News::Room(_) => None,
        }
    }

    /// Why the connection is over, with `close` and `disconnect`.
    pub fn reason(&self) -> Option<&Reason> {
        match &self.0.news {
            News::Gone(reason) => Some(reason),
            News::Bare | News::Data(_) | News::Wrong(_) | News::Room(_) => None,
        }
    }

    /// Which room was entered or left.
    pub fn room(&self) -> Option<&str> {
        match &self.0.news {
            News::Room(name) => Some(name),
            News::Bare | News::Data(_) | News::Wrong(_) | News::Gone(_) => None,
        }
    }

    /// The payload, sharing its memory.
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
