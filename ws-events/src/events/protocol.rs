//! How are events encoded as messages, and messages decoded as events?
//!
//! A hub has one [`Protocol`], which encodes an event once for all recipients. Each connection
//! has a [`Session`], since the meaning of a message may depend on earlier ones. Handlers know
//! neither.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ws_core::{Escaped, Message, StatusCode};

use crate::{EncodeError, Event};

/// The longest name of an event, in bytes.
const MAX_NAME: usize = 256;

/// The protocol of all connections of a hub.
pub(crate) trait Protocol: Send + Sync {
    /// The decoder of a new connection.
    fn session(&self) -> Box<dyn Session>;

    /// Encodes an event, once for all recipients.
    fn encode(&self, event: &OutgoingEvent<'_>) -> Result<Message, EncodeError>;

    /// Whether a peer can send custom events.
    fn receives_events(&self) -> bool {
        true
    }

    /// Encodes the event that tells a peer of a mistake. `None` if the protocol has none.
    fn encode_error(&self, code: ErrorCode, event: Option<&str>, text: &str) -> Option<Message> {
        let _ = (code, event, text);
        None
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

impl dyn Protocol {
    /// Serialises the data of an event, and encodes the event.
    pub(crate) fn encode_event<T: Serialize + ?Sized>(
        &self,
        name: &str,
        data: &T,
    ) -> Result<Message, EncodeError> {
        let json = serde_json::to_vec(data).map_err(|error| EncodeError::Json(Arc::new(error)))?;
        self.encode(&OutgoingEvent { name, data: &json, ack: None, namespace: None })
    }
}

/// The decoder of one connection.
pub(crate) trait Session: Send {
    /// What to do before the first message.
    fn begin(&mut self) -> Received {
        Received::Nothing
    }

    /// Decodes a message.
    fn receive(&mut self, message: Message) -> Received;
}

/// An event to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutgoingEvent<'a> {
    pub(crate) name: &'a str,
    /// JSON.
    pub(crate) data: &'a [u8],
    /// The id of the acknowledgement that the peer has to send.
    #[cfg_attr(not(test), expect(dead_code, reason = "no protocol has acknowledgements yet"))]
    pub(crate) ack: Option<u64>,
    #[cfg_attr(not(test), expect(dead_code, reason = "no protocol has namespaces yet"))]
    pub(crate) namespace: Option<&'a str>,
}

/// The meaning of a message.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the present protocols need fewer variants"))]
pub(crate) enum Received {
    /// Nothing: more messages are needed.
    Nothing,
    /// A message that is not an event.
    Message(Message),
    Event(IncomingEvent),
    /// It is malformed, for this reason.
    Malformed(Arc<str>),
    /// A message to send to the peer. Handlers are not called.
    Reply(Message),
    /// The socket must be closed.
    Close(StatusCode, String),
    /// All of these, in order.
    Many(Vec<Self>),
}

/// A decoded event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IncomingEvent {
    pub(crate) event: Arc<str>,
    pub(crate) data: Message,
    /// The id of the acknowledgement that the peer expects.
    pub(crate) ack: Option<u64>,
    pub(crate) namespace: Option<Arc<str>>,
}

/// Messages only, without events.
pub(crate) struct MessageProtocol;

impl Protocol for MessageProtocol {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn encode(&self, _: &OutgoingEvent<'_>) -> Result<Message, EncodeError> {
        Err(EncodeError::NoEnvelope)
    }

    fn receives_events(&self) -> bool {
        false
    }
}

impl Session for MessageProtocol {
    fn receive(&mut self, message: Message) -> Received {
        Received::Message(message)
    }
}

/// Events as text messages `{"event":"name","data":…}`. Binary messages are not events.
pub(crate) struct EnvelopeProtocol;

#[derive(Deserialize)]
struct EnvelopeJson<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Protocol for EnvelopeProtocol {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn encode(&self, event: &OutgoingEvent<'_>) -> Result<Message, EncodeError> {
        let OutgoingEvent { name, data, .. } = *event;
        if !is_valid_name(name) {
            return Err(EncodeError::BadName(Arc::from(name)));
        }
        let json = |error| EncodeError::Json(Arc::new(error));
        let mut text = Vec::with_capacity(name.len() + data.len() + 24);
        text.extend_from_slice(b"{\"event\":");
        serde_json::to_writer(&mut text, name).map_err(json)?;
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(data);
        text.push(b'}');
        Ok(text_of(text))
    }

