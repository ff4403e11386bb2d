//! How is the payload of a close frame encoded and decoded?

use crate::frame::MAX_CONTROL_PAYLOAD;
use crate::{CloseError, ProtocolError, SendError, StatusCode};

/// The payload of a close frame (RFC 6455 §5.5.1): empty, or a code and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame(CloseError);

/// The longest reason in bytes. Two bytes of the payload are the code.
const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

impl CloseFrame {
    /// A close frame to send.
    ///
    /// [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) without a reason gives an empty
    /// payload.
    ///
    /// # Errors
    ///
    /// When the code must not be sent, or the reason is longer than 123 bytes.
    pub fn new(code: StatusCode, reason: &str) -> Result<Self, SendError> {
        let empty = code == StatusCode::NO_STATUS_RECEIVED && reason.is_empty();
        if !code.is_sendable() && !empty {
            return Err(SendError::Code(code));
        }
        if reason.len() > MAX_REASON {
            return Err(SendError::Reason(reason.len()));
        }
        Ok(Self(CloseError::new(code, reason)))
    }

    /// A close frame with a generated reason, truncated at a character boundary.
    pub(crate) fn of(code: StatusCode, reason: &str) -> Self {
        let cut = reason.floor_char_boundary(MAX_REASON);
        Self(CloseError::new(code, reason.get(..cut).unwrap_or_default()))
    }

    /// Decodes the payload of a received close frame.
    ///
    /// # Errors
    ///
    /// When the payload is one byte long, the code must not be sent, or the reason is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return match payload {
                [] => Ok(Self(CloseError::new(StatusCode::NO_STATUS_RECEIVED, ""))),
                _ => Err(ProtocolError::CloseTooShort),
            };
        };
        let number = u16::from_be_bytes(*code);
        let code = StatusCode::from_u16(number)
            .filter(|code| code.is_sendable())
            .ok_or(ProtocolError::CloseCode(number))?;
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
        Ok(Self(CloseError::new(code, reason)))
    }

    /// Encodes the payload.
    pub fn encode(&self) -> Vec<u8> {
        if self.0.code == StatusCode::NO_STATUS_RECEIVED {
            return Vec::new();
        }
        let mut payload = self.0.code.as_u16().to_be_bytes().to_vec();
        payload.extend_from_slice(self.0.reason.as_bytes());
        payload
    }

    /// The code and the reason.
    pub const fn as_error(&self) -> &CloseError {
        &self.0
    }

    /// The code and the reason by value.
    pub fn into_error(self) -> CloseError {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_close_frames_decode_to_the_same() {
        for (code, reason) in [(1000, ""), (1001, "leaving"), (4999, "привет"), (1005, "")] {
            let code = StatusCode::from_u16(code).unwrap();
            let frame = CloseFrame::new(code, reason).unwrap();
            assert_eq!(CloseFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn unsendable_close_frames_are_rejected() {
        let long = "x".repeat(124);
        assert_eq!(CloseFrame::new(StatusCode::NORMAL_CLOSURE, &long), Err(SendError::Reason(124)));
        assert!(CloseFrame::new(StatusCode::NORMAL_CLOSURE, &long[..123]).is_ok());
        for code in [StatusCode::ABNORMAL_CLOSURE, StatusCode::TLS_HANDSHAKE] {
            assert_eq!(CloseFrame::new(code, ""), Err(SendError::Code(code)));
        }
        let empty = StatusCode::NO_STATUS_RECEIVED;
        assert_eq!(CloseFrame::new(empty, "why"), Err(SendError::Code(empty)));
    }

    #[test]
    fn generated_reasons_are_truncated_at_a_character() {
        let frame = CloseFrame::of(StatusCode::INTERNAL_ERROR, &"é".repeat(100));
        assert_eq!(frame.as_error().reason, "é".repeat(61));
    }
}
