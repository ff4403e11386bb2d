//! Do the official clients keep their messages in order while they change their transport?
//!
//! The clients are in `tests/peers`. Without them the tests do nothing, unless `WS_REQUIRE_PEERS`
//! is set.
#![cfg(test)]

mod support;

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{FRAMEWORKS, Server, within};
use tokio::process::Command;
use tokio::sync::mpsc;
use ws_core::{Message, PreparedMessage};
use ws_events_socketio::{EngineEndKind, EngineSession, SocketIo};

const COUNT: u32 = 10_000;

/// Runs a client, and returns its report. `None` if the client is not installed.
async fn client(program: &str, script: &str, arguments: &[String]) -> Option<Value> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let probe = match program {
        "node" => ["--input-type=module", "-e", "import 'engine.io-client'"].as_slice(),
        _ => &["-c", "import engineio, requests, websocket"],
    };
    let probed = Command::new(program).args(probe).current_dir(&peers).output().await;
    let is_installed = probed.is_ok_and(|output| output.status.success());
    if !is_installed {
        assert!(std::env::var_os("WS_REQUIRE_PEERS").is_none(), "{program} misses {script}");
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script).args(arguments).current_dir(&peers);
    let child = command.stderr(Stdio::inherit()).kill_on_drop(true).output();
    let output = within(child).await.unwrap();
    assert!(output.status.success(), "{script}: {}", output.status);
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

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

async fn check(program: &str, script: &str, expected: &[(&str, Value)]) {
    for framework in FRAMEWORKS {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let socketio = SocketIo::engine(move |session| {
            let sender = sender.clone();
            async move { sender.send(exchange(session).await).unwrap() }
        });
        let server = Server::start(framework, socketio.clone()).await;
        let arguments = [format!("http://{}", server.addr), COUNT.to_string()];
        let Some(report) = client(program, script, &arguments).await else { return };
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
    check("node", "engine.mjs", &upgraded).await;
}

#[tokio::test]
async fn python_engineio_exchanges_messages_in_order_during_an_upgrade() {
    check("python3", "engine.py", &[("transport", json!("websocket"))]).await;
}
