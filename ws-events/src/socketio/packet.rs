//! How is a packet of Socket.IO written, and how are packets read from the messages of a session?
//!
//! Longer than 400 lines because the reader and the writer of one format are read together.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use ws_core::{Escaped, Message, PreparedMessage};

use super::SocketIoLimits;
use super::placeholders::check_placeholders;
#[cfg(feature = "msgpack")]
use super::placeholders::inline_base64;

/// Names that events of clients must not have.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The namespace of a packet that does not name one.
pub(crate) const ROOT: &str = "/";

/// The type of a packet. `EVENT` and `ACK` have another digit if attachments follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// `0`: a client connects to a namespace, or the server accepts that.
    Connect,
    /// `1`: the connection to a namespace ends.
    Disconnect,
    /// `2`, and with attachments `5`: an event.
    Event,
    /// `3`, and with attachments `6`: the acknowledgement of an event.
    Ack,
    /// `4`: the server refuses a connection to a namespace.
    ConnectError,
}

/// How the packets of a session are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketFormat {
    /// Text, with attachments as messages of their own.
    Text,
    /// See [`msgpack`](super::msgpack).
    #[cfg(feature = "msgpack")]
    Msgpack,
}

impl PacketType {
    pub(super) const fn digit(self, is_binary: bool) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event => {
                if is_binary {
                    b'5'
                } else {
                    b'2'
                }
            }
            Self::Ack => {
                if is_binary {
                    b'6'
                } else {
                    b'3'
                }
            }
            Self::ConnectError => b'4',
        }
    }

    const fn of(digit: u8) -> Option<(Self, bool)> {
        Some(match digit {
            b'0' => (Self::Connect, false),
            b'1' => (Self::Disconnect, false),
            b'2' => (Self::Event, false),
            b'3' => (Self::Ack, false),
            b'4' => (Self::ConnectError, false),
            b'5' => (Self::Event, true),
            b'6' => (Self::Ack, true),
            _ => return None,
        })
    }
}

/// A packet of a client, complete with its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet {
    /// Its type.
    pub kind: PacketType,
    /// The namespace, without a query. `/` if the packet names none.
    pub namespace: String,
    /// With an event: the id of the acknowledgement that the client expects. With an
    /// acknowledgement: the id of the event.
    pub id: Option<u64>,
    /// With an event: its name.
    pub name: String,
    /// JSON: `auth`, with base64 for binary values, or the arguments of an event or acknowledgement: one
    /// argument as it is, several as an array, none as `null`.
    pub data: String,
    /// The number of arguments.
    pub args: usize,
    /// The attachments, by their number in the placeholders.
    pub attachments: Vec<Bytes>,
}

/// What is wrong with a packet of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The type is unknown, or one that only servers send.
    #[error("unknown packet type")]
    Type,
    /// The number of attachments is malformed.
    #[error("malformed number of attachments")]
    AttachmentCount,
    /// See [`SocketIoLimits::attachments`].
    #[error("more attachments than `SocketIoLimits::attachments`")]
    TooManyAttachments,
    /// See [`SocketIoLimits::attachment_bytes`].
    #[error("attachments longer than `SocketIoLimits::attachment_bytes`")]
    AttachmentsTooLong,
    /// An attachment is missing, or has no packet, or a placeholder has no attachment.
    #[error("an attachment is missing or unexpected")]
    AttachmentOrder,
    /// See [`SocketIoLimits::namespace_bytes`].
    #[error("a namespace longer than `SocketIoLimits::namespace_bytes`")]
    NamespaceTooLong,
    /// The id is missing or malformed.
    #[error("malformed id of an acknowledgement")]
    Id,
    /// See [`SocketIoLimits::auth_bytes`].
    #[error("an `auth` longer than `SocketIoLimits::auth_bytes`")]
    AuthTooLong,
    /// The JSON is malformed, or not what the type of the packet demands.
    #[error("malformed payload: {}", Escaped::new(.0))]
    Payload(String),
    /// The name is reserved by Socket.IO.
    #[error("reserved event name `{}`", Escaped::new(.0))]
    ReservedName(String),
    /// See [`SocketIoLimits::event_name_bytes`].
    #[error("an event name longer than `SocketIoLimits::event_name_bytes`")]
    NameTooLong,
}

