//! Why is the connection failed, and with which close code?

use std::fmt;

use super::CloseFrame;
use crate::{Error, Limit, ProtocolError, Rate, StatusCode};

/// Why the connection is failed (RFC 6455 §7.1.7): a fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer violated the protocol.
    Protocol(ProtocolError),
    /// The peer exceeded a size limit.
    TooBig {
        /// The limit.
        limit: usize,
        /// The setting that bounds it.
        setting: Limit,
    },
    /// The peer exceeded a rate limit.
    TooFast {
        /// The limit, per second.
        limit: usize,
        /// The setting that bounds it.
        setting: Rate,
    },
}

impl Failure {
    /// The close frame to send. This is the only mapping from failures to close codes.
    pub fn close_frame(self) -> CloseFrame {
        let code = match self {
            Self::Protocol(error) => error.status(),
            Self::TooBig { .. } => StatusCode::MESSAGE_TOO_BIG,
            Self::TooFast { .. } => StatusCode::POLICY_VIOLATION,
        };
        CloseFrame::of(code, &self.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(f, "{error}"),
            // The text goes to the peer, so it names the limit and not the setting.
            Self::TooBig { limit, setting: Limit::MessageSize } => {
                write!(f, "a message may have {limit} bytes")
            }
            Self::TooBig { limit, setting: Limit::FrameSize } => {
                write!(f, "a frame may have {limit} bytes")
            }
            Self::TooBig { limit, setting: Limit::Fragments } => {
                write!(f, "a message may have {limit} fragments")
            }
            Self::TooFast { limit, setting: Rate::Messages } => {
                write!(f, "{limit} messages may come in a second")
            }
            Self::TooFast { limit, setting: Rate::Bytes } => {
                write!(f, "{limit} bytes may come in a second")
            }
            Self::TooFast { limit, setting: Rate::ControlFrames } => {
                write!(f, "{limit} control frames may come in a second")
            }
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Protocol(error) => Self::Protocol(error),
            Failure::TooBig { limit, setting } => Self::MessageTooBig { limit, setting },
            Failure::TooFast { limit, setting } => Self::TooFast { limit, setting },
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}
