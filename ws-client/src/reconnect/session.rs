//! How does a client get its session back from a hub, and which of its messages has it read?
//!
//! The protocol is that of `Protocol::Resumable` of `ws-events`: the first message asks for a session
//! by a token, the first answer has a new one. Each event may have an offset, its name. The client
//! shows the offset of the last event that was read, behind those of the last events of other rooms,
//! and the hub sends what comes after it.
//!
//! So a message counts as read when the application gets it, not when it arrives. While a connection
//! asks for the session, nothing is read from the one before: the hub may send it again.

#![cfg_attr(not(feature = "json"), expect(dead_code, reason = "its messages are JSON"))]

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

#[cfg(feature = "json")]
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::failure::ConnectionFailure;
use super::shared::{Shared, SharedState};
use crate::first_ready::first_ready;
use crate::{Conn, Message, runtime};

/// The longest time from the request for a session to the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Of more rooms, only the offset of the last event is shown: a hub bounds the request.
const MAX_ROOMS: usize = 100;

/// A longer offset is ignored, in bytes. The longest one of a hub has 37.
const MAX_OFFSET_LENGTH: usize = 64;

/// How messages about a session are written and read.
///
/// Functions behind pointers, so that a program that asks for no session does not contain them.
#[derive(Clone, Copy)]
pub(super) struct SessionFormat {
    begin: for<'a> fn(&'a Shared, &'a Conn) -> SessionFuture<'a, Result<(), ConnectionFailure>>,
    turn: for<'a> fn(&'a Semaphore) -> SessionFuture<'a, Option<SemaphorePermit<'a>>>,
    received: fn(&Shared, &Conn, Message) -> Option<Message>,
    request: fn(token: Option<&str>, at: &[String]) -> Message,
    answer: fn(&Message) -> Option<SessionAnswer>,
}

type SessionFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer of a hub to the request for a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionAnswer {
    token: String,
    recovered: bool,
}

impl SessionFormat {
    /// Asks for the session by the first message of a connection, and waits for the answer.
    pub(super) async fn begin(self, shared: &Shared, conn: &Conn) -> Result<(), ConnectionFailure> {
        (self.begin)(shared, conn).await
    }

    /// Waits until no other call reads.
    pub(super) async fn turn(self, reader: &Semaphore) -> Option<SemaphorePermit<'_>> {
        (self.turn)(reader).await
    }

    /// A message was read from a connection. `None` if it is not for the application now.
    pub(super) fn received(
        self,
        shared: &Shared,
        conn: &Conn,
        message: Message,
    ) -> Option<Message> {
        (self.received)(shared, conn, message)
    }
}

impl fmt::Debug for SessionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFormat(..)")
    }
}

/// What a client has of its session.
pub(super) struct SessionState {
    format: SessionFormat,
    token: Option<String>,
    /// The offsets of the last messages that were read, of each room, the newest at the end.
    at: Vec<String>,
    /// The last connection with this session, by its id.
    conn: Option<u64>,
    /// Whether a connection asks for the session.
    asks: bool,
    /// A message that was being read meanwhile, with its offset.
    held: Option<(Message, Option<String>)>,
    /// Whether a session was lost since messages of the last connection were read.
    pub(super) is_lost: bool,
    pub(super) recovered: bool,
}

/// What happens to a message that was read from a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadMessage {
    /// The application gets it.
    Read(Message),
    /// It is read after the answer, unless the hub sends it again.
    Held,
    /// It is of a connection without this session.
    Foreign(Message),
}

impl SessionState {
    pub(super) const fn new(format: SessionFormat) -> Self {
        Self {
            format,
            token: None,
            at: Vec::new(),
            conn: None,
            asks: false,
            held: None,
            is_lost: false,
            recovered: false,
        }
    }

    /// The first message of the next connection.
    pub(super) fn ask(&mut self) -> Message {
        self.asks = true;
        (self.format.request)(self.token.as_deref(), &self.at)
    }

    /// There is no answer.
    pub(super) const fn stop_asking(&mut self) {
        self.asks = false;
    }

    /// The answer to a connection. Returns the connection whose messages the hub sends again.
    pub(super) fn answered(&mut self, conn: u64, answer: SessionAnswer) -> Option<u64> {
        let SessionAnswer { token, recovered } = answer;
        let before = self.conn.replace(conn);
        self.asks = false;
        self.recovered = recovered;
        // Behind the first answer, there is nothing to send again and nothing to lose.
        self.token.replace(token)?;
        if recovered {
            self.held = None;
            return before;
        }
        self.is_lost = true;
        self.at.clear();
        // It is of the session before.
        if let Some((_, offset)) = &mut self.held {
            *offset = None;
        }
        None
    }

