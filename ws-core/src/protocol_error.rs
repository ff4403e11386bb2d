//! Which rule of RFC 6455 or RFC 7692 did the peer violate, and which close code follows?

use crate::StatusCode;

/// A violation of RFC 6455 or RFC 7692 by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 without an extension that gives it a meaning here (§5.2).
    ReservedBits,
    /// An opcode from 3 to 7 or from 11 to 15 (§5.2).
    ReservedOpcode(u8),
    /// A length in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A length of 2⁶³ or more (§5.2).
    LengthTooLarge,
    /// A client's frame that is not masked (§5.1).
    Unmasked,
    /// A server's frame that is masked (§5.1).
    Masked,
    /// A control frame in fragments (§5.5).
    FragmentedControl,
    /// A control frame with more than 125 bytes (§5.5).
    ControlTooLong,
    /// A continuation while no message is unfinished (§5.4).
    NothingToContinue,
    /// A new message while the one before is unfinished (§5.4).
    MessageUnfinished,
    /// A close frame with one byte (§5.5.1).
    CloseTooShort,
    /// A close code that must not be sent (§7.4).
    CloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (§8.1).
    TextNotUtf8,
    /// A compressed message that cannot be decompressed (RFC 7692 §7.2.2).
    Deflate,
    /// A data message on a connection whose application called `close_read`.
    UnexpectedMessage,
}

impl_error!(ProtocolError {
    Self::ReservedBits => "a reserved bit is set that no extension gives a meaning";
    Self::ReservedOpcode(why) => "opcode {why:#x} is reserved";
    Self::LengthNotMinimal => "the payload length is not in its shortest form";
    Self::LengthTooLarge => "the payload length has its highest bit set";
    Self::Unmasked => "a client must mask its frames";
    Self::Masked => "a server must not mask its frames";
    Self::FragmentedControl => "a control frame must not be fragmented";
    Self::ControlTooLong => "a control frame has at most 125 bytes";
    Self::NothingToContinue => "a continuation frame without a message";
    Self::MessageUnfinished => "a new message before the end of the current one";
    Self::CloseTooShort => "a close frame has either no payload or at least two bytes";
    Self::CloseCode(why) => "close code {why} must not be sent";
    Self::CloseReasonNotUtf8 => "the close reason is not UTF-8";
    Self::TextNotUtf8 => "the text is not UTF-8";
    Self::Deflate => "the compressed data is corrupt";
    Self::UnexpectedMessage => "a message was received, but none is expected";
});

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
