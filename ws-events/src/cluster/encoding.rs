//! How is what nodes send each other encoded in fields?
//!
//! Longer than 400 lines because each field is written and read in one place.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::envelope::{
    AnswerPart, Body, BroadcastBody, EventBody, HeartbeatBody, Operation, Question, RemoteAck,
    Target,
};
use super::fields::{
    FieldReader, FieldWriter, Malformed, Tag, number, short_text, split_number, split_text, text,
};
use super::head::Head;
use super::node::NodeId;
use super::presence_body::{
    PresenceOp, PresencePart, read_record, read_removal, read_versions, write_op, write_record,
    write_versions,
};
use super::sequence::Claim;
use super::session_body::{SessionQuestion, from_json, to_json};
use crate::broker::Subject;

mod kind {
    pub(super) const BROADCAST: u8 = 1;
    pub(super) const OPERATION: u8 = 2;
    pub(super) const HEARTBEAT: u8 = 3;
    pub(super) const GOODBYE: u8 = 4;
    pub(super) const PROBE: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const ANSWER: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const SERVER_EVENT: u8 = 9;
    pub(super) const PRESENCE: u8 = 10;
    pub(super) const MARKER: u8 = 11;
}

mod tag {
    use super::Tag;

    pub(super) const NAMESPACE: Tag = 1;
    pub(super) const EVERYONE: Tag = 2;
    pub(super) const ROOM: Tag = 3;
    pub(super) const ID: Tag = 4;
    pub(super) const EXCEPT_ROOM: Tag = 5;
    pub(super) const EXCEPT_ID: Tag = 6;
    pub(super) const VOLATILE: Tag = 7;
    pub(super) const TEXT: Tag = 8;
    pub(super) const BINARY: Tag = 9;
    pub(super) const EVENT: Tag = 10;
    pub(super) const JSON: Tag = 11;
    pub(super) const SHAPE: Tag = 12;
    pub(super) const ATTACHMENT: Tag = 13;
    pub(super) const JOIN: Tag = 14;
    pub(super) const LEAVE: Tag = 15;
    pub(super) const CLOSE: Tag = 16;
    pub(super) const REQUEST: Tag = 17;
    pub(super) const ASK_SOCKETS: Tag = 18;
    pub(super) const ASK_COUNT: Tag = 19;
    pub(super) const ASK_ACKS: Tag = 20;
    pub(super) const SOCKET: Tag = 21;
    pub(super) const COUNT: Tag = 22;
    pub(super) const EXPECTED: Tag = 23;
    pub(super) const ACK: Tag = 24;
    pub(super) const ACK_FAILED: Tag = 25;
    pub(super) const DONE: Tag = 26;
    pub(super) const BUSY: Tag = 27;
    pub(super) const SOCKETS: Tag = 28;
    pub(super) const EMITTER: Tag = 29;
    pub(super) const WANTS_ANSWER: Tag = 30;
    pub(super) const COMPLETE: Tag = 31;
    pub(super) const CLAIM: Tag = 32;
    pub(super) const ALL_EXPECTED: Tag = 33;
    pub(super) const UNCOMPRESSED: Tag = 34;
    pub(super) const ASK_REPLY: Tag = 35;
    pub(super) const REPLY: Tag = 36;
    pub(super) const CLOSE_SESSION: Tag = 37;
    pub(super) const ASK_PRESENCE: Tag = 38;
    pub(super) const PRESENCE_VERSIONS: Tag = 39;
    pub(super) const PRESENT: Tag = 40;
    pub(super) const ABSENT: Tag = 41;
    pub(super) const ASK_SESSION: Tag = 42;
    pub(super) const SESSION: Tag = 43;
}

