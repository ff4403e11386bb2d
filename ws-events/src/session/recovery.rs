//! How does a connection get its session back: by which message, in which steps?
//!
//! The steps of [`Connecting::admit`](super::lifecycle::Connecting::admit) with a session:
//!
//! From the first step on, new messages are held back.
//!
//! 1. Claim the session by its token. A connection that still seems to be open is ended first.
//! 2. Find in its log what the client has missed.
//! 3. Join its rooms.
//! 4. Read the histories, up to now.
//! 5. Send the answer, what was missed, and what was held back. Each of the latter is within the limits of
//!    the send queue.
//!
//! If a step fails, the socket is a new one: it gets nothing of the session. What the application has done
//! with it meanwhile stays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use ws_core::{Conn, Message, PreparedMessage, StatusCode};

use crate::delivery::enqueue::{enqueue, release_held};
use crate::delivery::recipient::Recipient as _;
use crate::delivery::send_queue::ByteSize as _;
use crate::delivery::writer::timeout;
use crate::events::record::decode_record;
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::sessions::ClaimedSession;
use crate::recovery::offset::{
    ClientOffsets, MAX_OFFSETS, MAX_ROOM_OFFSET, SEPARATOR, SentMessage,
};
use crate::recovery::sent_log::{HistoryRecords, MissedError, MissedMessages, SentLog};
use crate::recovery::token::SessionToken;
use crate::{HistoryError, Position, Socket, SocketStats};

/// How long the first message of a client is awaited.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest first message, in bytes: with the offsets of some 100 rooms.
const MAX_HELLO: usize = 4096;

/// What a client asks for when it connects. Both may be forged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResumeRequest {
    /// The token of its session; `None` for a new session.
    pub(crate) token: Option<String>,
    /// The offsets of the last messages that it has.
    pub(crate) offsets: Vec<String>,
    /// It has nothing of other rooms.
    pub(crate) is_complete: bool,
}

/// The first message of a client.
#[derive(Deserialize)]
struct Hello<'a> {
    /// The field must be there, and may be `null`.
    #[serde(borrow, default, deserialize_with = "some")]
    resume: Option<Option<Cow<'a, str>>>,
    #[serde(borrow)]
    at: Option<At<'a>>,
}

/// The offset of the last message, or those of the last messages of each room.
#[derive(Deserialize)]
#[serde(untagged)]
enum At<'a> {
    #[serde(borrow)]
    Last(Cow<'a, str>),
    Rooms(Vec<Cow<'a, str>>),
}

fn some<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<Cow<'de, str>>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// The part of the `auth` of a Socket.IO client that its library adds.
#[derive(Deserialize)]
struct ResumeAuth<'a> {
    #[serde(borrow)]
    pid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    offset: Option<Cow<'a, str>>,
}

/// The answer to the first message.
#[derive(Serialize)]
struct Welcome<'a> {
    session: &'a str,
    recovered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RecoveryFailure>,
}

impl ResumeRequest {
    /// Reads the first message of a client. `None` if it is another one: the connection is closed
    /// then.
    pub(crate) async fn read(conn: &Conn) -> Option<Self> {
        let first = timeout(HELLO_TIMEOUT, conn.read()).await;
        let request = match &first {
            Some(Ok(message)) => message.as_text().and_then(Self::parse),
            Some(Err(_)) => return None,
            None => None,
        };
        if request.is_none() {
            let reason = r#"the first message is not {"resume":…}"#;
            let _ = conn.close(StatusCode::POLICY_VIOLATION, reason).await;
        }
        request
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_HELLO || !text.trim_start().starts_with('{') {
            return None;
        }
        let Hello { resume, at } = serde_json::from_str(text).ok()?;
        let (offsets, is_complete) = match at {
            None => (Vec::new(), true),
            Some(At::Last(last)) => (vec![last], false),
            Some(At::Rooms(rooms)) => (rooms, true),
        };
        let offsets = offsets.into_iter().map(Cow::into_owned).collect();
        Some(Self { token: resume?.map(Cow::into_owned), offsets, is_complete })
    }

    /// What the library of a Socket.IO client has added to its `auth`.
    pub(crate) fn of_auth(auth: &str) -> Self {
        let auth = serde_json::from_str::<ResumeAuth<'_>>(auth);
        auth.map_or_else(
            |_| Self::default(),
            |ResumeAuth { pid, offset }| {
                // One that is too long is none.
                let text = offset.as_deref();
                let text = text.map(|it| if it.len() <= MAX_OFFSETS { it } else { "," });
                let texts = text.into_iter().flat_map(|text| text.split(SEPARATOR));
                let offsets = texts.map(str::to_owned).collect();
                // If the offsets of several rooms are in it, they are those of all.
                let is_complete = text.is_some_and(|text| text.contains(SEPARATOR));
                Self { token: pid.map(Cow::into_owned), offsets, is_complete }
            },
        )
    }
}

