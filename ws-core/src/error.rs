//! What can go wrong, and whose doing was it?

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::{CodecError, Deadline, Limit, Rate, SendError, StatusCode};

/// Why an operation on a connection did not succeed.
///
/// Errors of a connection are permanent: once reading has failed, it fails the
/// same way for ever. That is why the type is `Clone`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection is over, and this is how it ended: with the peer's close
    /// frame, or with [`ABNORMAL_CLOSURE`](StatusCode::ABNORMAL_CLOSURE) when the
    /// transport ended without one. News rather than a failure.
    Closed(CloseError),
    /// The peer broke a rule, and was told which by a close frame.
    Protocol(ProtocolError),
    /// The peer sent more than a limit allows, and was told so with
    /// [`MESSAGE_TOO_BIG`](StatusCode::MESSAGE_TOO_BIG).
    #[non_exhaustive]
    MessageTooBig {
        /// The limit that was crossed.
        limit: usize,
        /// Which setting it is.
        setting: Limit,
    },
    /// Something took longer than a setting allows, and the connection was given up.
    Timeout(Deadline),
    /// This side has closed the connection, so nothing more can be sent.
    CloseSent,
    /// The arguments describe a frame that may not be sent, and nothing was.
    SendError(SendError),
    /// A message did not hold a value as it should, or a value could not become a message.
    Codec(CodecError),
    /// The peer sent more in a second than a limit allows, and was told so with
    /// [`POLICY_VIOLATION`](StatusCode::POLICY_VIOLATION).
    #[non_exhaustive]
    TooFast {
        /// The limit that was crossed, per second.
        limit: usize,
        /// Which setting it is.
        setting: Rate,
    },
    /// The transport failed.
    Io(Arc<io::Error>),
}

/// Why a message was not queued by `Conn::try_write`.
#[cfg(feature = "conn")]
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryWriteError {
    /// More waits for the transport than the high mark of
    /// [`Config::write_buffer`](crate::Config::write_buffer): the peer is slow.
    #[error("more waits to be written than the high mark of `Config::write_buffer`")]
    Full,
    /// A message is being sent piece by piece.
    #[error("a message is being sent piece by piece")]
    Busy,
    /// The connection takes no message any more.
    #[error(transparent)]
    Conn(#[from] Error),
}

impl Error {
    /// The code that the connection was closed with.
    ///
    /// The peer's code, if the peer closed it; the code that the peer was sent, if
    /// a fault of the peer ended it; `None` if neither.
    pub const fn close_status(&self) -> Option<StatusCode> {
        match self {
            Self::Closed(close) => Some(close.code),
            Self::Protocol(error) => Some(error.status()),
            Self::MessageTooBig { .. } => Some(StatusCode::MESSAGE_TOO_BIG),
            Self::TooFast { .. } => Some(StatusCode::POLICY_VIOLATION),
            Self::Codec(error) => error.status(),
            Self::Timeout(_) | Self::CloseSent | Self::SendError(_) | Self::Io(_) => None,
        }
    }

    /// Did the connection end with one of these codes? See [`is_close`].
    pub fn is_close(&self, codes: &[StatusCode]) -> bool {
        is_close(self, codes)
    }

    /// Did the connection end with a code other than these? See [`is_unexpected_close`].
    pub fn is_unexpected_close(&self, expected: &[StatusCode]) -> bool {
        is_unexpected_close(self, expected)
    }
}

#[cfg(feature = "conn")]
impl Error {
    /// The error that stands for a transport that failed.
    ///
    /// A transport that is cut is how many peers leave: that is 1006, not a fault.
    pub(crate) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
        };
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
                let reason = error.get_ref().map(|_| causes(&error)).unwrap_or_default();
                Self::Closed(CloseError { code: StatusCode::ABNORMAL_CLOSURE, reason })
            }
            _ => Self::Io(Arc::new(error)),
        }
    }

    /// 1006: the transport ended without a close frame.
    pub(crate) const fn abnormal() -> Self {
        Self::Closed(CloseError { code: StatusCode::ABNORMAL_CLOSURE, reason: String::new() })
    }
}

