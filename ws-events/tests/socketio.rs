//! Does a hub speak Socket.IO v5, as the specification and its clients expect?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{EventLog, TIMEOUT, serve_socketio, wait_until};
use futures::future::{FutureExt as _, join};
use parking_lot::Mutex;
use serde::Deserialize;
#[cfg(feature = "msgpack")]
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use ws_core::{Conn, Message, StatusCode, pair};
use ws_events::socketio::SocketIoLimits;
use ws_events::{
    Ack, AckError, Bytes, ConnectRejection, DisconnectReason, Event, EventError, EventPayload, Hub,
    HubBuilder, Json, SendQueueLimits, Socket, State,
};

/// A client of Engine.IO over a WebSocket.
struct Client {
    conn: Conn,
    serving: JoinHandle<()>,
}

impl Client {
    async fn open(hub: &Hub) -> Self {
        let (conn, server) = pair();
        let serving = serve_socketio(hub, server);
        let client = Self { conn, serving };
        assert!(client.read().await.starts_with(r#"0{"sid":""#));
        client
    }

    /// A client in the root namespace.
    async fn connect(hub: &Hub) -> Self {
        let client = Self::open(hub).await;
        client.join("", "").await;
        client
    }

    /// Connects to a namespace, and returns the id of the socket.
    async fn join(&self, namespace: &str, auth: &str) -> String {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace},") };
        self.write(&format!("40{prefix}{auth}")).await;
        let answer = self.read().await;
        let sid = answer.strip_prefix(&format!("40{prefix}{{\"sid\":\"")).unwrap();
        sid.strip_suffix("\"}").unwrap().to_owned()
    }

    async fn write(&self, text: &str) {
        self.conn.write(text).await.unwrap();
    }

    async fn message(&self) -> Message {
        timeout(TIMEOUT, self.conn.read()).await.unwrap().unwrap()
    }

    async fn read(&self) -> String {
        self.message().await.as_text().unwrap().to_owned()
    }

    /// Waits for the end of the connection. Nothing comes before.
    async fn ended(self) {
        timeout(TIMEOUT, self.conn.read()).await.unwrap().unwrap_err();
        timeout(TIMEOUT, self.serving).await.unwrap().unwrap();
    }
}

/// The server of the official test suite.
fn suite_hub() -> Hub {
    // Shorter than what a test waits for.
    let limits = SocketIoLimits::new().connect_timeout(TIMEOUT / 2);
    let hub = Hub::builder().socketio(limits).build();
    hub.accept_socketio();
    for namespace in [hub.clone(), hub.of("/custom")] {
        namespace.on_connect(async |socket: Socket| {
            let auth: Value = socket.auth().unwrap();
            socket.emit("auth", &if auth.is_null() { json!({}) } else { auth })
        });
        type Args = (Value, Value, Value);
        namespace.on_message(async |socket: Socket, payload: EventPayload| {
            match payload.json::<(u8, Bytes, Bytes)>() {
                Ok(args) => socket.emit("message-back", &args),
                Err(_) => socket.emit("message-back", &payload.json::<Args>().unwrap()),
            }
        });
        namespace.on("message-with-ack", async |payload: EventPayload, ack: Ack| {
            match payload.json::<(u8, Bytes, Bytes)>() {
                Ok(args) => ack.send(&args),
                Err(_) => ack.send(&payload.json::<Args>().unwrap()),
            }
        });
    }
    hub
}

/// What a client sends, and what it gets: a text, `binary:…` for bytes, or `end` for the end of
/// the connection. `*` stands for an id.
#[track_caller]
fn check<'a>(sent: &'a [&'a str], expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let client = Client::open(&suite_hub()).await;
        for message in sent {
            let message = match message.strip_prefix("binary:") {
                Some(bytes) => Message::binary(bytes.to_owned()),
                None => Message::from(*message),
            };
            client.conn.write(message).await.unwrap();
        }
        for expected in expected {
            if *expected == "end" {
                return client.ended().await;
            }
            let message = client.message().await;
            let text = match message.as_text() {
                Some(text) => text.to_owned(),
                None => format!("binary:{}", String::from_utf8_lossy(message.as_bytes())),
            };
            match expected.split_once('*') {
                Some((start, end)) => {
                    let fits = text.starts_with(start) && text.ends_with(end);
                    assert!(fits, "{caller}: {text}");
                }
                None => assert_eq!(text, *expected, "{caller}"),
            }
        }
        // Nothing else comes: the answer to this is the next message.
        client.write(r#"40/nowhere,"#).await;
        assert_eq!(
            client.read().await,
            r#"44/nowhere,{"message":"Invalid namespace"}"#,
            "{caller}"
        );
    }
}

const ROOT: &str = r#"40{"sid":"*"}"#;
const CUSTOM: &str = r#"40/custom,{"sid":"*"}"#;
const AUTH: &str = r#"42["auth",{}]"#;

/// Each row has the name of the case, without "should".
#[tokio::test(start_paused = true)]
async fn the_cases_of_the_official_suite_pass() {
    let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    let binary = format!(r#"452-["message",1,{placeholders}]"#);
    let binary_back = format!(r#"452-["message-back",1,{placeholders}]"#);
    let asked = format!(r#"452-789["message-with-ack",1,{placeholders}]"#);
    let answer = format!(r#"462-789[1,{placeholders}]"#);
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);
    let connect: [Case<'_>; 7] = [
        ("allow connection to the main namespace", &["40"], &[ROOT, AUTH]),
        (
            "allow connection to the main namespace with a payload",
            &[r#"40{"token":"123"}"#],
            &[ROOT, r#"42["auth",{"token":"123"}]"#],
        ),
        (
            "allow connection to a custom namespace",
            &["40/custom,"],
            &[CUSTOM, r#"42/custom,["auth",{}]"#],
        ),
        (
            "allow connection to a custom namespace with a payload",
            &[r#"40/custom,{"token":"abc"}"#],
            &[CUSTOM, r#"42/custom,["auth",{"token":"abc"}]"#],
        ),
        (
            "disallow connection to an unknown namespace",
            &["40/random"],
            &[r#"44/random,{"message":"Invalid namespace"}"#],
        ),
        ("disallow connection with an invalid handshake", &["4abc"], &["end"]),
        ("close the connection if no handshake is received", &[], &["end"]),
    ];
    let disconnect: [Case<'_>; 2] = [
        ("disconnect from the main namespace", &["40", "41"], &[ROOT, AUTH, "end"]),
        (
            "connect then disconnect from a custom namespace",
            &["40", "40/custom,", "41/custom", r#"42["message",1,2,3]"#],
            &[ROOT, AUTH, CUSTOM, r#"42/custom,["auth",{}]"#, r#"42["message-back",1,2,3]"#],
        ),
    ];
    let message: [Case<'_>; 7] = [
        (
            "send a plain-text packet",
            &["40", r#"42["message",1,"2",{"3":[true]}]"#],
            &[ROOT, AUTH, r#"42["message-back",1,"2",{"3":[true]}]"#],
        ),
        (
            "send a packet with binary attachments",
            &["40", &binary, "binary:a", "binary:b"],
            &[ROOT, AUTH, &binary_back, "binary:a", "binary:b"],
        ),
        (
            "send a plain-text packet with an ack",
            &["40", r#"42456["message-with-ack",1,"2",{"3":[false]}]"#],
            &[ROOT, AUTH, r#"43456[1,"2",{"3":[false]}]"#],
        ),
        (
            "send a packet with binary attachments and an ack",
            &["40", &asked, "binary:a", "binary:b"],
            &[ROOT, AUTH, &answer, "binary:a", "binary:b"],
        ),
        (
            "close the connection upon invalid format (unknown packet type)",
            &["40", "4abc"],
            &[ROOT, AUTH, "end"],
        ),
        (
            "close the connection upon invalid format (invalid payload format)",
            &["40", "42{}"],
            &[ROOT, AUTH, "end"],
        ),
        (
            "close the connection upon invalid format (invalid ack id)",
            &["40", r#"42abc["message-with-ack",1]"#],
            &[ROOT, AUTH, "end"],
        ),
    ];
    let cases: Vec<_> = connect.iter().chain(&disconnect).chain(&message).collect();
    assert_eq!(cases.len(), 16);
    for (name, sent, expected) in cases {
        println!("{name}");
        check(sent, expected).await;
    }
}

#[tokio::test]
async fn a_packet_out_of_order_ends_the_session() {
    check(&[r#"42["a"]"#], &["end"]).await;
    check(&["41"], &["end"]).await;
    check(&["430[]"], &["end"]).await;
    check(&["40", "40"], &[ROOT, AUTH, "end"]).await;
    check(&["40", r#"42/custom,["a"]"#], &[ROOT, AUTH, "end"]).await;
    check(&["40", r#"451-["a"]"#, r#"42["b"]"#], &[ROOT, AUTH, "end"]).await;
    check(&["40", "binary:x"], &[ROOT, AUTH, "end"]).await;
    check(&["40", "41", r#"42["a"]"#], &[ROOT, AUTH, "end"]).await;
    // An unknown acknowledgement is ignored.
    check(&["40", "4377[1]"], &[ROOT, AUTH]).await;
}

#[tokio::test(start_paused = true)]
async fn each_limit_ends_the_session() {
    let limits = SocketIoLimits::new()
        .attachments(1)
        .attachment_bytes(4)
        .event_name_bytes(3)
        .auth_bytes(10)
        .namespace_bytes(8)
        .namespaces(2)
        .connect_timeout(Duration::from_secs(5));
    let hub = Hub::builder().socketio(limits).build();
    let _second = hub.of("/b");
    for sent in [
        &["40", r#"452-["a"]"#][..],
        &["40", r#"42["abcd"]"#],
        &["40/12345678"],
        &[r#"40{"a":12345}"#],
        &["40", "40/b,", "40/c,"],
        // No namespace within the timeout.
        &[],
        &["40", "41"],
    ] {
        let client = Client::open(&hub).await;
        for message in sent {
            client.write(message).await;
        }
        let ending = async { while client.conn.read().await.is_ok() {} };
        timeout(Duration::from_secs(60), ending).await.unwrap();
        timeout(TIMEOUT, client.serving).await.unwrap().unwrap();
        wait_until(|| hub.is_empty()).await;
    }
    let client = Client::connect(&hub).await;
    client.write(r#"451-["a",{"_placeholder":true,"num":0}]"#).await;
    client.conn.write(Message::binary(vec![0; 5])).await.unwrap();
    client.ended().await;
}

/// The reason in the close frame of a client that sends these texts.
async fn farewell(limits: SocketIoLimits, sent: &[&str]) -> (u16, String) {
    let hub = Hub::builder().socketio(limits).build();
    let _other = hub.of("/b");
    let client = Client::open(&hub).await;
    for message in sent {
        client.write(message).await;
    }
    let closed = timeout(2 * Duration::from_secs(60), client.conn.closed()).await.unwrap();
    let close = closed.received.unwrap();
    (close.code.as_u16(), close.reason)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_exceeds_a_limit_is_told_which() {
    let check = async |limits: SocketIoLimits, sent: &[&str], code: u16, limit: &str| {
        let (got, reason) = farewell(limits, sent).await;
        assert_eq!(got, code, "{reason}");
        assert!(reason.contains(&format!("`SocketIoLimits::{limit}`")), "{limit}: {reason}");
    };
    let limits = SocketIoLimits::new;
    let auth = format!(r#"40{{"token":"{}"}}"#, "x".repeat(17 * 1024));
    check(limits(), &[&auth], 1002, "auth_bytes").await;
    check(limits(), &[&format!("40/{}", "x".repeat(256))], 1002, "namespace_bytes").await;
    check(limits(), &["40", r#"4511-["a"]"#], 1002, "attachments").await;
    check(limits().event_name_bytes(3), &["40", r#"42["abcd"]"#], 1002, "event_name_bytes").await;
    check(limits().namespaces(1), &["40", "40/b,"], 1008, "namespaces").await;
    // Before a ping.
    let soon = limits().connect_timeout(Duration::from_secs(5));
    check(soon, &[], 1008, "connect_timeout").await;
    // A reason with much text of the peer is cut.
    let (code, reason) = farewell(limits(), &["40", &format!(r#"42[{}"#, "é".repeat(200))]).await;
    assert_eq!(code, 1002);
    assert!(reason.starts_with("malformed payload") && reason.len() <= 123, "{reason}");
    let (code, reason) = farewell(limits(), &["40", r#"42["disconnecting"]"#]).await;
    assert_eq!((code, &*reason), (1002, "reserved event name `disconnecting`"));
    let long = format!(r#"40{}"#, "/".repeat(300));
    assert_eq!(farewell(limits().namespace_bytes(1000), &[&long, "41"]).await.0, 1002);
}

/// Each row has the limit and how often a client can leave and connect again meanwhile.
#[tokio::test]
async fn a_socket_counts_until_its_handlers_of_disconnect_have_returned() {
    for limit in [1, 2, 5] {
        let release = Arc::new(Notify::new());
        let limits = SocketIoLimits::new().namespaces(limit);
        let hub = Hub::builder().socketio(limits).state(Arc::clone(&release)).build();
        hub.on_disconnect(async |State(release): State<Arc<Notify>>| release.notified().await);
        let client = Client::connect(&hub).await;
        for _ in 1..limit {
            client.write("41").await;
            client.join("", "").await;
        }
        client.write("41").await;
        client.write("40").await;
        let closed = timeout(TIMEOUT, client.conn.closed()).await.unwrap().received.unwrap();
        assert_eq!(closed.code, StatusCode::POLICY_VIOLATION, "{limit}: {}", closed.reason);
        assert_eq!(hub.len(), limit, "as many handlers run as sockets are allowed");
        let released = async {
            while !hub.is_empty() {
                release.notify_waiters();
                tokio::task::yield_now().await;
            }
        };
        timeout(TIMEOUT, released).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_namespace_is_closed_in_time_and_by_a_drain() {
    let hub = Hub::new();
    // Attempts that fail do not extend the time.
    let client = Client::open(&hub).await;
    let began = Instant::now();
    let asking = async {
        while client.conn.write("40/nowhere,").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
        }
    };
    let reading = async { while client.conn.read().await.is_ok() {} };
    timeout(Duration::from_secs(600), join(asking, reading)).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(47), "{:?}", began.elapsed());
    // It begins when the client has left its last namespace.
    let client = Client::connect(&hub).await;
    tokio::time::sleep(Duration::from_secs(20)).await; // tidy: sleep is the subject
    client.write("41").await;
    let began = Instant::now();
    while let Ok(message) = client.conn.read().await {
        assert_eq!(message.as_text(), Some("2"));
        client.write("3").await;
    }
    assert_eq!(began.elapsed().as_secs(), 45);
    let client = Client::open(&hub).await;
    let drained = hub.drain(TIMEOUT).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 0));
    let closed = client.conn.closed().await;
    assert_eq!(closed.received.map(|close| close.code), Some(StatusCode::GOING_AWAY));
}

fn logged(builder: HubBuilder) -> (Hub, EventLog) {
    let log = EventLog::default();
    let hub = builder.state(log.clone()).build();
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(reason);
    });
    (hub, log)
}

#[tokio::test]
async fn middleware_refuses_with_a_message_and_data() {
    #[derive(Deserialize)]
    struct Auth {
        token: String,
    }

    let (hub, log) = logged(Hub::builder());
    hub.middleware(async |socket: Socket| match socket.auth::<Auth>() {
        Ok(auth) if auth.token == "right" => {
            socket.set_id("chosen")?;
            Ok(())
        }
        _ => Err(ConnectRejection::new("who are you?").data(&json!({ "code": 7 }))),
    });
    hub.of("/open").on_disconnect(async |State(log): State<EventLog>| log.note("left"));
    let client = Client::open(&hub).await;
    client.write(r#"40{"token":"wrong"}"#).await;
    assert_eq!(client.read().await, r#"44{"message":"who are you?","data":{"code":7}}"#);
    // The connection stays: for another namespace, and for another attempt.
    client.join("/open", "").await;
    assert_eq!(client.join("", r#"{"token":"right"}"#).await, "chosen");
    client.write("41/open,").await;
    assert_eq!(log.take(1).await, ["left"]);
    client.write("41").await;
    let left = "the peer closed with 1000 normal closure: client namespace disconnect";
    assert_eq!(log.take(1).await, [left]);
    assert!(hub.is_empty());
}

#[tokio::test]
async fn each_way_to_end_has_its_reason() {
    let (hub, log) = logged(Hub::builder());
    let (other, others) = (hub.of("/other"), Hub::of(&hub, "other"));
    assert_eq!(other.namespace(), others.namespace());
    // By a packet: the client does not connect again by itself.
    let client = Client::connect(&hub).await;
    client.join("/other", "").await;
    let socket = hub.everyone().sockets().remove(0);
    socket.emit("last", "words").unwrap();
    socket.close(StatusCode::POLICY_VIOLATION, "out").unwrap();
    assert_eq!(client.read().await, r#"42["last","words"]"#);
    assert_eq!(client.read().await, "41");
    assert_eq!(log.take(1).await, ["this side closed with 1008 policy violation: out"]);
    assert_eq!((hub.len(), other.len()), (0, 1));
    // The transport is closed: the client connects again.
    client.join("", "").await;
    let drained = hub.drain(TIMEOUT).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (2, 0, 0));
    client.ended().await;
    let reason = log.take(1).await;
    assert!(reason[0].starts_with("this side closed with 1001"), "{reason:?}");
    // The client leaves, or is cut off.
    let (hub, log) = logged(Hub::builder());
    let client = Client::connect(&hub).await;
    client.conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    let reason = log.take(1).await;
    assert!(reason[0].starts_with("the peer closed"), "{reason:?}");
    let client = Client::connect(&hub).await;
    client.conn.close_now();
    let reason = log.take(1).await;
    assert!(reason[0].starts_with("the connection ended without a close frame"), "{reason:?}");
    // A malformed packet.
    let client = Client::connect(&hub).await;
    client.write("4x").await;
    let reason = log.take(1).await;
    assert!(reason[0].contains("unknown packet type"), "{reason:?}");
    // The task of the session is dropped.
    let client = Client::connect(&hub).await;
    client.serving.abort();
    assert_eq!(log.take(1).await, ["the task that served it was dropped"]);
    wait_until(|| hub.is_empty()).await;
}

#[tokio::test]
async fn events_and_messages_are_the_same_as_with_other_protocols() {
    let (hub, log) = logged(Hub::builder());
    hub.on_message(async |payload: EventPayload, State(log): State<EventLog>| {
        log.note(format!("{:?}", payload.message().unwrap()));
    });
    hub.on_any(async |event: Event, data: String, State(log): State<EventLog>| {
        log.note(format!("{event} {data}"));
    });
    hub.on_error(async |error: EventError, State(log): State<EventLog>| log.note(error));
    let client = Client::connect(&hub).await;
    for message in [
        r#"42["message","text"]"#,
        r#"42["message"]"#,
        r#"42["message",{"a":1}]"#,
        r#"42["one",[1, 2]]"#,
        r#"42["none"]"#,
        r#"42["several",1, "b"]"#,
        r#"42["ping",1]"#,
    ] {
        client.write(message).await;
    }
    client.write(r#"451-["message",{"_placeholder":true,"num":0}]"#).await;
    client.conn.write(Message::binary("b")).await.unwrap();
    let expected = [
        "Text(\"text\")",
        "Text(\"null\")",
        "Text(\"{\\\"a\\\":1}\")",
        "one [1, 2]",
        "none null",
        "several [1, \"b\"]",
        "malformed event from the peer: the event name is reserved, empty or too long",
        "Binary(b\"b\")",
    ];
    assert_eq!(log.take(8).await, expected);
    let socket = hub.everyone().sockets().remove(0);
    socket.send("text").unwrap();
    hub.send(Message::binary("b"));
    socket.emit("several", &(1, "b")).unwrap();
    socket.emit("one", &vec![1, 2]).unwrap();
    socket.emit("none", &()).unwrap();
    for expected in [
        r#"42["message","text"]"#,
        r#"451-["message",{"_placeholder":true,"num":0}]"#,
        "b",
        r#"42["several",1,"b"]"#,
        r#"42["one",[1,2]]"#,
        r#"42["none"]"#,
    ] {
        assert_eq!(client.message().await.as_bytes(), expected.as_bytes());
    }
}

#[tokio::test]
async fn acknowledgements_go_both_ways_with_attachments() {
    let hub = Hub::new();
    hub.on("double", async |Json(n): Json<u32>| Json((n, 2 * n)));
    hub.on("nothing", async || {});
    let client = Client::connect(&hub).await;
    client.write(r#"420["double",2]"#).await;
    assert_eq!(client.read().await, "430[2,4]");
    client.write(r#"427["nothing"]"#).await;
    assert_eq!(client.read().await, "437[]");
    let socket = hub.everyone().sockets().remove(0);
    let asking = socket.emit_with_ack::<(String, Bytes), _>("ask", &(1, Bytes::from("x")));
    let answering = async {
        assert_eq!(client.read().await, r#"451-0["ask",1,{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.message().await.as_bytes(), b"x");
        client.write(r#"461-0["yes",{"_placeholder":true,"num":0}]"#).await;
        client.conn.write(Message::binary("y")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(asking.into_future(), answering);
    assert_eq!(answer.unwrap(), ("yes".to_owned(), Bytes::from("y")));
    let pending = socket.emit_with_ack::<(), _>("ask", &());
    client.write("41").await;
    assert!(matches!(pending.await, Err(AckError::Disconnected)));
}

#[tokio::test]
async fn a_handler_may_await_an_answer_and_one_namespace_does_not_delay_another() {
    let hub = Hub::new();
    hub.on("ask", async |socket: Socket| socket.emit_with_ack::<u32, _>("number", &()).await);
    hub.of("/other").on("echo", async |Json(n): Json<u32>| Json(n));
    let client = Client::connect(&hub).await;
    client.join("/other", "").await;
    client.write(r#"421["ask"]"#).await;
    assert_eq!(client.read().await, r#"420["number"]"#);
    client.write(r#"42/other,2["echo",7]"#).await;
    assert_eq!(client.read().await, "43/other,2[7]");
    client.write("430[5]").await;
    assert_eq!(client.read().await, "431[5]");
}

#[tokio::test]
async fn the_end_of_a_session_is_noticed_behind_a_handler_that_does_not_return() {
    for events in [0, 1, 64, 65, 66, 128, 129, 130, 300] {
        let log = EventLog::default();
        let release = Arc::new(Notify::new());
        let hub = Hub::builder().state(log.clone()).state(Arc::clone(&release)).build();
        hub.on("block", async |State(release): State<Arc<Notify>>| release.notified().await);
        hub.on("n", async |Json(n): Json<u32>, State(log): State<EventLog>| log.note(n));
        hub.on_disconnect(async |State(log): State<EventLog>| log.note("left"));
        let client = Client::connect(&hub).await;
        client.write(r#"42["block"]"#).await;
        for n in 0..events {
            client.write(&format!(r#"42["n",{n}]"#)).await;
        }
        let socket = hub.everyone().sockets().remove(0);
        client.conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        wait_until(|| !socket.is_alive()).await;
        assert_eq!(hub.len(), 1, "its handler has not returned");
        release.notify_one();
        let expected: Vec<_> = (0..events).map(|n| n.to_string()).chain(["left".into()]).collect();
        assert_eq!(log.take(events + 1).await, expected);
        wait_until(|| hub.is_empty()).await;
        timeout(TIMEOUT, client.serving).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_inboxes_of_all_namespaces_share_their_bound() {
    let hub = Hub::new();
    let names: Vec<_> = (0..16).map(|n| format!("/n{n}")).collect();
    for name in &names {
        hub.of(name).on("data", async || std::future::pending::<()>().await);
    }
    let client = Client::open(&hub).await;
    for name in &names {
        client.join(name, "").await;
    }
    let data = "x".repeat(10 * 1024);
    let mut written = 0;
    for name in names.iter().cycle() {
        let packet = format!(r#"42{name},["data","{data}"]"#);
        let written_one = timeout(Duration::from_secs(1), client.conn.write(packet)).await;
        if written_one.is_err() {
            break;
        }
        written += data.len();
        assert!(written < 16 * 64 * 1024, "each namespace has a bound of its own");
    }
    // A packet for each handler, and 64 KiB and one packet each: the inboxes, the session, its
    // WebSocket, and the pipe in both buffers.
    assert!(written <= (16 + 5) * (data.len() + 64) + 5 * 64 * 1024, "{written}");
}

#[tokio::test]
async fn packets_for_a_namespace_that_the_client_has_to_leave_are_dropped() {
    let (hub, log) = logged(Hub::builder());
    let other = hub.of("/other");
    other.on("late", async |State(log): State<EventLog>| log.note("late"));
    hub.on("echo", async |Json(n): Json<u32>| Json(n));
    let client = Client::connect(&hub).await;
    client.join("/other", "").await;
    let socket = other.everyone().sockets().remove(0);
    socket.close(StatusCode::POLICY_VIOLATION, "").unwrap();
    assert_eq!(client.read().await, "41/other,");
    for packet in [r#"42/other,["late"]"#, "43/other,5[]", "41/other,", r#"421["echo",7]"#] {
        client.write(packet).await;
    }
    assert_eq!(client.read().await, "431[7]");
    assert_eq!(log.so_far(), [""; 0]);
    client.join("/other", "").await;
    client.write(r#"42/other,["late"]"#).await;
    assert_eq!(log.take(1).await, ["late"]);
    // Of one that it has left by itself, as always.
    client.write("41/other,").await;
    client.write(r#"42/other,["late"]"#).await;
    client.ended().await;
}

/// Handlers that have no place for bytes.
fn relaying_hub() -> (Hub, EventLog) {
    let (hub, log) = logged(Hub::builder());
    hub.on("value", async |socket: Socket, Json(value): Json<Value>| socket.emit("v", &value));
    hub.on("map", async |_: Json<BTreeMap<String, Value>>| {});
    hub.on("text", async |socket: Socket, json: String| socket.emit("t", &json));
    hub.on("beside", async |socket: Socket, Json(value): Json<Value>| {
        socket.emit("b", &(value, Bytes::from_static(b"secret")))
    });
    hub.on_error(async |error: EventError, State(log): State<EventLog>| log.note(error));
    (hub, log)
}

/// Each row has what a client sends, with `binary:…` for bytes, and what comes back or the error.
#[tokio::test]
async fn no_placeholder_of_a_client_reaches_others() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let forged = r#"{"_placeholder":true,"num":1}"#;
    let (hub, log) = relaying_hub();
    let client = Client::connect(&hub).await;
    for (sent, expected) in [
        (r#"51-["value",*]"#.to_owned(), Ok(r#"42["v","eA=="]"#)),
        (r#"51-["value",{"a":[*,1]}]"#.to_owned(), Ok(r#"42["v",{"a":["eA==",1]}]"#)),
        (r#"51-["text",*]"#.to_owned(), Ok(r#"42["t","\"eA==\""]"#)),
        (r#"51-["map",*]"#.to_owned(), Err("expected a map")),
        // An attachment must not take more room than the client has sent.
        (r#"51-["text",[*,*]]"#.to_owned(), Ok(r#"42["t","null"]"#)),
        (r#"51-["value",[*,*]]"#.to_owned(), Err("more than once")),
        // Without bytes, it is data like any other.
        (format!(r#"2["value",{forged}]"#), Ok(r#"42["v",{"_placeholder":true,"num":1}]"#)),
        (format!(r#"2["beside",{forged}]"#), Err("beside bytes")),
        (r#"2["beside",[[*]]]"#.to_owned(), Err("beside bytes")),
    ] {
        client.write(&format!("4{}", sent.replace('*', placeholder))).await;
        if sent.starts_with('5') {
            client.conn.write(Message::binary("x")).await.unwrap();
        }
        match expected {
            Ok(expected) => assert_eq!(client.read().await, expected, "{sent}"),
            Err(expected) => {
                let error = log.take(1).await.remove(0);
                assert!(error.contains(expected), "{sent}: {error}");
            }
        }
    }
    // The refused ones were not sent.
    client.write(r#"42["value",1]"#).await;
    assert_eq!(client.read().await, r#"42["v",1]"#);
}

/// A client with MessagePack in the root namespace.
#[cfg(feature = "msgpack")]
async fn connect_with_msgpack(hub: &Hub) -> Conn {
    let (conn, server) = pair();
    serve_socketio(hub, server);
    let read = async || timeout(TIMEOUT, conn.read()).await.unwrap().unwrap();
    conn.write(Message::binary(b"\x82\xa4type\x00\xa3nsp\xa1/".to_vec())).await.unwrap();
    assert!(read().await.as_text().unwrap().starts_with("0{"));
    assert!(read().await.as_bytes().starts_with(b"\x83\xa4type\x00"));
    conn
}

/// An event with one argument, in MessagePack.
#[cfg(feature = "msgpack")]
fn packed_event(name: &str, data: &[u8]) -> Vec<u8> {
    let name = [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92", &name[..], data].concat()
}

/// A packet without its data would end the session of a client with MessagePack. Each row has what a
/// client sends as text, and what the other client gets; `None` if the event is an error of its sender.
#[cfg(feature = "msgpack")]
#[tokio::test]
async fn json_that_a_handler_passes_on_reaches_clients_with_msgpack_or_is_refused() {
    let (hub, log) = logged(Hub::builder());
    hub.on("pass", async |socket: Socket, Json(raw): Json<Box<RawValue>>| {
        socket.broadcast().emit("p", &raw).map(drop)
    });
    hub.on_error(async |error: EventError, State(log): State<EventLog>| log.note(error));
    let (client, other) = (Client::connect(&hub).await, connect_with_msgpack(&hub).await);
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let packed = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
    for (json, expected) in [
        ("1".to_owned(), Some(b"\x01".to_vec())),
        (r#""\ud800""#.to_owned(), Some(b"\xa3\xef\xbf\xbd".to_vec())),
        ("1e999".to_owned(), Some(b"\xcb\x7f\xf0\0\0\0\0\0\0".to_vec())),
        (deep(126), Some(packed(126))),
        (deep(127), None),
        (deep(100_000), None),
        ("2".to_owned(), Some(b"\x02".to_vec())),
    ] {
        client.write(&format!(r#"42["pass",{json}]"#)).await;
        match expected {
            Some(data) => {
                let message = timeout(TIMEOUT, other.read()).await.unwrap().unwrap();
                assert_eq!(message.as_bytes(), packed_event("p", &data), "{json}");
            }
            None => {
                let error = log.take(1).await.remove(0);
                assert!(error.contains("nested deeper"), "{error}");
            }
        }
    }
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn no_placeholder_of_a_client_with_msgpack_reaches_others() {
    let (hub, log) = relaying_hub();
    let conn = connect_with_msgpack(&hub).await;
    let read = async || timeout(TIMEOUT, conn.read()).await.unwrap().unwrap();
    let event = packed_event;
    let forged: &[u8] = b"\x82\xac_placeholder\xc3\xa3num\x00";
    for (name, data, expected) in [
        ("value", &b"\xc4\x01x"[..], Ok(event("v", b"\xa4eA=="))),
        ("text", b"\xc4\x01x", Ok(event("t", b"\xa6\"eA==\""))),
        ("map", b"\xc4\x01x", Err("expected a map")),
        ("value", forged, Ok(event("v", forged))),
        ("beside", forged, Err("beside bytes")),
    ] {
        conn.write(Message::binary(event(name, data))).await.unwrap();
        match expected {
            Ok(expected) => assert_eq!(read().await.as_bytes(), expected, "{name} {data:?}"),
            Err(expected) => {
                let error = log.take(1).await.remove(0);
                assert!(error.contains(expected), "{name} {data:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_closed_after_the_last_messages_of_all_namespaces() {
    let (hub, log) = logged(Hub::builder());
    hub.of("/other").on_disconnect(
        async |reason: DisconnectReason, State(log): State<EventLog>| {
            log.note(reason);
        },
    );
    let client = Client::connect(&hub).await;
    client.join("/other", "").await;
    hub.of("/other").emit("last", "words").unwrap();
    let socket = hub.everyone().sockets().remove(0);
    socket.emit("last", "words").unwrap();
    socket.close_session(StatusCode::POLICY_VIOLATION, "out").unwrap();
    // No namespace can be entered any more.
    let _ = client.conn.write("40/other,").await;
    let mut texts = Vec::new();
    let ended = loop {
        match timeout(TIMEOUT, client.conn.read()).await.unwrap() {
            Ok(message) => texts.push(message.as_text().unwrap().to_owned()),
            Err(error) => break error.close_status(),
        }
    };
    assert_eq!(ended, Some(StatusCode::POLICY_VIOLATION));
    for (last, leave) in
        [(r#"42["last","words"]"#, "41"), (r#"42/other,["last","words"]"#, "41/other,")]
    {
        let place = |packet: &str| texts.iter().position(|text| text == packet).unwrap();
        assert!(place(last) < place(leave), "{texts:?}");
    }
    assert_eq!(log.take(2).await, ["this side closed with 1008 policy violation: out"; 2]);
    timeout(TIMEOUT, client.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn dynamic_namespaces_are_made_for_their_clients() {
    let hub = Hub::builder().socketio(SocketIoLimits::new().dynamic_namespaces(1)).build();
    hub.of_each("/tenant-*", |tenant| {
        tenant.on_connect(async |socket: Socket| {
            let name = socket.hub().namespace().to_owned();
            socket.broadcast().emit("joined", &name).map(drop)
        });
    });
    let (first, second) = (Client::open(&hub).await, Client::open(&hub).await);
    first.join("/tenant-1", "").await;
    second.join("/tenant-1", "").await;
    assert_eq!(first.read().await, r#"42/tenant-1,["joined","/tenant-1"]"#);
    let third = Client::open(&hub).await;
    for name in ["/tenant-2", "/tenant-", "/other"] {
        third.write(&format!("40{name},")).await;
        let refusal = format!(r#"44{name},{{"message":"Invalid namespace"}}"#);
        assert_eq!(third.read().await, refusal);
    }
    first.write("41/tenant-1,").await;
    second.write("41/tenant-1,").await;
    // The namespace is removed once its last socket has left.
    loop {
        third.write("40/tenant-2,").await;
        if third.read().await.starts_with("40/tenant-2,") {
            break;
        }
    }
}

#[tokio::test]
async fn a_namespace_that_is_being_made_when_a_drain_begins_admits_nobody() {
    let hub = Hub::new();
    let draining = Mutex::new(Some(hub.clone()));
    hub.of_each("/tenant-*", move |_| {
        let hub = draining.lock().take().unwrap();
        // It goes on without its future.
        assert!(hub.drain(TIMEOUT).now_or_never().is_none());
    });
    let client = Client::open(&hub).await;
    client.write("40/tenant-1,").await;
    let refused = timeout(TIMEOUT, client.conn.read()).await.unwrap().unwrap_err();
    assert_eq!(refused.close_status(), Some(StatusCode::GOING_AWAY));
    let drained = hub.drain(TIMEOUT).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 0));
}

#[tokio::test]
async fn a_slow_consumer_is_cut_by_its_transport() {
    let limits = SendQueueLimits::new().messages(4);
    let (hub, log) = logged(Hub::builder().send_queue(limits));
    let client = Client::connect(&hub).await;
    let socket = hub.everyone().sockets().remove(0);
    while socket.emit("more", &"x".repeat(10_000)).is_ok() {}
    let mut end = None;
    while end.is_none() {
        match timeout(TIMEOUT, client.conn.read()).await.unwrap() {
            // A packet would keep the client from connecting again.
            Ok(message) => assert_ne!(message.as_text(), Some("41")),
            Err(error) => end = Some(error),
        }
    }
    let reason = log.take(1).await;
    assert!(reason[0].starts_with("the peer did not keep up"), "{reason:?}");
    assert_eq!(hub.stats().slow_consumers, 1);
}

#[tokio::test]
async fn packets_with_attachments_stay_together_while_namespaces_broadcast() {
    const MESSAGES: usize = 500;
    let hub = Hub::new();
    let other = hub.of("/other");
    let client = Client::connect(&hub).await;
    client.join("/other", "").await;
    let sending: Vec<_> = [hub, other]
        .map(|namespace| {
            tokio::spawn(async move {
                let bytes = Bytes::from(namespace.namespace().to_owned());
                for n in 0..MESSAGES {
                    namespace.emit("n", &(n, bytes.clone(), bytes.clone())).unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .into();
    let mut counts = [0, 0];
    while counts != [MESSAGES, MESSAGES] {
        let text = client.read().await;
        let (at, name, prefix) =
            if text.contains("/other,") { (1, "/other", "452-/other,") } else { (0, "/", "452-") };
        let rest = text.strip_prefix(prefix).unwrap();
        assert!(rest.starts_with(&format!(r#"["n",{},"#, counts[at])), "{text}");
        for _ in 0..2 {
            assert_eq!(client.message().await.as_bytes(), name.as_bytes());
        }
        counts[at] += 1;
    }
    for task in sending {
        task.await.unwrap();
    }
}
