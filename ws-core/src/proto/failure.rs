//! Why is the connection failed, and with which close code?

use super::CloseFrame;
use crate::deflate::Corrupt;
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

impl_error!(Failure {
    Self::Protocol(why) => "{why}";
    Self::TooBig { limit, setting } =>
        "a {} may have {limit} {}", bounded(*setting).0, bounded(*setting).1;
    Self::TooFast { limit, setting } => "{limit} {} may come in a second", counted(*setting);
});

impl_from!(Failure {
    ProtocolError => Self::Protocol,
});

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

/// The name and the unit of a limit, for the close reason, which does not name the setting.
const fn bounded(setting: Limit) -> (&'static str, &'static str) {
    match setting {
        Limit::MessageSize => ("message", "bytes"),
        Limit::FrameSize => ("frame", "bytes"),
        Limit::Fragments => ("message", "fragments"),
    }
}

const fn counted(setting: Rate) -> &'static str {
    match setting {
        Rate::Messages => "messages",
        Rate::Bytes => "bytes",
        Rate::ControlFrames => "control frames",
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

impl_from!(Failure { Corrupt => |_| Self::Protocol(ProtocolError::Deflate) });
