//! How are events encoded as messages, and messages decoded as events?
//!
//! An [`OutgoingEvent`] is serialised once, and encoded once for each [`WireFormat`] of its
//! recipients. Handlers do not know the format of a socket.
//!
//! Longer than 400 lines because all formats of an event are read together.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ws_core::{Escaped, Message, PreparedMessage};

use crate::delivery::wire_format::WireFormat;
use crate::events::data::EventData;
use crate::recovery::offset::SentOffset;
#[cfg(feature = "msgpack")]
use crate::socketio::msgpack;
use crate::socketio::{PacketFormat, PacketType, write_head};
use crate::{EncodeError, Event};

/// The longest name of an event, in bytes.
const MAX_NAME: usize = 256;

/// The protocol of a connection that a [`Hub`](crate::Hub) serves: how its messages carry events.
///
/// The sockets of one hub may have several protocols, and are in the same rooms: see
/// [`Hub::serve_as`](crate::Hub::serve_as).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Messages without event names.
    Plain,
    /// Events as JSON text: see [`HubBuilder::envelope`](crate::HubBuilder::envelope).
    Envelope,
    /// As `Envelope`, and the client can get its session back after its connection was lost: see
    /// [`HubBuilder::recovery`](crate::HubBuilder::recovery).
    Resumable,
}

impl Protocol {
    pub(crate) const fn format(self) -> WireFormat {
        match self {
            Self::Plain => WireFormat::Plain,
            Self::Envelope => WireFormat::Envelope,
            Self::Resumable => WireFormat::EnvelopeResumable,
        }
    }
}

impl WireFormat {
    /// Whether a peer can send custom events, and acknowledge them.
    pub(crate) const fn has_events(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Envelope
            | Self::SocketIo
            | Self::SocketIoMsgpack
            | Self::EnvelopeResumable
            | Self::SocketIoResumable
            | Self::SocketIoMsgpackResumable => true,
        }
    }

    /// How the packets of Socket.IO are written, if it has them.
    pub(crate) const fn packets(self) -> Option<PacketFormat> {
        match self {
            Self::Plain | Self::Envelope | Self::EnvelopeResumable => None,
            Self::SocketIo | Self::SocketIoResumable => Some(PacketFormat::Text),
            #[cfg(feature = "msgpack")]
            Self::SocketIoMsgpack | Self::SocketIoMsgpackResumable => Some(PacketFormat::Msgpack),
            #[cfg(not(feature = "msgpack"))]
            Self::SocketIoMsgpack | Self::SocketIoMsgpackResumable => None,
        }
    }

    /// The format of sockets with these packets.
    pub(crate) const fn of_packets(format: PacketFormat) -> Self {
        match format {
            PacketFormat::Text => Self::SocketIo,
            #[cfg(feature = "msgpack")]
            PacketFormat::Msgpack => Self::SocketIoMsgpack,
        }
    }
}

/// The mistake of a peer, as the code of an error event.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    /// The message is not an event.
    Malformed,
    /// The event has no handler.
    Unhandled,
    /// The data is not what a handler takes.
    InvalidData,
}

/// The data of an error event.
#[derive(Serialize)]
struct ErrorData<'a> {
    code: ErrorCode,
    event: Option<&'a str>,
    text: String,
}

/// An event to be encoded.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingEvent<'a> {
    /// Of its hub.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) data: EventData,
    /// The id of the acknowledgement that the peer has to send.
    pub(crate) ack: Option<u64>,
}

impl<'a> OutgoingEvent<'a> {
    pub(crate) fn new<T: Serialize + ?Sized>(
        namespace: &'a str,
        name: &'a str,
        data: &T,
    ) -> Result<Self, EncodeError> {
        if !is_valid_name(name) {
            return Err(EncodeError::BadName(Arc::from(name)));
        }
        Ok(Self { namespace, name, data: serialize(data)?, ack: None })
    }