/// Reads packets from the messages of one session, in their order.
#[derive(Debug)]
pub struct PacketDecoder {
    limits: Arc<SocketIoLimits>,
    /// As the first message of the session says.
    format: Option<PacketFormat>,
    /// A packet whose attachments are not complete. Boxed: an idle session holds no memory for it.
    pending: Option<Box<PendingPacket>>,
}

#[derive(Debug)]
struct PendingPacket {
    packet: Packet,
    missing: usize,
    bytes: usize,
}

impl PacketDecoder {
    /// A decoder at the beginning of a session.
    pub fn new(limits: SocketIoLimits) -> Self {
        Self::shared(Arc::new(limits))
    }

    /// As [`new`](Self::new), with limits that sessions share.
    pub(crate) const fn shared(limits: Arc<SocketIoLimits>) -> Self {
        Self { limits, format: None, pending: None }
    }

    /// The format of the session.
    pub(crate) fn format(&self) -> PacketFormat {
        self.format.unwrap_or(PacketFormat::Text)
    }

    /// Reads a message. `None` if attachments have yet to follow. It holds at most the text and the
    /// attachments of one packet, within the limits.
    ///
    /// # Errors
    ///
    /// If the message is malformed. Later messages cannot be decoded then.
    pub fn decode(&mut self, message: Message) -> Result<Option<Packet>, PacketError> {
        #[cfg(feature = "msgpack")]
        if *self.format.get_or_insert_with(|| format_of(&message)) == PacketFormat::Msgpack {
            let bytes = (!message.is_text()).then(|| message.as_bytes());
            return read_msgpack(bytes.ok_or(PacketError::Type)?, &self.limits).map(Some);
        }
        match (message.as_text(), self.pending.take()) {
            (Some(text), None) => {
                let (packet, missing) = read_packet(text, &self.limits)?;
                if missing > 0 {
                    self.pending = Some(Box::new(PendingPacket { packet, missing, bytes: 0 }));
                    return Ok(None);
                }
                Ok(Some(packet))
            }
            (None, Some(mut pending)) => {
                pending.bytes = pending.bytes.saturating_add(message.len());
                if pending.bytes > self.limits.attachment_bytes {
                    return Err(PacketError::AttachmentsTooLong);
                }
                pending.missing -= 1;
                pending.packet.attachments.push(message.into_bytes());
                if pending.missing > 0 {
                    self.pending = Some(pending);
                    return Ok(None);
                }
                Ok(Some(pending.packet))
            }
            (Some(_), Some(_)) | (None, None) => Err(PacketError::AttachmentOrder),
        }
    }
}

/// Reads the text of a packet. Returns the number of attachments that follow.
fn read_packet(text: &str, limits: &SocketIoLimits) -> Result<(Packet, usize), PacketError> {
    let (digit, rest) = text.as_bytes().split_first().ok_or(PacketError::Type)?;
    let (kind, is_binary) = PacketType::of(*digit).ok_or(PacketError::Type)?;
    let rest = text.get(text.len() - rest.len()..).unwrap_or_default();
    let (attachments, rest) = if is_binary { read_attachment_count(rest)? } else { (0, rest) };
    if attachments > limits.attachments {
        return Err(PacketError::TooManyAttachments);
    }
    let (namespace, rest) = read_namespace(rest);
    if namespace.len() > limits.namespace_bytes {
        return Err(PacketError::NamespaceTooLong);
    }
    let (id, payload) = read_id(rest)?;
    let packet = parse_payload(kind, namespace.to_owned(), id, payload, limits)?;
    if attachments > 0 {
        check_placeholders(&packet.data, attachments)?;
    }
    Ok((packet, attachments))
}

