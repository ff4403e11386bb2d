//! How do tungstenite's messages, frames, codes and errors convert to and from ours?

use std::io;

use tungstenite::Message as Theirs;
use tungstenite::error::{CapacityError, ProtocolError as TheirRule};
use tungstenite::protocol::CloseFrame as TheirClose;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::{Frame as TheirFrame, FrameHeader};

use crate::frame::{Frame, OpCode};
use crate::proto::CloseFrame;
use crate::{
    CloseError, Error, InvalidStatusCode, Message, MessageType, ProtocolError, SendError,
    StatusCode,
};

/// A tungstenite message that has no counterpart: a control frame or a raw frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMessage(pub Theirs);

impl_error!(NotAMessage {
    Self(_) => "only text and binary messages are messages";
});

impl From<Message> for Theirs {
    fn from(message: Message) -> Self {
        match message.into_parts() {
            // It is known to be UTF-8.
            (MessageType::Text, payload) => Self::Text(payload.try_into().unwrap_or_default()),
            (MessageType::Binary, payload) => Self::Binary(payload),
        }
    }
}

impl TryFrom<Theirs> for Message {
    type Error = NotAMessage;

    fn try_from(message: Theirs) -> Result<Self, NotAMessage> {
        match message {
            Theirs::Text(text) => Ok(Self::from_utf8_unchecked(MessageType::Text, text.into())),
            Theirs::Binary(payload) => Ok(Self::binary(payload)),
            other @ (Theirs::Ping(_) | Theirs::Pong(_) | Theirs::Close(_) | Theirs::Frame(_)) => {
                Err(NotAMessage(other))
            }
        }
    }
}

impl From<StatusCode> for CloseCode {
    fn from(code: StatusCode) -> Self {
        code.as_u16().into()
    }
}

impl TryFrom<CloseCode> for StatusCode {
    type Error = InvalidStatusCode;

    fn try_from(code: CloseCode) -> Result<Self, InvalidStatusCode> {
        Self::try_from(u16::from(code))
    }
}

/// `None` for a close frame without a code.
impl From<CloseError> for Option<TheirClose> {
    fn from(close: CloseError) -> Self {
        (close.code != StatusCode::NO_STATUS_RECEIVED)
            .then(|| TheirClose { code: close.code.into(), reason: close.reason.into() })
    }
}

impl TryFrom<TheirClose> for CloseError {
    type Error = InvalidStatusCode;

    fn try_from(close: TheirClose) -> Result<Self, InvalidStatusCode> {
        Ok(Self::new(close.code.try_into()?, close.reason.as_str()))
    }
}

/// Converts a close frame to send.
pub(super) fn close_frame(close: Option<TheirClose>) -> Result<CloseFrame, SendError> {
    let Some(close) = close else { return CloseFrame::new(StatusCode::NO_STATUS_RECEIVED, "") };
    let number = u16::from(close.code);
    let code =
        StatusCode::from_u16(number).ok_or(SendError::Frame(ProtocolError::CloseCode(number)))?;
    CloseFrame::new(code, &close.reason)
}

/// Converts a raw frame.
pub(super) fn frame_of(frame: TheirFrame) -> Frame {
    let FrameHeader { is_final, rsv1, rsv2, rsv3, ref opcode, mask } = *frame.header();
    let opcode = OpCode::from_u8((*opcode).into());
    let ours =
        Frame::new(opcode, frame.into_payload()).fin(is_final).rsv1(rsv1).rsv2(rsv2).rsv3(rsv3);
    match mask {
        Some(key) => ours.masked_with(key),
        None => ours,
    }
}

impl From<Frame> for TheirFrame {
    fn from(frame: Frame) -> Self {
        let header = *frame.header();
        let theirs = FrameHeader {
            is_final: header.fin,
            rsv1: header.rsv1,
            rsv2: header.rsv2,
            rsv3: header.rsv3,
            opcode: header.opcode.as_u8().into(),
            mask: header.mask.map(crate::frame::Mask::key),
        };
        Self::from_payload(theirs, frame.into_payload())
    }
}

/// The tungstenite error with the same meaning. Without one, an I/O error that wraps ours.
impl From<Error> for tungstenite::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed(close) if close.code == StatusCode::ABNORMAL_CLOSURE => {
                TheirRule::ResetWithoutClosingHandshake.into()
            }
            Error::Closed(_) => Self::ConnectionClosed,
            Error::CloseSent => TheirRule::SendAfterClosing.into(),
            Error::MessageTooBig { limit, .. } => {
                let size = limit.saturating_add(1);
                CapacityError::MessageTooLong { size, max_size: limit }.into()
            }
            Error::Protocol(rule) => match their_rule(rule) {
                Some(theirs) => theirs.into(),
                None if matches!(
                    rule,
                    ProtocolError::TextNotUtf8 | ProtocolError::CloseReasonNotUtf8
                ) =>
                {
                    Self::Utf8(rule.to_string())
                }
                None => Self::Io(Error::Protocol(rule).into()),
            },
            Error::SendError(SendError::Control(_)) => TheirRule::ControlFrameTooBig.into(),
            Error::SendError(SendError::NotUtf8) => Self::Utf8(error.to_string()),
            Error::Io(error) => Self::Io(io::Error::new(error.kind(), error)),
            error @ (Error::SendError(_)
            | Error::Codec(_)
            | Error::TooFast { .. }
            | Error::Timeout(_)) => Self::Io(error.into()),
        }
    }
}

