//! Does every packet of Socket.IO in MessagePack decode within its bounds, and is it encoded as it was?

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use tokio::time::timeout;
use ws_core::{Conn, Message, StatusCode, pair};
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::socketio::{Packet, PacketDecoder, PacketError, PacketType, SocketIoLimits};
use ws_events::{EventPayload, Hub};

use crate::Input;

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// `{"type":0,"nsp":"/"}`.
const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

/// The begin of `{"type":2,"nsp":"/","id":1,"data":["echo",…]}`.
const ECHO: &[u8] = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x01\xa4data\x92\xa4echo";

/// `{"type":2,"nsp":"/","id":2,"data":["end"]}`.
const END: &[u8] = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x02\xa4data\x91\xa3end";

/// Runs the checks of this module on one input: a packet, or the argument of an event.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let is_argument = input.byte() % 2 == 1;
    let packet = match is_argument {
        true => [ECHO, input.rest()].concat(),
        false => input.rest().to_vec(),
    };
    let limits = SocketIoLimits::new().attachments(4).attachment_bytes(64);
    let decoded = PacketDecoder::new(limits.clone()).decode(Message::binary(packet.clone()));
    if let Ok(Some(decoded)) = &decoded {
        check_bounds(decoded, packet.len());
    }
    assert_ne!(decoded, Ok(None), "a packet is one message");
    let is_valid = decoded.is_ok();
    let value = decoded.ok().flatten().filter(|_| is_argument).and_then(|decoded| {
        // `Value` has no numbers out of the range of `f64`.
        let mut value = serde_json::from_str::<Value>(&decoded.data).ok()?;
        inline_base64(&mut value, &decoded.attachments);
        Some(value)
    });
    let value = value.filter(|value| depth(value) < 60);
    crate::paused(async {
        let checking = check_session(packet, limits, is_valid && is_argument, value);
        timeout(FOREVER, checking).await.expect("it hangs");
    });
}

/// What a packet of so many bytes takes.
fn check_bounds(packet: &Packet, bytes: usize) {
    assert!(packet.attachments.len() <= 4);
    assert!(packet.attachments.iter().map(Bytes::len).sum::<usize>() <= 64);
    let placeholders = 32 * packet.attachments.len();
    assert!(packet.data.len() <= 6 * bytes + placeholders, "{packet:?} of {bytes} bytes");
    assert!(packet.name.len() + packet.namespace.len() <= 2 * 256);
    if packet.kind != PacketType::Disconnect {
        serde_json::from_str::<serde::de::IgnoredAny>(&packet.data).expect("it is JSON");
    }
}

/// Puts base64 into the places of attachments, as a handler gets it.
fn inline_base64(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(|value| inline_base64(value, attachments));
        }
        Value::Object(fields) => {
            let is_placeholder = fields.get("_placeholder") == Some(&Value::Bool(true));
            let number = fields.get("num").and_then(Value::as_u64).filter(|_| is_placeholder);
            let number = number.and_then(|number| usize::try_from(number).ok());
            match number.and_then(|number| attachments.get(number)) {
                Some(bytes) => *value = Value::from(STANDARD.encode(bytes)),
                None => {
                    fields.values_mut().for_each(|value| inline_base64(value, attachments));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How deep the arrays and objects of a value are nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Whether two values are the same. `serde_json` may read another of two neighbouring numbers.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) =
                (one.as_f64().unwrap_or_default(), other.as_f64().unwrap_or_default());
            (one - other).abs() <= one.abs() * 1e-12
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, value)| other.get(key).is_some_and(|other| is_same(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// Sends a packet to a hub, which sends the argument of an event back.
async fn check_session(
    packet: Vec<u8>,
    limits: SocketIoLimits,
    is_valid: bool,
    value: Option<Value>,
) {
    let hub = Hub::builder().socketio(limits).build();
    hub.on("echo", async |payload: EventPayload| {
        let value = payload.json::<Value>().map_err(|error| error.to_string())?;
        // Bytes, if there are any.
        let _ = payload.json::<Bytes>();
        let _ = payload.json::<Vec<Option<Bytes>>>();
        Ok::<_, String>((value, 0))
    });
    hub.on("end", async || {});
    let (client, server) = pair();
    let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
    let (driving, serving) = (session.clone(), hub.clone());
    let serving = tokio::spawn(async move {
        tokio::join!(driving.drive(), serving.serve_engine(session));
    });
    for packet in [CONNECT, &packet, END] {
        // It fails if the server was faster.
        let _ = client.write(packet.to_vec()).await;
    }
    let mut decoder = PacketDecoder::new(SocketIoLimits::new());
    let (mut echoed, mut has_ended) = (None, false);
    while !has_ended && let Some(answer) = read(&client, &mut decoder).await {
        match (answer.kind, answer.id) {
            (PacketType::Ack, Some(1)) => echoed = Some(answer.data),
            (PacketType::Ack, Some(2)) => has_ended = true,
            _ => {}
        }
    }
    if is_valid {
        assert!(has_ended, "the packet ends the session");
    }
    if let Some(value) = value {
        let echoed = echoed.expect("it is echoed");
        let echoed: Value = serde_json::from_str(&echoed).expect("it is JSON");
        assert!(is_same(&value, &echoed[0]), "{value} is {echoed}");
    }
    let _ = client.close(StatusCode::NORMAL_CLOSURE, "").await;
    serving.await.expect("nothing panics");
    assert!(hub.is_empty());
}

/// The next packet; `None` after the end.
async fn read(client: &Conn, decoder: &mut PacketDecoder) -> Option<Packet> {
    loop {
        let message = client.read().await.ok()?;
        if !message.is_binary() {
            continue;
        }
        match decoder.decode(message) {
            Ok(packet) => return packet,
            // `CONNECT_ERROR`, which the decoder refuses, since only servers send it.
            Err(PacketError::Type) => {}
            Err(error) => panic!("the hub has sent a malformed packet: {error}"),
        }
    }
}
