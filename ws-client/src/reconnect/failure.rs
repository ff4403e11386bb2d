//! Why is there no connection, and is another attempt made?

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::causes::Causes;
use crate::{CloseInfo, CodecError, DialError, Error, StatusCode};

/// Why an attempt to connect has failed, or why the connection was lost.
///
/// Its text includes that of the cause. The cause is the source, too, so that
/// [`Error::close_status_in`](crate::Error::close_status_in) finds the close code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionFailure {
    /// Dialling failed.
    Dial(Arc<DialError>),
    /// A hook of the application failed: [`on_attempt`](crate::Reconnect::on_attempt) or
    /// [`on_connect`](crate::Reconnect::on_connect).
    Hook(Arc<dyn StdError + Send + Sync>),
    /// The server has not answered the request for a session: see `Reconnect::resumable`.
    #[non_exhaustive]
    NoSession {
        /// Whether it has sent another message, because it has no sessions. Otherwise it has sent
        /// nothing for 10 s.
        answered: bool,
    },
    /// The connection ended.
    Ended(CloseInfo),
}

/// Whether another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Another attempt may succeed.
    Retry,
    /// Another attempt would fail in the same way, or no further connection is needed.
    GiveUp,
}

/// Why there are no more connections, or why a message was not queued or decoded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectError {
    /// This side has closed the connection.
    Closed,
    /// The [`RetryDecision`] was to give up, or [`Reconnect::max_attempts`] was reached.
    ///
    /// [`Reconnect::max_attempts`]: crate::Reconnect::max_attempts
    GaveUp(ConnectionFailure),
    /// The task of the connection has stopped: its runtime was dropped, or a hook panicked.
    Stopped,
    /// The send queue is full. The message was not queued.
    SendQueueFull,
    /// The server has not recovered the session, so messages may be missing here. The next call reads
    /// those of the new session. Only with `Reconnect::resumable`.
    SessionLost,
    /// A message could not be decoded, or a value could not be encoded. The connection stays open.
    Codec(CodecError),
}

impl fmt::Display for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "this side has closed the connection"),
            Self::GaveUp(why) => write!(f, "no more attempts to connect: {why}"),
            Self::Stopped => write!(f, "the task that connects has stopped"),
            Self::SendQueueFull => {
                write!(f, "the send queue is full (`SendQueueConfig::capacity`)")
            }
            Self::SessionLost => {
                write!(f, "the session was lost: messages may be missing before the next one")
            }
            Self::Codec(why) => write!(f, "{why}"),
        }
    }
}

impl StdError for ReconnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::GaveUp(failure) => failure.source(),
            Self::Closed
            | Self::Stopped
            | Self::SendQueueFull
            | Self::SessionLost
            | Self::Codec(_) => None,
        }
    }
}

impl_from!(ReconnectError {
    CodecError => Self::Codec,
});

impl ConnectionFailure {
    /// The default decision. The table is in the documentation of the [module](super).
    pub fn retry_decision(&self) -> RetryDecision {
        match self {
            Self::Dial(error) if error.is_temporary() => RetryDecision::Retry,
            Self::Dial(_) => RetryDecision::GiveUp,
            Self::Hook(_) | Self::NoSession { answered: false } => RetryDecision::Retry,
            Self::NoSession { answered: true } => RetryDecision::GiveUp,
            Self::Ended(ending) => of_end(&ending.error),
        }
    }

    /// The code that the connection was closed with: the peer's code if the peer closed it, or the
    /// code that this side sent because the peer violated the protocol or a limit. 1006 without a
    /// close frame. `None` for other failures.
    ///
    /// [`CloseInfo::by`] of [`Ended`](Self::Ended) tells which side has closed.
    pub fn close_status(&self) -> Option<StatusCode> {
        Error::close_status_in(self)
    }

    /// The `Retry-After` header of a refused response, of the server or of a proxy: a number of
    /// seconds or a date ([RFC 9110 §10.2.3]). A date that has passed is zero.
    ///
    /// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Dial(error) => error.retry_after(),
            Self::Hook(_) | Self::NoSession { .. } | Self::Ended(_) => None,
        }
    }
}

fn of_end(error: &Error) -> RetryDecision {
    match error {
        Error::Closed(close) => of_code(close.code),
        Error::Timeout(_) | Error::Io(_) => RetryDecision::Retry,
        // The peer would send the same again, or this side has caused the error.
        _ => RetryDecision::GiveUp,
    }
}

fn of_code(code: StatusCode) -> RetryDecision {
    match code.as_u16() {
        // Normal closure, or an error of this side, which it would repeat.
        1000 | 1002 | 1003 | 1007..=1010 => RetryDecision::GiveUp,
        // Registered at IANA: unauthorized and forbidden.
        3000 | 3003 => RetryDecision::GiveUp,
        _ => RetryDecision::Retry,
    }
}

impl fmt::Display for ConnectionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => write!(f, "no connection could be opened: {error}"),
            Self::Hook(error) => {
                write!(f, "a hook of the application failed: {}", Causes(&**error))
            }
            Self::NoSession { answered: true } => {
                write!(f, "the server has no sessions (`Protocol::Resumable`)")
            }
            Self::NoSession { answered: false } => {
                write!(f, "no answer to the request for a session within 10 s")
            }
            Self::Ended(ending) => write!(f, "{ending}"),
        }
    }
}

impl StdError for ConnectionFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Dial(error) => Some(&**error),
            Self::Hook(error) => Some(&**error),
            Self::NoSession { .. } => None,
            Self::Ended(ending) => Some(&ending.error),
        }
    }
}

impl From<DialError> for ConnectionFailure {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{CloseError, Deadline, ProtocolError};

    #[test]
    fn close_codes_decide_about_a_retry() {
        let check = |error: Error, expected| assert_eq!(of_end(&error), expected, "{error:?}");
        let closed = |code| Error::from(CloseError::new(StatusCode::from_u16(code).unwrap(), ""));
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3001, 3002, 3004, 3008, 3999] {
            check(closed(code), RetryDecision::Retry);
        }
        for code in [1004, 1015, 1016, 1999, 2000, 2999, 4000, 4999] {
            check(closed(code), RetryDecision::Retry);
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003] {
            check(closed(code), RetryDecision::GiveUp);
        }
        check(Error::Timeout(Deadline::Keepalive), RetryDecision::Retry);
        check(Error::Io(Arc::new(io::ErrorKind::PermissionDenied.into())), RetryDecision::Retry);
        check(ProtocolError::Masked.into(), RetryDecision::GiveUp);
        check(Error::CloseSent, RetryDecision::GiveUp);
    }

    #[test]
    fn the_close_code_is_found_in_the_causes() {
        let code = StatusCode::TRY_AGAIN_LATER;
        let failure = ConnectionFailure::Hook(Arc::new(Error::from(CloseError::new(code, ""))));
        assert_eq!(failure.close_status(), Some(code));
    }
}
