//! How is a broadcast encoded as one piece of bytes, independent of the protocols of its recipients?
//!
//! ```text
//! record  = kind:u8 list(except ids) list(except rooms) content
//! list    = count:u32 (length:u32 bytes)*
//! content = bytes                                                  kind 1: text, 2: binary
//!         | length:u32 name shape:u8 attachments json              kind 3: an event
//! attachments = count:u32 (place:u32 length:u32 bytes)*
//! ```
//!
//! Numbers are big-endian. The place of an attachment is an offset in the JSON.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use ws_core::{Message, PreparedMessage};

use crate::events::data::EventData;
use crate::events::protocol::{Content, OutgoingEvent};
use crate::events::shape::ArgShape;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const EVENT: u8 = 3;

/// A broadcast as it was stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BroadcastRecord {
    /// The ids and the rooms of the sockets that do not get it.
    pub(crate) except_ids: Vec<Arc<str>>,
    pub(crate) except_rooms: Vec<Arc<str>>,
    pub(crate) content: RecordContent,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecordContent {
    Message(Message),
    Event { name: String, data: EventData },
}

/// Encodes a broadcast.
pub(crate) fn encode_record(
    content: Content<'_>,
    except_ids: &[Arc<str>],
    except_rooms: &[Arc<str>],
) -> Vec<u8> {
    let size = match content {
        Content::Message(message, _) => message.message().len(),
        Content::Event(event) => event.name.len() + event.data.len() + 32,
    };
    let mut record = Vec::with_capacity(size + 16);
    record.push(match content {
        Content::Message(message, _) if message.message().is_text() => TEXT,
        Content::Message(..) => BINARY,
        Content::Event(_) => EVENT,
    });
    for list in [except_ids, except_rooms] {
        put_u32(&mut record, list.len());
        list.iter().for_each(|text| put_bytes(&mut record, text.as_bytes()));
    }
    match content {
        Content::Message(message, _) => record.extend_from_slice(message.message().as_bytes()),
        Content::Event(OutgoingEvent { name, data, .. }) => {
            let (json, attachments, shape) = data.as_parts();
            put_bytes(&mut record, name.as_bytes());
            record.push(match shape {
                ArgShape::Nothing => 0,
                ArgShape::One => 1,
                ArgShape::Tuple => 2,
            });
            put_u32(&mut record, attachments.len());
            for (place, bytes) in attachments {
                put_u32(&mut record, *place);
                put_bytes(&mut record, bytes);
            }
            record.extend_from_slice(json);
        }
    }
    record
}

/// Reads a broadcast; `None` if the bytes are no record.
pub(crate) fn decode_record(mut record: Bytes) -> Option<BroadcastRecord> {
    let kind = record.try_get_u8().ok()?;
    let except_ids = take_list(&mut record)?;
    let except_rooms = take_list(&mut record)?;
    let content = match kind {
        TEXT => RecordContent::Message(Message::text_from_bytes(record).ok()?),
        BINARY => RecordContent::Message(Message::binary(record)),
        EVENT => {
            let name = take_text(&mut record)?;
            let shape = match record.try_get_u8().ok()? {
                0 => ArgShape::Nothing,
                1 => ArgShape::One,
                2 => ArgShape::Tuple,
                _ => return None,
            };
            let count = take_usize(&mut record)?;
            if count > record.len() / 8 {
                return None;
            }
            let take = |record: &mut Bytes| Some((take_usize(record)?, take_bytes(record)?));
            let attachments = (0..count).map(|_| take(&mut record)).collect::<Option<_>>()?;
            RecordContent::Event { name, data: EventData::of_parts(&record, attachments, shape)? }
        }
        _ => return None,
    };
    Some(BroadcastRecord { except_ids, except_rooms, content })
}

impl RecordContent {
    /// Calls `send` with the content, for the sockets of a namespace.
    pub(crate) fn with_content<T>(self, namespace: &str, send: impl FnOnce(Content<'_>) -> T) -> T {
        match self {
            Self::Message(message) => {
                send(Content::Message(&PreparedMessage::new(message), namespace))
            }
            Self::Event { name, data } => {
                send(Content::Event(&OutgoingEvent { namespace, name: &name, data, ack: None }))
            }
        }
    }
}

fn put_u32(record: &mut Vec<u8>, number: usize) {
    // A message has at most 4 GiB.
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    record.extend_from_slice(&number.to_be_bytes());
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(record, bytes.len());
    record.extend_from_slice(bytes);
}

fn take_usize(record: &mut Bytes) -> Option<usize> {
    usize::try_from(record.try_get_u32().ok()?).ok()
}

fn take_bytes(record: &mut Bytes) -> Option<Bytes> {
    let len = take_usize(record)?;
    (len <= record.len()).then(|| record.split_to(len))
}

fn take_text(record: &mut Bytes) -> Option<String> {
    Some(std::str::from_utf8(&take_bytes(record)?).ok()?.to_owned())
}

fn take_list(record: &mut Bytes) -> Option<Vec<Arc<str>>> {
    let count = take_usize(record)?;
    if count > record.len() / 4 {
        return None;
    }
    (0..count).map(|_| take_text(record).map(Arc::from)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(texts: &[&str]) -> Vec<Arc<str>> {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    /// A content → its record is read as it was written, and no part without the last `rest` bytes is.
    #[track_caller]
    fn check(content: Content<'_>, expected: RecordContent, rest: usize) {
        for (ids, rooms) in [(list(&[]), list(&[])), (list(&["a", "ü"]), list(&["room"]))] {
            let record = Bytes::from(encode_record(content, &ids, &rooms));
            let decoded = decode_record(record.clone());
            let head = record.len() - rest;
            assert!((0..head).all(|len| decode_record(record.slice(..len)).is_none()));
            let decoded = decoded.unwrap();
            assert_eq!(decoded.content, expected);
            assert_eq!((decoded.except_ids, decoded.except_rooms), (ids, rooms));
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for message in [Message::from("text"), Message::binary(vec![0, 255]), Message::from("")] {
            let prepared = PreparedMessage::new(message.clone());
            let len = message.len();
            check(Content::Message(&prepared, "/"), RecordContent::Message(message), len);
        }
        let bytes = Bytes::from_static(b"\xFF\0");
        let event = OutgoingEvent::new("/", "ü", &("a", &bytes, 1, &bytes)).unwrap();
        let data = event.data.clone();
        // The JSON is the rest.
        let len = data.len();
        check(Content::Event(&event), RecordContent::Event { name: "ü".to_owned(), data }, len);
        let event = OutgoingEvent::new("/", "none", &()).unwrap();
        let data = event.data.clone();
        let len = data.len();
        check(Content::Event(&event), RecordContent::Event { name: "none".to_owned(), data }, len);
        assert_eq!(decode_record(Bytes::from_static(b"\x04\0\0\0\0\0\0\0\0")), None);
        assert_eq!(decode_record(Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0\xFF")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_nothing(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for kind in 0..5 {
                if let Some(first) = bytes.first_mut() {
                    *first = kind;
                }
                let _ = decode_record(Bytes::from(bytes.clone()));
            }
        }
    }
}