impl Body {
    /// The envelope of an origin, without a number. `None` if it has too many fields.
    pub(crate) fn encode(&self, origin: NodeId, incarnation: u64) -> Option<BytesMut> {
        let head = Head { kind: self.kind(), origin, incarnation, number: None };
        let mut out = FieldWriter::after(&head.encode(), self.capacity());
        match self {
            Self::Broadcast { namespace, target, volatile, body } => {
                out.bytes(tag::NAMESPACE, namespace.as_bytes());
                write_target(&mut out, target);
                out.flag(tag::VOLATILE, *volatile);
                match body {
                    BroadcastBody::Text(text) => out.bytes(tag::TEXT, text),
                    BroadcastBody::Binary(bytes) => out.bytes(tag::BINARY, bytes),
                    BroadcastBody::Event(event) => write_event(&mut out, event),
                }
            }
            Self::Operation { namespace, target, operation } => {
                out.bytes(tag::NAMESPACE, namespace.as_bytes());
                write_target(&mut out, target);
                match operation {
                    Operation::Join(room) => out.bytes(tag::JOIN, room.as_bytes()),
                    Operation::Leave(room) => out.bytes(tag::LEAVE, room.as_bytes()),
                    Operation::Close(code, reason) => {
                        out.parts(tag::CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
                    }
                    Operation::CloseSession(code, reason) => {
                        out.parts(tag::CLOSE_SESSION, &[&code.to_be_bytes(), reason.as_bytes()]);
                    }
                }
            }
            Self::Heartbeat(heartbeat) => write_heartbeat(&mut out, heartbeat),
            Self::Goodbye | Self::Probe | Self::Unknown => {}
            Self::Request { namespace, id, question } => {
                out.number(tag::REQUEST, *id);
                out.bytes(tag::NAMESPACE, namespace.as_bytes());
                let (asks, target) = match question {
                    Question::Sockets(target) => (tag::ASK_SOCKETS, Some(target)),
                    Question::Count(target) => (tag::ASK_COUNT, Some(target)),
                    Question::Acks(target, event) => {
                        write_event(&mut out, event);
                        (tag::ASK_ACKS, Some(target))
                    }
                    Question::Reply(event) => {
                        write_event(&mut out, event);
                        (tag::ASK_REPLY, None)
                    }
                    Question::Presence => (tag::ASK_PRESENCE, None),
                    Question::Session(question) => {
                        out.bytes(tag::ASK_SESSION, &to_json(question));
                        return out.finish();
                    }
                };
                out.flag(asks, true);
                target.into_iter().for_each(|target| write_target(&mut out, target));
            }
            Self::Answer { id, part } => {
                out.number(tag::REQUEST, *id);
                write_answer(&mut out, part);
            }
            Self::Cancel { id } | Self::Marker { id } => out.number(tag::REQUEST, *id),
            Self::ServerEvent { namespace, event } => {
                out.bytes(tag::NAMESPACE, namespace.as_bytes());
                write_event(&mut out, event);
            }
            Self::Presence { version, ops } => {
                write_versions(&mut out, tag::PRESENCE_VERSIONS, *version, 0);
                ops.iter().for_each(|op| write_op(&mut out, tag::PRESENT, tag::ABSENT, op));
            }
        }
        out.finish()
    }

    /// Whether the envelope has a number. What is repeated anyway has none, and presence has versions.
    pub(crate) const fn is_numbered(&self) -> bool {
        !matches!(
            self,
            Self::Heartbeat(_)
                | Self::Goodbye
                | Self::Probe
                | Self::Presence { .. }
                | Self::Unknown
        )
    }

    /// Reads what is behind the head.
    pub(crate) fn decode(kind: u8, fields: Bytes) -> Result<Self, Malformed> {
        let fields = Fields::read(fields)?;
        Ok(match kind {
            kind::BROADCAST => {
                let (namespace, volatile) = (fields.namespace()?, fields.volatile);
                let body = match (fields.text, fields.binary, fields.event) {
                    (Some(text), None, None) => {
                        std::str::from_utf8(&text).map_err(|_| Malformed)?;
                        BroadcastBody::Text(text)
                    }
                    (None, Some(bytes), None) => BroadcastBody::Binary(bytes),
                    (None, None, Some(event)) => BroadcastBody::Event(event),
                    _ => return Err(Malformed),
                };
                Self::Broadcast { namespace, target: fields.target, volatile, body }
            }
            kind::OPERATION => {
                let namespace = fields.namespace()?;
                let operation = fields.operation.ok_or(Malformed)?;
                Self::Operation { namespace, target: fields.target, operation }
            }
            kind::HEARTBEAT => {
                let presence = fields.presence_versions.map(|(version, _)| version);
                Self::Heartbeat(HeartbeatBody { presence, ..fields.heartbeat })
            }
            kind::GOODBYE => Self::Goodbye,
            kind::PROBE => Self::Probe,
            kind::REQUEST => {
                let (namespace, id) = (fields.namespace()?, fields.request.ok_or(Malformed)?);
                let question = match (fields.asks, fields.event) {
                    (Some(tag::ASK_SOCKETS), None) => Question::Sockets(fields.target),
                    (Some(tag::ASK_COUNT), None) => Question::Count(fields.target),
                    (Some(tag::ASK_ACKS), Some(event)) => Question::Acks(fields.target, event),
                    (Some(tag::ASK_REPLY), Some(event)) => Question::Reply(event),
                    (Some(tag::ASK_PRESENCE), None) => Question::Presence,
                    (Some(tag::ASK_SESSION), None) => {
                        Question::Session(fields.session.ok_or(Malformed)?)
                    }
                    // A newer question.
                    (None, _) => return Ok(Self::Unknown),
                    _ => return Err(Malformed),
                };
                Self::Request { namespace, id, question }
            }
            kind::ANSWER => {
                let id = fields.request.ok_or(Malformed)?;
                match (fields.answer, fields.presence_versions) {
                    (Some(part), _) => Self::Answer { id, part },
                    (None, Some((version, total))) => {
                        let put = |op| match op {
                            PresenceOp::Put(record) => Some(record),
                            PresenceOp::Remove { .. } => None,
                        };
                        let records = fields.presence.into_iter().filter_map(put).collect();
                        let part = PresencePart { version, total, records };
                        Self::Answer { id, part: AnswerPart::Presence(part) }
                    }
                    (None, None) => Self::Unknown,
                }
            }
            kind::CANCEL => Self::Cancel { id: fields.request.ok_or(Malformed)? },
            kind::MARKER => Self::Marker { id: fields.request.ok_or(Malformed)? },
            kind::SERVER_EVENT => Self::ServerEvent {
                namespace: fields.namespace()?,
                event: fields.event.ok_or(Malformed)?,
            },
            kind::PRESENCE => {
                let (version, _) = fields.presence_versions.ok_or(Malformed)?;
                Self::Presence { version, ops: fields.presence }
            }
            _ => Self::Unknown,
        })
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Broadcast { .. } => kind::BROADCAST,
            Self::Operation { .. } => kind::OPERATION,
            Self::Heartbeat(_) => kind::HEARTBEAT,
            Self::Goodbye => kind::GOODBYE,
            Self::Probe => kind::PROBE,
            Self::Marker { .. } => kind::MARKER,
            Self::Request { .. } => kind::REQUEST,
            Self::Answer { .. } => kind::ANSWER,
            Self::Cancel { .. } => kind::CANCEL,
            Self::ServerEvent { .. } => kind::SERVER_EVENT,
            Self::Presence { .. } => kind::PRESENCE,
            Self::Unknown => 0,
        }
    }

