//! Do other clients keep their messages in order while they change their transport, and come back?
//!
//! The clients are in `tests/peers`. Without them the tests are skipped, and fail if
//! `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::{FRAMEWORKS, Framework, Server, client, command, page_command, rust_client, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use ws_core::{Message, PreparedMessage};
use ws_events::{AckError, Bytes, DisconnectReason, EmitError, Hub, Json, Socket};
use ws_events_socketio::{EngineEndKind, EngineSession, SocketIo};

const COUNT: u32 = 10_000;

/// Each tenth is binary.
fn encode(number: u32) -> PreparedMessage {
    PreparedMessage::new(match number % 10 {
        9 => Message::binary(number.to_be_bytes().to_vec()),
        _ => Message::text(format!("4{number}")),
    })
}

fn decode(message: &Message) -> u32 {
    match message.as_text() {
        Some(text) => text.parse().unwrap(),
        None => u32::from_be_bytes(message.as_bytes().try_into().unwrap()),
    }
}

/// Sends the numbers, and checks those of the client. Returns why the session has ended.
async fn exchange(session: EngineSession) -> EngineEndKind {
    let sending = async {
        let mut numbers = (0..COUNT).map(encode).peekable();
        while numbers.peek().is_some() {
            // A few at a time, so that each transport gets a part of them.
            let mut some = 0;
            let next = |_| {
                some += 1;
                numbers.next_if(|_| some <= 20)
            };
            session.write_batch(next).await.unwrap();
        }
    };
    let receiving = async {
        for expected in 0..COUNT {
            assert_eq!(decode(&session.receive().await.unwrap()), expected);
        }
        assert!(session.receive().await.is_none());
    };
    tokio::join!(sending, receiving);
    session.closed().await.kind
}

async fn check(frameworks: &[Framework], program: &str, script: &str, expected: &[(&str, Value)]) {
    for &framework in frameworks {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let socketio = SocketIo::engine(move |session| {
            let sender = sender.clone();
            async move { sender.send(exchange(session).await).unwrap() }
        });
        let server = Server::start(framework, socketio.clone()).await;
        let arguments = [format!("http://{}", server.addr), COUNT.to_string()];
        let report = within(client(program, script, &arguments)).await;
        let Some(report) = report else { return };
        let all = [("received", json!(COUNT)), ("inOrder", json!(true))];
        for (name, value) in all.iter().chain(expected) {
            assert_eq!(&report[name], value, "{name} with {framework:?}: {report}");
        }
        assert_eq!(within(ended.recv()).await, Some(EngineEndKind::TransportClose));
        assert_eq!(socketio.polling_sessions(), 0);
    }
}

#[tokio::test]
async fn engine_io_client_exchanges_messages_in_order_during_an_upgrade() {
    let upgraded = [("first", json!("polling")), ("upgraded", json!("websocket"))];
    check(&FRAMEWORKS, "node", "engine.mjs", &upgraded).await;
}

#[tokio::test]
async fn python_engineio_exchanges_messages_in_order_during_an_upgrade() {
    check(&[Framework::Hyper], "python3", "engine.py", &[("transport", json!("websocket"))]).await;
}

/// What `rust_socketio` expects of a server.
fn rust_hub(left: mpsc::UnboundedSender<String>) -> Hub {
    let hub = Hub::new();
    hub.on_connect(async |socket: Socket| -> Result<(), EmitError> {
        let auth: Value = socket.auth().unwrap_or_default();
        socket.emit("welcome", &(auth, "hello"))
    });
    hub.on("double", async |Json(n): Json<u32>| Json(2 * n));
    // The client gets the event, and has no call to acknowledge it.
    hub.on("ask", async |socket: Socket, Json(n): Json<u32>| {
        let asking = socket.emit_with_ack::<Value, _>("question", &n);
        match asking.timeout(Duration::from_millis(100)).await {
            Err(AckError::Timeout) => Json("no answer"),
            _ => Json("an answer"),
        }
    });
    hub.on("echo", async |socket: Socket, Json(bytes): Json<Bytes>| socket.emit("echoed", &bytes));
    hub.on_disconnect(move |reason: DisconnectReason| {
        let left = left.clone();
        async move { left.send(reason.to_string()).unwrap() }
    });
    hub
}

