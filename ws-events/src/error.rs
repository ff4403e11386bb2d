//! What can go wrong in a hub, and why does a socket end?

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use ws_core::{CloseError, Error, StatusCode};

use crate::{Event, Id};

/// What an `error` event tells.
///
/// As a text it is one line without its causes: these are where an error has them, in
/// [`source`](std::error::Error::source).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The connection was lost, or its peer broke the protocol. The socket has ended, and
    /// its `disconnect` was told before this.
    #[error(transparent)]
    Connection(#[from] Error),
    /// A handler has panicked. The hub and the socket live on.
    #[error("a handler of `{event}` has panicked: {text}")]
    #[non_exhaustive]
    Panicked {
        /// What it handled.
        event: Event,
        /// What it panicked with, if that was a text.
        text: Arc<str>,
    },
    /// A handler has returned an error.
    #[error("a handler of `{event}` has failed: {text}")]
    #[non_exhaustive]
    Failed {
        /// What it handled.
        event: Event,
        /// The error as a text.
        text: Arc<str>,
    },
    /// A handler was not called, since one of its arguments could not be taken out of the
    /// event: the peer has sent other data, or there is no such state or attribute.
    #[error("the data of `{event}` is not what its handler takes: {text}")]
    #[non_exhaustive]
    Unfit {
        /// What it would have handled.
        event: Event,
        /// What is wrong with it.
        text: Arc<str>,
    },
    /// The peer has sent a text that is no event, though the hub was built with an
    /// [envelope](crate::HubBuilder::envelope).
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
    /// The name is one of the hub's own [`Event`]s, or empty, or longer than 256 bytes.
    #[error("`{0}` is no name for an event: one of the hub's own, empty, or too long")]
    BadName(Arc<str>),
    /// The data could not be made into JSON.
    // Handlers pass it on as a text, and that is all that is left of it.
    #[error("the data cannot be made into JSON: {0}")]
    Json(Arc<serde_json::Error>),
}

/// Why a socket was not given an id.
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

/// How many bytes of a reason fit into a close frame, beside the code.
const REASON: usize = 123;

/// What middleware says to a connection that it does not let in: the peer is sent this
/// close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
}

impl Refusal {
    /// 1008 and this reason, of which 123 bytes are sent at most (RFC 6455 §5.5).
    pub fn new(reason: impl Into<String>) -> Self {
        Self { code: StatusCode::POLICY_VIOLATION, reason: reason.into() }
    }

    /// To whom nothing is wrong with, but that the hub is going.
    pub(crate) fn draining() -> Self {
        Self::new("").code(StatusCode::GOING_AWAY)
    }

    /// With another code. One that is for no close frame (RFC 6455 §7.4.1) is sent as 1008.
    #[must_use]
    pub fn code(mut self, code: StatusCode) -> Self {
        self.code = code;
        self
    }

    /// As much of the reason as fits into a close frame.
    pub(crate) fn short_reason(&self) -> &str {
        self.reason.get(..self.reason.floor_char_boundary(REASON)).unwrap_or_default()
    }
}

/// So middleware may end with `socket.set_id(name)?`.
impl From<SetIdError> for Refusal {
    fn from(error: SetIdError) -> Self {
        match error {
            SetIdError::Taken => Self::new("the id is taken"),
            SetIdError::Closed => Self::new(""),
        }
    }
}

/// Why a socket has ended. As a text, it is a line for a log.
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
    /// What the `error` event after a `disconnect` tells, if there is one: an end that
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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(close) => write!(f, "the peer {close}"),
            Self::Closed(close) => write!(f, "this side {close}"),
            Self::SlowConsumer { queued } => {
                write!(f, "the peer did not keep up: {queued} bytes waited for it")
            }
            Self::Lost(error) => {
                write!(f, "the connection was lost: {error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Dropped => f.write_str("the task that served it was dropped"),
        }
    }
}

/// How browsers and well-behaved clients leave.
fn is_normal(code: StatusCode) -> bool {
    [StatusCode::NORMAL_CLOSURE, StatusCode::GOING_AWAY, StatusCode::NO_STATUS_RECEIVED]
        .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &Reason, expected: &str) {
        assert_eq!(reason.to_string(), expected);
    }

    #[test]
    fn a_reason_is_a_line_for_a_log() {
        let close = CloseError::new(StatusCode::GOING_AWAY, "bye");
        check(&Reason::Peer(close.clone()), "the peer closed with 1001 going away: bye");
        check(&Reason::Closed(close), "this side closed with 1001 going away: bye");
        let reason = Reason::SlowConsumer { queued: 9 };
        check(&reason, "the peer did not keep up: 9 bytes waited for it");
        let lost = Error::from(CloseError::new(StatusCode::ABNORMAL_CLOSURE, "reset"));
        let line = "the connection was lost: the connection is closed: \
                    closed with 1006 abnormal closure: reset";
        check(&Reason::Lost(lost), line);
        check(&Reason::Dropped, "the task that served it was dropped");
    }
}
