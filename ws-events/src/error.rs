//! Which errors does a hub have, and why does a socket disconnect?

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use ws_core::{CloseError, Deadline, Error, Escaped, StatusCode};

use crate::{Event, Id};

/// The error of an `error` event.
///
/// Its text is one line that includes the text of the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The connection was lost, the peer violated the protocol, or the peer closed with a code that
    /// is [not normal](StatusCode::is_normal). The `disconnect` event of the socket came before
    /// this.
    #[error(transparent)]
    Connection(#[from] Error),
    /// A handler has panicked. The hub and the socket continue.
    #[error("a handler of `{event}` has panicked: {}", Escaped::new(&**.text))]
    #[non_exhaustive]
    Panicked {
        /// The event of the handler.
        event: Event,
        /// The panic message, if it was a string.
        text: Arc<str>,
    },
    /// A handler has returned an error.
    #[error("a handler of `{event}` has failed: {}", Escaped::new(&**.text))]
    #[non_exhaustive]
    Failed {
        /// The event of the handler.
        event: Event,
        /// The text of the error.
        text: Arc<str>,
    },
    /// A handler was not called, because one of its arguments could not be extracted: the peer has
    /// sent data of another type, or the state or attribute does not exist.
    #[error("the data of `{event}` is not what its handler takes: {}", Escaped::new(&**.text))]
    #[non_exhaustive]
    InvalidArgument {
        /// The event of the handler.
        event: Event,
        /// What is wrong with the argument.
        text: Arc<str>,
    },
    /// The peer has sent a text message that is not an event, to a hub with an
    /// [envelope](crate::HubBuilder::envelope).
    #[error("malformed event from the peer: {}", Escaped::new(&**.0))]
    Malformed(Arc<str>),
    /// The socket has sent to an unknown id.
    #[error("no socket has the id {}", Escaped::new(.0.as_str()))]
    NoSuchId(Id),
}

/// Why a message was not queued for a socket.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// No socket has this id.
    #[error("no socket has the id {}", Escaped::new(.0.as_str()))]
    NoSuchId(Id),
    /// The socket is closing or disconnected.
    #[error("the socket is closed")]
    Closed,
    /// The send queue of the socket is full, and the message was dropped: see
    /// [`SendQueueLimits`](crate::SendQueueLimits).
    #[error("the send queue of the socket is full")]
    Full,
    /// The send queue of the socket was full, and the socket is being closed: see
    /// [`Overflow::Disconnect`](crate::Overflow::Disconnect).
    #[error("the send queue of the socket was full, so it is being closed")]
    SlowConsumer,
    /// The event could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The socket could not join a room. [`Socket::join`](crate::Socket::join) returns the
    /// [`NotConnected`] itself: this is for a handler that also sends, so that `?` works for both.
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
}

/// Why an event could not be encoded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The hub was built without [`HubBuilder::envelope`](crate::HubBuilder::envelope), so it
    /// can only send messages.
    #[error("a hub sends events only if it is built with `envelope`")]
    NoEnvelope,
    /// The name is one of the hub's own [`Event`]s, or empty, or longer than 256 bytes.
    #[error("invalid event name `{}`: reserved, empty or too long", Escaped::new(&**.0))]
    BadName(Arc<str>),
    /// The data could not be serialised as JSON, or is nested deeper than 126 values.
    // With its cause, since of a handler's error only the text is kept.
    #[error("the data cannot be serialised as JSON: {}", Escaped::new(&.0.to_string()))]
    Json(Arc<serde_json::Error>),
}

