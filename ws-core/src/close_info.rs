//! How did the connection end?

#[cfg(feature = "conn")]
use crate::StatusCode;
use crate::{CloseError, Error};

/// How a connection ended. Returned by `Conn::closed`.
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
