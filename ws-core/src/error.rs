//! Why does an operation on a connection fail, and who caused it?

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::codec::CodecError;
use crate::{Deadline, Escaped, Limit, ProtocolError, Rate, SendError, StatusCode};

/// Why an operation on a connection failed.
///
/// An error of the connection is permanent: once a read has failed, all later reads return the
/// same error. Therefore the type is `Clone`.
///
/// The text is one line, and includes the text of the cause. The variant holds the cause.
/// `source()` returns `None`, so that the cause is not printed twice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection has ended: with the peer's close frame, or with
    /// [`ABNORMAL_CLOSURE`](StatusCode::ABNORMAL_CLOSURE) when the transport ended without one.
    /// Most connections end with this error: see [`StatusCode::is_normal`].
    ///
    /// It does not tell which side closed first, because a peer answers a close frame with the
    /// same code. `Conn::closed` and `Conn::close_info` do: see [`CloseInfo::by`].
    ///
    /// [`CloseInfo::by`]: crate::CloseInfo::by
    Closed(CloseError),
    /// The peer violated the protocol. This side has sent a close frame with the reason.
    Protocol(ProtocolError),
    /// The peer exceeded a size limit. This side has sent
    /// [`MESSAGE_TOO_BIG`](StatusCode::MESSAGE_TOO_BIG).
    #[non_exhaustive]
    MessageTooBig {
        /// The limit that was exceeded.
        limit: usize,
        /// The setting that bounds it.
        setting: Limit,
    },
    /// A timeout expired, and the connection has ended.
    Timeout(Deadline),
    /// This side has sent a close frame, so no more messages can be sent.
    CloseSent,
    /// The arguments describe a frame that must not be sent. Nothing was sent.
    SendError(SendError),
    /// A message could not be decoded to a value, or a value could not be encoded.
    Codec(CodecError),
    /// The peer exceeded a rate limit. This side has sent
    /// [`POLICY_VIOLATION`](StatusCode::POLICY_VIOLATION).
    #[non_exhaustive]
    TooFast {
        /// The limit that was exceeded, per second.
        limit: usize,
        /// The setting that bounds it.
        setting: Rate,
    },
    /// The transport failed.
    Io(Arc<io::Error>),
}

/// Why `Conn::try_write` did not queue a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TryWriteError {
    /// The send buffer is above its high watermark, see
    /// [`Config::write_buffer`](crate::Config::write_buffer): the peer is slow.
    Full,
    /// A message is being sent in pieces or in raw frames.
    Busy,
    /// The connection has ended or is closing.
    Conn(Error),
}

impl_error!(TryWriteError {
    Self::Full => "the send buffer is above the high watermark of `Config::write_buffer`";
    Self::Busy => "a message is being sent in pieces";
    Self::Conn(why) => "{why}";
});

impl_from!(TryWriteError { Error => Self::Conn });

impl Error {
    /// The error of a message that is longer than a limit, for a connection that is not a `Conn` of
    /// this crate.
    pub const fn message_too_big(limit: usize, setting: Limit) -> Self {
        Self::MessageTooBig { limit, setting }
    }

    /// The code that the connection was closed with: the peer's code if the peer closed it, or
    /// the code that this side sent because the peer violated the protocol or a limit. `None` for
    /// other errors.
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

    /// Whether the connection ended with one of these codes.
    pub fn is_close(&self, codes: &[StatusCode]) -> bool {
        self.close_status().is_some_and(|code| codes.contains(&code))
    }

    /// Whether the connection ended with a code other than these. `false` for errors that have no
    /// [`close_status`](Self::close_status).
    pub fn is_unexpected_close(&self, expected: &[StatusCode]) -> bool {
        self.close_status().is_some_and(|code| !expected.contains(&code))
    }

    /// Whether the connection ended normally: with a close frame of the peer whose code
    /// [is normal](StatusCode::is_normal).
    pub const fn is_normal_close(&self) -> bool {
        matches!(self, Self::Closed(close) if close.code.is_normal())
    }

