//! How are packets of Socket.IO written and read in MessagePack?
//!
//! This is the format of `socket.io-msgpack-parser`: a packet is one binary message, a map with its
//! fields. Here, its data becomes JSON with placeholders for binary values, as in the other format,
//! so handlers do not know which format a client uses. Binary values of an `auth` become base64, since
//! in the other format it has none. A date becomes the string that JSON has for it.
//! Values without a counterpart in JSON, such as `undefined`, become `null`.
//!
//! The JSON has at most six bytes for each byte of the packet, and a placeholder for each attachment.

use std::io::Write as _;
#[cfg(feature = "socketio-adapter")]
use std::ops::Range;

use bytes::Bytes;
use rmp::Marker;
use rmp::decode::{
    read_array_len, read_bin_len, read_bool, read_ext_meta, read_f32, read_f64, read_int,
    read_map_len, read_nil, read_str_len,
};
use rmp::encode::{write_map_len, write_str, write_uint};
use ws_core::{Message, PreparedMessage};

use super::SocketIoLimits;
use super::date::iso_8601;
use super::packet::{PacketError, PacketType};
use super::transcode::transcode;

/// No value is nested deeper.
const MAX_DEPTH: usize = 64;

/// The fields of a packet.
#[derive(Debug, Default)]
pub(super) struct PacketFields {
    pub(super) kind: Option<u64>,
    pub(super) namespace: Option<String>,
    pub(super) id: Option<u64>,
    /// JSON, with placeholders for the attachments.
    pub(super) data: Option<String>,
    pub(super) attachments: Vec<Bytes>,
}

/// A value as JSON.
#[cfg(feature = "socketio-adapter")]
#[derive(Debug, Default)]
pub(crate) struct SplitJson {
    pub(crate) text: String,
    /// The values that are bytes, and where the text has their placeholders, in ascending order.
    pub(crate) bytes: Vec<(Range<usize>, Bytes)>,
}

/// Reads one value.
#[cfg(feature = "socketio-adapter")]
pub(crate) fn read_json(message: &[u8]) -> Result<SplitJson, PacketError> {
    // The message bounds them.
    let limits = SocketIoLimits::new().attachments(usize::MAX).attachment_bytes(usize::MAX);
    let mut reader = Reader::new(message, &limits);
    let mut json = Vec::with_capacity(message.len());
    reader.value(&mut json, 0)?;
    if !reader.rest.is_empty() {
        return Err(malformed("bytes after the value"));
    }
    let text = String::from_utf8(json).map_err(malformed)?;
    Ok(SplitJson { text, bytes: reader.places.into_iter().zip(reader.attachments).collect() })
}

/// Reads the fields of a packet. Others are ignored.
pub(super) fn read_fields(
    message: &[u8],
    limits: &SocketIoLimits,
) -> Result<PacketFields, PacketError> {
    let mut reader = Reader::new(message, limits);
    let mut fields = PacketFields::default();
    for _ in 0..read_map_len(&mut reader.rest).map_err(malformed)? {
        let key = reader.key()?;
        let mut json = Vec::new();
        let before = reader.attachments.len();
        reader.value(&mut json, 0)?;
        let json = String::from_utf8(json).map_err(malformed)?;
        if key != "data" {
            reader.attachments.truncate(before);
        }
        // A field that is `undefined` is absent.
        if json == "null" {
            continue;
        }
        match &*key {
            "type" => fields.kind = Some(json.parse().map_err(malformed)?),
            "nsp" => fields.namespace = Some(serde_json::from_str(&json).map_err(malformed)?),
            "id" => fields.id = Some(json.parse().map_err(|_| PacketError::Id)?),
            "data" => fields.data = Some(json),
            _ => {}
        }
    }
    if !reader.rest.is_empty() {
        return Err(malformed("bytes after the packet"));
    }
    if reader.has_placeholder && !reader.attachments.is_empty() {
        return Err(malformed("a map with `_placeholder: true` beside binary data"));
    }
    fields.attachments = reader.attachments;
    Ok(fields)
}

fn malformed(error: impl ToString) -> PacketError {
    PacketError::Payload(error.to_string())
}

/// The type of the extensions of the official implementation. Their length tells what they are.
const EXTENSION: i8 = 0;