/// The format of a session, by its first message.
#[cfg(feature = "msgpack")]
fn format_of(message: &Message) -> PacketFormat {
    if message.is_text() { PacketFormat::Text } else { PacketFormat::Msgpack }
}

/// Reads a packet in MessagePack.
#[cfg(feature = "msgpack")]
fn read_msgpack(message: &[u8], limits: &SocketIoLimits) -> Result<Packet, PacketError> {
    let fields = super::msgpack::read_fields(message, limits)?;
    let digit = fields.kind.and_then(|kind| u8::try_from(kind).ok()).filter(|kind| *kind <= 4);
    let (kind, _) =
        digit.and_then(|digit| PacketType::of(b'0' + digit)).ok_or(PacketError::Type)?;
    let namespace = fields.namespace.filter(|namespace| namespace.starts_with('/'));
    let namespace = namespace.ok_or_else(|| payload_error("a packet without a namespace"))?;
    if namespace.len() > limits.namespace_bytes {
        return Err(PacketError::NamespaceTooLong);
    }
    let namespace = read_namespace(&namespace).0.to_owned();
    let (mut data, mut attachments) = (fields.data.unwrap_or_default(), fields.attachments);
    if kind == PacketType::Connect && !attachments.is_empty() {
        data = inline_base64(&data, &attachments).map_err(payload_error)?;
        attachments.clear();
    }
    let mut packet = parse_payload(kind, namespace, fields.id, &data, limits)?;
    packet.attachments = attachments;
    Ok(packet)
}

/// The packet with this payload: JSON.
fn parse_payload(
    kind: PacketType,
    namespace: String,
    id: Option<u64>,
    payload: &str,
    limits: &SocketIoLimits,
) -> Result<Packet, PacketError> {
    let mut packet = Packet {
        kind,
        namespace,
        id,
        name: String::new(),
        data: String::new(),
        args: 0,
        attachments: Vec::new(),
    };
    match kind {
        PacketType::Connect => packet.data = read_auth(payload, limits)?,
        PacketType::Disconnect if payload.is_empty() => {}
        PacketType::Disconnect => return Err(payload_error("data of a DISCONNECT")),
        PacketType::Event => {
            let args = read_args(payload, true)?;
            packet.name = read_name(args.name, limits)?;
            (packet.data, packet.args) = (args.data.into_owned(), args.count);
        }
        PacketType::Ack if id.is_none() => return Err(PacketError::Id),
        PacketType::Ack => {
            let args = read_args(payload, false)?;
            (packet.data, packet.args) = (args.data.into_owned(), args.count);
        }
        PacketType::ConnectError => return Err(PacketError::Type),
    }
    Ok(packet)
}

fn payload_error(error: impl fmt::Display) -> PacketError {
    PacketError::Payload(error.to_string())
}

/// The digits at the beginning of a text, and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn read_attachment_count(text: &str) -> Result<(usize, &str), PacketError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(PacketError::AttachmentCount)?;
    Ok((digits.parse().map_err(|_| PacketError::AttachmentCount)?, rest))
}

/// The namespace without its query, and the rest.
fn read_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return (ROOT, text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    (namespace.split_once('?').map_or(namespace, |(name, _)| name), rest)
}

fn read_id(text: &str) -> Result<(Option<u64>, &str), PacketError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    Ok((Some(digits.parse().map_err(|_| PacketError::Id)?), rest))
}

fn read_auth(payload: &str, limits: &SocketIoLimits) -> Result<String, PacketError> {
    if payload.len() > limits.auth_bytes {
        return Err(PacketError::AuthTooLong);
    }
    if payload.is_empty() {
        return Ok("null".to_owned());
    }
    let json: &RawValue = serde_json::from_str(payload).map_err(payload_error)?;
    if !json.get().starts_with('{') {
        return Err(payload_error("`auth` is no object"));
    }
    Ok(json.get().to_owned())
}