    fn encode_error(&self, code: ErrorCode, event: Option<&str>, text: &str) -> Option<Message> {
        let text = Escaped::new(text).to_string();
        let data = serde_json::to_string(&ErrorData { code, event, text }).ok()?;
        Some(text_of(format!(r#"{{"event":"error","data":{data}}}"#)))
    }
}

impl Session for EnvelopeProtocol {
    fn receive(&mut self, message: Message) -> Received {
        let Some(text) = message.as_text() else { return Received::Message(message) };
        let EnvelopeJson { event, data } = match serde_json::from_str(text) {
            Ok(enveloped) => enveloped,
            Err(error) => return Received::Malformed(error.to_string().into()),
        };
        // A derived `Deserialize` takes a list of the fields, too.
        if text.trim_start().starts_with('[') {
            return Received::Malformed("an event is a JSON object, not an array".into());
        }
        if !is_valid_name(&event) {
            return Received::Malformed("the event name is reserved, empty or too long".into());
        }
        let data = data.map_or("null", RawValue::get);
        let data = text_of(data.to_owned());
        Received::Event(IncomingEvent { event: Arc::from(event), data, ack: None, namespace: None })
    }
}

/// Whether a custom event may have this name.
fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && Event::is_custom(name)
}

/// A text message: JSON is always text.
fn text_of(json: impl Into<bytes::Bytes>) -> Message {
    Message::text_from_bytes(json).unwrap_or_else(Message::binary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::broker::InProcess;
    use crate::{EventError, HubBuilder, Socket};

    /// A message → the name and the data of its event, or a part of the error.
    #[track_caller]
    fn check(message: &str, expected: Result<(&str, &str), &str>) {
        match (EnvelopeProtocol.receive(Message::from(message)), expected) {
            (Received::Event(decoded), Ok((event, json))) => {
                assert_eq!((&*decoded.event, decoded.data.as_text()), (event, Some(json)));
                assert_eq!((decoded.ack, decoded.namespace), (None, None));
            }
            (Received::Malformed(text), Err(word)) => assert!(text.contains(word), "{text}"),
            (got, expected) => panic!("{message}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn an_envelope_is_an_event_with_data() {
        check(r#"{"event":"a","data":[1, 2]}"#, Ok(("a", "[1, 2]")));
        check(r#"{"data":{"x":"ü"},"event":"ä"}"#, Ok(("ä", r#"{"x":"ü"}"#)));
        check(r#"{"event":"a"}"#, Ok(("a", "null")));
        check(r#"{"event":"a","data":null,"more":1}"#, Ok(("a", "null")));
        check(r#"{"event":"a\n","data":""}"#, Ok(("a\n", r#""""#)));
    }

    #[test]
    fn a_malformed_envelope_has_a_reason() {
        check("", Err("EOF"));
        check("hello", Err("expected"));
        check("[]", Err("invalid"));
        check(r#" ["say", 1]"#, Err("array"));
        check(r#"{"data":1}"#, Err("missing field `event`"));
        check(r#"{"event":1}"#, Err("invalid type"));
        let long = "x".repeat(257);
        for name in ["", "connect", "disconnect", "message", "error", "room_join", &long] {
            check(&format!(r#"{{"event":"{name}"}}"#), Err("reserved"));
        }
    }

    #[test]
    fn binary_messages_are_not_events() {
        let message = Message::binary(vec![1, 2]);
        assert_eq!(EnvelopeProtocol.receive(message.clone()), Received::Message(message));
    }

    const fn outgoing<'a>(name: &'a str, data: &'a str) -> OutgoingEvent<'a> {
        OutgoingEvent { name, data: data.as_bytes(), ack: None, namespace: None }
    }

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        for (name, data) in [("a", "1"), ("with \"quotes\"", "{}"), ("ü", "[\"ä\"]")] {
            let message = EnvelopeProtocol.encode(&outgoing(name, data)).unwrap();
            let Received::Event(decoded) = EnvelopeProtocol.receive(message) else { panic!() };
            assert_eq!((&*decoded.event, decoded.data.as_text()), (name, Some(data)));
        }
        for name in ["", "connect", &"x".repeat(257)] {
            let encoded = EnvelopeProtocol.encode(&outgoing(name, "1"));
            assert!(matches!(encoded, Err(EncodeError::BadName(_))));
        }
        assert!(matches!(
            MessageProtocol.encode(&outgoing("a", "1")),
            Err(EncodeError::NoEnvelope)
        ));
    }

    /// A protocol that uses every variant of [`Received`]: a message is a list of words, and
    /// some words are commands to the session.
    struct WordProtocol;

    /// The words since `begin`.
    #[derive(Default)]
    struct WordSession(Option<String>);

    impl Protocol for WordProtocol {
        fn session(&self) -> Box<dyn Session> {
            Box::new(WordSession::default())
        }

        fn encode(&self, event: &OutgoingEvent<'_>) -> Result<Message, EncodeError> {
            let OutgoingEvent { name, data, ack, namespace } = event;
            let data = String::from_utf8_lossy(data);
            Ok(Message::from(format!("{name} {data} {ack:?} {namespace:?}")))
        }
    }

    impl WordSession {
        fn word(&mut self, word: &str) -> Received {
            match (word, &mut self.0) {
                ("begin", _) => {
                    self.0 = Some(String::new());
                    Received::Nothing
                }
                ("end", begun) => Received::Message(begun.take().unwrap_or_default().into()),
                (word, Some(begun)) => {
                    begun.push_str(word);
                    Received::Nothing
                }
                ("who", None) => Received::Reply("you".into()),
                ("bye", None) => Received::Close(StatusCode::NORMAL_CLOSURE, "bye".to_owned()),
                ("what", None) => Received::Malformed("what".into()),
                (word, None) => Received::Event(IncomingEvent {
                    event: word.into(),
                    data: word.into(),
                    ack: Some(1),
                    namespace: Some("/".into()),
                }),
            }
        }
    }

    impl Session for WordSession {
        fn begin(&mut self) -> Received {
            Received::Reply("hello".into())
        }

        fn receive(&mut self, message: Message) -> Received {
            let text = message.as_text().unwrap();
            let lines = text
                .lines()
                .map(|line| Received::Many(line.split(' ').map(|word| self.word(word)).collect()));
            Received::Many(lines.collect())
        }
    }

    #[tokio::test]
    async fn a_protocol_may_reply_wait_for_more_return_several_results_and_close() {
        let hub = HubBuilder::default().build_with(Box::new(WordProtocol), Box::new(InProcess));
        hub.on_connect(async |socket: Socket| socket.emit("connected", &1));
        hub.on_message(async |socket: Socket, text: String| socket.send(format!("<{text}>")));
        hub.on_any(async |socket: Socket, event: Event| socket.emit(event.as_str(), &2));
        hub.on_error(async |socket: Socket, error: EventError| socket.send(error.to_string()));
        let (client, server) = ws_core::pair();
        let serving = tokio::spawn(hub.handler()(server));
        client.write("one who two\nbegin a").await.unwrap();
        client.write("b end what bye").await.unwrap();
        let mut heard = Vec::new();
        let ended = loop {
            match client.read().await {
                Ok(message) => heard.push(message.as_text().unwrap().to_owned()),
                Err(error) => break error.close_status(),
            }
        };
        let expected = [
            "hello",
            "connected 1 None None",
            "one 2 None None",
            "you",
            "two 2 None None",
            "<ab>",
            "malformed event from the peer: what",
        ];
        assert_eq!(
            (heard.as_slice(), ended),
            (&expected.map(str::to_owned)[..], Some(StatusCode::NORMAL_CLOSURE))
        );
        serving.await.unwrap();
    }
}
