//! What does a hub log, and what does a peer learn of its mistakes?
#![cfg(test)]

#[path = "support/log_lines.rs"]
mod log_lines;
mod support;

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};

use log_lines::LogLines;
use serde::Deserialize;
use support::{TIMEOUT, enter, on_each_adapter, read, read_until_end, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Level;
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::socketio::SocketIoLimits;
use ws_events::{EmitError, Hub, HubBuilder, Json, NotConnected, Protocol, Socket, State};

/// The lines that this library has logged at INFO or above, of all tests of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn begin() -> Self {
        static LOG: std::sync::OnceLock<Log> = std::sync::OnceLock::new();
        let begin = || {
            let log = Self::default();
            let Self(lines) = log.clone();
            let lines = LogLines {
                enabled: |event| event.target().starts_with("ws_") && *event.level() <= Level::INFO,
                write: move |line| lines.lock().unwrap().push(line),
            };
            tracing::subscriber::set_global_default(lines).unwrap();
            log
        };
        LOG.get_or_init(begin).clone()
    }

    fn find(&self, part: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

/// A hub whose handlers all need the socket.
fn talkative() -> Hub {
    let hub = Hub::builder().envelope().build();
    hub.on_connect(async |socket: Socket| -> Result<(), NotConnected> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        socket.join("lobby")
    });
    hub.on_connect(async |socket: Socket| -> Result<(), EmitError> {
        socket.emit("welcome", "hello")?;
        let conn = socket.conn().ok_or(EmitError::Closed)?;
        conn.closed().await;
        socket.emit("late", "")
    });
    hub
}

#[tokio::test]
async fn clients_that_leave_early_cause_no_error() {
    let log = Log::begin();
    on_each_adapter(talkative, async |served| {
        for count in 0..50 {
            let conn = served.dial("").await;
            if count % 2 == 0 {
                conn.close_now();
            }
        }
        wait_until(|| served.hub.stats().disconnected == 50).await;
        // Before the request is complete, after it, and within the response.
        let head = "GET /place HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        for (sent, taken) in [(0, 0), (50, 0), (head.len(), 0), (head.len(), 1), (head.len(), 20)] {
            for reset in [false, true] {
                let mut stream = TcpStream::connect(served.addr).await.unwrap();
                stream.write_all(&head.as_bytes()[..sent]).await.unwrap();
                stream.read_exact(&mut vec![0; taken]).await.unwrap();
                if reset {
                    stream.set_zero_linger().unwrap();
                }
            }
        }
        // The server accepts one after the other, so it has seen the others.
        served.dial("").await;
        wait_until(|| served.hub.is_empty() && served.hub.stats().disconnected > 50).await;
    })
    .await;
    for level in ["ERROR", "WARN"] {
        let of_others = |line: &String| line.contains("cannot work") || line.contains("id=ann");
        let lines: Vec<_> = log.find(level).into_iter().filter(|it| !of_others(it)).collect();
        assert_eq!(lines, [""; 0]);
    }
}

#[tokio::test]
async fn a_drain_and_a_slow_consumer_are_logged() {
    let log = Log::begin();
    let limits = ws_events::SendQueueLimits::new().messages(2);
    let hub = Hub::builder().send_queue(limits).build();
    let (socket, client) = enter(&hub, "slow-one").await;
    for _ in 0..3 {
        let _ = socket.send("much");
    }
    timeout(TIMEOUT, client.read()).await.unwrap().unwrap_err();
    wait_until(|| hub.is_empty()).await;
    wait_until(|| !log.find("slow-one").is_empty()).await;
    let line = log.find("slow-one").remove(0);
    for part in ["INFO", "a slow consumer was closed", "queued_messages=2", "queued_bytes=8"] {
        assert!(line.contains(part), "{line}");
    }
    hub.drain(TIMEOUT).await;
    assert!(log.find("INFO message=draining a hub").len() == 1);
    assert!(log.find("INFO message=hub drained notified=0").len() == 1);
}

/// Over each transport: the session is closed before it has a socket.
#[tokio::test]
async fn a_session_of_socketio_that_exceeds_a_limit_is_logged_once() {
    let log = Log::begin();
    let hub = Hub::builder().socketio(SocketIoLimits::new().auth_bytes(1733)).build();
    let packet = format!(r#"40{{"token":"{}"}}"#, "x".repeat(1733));
    let line = "INFO message=a session of Socket.IO was closed";
    let reason = r#"code=1002 reason="an `auth` longer than `SocketIoLimits::auth_bytes`""#;
    let sessions = EngineSessions::new(EngineConfig::new());
    let (client, server) = ws_core::pair();
    let session = sessions.open_websocket(server);
    client.write(&*packet).await.unwrap();
    let serving = async { tokio::join!(session.drive(), hub.serve_engine(session.clone())) };
    timeout(TIMEOUT, serving).await.unwrap();
    let lines = log.find(reason);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{line} conn=")), "{lines:?}");

    let (session, _) = sessions.open_polling(None).unwrap();
    let serving = async { tokio::join!(session.drive(), hub.serve_engine(session.clone())) };
    let posting = async {
        session.begin_post().unwrap().finish(packet.into()).await.unwrap();
        session.get().await.unwrap()
    };
    let (_, answer) = timeout(TIMEOUT, async { tokio::join!(serving, posting) }).await.unwrap();
    assert_eq!(answer, "1");
    let lines = log.find(reason);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with(&format!("{line} code=")), "{lines:?}");
}

