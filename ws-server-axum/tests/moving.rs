//! Is the guide for moving from axum's own `ws` correct?
#![cfg(test)]

use std::time::Duration;

use ws_server_axum::{StatusCode, test_client};

#[path = "moving/chat_after.rs"]
mod chat_after;
#[path = "moving/chat_before.rs"]
mod chat_before;
#[path = "moving/echo_after.rs"]
mod echo_after;
#[path = "moving/echo_before.rs"]
mod echo_before;
#[path = "moving/table_after.rs"]
mod table_after;
#[path = "moving/tasks_after.rs"]
mod tasks_after;
#[path = "moving/tasks_before.rs"]
mod tasks_before;

const ECHO: [&str; 2] =
    [include_str!("moving/echo_before.rs"), include_str!("moving/echo_after.rs")];
const CHAT: [&str; 2] =
    [include_str!("moving/chat_before.rs"), include_str!("moving/chat_after.rs")];
const TASKS: [&str; 2] =
    [include_str!("moving/tasks_before.rs"), include_str!("moving/tasks_after.rs")];

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

#[tokio::test]
async fn both_echoes_echo() {
    for app in [echo_before::app(), echo_after::app()] {
        let client = test_client(app);
        for client in [client.clone(), client.http2()] {
            let request = client.websocket("/").subprotocols(["other", "echo"]);
            let conn = in_time(request.connect()).await.unwrap();
            assert_eq!(conn.subprotocol(), Some("echo"));
            conn.write("hello").await.unwrap();
            assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("hello"));
        }
    }
}

#[tokio::test]
async fn both_chats_broadcast() {
    for app in [chat_before::app(), chat_after::app()] {
        let client = test_client(app);
        let mut guests = Vec::new();
        for _ in 0..3 {
            let guest = in_time(client.websocket("/").connect()).await.unwrap();
            assert_eq!(in_time(guest.read()).await.unwrap().as_text(), Some("welcome"));
            guests.push(guest);
        }
        guests[0].write("hello, all").await.unwrap();
        for guest in &guests {
            assert_eq!(in_time(guest.read()).await.unwrap().as_text(), Some("hello, all"));
        }
    }
}

#[tokio::test]
async fn both_chats_with_channels_broadcast_and_close() {
    for app in [tasks_before::app(), tasks_after::app()] {
        let client = test_client(app);
        let mut guests = Vec::new();
        for name in ["/ann", "/bob"] {
            let guest = in_time(client.websocket(name).connect()).await.unwrap();
            // What it says comes back to it: its handler receives the broadcasts.
            guest.write(name).await.unwrap();
            assert_eq!(in_time(guest.read()).await.unwrap().as_text(), Some(name));
            guests.push(guest);
        }
        let [ann, bob] = &guests[..] else { panic!() };
        assert_eq!(in_time(ann.read()).await.unwrap().as_text(), Some("/bob"));
        ann.write("kick bob").await.unwrap();
        let kicked = in_time(bob.read()).await.unwrap_err();
        assert_eq!(kicked.to_string(), "closed with 4003: kicked");
        ann.write("bye, bob").await.unwrap();
        assert_eq!(in_time(ann.read()).await.unwrap().as_text(), Some("bye, bob"));
    }
}

/// The code without imports.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("use ") && !line.starts_with("//!"))
}

#[test]
fn only_imports_and_names_differ() {
    for [before, after] in [ECHO, CHAT] {
        let moved = code(before).map(|line| {
            line.replace("mut socket: WebSocket", "socket: Conn")
                .replace("socket.recv", "socket.read")
                .replace("socket.send", "socket.write")
                .replace("Some(Ok(message))", "Ok(message)")
        });
        assert_eq!(moved.collect::<Vec<_>>(), code(after).collect::<Vec<_>>());
    }
}

#[test]
fn the_diffs_of_the_guide_match_the_tested_code() {
    let guide = include_str!("../MOVING.md");
    let mut shown = 0;
    for (at, fence) in guide.split("```").enumerate() {
        let Some(diff) = fence.strip_prefix("diff\n").filter(|_| at % 2 == 1) else { continue };
        let [before, after] = if diff.contains("fn chat") { CHAT } else { ECHO };
        for line in diff.lines() {
            let is_in = |text: &str, line: &str| text.lines().any(|other| other == line);
            let known = match line.split_at_checked(1) {
                Some(("-", line)) => is_in(before, line) && !is_in(after, line),
                Some(("+", line)) => is_in(after, line) && !is_in(before, line),
                Some((" ", line)) => is_in(before, line) && is_in(after, line),
                _ => line.is_empty(),
            };
            assert!(known, "{line}");
            shown += 1;
        }
    }
    assert!(shown > 30, "{shown}");
    // Where little is the same, whole functions are shown instead.
    let whole: Vec<_> = guide.split("```").filter_map(|it| it.strip_prefix("rs\n")).collect();
    assert_eq!(whole.len(), TASKS.len());
    for (shown, tested) in whole.iter().zip(TASKS) {
        assert!(tested.ends_with(shown), "{shown}");
    }
    let constant = guide.lines().find(|line| line.starts_with("`const KICKED")).unwrap();
    assert!(TASKS[1].contains(constant.trim_matches(['`', ':'])), "{constant}");
}

#[tokio::test]
async fn the_code_in_the_table_is_compiled() {
    let compiled = include_str!("moving/table_after.rs");
    let guide = include_str!("../MOVING.md");
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let mut shown = 0;
    for row in rows {
        // A bar in a cell is escaped.
        let row = row.replace("\\|", "\u{1}");
        let after = row.split('|').nth(2).unwrap().replace('\u{1}', "|");
        for code in after.split('`').skip(1).step_by(2) {
            let code = code.trim_end_matches(" …)");
            assert!(compiled.contains(code), "{code}");
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
}

#[tokio::test]
async fn the_code_in_the_table_works() {
    let client = test_client(table_after::app());
    for client in [client.clone(), client.http2()] {
        let conn = in_time(client.websocket("/").subprotocols(["chat"]).connect()).await.unwrap();
        conn.write("text").await.unwrap();
        for sent in ["hi", "hi", "text"] {
            assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some(sent));
        }
        conn.write(vec![7]).await.unwrap();
        for sent in [[7], [7]] {
            assert_eq!(in_time(conn.read()).await.unwrap().into_bytes(), &sent[..]);
        }
        let closed = in_time(conn.read()).await.unwrap_err();
        assert_eq!(closed.close_status(), Some(StatusCode::POLICY_VIOLATION));
    }
}