/// Why a peer has not acknowledged an event.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// No acknowledgement came in time. A late one is ignored.
    #[error("the peer has not acknowledged the event in time")]
    Timeout,
    /// The socket has disconnected.
    #[error("the socket has disconnected before it acknowledged the event")]
    Disconnected,
    /// The socket already waits for as many acknowledgements as it may: see
    /// [`HubBuilder::pending_acks`](crate::HubBuilder::pending_acks). The event was not sent.
    #[error("the socket already waits for {limit} acknowledgements (`HubBuilder::pending_acks`)")]
    #[non_exhaustive]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The protocol of the socket has no acknowledgements. A broadcast has sent the event
    /// nevertheless.
    #[error("the protocol of the socket has no acknowledgements")]
    Unsupported,
    /// The answer is not of the expected type.
    #[error("the acknowledgement is not of the expected type: {}", Escaped::new(&.0.to_string()))]
    Decode(Arc<serde_json::Error>),
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// So that a handler that asks can use `?` for its other events.
impl From<EncodeError> for AckError {
    fn from(error: EncodeError) -> Self {
        Self::Emit(error.into())
    }
}

/// So that a handler that asks can use `socket.join(room)?`.
impl From<NotConnected> for AckError {
    fn from(error: NotConnected) -> Self {
        Self::Emit(error.into())
    }
}

/// Why the id of a socket was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetIdError {
    /// Another socket has the id.
    #[error("another socket has this id")]
    Taken,
    /// The socket is disconnected.
    #[error("the socket is disconnected")]
    Closed,
}

/// The socket cannot join a room: it is connecting or disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket is not connected")]
#[non_exhaustive]
pub struct NotConnected;

/// The longest reason in a close frame, in bytes (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

/// The close frame for a connection that middleware rejects. A client of Socket.IO gets a
/// `connect_error` with the reason as its message instead, and stays connected to other namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRejection {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    /// JSON.
    pub(crate) data: Option<String>,
}

impl ConnectRejection {
    /// A rejection with the code 1008 and this reason, which is cut to 123 bytes (RFC 6455 §5.5).
    pub fn new(reason: impl Into<String>) -> Self {
        Self { code: StatusCode::POLICY_VIOLATION, reason: reason.into(), data: None }
    }

    /// The rejection while the hub drains.
    pub(crate) fn draining() -> Self {
        Self::new("").code(StatusCode::GOING_AWAY)
    }

    /// Changes the code. A code that must not be in a close frame (RFC 6455 §7.4.1) is sent as
    /// 1008.
    #[must_use]
    pub fn code(mut self, code: StatusCode) -> Self {
        self.code = code;
        self
    }

    /// Adds the `data` of the `connect_error` of a client of Socket.IO, serialised as JSON. A value
    /// that cannot be serialised is left out. Other clients do not get it.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_string(data).ok();
        self
    }

    /// The reason, cut to the size of a close frame.
    pub(crate) fn cut_reason(&self) -> &str {
        cut_reason(&self.reason)
    }
}

/// As much of a reason as fits into a close frame.
pub(crate) fn cut_reason(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default()
}

/// So that middleware can use `socket.set_id(name)?`.
impl From<SetIdError> for ConnectRejection {
    fn from(error: SetIdError) -> Self {
        match error {
            SetIdError::Taken => Self::new("the id is taken"),
            SetIdError::Closed => Self::new(""),
        }
    }
}

/// Why a socket is disconnected. Its text is one line, for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer has closed it with this close frame.
    Peer(CloseError),
    /// This side has closed it with this close frame: by [`Socket::close`](crate::Socket::close),
    /// or because the hub [drains](crate::Hub::drain).
    Closed(CloseError),
    /// The peer was too slow, and the send queue was full: see
    /// [`SendQueueLimits`](crate::SendQueueLimits).
    #[non_exhaustive]
    SlowConsumer {
        /// The bytes that were queued.
        queued: usize,
    },
    /// The connection was lost, the peer violated the protocol, or a timeout expired.
    Lost(Error),
    /// The task of the socket was dropped.
    Dropped,
}