/// Reads values. Each takes at least one byte, so a length that a peer claims reserves nothing.
///
/// An attachment takes more memory than its bytes in the packet. So the limits are checked before it
/// is kept.
struct Reader<'a> {
    rest: &'a [u8],
    attachments: Vec<Bytes>,
    /// How many bytes of attachments may follow.
    left: usize,
    limits: &'a SocketIoLimits,
    /// Whether a map of the peer would be a placeholder in the JSON. In MessagePack it is data.
    has_placeholder: bool,
    /// The placeholders of the attachments in the JSON.
    #[cfg(feature = "socketio-adapter")]
    places: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    const fn new(rest: &'a [u8], limits: &'a SocketIoLimits) -> Self {
        Self {
            rest,
            attachments: Vec::new(),
            left: limits.attachment_bytes,
            limits,
            has_placeholder: false,
            #[cfg(feature = "socketio-adapter")]
            places: Vec::new(),
        }
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], PacketError> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = split.ok_or_else(|| malformed("a value is cut off"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, PacketError> {
        let len = read_str_len(&mut self.rest).map_err(malformed)?;
        std::str::from_utf8(self.take(len)?).map_err(malformed)
    }

    /// The key of a map, which is a text in JSON.
    fn key(&mut self) -> Result<String, PacketError> {
        let mut json = Vec::new();
        match self.marker()? {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                return self.text().map(str::to_owned);
            }
            Marker::FixPos(_) | Marker::FixNeg(_) => self.value(&mut json, MAX_DEPTH)?,
            _ => return Err(malformed("a key that is no text")),
        }
        String::from_utf8(json).map_err(malformed)
    }

    fn marker(&self) -> Result<Marker, PacketError> {
        let first = self.rest.first().ok_or_else(|| malformed("a value is missing"))?;
        Ok(Marker::from_u8(*first))
    }

    /// Appends the next value as JSON.
    fn value(&mut self, json: &mut Vec<u8>, depth: usize) -> Result<(), PacketError> {
        if depth > MAX_DEPTH {
            return Err(malformed("values are nested too deep"));
        }
        match self.marker()? {
            Marker::Null => {
                read_nil(&mut self.rest).map_err(malformed)?;
                json.extend_from_slice(b"null");
            }
            Marker::True | Marker::False => {
                write_json(json, &read_bool(&mut self.rest).map_err(malformed)?);
            }
            Marker::U64 => {
                write_json(json, &read_int::<u64, _>(&mut self.rest).map_err(malformed)?)
            }
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => {
                write_json(json, &read_int::<i64, _>(&mut self.rest).map_err(malformed)?);
            }
            Marker::F32 => write_json(json, &read_f32(&mut self.rest).map_err(malformed)?),
            Marker::F64 => write_json(json, &read_f64(&mut self.rest).map_err(malformed)?),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                write_json(json, self.text()?);
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let len = read_bin_len(&mut self.rest).map_err(malformed)?;
                self.attachment(json, len)?;
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                json.push(b'[');
                for at in 0..read_array_len(&mut self.rest).map_err(malformed)? {
                    if at > 0 {
                        json.push(b',');
                    }
                    self.value(json, depth + 1)?;
                }
                json.push(b']');
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                json.push(b'{');
                for at in 0..read_map_len(&mut self.rest).map_err(malformed)? {
                    if at > 0 {
                        json.push(b',');
                    }
                    let key = self.key()?;
                    write_json(json, &key);
                    json.push(b':');
                    if key == "_placeholder" && self.marker()? == Marker::True {
                        self.has_placeholder = true;
                    }
                    self.value(json, depth + 1)?;
                }
                json.push(b'}');
            }
            Marker::FixExt8 => {
                let meta = read_ext_meta(&mut self.rest).map_err(malformed)?;
                let millis = self.take(meta.size)?.first_chunk().map(|it| i64::from_be_bytes(*it));
                let date = millis.filter(|_| meta.typeid == EXTENSION).and_then(iso_8601);
                write_json(json, &date);
            }
            // An `ArrayBuffer` of node. Browsers send it as binary.
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let meta = read_ext_meta(&mut self.rest).map_err(malformed)?;
                match meta.typeid {
                    EXTENSION => self.attachment(json, meta.size)?,
                    _ => self.skip(json, meta.size)?,
                }
            }
            Marker::FixExt1 | Marker::FixExt2 | Marker::FixExt4 | Marker::FixExt16 => {
                let meta = read_ext_meta(&mut self.rest).map_err(malformed)?;
                self.skip(json, meta.size)?;
            }
            Marker::Reserved => return Err(malformed("a value of an unknown type")),
        }
        Ok(())
    }

    /// Takes binary data of this length, and appends its placeholder.
    fn attachment(&mut self, json: &mut Vec<u8>, len: u32) -> Result<(), PacketError> {
        let number = self.attachments.len();
        if number >= self.limits.attachments {
            return Err(PacketError::TooManyAttachments);
        }
        let bytes = self.take(len)?;
        self.left = self.left.checked_sub(bytes.len()).ok_or(PacketError::AttachmentsTooLong)?;
        self.attachments.push(Bytes::copy_from_slice(bytes));
        #[cfg(feature = "socketio-adapter")]
        let start = json.len();
        // It cannot fail.
        let _ = write!(json, r#"{{"_placeholder":true,"num":{number}}}"#);
        #[cfg(feature = "socketio-adapter")]
        self.places.push(start..json.len());
        Ok(())
    }

    /// Takes a value of this length that JSON does not have.
    fn skip(&mut self, json: &mut Vec<u8>, len: u32) -> Result<(), PacketError> {
        self.take(len)?;
        json.extend_from_slice(b"null");
        Ok(())
    }
}