fn their_rule(rule: ProtocolError) -> Option<TheirRule> {
    Some(match rule {
        ProtocolError::ReservedBits => TheirRule::NonZeroReservedBits,
        ProtocolError::ReservedOpcode(code) if code & 0x8 != 0 => {
            TheirRule::UnknownControlFrameType(code)
        }
        ProtocolError::ReservedOpcode(code) => TheirRule::UnknownDataFrameType(code),
        ProtocolError::Unmasked => TheirRule::UnmaskedFrameFromClient,
        ProtocolError::Masked => TheirRule::MaskedFrameFromServer,
        ProtocolError::FragmentedControl => TheirRule::FragmentedControlFrame,
        ProtocolError::ControlTooLong => TheirRule::ControlFrameTooBig,
        ProtocolError::NothingToContinue => TheirRule::UnexpectedContinueFrame,
        ProtocolError::CloseTooShort | ProtocolError::CloseCode(_) => {
            TheirRule::InvalidCloseSequence
        }
        ProtocolError::LengthNotMinimal
        | ProtocolError::LengthTooLarge
        | ProtocolError::MessageUnfinished
        | ProtocolError::CloseReasonNotUtf8
        | ProtocolError::TextNotUtf8
        | ProtocolError::Deflate
        | ProtocolError::UnexpectedMessage => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_convert_both_ways() {
        for message in [Message::from("käse"), Message::from(b"\xff"), Message::from("")] {
            let theirs = Theirs::from(message.clone());
            assert_eq!(theirs.is_text(), message.is_text());
            assert_eq!(Message::try_from(theirs), Ok(message));
        }
        for theirs in [
            Theirs::Ping("x".into()),
            Theirs::Pong("x".into()),
            Theirs::Close(None),
            Theirs::Frame(TheirFrame::ping("x")),
        ] {
            assert_eq!(Message::try_from(theirs.clone()), Err(NotAMessage(theirs)));
        }
    }

    #[test]
    fn codes_and_close_frames_convert_both_ways() {
        for number in 1000..5000 {
            let code = StatusCode::from_u16(number).unwrap();
            assert_eq!(StatusCode::try_from(CloseCode::from(code)), Ok(code));
            let close = CloseError::new(code, "reason");
            let theirs: Option<TheirClose> = close.clone().into();
            match theirs {
                Some(theirs) => assert_eq!(theirs.try_into(), Ok(close)),
                None => assert_eq!(code, StatusCode::NO_STATUS_RECEIVED),
            }
        }
        assert!(StatusCode::try_from(CloseCode::Bad(7)).is_err());
    }

    #[test]
    fn frames_convert_both_ways() {
        for bits in 0..16 {
            let frame = Frame::new(OpCode::from_u8(bits), "x").fin(bits & 1 == 0).rsv2(bits > 3);
            assert_eq!(frame_of(frame.clone().into()).encode(), frame.encode());
            let masked = frame.masked_with([1, 2, 3, 4]);
            assert_eq!(frame_of(masked.clone().into()), masked);
        }
    }

    #[test]
    fn errors_convert_to_tungstenite() {
        use tungstenite::Error as TheirError;

        let check = |error: Error, expected: fn(&TheirError) -> bool| {
            let theirs = error.clone().into();
            assert!(expected(&theirs), "{error:?}: {theirs:?}");
        };
        check(CloseError::new(StatusCode::NORMAL_CLOSURE, "").into(), |error| {
            matches!(error, TheirError::ConnectionClosed)
        });
        check(CloseError::new(StatusCode::ABNORMAL_CLOSURE, "").into(), |error| {
            matches!(error, TheirError::Protocol(TheirRule::ResetWithoutClosingHandshake))
        });
        check(Error::CloseSent, |error| {
            matches!(error, TheirError::Protocol(TheirRule::SendAfterClosing))
        });
        check(ProtocolError::Masked.into(), |error| {
            matches!(error, TheirError::Protocol(TheirRule::MaskedFrameFromServer))
        });
        check(ProtocolError::TextNotUtf8.into(), |error| matches!(error, TheirError::Utf8(_)));
        check(ProtocolError::Deflate.into(), |error| {
            matches!(error, TheirError::Io(error) if Error::close_status_in(error)
                == Some(StatusCode::INVALID_FRAME_PAYLOAD_DATA))
        });
    }
}