/// The answer for an envelope client. It is written at once, so it comes before what is queued.
pub(crate) fn welcome(
    token: SessionToken,
    outcome: Result<(), Option<RecoveryFailure>>,
) -> PreparedMessage {
    let session = &token.reveal();
    let recovered = outcome.is_ok();
    let welcome = Welcome { session, recovered, reason: outcome.err().flatten() };
    // It cannot fail.
    PreparedMessage::new(Message::from(serde_json::to_string(&welcome).unwrap_or_default()))
}

/// A session that was claimed, and what its client has missed of it.
pub(crate) struct ClaimedRecovery<'a> {
    pub(crate) claimed: ClaimedSession<'a>,
    missed: MissedMessages,
}

/// What was missed.
#[derive(Default)]
pub(crate) struct Replay {
    /// As messages for the client.
    messages: Vec<(SentMessage, PreparedMessage)>,
    /// The positions up to which the histories were read.
    read: Vec<(Arc<str>, Position)>,
}

/// Steps 1 and 2. `None` if the client asks for no session.
pub(crate) async fn claim<'a>(
    socket: &'a Socket,
    request: &ResumeRequest,
    user: Option<&str>,
) -> Option<Result<ClaimedRecovery<'a>, RecoveryFailure>> {
    let token = request.token.as_ref()?;
    Some(claim_token(socket, token, request, user).await)
}

async fn claim_token<'a>(
    socket: &'a Socket,
    token: &str,
    request: &ResumeRequest,
    user: Option<&str>,
) -> Result<ClaimedRecovery<'a>, RecoveryFailure> {
    let unknown = RecoveryFailure::UnknownSession;
    let recovery = socket.0.hub.recovery().ok_or(unknown)?;
    let token = token.parse().map_err(|()| unknown)?;
    let offsets = request.offsets.iter().map(String::as_str);
    let offsets = ClientOffsets::parse(offsets, request.is_complete);
    let offsets = offsets.ok_or(RecoveryFailure::UnknownOffset)?;
    let claimed = recovery.claim(token, &offsets, user).await?;
    let stored_only = recovery.settings.stored_only;
    if claimed.session.log.is_outdated(&offsets) {
        return Err(RecoveryFailure::UnknownOffset);
    }
    let missed =
        claimed.session.log.missed(offsets.last, stored_only).map_err(|error| match error {
            MissedError::UnknownOffset => RecoveryFailure::UnknownOffset,
            MissedError::Lost => RecoveryFailure::Missed,
        })?;
    Ok(ClaimedRecovery { claimed, missed })
}

impl ClaimedRecovery<'_> {
    /// Step 3, before the socket is in the hub.
    pub(crate) fn begin(&mut self, socket: &Socket) {
        let session = &mut *self.claimed.session;
        let mut log = std::mem::replace(&mut session.log, SentLog::new());
        log.resume(&self.missed);
        if let Some(own) = socket.0.recovery() {
            own.generation.go_on(session.generation.beyond());
            let mut own = own.log.lock();
            // What the application has sent to the new socket.
            log.append(std::mem::replace(&mut *own, SentLog::new()));
            *own = log;
        }
    }

    /// Step 3. The socket must be in the hub.
    pub(crate) fn join_rooms(&self, socket: &Socket) {
        for room in &self.claimed.session.rooms {
            socket.0.rejoin(room);
        }
    }

    /// The session is not recovered after all: the socket leaves its rooms, and gets nothing of what was
    /// held back for them. It gets its own id again, unless the application has set another one meanwhile.
    pub(crate) fn give_up(&self, socket: &Socket, own: Arc<str>) {
        let shared = &socket.0;
        shared.undo_rejoin(&self.missed);
        // If another socket has the id by now, it keeps that of the session.
        let _ = shared.hub.ids.rename_from(shared, &shared.id, &self.claimed.session.id, own);
    }

    /// Step 4: what the client has missed, unless a part of it is gone, or it does not fit into the send
    /// queue.
    pub(crate) async fn read(&self, socket: &Socket) -> Result<Replay, RecoveryFailure> {
        let hub = &socket.0.hub;
        let mut pages: HashMap<Arc<str>, HistoryRecords> = HashMap::new();
        // Twice as many as fit: the socket may not be meant by all of them.
        let most = hub.delivery.limits.message_limit().saturating_mul(2);
        let (mut total, mut read) = (0, Vec::new());
        for (room, position) in &self.missed.reads {
            let history = hub.history.as_ref().ok_or(RecoveryFailure::Missed)?;
            let key = hub.history_key(room);
            let reply = history.store.since(&key, *position, (most - total).saturating_add(1));
            let page = reply.wait().await.map_err(|error| match error {
                HistoryError::Unavailable(_) => RecoveryFailure::HistoryUnavailable,
                _ => RecoveryFailure::Missed,
            })?;
            total += page.records.len();
            if total > most {
                return Err(RecoveryFailure::TooMuch);
            }
            read.push((Arc::clone(room), page.last));
            pages.insert(Arc::clone(room), page.records);
        }
        if self.claimed.has_missed() {
            return Err(RecoveryFailure::Missed);
        }
        let selected = self.missed.select(pages).ok_or(RecoveryFailure::Missed)?;
        let (id, rooms) = (&self.claimed.session.id, &self.claimed.session.rooms);
        let format = socket.0.format;
        let mut replay = Replay { messages: Vec::new(), read };
        let SocketStats { mut messages, mut bytes, .. } = socket.stats();
        // At most so long are the offsets of its other rooms.
        let others = self.missed.reads.len().min(socket.0.room_offsets()).saturating_sub(1);
        let other_offsets = others * MAX_ROOM_OFFSET;
        for (message, record) in selected {
            let record = decode_record(record).ok_or(RecoveryFailure::Missed)?;
            let was_sent = self.missed.was_sent(&message);
            let is_excepted = record.except_ids.contains(id)
                || record.except_rooms.iter().any(|room| rooms.contains(room));
            if is_excepted && !was_sent {
                continue;
            }
            let encoded = record.content.with_content(hub.namespace(), |content| {
                content.encode(format, Some(message.offset))
            });
            let size = encoded.byte_size() + other_offsets;
            if !hub.delivery.limits.have_room(messages, bytes, size) {
                return Err(RecoveryFailure::TooMuch);
            }
            messages += 1;
            bytes += size;
            replay.messages.push((message, encoded));
        }
        Ok(replay)
    }
}