fn read_name(json: &str, limits: &SocketIoLimits) -> Result<String, PacketError> {
    if json.len() > limits.event_name_bytes.saturating_add(2) {
        return Err(PacketError::NameTooLong);
    }
    // The specification allows numbers, too.
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let name = if is_number {
        json.to_owned()
    } else {
        serde_json::from_str(json).map_err(|_| payload_error("an event without a name"))?
    };
    if RESERVED.contains(&name.as_str()) {
        return Err(PacketError::ReservedName(name));
    }
    Ok(name)
}

/// The parts of a JSON array.
struct ArgParts<'a> {
    /// The first element, if it is a name.
    name: &'a str,
    /// The others: none as `null`, one as it is, several as an array.
    data: Cow<'a, str>,
    count: usize,
}

/// Reads an array of arguments, behind a name if there `has_name`.
fn read_args(payload: &str, has_name: bool) -> Result<ArgParts<'_>, PacketError> {
    let ArgSpans { first, second, count } =
        serde_json::from_str::<ArgSpans<'_>>(payload).map_err(payload_error)?;
    let (name, first_arg) = if has_name { (first, second) } else { (None, first) };
    let count = if has_name { count.saturating_sub(1) } else { count };
    let name = match name {
        Some(name) => name.get(),
        None if has_name => return Err(payload_error("an event without a name")),
        None => "",
    };
    let data = match first_arg {
        None => Cow::Borrowed("null"),
        Some(arg) if count == 1 => Cow::Borrowed(arg.get()),
        Some(_) if !has_name => Cow::Borrowed(payload),
        Some(arg) => {
            // All from the first argument on, with the bracket at the end.
            let start = (arg.get().as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
            Cow::Owned(format!("[{}", payload.get(start..).unwrap_or_default().trim_end()))
        }
    };
    Ok(ArgParts { name, data, count })
}

/// The first elements of an array, and the number of all.
struct ArgSpans<'a> {
    first: Option<&'a RawValue>,
    second: Option<&'a RawValue>,
    count: usize,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for ArgSpans<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spans;

        impl<'de> Visitor<'de> for Spans {
            type Value = ArgSpans<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut spans = ArgSpans { first: None, second: None, count: 0 };
                while let Some(element) = seq.next_element_seed(RawElement(spans.count < 2))? {
                    match spans.count {
                        0 => spans.first = element,
                        1 => spans.second = element,
                        _ => {}
                    }
                    spans.count += 1;
                }
                Ok(spans)
            }
        }

        deserializer.deserialize_seq(Spans)
    }
}

/// An element of an array: its text, or if that is not needed nothing.
struct RawElement(bool);

impl<'de> DeserializeSeed<'de> for RawElement {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0 {
            <&RawValue>::deserialize(deserializer).map(Some)
        } else {
            IgnoredAny::deserialize(deserializer).map(|_| None)
        }
    }
}

/// Appends the head of a packet, as a message of Engine.IO: all but its JSON.
pub(crate) fn write_head(
    text: &mut Vec<u8>,
    kind: PacketType,
    namespace: &str,
    attachments: usize,
    id: Option<u64>,
) {
    // The packet type `message` of Engine.IO.
    text.extend_from_slice(&[b'4', kind.digit(attachments > 0)]);
    if attachments > 0 {
        text.extend_from_slice(attachments.to_string().as_bytes());
        text.push(b'-');
    }
    if namespace != ROOT {
        text.extend_from_slice(namespace.as_bytes());
        text.push(b',');
    }
    if let Some(id) = id {
        text.extend_from_slice(id.to_string().as_bytes());
    }
}

