//! Does a forged token or offset never give a client anything of another client's session?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use ws_core::{Conn, Message, StatusCode, pair};
use ws_events::{History, Hub, Protocol, Recovery, Socket};

use crate::Input;

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// What only the members of a room may get.
const SECRET: &str = "secret";

/// The messages of the owner of the session.
const COUNT: usize = 3;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, received) = (input.byte() % 5, usize::from(input.byte()) % (COUNT + 1));
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    crate::paused(async {
        let run = run(kind, received, &text);
        timeout(FOREVER, run).await.expect("nothing waits without a deadline");
    });
}

async fn run(kind: u8, received: usize, text: &str) {
    // The user of the connections that follow.
    let is_other = Arc::new(AtomicBool::new(false));
    let user = Arc::clone(&is_other);
    let recovery = Recovery::new()
        .user(move |_| Some(if user.load(SeqCst) { "other" } else { "owner" }.to_owned()));
    let hub = Hub::builder().envelope().history("*", History::new()).recovery(recovery).build();
    hub.on_connect(async |socket: Socket| {
        // The first socket is the owner.
        if !socket.recovered() && socket.hub().len() == 1 && socket.hub().rooms().is_empty() {
            let _ = socket.join("room");
        }
    });
    let owner = connect(&hub, json!({"resume": null}).to_string()).await;
    let welcome = read(&owner).await.expect("an answer");
    let token = welcome["session"].as_str().expect("a token").to_owned();
    while hub.to("room").count() == 0 {
        tokio::task::yield_now().await;
    }
    for number in 0..COUNT {
        hub.to("room").emit(SECRET, &number).expect("it is valid");
    }
    let mut at = None;
    for _ in 0..received {
        at = read(&owner).await.expect("a message")["at"].as_str().map(str::to_owned);
    }
    owner.close_now();
    while !hub.is_empty() {
        tokio::task::yield_now().await;
    }
    let first = match kind {
        // Any first message.
        0 => text.to_owned(),
        // Any token with the true offset.
        1 => json!({"resume": text, "at": at}).to_string(),
        // The true token, changed at one place.
        2 => {
            let mut forged = token.clone().into_bytes();
            let place = text.len() % forged.len();
            forged[place] = text.bytes().next().unwrap_or_default();
            json!({"resume": String::from_utf8_lossy(&forged), "at": at}).to_string()
        }
        // The true token with any offset: its own client.
        3 => json!({"resume": token, "at": text}).to_string(),
        // The true token, shown by another user.
        _ if text.is_empty() => json!({"resume": token, "at": at}).to_string(),
        _ => json!({"resume": token, "at": text}).to_string(),
    };
    is_other.store(kind == 4, SeqCst);
    let is_owner = kind != 4
        && serde_json::from_str::<Value>(&first)
            .is_ok_and(|first| first["resume"].as_str() == Some(&*token));
    let other = connect(&hub, first).await;
    let Some(welcome) = read(&other).await else { return };
    hub.emit("end", &()).expect("it is valid");
    let mut numbers = Vec::new();
    while let Some(event) = read(&other).await {
        match event["event"].as_str() {
            Some("end") => break,
            Some(SECRET) => numbers.push(event["data"].as_u64().expect("a number")),
            _ => panic!("{event}"),
        }
    }
    let recovered = welcome["recovered"] == true;
    assert!(is_owner || !recovered, "a forged token: {welcome}");
    assert!(recovered || numbers.is_empty(), "messages of another session: {numbers:?}");
    // A series without gaps up to the last one.
    let missed = COUNT - numbers.len();
    assert!(!recovered || numbers.iter().copied().eq(missed as u64..COUNT as u64), "{numbers:?}");
    let _ = other.close(StatusCode::NORMAL_CLOSURE, "").await;
    if kind == 4 {
        // It is still that of its owner.
        is_other.store(false, SeqCst);
        let owner = connect(&hub, json!({"resume": token, "at": at}).to_string()).await;
        let welcome = read(&owner).await.expect("an answer");
        // The event "end" is in no history.
        assert_eq!(welcome["reason"], "missed", "{welcome}");
    }
}

async fn connect(hub: &Hub, first: String) -> Conn {
    let (client, server) = pair();
    let hub = hub.clone();
    tokio::spawn(async move { hub.serve_as(server, Protocol::Resumable).await });
    client.write(Message::from(first)).await.expect("it is open");
    client
}

/// The next message; `None` after the end.
async fn read(conn: &Conn) -> Option<Value> {
    let message = conn.read().await.ok()?;
    Some(serde_json::from_slice(message.as_bytes()).expect("the hub sends JSON"))
}