/// Holds messages back, so that the answer comes first.
pub(crate) fn hold(socket: &Socket) {
    if let Some(own) = socket.0.recovery() {
        own.log.lock().begin_holding();
    }
}

/// Step 5, without the answer: what was missed, and what was held back.
pub(crate) fn release(socket: &Socket, replay: Replay) {
    let Some(own) = socket.0.recovery() else { return };
    let mut log = own.log.lock();
    // Nobody is woken under the lock: the task of the socket is this one.
    for (message, encoded) in replay.messages {
        let encoded = socket.0.with_offsets(&log, encoded, Some(&message));
        enqueue(&socket.0, &encoded);
        log.note(&message);
    }
    for (room, position) in &replay.read {
        log.has_read(room, *position);
    }
    release_held(&*socket.0, &mut log, &replay.read);
    let is_behind = log.is_behind();
    if is_behind {
        log.lose();
    }
    drop(log);
    // Senders may wait for room that nothing takes.
    socket.0.queue.take_waiters().into_iter().for_each(Waker::wake);
    if is_behind {
        socket.0.close_behind();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A first message → the token, the offsets, and whether they are those of all rooms.
    #[track_caller]
    fn check(text: &str, expected: Option<(Option<&str>, &[&str], bool)>) {
        let request = ResumeRequest::parse(text);
        let expected = expected.map(|(token, offsets, is_complete)| ResumeRequest {
            token: token.map(str::to_owned),
            offsets: offsets.iter().map(|offset| (*offset).to_owned()).collect(),
            is_complete,
        });
        assert_eq!(request, expected, "{text}");
    }

    #[test]
    fn the_first_message_asks_for_a_session() {
        check(r#"{"resume":null}"#, Some((None, &[], true)));
        check(r#"{"resume":"t"}"#, Some((Some("t"), &[], true)));
        check(r#"{"resume":"t","at":"p1"}"#, Some((Some("t"), &["p1"], false)));
        check(r#"{"resume":"t","at":["a","p1"]}"#, Some((Some("t"), &["a", "p1"], true)));
        check(r#"{"at":null,"resume":"t\"","more":1}"#, Some((Some("t\""), &[], true)));
        for wrong in [
            "",
            "{}",
            r#"{"resume":"t","at":1}"#,
            r#"{"resume":"t","at":[1]}"#,
            r#"{"at":"p1"}"#,
            r#"{"resume":1}"#,
            r#"["t","p1"]"#,
            "null",
        ] {
            check(wrong, None);
        }
        check(&format!(r#"{{"resume":"{}"}}"#, "x".repeat(MAX_HELLO)), None);
    }

    #[test]
    fn the_auth_of_a_socket_io_client_may_have_a_session() {
        for (auth, token, offset) in [
            (r#"{"pid":"t","offset":"p1","user":"ann"}"#, Some("t"), Some("p1")),
            (r#"{"pid":"t"}"#, Some("t"), None),
            (r#"{"user":"ann"}"#, None, None),
            (r#"{"pid":"t","offset":"a,p1"}"#, Some("t"), Some("a")),
            (r#"{"pid":1}"#, None, None),
            ("null", None, None),
            ("", None, None),
        ] {
            let request = ResumeRequest::of_auth(auth);
            let got = request.offsets.first().map(String::as_str);
            assert_eq!((request.token.as_deref(), got), (token, offset));
            assert_eq!(request.is_complete, auth.contains(",p1"), "{auth}");
        }
        let offset = |len| format!(r#"{{"pid":"t","offset":"{}"}}"#, ",".repeat(len));
        let offsets = |len| ResumeRequest::of_auth(&offset(len)).offsets.len();
        assert_eq!((offsets(MAX_OFFSETS), offsets(MAX_OFFSETS + 1)), (MAX_OFFSETS + 1, 2));
    }
}
