//! May the peer send this header now? Every MUST of RFC 6455 §5 about headers.

use super::Role;
use crate::ProtocolError;
use crate::frame::{Header, MAX_CONTROL_PAYLOAD, OpCode};

/// What a header is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Which end we are.
    pub(super) role: Role,
    /// Is a message unfinished?
    pub(super) in_message: bool,
    /// Was compression agreed on?
    pub(super) compression: bool,
}

/// Says whether `header` may come in this situation, in the order of §5.2.
#[inline]
pub(super) fn judge(header: &Header, now: Situation) -> Result<(), ProtocolError> {
    let begins = matches!(header.opcode, OpCode::TEXT | OpCode::BINARY);
    // RFC 7692 §6: RSV1 stands on the first frame of a message, and on no other.
    let rsv1_means_compressed = now.compression && begins;
    if header.rsv2 || header.rsv3 || (header.rsv1 && !rsv1_means_compressed) {
        return Err(ProtocolError::ReservedBits);
    }
    match (now.role, header.mask) {
        (Role::Server, None) => return Err(ProtocolError::Unmasked),
        (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
        (Role::Server, Some(_)) | (Role::Client, None) => {}
    }
    match header.opcode {
        OpCode::TEXT | OpCode::BINARY if now.in_message => {
            return Err(ProtocolError::MessageUnfinished);
        }
        OpCode::CONTINUATION if !now.in_message => {
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
