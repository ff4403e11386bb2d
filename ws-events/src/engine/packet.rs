//! How is a packet of Engine.IO v4 encoded and decoded?
//!
//! A packet is a text whose first character is the type, or a binary message. Where only text is
//! possible, `b` and base64 stand for a binary message.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ws_core::Message;

/// Accepts any padding and unused bits, as the official implementation does.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A packet of Engine.IO v4.
///
/// The packets that [`from_text`](Self::from_text) and [`from_message`](Self::from_message) return
/// share no memory with the input: a short message does not keep a long payload in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnginePacket {
    /// `0`: the handshake of the server, as JSON.
    Open(String),
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat of the server, or with `probe` a test of a WebSocket by the client.
    Ping(String),
    /// `3`: the answer to a ping, with the same data.
    Pong(String),
    /// `4` or `b`: a message of the application.
    Message(Message),
    /// `5`: the client changes to the WebSocket that it has tested.
    Upgrade,
    /// `6`: nothing. It ends a GET.
    Noop,
}

impl EnginePacket {
    /// Decodes a packet from text.
    ///
    /// # Errors
    ///
    /// [`EnginePacketError`] if the text is not a packet.
    pub fn from_text(text: &str) -> Result<Self, EnginePacketError> {
        let kind = text.chars().next().ok_or(EnginePacketError::Empty)?;
        let data = text.get(kind.len_utf8()..).unwrap_or_default();
        let without_data = |packet| match data {
            "" => Ok(packet),
            _ => Err(EnginePacketError::UnexpectedData(kind)),
        };
        match kind {
            '0' => Ok(Self::Open(data.to_owned())),
            '1' => without_data(Self::Close),
            '2' => Ok(Self::Ping(data.to_owned())),
            '3' => Ok(Self::Pong(data.to_owned())),
            '4' => Ok(Self::Message(Message::text(data))),
            '5' => without_data(Self::Upgrade),
            '6' => without_data(Self::Noop),
            'b' => match BASE64.decode(data) {
                Ok(bytes) => Ok(Self::Message(Message::binary(bytes))),
                Err(_) => Err(EnginePacketError::Base64),
            },
            kind => Err(EnginePacketError::UnknownType(kind)),
        }
    }

    /// Decodes a packet from a message of a WebSocket: text as [`from_text`](Self::from_text),
    /// binary as it is.
    ///
    /// # Errors
    ///
    /// [`EnginePacketError`] if the message is not a packet.
    pub fn from_message(message: Message) -> Result<Self, EnginePacketError> {
        match message.as_text() {
            Some(text) => Self::from_text(text),
            None => Ok(Self::Message(message)),
        }
    }

    /// Encodes the packet as text, for a payload. A binary message becomes base64.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Message(message) => match message.as_text() {
                Some(data) => text.extend(["4", data]),
                None => push_base64(&mut text, message.as_bytes()),
            },
            Self::Open(data) => text.extend(["0", data]),
            Self::Close => text.push('1'),
            Self::Ping(data) => text.extend(["2", data]),
            Self::Pong(data) => text.extend(["3", data]),
            Self::Upgrade => text.push('5'),
            Self::Noop => text.push('6'),
        }
        text
    }

    /// Encodes the packet as a message of a WebSocket. A binary message stays as it is.
    pub fn to_message(&self) -> Message {
        match self {
            Self::Message(message) if message.is_binary() => message.clone(),
            packet => Message::text(packet.to_text()),
        }
    }
}

/// Appends a binary message, as it is in a text.
pub(super) fn push_base64(text: &mut String, bytes: &[u8]) {
    text.push('b');
    BASE64.encode_string(bytes, text);
}

/// Why a text is not a packet, or why a packet is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnginePacketError {
    /// There is no type.
    Empty,
    /// Engine.IO v4 does not define this type.
    UnknownType(char),
    /// A packet of this type has no data.
    UnexpectedData(char),
    /// The data of a binary message is not base64.
    Base64,
    /// The payload is not UTF-8.
    Utf8,
    /// The client may not send this packet here.
    Unexpected,
}

impl fmt::Display for EnginePacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a packet without a type"),
            Self::UnknownType(kind) => write!(f, "a packet of the unknown type {kind:?}"),
            Self::UnexpectedData(kind) => write!(f, "a packet of the type {kind:?} with data"),
            Self::Base64 => f.write_str("a binary packet that is not base64"),
            Self::Utf8 => f.write_str("a payload that is not UTF-8"),
            Self::Unexpected => f.write_str("a packet that the client may not send here"),
        }
    }
}

impl std::error::Error for EnginePacketError {}

#[cfg(test)]
mod tests {
    use super::EnginePacket::{Close, Noop, Open, Ping, Pong, Upgrade};
    use super::*;

    fn text(text: &str) -> EnginePacket {
        EnginePacket::Message(Message::text(text))
    }

    fn binary(bytes: &[u8]) -> EnginePacket {
        EnginePacket::Message(Message::binary(bytes.to_vec()))
    }

    #[test]
    fn each_packet_has_one_text() {
        let check = |text: &str, packet: &EnginePacket| {
            assert_eq!(EnginePacket::from_text(text).as_ref(), Ok(packet), "{text}");
            assert_eq!(packet.to_text(), text);
            let again = EnginePacket::from_message(packet.to_message());
            assert_eq!(again.as_ref(), Ok(packet), "{text}");
        };
        check("0{}", &Open("{}".to_owned()));
        check("1", &Close);
        check("2", &Ping(String::new()));
        check("2probe", &Ping("probe".to_owned()));
        check("3", &Pong(String::new()));
        check("3probe", &Pong("probe".to_owned()));
        check("4", &text(""));
        check("4hello", &text("hello"));
        check("4€\u{1e}", &text("€\u{1e}"));
        check("5", &Upgrade);
        check("6", &Noop);
        check("b", &binary(&[]));
        check("bAQIDBA==", &binary(&[1, 2, 3, 4]));
        check("b+/8=", &binary(&[0xfb, 0xff]));
    }

    #[test]
    fn base64_without_padding_is_decoded() {
        let check = |text: &str, bytes: &[u8]| {
            assert_eq!(EnginePacket::from_text(text), Ok(binary(bytes)), "{text}");
        };
        check("bAQIDBA", &[1, 2, 3, 4]);
        check("bAQIDBB==", &[1, 2, 3, 4]);
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str, error: EnginePacketError| {
            assert_eq!(EnginePacket::from_text(text), Err(error), "{text}");
        };
        check("", EnginePacketError::Empty);
        check("abc", EnginePacketError::UnknownType('a'));
        check("7", EnginePacketError::UnknownType('7'));
        check("€", EnginePacketError::UnknownType('€'));
        check("\u{1e}4", EnginePacketError::UnknownType('\u{1e}'));
        check("1x", EnginePacketError::UnexpectedData('1'));
        check("5x", EnginePacketError::UnexpectedData('5'));
        check("6x", EnginePacketError::UnexpectedData('6'));
        check("bA", EnginePacketError::Base64);
        check("bA===", EnginePacketError::Base64);
        check("b====", EnginePacketError::Base64);
        check("b€", EnginePacketError::Base64);
        check("bAQ-_", EnginePacketError::Base64);
    }
}