/// Appends a value as JSON, which cannot fail.
fn write_json<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(json, value);
}

/// A packet as a binary message. `json` has placeholders for the attachments.
pub(crate) fn encode<'a>(
    kind: PacketType,
    namespace: &str,
    id: Option<u64>,
    json: &[u8],
    attachments: impl Iterator<Item = &'a Bytes>,
) -> PreparedMessage {
    let attachments: Vec<_> = attachments.collect();
    let data = std::str::from_utf8(json).ok().filter(|json| !json.is_empty());
    let mut bytes = Vec::with_capacity(json.len() + namespace.len() + 32);
    let fields = 2 + u32::from(id.is_some()) + u32::from(data.is_some());
    let mut write = || {
        write_map_len(&mut bytes, fields).ok()?;
        write_str(&mut bytes, "type").ok()?;
        write_uint(&mut bytes, u64::from(kind.digit(false) - b'0')).ok()?;
        write_str(&mut bytes, "nsp").ok()?;
        write_str(&mut bytes, namespace).ok()?;
        if let Some(id) = id {
            write_str(&mut bytes, "id").ok()?;
            write_uint(&mut bytes, id).ok()?;
        }
        if let Some(data) = data {
            write_str(&mut bytes, "data").ok()?;
            transcode(&mut bytes, data, &attachments)?;
        }
        Some(())
    };
    // It cannot fail: the output is memory.
    let _ = write();
    PreparedMessage::new(Message::binary(bytes))
}