impl DisconnectReason {
    /// The error of the `error` event that follows `disconnect`: for a lost connection, and for a
    /// close frame of the peer with a code that is not normal.
    pub(crate) fn event_error(&self) -> Option<EventError> {
        match self {
            Self::Peer(close) if close.code.is_normal() => None,
            Self::Peer(close) => Some(Error::Closed(close.clone()).into()),
            Self::Lost(error) => Some(error.clone().into()),
            Self::Closed(_) | Self::SlowConsumer { .. } | Self::Dropped => None,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(close) => write!(f, "the peer {close}"),
            Self::Closed(close) => write!(f, "this side {close}"),
            Self::SlowConsumer { queued } => {
                write!(f, "the peer did not keep up: {queued} bytes waited for it")
            }
            Self::Lost(Error::Closed(close)) => close.fmt(f),
            Self::Lost(error) => match sent_code(error) {
                Some(code) => write!(f, "this side closed with {code}: {error}"),
                None => write!(f, "the connection was lost: {error}"),
            },
            Self::Dropped => f.write_str("the task that served it was dropped"),
        }
    }
}

/// The code that this side has sent because of an error of the peer.
const fn sent_code(error: &Error) -> Option<StatusCode> {
    match error {
        Error::Timeout(Deadline::Idle | Deadline::Age) => Some(StatusCode::GOING_AWAY),
        error => error.close_status(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use ws_core::{Limit, ProtocolError};

    use super::*;

    #[track_caller]
    fn check(reason: &DisconnectReason, expected: &str) {
        assert_eq!(reason.to_string(), expected);
    }

    #[test]
    fn a_reason_is_one_line() {
        let close = CloseError::new(StatusCode::GOING_AWAY, "bye");
        check(&DisconnectReason::Peer(close.clone()), "the peer closed with 1001 going away: bye");
        check(&DisconnectReason::Closed(close), "this side closed with 1001 going away: bye");
        let reason = DisconnectReason::SlowConsumer { queued: 9 };
        check(&reason, "the peer did not keep up: 9 bytes waited for it");
        let lost = Error::from(CloseError::new(StatusCode::ABNORMAL_CLOSURE, "reset"));
        let line = "the connection ended without a close frame (1006): reset";
        check(&DisconnectReason::Lost(lost), line);
        let failed = io::Error::new(io::ErrorKind::PermissionDenied, "a\nb");
        let lost = DisconnectReason::Lost(Error::Io(Arc::new(failed)));
        check(&lost, "the connection was lost: the transport failed: a\\nb");
        let timeout = Error::Timeout(Deadline::Keepalive);
        let line = "the connection was lost: the peer sent nothing within `Config::keepalive`";
        check(&DisconnectReason::Lost(timeout), line);
        check(&DisconnectReason::Dropped, "the task that served it was dropped");
    }

    /// As `?` does it in a handler.
    #[test]
    fn what_a_socket_returns_becomes_an_error_of_sending_or_of_asking() {
        let bad_name = EncodeError::BadName(Arc::from("connect"));
        let name = bad_name.to_string();
        for (error, expected) in [
            (EmitError::from(NotConnected).to_string(), "the socket is not connected"),
            (AckError::from(NotConnected).to_string(), "the socket is not connected"),
            (EmitError::from(bad_name.clone()).to_string(), &name),
            (AckError::from(bad_name).to_string(), &name),
            (AckError::from(EmitError::Closed).to_string(), "the socket is closed"),
        ] {
            assert_eq!(error, expected);
        }
    }

    /// Nothing was lost: the log names the code that the peer got.
    #[test]
    fn a_reason_states_the_code_that_this_side_has_sent() {
        let lost = DisconnectReason::Lost;
        let line = "this side closed with 1009 message too big: \
                    the peer sent more than 16384 bytes in a message (`Limits::message_size`)";
        check(&lost(Error::message_too_big(16 * 1024, Limit::MessageSize)), line);
        let line =
            "this side closed with 1002 protocol error: the peer violated the WebSocket protocol: ";
        check(&lost(ProtocolError::Masked.into()), &format!("{line}{}", ProtocolError::Masked));
        let line = "this side closed with 1001 going away: \
                    no message was received within `Config::idle_timeout`";
        check(&lost(Error::Timeout(Deadline::Idle)), line);
    }
}