    /// The event in a format, with its offset in one that is resumable.
    pub(crate) fn encode(&self, format: WireFormat, at: Option<SentOffset>) -> PreparedMessage {
        let mut text = Vec::with_capacity(self.name.len() + self.data.len() + 48);
        match format {
            WireFormat::Plain => self.data.write_base64(&mut text),
            WireFormat::Envelope | WireFormat::EnvelopeResumable => {
                text.extend_from_slice(b"{\"event\":");
                write_string(&mut text, self.name);
                text.extend_from_slice(b",\"data\":");
                self.data.write_base64(&mut text);
                if let Some(id) = self.ack {
                    text.extend_from_slice(format!(",\"id\":{id}").as_bytes());
                }
                if let Some(at) = at.filter(|_| format.is_resumable()) {
                    text.extend_from_slice(format!(",\"at\":\"{at}\"").as_bytes());
                }
                text.push(b'}');
            }
            WireFormat::SocketIo
            | WireFormat::SocketIoMsgpack
            | WireFormat::SocketIoResumable
            | WireFormat::SocketIoMsgpackResumable => {
                let (kind, name) = (PacketType::Event, Some(self.name));
                let last = LastArg::new(format, self.ack, at);
                return packet(format, kind, self.namespace, self.ack, name, &self.data, last);
            }
        }
        PreparedMessage::new(text_of(text))
    }
}

/// A packet of Socket.IO, with its attachments.
fn packet(
    format: WireFormat,
    kind: PacketType,
    namespace: &str,
    id: Option<u64>,
    name: Option<&str>,
    data: &EventData,
    last: LastArg,
) -> PreparedMessage {
    let attachments = data.attachments();
    #[cfg(feature = "msgpack")]
    if format.packets() == Some(PacketFormat::Msgpack) {
        let mut json = Vec::with_capacity(data.len() + 32);
        data.write_args(&mut json, name);
        last.write(&mut json, data);
        return msgpack::encode(kind, namespace, id, &json, attachments);
    }
    debug_assert_eq!(format.packets(), Some(PacketFormat::Text));
    let mut text = Vec::with_capacity(namespace.len() + data.len() + 32 + name.map_or(0, str::len));
    write_head(&mut text, kind, namespace, attachments.len(), id);
    data.write_args(&mut text, name);
    last.write(&mut text, data);
    PreparedMessage::sequence(
        text_of(text),
        attachments.map(|bytes| Message::binary(bytes.clone())),
    )
}

/// The argument behind those of an event, for a client of Socket.IO.
enum LastArg {
    Nothing,
    /// Clients report the last string that was the last argument of an event, so it is the offset.
    Offset(SentOffset),
    /// A string of the application is not an offset: `null` follows it.
    NoOffset,
}

impl LastArg {
    const fn new(format: WireFormat, ack: Option<u64>, at: Option<SentOffset>) -> Self {
        match (format.is_resumable(), at, ack) {
            (true, Some(at), None) => Self::Offset(at),
            (true, None, None) => Self::NoOffset,
            _ => Self::Nothing,
        }
    }

    fn write(&self, text: &mut Vec<u8>, data: &EventData) {
        let more = match self {
            Self::Nothing => return,
            Self::Offset(at) => format!(",\"{at}\"]"),
            Self::NoOffset if data.ends_with_string() => ",null]".to_owned(),
            Self::NoOffset => return,
        };
        text.pop();
        text.extend_from_slice(more.as_bytes());
    }
}

/// A packet of Socket.IO that ends with this offset, with a text in its place. `None` if it ends with
/// something else.
pub(crate) fn replace_offset(
    packet: &PreparedMessage,
    at: SentOffset,
    text: &str,
) -> Option<PreparedMessage> {
    let (first, at) = (packet.message(), at.to_string());
    let first = match first.as_text() {
        Some(json) => {
            let head = json.strip_suffix("\"]")?.strip_suffix(&*at)?;
            let head = head.ends_with(",\"").then_some(head)?;
            Message::from(format!("{head}{text}\"]"))
        }
        #[cfg(feature = "msgpack")]
        None => Message::binary(msgpack::replace_last(&first.to_bytes(), &at, text)?),
        #[cfg(not(feature = "msgpack"))]
        None => return None,
    };
    Some(PreparedMessage::sequence(first, packet.messages().skip(1).cloned()))
}

/// What a broadcast sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// With the namespace of the hub.
    Message(&'a PreparedMessage, &'a str),
    Event(&'a OutgoingEvent<'a>),
}

