//! How does an event look on the wire?
//!
//! A [`Protocol`] is one for the whole hub: it makes one message of an event, which goes to
//! all. A [`Session`] is one for each connection, since what a message means may depend on
//! those before. Handlers know of neither.
//

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use ws_core::{Message, StatusCode};

use crate::{EncodeError, Event};

/// The longest name of an event, in bytes.
const NAME: usize = 256;

/// What all connections of a hub speak.
pub(crate) trait Protocol: Send + Sync {
    /// What a connection begins with.
    fn session(&self) -> Box<dyn Session>;

    /// Makes a message of an event, once for all who get it.
    fn encode(&self, event: &Emitted<'_>) -> Result<Message, EncodeError>;
}

/// What one connection has said so far.
pub(crate) trait Session: Send {
    /// What is to be done before anything has arrived?
    fn begin(&mut self) -> Received {
        Received::Nothing
    }

    /// What does a message mean?
    fn receive(&mut self, message: Message) -> Received;
}

/// An event on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emitted<'a> {
    pub(crate) name: &'a str,
    /// In JSON.
    pub(crate) data: &'a [u8],
    /// The number under which the peer is to acknowledge it.
    #[cfg_attr(not(test), expect(dead_code, reason = "no protocol here has acknowledgements"))]
    pub(crate) ack: Option<u64>,
    #[cfg_attr(not(test), expect(dead_code, reason = "no protocol here has namespaces"))]
    pub(crate) namespace: Option<&'a str>,
}

/// What a message means: what is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the protocols here are simpler than that"))]
pub(crate) enum Received {
    /// Nothing yet: there is more to come.
    Nothing,
    /// A message that is no event.
    Message(Message),
    Event(Packet),
    /// It means nothing, and this is why.
    Wrong(Arc<str>),
    /// The peer is to be sent this, of which handlers know nothing.
    Reply(Message),
    /// The peer is to be closed.
    Close(StatusCode, String),
    Several(Vec<Self>),
}

/// An event that a peer has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) event: Arc<str>,
    pub(crate) data: Message,
    /// The number under which the peer wants it acknowledged.
    pub(crate) ack: Option<u64>,
    pub(crate) namespace: Option<Arc<str>>,
}

/// Messages as they are.
pub(crate) struct Plain;

impl Protocol for Plain {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn encode(&self, _: &Emitted<'_>) -> Result<Message, EncodeError> {
        Err(EncodeError::NoEnvelope)
    }
}

impl Session for Plain {
    fn receive(&mut self, message: Message) -> Received {
        Received::Message(message)
    }
}

/// Events in text messages, as `{"event":"name","data":…}`. Binary messages as they are.
pub(crate) struct Envelope;

#[derive(Deserialize)]
struct Enveloped<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Protocol for Envelope {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn encode(&self, emitted: &Emitted<'_>) -> Result<Message, EncodeError> {
        let Emitted { name: event, data, .. } = *emitted;
        if !is_name(event) {
            return Err(EncodeError::BadName(Arc::from(event)));
        }
        let json = |error| EncodeError::Json(Arc::new(error));
        let mut text = Vec::with_capacity(event.len() + data.len() + 24);
        text.extend_from_slice(b"{\"event\":");
        serde_json::to_writer(&mut text, event).map_err(json)?;
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(data);
        text.push(b'}');
        Ok(text_of(text))
    }
}

impl Session for Envelope {
    fn receive(&mut self, message: Message) -> Received {
        let Some(text) = message.as_text() else { return Received::Message(message) };
        let Enveloped { event, data } = match serde_json::from_str(text) {
            Ok(enveloped) => enveloped,
            Err(error) => return Received::Wrong(error.to_string().into()),
        };
        if !is_name(&event) {
            return Received::Wrong("its name is reserved, empty or too long".into());
        }
        let data = data.map_or("null", RawValue::get);
        let data = text_of(data.to_owned());
        Received::Event(Packet { event: Arc::from(event), data, ack: None, namespace: None })
    }
}

/// May an event of an application be called so?
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME && Event::is_custom(name)
}