/// Replaces the text at the end of a packet, if it is this one.
pub(crate) fn replace_last(packet: &[u8], last: &str, text: &str) -> Option<Vec<u8>> {
    let mut end = Vec::new();
    write_str(&mut end, last).ok()?;
    let mut bytes = packet.strip_suffix(&end[..])?.to_vec();
    write_str(&mut bytes, text).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::socketio::{Packet, PacketDecoder, SocketIoLimits};

    fn decode(bytes: &[u8]) -> Result<Option<Packet>, PacketError> {
        PacketDecoder::new(SocketIoLimits::new()).decode(Message::binary(bytes.to_vec()))
    }

    fn event(json: &str, attachments: &[Bytes]) -> Vec<u8> {
        let json = json.as_bytes();
        let message = encode(PacketType::Event, "/n", Some(7), json, attachments.iter());
        message.message().as_bytes().to_vec()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let x = Bytes::from_static(b"x");
        for (json, data, attachments) in [
            (r#"["a"]"#, "null", &[][..]),
            (r#"["a",[null,true,-1,300,1.5,"\u0000ü",{"k":[]}]]"#, "", &[]),
            (r#"["a",18446744073709551615]"#, "18446744073709551615", &[]),
            (r#"["a",{"_placeholder":true,"num":0}]"#, r#"{"_placeholder":true,"num":0}"#, &[x]),
            // No attachment has this number.
            (r#"["a",{"_placeholder":true,"num":1}]"#, r#"{"_placeholder":true,"num":1}"#, &[]),
        ] {
            let packet = decode(&event(json, attachments)).unwrap().unwrap();
            assert_eq!(
                (packet.kind, &*packet.namespace, packet.id),
                (PacketType::Event, "/n", Some(7))
            );
            assert_eq!((&*packet.name, packet.attachments.as_slice()), ("a", attachments));
            let data = if data.is_empty() { &json[5..json.len() - 1] } else { data };
            assert_eq!(packet.data, data);
        }
    }

    /// An event with one argument, whose bytes are given.
    fn event_of(value: &[u8]) -> Vec<u8> {
        [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a", value].concat()
    }

    /// The bytes are those that the official encoder writes for the value in the comment.
    #[test]
    fn values_that_json_does_not_have_become_what_its_parser_gives() {
        let check = |value: &[u8], data: &str, attachments: &[&'static [u8]]| {
            let packet = decode(&event_of(value)).unwrap().unwrap();
            assert_eq!(packet.data, data, "{value:02x?}");
            assert_eq!(packet.attachments, attachments, "{value:02x?}");
        };
        // new Date(0)
        check(b"\xd7\0\0\0\0\0\0\0\0\0", r#""1970-01-01T00:00:00.000Z""#, &[]);
        // new Date("2024-02-29T12:34:56.789Z")
        let date = b"\xd7\0\0\0\x01\x8d\xf4\xdc\x54\x95";
        check(date, r#""2024-02-29T12:34:56.789Z""#, &[]);
        // new Date(-1)
        check(b"\xd7\0\xff\xff\xff\xff\xff\xff\xff\xff", r#""1969-12-31T23:59:59.999Z""#, &[]);
        // The last date, and what is no date.
        check(b"\xd7\0\0\x1e\xb2\x08\xc2\xdc\0\0", r#""+275760-09-13T00:00:00.000Z""#, &[]);
        check(b"\xd7\0\0\x1e\xb2\x08\xc2\xdc\0\x01", "null", &[]);
        check(b"\xd7\0\x80\0\0\0\0\0\0\0", "null", &[]);
        // undefined
        check(b"\xd4\0\0", "null", &[]);
        // new Uint8Array([1, 2]).buffer, on node
        check(b"\xc7\x02\0\x01\x02", r#"{"_placeholder":true,"num":0}"#, &[b"\x01\x02"]);
        check(b"\xc8\0\x01\0x", r#"{"_placeholder":true,"num":0}"#, &[b"x"]);
        check(b"\xc9\0\0\0\0\0", r#"{"_placeholder":true,"num":0}"#, &[b""]);
        // NaN, Infinity
        check(b"\xcb\x7f\xf8\0\0\0\0\0\0", "null", &[]);
        check(b"\xcb\x7f\xf0\0\0\0\0\0\0", "null", &[]);
        // Extensions of other implementations.
        check(b"\xd6\xff\0\0\0\0", "null", &[]);
        check(b"\xd7\xff\0\0\0\0\0\0\0\0", "null", &[]);
        check(b"\xc7\x02\x01ab", "null", &[]);
        check(b"\xd8\0aaaaaaaaaaaaaaaa", "null", &[]);
    }

    /// A packet that exceeds a limit, and is malformed behind: the limit is found first.
    #[test]
    fn limits_of_attachments_are_checked_before_one_is_kept() {
        let limits = SocketIoLimits::new().attachments(2).attachment_bytes(3);
        let check = |values: &[u8], error: PacketError| {
            let mut decoder = PacketDecoder::new(limits.clone());
            let packet = event_of(values);
            assert_eq!(decoder.decode(Message::binary(packet)), Err(error), "{values:02x?}");
        };
        check(b"\x94\xc4\0\xc4\0\xc4\0\xc1", PacketError::TooManyAttachments);
        check(b"\x94\xc4\0\xc7\0\0\xc7\0\0\xc1", PacketError::TooManyAttachments);
        check(b"\x93\xc4\x01a\xc4\x03aaa\xc1", PacketError::AttachmentsTooLong);
        // Also in a field that is ignored.
        let mut decoder = PacketDecoder::new(limits);
        let packet = b"\x81\xa1x\x93\xc4\0\xc4\0\xc4\0".to_vec();
        assert_eq!(decoder.decode(Message::binary(packet)), Err(PacketError::TooManyAttachments));
    }

    #[test]
    fn a_malformed_packet_is_an_error() {
        let deep = [&b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data"[..], &[0x91; 100], &[0xc0]].concat();
        for bytes in [
            &b""[..],
            b"\xc1",
            b"\x80",
            b"\x81\xa4type",
            b"\x81\xa4type\x09",
            b"\x82\xa4type\x02\xa3nsp\xa1/",
            b"\x82\xa4type\x00\xa3nsp\x01",
            b"\x82\xa4type\x00\xa3nsp\xa1/\x00",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xc6\xff\xff\xff\xff",
            b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x80",
            b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x90",
            &deep,
        ] {
            assert!(decode(bytes).is_err(), "{bytes:02x?}");
        }
        // `undefined` is absent.
        let connect = b"\x84\xa4type\x00\xa3nsp\xa1/\xa4data\xd4\0\0\xa7options\x80";
        assert_eq!(decode(connect).unwrap().unwrap().data, "null");
    }

    #[test]
    fn limits_hold() {
        let many = [Bytes::from_static(b"x"); 1];
        let limits = SocketIoLimits::new().attachments(0);
        let json = r#"["a",{"_placeholder":true,"num":0}]"#;
        let packet = event(json, &many);
        let decoded = PacketDecoder::new(limits).decode(Message::binary(packet.clone()));
        assert_eq!(decoded, Err(PacketError::TooManyAttachments));
        let limits = SocketIoLimits::new().attachment_bytes(0);
        let decoded = PacketDecoder::new(limits).decode(Message::binary(packet));
        assert_eq!(decoded, Err(PacketError::AttachmentsTooLong));
        // A session has one format.
        let mut decoder = PacketDecoder::new(SocketIoLimits::new());
        decoder.decode(Message::binary(event(r#"["a"]"#, &[]))).unwrap();
        assert_eq!(decoder.decode(Message::from("40")), Err(PacketError::Type));
    }

    /// Each row has an `auth`, and the JSON that an application gets, or the error.
    #[test]
    fn binary_values_of_an_auth_are_base64_within_its_limit() {
        let check = |auth: &[u8], expected: Result<&str, PacketError>| {
            let mut decoder = PacketDecoder::new(SocketIoLimits::new().auth_bytes(20));
            let packet = [b"\x83\xa4type\0\xa3nsp\xa1/\xa4data", auth].concat();
            let decoded = decoder.decode(Message::binary(packet)).map(Option::unwrap);
            let decoded = decoded.map(|packet| (packet.data, packet.attachments));
            assert_eq!(decoded, expected.map(|json| (json.to_owned(), Vec::new())), "{auth:02x?}");
        };
        check(b"\x81\xa1t\xc4\x04zero", Ok(r#"{"t":"emVybw=="}"#));
        check(b"\x81\xa1t\x92\xc4\x01a\xc4\0", Ok(r#"{"t":["YQ==",""]}"#));
        check(b"\x81\xa1t\xc4\x09123456789", Ok(r#"{"t":"MTIzNDU2Nzg5"}"#));
        check(b"\x81\xa1t\xc4\x0d1234567890123", Err(PacketError::AuthTooLong));
        check(b"\xc4\x04zero", Err(PacketError::Payload("`auth` is no object".to_owned())));
    }

    /// JSON values.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            // Numbers whose text is exact.
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::hash_map(".{0,10}", inner, 0..20)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", bytes.as_slice()].concat());
        }

        #[test]
        fn any_packet_is_decoded_as_it_was_encoded(
            value in values(),
            id in prop::option::of(any::<u64>()),
        ) {
            let json = serde_json::to_vec(&("a", &value)).unwrap();
            let none = std::iter::empty();
            let message = encode(PacketType::Event, "/n", id, &json, none);
            let packet = decode(message.message().as_bytes()).unwrap().unwrap();
            prop_assert_eq!((&*packet.namespace, packet.id, &*packet.name), ("/n", id, "a"));
            prop_assert_eq!(serde_json::from_str::<Value>(&packet.data).unwrap(), value);
        }
    }
}
