//! Which events does a socket have, and in which order do they come?

use std::fmt;
use std::sync::Arc;

use ws_core::Escaped;

/// An event of a socket.
///
/// [`Hub::on`](crate::Hub::on) takes a variant or a string. The name of one of the hub's own events
/// converts to its variant; any other string is a custom event.
///
/// An event without a handler is dropped. If a peer sent it, it is logged at the level `debug`.
///
/// For each socket: `Connect` comes first. `Close` comes before `Disconnect`, and only if this side
/// closed. `Disconnect` comes once, after the last `Message` and after events that were fired by
/// then, while the socket is still in its rooms. If an error ends the connection, `Error` comes
/// after `Disconnect`, and never instead of it. `RoomLeave` comes last, for each room that the
/// socket was still in. Each `RoomJoin` is followed by its `RoomLeave`, even if the task of the
/// socket is dropped, provided that a runtime is running.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The socket is connected: a lookup by its id finds it, and broadcasts reach it.
    Connect,
    /// A message has arrived that is not a custom event.
    Message,
    /// The peer has sent a ping, which was answered. Dropped while 1,024 events are queued.
    Ping,
    /// The peer has sent a pong. Dropped while 1,024 events are queued.
    Pong,
    /// This side has closed the socket.
    Close,
    /// The connection has ended: see [`DisconnectReason`](crate::DisconnectReason).
    Disconnect,
    /// An error: see [`EventError`](crate::EventError). Without a handler it is logged: panics
    /// and errors of handlers at the level `error`, invalid data of a peer once for each socket at
    /// `warn` and then at `debug`.
    Error,
    /// The socket has joined a room.
    RoomJoin,
    /// The socket has left a room.
    RoomLeave,
    /// A custom event of the application.
    Custom(Arc<str>),
}

impl Event {
    /// The name of the event.
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

    /// The index in a table of the events that are not custom.
    pub(crate) const fn index(&self) -> Option<usize> {
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

    /// The number of events that are not custom.
    pub(crate) const COUNT: usize = 9;

    /// Those events, by their index.
    pub(crate) const OWN: [Self; Self::COUNT] = [
        Self::Connect,
        Self::Message,
        Self::Ping,
        Self::Pong,
        Self::Close,
        Self::Disconnect,
        Self::Error,
        Self::RoomJoin,
        Self::RoomLeave,
    ];

    fn reserved(name: &str) -> Option<Self> {
        Self::OWN.into_iter().find(|event| event.as_str() == name)
    }

    /// The event of a peer that has this name: a custom one, or `Message`.
    pub(crate) fn received(name: Arc<str>) -> Self {
        if *name == *Self::Message.as_str() { Self::Message } else { Self::Custom(name) }
    }

    /// Whether a custom event may have this name.
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

/// The name, [escaped](Escaped): a peer may have chosen it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped::new(self.as_str()), f)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_event() {
        for event in Event::OWN {
            assert_eq!(Event::from(event.as_str()), event);
            assert_eq!(Event::from(event.as_str().to_owned()), event);
            assert!(!Event::is_custom(event.as_str()));
        }
        assert_eq!(Event::from("say".to_owned()), Event::Custom("say".into()));
        assert!(Event::is_custom("say"));
    }
}