/// A packet without attachments, as a message of Engine.IO.
pub(crate) fn control_packet(
    format: PacketFormat,
    kind: PacketType,
    namespace: &str,
    json: Option<&str>,
) -> PreparedMessage {
    #[cfg(feature = "msgpack")]
    if format == PacketFormat::Msgpack {
        let json = json.unwrap_or_default().as_bytes();
        return super::msgpack::encode(kind, namespace, None, json, std::iter::empty());
    }
    #[cfg(not(feature = "msgpack"))]
    let PacketFormat::Text = format;
    let mut text = Vec::new();
    write_head(&mut text, kind, namespace, 0, None);
    text.extend_from_slice(json.unwrap_or_default().as_bytes());
    PreparedMessage::new(Message::text_from_bytes(text).unwrap_or_else(Message::binary))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(texts: &[&str]) -> Result<Option<Packet>, PacketError> {
        let mut decoder = PacketDecoder::new(SocketIoLimits::new());
        let mut packet = Ok(None);
        for text in texts {
            let message = match text.strip_prefix("binary:") {
                Some(bytes) => Message::binary(bytes.to_owned()),
                None => Message::from(*text),
            };
            packet = decoder.decode(message);
        }
        packet
    }

    /// Messages → kind, namespace, id, name, data, number of arguments, number of attachments.
    #[track_caller]
    fn check(
        texts: &[&str],
        kind: PacketType,
        (namespace, id): (&str, Option<u64>),
        (name, data, args, attachments): (&str, &str, usize, usize),
    ) {
        let packet = decode(texts).unwrap().unwrap();
        assert_eq!((packet.kind, &*packet.namespace, packet.id), (kind, namespace, id));
        let got = (&*packet.name, &*packet.data, packet.args, packet.attachments.len());
        assert_eq!(got, (name, data, args, attachments));
    }

    use PacketType::{Ack, Connect, Disconnect, Event};

    #[test]
    fn each_packet_is_read() {
        let root = ("/", None);
        check(&["0"], Connect, root, ("", "null", 0, 0));
        check(&[r#"0{"token":"t"}"#], Connect, root, ("", r#"{"token":"t"}"#, 0, 0));
        check(&["0/admin,"], Connect, ("/admin", None), ("", "null", 0, 0));
        check(&["0/admin"], Connect, ("/admin", None), ("", "null", 0, 0));
        check(&["0/admin?a=b,{}"], Connect, ("/admin", None), ("", "{}", 0, 0));
        check(&["1"], Disconnect, root, ("", "", 0, 0));
        check(&["1/admin,"], Disconnect, ("/admin", None), ("", "", 0, 0));
        check(&[r#"2["a"]"#], Event, root, ("a", "null", 0, 0));
        check(&[r#"2["a", {"x": 1}]"#], Event, root, ("a", r#"{"x": 1}"#, 1, 0));
        check(&[r#"20["a",1,"ü" ,null] "#], Event, ("/", Some(0)), ("a", "[1,\"ü\" ,null]", 3, 0));
        check(&[r#"2/n,17["\u00e4",[]]"#], Event, ("/n", Some(17)), ("ä", "[]", 1, 0));
        check(&["2[7]"], Event, root, ("7", "null", 0, 0));
        check(&["30[]"], Ack, ("/", Some(0)), ("", "null", 0, 0));
        check(&["3/n,5[1]"], Ack, ("/n", Some(5)), ("", "1", 1, 0));
        check(&["35[1,2]"], Ack, ("/", Some(5)), ("", "[1,2]", 2, 0));
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let event = format!(r#"51-["a",{placeholder}]"#);
        check(&[&event, "binary:x"], Event, root, ("a", placeholder, 1, 1));
        let event = format!(r#"52-/n,3["a",{placeholder},1]"#);
        let data = format!("[{placeholder},1]");
        check(&[&event, "binary:x", "binary:y"], Event, ("/n", Some(3)), ("a", &data, 2, 2));
        let ack = format!("61-9[{placeholder}]");
        check(&[&ack, "binary:x"], Ack, ("/", Some(9)), ("", placeholder, 1, 1));
        check(&[r#"50-["a"]"#], Event, root, ("a", "null", 0, 0));
        check(&["0", "1"], Disconnect, root, ("", "", 0, 0));
    }

    #[track_caller]
    fn check_error(texts: &[&str], expected: &PacketError) {
        let error = decode(texts).unwrap_err();
        let same = std::mem::discriminant(&error) == std::mem::discriminant(expected);
        assert!(same, "{texts:?}: {error:?}, not {expected:?}");
    }

    #[test]
    fn each_malformed_packet_is_an_error() {
        let payload = PacketError::Payload(String::new());
        for text in ["", "7", "9[]", "a", "abc", r#"4{"message":"x"}"#, "ü"] {
            check_error(&[text], &PacketError::Type);
        }
        for text in [
            r#"5["a"]"#,
            r#"51["a"]"#,
            r#"5-["a"]"#,
            r#"5x-["a"]"#,
            "5",
            "599999999999999999999-[]",
        ] {
            check_error(&[text], &PacketError::AttachmentCount);
        }
        check_error(&[r#"511-["a"]"#], &PacketError::TooManyAttachments);
        check_error(&[r#"51-["a"]"#, r#"2["b"]"#], &PacketError::AttachmentOrder);
        check_error(&["40", "binary:x"], &PacketError::AttachmentOrder);
        for number in ["1", "-1", "null"] {
            let text = format!(r#"51-["a",{{"_placeholder":true,"num":{number}}}]"#);
            check_error(&[&text], &PacketError::AttachmentOrder);
        }
        let long = "x".repeat(1_000_001);
        check_error(&[r#"51-["a"]"#, &format!("binary:{long}")], &PacketError::AttachmentsTooLong);
        check_error(&[&format!("0/{}", "n".repeat(256))], &PacketError::NamespaceTooLong);
        check_error(&[r#"299999999999999999999["a"]"#], &PacketError::Id);
        check_error(&["3[]"], &PacketError::Id);
        check_error(&[&format!(r#"0{{"a":"{}"}}"#, &long[..16_384])], &PacketError::AuthTooLong);
        for text in [
            "0[]",
            "0\"x\"",
            "0{",
            "0null",
            "1x",
            "1{}",
            "2",
            "2{}",
            "2[]",
            "2[null]",
            "2[{}]",
            "2[\"a\"",
            "2[\"a\",]",
            "2[\"a\"]x",
            "2abc[\"a\"]",
            "2[true]",
            "30{}",
            "30",
            "30[",
        ] {
            check_error(&[text], &payload);
        }
        for name in RESERVED {
            check_error(&[&format!(r#"2["{name}"]"#)], &PacketError::ReservedName(String::new()));
        }
        check_error(&[&format!(r#"2["{}"]"#, &long[..257])], &PacketError::NameTooLong);
        assert!(decode(&[&format!(r#"2["{}"]"#, &long[..256])]).is_ok());
    }

    proptest! {
        #[test]
        fn any_messages_are_packets_or_an_error(
            texts in prop::collection::vec("[0-7]{0,2}-?(/[a-z?]{0,3},?)?[0-9]{0,3}\\PC{0,20}", 1..4),
        ) {
            let mut decoder = PacketDecoder::new(SocketIoLimits::new());
            for text in texts {
                let _ = decoder.decode(Message::from(text));
            }
        }

        #[test]
        fn a_written_head_is_read_back(
            namespace in "/[a-z]{0,5}",
            id in prop::option::of(any::<u64>()),
            attachments in 0..=10_usize,
        ) {
            let mut text = Vec::new();
            write_head(&mut text, Event, &namespace, attachments, id);
            text.extend_from_slice(br#"["a",1]"#);
            let text = String::from_utf8(text).unwrap();
            let (packet, missing) = read_packet(&text[1..], &SocketIoLimits::new()).unwrap();
            let read = (packet.kind, packet.namespace, packet.id, missing);
            prop_assert_eq!(read, (Event, namespace, id, attachments));
            prop_assert_eq!((&*packet.name, &*packet.data), ("a", "1"));
        }
    }
}