    /// Whether the next message of this connection has to wait for an answer.
    pub(super) fn waits(&self, conn: u64) -> bool {
        self.asks && self.conn == Some(conn)
    }

    /// A message was read from a connection.
    pub(super) fn read(
        &mut self,
        conn: u64,
        message: Message,
        offset: Option<String>,
    ) -> ReadMessage {
        if self.conn != Some(conn) {
            return ReadMessage::Foreign(message);
        }
        if self.asks {
            self.held = Some((message, offset));
            return ReadMessage::Held;
        }
        self.note(offset);
        ReadMessage::Read(message)
    }

    fn note(&mut self, offset: Option<String>) {
        let Some(offset) = offset.filter(|it| it.len() <= MAX_OFFSET_LENGTH) else { return };
        let own = room(&offset);
        self.at.retain(|other| room(other) != own);
        // One more than is shown, as a mark that there were more rooms.
        if self.at.len() > MAX_ROOMS {
            self.at.remove(0);
        }
        self.at.push(offset);
    }

    /// The message that was held, once there is an answer or no connection that asks.
    pub(super) fn take_held(&mut self) -> Option<Message> {
        if self.asks {
            return None;
        }
        let (message, offset) = self.held.take()?;
        self.note(offset);
        Some(message)
    }
}

/// The part of an offset that stands for its room.
fn room(offset: &str) -> Option<&str> {
    offset.split_once('-').map(|(room, _)| room)
}

/// See [`SessionFormat::begin`].
async fn begin(shared: &Shared, conn: &Conn) -> Result<(), ConnectionFailure> {
    let Some(request) = SessionRequest::new(shared) else { return Ok(()) };
    let exchange = async {
        conn.write(request.message.clone()).await.ok()?;
        conn.read().await.ok()
    };
    let timeout = async {
        runtime::sleep(ANSWER_TIMEOUT).await;
        None
    };
    let answer = first_ready(exchange, timeout).await;
    let no_session = ConnectionFailure::NoSession { answered: answer.is_some() };
    let answer = answer.and_then(|message| (request.format.answer)(&message)).ok_or(no_session)?;
    shared.state.change(|inner| inner.answered(conn, answer));
    Ok(())
}

/// A connection that asks for its session, until this is dropped.
struct SessionRequest<'a> {
    shared: &'a Shared,
    /// The first message of the connection.
    message: Message,
    format: SessionFormat,
}

impl<'a> SessionRequest<'a> {
    fn new(shared: &'a Shared) -> Option<Self> {
        let format = shared.session?;
        let message = shared.state.change(|inner| Some(inner.session.as_mut()?.ask()))?;
        Some(Self { shared, message, format })
    }
}

impl Drop for SessionRequest<'_> {
    fn drop(&mut self) {
        let stop = |inner: &mut SharedState| {
            inner.session.as_mut().map(SessionState::stop_asking);
        };
        self.shared.state.change(stop);
    }
}

impl SharedState {
    fn received(
        &mut self,
        conn: &Conn,
        message: Message,
        offset: Option<String>,
    ) -> Option<Message> {
        let Some(session) = &mut self.session else { return Some(message) };
        match session.read(conn.id(), message, offset) {
            ReadMessage::Read(message) => Some(message),
            ReadMessage::Held => None,
            // It is of an earlier session. If its connection is not read any more, the hub has sent
            // it again.
            ReadMessage::Foreign(message) => {
                self.unread.iter().any(|unread| unread.conn.id() == conn.id()).then_some(message)
            }
        }
    }

    fn answered(&mut self, conn: &Conn, answer: SessionAnswer) {
        let Some(session) = &mut self.session else { return };
        let Some(sent_again) = session.answered(conn.id(), answer) else { return };
        self.unread.retain(|unread| {
            let is_sent_again = unread.conn.id() == sent_again;
            session.is_lost |= is_sent_again && unread.is_behind_loss;
            !is_sent_again
        });
    }
}