/// An error with all that caused it, in one line.
#[cfg(feature = "conn")]
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the connection is closed"),
            Self::Protocol(_) => f.write_str("the peer broke the WebSocket protocol"),
            Self::MessageTooBig { limit, setting } => {
                write!(f, "the peer sent more than {limit} {}", setting.bounds())
            }
            Self::Timeout(deadline) => write!(f, "{deadline}"),
            Self::CloseSent => f.write_str("nothing can be sent after a close frame"),
            Self::SendError(why) => write!(f, "{why}"),
            Self::Codec(error) => write!(f, "{error}"),
            Self::TooFast { limit, setting } => {
                write!(f, "the peer sent more than {limit} {}", setting.bounds())
            }
            Self::Io(_) => f.write_str("the transport failed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Closed(close) => Some(close),
            Self::Protocol(error) => Some(error),
            Self::Io(error) => Some(&**error),
            Self::Codec(error) => error.source(),
            Self::MessageTooBig { .. }
            | Self::TooFast { .. }
            | Self::Timeout(_)
            | Self::CloseSent
            | Self::SendError(_) => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<SendError> for Error {
    fn from(why: SendError) -> Self {
        Self::SendError(why)
    }
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<CloseError> for Error {
    fn from(close: CloseError) -> Self {
        Self::Closed(close)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Closed(_) => io::ErrorKind::ConnectionAborted,
            Error::Protocol(_)
            | Error::MessageTooBig { .. }
            | Error::TooFast { .. }
            | Error::Codec(CodecError::Type(_) | CodecError::Decode(_)) => {
                io::ErrorKind::InvalidData
            }
            Error::Codec(CodecError::Encode(_)) => io::ErrorKind::InvalidInput,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::CloseSent => io::ErrorKind::BrokenPipe,
            Error::SendError(_) => io::ErrorKind::InvalidInput,
            Error::Io(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}

/// What a close frame says: a code, and a reason in at most 123 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseError {
    /// The code; [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) for a frame without one.
    pub code: StatusCode,
    /// The reason; often empty. It is for logs, not for people ([RFC 6455 §5.5.1]). With
    /// [`ABNORMAL_CLOSURE`](StatusCode::ABNORMAL_CLOSURE), what the transport said, if it
    /// said more than that it ended.
    ///
    /// [RFC 6455 §5.5.1]: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
    pub reason: String,
}

impl CloseError {
    /// A code with its reason.
    pub fn new(code: StatusCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "closed with {}", self.code)
        } else {
            write!(f, "closed with {}: {}", self.code, self.reason)
        }
    }
}

impl StdError for CloseError {}

/// A rule of RFC 6455 or RFC 7692 that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 without an extension that gives it a meaning here (§5.2).
    #[error("a reserved bit is set that no extension gives a meaning")]
    ReservedBits,
    /// An opcode from 3 to 7 or from 11 to 15 (§5.2).
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A length in more bytes than it needs (§5.2).
    #[error("the payload length is not in its shortest form")]
    LengthNotMinimal,
    /// A length of 2⁶³ or more (§5.2).
    #[error("the payload length has its highest bit set")]
    LengthTooLarge,
    /// A client's frame that is not masked (§5.1).
    #[error("a client must mask its frames")]
    Unmasked,
    /// A server's frame that is masked (§5.1).
    #[error("a server must not mask its frames")]
    Masked,
    /// A control frame in fragments (§5.5).
    #[error("a control frame must not be fragmented")]
    FragmentedControl,
    /// A control frame with more than 125 bytes (§5.5).
    #[error("a control frame has at most 125 bytes")]
    ControlTooLong,
    /// A continuation while no message is unfinished (§5.4).
    #[error("there is no message to continue")]
    NothingToContinue,
    /// A new message while the one before is unfinished (§5.4).
    #[error("the message before is not finished")]
    MessageUnfinished,
    /// A close frame with one byte (§5.5.1).
    #[error("a close frame has either no payload or at least two bytes")]
    CloseTooShort,
    /// A close code that must not be sent (§7.4).
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    #[error("the close reason is not UTF-8")]
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (§8.1).
    #[error("the text is not UTF-8")]
    TextNotUtf8,
    /// A compressed message that does not inflate (RFC 7692 §7.2.2).
    #[error("the compressed data is corrupt")]
    Deflate,
    /// A data message on a connection whose application said, by
    /// `close_read`, that it expects none.
    #[error("a message arrived where none is expected")]
    UnexpectedMessage,
}

