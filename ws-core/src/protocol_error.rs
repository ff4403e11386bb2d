//! Which rule of RFC 6455 or RFC 7692 did the peer violate, and which close code follows?

use crate::StatusCode;

/// A violation of RFC 6455 or RFC 7692 by the peer.
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
    #[error("a continuation frame without a message")]
    NothingToContinue,
    /// A new message while the one before is unfinished (§5.4).
    #[error("a new message before the end of the current one")]
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
    /// A compressed message that cannot be decompressed (RFC 7692 §7.2.2).
    #[error("the compressed data is corrupt")]
    Deflate,
    /// A data message on a connection whose application called `close_read`.
    #[error("a message was received, but none is expected")]
    UnexpectedMessage,
}

impl ProtocolError {
    /// The close code to send.
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