/// JSON is text.
fn text_of(json: impl Into<bytes::Bytes>) -> Message {
    Message::text_from_bytes(json).unwrap_or_else(Message::binary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, HubBuilder, Socket};

    /// A message → the name and the data of its event, or what is wrong.
    #[track_caller]
    fn check(message: &str, expected: Result<(&str, &str), &str>) {
        match (Envelope.receive(Message::from(message)), expected) {
            (Received::Event(packet), Ok((event, json))) => {
                assert_eq!((&*packet.event, packet.data.as_text()), (event, Some(json)));
                assert_eq!((packet.ack, packet.namespace), (None, None));
            }
            (Received::Wrong(text), Err(word)) => assert!(text.contains(word), "{text}"),
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
    fn what_is_no_envelope_says_why() {
        check("", Err("EOF"));
        check("hello", Err("expected"));
        check("[]", Err("invalid"));
        check(r#"{"data":1}"#, Err("missing field `event`"));
        check(r#"{"event":1}"#, Err("invalid type"));
        let long = "x".repeat(257);
        for name in ["", "connect", "disconnect", "message", "error", "room_join", &long] {
            check(&format!(r#"{{"event":"{name}"}}"#), Err("reserved"));
        }
    }

    #[test]
    fn binary_messages_are_no_events() {
        let message = Message::binary(vec![1, 2]);
        assert_eq!(Envelope.receive(message.clone()), Received::Message(message));
    }

    const fn emitted<'a>(name: &'a str, data: &'a str) -> Emitted<'a> {
        Emitted { name, data: data.as_bytes(), ack: None, namespace: None }
    }

    #[test]
    fn what_is_encoded_is_decoded_the_same() {
        for (name, data) in [("a", "1"), ("with \"quotes\"", "{}"), ("ü", "[\"ä\"]")] {
            let message = Envelope.encode(&emitted(name, data)).unwrap();
            let Received::Event(packet) = Envelope.receive(message) else { panic!() };
            assert_eq!((&*packet.event, packet.data.as_text()), (name, Some(data)));
        }
        for name in ["", "connect", &"x".repeat(257)] {
            let encoded = Envelope.encode(&emitted(name, "1"));
            assert!(matches!(encoded, Err(EncodeError::BadName(_))));
        }
        assert!(matches!(Plain.encode(&emitted("a", "1")), Err(EncodeError::NoEnvelope)));
    }

    /// A protocol that needs all that there is room for: words, of which one message has
    /// several and some mean something to the session alone.
    struct Words;

    /// What was begun by `begin`.
    #[derive(Default)]
    struct Said(Option<String>);

    impl Protocol for Words {
        fn session(&self) -> Box<dyn Session> {
            Box::new(Said::default())
        }

        fn encode(&self, emitted: &Emitted<'_>) -> Result<Message, EncodeError> {
            let Emitted { name, data, ack, namespace } = emitted;
            let data = String::from_utf8_lossy(data);
            Ok(Message::from(format!("{name} {data} {ack:?} {namespace:?}")))
        }
    }

    impl Said {
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
                ("what", None) => Received::Wrong("what".into()),
                (word, None) => Received::Event(Packet {
                    event: word.into(),
                    data: word.into(),
                    ack: Some(1),
                    namespace: Some("/".into()),
                }),
            }
        }
    }

    impl Session for Said {
        fn begin(&mut self) -> Received {
            Received::Reply("hello".into())
        }

        fn receive(&mut self, message: Message) -> Received {
            let text = message.as_text().unwrap();
            let lines = text.lines().map(|line| {
                Received::Several(line.split(' ').map(|word| self.word(word)).collect())
            });
            Received::Several(lines.collect())
        }
    }

    #[tokio::test]
    async fn a_protocol_may_answer_for_itself_wait_for_more_say_several_things_and_close() {
        let hub = HubBuilder::default().speaking(Box::new(Words));
        hub.on_connect(async |socket: Socket| socket.emit("connected", &1));
        hub.on_message(async |socket: Socket, text: String| socket.send(format!("<{text}>")));
        hub.on_any(async |socket: Socket, event: Event| socket.emit(event.as_str(), &2));
        hub.on_error(async |socket: Socket, fault: Fault| socket.send(fault.to_string()));
        let (client, server) = ws_core::pair();
        let serving = tokio::spawn(hub.member()(server));
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
            "what the peer sent is no event: what",
        ];
        assert_eq!(
            (heard.as_slice(), ended),
            (&expected.map(str::to_owned)[..], Some(StatusCode::NORMAL_CLOSURE))
        );
        serving.await.unwrap();
    }
}
