//! Does every series of messages decode to packets of Socket.IO, or end the session?

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::timeout;
use ws_core::{Message, StatusCode, pair};
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::socketio::{Packet, PacketDecoder, PacketType, SocketIoLimits};
use ws_events::{EventError, EventPayload, Hub, State};

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// Runs the checks of this module on one input: messages, with 0x1E between them. Those that begin
/// with `b` are binary.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let messages: Vec<_> = data.split(|byte| *byte == 0x1E).map(message).collect();
    let limits = SocketIoLimits::new().attachment_bytes(64);
    let mut decoder = PacketDecoder::new(limits.clone());
    for message in &messages {
        match decoder.decode(message.clone()) {
            Ok(Some(packet)) => check_packet(&packet),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    crate::paused(check_session(messages, limits));
}

fn message(bytes: &[u8]) -> Message {
    match (bytes.split_first(), std::str::from_utf8(bytes)) {
        (Some((b'b', rest)), _) => Message::binary(rest.to_vec()),
        (_, Ok(text)) => Message::from(text),
        (_, Err(_)) => Message::binary(bytes.to_vec()),
    }
}

fn check_packet(packet: &Packet) {
    assert!(packet.attachments.len() <= 10 && packet.namespace.len() <= 256);
    assert!(packet.attachments.iter().map(Bytes::len).sum::<usize>() <= 64);
    if packet.kind == PacketType::Disconnect {
        return assert_eq!(packet.data, "");
    }
    // `Value` has no numbers out of the range of `f64`, and a limit of depth.
    let Ok(value) = serde_json::from_str::<Value>(&packet.data) else { return };
    match (packet.kind, packet.args) {
        (PacketType::Connect, _) => assert!(value.is_object() || value.is_null()),
        (_, 0) => assert_eq!(value, Value::Null),
        (_, 1) => {}
        (_, args) => assert_eq!(value.as_array().map(Vec::len), Some(args)),
    }
}

/// Whether clients would take a part of the value for an attachment.
fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(has_placeholder),
        Value::Object(fields) => {
            fields.get("_placeholder") == Some(&Value::Bool(true))
                || fields.values().any(has_placeholder)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whatever a client sends, the session ends and nothing panics.
async fn check_session(messages: Vec<Message>, limits: SocketIoLimits) {
    let hub = Hub::builder().socketio(limits).state(AtomicBool::new(false)).build();
    hub.of_each("/d*", |_| {});
    hub.on_error(async |error: EventError, State(has_panicked): State<AtomicBool>| {
        has_panicked.fetch_or(matches!(error, EventError::Panicked { .. }), Relaxed);
    });
    let look = async |payload: EventPayload| {
        // Placeholders, wherever a value asks for bytes.
        if let Ok(value) = payload.json::<Value>() {
            // Beside bytes, it would be a placeholder for them.
            let relayed = payload.socket().emit("relay", &(&value, Bytes::from_static(b"x")));
            assert!(relayed.is_err() || !has_placeholder(&value), "{value}");
        }
        let _ = payload.json::<Bytes>();
        let _ = payload.json::<Vec<Option<Bytes>>>();
        let echo = payload.json::<(Bytes, Value)>();
        echo.map_err(|error| error.to_string())
    };
    hub.on_any(look);
    hub.on_message(look);
    let (client, server) = pair();
    let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
    let driving = session.clone();
    let serving = hub.clone();
    let serving = tokio::spawn(async move {
        tokio::join!(driving.drive(), serving.serve_engine(session));
    });
    for message in messages {
        // A packet `message` of Engine.IO.
        let message = match message.as_text() {
            Some(text) => Message::from(format!("4{text}")),
            None => message,
        };
        if client.write(message).await.is_err() {
            break;
        }
    }
    let ending = async {
        // It fails if the server was faster.
        let _ = client.close(StatusCode::NORMAL_CLOSURE, "").await;
        serving.await.expect("nothing panics");
    };
    timeout(FOREVER, ending).await.expect("it hangs");
    assert!(hub.is_empty());
    assert!(!hub.state::<AtomicBool>().is_some_and(|has_panicked| has_panicked.load(Relaxed)));
}
