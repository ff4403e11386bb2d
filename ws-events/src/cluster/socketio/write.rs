//! How are the messages of `@socket.io/redis-adapter` written?

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rmp::encode::{write_array_len, write_bool, write_map_len, write_str, write_uint};
use serde_json::{Value, json};

use super::wire::{EVENT_PACKETS, MESSAGE, kind};
use crate::cluster::envelope::{BroadcastBody, EventBody, ListedSocket, Operation, Target};
use crate::socketio::transcode;

/// The rooms and the exceptions of a target, as Node.js has them. `None` if it has no sockets.
fn options(target: &Target) -> Option<(Vec<&str>, Vec<&str>)> {
    let rooms = target.rooms.iter().chain(&target.ids).map(AsRef::as_ref).collect::<Vec<_>>();
    let except = target.except_rooms.iter().chain(&target.except_ids).map(AsRef::as_ref).collect();
    if target.everyone {
        return Some((Vec::new(), except));
    }
    // Without rooms, it would be for all.
    (!rooms.is_empty()).then_some((rooms, except))
}

/// The JSON array of a name and arguments, with placeholders for the attachments.
fn arguments(body: &BroadcastBody) -> (String, Vec<&Bytes>) {
    let placeholder = |number| json!({ "_placeholder": true, "num": number });
    match body {
        BroadcastBody::Text(text) => {
            (json!([MESSAGE, String::from_utf8_lossy(text)]).to_string(), Vec::new())
        }
        BroadcastBody::Binary(bytes) => (json!([MESSAGE, placeholder(0)]).to_string(), vec![bytes]),
        BroadcastBody::Event(event) => {
            let arguments = event_arguments(event, |number, _| placeholder(number).to_string());
            (arguments, event.bytes.iter().map(|(_, bytes)| bytes).collect())
        }
    }
}

/// The data of an event, with `write` in place of its bytes.
fn fill(event: &EventBody, write: impl Fn(usize, &Bytes) -> String) -> String {
    let (mut text, mut done) = (Vec::with_capacity(event.json.len()), 0);
    for (number, (place, bytes)) in event.bytes.iter().enumerate() {
        let place = usize::try_from(*place).unwrap_or(usize::MAX);
        text.extend_from_slice(event.json.get(done..place).unwrap_or_default());
        text.extend_from_slice(write(number, bytes).as_bytes());
        done = place;
    }
    text.extend_from_slice(event.json.get(done..).unwrap_or_default());
    String::from_utf8(text).unwrap_or_else(|_| "null".to_owned())
}

/// The JSON array of the name and the arguments, with `write` in place of the bytes. Their text is not
/// deserialised: a peer may have written it.
fn event_arguments(event: &EventBody, write: impl Fn(usize, &Bytes) -> String) -> String {
    let (name, data) = (Value::from(&*event.name), fill(event, write));
    let elements = data.strip_prefix('[').and_then(|elements| elements.strip_suffix(']'));
    match (event.shape, elements) {
        (0, _) | (2, Some("")) => format!("[{name}]"),
        (2, Some(elements)) => format!("[{name},{elements}]"),
        _ => format!("[{name},{data}]"),
    }
}

/// Writes MessagePack, which cannot fail: the output is memory.
struct NodeWriter(Vec<u8>);

impl NodeWriter {
    fn map(&mut self, len: u32) {
        let _ = write_map_len(&mut self.0, len);
    }

