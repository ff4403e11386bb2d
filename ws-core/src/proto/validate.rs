//! Is this frame header valid at this point?
//!
//! Every MUST of RFC 6455 §5 about headers.

use super::Role;
use crate::ProtocolError;
use crate::frame::{Header, MAX_CONTROL_PAYLOAD, OpCode};

/// The state that a header is validated against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The receiving end.
    pub(super) role: Role,
    /// A message is unfinished.
    pub(super) in_message: bool,
    /// Compression was negotiated.
    pub(super) compression: bool,
}

/// Validates `header`, in the order of §5.2.
#[inline]
pub(super) fn validate(header: &Header, context: Context) -> Result<(), ProtocolError> {
    let begins = matches!(header.opcode, OpCode::TEXT | OpCode::BINARY);
    // RFC 7692 §6: RSV1 is set on the first frame of a message only.
    let rsv1_means_compressed = context.compression && begins;
    if header.rsv2 || header.rsv3 || (header.rsv1 && !rsv1_means_compressed) {
        return Err(ProtocolError::ReservedBits);
    }
    match (context.role, header.mask) {
        (Role::Server, None) => return Err(ProtocolError::Unmasked),
        (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
        (Role::Server, Some(_)) | (Role::Client, None) => {}
    }
    match header.opcode {
        OpCode::TEXT | OpCode::BINARY if context.in_message => {
            return Err(ProtocolError::MessageUnfinished);
        }
        OpCode::CONTINUATION if !context.in_message => {
            return Err(ProtocolError::NothingToContinue);
        }
        OpCode::CONTINUATION | OpCode::TEXT | OpCode::BINARY => {}
        OpCode::CLOSE | OpCode::PING | OpCode::PONG => {
            if !header.fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if header.len > MAX_CONTROL_PAYLOAD as u64 {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        reserved => return Err(ProtocolError::ReservedOpcode(reserved.as_u8())),
    }
    if header.len > i64::MAX as u64 {
        return Err(ProtocolError::LengthTooLarge);
    }
    if !header.minimal {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(())
}
