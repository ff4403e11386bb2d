//! How did the connection end?

use std::fmt;

use crate::{CloseError, Error, StatusCode};

/// How a connection ended. Returned by `Conn::closed`.
///
/// Its text is one line, for a log: which side ended the connection, with which code, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloseInfo {
    /// The close frame that this side sent.
    pub sent: Option<CloseError>,
    /// The close frame that the peer sent.
    pub received: Option<CloseError>,
    /// Which side ended it.
    pub by: CloseInitiator,
    /// The error that reading returns from now on.
    pub error: Error,
}

/// Which side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseInitiator {
    /// This side: the application, a protocol error of the peer, or a timeout.
    Local,
    /// The peer, with a close frame.
    Peer,
    /// Neither: the transport ended.
    Transport,
}

#[cfg(feature = "conn")]
impl CloseInitiator {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Transport => "transport",
        }
    }
}

impl CloseInfo {
    /// The end of a connection that is not a `Conn` of this crate, without close frames.
    pub const fn new(by: CloseInitiator, error: Error) -> Self {
        Self { sent: None, received: None, by, error }
    }

    /// Whether the closing handshake was completed ([RFC 6455 §7.1.4]).
    ///
    /// [RFC 6455 §7.1.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.1.4
    pub const fn is_clean(&self) -> bool {
        self.sent.is_some() && self.received.is_some()
    }
}

impl fmt::Display for CloseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.error, self.by, &self.sent) {
            // Its text states that there was no close frame.
            (Error::Closed(close), _, _) if close.code == StatusCode::ABNORMAL_CLOSURE => {
                close.fmt(f)
            }
            (Error::Closed(close), CloseInitiator::Peer, _) => write!(f, "the peer {close}"),
            (Error::Closed(_), CloseInitiator::Local, Some(sent)) => write!(f, "this side {sent}"),
            (Error::Closed(close), _, _) => close.fmt(f),
            (error, CloseInitiator::Local, Some(sent)) => {
                write!(f, "this side closed with {}: {error}", sent.code)
            }
            (error, _, _) => write!(f, "the connection was lost: {error}"),
        }
    }
}

#[cfg(feature = "conn")]
impl CloseInfo {
    /// The close frame of the side that has ended the connection.
    pub(crate) const fn deciding(&self) -> Option<&CloseError> {
        match self.by {
            CloseInitiator::Peer => self.received.as_ref(),
            CloseInitiator::Local => self.sent.as_ref(),
            CloseInitiator::Transport => None,
        }
    }

    /// The code of that close frame; 1006 without one.
    pub(crate) fn code(&self) -> StatusCode {
        self.deciding().map_or(StatusCode::ABNORMAL_CLOSURE, |close| close.code)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::{Deadline, Limit, ProtocolError};

    #[test]
    fn its_text_names_the_side_that_closed() {
        use CloseInitiator::{Local, Peer, Transport};
        let close = |code, reason: &str| CloseError::new(code, reason);
        let check = |by, sent: Option<CloseError>, error: Error, text: &str| {
            let info = CloseInfo { sent, ..CloseInfo::new(by, error) };
            assert_eq!(info.to_string(), text);
        };
        let normal = close(StatusCode::NORMAL_CLOSURE, "");
        let kicked = close(StatusCode::POLICY_VIOLATION, "kicked");
        let cut = close(StatusCode::ABNORMAL_CLOSURE, "");
        check(Peer, None, normal.clone().into(), "the peer closed with 1000 normal closure");
        let text = "this side closed with 1008 policy violation: kicked";
        // The peer answers with a code of its own.
        check(Local, Some(kicked.clone()), normal.into(), text);
        let text = "the connection ended without a close frame (1006)";
        check(Transport, None, cut.clone().into(), text);
        check(Local, Some(kicked), cut.into(), text);
        let sent = close(StatusCode::MESSAGE_TOO_BIG, "too big");
        let text = "this side closed with 1009 message too big: \
                    the peer sent more than 10 bytes in a message (`Limits::message_size`)";
        check(Local, Some(sent), Error::message_too_big(10, Limit::MessageSize), text);
        let sent = close(StatusCode::PROTOCOL_ERROR, "");
        let text = format!(
            "this side closed with 1002 protocol error: the peer violated the WebSocket protocol: {}",
            ProtocolError::Masked
        );
        check(Local, Some(sent), ProtocolError::Masked.into(), &text);
        let sent = close(StatusCode::GOING_AWAY, "idle for too long");
        let text = "this side closed with 1001 going away: \
                    no message was received within `Config::idle_timeout`";
        check(Local, Some(sent), Error::Timeout(Deadline::Idle), text);
        let text = "the connection was lost: the peer took no bytes within `Config::write_timeout`";
        check(Local, None, Error::Timeout(Deadline::Write), text);
        let failed = Error::Io(Arc::new(io::ErrorKind::PermissionDenied.into()));
        let text = "the connection was lost: the transport failed: permission denied";
        check(Transport, None, failed, text);
    }
}