#[derive(Deserialize)]
struct Say {
    #[expect(dead_code, reason = "it is only deserialised")]
    room: String,
}

/// What a client reads before the end, after it has sent these texts.
async fn told(hub: &Hub, texts: &[&str]) -> Vec<String> {
    let (socket, client) = enter(hub, "ann").await;
    for text in texts {
        client.write(*text).await.unwrap();
    }
    client.write(r#"{"event":"finish"}"#).await.unwrap();
    let told = read_until_end(&client).await;
    drop(socket);
    told
}

fn with_handlers(builder: HubBuilder) -> Hub {
    let hub = builder.envelope().build();
    hub.on("say", async |Json(_): Json<Say>| {});
    hub.on("perhaps", async |_: Option<Json<Say>>| {});
    hub.on("fails", async || Err::<(), _>("an internal error"));
    hub.on("stateful", async |_: State<AtomicU8>| {});
    hub.on("finish", async |socket: Socket| {
        socket.fire("say", "no JSON");
        socket.send("end")
    });
    hub
}

const MISTAKES: &[&str] = &[
    "what",
    r#"{"event":"say","data":{"rom":"red"}}"#,
    r#"{"event":"say","data":{"room":"red"}}"#,
    r#"{"event":"perhaps","data":1}"#,
    r#"{"event":"fails"}"#,
    r#"{"event":"stateful"}"#,
    r#"{"event":"unknown","data":1}"#,
];

#[tokio::test]
async fn a_peer_is_told_of_its_own_mistakes_only() {
    Log::begin();
    let told_of = told(&with_handlers(Hub::builder()), MISTAKES).await;
    let data = |code: &str, event: &str, text: &str| {
        let data = format!(r#"{{"code":"{code}","event":{event},"text":"{text}"}}"#);
        format!(r#"{{"event":"error","data":{data}}}"#)
    };
    let malformed = data("malformed", "null", "expected value at line 1 column 1");
    let missing = data("invalid_data", "\"say\"", "missing field `room` at line 1 column 13");
    let unhandled = data("unhandled", "\"unknown\"", "no handler");
    assert_eq!(told_of, [malformed, missing, unhandled]);
    let told_of = told(&with_handlers(Hub::builder().no_error_events()), MISTAKES).await;
    assert_eq!(told_of, [""; 0]);
}

#[tokio::test]
async fn a_hub_whose_handlers_cannot_work_says_so() {
    let log = Log::begin();
    let check = |hub: &Hub, expected: &[&str]| {
        let problems = hub.check().map_or_else(|error| error.problems().to_vec(), |()| Vec::new());
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, part) in problems.iter().zip(expected) {
            assert!(problem.contains(part), "{problem}");
        }
    };
    check(&talkative(), &[]);
    check(&with_handlers(Hub::builder().state(AtomicU8::new(0))), &[]);
    check(
        &with_handlers(Hub::builder()),
        &["`stateful`: the hub has no state of type `core::sync"],
    );
    // `serve_as` will serve events.
    for (protocol, problems) in [
        (Protocol::Plain, &["`HubBuilder::serves`"][..]),
        (Protocol::Envelope, &[]),
        (Protocol::Resumable, &[]),
    ] {
        let hub = Hub::builder().serves(protocol).build();
        hub.on("later", async || {});
        check(&hub, problems);
        assert_eq!(hub.emit("news", "").is_err(), !problems.is_empty(), "{protocol:?}");
        let (client, server) = ws_core::pair();
        if protocol == Protocol::Resumable {
            client.write(r#"{"resume":null}"#).await.unwrap();
        }
        let serving = hub.clone();
        tokio::spawn(async move { serving.serve_as(server, protocol).await });
        wait_until(|| hub.len() == 1).await;
    }
    assert_eq!(log.find("`later`").len(), 1, "only the hub that serves no events");
    let hub = Hub::new();
    hub.on_message(async |_: Option<State<u8>>| {});
    check(&hub, &[]);
    hub.on("say-it", async || {});
    hub.on_any(async || {});
    hub.on_message(async |_: State<u16>, _: State<u8>| {});
    let problems =
        ["a handler of `message`: the hub has no state of type `u16`", "`say-it`", "all custom"];
    check(&hub, &problems);
    for id in ["a", "b"] {
        enter(&hub, id).await;
    }
    let lines = log.find("say-it");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN message=a hub has handlers that cannot work"), "{lines:?}");
    let (socket, client) = enter(&hub, "c").await;
    socket.send("still works").unwrap();
    assert_eq!(read(&client).await, "still works");
}