#[tokio::test]
async fn rust_socketio_exchanges_events_answers_and_bytes() {
    for framework in FRAMEWORKS {
        for transport in ["websocket", "polling", "any"] {
            let (sender, mut left) = mpsc::unbounded_channel();
            let socketio = SocketIo::new(&rust_hub(sender));
            let server = Server::start_at(framework, socketio.clone(), "/socket.io/").await;
            let arguments = [format!("http://{}", server.addr), transport.to_owned()];
            let Some(report) = within(rust_client(&arguments)).await else { return };
            let expected = json!({
                "welcome": [{ "user": "ann" }, "hello"],
                "double": [[42]],
                "question": [1],
                "asked": [["no answer"]],
                "echoed": { "bytes": [0, 255] },
            });
            assert_eq!(report, expected, "{framework:?}, {transport}");
            let reason = within(left.recv()).await.unwrap();
            assert!(reason.starts_with("the peer closed"), "{framework:?}, {transport}: {reason}");
            within(async {
                while socketio.polling_sessions() > 0 {
                    yield_now().await
                }
            })
            .await;
        }
    }
}

/// A server on a runtime of its own, whose end closes all connections.
fn serve(addr: SocketAddr) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hub = Hub::new();
    hub.on("double", async |Json(n): Json<u32>| Json(2 * n));
    runtime.spawn(async move {
        let listener = TcpListener::bind(addr).await.unwrap();
        ws_server_hyper::serve(listener, SocketIo::new(&hub)).await
    });
    runtime
}

async fn check_reconnect(program: &str, script: &str, transports: &str) {
    let reasons = ["transport close", "transport error"];
    // Another process is unlikely to take the port meanwhile.
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{addr}");
    let command = match program {
        "chromium" => {
            let transports: Value = serde_json::from_str(transports).unwrap();
            page_command(script, &url, &json!({ "transports": transports })).await
        }
        _ => command(program, script, &[url, transports.to_owned()]).await,
    };
    let Some(mut command) = command else { return };
    let server = serve(addr);
    within(async { while TcpStream::connect(addr).await.is_err() {} }).await;
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within(lines.next_line()).await.unwrap();
    assert_eq!(first.as_deref(), Some("connected"), "{script} {transports}");
    server.shutdown_background();
    let again = within(async {
        // The port is free when the listener of the first server is closed.
        while std::net::TcpListener::bind(addr).is_err() {
            yield_now().await;
        }
        serve(addr)
    });
    let server = again.await;
    let last = within(lines.next_line()).await.unwrap().unwrap();
    let report: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(report["answers"], json!([42, 42]), "{script} {transports}: {report}");
    assert_eq!(report["ids"], 2, "{script} {transports}: {report}");
    let reason = report["reasons"][0].as_str().unwrap();
    assert!(reasons.contains(&reason), "{script} {transports}: {report}");
    server.shutdown_background();
}

#[tokio::test]
async fn the_official_client_connects_again_after_the_server_was_killed() {
    for transports in ["null", r#"["polling"]"#, r#"["websocket"]"#] {
        check_reconnect("node", "reconnect.mjs", transports).await;
    }
}

#[tokio::test]
async fn the_official_client_in_a_page_connects_again_after_the_server_was_killed() {
    for transports in ["null", r#"["polling"]"#] {
        check_reconnect("chromium", "reconnect_steps.mjs", transports).await;
    }
}

#[tokio::test]
async fn python_socketio_connects_again_after_the_server_was_killed() {
    for transports in ["null", r#"["polling"]"#, r#"["websocket"]"#] {
        check_reconnect("python3", "reconnect.py", transports).await;
    }
}