    /// About the length of the fields.
    fn capacity(&self) -> usize {
        let payload = match self {
            Self::Broadcast {
                body: BroadcastBody::Text(bytes) | BroadcastBody::Binary(bytes),
                ..
            } => bytes.len(),
            Self::Broadcast { body: BroadcastBody::Event(event), .. }
            | Self::ServerEvent { event, .. } => event.json.len() + event.name.len() + 32,
            _ => 64,
        };
        payload + 64
    }
}

fn write_target(out: &mut FieldWriter, target: &Target) {
    out.flag(tag::EVERYONE, target.everyone);
    out.texts(tag::ROOM, &target.rooms);
    out.texts(tag::ID, &target.ids);
    out.texts(tag::EXCEPT_ROOM, &target.except_rooms);
    out.texts(tag::EXCEPT_ID, &target.except_ids);
    out.flag(tag::UNCOMPRESSED, target.uncompressed);
}

fn write_event(out: &mut FieldWriter, event: &EventBody) {
    out.bytes(tag::EVENT, event.name.as_bytes());
    out.bytes(tag::JSON, &event.json);
    out.bytes(tag::SHAPE, &[event.shape]);
    for (place, bytes) in &event.bytes {
        out.parts(tag::ATTACHMENT, &[&place.to_be_bytes(), bytes]);
    }
}