impl Content<'_> {
    /// The content in a format, with its offset in one that is resumable.
    pub(crate) fn encode(&self, format: WireFormat, at: Option<SentOffset>) -> PreparedMessage {
        match self {
            Self::Message(message, namespace) => encode_message(message, format, namespace, at),
            Self::Event(event) => event.encode(format, at),
        }
    }
}

/// A message in a format.
pub(crate) fn encode_message(
    message: &PreparedMessage,
    format: WireFormat,
    namespace: &str,
    at: Option<SentOffset>,
) -> PreparedMessage {
    match format {
        WireFormat::Plain | WireFormat::Envelope | WireFormat::EnvelopeResumable => message.clone(),
        WireFormat::SocketIo
        | WireFormat::SocketIoMsgpack
        | WireFormat::SocketIoResumable
        | WireFormat::SocketIoMsgpackResumable => {
            let data = match message.message().as_text() {
                Some(text) => EventData::new(text).unwrap_or_default(),
                None => EventData::of_bytes(message.message().to_bytes()),
            };
            let (kind, name) = (PacketType::Event, Some(Event::Message.as_str()));
            packet(format, kind, namespace, None, name, &data, LastArg::new(format, None, at))
        }
    }
}

/// The answer to an event that asked for one. `None` if the format has no acknowledgements.
pub(crate) fn encode_ack<T: Serialize + ?Sized>(
    format: WireFormat,
    namespace: &str,
    id: u64,
    data: &T,
) -> Result<Option<PreparedMessage>, EncodeError> {
    let data = serialize(data)?;
    Ok(match format {
        WireFormat::Plain => None,
        WireFormat::Envelope | WireFormat::EnvelopeResumable => {
            let mut text = format!("{{\"ack\":{id},\"data\":").into_bytes();
            data.write_base64(&mut text);
            text.push(b'}');
            Some(PreparedMessage::new(text_of(text)))
        }
        WireFormat::SocketIo
        | WireFormat::SocketIoMsgpack
        | WireFormat::SocketIoResumable
        | WireFormat::SocketIoMsgpackResumable => {
            let kind = PacketType::Ack;
            Some(packet(format, kind, namespace, Some(id), None, &data, LastArg::Nothing))
        }
    })
}

/// The event that tells a peer of a mistake. `None` if the format has none.
pub(crate) fn encode_error(
    format: WireFormat,
    code: ErrorCode,
    event: Option<&str>,
    text: &str,
) -> Option<PreparedMessage> {
    match format {
        WireFormat::Plain
        | WireFormat::SocketIo
        | WireFormat::SocketIoMsgpack
        | WireFormat::SocketIoResumable
        | WireFormat::SocketIoMsgpackResumable => None,
        WireFormat::Envelope | WireFormat::EnvelopeResumable => {
            let text = Escaped::new(text).to_string();
            let data = serde_json::to_string(&ErrorData { code, event, text }).ok()?;
            let text = format!(r#"{{"event":"error","data":{data}}}"#);
            Some(PreparedMessage::new(text_of(text)))
        }
    }
}

/// The meaning of a message of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message that is not an event.
    Message(Message),
    Event(IncomingEvent),
    /// The answer to an event of this side.
    Ack {
        id: u64,
        data: PeerData,
    },
    /// It is malformed, for this reason.
    Malformed(Arc<str>),
}

/// A decoded event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IncomingEvent {
    pub(crate) name: Arc<str>,
    pub(crate) data: PeerData,
    /// The id of the acknowledgement that the peer expects.
    pub(crate) ack: Option<u64>,
}

/// Data from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerData {
    /// JSON, with placeholders of the attachments.
    pub(crate) json: Message,
    pub(crate) attachments: Vec<Bytes>,
}

impl PeerData {
    pub(crate) const fn new(json: Message) -> Self {
        Self { json, attachments: Vec::new() }
    }
}

/// Decodes a message of a peer.
pub(crate) fn decode(format: WireFormat, message: Message) -> Received {
    match format {
        // Packets of Socket.IO are decoded by the task of their session.
        WireFormat::Plain
        | WireFormat::SocketIo
        | WireFormat::SocketIoMsgpack
        | WireFormat::SocketIoResumable
        | WireFormat::SocketIoMsgpackResumable => Received::Message(message),
        WireFormat::Envelope | WireFormat::EnvelopeResumable => match message.as_text() {
            Some(text) => decode_envelope(text).unwrap_or_else(Received::Malformed),
            None => Received::Message(message),
        },
    }
}