#[cfg(feature = "json")]
impl SessionFormat {
    /// The messages of `Protocol::Resumable`.
    pub(super) const ENVELOPE: Self = Self {
        begin: |shared, conn| Box::pin(begin(shared, conn)),
        // It is never closed.
        turn: |reader| Box::pin(async { reader.acquire().await.ok() }),
        received: |shared, conn, message| {
            let offset = EnvelopeFields::of(&message).and_then(|fields| fields.at);
            shared.state.change_quietly(|inner| inner.received(conn, message, offset))
        },
        request: |token, at| {
            let field = |value: Option<&str>| value.map_or_else(|| "null".to_owned(), quoted);
            let at = match at {
                [.., last] if at.len() > MAX_ROOMS => quoted(last),
                [] => field(None),
                at => {
                    let at: Vec<_> = at.iter().map(|offset| quoted(offset)).collect();
                    format!("[{}]", at.join(","))
                }
            };
            Message::text(format!(r#"{{"resume":{},"at":{at}}}"#, field(token)))
        },
        answer: |message| {
            let EnvelopeFields { session, recovered, .. } = EnvelopeFields::of(message)?;
            Some(SessionAnswer { token: session?, recovered })
        },
    };
}

#[cfg(feature = "json")]
fn quoted(text: &str) -> String {
    // It cannot fail.
    Message::from_json(text).ok().and_then(|it| it.as_text().map(str::to_owned)).unwrap_or_default()
}

/// The fields of an envelope that are about its session.
#[cfg(feature = "json")]
#[derive(Default)]
struct EnvelopeFields {
    session: Option<String>,
    recovered: bool,
    at: Option<String>,
}

#[cfg(feature = "json")]
impl EnvelopeFields {
    fn of(message: &Message) -> Option<Self> {
        message.as_text()?;
        message.json().ok()
    }
}

/// By hand, so that the client does not depend on the macros of `serde`.
#[cfg(feature = "json")]
impl<'de> Deserialize<'de> for EnvelopeFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;

        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = EnvelopeFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvelopeFields, A::Error> {
                let mut fields = EnvelopeFields::default();
                while let Some(name) = map.next_key::<String>()? {
                    match &*name {
                        "session" => fields.session = Some(map.next_value()?),
                        "recovered" => fields.recovered = map.next_value()?,
                        "at" => fields.at = Some(map.next_value()?),
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    const FORMAT: SessionFormat = SessionFormat::ENVELOPE;

    fn answer(token: &str, recovered: bool) -> SessionAnswer {
        SessionAnswer { token: token.to_owned(), recovered }
    }

    #[test]
    fn the_answer_and_the_offset_are_fields_of_an_object() {
        for (text, expected) in [
            (r#"{"session":"t","recovered":true}"#, Some(answer("t", true))),
            (r#"{"session":"t","recovered":false,"reason":"missed"}"#, Some(answer("t", false))),
            (r#"{"session":"t"}"#, Some(answer("t", false))),
            (r#"{"session":1,"recovered":true}"#, None),
            (r#"{"event":"n","data":{"session":"t","recovered":true}}"#, None),
            (r#"["t",true]"#, None),
            ("", None),
        ] {
            assert_eq!((FORMAT.answer)(&text.into()), expected, "{text}");
        }
        for (text, expected) in [
            (r#"{"event":"n","data":{"at":"x"},"at":"p1"}"#, Some("p1")),
            (r#"{"event":"n","data":"at","at":"\u0070\"1"}"#, Some("p\"1")),
            (r#"{"event":"n","data":1}"#, None),
            (r#"{"event":"n","at":1}"#, None),
            (r#"{"event":"n","at":"p1""#, None),
            (r#"["at"]"#, None),
            ("null", None),
        ] {
            let fields = EnvelopeFields::of(&text.into());
            assert_eq!(fields.and_then(|it| it.at).as_deref(), expected, "{text}");
        }
        assert!(EnvelopeFields::of(&Message::binary(&br#"{"at":"p1"}"#[..])).is_none());
    }

    #[test]
    fn a_message_counts_as_read_when_the_application_has_it() {
        let mut session = SessionState::new(FORMAT);
        let asks = |session: &mut SessionState| session.ask().as_text().unwrap().to_owned();
        let at = |offset: &str| Some(offset.to_owned());
        let message = || Message::from("m");
        assert_eq!(asks(&mut session), r#"{"resume":null,"at":null}"#);
        assert_eq!(session.answered(1, answer("a\"", false)), None);
        assert!(!session.is_lost);
        assert_eq!(session.read(1, message(), at("p1")), ReadMessage::Read(message()));
        assert_eq!(session.read(1, message(), None), ReadMessage::Read(message()));
        assert_eq!(asks(&mut session), r#"{"resume":"a\"","at":["p1"]}"#);
        assert!(session.waits(1) && !session.waits(2));
        // It is read if there is no answer.
        assert_eq!(session.read(1, message(), at("p2")), ReadMessage::Held);
        assert_eq!(session.take_held(), None);
        session.stop_asking();
        assert_eq!(session.take_held(), Some(message()));
        assert_eq!(asks(&mut session), r#"{"resume":"a\"","at":["p2"]}"#);
        // The hub sends it again if the session is recovered.
        assert_eq!(session.read(1, message(), at("p3")), ReadMessage::Held);
        assert_eq!(session.answered(2, answer("b", true)), Some(1));
        assert_eq!(session.take_held(), None);
        assert_eq!(session.read(1, message(), at("p3")), ReadMessage::Foreign(message()));
        assert_eq!(asks(&mut session), r#"{"resume":"b","at":["p2"]}"#);
        // It is of the session before if the session is a new one.
        assert_eq!(session.read(2, message(), at("p3")), ReadMessage::Held);
        assert_eq!(session.answered(3, answer("c", false)), None);
        assert!(session.is_lost && !session.recovered);
        assert_eq!(session.take_held(), Some(message()));
        assert_eq!(asks(&mut session), r#"{"resume":"c","at":null}"#);
    }

    #[test]
    fn the_last_offset_of_each_room_is_shown_with_the_newest_at_the_end() {
        let mut session = SessionState::new(FORMAT);
        session.answered(1, answer("a", false));
        for offset in ["x-1", "p1", "y-1", "x-2", "p2", "y-2", "x-10"] {
            let _ = session.read(1, Message::from("m"), Some(offset.to_owned()));
        }
        let asks = |session: &mut SessionState| session.ask().as_text().unwrap().to_owned();
        assert_eq!(asks(&mut session), r#"{"resume":"a","at":["p2","y-2","x-10"]}"#);
        session.stop_asking();
        for number in 0..MAX_ROOMS {
            let _ = session.read(1, Message::from("m"), Some(format!("{number}-1")));
        }
        let last = MAX_ROOMS - 1;
        assert_eq!(asks(&mut session), format!(r#"{{"resume":"a","at":"{last}-1"}}"#));
    }

    #[test]
    fn the_offsets_that_are_kept_have_a_bound() {
        let longest = "x".repeat(MAX_OFFSET_LENGTH - 2) + "-1";
        let too_long = format!("x{longest}");
        // The offsets that arrive → how many are kept, and what the request shows.
        let check = |offsets: &mut dyn Iterator<Item = String>, kept: usize, shown: &str| {
            let mut session = SessionState::new(FORMAT);
            session.answered(1, answer("a", false));
            for offset in offsets {
                let _ = session.read(1, Message::from("m"), Some(offset));
                assert!(session.at.len() <= MAX_ROOMS + 1);
            }
            assert_eq!(session.at.len(), kept);
            let request = format!(r#"{{"resume":"a","at":{shown}}}"#);
            assert_eq!(session.ask().as_text(), Some(&*request));
        };
        let offsets = |rooms: usize| (1..=rooms).map(|room| format!("{room}-1"));
        let all: Vec<_> = offsets(MAX_ROOMS).map(|offset| format!(r#""{offset}""#)).collect();
        check(&mut offsets(MAX_ROOMS), MAX_ROOMS, &format!("[{}]", all.join(",")));
        check(&mut offsets(MAX_ROOMS + 1), MAX_ROOMS + 1, r#""101-1""#);
        check(&mut offsets(1000), MAX_ROOMS + 1, r#""1000-1""#);
        // A room that was left is not shown again, and does not make room for others.
        let back = offsets(1000).chain(["1-2".to_owned(), "1-3".to_owned()]);
        check(&mut { back }, MAX_ROOMS + 1, r#""1-3""#);
        check(&mut [longest.clone()].into_iter(), 1, &format!(r#"["{longest}"]"#));
        check(&mut [too_long.clone()].into_iter(), 0, "null");
        check(&mut ["x-1".to_owned(), too_long].into_iter(), 1, r#"["x-1"]"#);
    }
}
