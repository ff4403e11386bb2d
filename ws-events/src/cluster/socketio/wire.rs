//! How are the messages of `@socket.io/redis-adapter` read?
//!
//! Longer than 400 lines because all of them have the same fields. [`write`](super::write) writes them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::cluster::envelope::{
    BroadcastBody, EventBody, ListedSocket, Operation, RemoteAck, Target,
};
use crate::cluster::fields::Malformed;
use crate::socketio::msgpack::{self, SplitJson};

/// The most rooms, arguments or attachments of a message.
pub(super) const MAX_ITEMS: usize = 16 * 1024;

/// The name of the event that stands for a message.
pub(super) const MESSAGE: &str = "message";

/// The types of requests and answers.
pub(super) mod kind {
    pub(in super::super) const SOCKETS: u64 = 0;
    pub(in super::super) const ALL_ROOMS: u64 = 1;
    pub(in super::super) const REMOTE_JOIN: u64 = 2;
    pub(in super::super) const REMOTE_LEAVE: u64 = 3;
    pub(in super::super) const REMOTE_DISCONNECT: u64 = 4;
    pub(in super::super) const REMOTE_FETCH: u64 = 5;
    pub(in super::super) const SERVER_SIDE_EMIT: u64 = 6;
    pub(in super::super) const BROADCAST: u64 = 7;
    pub(in super::super) const CLIENT_COUNT: u64 = 8;
    pub(in super::super) const ACK: u64 = 9;
}

/// The types of packets that are events, without and with attachments.
pub(super) const EVENT_PACKETS: [u64; 2] = [2, 5];

/// A broadcast of another server.
#[derive(Debug, PartialEq)]
pub(super) struct NodeBroadcast {
    pub(super) target: Target,
    pub(super) volatile: bool,
    pub(super) body: BroadcastBody,
}

/// A request of a server.
#[derive(Debug, PartialEq)]
pub(super) struct NodeRequest {
    /// Who asks. An emitter does not say it.
    pub(super) uid: Option<String>,
    /// An answer has it. Without one, nobody waits for an answer.
    pub(super) id: Option<String>,
    pub(super) what: NodeQuestion,
}

/// What a server is asked to do.
#[derive(Debug, PartialEq)]
pub(super) enum NodeQuestion {
    /// The ids of sockets.
    Ids(Target),
    Rooms,
    Operate(Target, Vec<Operation>),
    Sockets(Target),
    ServerEvent(EventBody),
    /// With the timeout, if the server says it.
    Acks(Target, EventBody, Option<Duration>),
    Unknown,
}

/// An answer of another server.
#[derive(Debug, PartialEq)]
pub(super) enum NodeAnswer {
    Sockets(Vec<ListedSocket>),
    ClientCount(u64),
    Ack(RemoteAck),
    /// JSON.
    Reply(Bytes),
}

/// The name of a room: a text, or a number of JavaScript.
struct RoomText(Arc<str>);

