//! How does an event look on the wire?
//!
//! A [`Protocol`] is one for the whole hub: it makes one message of an event, which goes to
//! all. A [`Session`] is one for each connection, since what a message means may depend on
//! those before. Handlers know of neither.
//!
//! An acknowledgement or an attachment that a protocol carries belongs into
//! [`Received::Event`] and the arguments of [`Protocol::encode`].

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use ws_core::Message;

use crate::{EncodeError, Event};

/// The longest name of an event, in bytes.
const NAME: usize = 256;

/// What all connections of a hub speak.
pub(crate) trait Protocol: Send + Sync {
    /// What a connection begins with.
    fn session(&self) -> Box<dyn Session>;

    /// Makes a message of an event, whose data is JSON.
    fn encode(&self, event: &str, data: &[u8]) -> Result<Message, EncodeError>;
}

/// What one connection has said so far.
pub(crate) trait Session: Send {
    /// What does a message mean? `Err` says why it means nothing.
    fn receive(&mut self, message: Message) -> Result<Received, String>;
}

/// What a peer has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message that is no event.
    Message(Message),
    /// An event, with its data.
    Event(Arc<str>, Message),
}

/// Messages as they are.
pub(crate) struct Plain;

impl Protocol for Plain {
    fn session(&self) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn encode(&self, _: &str, _: &[u8]) -> Result<Message, EncodeError> {
        Err(EncodeError::NoEnvelope)
    }
}

impl Session for Plain {
    fn receive(&mut self, message: Message) -> Result<Received, String> {
        Ok(Received::Message(message))
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

    fn encode(&self, event: &str, data: &[u8]) -> Result<Message, EncodeError> {
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
    fn receive(&mut self, message: Message) -> Result<Received, String> {
        let Some(text) = message.as_text() else { return Ok(Received::Message(message)) };
        let Enveloped { event, data } =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !is_name(&event) {
            return Err("its name is reserved, empty or too long".to_owned());
        }
        let data = data.map_or("null", RawValue::get);
        let data = text_of(data.to_owned());
        Ok(Received::Event(Arc::from(event), data))
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

    /// A message → the name and the data of its event, or what is wrong.
    #[track_caller]
    fn check(message: &str, expected: Result<(&str, &str), &str>) {
        match (Envelope.receive(Message::from(message)), expected) {
            (Ok(Received::Event(name, data)), Ok((event, json))) => {
                assert_eq!((&*name, data.as_text()), (event, Some(json)));
            }
            (Err(text), Err(word)) => assert!(text.contains(word), "{text}"),
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
        for name in ["", "connect", "disconnect", "message", "error", &"x".repeat(257)] {
            check(&format!(r#"{{"event":"{name}"}}"#), Err("reserved"));
        }
    }

    #[test]
    fn binary_messages_are_no_events() {
        let message = Message::binary(vec![1, 2]);
        assert_eq!(Envelope.receive(message.clone()), Ok(Received::Message(message)));
    }

    #[test]
    fn what_is_encoded_is_decoded_the_same() {
        for (name, data) in [("a", "1"), ("with \"quotes\"", "{}"), ("ü", "[\"ä\"]")] {
            let message = Envelope.encode(name, data.as_bytes()).unwrap();
            let Ok(Received::Event(event, json)) = Envelope.receive(message) else { panic!() };
            assert_eq!((&*event, json.as_text()), (name, Some(data)));
        }
        for name in ["", "connect", &"x".repeat(257)] {
            assert!(matches!(Envelope.encode(name, b"1"), Err(EncodeError::BadName(_))));
        }
        assert!(matches!(Plain.encode("a", b"1"), Err(EncodeError::NoEnvelope)));
    }
}
