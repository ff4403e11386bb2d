//! Does every message of a peer become the event of a hub that its JSON describes, or an error?

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_core::{Config, Limits, Message, StatusCode, pair_with};
use ws_events::{Event, EventPayload, Hub};

use crate::Input;

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// Names that are not custom events.
const RESERVED: [&str; 9] = [
    "connect",
    "message",
    "ping",
    "pong",
    "close",
    "disconnect",
    "error",
    "room_join",
    "room_leave",
];

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let is_text = input.byte() & 1 == 0;
    let payload = input.rest();
    let message = match String::from_utf8(payload.to_vec()) {
        Ok(text) if is_text => Message::from(text),
        _ => Message::binary(payload.to_vec()),
    };
    let expected = expected(&message);
    let (received, returned) = crate::paused(timeout_of(async {
        let hub = Hub::builder().envelope().build();
        let (sender, mut events) = mpsc::unbounded_channel();
        let listen = move |event: EventPayload| {
            let sender = sender.clone();
            async move { sender.send(event) }
        };
        hub.on_any(listen.clone());
        hub.on_message(listen.clone());
        hub.on_error(listen);
        let config = Config::new().limits(Limits::new().no_message_size());
        let (client, server) = pair_with(config.clone(), config);
        let serving = tokio::spawn(async move { hub.serve(server).await });
        client.write(message.clone()).await.expect("it is open");
        let event = events.recv().await.expect("one event for each message");
        // What was decoded is encoded to the same. A number may be out of the range of `Value`.
        let mut returned = None;
        if let (Event::Custom(name), Ok(value)) = (event.event(), event.json::<Value>()) {
            event.socket().emit(name, &value).expect("the name and the data are valid");
            let text = client.read().await.expect("it is open");
            returned = Some((value, text));
        }
        client.close(StatusCode::NORMAL_CLOSURE, "").await.expect("it is open");
        serving.await.expect("nothing panics");
        let more = events.try_recv();
        assert!(more.is_err(), "{message:?} is two events: {more:?}");
        (event, returned)
    }));
    let error = received.error().map(|error| error.to_string());
    match expected {
        Expected::Event(name, data) => {
            // `Value` takes the last of two fields.
            if error.is_some_and(|error| error.contains("duplicate field")) {
                return;
            }
            assert_eq!(received.event(), &Event::Custom(name.as_str().into()), "{payload:?}");
            let (value, text) = returned.expect("it was sent back");
            assert_eq!(value, data);
            let again: Value = serde_json::from_slice(text.as_bytes()).expect("it is JSON");
            assert_eq!((&again["event"], &again["data"]), (&Value::from(name), &data));
        }
        Expected::NoEvent => {
            let is_custom = matches!(received.event(), Event::Custom(_));
            assert!(!is_custom, "{payload:?} is not an event");
        }
        Expected::Unknown => {}
    }
}

async fn timeout_of<T>(future: impl Future<Output = T>) -> T {
    timeout(FOREVER, future).await.expect("it hangs")
}

/// What a message should be.
enum Expected {
    Event(String, Value),
    NoEvent,
    /// It has a number that `Value` cannot hold, or no JSON.
    Unknown,
}

fn expected(message: &Message) -> Expected {
    let Some(text) = message.as_text() else { return Expected::NoEvent };
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Expected::Unknown };
    let Some(name) = value.get("event").and_then(Value::as_str) else { return Expected::NoEvent };
    let is_valid = !name.is_empty() && name.len() <= 256 && !RESERVED.contains(&name);
    if !is_valid {
        return Expected::NoEvent;
    }
    Expected::Event(name.to_owned(), value.get("data").cloned().unwrap_or_default())
}