impl<'de> Deserialize<'de> for RoomText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoomVisitor;

        impl Visitor<'_> for RoomVisitor {
            type Value = RoomText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a room")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<RoomText, E> {
                Ok(RoomText(name.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<RoomText, E> {
                Ok(RoomText(number.to_string().into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RoomText, E> {
                Ok(RoomText(number.to_string().into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<RoomText, E> {
                Ok(RoomText(number.to_string().into()))
            }
        }

        deserializer.deserialize_any(RoomVisitor)
    }
}

#[derive(Deserialize)]
struct PacketJson<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    nsp: Option<String>,
}

#[derive(Default, Deserialize)]
struct OptionsJson {
    #[serde(default)]
    rooms: Vec<RoomText>,
    #[serde(default)]
    except: Vec<RoomText>,
    flags: Option<FlagsJson>,
}

#[derive(Default, Deserialize)]
struct FlagsJson {
    volatile: Option<bool>,
    compress: Option<bool>,
    /// In milliseconds.
    timeout: Option<f64>,
}

#[derive(Deserialize)]
struct RequestJson<'a> {
    #[serde(rename = "type")]
    kind: u64,
    uid: Option<String>,
    #[serde(rename = "requestId")]
    id: Option<String>,
    opts: Option<OptionsJson>,
    #[serde(default)]
    rooms: Vec<RoomText>,
    close: Option<bool>,
    /// The socket of a request to one.
    sid: Option<String>,
    room: Option<RoomText>,
    #[serde(borrow, default)]
    data: Vec<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<PacketJson<'a>>,
}

#[derive(Deserialize)]
struct AnswerHead {
    #[serde(rename = "requestId")]
    id: Option<String>,
}

#[derive(Deserialize)]
struct AnswerJson<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    sockets: Option<Vec<SocketJson>>,
    #[serde(rename = "clientCount")]
    client_count: Option<u64>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SocketJson {
    id: String,
    #[serde(default)]
    rooms: Vec<RoomText>,
}

/// A message as JSON, with placeholders for its bytes.
pub(super) struct NodeMessage(SplitJson);

impl NodeMessage {
    /// A message is JSON if it begins with a brace, and MessagePack otherwise.
    pub(super) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let json = match message.first() {
            Some(b'{') => {
                let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
                SplitJson { text: text.to_owned(), bytes: Vec::new() }
            }
            _ => msgpack::read_json(message).map_err(|_| Malformed)?,
        };
        if json.bytes.len() > MAX_ITEMS { Err(Malformed) } else { Ok(Self(json)) }
    }

    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Malformed> {
        serde_json::from_str(&self.0.text).map_err(|_| Malformed)
    }

    /// A broadcast in a namespace; `None` if this server has sent it.
    pub(super) fn broadcast(
        &self,
        namespace: &str,
        own: &str,
    ) -> Result<Option<NodeBroadcast>, Malformed> {
        let (uid, packet, options): (String, PacketJson<'_>, OptionsJson) = self.parse()?;
        if uid == own {
            return Ok(None);
        }
        let flags = options.flags.unwrap_or_default();
        let (rooms, except) = (options.rooms, options.except);
        let options = OptionsJson { rooms, except, flags: None };
        let mut target = target(options)?;
        target.uncompressed = flags.compress == Some(false);
        let event = self.event(&packet, namespace)?;
        let volatile = flags.volatile == Some(true);
        Ok(Some(NodeBroadcast { target, volatile, body: body(event) }))
    }

    pub(super) fn request(&self, namespace: &str) -> Result<NodeRequest, Malformed> {
        let request: RequestJson<'_> = self.parse()?;
        let RequestJson { kind, uid, id, opts, rooms, close, sid, room, data, packet } = request;
        let one = |sid: String| Target { ids: vec![sid.into()], ..Target::default() };
        let all = |opts: Option<OptionsJson>| target(opts.ok_or(Malformed)?);
        let what = match kind {
            kind::SOCKETS => {
                NodeQuestion::Ids(target(OptionsJson { rooms, ..OptionsJson::default() })?)
            }
            kind::ALL_ROOMS => NodeQuestion::Rooms,
            kind::REMOTE_JOIN | kind::REMOTE_LEAVE => {
                let operation = |room: RoomText| match kind {
                    kind::REMOTE_JOIN => Operation::Join(room.0),
                    _ => Operation::Leave(room.0),
                };
                match (opts, sid, room) {
                    (None, Some(sid), Some(room)) => {
                        NodeQuestion::Operate(one(sid), vec![operation(room)])
                    }
                    (opts, ..) if rooms.len() <= MAX_ITEMS => {
                        let operations = rooms.into_iter().map(operation).collect();
                        NodeQuestion::Operate(all(opts)?, operations)
                    }
                    _ => return Err(Malformed),
                }
            }
            kind::REMOTE_DISCONNECT => {
                let code = NORMAL;
                let operation = match close {
                    Some(true) => Operation::CloseSession(code, "".into()),
                    _ => Operation::Close(code, "".into()),
                };
                let target = match (opts, sid) {
                    (None, Some(sid)) => one(sid),
                    (opts, _) => all(opts)?,
                };
                NodeQuestion::Operate(target, vec![operation])
            }
            kind::REMOTE_FETCH => NodeQuestion::Sockets(all(opts)?),
            kind::SERVER_SIDE_EMIT => NodeQuestion::ServerEvent(self.event_of(&data)?),
            kind::BROADCAST => {
                let packet = packet.ok_or(Malformed)?;
                let mut opts = opts.ok_or(Malformed)?;
                let timeout = opts.flags.take().and_then(|flags| flags.timeout);
                let limit = |limit: f64| Duration::try_from_secs_f64(limit / 1000.0).ok();
                let event = self.event(&packet, namespace)?;
                NodeQuestion::Acks(target(opts)?, event, timeout.and_then(limit))
            }
            _ => NodeQuestion::Unknown,
        };
        Ok(NodeRequest { uid, id, what })
    }

    /// The id of the request that is answered.
    pub(super) fn answered(&self) -> Result<Option<String>, Malformed> {
        Ok(self.parse::<AnswerHead>()?.id)
    }

    pub(super) fn answer(&self) -> Result<NodeAnswer, Malformed> {
        let answer: AnswerJson<'_> = self.parse()?;
        // `null` and `undefined` are absent.
        let json = |value: Option<&RawValue>| value.map_or("null", RawValue::get).to_owned();
        Ok(match (answer.kind, answer.sockets, answer.client_count) {
            (None, Some(sockets), None) => {
                let socket = |socket: SocketJson| {
                    let id: Arc<str> = socket.id.into();
                    let rooms = socket.rooms.into_iter().map(|room| room.0);
                    // A server of Node.js has a room for each socket.
                    let rooms = rooms.filter(|room| *room != id).collect();
                    (id, rooms)
                };
                NodeAnswer::Sockets(sockets.into_iter().map(socket).collect())
            }
            (Some(kind::CLIENT_COUNT), None, Some(count)) => NodeAnswer::ClientCount(count),
            (Some(kind::ACK), None, None) => {
                let attachments = self.0.bytes.iter().map(|(_, bytes)| bytes.clone()).collect();
                NodeAnswer::Ack(RemoteAck::Data(json(answer.packet).into(), attachments))
            }
            (Some(kind::SERVER_SIDE_EMIT), None, None) => {
                NodeAnswer::Reply(json(answer.data).into())
            }
            _ => return Err(Malformed),
        })
    }

    /// The event of a packet in this namespace.
    fn event(&self, packet: &PacketJson<'_>, namespace: &str) -> Result<EventBody, Malformed> {
        let is_here = packet.nsp.as_deref().unwrap_or("/") == namespace;
        if !EVENT_PACKETS.contains(&packet.kind) || !is_here {
            return Err(Malformed);
        }
        self.event_of(&packet.data)
    }

    /// The event of a name and arguments.
    fn event_of(&self, data: &[&RawValue]) -> Result<EventBody, Malformed> {
        let (name, args) = data.split_first().ok_or(Malformed)?;
        let name: String = serde_json::from_str(name.get()).map_err(|_| Malformed)?;
        if args.len() > MAX_ITEMS {
            return Err(Malformed);
        }
        let (mut json, mut bytes) = (Vec::new(), Vec::new());
        let shape = match args {
            [] => {
                json.extend_from_slice(b"null");
                0
            }
            [arg] => {
                self.split(arg, &mut json, &mut bytes)?;
                1
            }
            args => {
                for (at, arg) in args.iter().enumerate() {
                    json.push(if at == 0 { b'[' } else { b',' });
                    self.split(arg, &mut json, &mut bytes)?;
                }
                json.push(b']');
                2
            }
        };
        Ok(EventBody { name: name.into(), json: json.into(), bytes, shape })
    }

    /// Appends a value without its bytes, and these with their places.
    fn split(
        &self,
        value: &RawValue,
        json: &mut Vec<u8>,
        bytes: &mut Vec<(u64, Bytes)>,
    ) -> Result<(), Malformed> {
        // The value is a part of the text.
        let (text, value) = (&self.0.text, value.get());
        let start = value.as_ptr().addr().checked_sub(text.as_ptr().addr()).ok_or(Malformed)?;
        let end = start + value.len();
        let first = self.0.bytes.partition_point(|(place, _)| place.start < start);
        let inside = self.0.bytes.iter().skip(first).take_while(|(place, _)| place.end <= end);
        let mut done = start;
        for (place, value) in inside {
            json.extend_from_slice(text.get(done..place.start).ok_or(Malformed)?.as_bytes());
            bytes.push((json.len() as u64, value.clone()));
            done = place.end;
        }
        json.extend_from_slice(text.get(done..end).ok_or(Malformed)?.as_bytes());
        Ok(())
    }
}

/// The close code of a client that has to leave.
const NORMAL: u16 = 1000;

/// The sockets that another server means. It has a room for each socket.
fn target(OptionsJson { rooms, except, .. }: OptionsJson) -> Result<Target, Malformed> {
    if rooms.len() + except.len() > MAX_ITEMS {
        return Err(Malformed);
    }
    let names = |names: Vec<RoomText>| names.into_iter().map(|name| name.0).collect::<Vec<_>>();
    let (rooms, except) = (names(rooms), names(except));
    Ok(Target {
        everyone: rooms.is_empty(),
        ids: rooms.clone(),
        rooms,
        except_ids: except.clone(),
        except_rooms: except,
        uncompressed: false,
    })
}

/// An event with the name of a message, and one argument that is a text or bytes, is a message.
fn body(event: EventBody) -> BroadcastBody {
    if &*event.name == MESSAGE && event.shape == 1 {
        if let ([], [(0, bytes)]) = (&*event.json, &*event.bytes) {
            return BroadcastBody::Binary(bytes.clone());
        }
        if let Ok(text) = serde_json::from_slice::<String>(&event.json) {
            return BroadcastBody::Text(text.into());
        }
    }
    BroadcastBody::Event(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmp::encode::write_array_len;
    use serde_json::{Value, json};

    use super::super::write::*;
    use super::*;
    use crate::socketio::transcode;

    const OWN: &str = "0123456789abcdef";

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn event_body(name: &str, json: &str, bytes: &[(u64, &'static [u8])], shape: u8) -> EventBody {
        let bytes = bytes.iter().map(|(at, bytes)| (*at, Bytes::from_static(bytes))).collect();
        EventBody { name: name.into(), json: json.to_owned().into(), bytes, shape }
    }

    /// What another server reads of a target that this one means.
    fn to(rooms: &[&str], except: &[&str]) -> Target {
        Target {
            everyone: rooms.is_empty(),
            rooms: names(rooms),
            ids: names(rooms),
            except_rooms: names(except),
            except_ids: names(except),
            uncompressed: false,
        }
    }

    fn read_broadcast(message: &[u8]) -> Result<Option<NodeBroadcast>, Malformed> {
        NodeMessage::read(message)?.broadcast("/", OWN)
    }

    fn read_request(message: &[u8]) -> Result<NodeRequest, Malformed> {
        NodeMessage::read(message)?.request("/")
    }

    fn read_answer(message: &[u8]) -> Result<NodeAnswer, Malformed> {
        NodeMessage::read(message)?.answer()
    }

    #[test]
    fn a_broadcast_is_read_as_it_was_written() {
        let rooms = Target { rooms: names(&["a"]), ids: names(&["b"]), ..Target::default() };
        let everyone = Target {
            everyone: true,
            except_rooms: names(&["a"]),
            except_ids: names(&["b"]),
            uncompressed: true,
            ..Target::default()
        };
        let bodies = [
            BroadcastBody::Text("ü\"".into()),
            BroadcastBody::Binary(Bytes::from_static(b"\0\xFF")),
            BroadcastBody::Event(event_body("none", "null", &[], 0)),
            BroadcastBody::Event(event_body("one", r#"{"a":[1,-1,1.5,null,true,"ü"]}"#, &[], 1)),
            BroadcastBody::Event(event_body("two", r#"[1,"x"]"#, &[], 2)),
            BroadcastBody::Event(event_body(
                "bytes",
                "[,[1,],{\"k\":}]",
                &[(1, &b"x"[..]), (5, b""), (12, b"\xFF")],
                2,
            )),
            BroadcastBody::Event(event_body("single", "", &[(0, b"x")], 1)),
            // Several arguments, or one that is neither a text nor bytes, are no message.
            BroadcastBody::Event(event_body("message", "[1]", &[], 1)),
            BroadcastBody::Event(event_body("message", r#"["a","b"]"#, &[], 2)),
            // A value that looks like a placeholder is none.
            BroadcastBody::Event(event_body(
                "odd",
                r#"[{"_placeholder":true,"num":9},]"#,
                &[(31, b"x")],
                2,
            )),
        ];
        for body in bodies {
            let (room, message) = broadcast("other", "/", &rooms, true, &body).unwrap();
            assert_eq!(room, None);
            let read = read_broadcast(&message).unwrap().unwrap();
            let expected =
                NodeBroadcast { target: to(&["a", "b"], &[]), volatile: true, body: body.clone() };
            assert_eq!(read, expected);
            let (_, message) = broadcast("other", "/", &everyone, false, &body).unwrap();
            let target = Target { uncompressed: true, ..to(&[], &["a", "b"]) };
            let read = read_broadcast(&message).unwrap().unwrap();
            assert_eq!(read, NodeBroadcast { target, volatile: false, body: body.clone() });
            let own = broadcast(OWN, "/", &rooms, true, &body).unwrap().1;
            assert_eq!(read_broadcast(&own), Ok(None));
            let elsewhere = broadcast("other", "/n", &rooms, true, &body).unwrap().1;
            assert_eq!(read_broadcast(&elsewhere), Err(Malformed));
        }
        let one = Target { rooms: names(&["a"]), ..Target::default() };
        let body = BroadcastBody::Text("x".into());
        assert_eq!(broadcast("other", "/", &one, false, &body).unwrap().0, Some("a"));
    }

    /// A handler may pass on the JSON of a peer. Each row has JSON, and what is read of it in MessagePack.
    #[test]
    fn no_json_of_a_peer_is_lost_on_the_way() {
        let everyone = Target { everyone: true, ..Target::default() };
        for (json, packed) in [
            (r#"["\ud800",1]"#, "[\"\u{fffd}\",1]"),
            ("[1e999,1]", "[null,1]"),
            (r#"[{"b":1,"a":2},1]"#, r#"[{"b":1,"a":2},1]"#),
        ] {
            let sent = event_body("a", json, &[], 2);
            let body = BroadcastBody::Event(sent.clone());
            let (_, message) = broadcast("other", "/", &everyone, false, &body).unwrap();
            let read = read_broadcast(&message).unwrap().unwrap();
            assert_eq!(read.body, BroadcastBody::Event(event_body("a", packed, &[], 2)));
            let read = read_request(&server_event("u", None, &sent)).unwrap();
            assert_eq!(read.what, NodeQuestion::ServerEvent(sent));
            let answer = read_answer(&reply("id", json.as_bytes()));
            assert_eq!(answer, Ok(NodeAnswer::Reply(json.into())));
        }
    }

    #[test]
    fn a_target_without_sockets_is_never_all_sockets() {
        let nobody = Target { except_rooms: names(&["a"]), ..Target::default() };
        let body = BroadcastBody::Text("x".into());
        assert!(broadcast("u", "/", &nobody, false, &body).is_none());
        assert!(
            broadcast_with_acks("u", "/", "id", &nobody, event_body("a", "1", &[], 1)).is_none()
        );
        assert!(fetch("u", "id", &nobody).is_none());
        assert!(operation("u", &nobody, &Operation::Join("a".into())).is_none());
    }

    #[test]
    fn a_request_is_read_as_it_was_written_or_as_node_writes_it() {
        let target =
            Target { rooms: names(&["a"]), except_ids: names(&["b"]), ..Target::default() };
        let (all, event) = (to(&["a"], &["b"]), event_body("say", "[1,]", &[(3, b"x")], 2));
        let check = |message: Bytes, uid: Option<&str>, id: Option<&str>, what: NodeQuestion| {
            let (uid, id) = (uid.map(str::to_owned), id.map(str::to_owned));
            assert_eq!(read_request(&message), Ok(NodeRequest { uid, id, what }), "{message:?}");
        };
        let node = |json: Value| Bytes::from(json.to_string());
        let (u, id) = (Some("u"), Some("id"));
        check(fetch("u", "id", &target).unwrap(), u, id, NodeQuestion::Sockets(all.clone()));
        let acks = broadcast_with_acks("u", "/", "id", &target, event.clone()).unwrap();
        check(acks, u, id, NodeQuestion::Acks(all.clone(), event.clone(), None));
        let close = |code| Operation::Close(code, "".into());
        let session = || Operation::CloseSession(1000, "".into());
        for (sent, read) in [
            (Operation::Join("r".into()), Operation::Join("r".into())),
            (Operation::Leave("r".into()), Operation::Leave("r".into())),
            (close(4000), close(1000)),
            (close(1001), close(1000)),
            (session(), session()),
        ] {
            let request = operation("u", &target, &sent).unwrap();
            check(request, u, None, NodeQuestion::Operate(all.clone(), vec![read]));
        }
        let base64 = event_body("say", r#"[1,"eA=="]"#, &[], 2);
        check(server_event("u", None, &event), u, None, NodeQuestion::ServerEvent(base64.clone()));
        check(server_event("u", id, &event), u, id, NodeQuestion::ServerEvent(base64));
        // By an emitter, which has no uid, and with rooms that are numbers.
        let join =
            json!({ "type": 2, "opts": { "rooms": [7, -1], "except": [] }, "rooms": ["x", 8] });
        let operations = vec![Operation::Join("x".into()), Operation::Join("8".into())];
        check(node(join), None, None, NodeQuestion::Operate(to(&["7", "-1"], &[]), operations));
        let packet = json!({ "type": 2, "data": ["a"], "nsp": "/" });
        for (timeout, limit) in [(json!(1500), Some(1500)), (json!(-1), None), (Value::Null, None)]
        {
            let opts = json!({ "rooms": [], "except": [], "flags": { "timeout": timeout } });
            let acks = json!({ "type": 7, "requestId": "id", "packet": packet, "opts": opts });
            let none = event_body("a", "null", &[], 0);
            let limit = limit.map(Duration::from_millis);
            check(node(acks), None, id, NodeQuestion::Acks(to(&[], &[]), none, limit));
        }
        // To one socket.
        let leave = json!({ "type": 3, "requestId": "id", "sid": "s", "room": "r" });
        let one = Target { ids: names(&["s"]), ..Target::default() };
        let operations = vec![Operation::Leave("r".into())];
        check(node(leave), None, id, NodeQuestion::Operate(one.clone(), operations));
        let kick = json!({ "type": 4, "requestId": "id", "sid": "s", "close": true });
        check(node(kick), None, id, NodeQuestion::Operate(one, vec![session()]));
        let ids = json!({ "type": 0, "uid": "u", "requestId": "id", "rooms": ["a"] });
        check(node(ids), u, id, NodeQuestion::Ids(to(&["a"], &[])));
        check(
            node(json!({ "type": 1, "uid": "u", "requestId": "id" })),
            u,
            id,
            NodeQuestion::Rooms,
        );
        check(node(json!({ "type": 99 })), None, None, NodeQuestion::Unknown);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let check = |message: Bytes, expected: NodeAnswer| {
            assert_eq!(NodeMessage::read(&message).unwrap().answered(), Ok(Some("id".to_owned())));
            assert_eq!(read_answer(&message), Ok(expected), "{message:?}");
        };
        let sockets = vec![("s".into(), names(&["a", "b"])), ("t".into(), Vec::new())];
        check(sockets_answer("id", &sockets), NodeAnswer::Sockets(sockets.clone()));
        check(client_count("id", 7), NodeAnswer::ClientCount(7));
        let json = r#"{"a":{"_placeholder":true,"num":0}}"#;
        let attachments = vec![Bytes::from_static(b"x")];
        let ack = RemoteAck::Data(json.into(), attachments.clone());
        check(acknowledgement("id", json.as_bytes(), &attachments), NodeAnswer::Ack(ack));
        check(reply("id", b"[1,null]"), NodeAnswer::Reply("[1,null]".into()));
        check(reply("id", b"null"), NodeAnswer::Reply("null".into()));
        for message in
            [rooms_answer("id", &[]), done_answer("id"), ids_answer("id", &names(&["a"]))]
        {
            assert_eq!(read_answer(&message), Err(Malformed));
        }
    }

    #[test]
    fn a_malformed_message_is_refused() {
        let deep = [&[0x91; 100][..], &[0xC0]].concat();
        let names = |count: usize| vec!["r"; count];
        let broadcast = |rooms: usize, args: usize| {
            let packet = json!({ "type": 2, "data": vec!["a"; 1 + args], "nsp": "/" });
            let message = json!(["u", packet, { "rooms": names(rooms), "except": [] }]);
            let mut bytes = Vec::new();
            transcode(&mut bytes, &message.to_string(), &[]).unwrap();
            bytes
        };
        assert!(read_broadcast(&broadcast(MAX_ITEMS, MAX_ITEMS)).is_ok());
        let bins = |count: usize| {
            let mut bytes = Vec::new();
            let _ = write_array_len(&mut bytes, u32::try_from(count).unwrap());
            bytes.extend([0xC4, 0].repeat(count));
            bytes
        };
        assert!(NodeMessage::read(&bins(MAX_ITEMS)).is_ok());
        let rows = [
            Vec::new(),
            b"\xC1".to_vec(),
            b"{".to_vec(),
            b"{\xFF}".to_vec(),
            b"\x93".to_vec(),
            b"\xDD\xFF\xFF\xFF\xFF".to_vec(),
            b"\xC6\xFF\xFF\xFF\xFF".to_vec(),
            deep,
            bins(MAX_ITEMS + 1),
            broadcast(MAX_ITEMS + 1, 0),
            broadcast(0, MAX_ITEMS + 1),
        ];
        for bytes in rows {
            assert_eq!(
                read_broadcast(&bytes),
                Err(Malformed),
                "{:02x?}",
                &bytes[..bytes.len().min(20)]
            );
        }
        for json in [
            r#"{}"#,
            r#"{"type":"x"}"#,
            r#"{"type":-1}"#,
            r#"{"type":5,"requestId":"id"}"#,
            r#"{"type":5,"opts":{"rooms":[[]]}}"#,
            r#"{"type":6,"data":[]}"#,
            r#"{"type":6,"data":[1]}"#,
            r#"{"type":7,"opts":{}}"#,
            r#"{"type":7,"opts":{},"packet":{"type":3,"data":["a"],"nsp":"/"}}"#,
            r#"{"type":7,"opts":{},"packet":{"type":2,"data":["a"],"nsp":"/other"}}"#,
            r#"{"type":2,"rooms":["a"]}"#,
        ] {
            assert_eq!(read_request(json.as_bytes()), Err(Malformed), "{json}");
        }
        for json in [r#"{"type":8}"#, r#"{"type":8,"clientCount":-1}"#, r#"{"sockets":[1]}"#] {
            assert_eq!(read_answer(json.as_bytes()), Err(Malformed), "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(start in 0_usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let start: &[u8] = [
                &b""[..],
                b"\x93\xA1u\x83\xA4type\x02\xA3nsp\xA1/\xA4data",
                b"\x85\xA3uid\xA1u\xA4type\x07\xA4opts\x80\xA6packet\x82\xA4type\x02\xA4data",
                b"{\"type\":6,\"data\":",
            ][start];
            let message = [start, &bytes].concat();
            let _ = read_broadcast(&message);
            let _ = read_request(&message);
            let _ = read_answer(&message);
            let _ = NodeMessage::read(&message).map(|it| it.answered());
        }
    }
}