#[derive(Deserialize)]
struct EnvelopeJson<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    id: Option<u64>,
    ack: Option<u64>,
}

fn decode_envelope(text: &str) -> Result<Received, Arc<str>> {
    let EnvelopeJson { event, data, id, ack } =
        serde_json::from_str(text).map_err(|error| Arc::from(error.to_string()))?;
    // A derived `Deserialize` takes a list of the fields, too.
    if text.trim_start().starts_with('[') {
        return Err("an event is a JSON object, not an array".into());
    }
    let data = data.map_or("null", RawValue::get);
    let data = PeerData::new(text_of(data.to_owned()));
    match (event, ack) {
        (Some(_), Some(_)) => Err("an event has no field `ack`".into()),
        (None, Some(id)) => Ok(Received::Ack { id, data }),
        (None, None) => Err("missing field `event`".into()),
        (Some(name), None) if is_valid_name(&name) => {
            Ok(Received::Event(IncomingEvent { name: Arc::from(name), data, ack: id }))
        }
        (Some(_), None) => Err("the event name is reserved, empty or too long".into()),
    }
}

/// Whether a custom event may have this name.
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && Event::is_custom(name)
}

pub(crate) fn serialize<T: Serialize + ?Sized>(data: &T) -> Result<EventData, EncodeError> {
    EventData::new(data).map_err(|error| EncodeError::Json(Arc::new(error)))
}

/// Appends a string as JSON, which cannot fail.
fn write_string(text: &mut Vec<u8>, string: &str) {
    let _ = serde_json::to_writer(text, string);
}