    fn array(&mut self, len: usize) {
        let _ = write_array_len(&mut self.0, len.try_into().unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        let _ = write_str(&mut self.0, text);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.text(key);
        let _ = write_uint(&mut self.0, number);
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.text(key);
        let _ = write_bool(&mut self.0, value);
    }

    fn texts(&mut self, key: &str, texts: &[&str]) {
        self.text(key);
        self.array(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn packet(&mut self, namespace: &str, body: &BroadcastBody) {
        let (args, attachments) = arguments(body);
        self.map(3);
        self.number("type", EVENT_PACKETS[0]);
        self.text("data");
        let _ = transcode(&mut self.0, &args, &attachments);
        self.text("nsp");
        self.text(namespace);
    }

    /// The options of a target that has sockets.
    fn options(&mut self, (rooms, except): &(Vec<&str>, Vec<&str>), flags: &[(&str, bool)]) {
        self.map(3);
        self.texts("rooms", rooms);
        self.texts("except", except);
        self.text("flags");
        self.map(flags.len().try_into().unwrap_or(0));
        flags.iter().for_each(|(key, value)| self.flag(key, *value));
    }
}

/// A broadcast, and its only room, if there is one. `None` if the target has no sockets.
pub(super) fn broadcast<'a>(
    uid: &str,
    namespace: &str,
    target: &'a Target,
    volatile: bool,
    body: &BroadcastBody,
) -> Option<(Option<&'a str>, Bytes)> {
    let options = options(target)?;
    let mut flags = Vec::new();
    flags.extend(volatile.then_some(("volatile", true)));
    flags.extend(target.uncompressed.then_some(("compress", false)));
    let mut out = NodeWriter(Vec::new());
    out.array(3);
    out.text(uid);
    out.packet(namespace, body);
    out.options(&options, &flags);
    let room = match options.0.as_slice() {
        [room] => Some(*room),
        _ => None,
    };
    Some((room, out.0.into()))
}

/// A broadcast that sockets acknowledge. `None` if the target has no sockets.
pub(super) fn broadcast_with_acks(
    uid: &str,
    namespace: &str,
    id: &str,
    target: &Target,
    event: EventBody,
) -> Option<Bytes> {
    let options = options(target)?;
    let mut out = NodeWriter(Vec::new());
    out.map(5);
    out.text("uid");
    out.text(uid);
    out.text("requestId");
    out.text(id);
    out.number("type", kind::BROADCAST);
    out.text("packet");
    out.packet(namespace, &BroadcastBody::Event(event));
    out.text("opts");
    out.options(&options, &[]);
    Some(out.0.into())
}

/// A request for sockets. `None` if the target has none.
pub(super) fn fetch(uid: &str, id: &str, target: &Target) -> Option<Bytes> {
    let (rooms, except) = options(target)?;
    let opts = json!({ "rooms": rooms, "except": except });
    Some(text(&json!({ "uid": uid, "requestId": id, "type": kind::REMOTE_FETCH, "opts": opts })))
}

/// An operation. `None` if the target has no sockets.
pub(super) fn operation(uid: &str, target: &Target, operation: &Operation) -> Option<Bytes> {
    let (rooms, except) = options(target)?;
    let opts = json!({ "rooms": rooms, "except": except });
    let request = |kind, key: &str, value: Value| json!({ "uid": uid, "type": kind, "opts": opts, (key): value });
    Some(text(&match operation {
        Operation::Join(room) => request(kind::REMOTE_JOIN, "rooms", json!([&**room])),
        Operation::Leave(room) => request(kind::REMOTE_LEAVE, "rooms", json!([&**room])),
        // The protocol has no codes.
        Operation::CloseSession(..) => request(kind::REMOTE_DISCONNECT, "close", true.into()),
        Operation::Close(..) => request(kind::REMOTE_DISCONNECT, "close", false.into()),
    }))
}

/// An event for the other servers, which answer if there is an id. Bytes are base64.
pub(super) fn server_event(uid: &str, id: Option<&str>, event: &EventBody) -> Bytes {
    let data = event_arguments(event, |_, bytes| format!("\"{}\"", STANDARD.encode(bytes)));
    let mut request = json!({ "uid": uid, "type": kind::SERVER_SIDE_EMIT });
    if let (Some(id), Some(request)) = (id, request.as_object_mut()) {
        request.insert("requestId".to_owned(), id.into());
    }
    with_data(&request, &data)
}

/// The answer to [`NodeQuestion::Ids`].
pub(super) fn ids_answer(id: &str, ids: &[Arc<str>]) -> Bytes {
    let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
    text(&json!({ "requestId": id, "sockets": ids }))
}

/// The answer to [`NodeQuestion::Rooms`].
pub(super) fn rooms_answer(id: &str, rooms: &[Arc<str>]) -> Bytes {
    let rooms: Vec<&str> = rooms.iter().map(AsRef::as_ref).collect();
    text(&json!({ "requestId": id, "rooms": rooms }))
}

/// The answer to an operation of one socket.
pub(super) fn done_answer(id: &str) -> Bytes {
    text(&json!({ "requestId": id }))
}

/// The answer to [`NodeQuestion::Sockets`]. The handshake of a socket stays here.
pub(super) fn sockets_answer(id: &str, sockets: &[ListedSocket]) -> Bytes {
    let handshake = json!({ "headers": {}, "query": {}, "auth": {} });
    let socket = |(id, rooms): &ListedSocket| {
        let rooms: Vec<&str> = [id].into_iter().chain(rooms).map(AsRef::as_ref).collect();
        json!({ "id": &**id, "handshake": handshake, "rooms": rooms, "data": {} })
    };
    let sockets: Vec<_> = sockets.iter().map(socket).collect();
    text(&json!({ "requestId": id, "sockets": sockets }))
}

/// The number of sockets that acknowledge.
pub(super) fn client_count(id: &str, count: u64) -> Bytes {
    text(&json!({ "type": kind::CLIENT_COUNT, "requestId": id, "clientCount": count }))
}

/// The acknowledgement of a socket: JSON with placeholders.
pub(super) fn acknowledgement(id: &str, json: &[u8], attachments: &[Bytes]) -> Bytes {
    let attachments: Vec<_> = attachments.iter().collect();
    let mut out = NodeWriter(Vec::new());
    out.map(3);
    out.number("type", kind::ACK);
    out.text("requestId");
    out.text(id);
    out.text("packet");
    let _ = transcode(&mut out.0, text_of(json), &attachments);
    out.0.into()
}

/// The answer of a handler of a server event.
pub(super) fn reply(id: &str, json: &[u8]) -> Bytes {
    with_data(&json!({ "type": kind::SERVER_SIDE_EMIT, "requestId": id }), text_of(json))
}

/// The text of JSON.
fn text_of(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or("null")
}

/// An object with one more field, `data`.
fn with_data(object: &Value, data: &str) -> Bytes {
    let mut text = object.to_string();
    text.pop();
    text.push_str(&format!(",\"data\":{data}}}"));
    text.into()
}

fn text(value: &Value) -> Bytes {
    value.to_string().into()
}
