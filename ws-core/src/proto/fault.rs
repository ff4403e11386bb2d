//! What did the peer do wrong, and which code is it told?

use std::fmt;

use super::CloseFrame;
use crate::{Error, Limit, ProtocolError, Rate, StatusCode};

/// What the peer did wrong, which ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It broke a rule.
    Protocol(ProtocolError),
    /// It crossed a limit.
    TooBig {
        /// The limit.
        limit: usize,
        /// Which one it is.
        setting: Limit,
    },
    /// It sent too much in a second.
    TooFast {
        /// The limit, per second.
        limit: usize,
        /// Which one it is.
        setting: Rate,
    },
}

impl Failure {
    /// The close frame that the peer is sent: the one map from faults to the wire.
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
            // The peer is told the limit, but not how the setting is called here.
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
    fn from(fault: Failure) -> Self {
        match fault {
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