    /// Searches an error and its sources for an `Error` or a [`CloseError`], and returns its
    /// [`close_status`](Self::close_status). Use it for errors that wrap one of these, such as
    /// those of `anyhow` or [`io::Error`].
    pub fn close_status_in(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Self>() {
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
}

#[cfg(feature = "conn")]
impl Error {
    /// The error for a failed transport.
    ///
    /// Many peers end the transport without a close frame. That is 1006 rather than a failure.
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

/// The texts of an error and its sources in one line.
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
            Self::Closed(close) => close.fmt(f),
            Self::Protocol(error) => {
                write!(f, "the peer violated the WebSocket protocol: {error}")
            }
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
            Self::Io(error) => {
                let error = error.to_string();
                write!(f, "the transport failed: {}", Escaped::new(&error))
            }
        }
    }
}

/// The text includes that of the cause, so there is no `source`.
impl StdError for Error {}

impl_from!(Error {
    ProtocolError => Self::Protocol,
    SendError => Self::SendError,
    CodecError => Self::Codec,
    CloseError => Self::Closed,
});

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
            Error::Codec(CodecError::Encode(_)) | Error::SendError(_) => {
                io::ErrorKind::InvalidInput
            }
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::CloseSent => io::ErrorKind::BrokenPipe,
            Error::Io(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}

/// The content of a close frame: a code, and a reason of at most 123 bytes. Its text has the
/// reason [escaped](Escaped).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseError {
    /// The code. [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) if the frame had none.
    pub code: StatusCode,
    /// The reason, often empty. It is for logs, not for users ([RFC 6455 §5.5.1]). With
    /// [`ABNORMAL_CLOSURE`](StatusCode::ABNORMAL_CLOSURE), the error of the transport, if it gave
    /// a reason.
    ///
    /// [RFC 6455 §5.5.1]: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
    pub reason: String,
}

impl_error!(CloseError {
    Self { code, reason } => "{}{}{}", how_closed(*code), separator(reason), Escaped::new(reason);
});

fn how_closed(code: StatusCode) -> Cow<'static, str> {
    match code {
        StatusCode::ABNORMAL_CLOSURE => "the connection ended without a close frame (1006)".into(),
        code => format!("closed with {code}").into(),
    }
}

const fn separator(reason: &str) -> &'static str {
    if reason.is_empty() { "" } else { ": " }
}

impl CloseError {
    /// A code with its reason.
    pub fn new(code: StatusCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapped(Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the game ended")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn closed(code: StatusCode) -> Error {
        CloseError::new(code, "").into()
    }

    #[test]
    fn close_codes_are_found_in_wrapped_errors() {
        let away = Wrapped(closed(StatusCode::GOING_AWAY));
        assert_eq!(Error::close_status_in(&away), Some(StatusCode::GOING_AWAY));
        let Wrapped(away) = away;
        assert!(away.is_close(&[StatusCode::NORMAL_CLOSURE, StatusCode::GOING_AWAY]));
        assert!(!away.is_unexpected_close(&[StatusCode::GOING_AWAY]));
        assert!(away.is_unexpected_close(&[StatusCode::NORMAL_CLOSURE]));
        let close = io::Error::other(CloseError::new(StatusCode::GOING_AWAY, ""));
        assert_eq!(Error::close_status_in(&close), Some(StatusCode::GOING_AWAY));
        let through_io = io::Error::from(closed(StatusCode::GOING_AWAY));
        assert_eq!(Error::close_status_in(&through_io), Some(StatusCode::GOING_AWAY));
    }

    #[test]
    fn other_errors_are_not_unexpected_closes() {
        let other = io::Error::other("disk full");
        assert_eq!(Error::close_status_in(&other), None);
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
        let check = |error: Error, code, setting: &str| {
            let text = error.to_string();
            assert!(
                text.contains("1024") && text.contains(&format!("Limits::{setting}")),
                "{text}"
            );
            assert_eq!(error.close_status(), Some(code));
        };
        for (setting, name) in [
            (Limit::MessageSize, "message_size"),
            (Limit::FrameSize, "frame_size"),
            (Limit::Fragments, "fragments"),
        ] {
            let error = Error::MessageTooBig { limit: 1024, setting };
            check(error, StatusCode::MESSAGE_TOO_BIG, name);
        }
        for (setting, name) in [
            (Rate::Messages, "messages_per_second"),
            (Rate::Bytes, "bytes_per_second"),
            (Rate::ControlFrames, "control_frames_per_second"),
        ] {
            check(Error::TooFast { limit: 1024, setting }, StatusCode::POLICY_VIOLATION, name);
        }
    }

    #[test]
    fn an_io_error_has_the_kind_of_its_cause() {
        let failed = Error::from_io(io::ErrorKind::PermissionDenied.into());
        assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::PermissionDenied);
    }
}
