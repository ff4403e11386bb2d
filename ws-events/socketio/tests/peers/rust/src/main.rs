//! What does `rust_socketio` see of a hub?
//!
//! rust-socketio-client URL TRANSPORT: TRANSPORT is `polling`, `websocket` or `any`. Prints what happened
//! as JSON. The client has no call that acknowledges an event of the server.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use rust_socketio::{ClientBuilder, Event, Payload, RawClient, TransportType};
use serde_json::{Value, json};

/// The limit of each wait.
const LIMIT: Duration = Duration::from_secs(30);

/// An event, and its arguments.
type Seen = (&'static str, Value);

/// A callback that notes an event.
fn note(
    name: &'static str,
    seen: &Sender<Seen>,
) -> impl FnMut(Payload, RawClient) + Send + 'static {
    let seen = seen.clone();
    move |payload, _| _ = seen.send((name, arguments(payload)))
}

fn arguments(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => Value::from(values),
        Payload::Binary(bytes) => json!({ "bytes": bytes.to_vec() }),
        other => Value::from(format!("{other:?}")),
    }
}

/// Waits for an event.
fn wait(seen: &Receiver<Seen>, expected: &str) -> Value {
    loop {
        let (name, arguments) = seen.recv_timeout(LIMIT).expect(expected);
        assert_ne!(name, "error", "{arguments}");
        if name == expected {
            return arguments;
        }
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let url = words.next().expect("a URL");
    let transport = match words.next().as_deref() {
        Some("polling") => TransportType::Polling,
        Some("websocket") => TransportType::Websocket,
        _ => TransportType::Any,
    };
    let (sender, seen) = mpsc::channel();
    let mut builder = ClientBuilder::new(url)
        .transport_type(transport)
        .auth(json!({ "user": "ann" }))
        .reconnect(false)
        .on(Event::Connect, note("connect", &sender))
        .on(Event::Error, note("error", &sender));
    for name in ["welcome", "question", "echoed"] {
        builder = builder.on(name, note(name, &sender));
    }
    let socket = builder.connect().expect("it connects");
    wait(&seen, "connect");
    let welcome = wait(&seen, "welcome");
    socket.emit_with_ack("double", json!(21), LIMIT, note("double", &sender)).expect("it is open");
    let double = wait(&seen, "double");
    socket.emit_with_ack("ask", json!(1), LIMIT, note("ask", &sender)).expect("it is open");
    let question = wait(&seen, "question");
    let asked = wait(&seen, "ask");
    socket.emit("echo", vec![0_u8, 255]).expect("it is open");
    let echoed = wait(&seen, "echoed");
    socket.disconnect().expect("it disconnects");
    let report = json!({
        "welcome": welcome,
        "double": double,
        "question": question,
        "asked": asked,
        "echoed": echoed,
    });
    println!("{report}");
    // Its threads may still wait for an answer.
    std::process::exit(0);
}
