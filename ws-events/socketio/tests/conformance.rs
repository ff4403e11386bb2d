//! Does each case of the conformance suite of Engine.IO v4 hold, with each framework?
//!
//! The cases are those of the protocol's public test suite. There is one function per case.

use std::pin::Pin;
use std::time::Duration;

use futures::future::join;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use ws_core::{Message, PreparedMessage};
use ws_events_socketio::{EngineConfig, EngineEndKind, SocketIo};

use crate::support::{FRAMEWORKS, Server, echo, read, within, write};

type Case = fn(Server) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        [$((stringify!($case), (|server| Box::pin($case(server))) as Case)),+]
    };
}

#[tokio::test]
async fn each_case_of_the_suite_holds_with_each_framework() {
    let cases = cases![
        polling_opens_a_session,
        polling_needs_a_version,
        polling_needs_a_transport,
        polling_begins_with_get,
        websocket_opens_a_session,
        websocket_needs_a_version,
        websocket_needs_a_transport,
        polling_carries_a_text,
        polling_carries_several_texts,
        polling_carries_text_and_binary,
        polling_ends_with_a_malformed_packet,
        polling_ends_with_two_gets,
        polling_ends_with_a_cancelled_get,
        websocket_carries_text,
        websocket_carries_binary,
        websocket_ends_with_a_malformed_packet,
        polling_is_closed_by_the_client,
        websocket_is_closed_by_the_client,
        polling_is_upgraded,
        polling_requests_after_an_upgrade_are_refused,
        another_websocket_after_an_upgrade_is_closed,
    ];
    // The intervals are so short or so long that a slow machine changes nothing.
    let pinged = cases![polling_has_heartbeats, websocket_has_heartbeats];
    let silent = cases![polling_ends_without_heartbeats, websocket_ends_without_heartbeats];
    assert_eq!(cases.len() + pinged.len() + silent.len(), 25);
    let short = Duration::from_millis(200);
    for framework in FRAMEWORKS {
        let run = async |cases: &[(&str, Case)], config: EngineConfig| {
            let socketio = SocketIo::engine(echo).config(config);
            let server = Server::start(framework, socketio).await;
            let running = cases.iter().map(|(name, case)| (name, tokio::spawn(case(server))));
            for (name, running) in running.collect::<Vec<_>>() {
                within(running).await.unwrap_or_else(|_| panic!("{name} with {framework:?}"));
            }
        };
        run(&cases, EngineConfig::new()).await;
        run(&pinged, EngineConfig::new().ping_interval(short)).await;
        run(&silent, EngineConfig::new().ping_interval(short).ping_timeout(short)).await;
    }
}

fn check_open(packet: &str, upgrades: &Value) {
    let mut open: Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
    let sid = open.as_object_mut().unwrap().remove("sid").unwrap();
    // At least 128 random bits: 22 characters in base64.
    assert!(sid.as_str().unwrap().len() >= 22);
    let expected = json!({
        "upgrades": upgrades,
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    });
    assert_eq!(open, expected);
}

async fn polling_opens_a_session(server: Server) {
    let answer = server.get("EIO=4&transport=polling").await;
    assert_eq!(answer.status, StatusCode::OK);
    check_open(&answer.body, &json!(["websocket"]));
}

async fn check_refused(server: Server, queries: [&str; 2], code: u8) {
    for query in queries {
        let answer = server.get(query).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], code, "{query}");
    }
}

async fn polling_needs_a_version(server: Server) {
    check_refused(server, ["transport=polling", "EIO=abc&transport=polling"], 5).await;
}

async fn polling_needs_a_transport(server: Server) {
    check_refused(server, ["EIO=4", "EIO=4&transport=abc"], 0).await;
}

async fn polling_begins_with_get(server: Server) {
    for method in [Method::POST, Method::PUT] {
        let request = server.builder(method, "EIO=4&transport=polling");
        let answer = server.request(request.body("".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body, r#"{"code":2,"message":"Bad handshake method"}"#);
    }
}

async fn websocket_opens_a_session(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    check_open(read(&conn).await.as_text().unwrap(), &json!([]));
}

async fn check_no_websocket(server: Server, queries: [&str; 2]) {
    for query in queries {
        let url = format!("ws://{}/engine.io/?{query}", server.addr);
        assert!(within(ws_client::dial(url)).await.is_err(), "{query}");
    }
}

async fn websocket_needs_a_version(server: Server) {
    check_no_websocket(server, ["transport=websocket", "EIO=abc&transport=websocket"]).await;
}

async fn websocket_needs_a_transport(server: Server) {
    check_no_websocket(server, ["EIO=4", "EIO=4&transport=abc"]).await;
}

/// Posts a body, and gets the same packets back, in one body.
async fn check_echo(server: Server, body: &str) {
    let query = server.open_polling().await;
    let posted = server.post(&query, body).await;
    assert_eq!((posted.status, &*posted.body), (StatusCode::OK, "ok"));
    let answer = server.get(&query).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, body));
}

async fn polling_carries_a_text(server: Server) {
    check_echo(server, "4hello").await;
}

async fn polling_carries_several_texts(server: Server) {
    check_echo(server, "4test1\u{1e}4test2\u{1e}4test3").await;
}