fn write_heartbeat(out: &mut FieldWriter, heartbeat: &HeartbeatBody) {
    out.number(tag::SOCKETS, heartbeat.sockets);
    out.flag(tag::EMITTER, heartbeat.is_emitter);
    out.flag(tag::WANTS_ANSWER, heartbeat.wants_answer);
    if let Some(is_complete) = heartbeat.is_complete {
        out.bytes(tag::COMPLETE, &[u8::from(is_complete)]);
    }
    for Claim { subject, first, last } in &heartbeat.claims {
        let numbers = [first.to_be_bytes(), last.to_be_bytes()].concat();
        out.parts(tag::CLAIM, &[&numbers, subject.as_str().as_bytes()]);
    }
    if let Some(version) = heartbeat.presence {
        write_versions(out, tag::PRESENCE_VERSIONS, version, 0);
    }
}

fn write_answer(out: &mut FieldWriter, part: &AnswerPart) {
    match part {
        AnswerPart::Sockets(sockets) => {
            for (id, rooms) in sockets {
                let texts = [id].into_iter().chain(rooms);
                let texts: Vec<_> = texts.flat_map(|text| short_text(text)).collect();
                out.parts(tag::SOCKET, &texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
            if sockets.is_empty() {
                out.bytes(tag::SOCKET, &[]);
            }
        }
        AnswerPart::Count(count) => out.number(tag::COUNT, *count),
        AnswerPart::Expected(ids) => {
            out.texts(tag::EXPECTED, ids);
        }
        AnswerPart::Ack(id, RemoteAck::Data(json, attachments)) => {
            out.bytes(tag::ACK, id.as_bytes());
            out.bytes(tag::JSON, json);
            for bytes in attachments {
                out.parts(tag::ATTACHMENT, &[&0_u64.to_be_bytes(), bytes]);
            }
        }
        AnswerPart::Ack(id, RemoteAck::Failed(code, number)) => {
            out.parts(tag::ACK_FAILED, &[&[*code], &number.to_be_bytes(), id.as_bytes()]);
        }
        AnswerPart::Reply(json) => out.bytes(tag::REPLY, json),
        AnswerPart::Presence(PresencePart { version, total, records }) => {
            write_versions(out, tag::PRESENCE_VERSIONS, *version, *total);
            records.iter().for_each(|record| write_record(out, tag::PRESENT, record));
        }
        AnswerPart::Session(answer) => out.bytes(tag::SESSION, &to_json(answer)),
        AnswerPart::AllExpected => out.flag(tag::ALL_EXPECTED, true),
        AnswerPart::Done => out.flag(tag::DONE, true),
        AnswerPart::Busy => out.flag(tag::BUSY, true),
    }
}

/// The fields of any body.
#[derive(Default)]
struct Fields {
    namespace: Option<Arc<str>>,
    target: Target,
    volatile: bool,
    text: Option<Bytes>,
    binary: Option<Bytes>,
    event: Option<EventBody>,
    operation: Option<Operation>,
    request: Option<u64>,
    asks: Option<Tag>,
    session: Option<SessionQuestion>,
    answer: Option<AnswerPart>,
    heartbeat: HeartbeatBody,
    /// A version, and the number of records of a list.
    presence_versions: Option<(u64, u64)>,
    presence: Vec<PresenceOp>,
}

impl Fields {
    fn namespace(&self) -> Result<Arc<str>, Malformed> {
        self.namespace.clone().ok_or(Malformed)
    }

    fn read(fields: Bytes) -> Result<Self, Malformed> {
        let mut reader = FieldReader::new(fields);
        let (mut all, mut event, mut ack) = (Self::default(), EventBody::default(), None);
        let (mut sockets, mut expected) = (None::<Vec<_>>, None::<Vec<_>>);
        let mut is_event = false;
        while let Some((tag, value)) = reader.next()? {
            match tag {
                tag::NAMESPACE => all.namespace = Some(text(&value)?),
                tag::EVERYONE => all.target.everyone = true,
                tag::ROOM => all.target.rooms.push(text(&value)?),
                tag::ID => all.target.ids.push(text(&value)?),
                tag::EXCEPT_ROOM => all.target.except_rooms.push(text(&value)?),
                tag::EXCEPT_ID => all.target.except_ids.push(text(&value)?),
                tag::VOLATILE => all.volatile = true,
                tag::UNCOMPRESSED => all.target.uncompressed = true,
                tag::TEXT => all.text = Some(value),
                tag::BINARY => all.binary = Some(value),
                tag::EVENT => {
                    event.name = text(&value)?;
                    is_event = true;
                }
                tag::JSON => {
                    std::str::from_utf8(&value).map_err(|_| Malformed)?;
                    event.json = value;
                }
                tag::SHAPE => event.shape = value.first().copied().ok_or(Malformed)?,
                tag::ATTACHMENT => {
                    let (place, bytes) = split_number(&value)?;
                    event.bytes.push((place, value.slice_ref(bytes)));
                }
                tag::JOIN => all.operation = Some(Operation::Join(text(&value)?)),
                tag::LEAVE => all.operation = Some(Operation::Leave(text(&value)?)),
                tag::CLOSE => {
                    let (code, reason) = value.split_first_chunk::<2>().ok_or(Malformed)?;
                    let code = u16::from_be_bytes(*code);
                    all.operation = Some(Operation::Close(code, text(reason)?));
                }
                tag::CLOSE_SESSION => {
                    let (code, reason) = value.split_first_chunk::<2>().ok_or(Malformed)?;
                    let code = u16::from_be_bytes(*code);
                    all.operation = Some(Operation::CloseSession(code, text(reason)?));
                }
                tag::REQUEST => all.request = Some(number(&value)?),
                tag::ASK_SOCKETS
                | tag::ASK_COUNT
                | tag::ASK_ACKS
                | tag::ASK_REPLY
                | tag::ASK_PRESENCE => all.asks = Some(tag),
                tag::ASK_SESSION => {
                    all.asks = Some(tag);
                    all.session = Some(from_json(&value)?);
                }
                tag::SESSION => all.answer = Some(AnswerPart::Session(from_json(&value)?)),
                tag::SOCKET => {
                    let sockets = sockets.get_or_insert_default();
                    if !value.is_empty() {
                        let (id, mut rest) = split_text(&value)?;
                        let mut rooms = Vec::new();
                        while !rest.is_empty() {
                            let (room, more) = split_text(rest)?;
                            rooms.push(Arc::from(room));
                            rest = more;
                        }
                        sockets.push((Arc::from(id), rooms));
                    }
                }
                tag::COUNT => all.answer = Some(AnswerPart::Count(number(&value)?)),
                tag::EXPECTED => expected.get_or_insert_default().push(text(&value)?),
                tag::ACK => ack = Some(text(&value)?),
                tag::ACK_FAILED => {
                    let (&code, rest) = value.split_first().ok_or(Malformed)?;
                    let (number, id) = split_number(rest)?;
                    let failed = RemoteAck::Failed(code, number);
                    all.answer = Some(AnswerPart::Ack(text(id)?, failed));
                }
                tag::REPLY => {
                    std::str::from_utf8(&value).map_err(|_| Malformed)?;
                    all.answer = Some(AnswerPart::Reply(value));
                }
                tag::ALL_EXPECTED => all.answer = Some(AnswerPart::AllExpected),
                tag::DONE => all.answer = Some(AnswerPart::Done),
                tag::BUSY => all.answer = Some(AnswerPart::Busy),
                tag::SOCKETS => all.heartbeat.sockets = number(&value)?,
                tag::EMITTER => all.heartbeat.is_emitter = true,
                tag::WANTS_ANSWER => all.heartbeat.wants_answer = true,
                tag::COMPLETE => all.heartbeat.is_complete = Some(*value == [1]),
                tag::CLAIM => {
                    let (first, rest) = split_number(&value)?;
                    let (last, name) = split_number(rest)?;
                    let subject = Subject::new(&*text(name)?).map_err(|_| Malformed)?;
                    all.heartbeat.claims.push(Claim { subject, first, last });
                }
                tag::PRESENCE_VERSIONS => all.presence_versions = Some(read_versions(&value)?),
                tag::PRESENT => all.presence.push(PresenceOp::Put(read_record(&value)?)),
                tag::ABSENT => all.presence.push(read_removal(&value)?),
                _ => {}
            }
        }
        if let Some(id) = ack {
            let attachments = event.bytes.iter().map(|(_, bytes)| bytes.clone()).collect();
            all.answer =
                Some(AnswerPart::Ack(id, RemoteAck::Data(event.json.clone(), attachments)));
        }
        if let Some(sockets) = sockets {
            all.answer = Some(AnswerPart::Sockets(sockets));
        }
        if let Some(expected) = expected {
            all.answer = Some(AnswerPart::Expected(expected));
        }
        all.event = is_event.then_some(event);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{HeadError, set_number};
    use super::super::presence_body::PresenceRecord;
    use super::super::sequence::SequenceNumber;
    use super::super::session_body::{SessionAnswer, SessionClaimer};
    use super::*;

    const ORIGIN: NodeId = NodeId(0xAB);

    fn texts(texts: &[&str]) -> Vec<Arc<str>> {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    fn decode(envelope: &Bytes) -> Option<(Head, Body)> {
        let (head, fields) = Head::decode(envelope).ok()?;
        Some((head, Body::decode(head.kind, fields).ok()?))
    }

    fn present(number: u64, meta: &str) -> PresenceRecord {
        let [namespace, room, key] = ["/", "ü", ""].map(Arc::from);
        PresenceRecord { number, namespace, room, key, meta: meta.into() }
    }

    fn bodies() -> Vec<Body> {
        let namespace: Arc<str> = "/n".into();
        let target = Target {
            everyone: false,
            rooms: texts(&["a", "ü"]),
            ids: texts(&["id"]),
            except_rooms: texts(&["b"]),
            except_ids: texts(&["", "x"]),
            uncompressed: true,
        };
        let everyone = Target { everyone: true, ..Target::default() };
        let event = EventBody {
            name: "say".into(),
            json: Bytes::from_static(b"[\"a\",]"),
            bytes: vec![(5, Bytes::from_static(b"\xFF"))],
            shape: 2,
        };
        let broadcast = |body| Body::Broadcast {
            namespace: "/".into(),
            target: target.clone(),
            volatile: true,
            body,
        };
        let operation = |operation| Body::Operation {
            namespace: "/".into(),
            target: everyone.clone(),
            operation,
        };
        let request = |question| Body::Request { namespace: namespace.clone(), id: 7, question };
        let answer = |part| Body::Answer { id: 7, part };
        let subject = Subject::new("ws.all").unwrap();
        vec![
            broadcast(BroadcastBody::Text(Bytes::from_static("ü".as_bytes()))),
            broadcast(BroadcastBody::Binary(Bytes::from_static(b"\xFF"))),
            broadcast(BroadcastBody::Event(event.clone())),
            operation(Operation::Join("r".into())),
            operation(Operation::Leave("r".into())),
            operation(Operation::Close(4000, "bye".into())),
            operation(Operation::CloseSession(4000, "bye".into())),
            Body::Heartbeat(HeartbeatBody {
                sockets: 3,
                is_emitter: true,
                wants_answer: true,
                is_complete: Some(true),
                claims: vec![Claim { subject, first: 1, last: u64::MAX }],
                presence: Some(3),
            }),
            Body::Heartbeat(HeartbeatBody { is_complete: Some(false), ..HeartbeatBody::default() }),
            Body::Heartbeat(HeartbeatBody { sockets: 1, ..HeartbeatBody::default() }),
            Body::Goodbye,
            Body::Probe,
            request(Question::Sockets(target.clone())),
            request(Question::Count(everyone.clone())),
            request(Question::Acks(everyone, event.clone())),
            request(Question::Reply(event.clone())),
            answer(AnswerPart::Sockets(vec![("a".into(), texts(&["r", ""])), ("".into(), vec![])])),
            answer(AnswerPart::Sockets(vec![])),
            answer(AnswerPart::Count(9)),
            answer(AnswerPart::Expected(texts(&["a", ""]))),
            answer(AnswerPart::Ack(
                "a".into(),
                RemoteAck::Data(Bytes::from_static(b"1"), vec![Bytes::from_static(b"x")]),
            )),
            answer(AnswerPart::Ack("a".into(), RemoteAck::Failed(3, 1024))),
            answer(AnswerPart::Reply(Bytes::from_static(b"[1]"))),
            answer(AnswerPart::AllExpected),
            answer(AnswerPart::Done),
            answer(AnswerPart::Busy),
            Body::Cancel { id: 1 },
            Body::Marker { id: u64::MAX },
            request(Question::Session(SessionQuestion::Take {
                handover: u64::MAX,
                tokens: vec!["ab".into()],
                claimer: Some(SessionClaimer { user: None }),
            })),
            request(Question::Session(SessionQuestion::Release { handover: 1, subjects: 2 })),
            request(Question::Session(SessionQuestion::Adopt { owner: 3, tokens: vec![] })),
            answer(AnswerPart::Session(SessionAnswer::Given {
                token: "ab".into(),
                session: "{\"\"}".into(),
            })),
            answer(AnswerPart::Session(SessionAnswer::Refused {
                token: "ab".into(),
                reason: "busy".into(),
            })),
            answer(AnswerPart::Session(SessionAnswer::Missed(vec!["ab".into()]))),
            request(Question::Presence),
            answer(AnswerPart::Presence(PresencePart {
                version: 4,
                total: 2,
                records: vec![present(1, "1"), present(2, "{\"a\":[]}")],
            })),
            answer(AnswerPart::Presence(PresencePart::default())),
            Body::Presence {
                version: 7,
                ops: vec![
                    PresenceOp::Put(present(3, "null")),
                    PresenceOp::Remove { number: 1, at_once: true },
                    PresenceOp::Remove { number: u64::MAX, at_once: false },
                ],
            },
            Body::ServerEvent { namespace, event },
        ]
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written() {
        for body in bodies() {
            let mut envelope = body.encode(ORIGIN, 5).unwrap();
            let number = SequenceNumber { first: 2, this: 3 };
            set_number(&mut envelope, number);
            let (head, read) = decode(&envelope.freeze()).unwrap();
            assert_eq!((head.origin, head.incarnation, head.number), (ORIGIN, 5, Some(number)));
            assert_eq!(read, body);
        }
    }

    #[test]
    fn unknown_fields_and_kinds_are_skipped_and_unknown_versions_are_told_apart() {
        for body in bodies() {
            let mut envelope = body.encode(ORIGIN, 5).unwrap().to_vec();
            envelope.extend_from_slice(&[200, 0, 0, 0, 2, 1, 2]);
            let mut newer = Bytes::from(envelope.clone());
            assert_eq!(decode(&newer).unwrap().1, body);
            envelope[4] = 99;
            newer = Bytes::from(envelope.clone());
            assert_eq!(decode(&newer).unwrap().1, Body::Unknown);
            envelope[3] = 9;
            assert!(Head::decode(&Bytes::from(envelope.clone())).is_ok());
            envelope[2] = 2;
            newer = Bytes::from(envelope);
            assert_eq!(Head::decode(&newer), Err(HeadError::UnknownVersion));
        }
    }

    #[test]
    fn an_envelope_that_is_cut_is_malformed() {
        for body in bodies() {
            let envelope = body.encode(ORIGIN, 5).unwrap().freeze();
            for len in 0..envelope.len() {
                let read = decode(&envelope.slice(..len));
                assert_ne!(read.map(|(_, read)| read), Some(body.clone()), "{body:?} {len}");
            }
        }
        assert_eq!(
            Head::decode(&Bytes::from_static(b"XX\x01\0\0\0\0\0")),
            Err(HeadError::Malformed)
        );
        // Metadata that is not JSON.
        let body = Body::Presence { version: 1, ops: vec![PresenceOp::Put(present(1, "{"))] };
        assert_eq!(decode(&body.encode(ORIGIN, 5).unwrap().freeze()), None);
        assert_eq!(Body::decode(1, Bytes::from_static(b"\x08\xFF\xFF\xFF\xFFx")), Err(Malformed));
    }

    #[test]
    fn an_envelope_has_a_bounded_number_of_fields() {
        let ids = |count| {
            let target = Target { ids: texts(&vec!["x"; count]), ..Target::default() };
            let body = BroadcastBody::Text(Bytes::new());
            let body = Body::Broadcast { namespace: "/".into(), target, volatile: false, body };
            body.encode(ORIGIN, 1)
        };
        let most = super::super::fields::MAX_FIELDS - 2;
        assert!(decode(&ids(most).unwrap().freeze()).is_some());
        assert!(ids(most + 1).is_none());
        let many = [3, 0, 0, 0, 0].repeat(most + 3);
        assert_eq!(Body::decode(1, Bytes::from(many)), Err(Malformed));
    }
}
