//! What can go wrong in a hub, and why does a socket end?

use std::sync::Arc;

use ws_core::{CloseError, Error, StatusCode};

use crate::{Event, Id};

/// What an `error` event tells.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The connection was lost, or its peer broke the protocol. The socket has ended, and
    /// its `disconnect` was told before this.
    #[error(transparent)]
    Connection(#[from] Error),
    /// A handler has panicked; the text is what it panicked with. The hub and the socket
    /// live on.
    #[error("a handler of `{event}` has panicked: {text}")]
    #[non_exhaustive]
    Panicked {
        /// What it handled.
        event: Event,
        /// What it panicked with, if that was a text.
        text: Arc<str>,
    },
    /// A handler has returned an error; the text is how that shows itself.
    #[error("a handler of `{event}` has failed: {text}")]
    #[non_exhaustive]
    Failed {
        /// What it handled.
        event: Event,
        /// The error as a text.
        text: Arc<str>,
    },
    /// The data of an event is not what a handler takes.
    #[error("the data of `{event}` is not what its handler takes: {text}")]
    #[non_exhaustive]
    Unfit {
        /// What it would have handled.
        event: Event,
        /// What is wrong with it.
        text: Arc<str>,
    },
    /// The peer has sent something that is no event, though the hub takes nothing else.
    #[error("what the peer sent is no event: {0}")]
    Malformed(Arc<str>),
    /// The socket has sent to an id that nobody has.
    #[error("nobody has the id {0}")]
    NoSuchId(Id),
}

/// Why a message for one socket was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// Nobody has this id.
    #[error("nobody has the id {0}")]
    NoSuchId(Id),
    /// The socket has ended, or is closing.
    #[error("the socket is closed")]
    Closed,
    /// The socket's [`Outbox`](crate::Outbox) is full, and the message was dropped.
    #[error("more waits for the socket than its outbox holds")]
    Full,
    /// The socket's [`Outbox`](crate::Outbox) was full, so the socket is being closed.
    #[error("more waited for the socket than its outbox holds: it is being closed")]
    SlowConsumer,
    /// The event could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why an event could not be encoded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The hub sends messages as they are: see
    /// [`HubBuilder::envelope`](crate::HubBuilder::envelope).
    #[error("this hub sends messages and no events: build it with `envelope`")]
    NoEnvelope,
    /// The name is one of the hub's own events, or empty, or too long.
    #[error("`{0}` is no name for an event")]
    BadName(Arc<str>),
    /// The data could not be made into JSON.
    #[error("the data cannot be made into JSON")]
    Json(#[source] Arc<serde_json::Error>),
}

/// Another socket has the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetIdError {
    /// Another socket has it.
    #[error("another socket has this id")]
    Taken,
    /// The socket has ended.
    #[error("the socket has ended")]
    Closed,
}

/// The socket has ended, or is not connected yet, so it is in no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket is not connected")]
#[non_exhaustive]
pub struct NotConnected;

/// What middleware says to a connection that it does not let in: the peer is sent this
/// close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
}

impl Refusal {
    /// 1008 and this reason, of up to 123 bytes.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { code: StatusCode::POLICY_VIOLATION, reason: reason.into() }
    }

    /// To whom nothing is wrong with, but that the hub is going.
    pub(crate) fn draining() -> Self {
        Self::new("").code(StatusCode::GOING_AWAY)
    }

    /// With another code.
    #[must_use]
    pub fn code(mut self, code: StatusCode) -> Self {
        self.code = code;
        self
    }
}

/// Why a socket has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The peer has closed it, with this.
    Peer(CloseError),
    /// This side has closed it, with this: [`Socket::close`](crate::Socket::close), or the
    /// hub when it [drains](crate::Hub::drain).
    Closed(CloseError),
    /// Its peer did not keep up, and the [`Outbox`](crate::Outbox) was full.
    #[non_exhaustive]
    SlowConsumer {
        /// How many bytes waited.
        queued: usize,
    },
    /// The connection was lost, the peer broke the protocol, or a deadline passed.
    Lost(Error),
    /// The task that served it was dropped.
    Dropped,
}

impl Reason {
    /// What the `error` event behind a `disconnect` tells, if there is one: an end that
    /// nobody has announced, or with another code than 1000, 1001 and none.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Peer(close) if is_normal(close.code) => None,
            Self::Peer(close) => Some(Error::Closed(close.clone()).into()),
            Self::Lost(error) => Some(error.clone().into()),
            Self::Closed(_) | Self::SlowConsumer { .. } | Self::Dropped => None,
        }
    }
}

/// How browsers and well-behaved clients leave.
fn is_normal(code: StatusCode) -> bool {
    [StatusCode::NORMAL_CLOSURE, StatusCode::GOING_AWAY, StatusCode::NO_STATUS_RECEIVED]
        .contains(&code)
}