async fn polling_carries_text_and_binary(server: Server) {
    check_echo(server, "4hello\u{1e}bAQIDBA==").await;
}

async fn polling_ends_with_a_malformed_packet(server: Server) {
    let query = server.open_polling().await;
    assert_eq!(server.post(&query, "abc").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
}

async fn polling_ends_with_two_gets(server: Server) {
    let query = server.open_polling().await;
    let gets = join(server.get(&query), server.get(&query));
    let (first, second) = gets.await;
    let (closed, refused) = match first.status {
        StatusCode::OK => (first, second),
        _ => (second, first),
    };
    assert_eq!((closed.status, &*closed.body), (StatusCode::OK, "1"));
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
}

async fn polling_ends_with_a_cancelled_get(server: Server) {
    // A server of its own, whose handler gives the session away.
    let (sender, mut opened) = mpsc::unbounded_channel();
    let socketio = SocketIo::engine(move |session| {
        let _ = sender.send(session.clone());
        async move { drop(session.closed().await) }
    });
    let server = Server::start(server.framework, socketio).await;
    let query = server.open_polling().await;
    let session = within(opened.recv()).await.unwrap();
    let mut stream = within(TcpStream::connect(server.addr)).await.unwrap();
    let head = format!("GET /engine.io/?{query} HTTP/1.1\r\nhost: {}\r\n\r\n", server.addr);
    within(stream.write_all(head.as_bytes())).await.unwrap();
    // A session has room for messages when its GET waits.
    let nothing = |_| None::<PreparedMessage>;
    within(async {
        while session.try_write_batch(nothing).is_err() {
            yield_now().await
        }
    })
    .await;
    drop(stream);
    assert_eq!(within(session.closed()).await.kind, EngineEndKind::TransportError);
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
}

async fn websocket_carries_text(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    write(&conn, "4hello").await;
    assert_eq!(read(&conn).await, Message::text("4hello"));
}

async fn websocket_carries_binary(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    within(conn.write(vec![1, 2, 3, 4])).await.unwrap();
    assert_eq!(read(&conn).await, Message::binary(vec![1, 2, 3, 4]));
}

async fn websocket_ends_with_a_malformed_packet(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    write(&conn, "abc").await;
    within(conn.closed()).await;
}

async fn polling_has_heartbeats(server: Server) {
    let query = server.open_polling().await;
    for _ in 0..3 {
        let answer = server.get(&query).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "2"));
        assert_eq!(server.post(&query, "3").await.status, StatusCode::OK);
    }
}

async fn polling_ends_without_heartbeats(server: Server) {
    let query = server.open_polling().await;
    // A GET is no sign of life of the client.
    let ended = async {
        loop {
            let answer = server.get(&query).await;
            match answer.status {
                StatusCode::OK => assert!(["1", "2"].contains(&&*answer.body), "{}", answer.body),
                status => return assert_eq!(status, StatusCode::BAD_REQUEST),
            }
        }
    };
    within(ended).await;
}

async fn websocket_has_heartbeats(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    for _ in 0..3 {
        assert_eq!(read(&conn).await, Message::text("2"));
        write(&conn, "3").await;
    }
}

async fn websocket_ends_without_heartbeats(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    assert!(read(&conn).await.as_text().unwrap().starts_with('0'));
    assert_eq!(read(&conn).await, Message::text("2"));
    within(conn.closed()).await;
}

async fn polling_is_closed_by_the_client(server: Server) {
    let query = server.open_polling().await;
    let (answer, posted) = join(server.get(&query), server.post(&query, "1")).await;
    assert_eq!(posted.status, StatusCode::OK);
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "6"));
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
}

async fn websocket_is_closed_by_the_client(server: Server) {
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    write(&conn, "1").await;
    within(conn.closed()).await;
}

async fn polling_is_upgraded(server: Server) {
    let query = server.open_polling().await;
    let conn = server.upgrading(&query).await;
    write(&conn, "2probe").await;
    assert_eq!(read(&conn).await, Message::text("3probe"));
    let answer = server.get(&query).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "6"));
    write(&conn, "5").await;
    write(&conn, "4hello").await;
    assert_eq!(read(&conn).await, Message::text("4hello"));
}

async fn polling_requests_after_an_upgrade_are_refused(server: Server) {
    let query = server.open_polling().await;
    let conn = server.upgrading(&query).await;
    write(&conn, "2probe").await;
    read(&conn).await;
    write(&conn, "5").await;
    within(conn.flush()).await.unwrap();
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
    write(&conn, "4hello").await;
    assert_eq!(read(&conn).await, Message::text("4hello"));
}

async fn another_websocket_after_an_upgrade_is_closed(server: Server) {
    let query = server.open_polling().await;
    let conn = server.upgrading(&query).await;
    write(&conn, "2probe").await;
    read(&conn).await;
    write(&conn, "5").await;
    let url = format!("ws://{}/engine.io/?{query}", server.addr);
    let another = within(ws_client::dial(url.replace("polling", "websocket"))).await.unwrap();
    within(another.closed()).await;
    write(&conn, "4hello").await;
    assert_eq!(read(&conn).await, Message::text("4hello"));
}