/// A text message: JSON is always text.
fn text_of(json: impl Into<Bytes>) -> Message {
    Message::text_from_bytes(json).unwrap_or_else(Message::binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(message: impl Into<Message>) -> Received {
        decode(WireFormat::Envelope, message.into())
    }

    /// A message → the name, the data and the id of its event, or a part of the error.
    #[track_caller]
    fn check_id(message: &str, expected: Result<(&str, &str, Option<u64>), &str>) {
        match (receive(message), expected) {
            (Received::Event(decoded), Ok((name, json, ack))) => {
                assert_eq!((&*decoded.name, decoded.data.json.as_text()), (name, Some(json)));
                assert_eq!(decoded.ack, ack);
            }
            (Received::Malformed(text), Err(word)) => assert!(text.contains(word), "{text}"),
            (got, expected) => panic!("{message}: {got:?}, not {expected:?}"),
        }
    }

    #[track_caller]
    fn check(message: &str, expected: Result<(&str, &str), &str>) {
        check_id(message, expected.map(|(name, json)| (name, json, None)));
    }

    #[test]
    fn an_envelope_is_an_event_with_data() {
        check(r#"{"event":"a","data":[1, 2]}"#, Ok(("a", "[1, 2]")));
        check(r#"{"data":{"x":"ü"},"event":"ä"}"#, Ok(("ä", r#"{"x":"ü"}"#)));
        check(r#"{"event":"a"}"#, Ok(("a", "null")));
        check(r#"{"event":"a","data":null,"more":1}"#, Ok(("a", "null")));
        check(r#"{"event":"a\n","data":""}"#, Ok(("a\n", r#""""#)));
        check_id(r#"{"event":"a","data":1,"id":0}"#, Ok(("a", "1", Some(0))));
        check_id(r#"{"id":7,"event":"a"}"#, Ok(("a", "null", Some(7))));
        check_id(r#"{"event":"a","id":null,"ack":null}"#, Ok(("a", "null", None)));
    }

    #[test]
    fn an_envelope_with_an_ack_is_an_answer() {
        for (message, id, json) in [
            (r#"{"ack":0,"data":"x"}"#, 0, "\"x\""),
            (r#"{"ack":18446744073709551615}"#, u64::MAX, "null"),
            (r#"{"data":[1],"ack":3,"id":4}"#, 3, "[1]"),
        ] {
            let data = PeerData::new(Message::from(json));
            assert_eq!(receive(message), Received::Ack { id, data });
        }
    }

    #[test]
    fn a_malformed_envelope_has_a_reason() {
        check("", Err("EOF"));
        check("hello", Err("expected"));
        check("[]", Err("invalid"));
        check(r#" ["say", 1, 2, 3]"#, Err("array"));
        check(r#"{"data":1}"#, Err("missing field `event`"));
        check(r#"{"event":null}"#, Err("missing field `event`"));
        check(r#"{"event":1}"#, Err("invalid type"));
        check(r#"{"event":"a","id":-1}"#, Err("invalid value"));
        check(r#"{"event":"a","id":"1"}"#, Err("invalid type"));
        check(r#"{"ack":1.5}"#, Err("invalid type"));
        check(r#"{"event":"a","ack":1}"#, Err("`ack`"));
        let long = "x".repeat(257);
        for name in ["", "connect", "disconnect", "message", "error", "room_join", &long] {
            check(&format!(r#"{{"event":"{name}"}}"#), Err("reserved"));
        }
    }

    #[test]
    fn binary_messages_are_not_events() {
        let message = Message::binary(vec![1, 2]);
        assert_eq!(receive(message.clone()), Received::Message(message));
    }

    /// An event or an answer as packets of Socket.IO.
    #[track_caller]
    fn check_packet(packet: &PreparedMessage, expected: &[&[u8]]) {
        let messages: Vec<_> = packet.messages().map(Message::as_bytes).collect();
        assert_eq!(messages, expected);
        assert!(packet.message().is_text());
    }

    #[test]
    fn events_and_answers_are_packets_of_socket_io() {
        let event = |namespace, ack| {
            let mut event = OutgoingEvent::new(namespace, "a", &(1, Bytes::from_static(b"x")));
            event.as_mut().unwrap().ack = ack;
            event.unwrap().encode(WireFormat::SocketIo, None)
        };
        let binary = br#"["a",1,{"_placeholder":true,"num":0}]"#;
        check_packet(&event("/", None), &[&[b"451-", &binary[..]].concat(), b"x"]);
        check_packet(&event("/n", Some(0)), &[&[b"451-/n,0", &binary[..]].concat(), b"x"]);
        let plain = OutgoingEvent::new("/", "ü", "x").unwrap();
        check_packet(&plain.encode(WireFormat::SocketIo, None), &["42[\"ü\",\"x\"]".as_bytes()]);
        let answer = |data: &str| encode_ack(WireFormat::SocketIo, "/n", 7, data);
        check_packet(&answer("x").unwrap().unwrap(), &[b"43/n,7[\"x\"]"]);
        let nothing = encode_ack(WireFormat::SocketIo, "/", 0, &()).unwrap().unwrap();
        check_packet(&nothing, &[b"430[]"]);
        for (message, expected) in [
            (Message::from("x\""), &[&br#"42/n,["message","x\""]"#[..]][..]),
            (
                Message::binary(vec![0]),
                &[br#"451-/n,["message",{"_placeholder":true,"num":0}]"#, b"\0"],
            ),
        ] {
            let message = PreparedMessage::new(message);
            check_packet(&encode_message(&message, WireFormat::SocketIo, "/n", None), expected);
        }
    }

    /// An event with data → its text for a client that can get its session back.
    #[track_caller]
    fn check_resumable<T: Serialize>(
        data: &T,
        at: Option<SentOffset>,
        format: WireFormat,
        expected: &str,
    ) {
        let event = OutgoingEvent::new("/", "a", data).unwrap();
        let message = event.encode(format, at);
        assert_eq!(message.message().as_text(), Some(expected));
    }

    #[test]
    fn an_event_for_a_resumable_session_has_its_offset_last() {
        let at = Some(SentOffset::Plain(7));
        let envelope = WireFormat::EnvelopeResumable;
        check_resumable(&1, at, envelope, r#"{"event":"a","data":1,"at":"p7"}"#);
        check_resumable(&1, None, envelope, r#"{"event":"a","data":1}"#);
        check_resumable(&1, at, WireFormat::Envelope, r#"{"event":"a","data":1}"#);
        let socketio = WireFormat::SocketIoResumable;
        check_resumable(&1, at, socketio, r#"42["a",1,"p7"]"#);
        check_resumable(&(), at, socketio, r#"42["a","p7"]"#);
        check_resumable(&("x", 1), at, socketio, r#"42["a","x",1,"p7"]"#);
        check_resumable(&1, at, WireFormat::SocketIo, r#"42["a",1]"#);
        // A string of the application is not taken for an offset.
        check_resumable(&"x", None, socketio, r#"42["a","x",null]"#);
        check_resumable(&(1, "x"), None, socketio, r#"42["a",1,"x",null]"#);
        check_resumable(&1, None, socketio, r#"42["a",1]"#);
        check_resumable(&(), None, socketio, r#"42["a"]"#);
        check_resumable(&["x"; 0], None, socketio, r#"42["a"]"#);
        let message = PreparedMessage::new("x");
        let message = encode_message(&message, socketio, "/", at);
        assert_eq!(message.message().as_text(), Some(r#"42["message","x","p7"]"#));
    }

    /// An event with an offset, whose offset is replaced by a text → the JSON of its text.
    #[track_caller]
    fn check_replaced<T: Serialize>(
        data: &T,
        ack: Option<u64>,
        text: &str,
        expected: Option<&str>,
    ) {
        let at = SentOffset::Plain(7);
        let mut event = OutgoingEvent::new("/", "a", data).unwrap();
        event.ack = ack;
        let packet = event.encode(WireFormat::SocketIoResumable, Some(at));
        let replaced = replace_offset(&packet, at, text);
        let got = replaced.as_ref().and_then(|packet| packet.message().as_text());
        assert_eq!(got, expected);
        let rest =
            |packet: &PreparedMessage| packet.messages().skip(1).cloned().collect::<Vec<_>>();
        assert!(replaced.is_none_or(|replaced| rest(&replaced) == rest(&packet)));
        #[cfg(feature = "msgpack")]
        {
            // As if it had been encoded with the other text.
            let packet = event.encode(WireFormat::SocketIoMsgpackResumable, Some(at));
            let got = replace_offset(&packet, at, text).map(|it| it.message().to_bytes());
            let last = serde_json::to_string(text).unwrap();
            let mut json = Vec::new();
            event.data.write_args(&mut json, Some("a"));
            json.pop();
            json.extend_from_slice(format!(",{last}]").as_bytes());
            let attachments = event.data.attachments();
            let whole = msgpack::encode(PacketType::Event, "/", ack, &json, attachments);
            assert_eq!(got, expected.map(|_| whole.message().to_bytes()));
        }
    }

    #[test]
    fn the_offset_of_an_event_is_replaced_by_those_of_several_rooms() {
        let long = "x".repeat(300);
        check_replaced(&1, None, "p6,p7", Some(r#"42["a",1,"p6,p7"]"#));
        check_replaced(&(), None, "p6,p7", Some(r#"42["a","p6,p7"]"#));
        check_replaced(&1, None, &long, Some(&format!(r#"42["a",1,"{long}"]"#)));
        let bytes = Bytes::from_static(b"\0");
        let placeholder = r#"451-["a",{"_placeholder":true,"num":0},"p6,p7"]"#;
        check_replaced(&bytes, None, "p6,p7", Some(placeholder));
        // An event that is to be acknowledged has none.
        check_replaced(&1, Some(1), "p6,p7", None);
        check_replaced(&"xp7", Some(1), "p6,p7", None);
    }

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        for name in ["a", "with \"quotes\"", "ü"] {
            for ack in [None, Some(0), Some(1 << 53)] {
                let mut event = OutgoingEvent::new("/", name, &("ä", 1)).unwrap();
                event.ack = ack;
                let message = event.encode(WireFormat::Envelope, None).message().clone();
                let expected = IncomingEvent {
                    name: name.into(),
                    data: PeerData::new(Message::from(r#"["ä",1]"#)),
                    ack,
                };
                assert_eq!(receive(message), Received::Event(expected));
            }
        }
        for name in ["", "connect", &"x".repeat(257)] {
            let event = OutgoingEvent::new("/", name, &1);
            assert!(matches!(event, Err(EncodeError::BadName(_))));
        }
        let answer = encode_ack(WireFormat::Envelope, "/", 5, &"ü").unwrap().unwrap();
        let data = PeerData::new(Message::from("\"ü\""));
        assert_eq!(receive(answer.message().clone()), Received::Ack { id: 5, data });
        assert!(encode_ack(WireFormat::Plain, "/", 5, &1).unwrap().is_none());
    }
}