impl ProtocolError {
    /// The code that the peer is sent for it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::LengthNotMinimal
            | Self::LengthTooLarge
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::NothingToContinue
            | Self::MessageUnfinished
            | Self::CloseTooShort
            | Self::CloseCode(_) => StatusCode::PROTOCOL_ERROR,
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 | Self::Deflate => {
                StatusCode::INVALID_FRAME_PAYLOAD_DATA
            }
            Self::UnexpectedMessage => StatusCode::POLICY_VIOLATION,
        }
    }
}

/// Looks through an error and its sources for how a connection ended, and says
/// whether that was with one of these codes.
pub fn is_close(error: &(dyn StdError + 'static), codes: &[StatusCode]) -> bool {
    close_status(error).is_some_and(|code| codes.contains(&code))
}

/// Looks through an error and its sources for how a connection ended, and says
/// whether that was with a code other than these.
///
/// `false` for errors that have nothing to do with the end of a connection.
pub fn is_unexpected_close(error: &(dyn StdError + 'static), expected: &[StatusCode]) -> bool {
    close_status(error).is_some_and(|code| !expected.contains(&code))
}

/// Looks through an error and its sources for the code that a connection ended with.
pub fn close_status(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.close_status();
        }
        if let Some(close) = error.downcast_ref::<CloseError>() {
            return Some(close.code);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the game ended")]
    struct Wrapped(#[source] Error);

    fn closed(code: StatusCode) -> Error {
        CloseError::new(code, "").into()
    }

    #[test]
    fn codes_are_seen_through_wrapped_errors() {
        let away = Wrapped(closed(StatusCode::GOING_AWAY));
        assert!(is_close(&away, &[StatusCode::NORMAL_CLOSURE, StatusCode::GOING_AWAY]));
        assert!(!is_unexpected_close(&away, &[StatusCode::GOING_AWAY]));
        assert!(is_unexpected_close(&away, &[StatusCode::NORMAL_CLOSURE]));
        let through_io = io::Error::from(closed(StatusCode::GOING_AWAY));
        assert_eq!(close_status(&through_io), Some(StatusCode::GOING_AWAY));
    }

    #[test]
    fn errors_that_are_no_close_are_not_unexpected_closes() {
        let other = io::Error::other("disk full");
        assert!(!is_close(&other, &[StatusCode::NORMAL_CLOSURE]));
        assert!(!is_unexpected_close(&other, &[]));
        assert!(!Error::CloseSent.is_unexpected_close(&[]));
    }

    #[test]
    fn a_cut_transport_is_1006_and_a_failing_one_is_io() {
        let cut = Error::from_io(io::ErrorKind::ConnectionReset.into());
        assert_eq!(cut.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
        assert!(matches!(cut, Error::Closed(CloseError { reason, .. }) if reason.is_empty()));
        let told = io::Error::new(io::ErrorKind::ConnectionReset, Wrapped(Error::CloseSent));
        let Error::Closed(told) = Error::from_io(told) else { panic!("not closed") };
        assert_eq!(told.reason, "the game ended: nothing can be sent after a close frame");
        let failed = Error::from_io(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(failed, Error::Io(_)));
    }

    #[test]
    fn a_limit_names_itself_and_its_setting() {
        let error = Error::MessageTooBig { limit: 1024, setting: Limit::MessageSize };
        let text = error.to_string();
        assert!(text.contains("1024") && text.contains("Limits::message_size"), "{text}");
    }
}
