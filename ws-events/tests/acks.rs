//! Do events and their answers find each other, in both directions and within bounds?

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{EventLog, TIMEOUT, enter, read, run_in_thread_async, wait_until};
use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;
use ws_core::{Conn, StatusCode, pair};
use ws_events::{
    Ack, AckError, Bytes, EmitError, EncodeError, Hub, HubBuilder, Json, Protocol, Socket, State,
};

fn envelope() -> HubBuilder {
    Hub::builder().envelope()
}

/// What a peer sends, and what it gets before the answer to a last event.
#[track_caller]
fn check(hub: &Hub, sent: &[&str], expected: &[&str]) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let hub = hub.clone();
    let run = async move {
        hub.on("end", async || Json("end"));
        let (_socket, client) = enter(&hub, "a").await;
        for message in sent.iter().chain([&r#"{"event":"end","id":99}"#]) {
            client.write(*message).await.unwrap();
        }
        let mut got = Vec::new();
        loop {
            match read(&client).await {
                text if text == r#"{"ack":99,"data":"end"}"# => break,
                text => got.push(text),
            }
        }
        assert_eq!(got, expected, "{caller}");
    };
    async move { timeout(TIMEOUT, run).await.unwrap() }
}

#[tokio::test]
async fn the_value_of_a_handler_answers_if_the_peer_asks() {
    let hub = envelope().build();
    hub.on("json", async |Json(n): Json<u32>| Json(2 * n));
    hub.on("result", async |Json(n): Json<u32>| n.checked_sub(1).ok_or("too small"));
    hub.on("unit", async || {});
    hub.on("ok", async || Ok::<(), EncodeError>(()));
    // As with axum, although `Ok(n)` suffices.
    hub.on("wrapped", async |Json(n): Json<u32>| Ok::<_, EncodeError>(Json(n + 1)));
    hub.on("bytes", async |Json(bytes): Json<Bytes>| Json((bytes, 1)));
    let sent = [
        r#"{"event":"json","data":2,"id":0}"#,
        r#"{"event":"json","data":2}"#,
        r#"{"event":"result","data":3,"id":7}"#,
        r#"{"event":"result","data":0,"id":8}"#,
        r#"{"event":"unit","id":1}"#,
        r#"{"event":"unit"}"#,
        r#"{"event":"ok","id":2}"#,
        r#"{"event":"bytes","data":"AP8=","id":3}"#,
        r#"{"event":"wrapped","data":4,"id":9}"#,
        // Not what the handler takes.
        r#"{"event":"json","data":"x","id":4}"#,
        r#"{"event":"nobody","id":5}"#,
    ];
    let expected = [
        r#"{"ack":0,"data":4}"#,
        r#"{"ack":7,"data":2}"#,
        r#"{"ack":1,"data":null}"#,
        r#"{"ack":2,"data":null}"#,
        r#"{"ack":3,"data":["AP8=",1]}"#,
        r#"{"ack":9,"data":5}"#,
        r#"{"event":"error","data":{"code":"invalid_data","event":"json","text":"invalid type: string \"x\", expected u32 at line 1 column 3"}}"#,
        r#"{"event":"error","data":{"code":"unhandled","event":"nobody","text":"no handler"}}"#,
    ];
    check(&hub, &sent, &expected).await;
}

#[tokio::test]
async fn the_first_answer_counts() {
    let hub = envelope().no_error_events().build();
    hub.on("twice", async |ack: Ack| -> Result<(), EmitError> {
        assert!(ack.is_expected());
        ack.send("first")?;
        assert!(!ack.is_expected());
        ack.send("second")
    });
    // A handler that only observes does not answer before the next one.
    hub.on("observed", async || {});
    hub.on("observed", async || Json("answer"));
    hub.on("observed", async || Json("late"));
    hub.on_any(async || {});
    hub.on("fails", async || Err::<u8, _>("reason"));
    hub.on("keeps", async |ack: Ack, Json(late): Json<bool>| {
        assert_eq!(ack.is_expected(), late);
        if late {
            tokio::spawn(async move { ack.send("later") });
        }
    });
    let sent = [
        r#"{"event":"twice","id":1}"#,
        r#"{"event":"observed","id":2}"#,
        r#"{"event":"keeps","data":false}"#,
        r#"{"event":"fails","id":3}"#,
    ];
    check(&hub, &sent, &[r#"{"ack":1,"data":"first"}"#, r#"{"ack":2,"data":"answer"}"#]).await;
    let (_, client) = enter(&hub, "late").await;
    client.write(r#"{"event":"keeps","data":true,"id":4}"#).await.unwrap();
    assert_eq!(read(&client).await, r#"{"ack":4,"data":"later"}"#);
}

/// Reads an event that asks for an answer, and returns its id.
async fn asked(client: &Conn, name: &str) -> u64 {
    let text = read(client).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["event"], name);
    json["id"].as_u64().unwrap()
}

async fn answer(client: &Conn, id: u64, data: &str) {
    client.write(format!(r#"{{"ack":{id},"data":{data}}}"#)).await.unwrap();
}

#[tokio::test]
async fn a_peer_answers_a_socket_in_any_order() {
    let hub = envelope().build();
    let (socket, client) = enter(&hub, "a").await;
    let asking = async {
        let first = socket.emit_with_ack::<String, _>("first", &1);
        let second = socket.emit_with_ack::<(u8, Bytes), _>("second", &2);
        let (first, second) = tokio::join!(first.into_future(), second.into_future());
        assert_eq!((&*first.unwrap(), second.unwrap()), ("one", (2, Bytes::from_static(b"\xFF"))));
        let wrong = socket.emit_with_ack::<u8, _>("third", &3).await;
        assert!(matches!(wrong, Err(AckError::Decode(_))), "{wrong:?}");
    };
    let answering = async {
        let (first, second) = (asked(&client, "first").await, asked(&client, "second").await);
        // Unknown ids are ignored.
        answer(&client, 1000, "0").await;
        answer(&client, second, r#"[2,"/w=="]"#).await;
        answer(&client, first, "\"one\"").await;
        answer(&client, first, "\"again\"").await;
        let third = asked(&client, "third").await;
        answer(&client, third, "\"three\"").await;
    };
    timeout(TIMEOUT, async { tokio::join!(asking, answering) }).await.unwrap();
}

#[tokio::test]
async fn a_handler_may_await_the_answer_of_its_own_socket() {
    let (done, ended) = oneshot::channel::<u32>();
    let done = parking_lot::Mutex::new(Some(done));
    let hub = envelope().state(done).build();
    hub.on("ask", async |socket: Socket| socket.emit_with_ack::<u32, _>("number", &()).await);
    hub.on(
        "next",
        async |Json(n): Json<u32>,
               State(done): State<parking_lot::Mutex<Option<oneshot::Sender<u32>>>>| {
            if n == 30 {
                done.lock().take().unwrap().send(n).unwrap();
            }
        },
    );
    let (_socket, client) = enter(&hub, "a").await;
    client.write(r#"{"event":"ask","id":5}"#).await.unwrap();
    let id = asked(&client, "number").await;
    // Events before and after the answer wait for the handler, in order.
    for n in 0..30 {
        client.write(format!(r#"{{"event":"next","data":{n}}}"#)).await.unwrap();
    }
    answer(&client, id, "7").await;
    client.write(r#"{"event":"next","data":30}"#).await.unwrap();
    assert_eq!(read(&client).await, r#"{"ack":5,"data":7}"#);
    assert_eq!(timeout(TIMEOUT, ended).await.unwrap(), Ok(30));
}

#[tokio::test]
async fn a_task_gets_an_answer_while_a_handler_of_the_socket_runs() {
    let hub = envelope().build();
    let (started, running) = oneshot::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let once = parking_lot::Mutex::new(Some((started, stopped)));
    let once = Arc::new(once);
    hub.on("long", move || {
        let (started, stopped) = once.lock().take().unwrap();
        async move {
            started.send(()).unwrap();
            stopped.await
        }
    });
    let (socket, client) = enter(&hub, "a").await;
    client.write(r#"{"event":"long"}"#).await.unwrap();
    timeout(TIMEOUT, running).await.unwrap().unwrap();
    let answering = async {
        let id = asked(&client, "q").await;
        answer(&client, id, "1").await;
    };
    let asking = socket.emit_with_ack::<u8, _>("q", &0).into_future();
    let (number, ()) = timeout(TIMEOUT, async { tokio::join!(asking, answering) }).await.unwrap();
    assert_eq!(number.unwrap(), 1);
    stop.send(()).unwrap();
}

/// Takes the lock of a room when it wakes.
struct VisitRoom(Hub);

impl Wake for VisitRoom {
    fn wake(self: Arc<Self>) {
        self.0.to("room").sockets();
    }
}

async fn broadcast_while_a_handler_runs() {
    let started = EventLog::default();
    let hub = envelope().state(started.clone()).build();
    hub.on("long", async |State(started): State<EventLog>| {
        started.note("started");
        pending::<()>().await;
    });
    let (client, server) = pair();
    client.write(r#"{"event":"long"}"#).await.unwrap();
    let mut serving = hub.handler()(server);
    let waker = Waker::from(Arc::new(VisitRoom(hub.clone())));
    wait_until(|| {
        assert!(serving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        !started.so_far().is_empty()
    })
    .await;
    hub.everyone().join("room");
    let answers = hub.to("room").emit_with_ack::<u8, _>("q", &0).unwrap();
    assert_eq!(answers.pending(), 1);
}

#[tokio::test]
async fn the_task_that_reads_an_answer_is_woken_without_the_lock_of_the_room() {
    run_in_thread_async(broadcast_while_a_handler_runs).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_an_error() {
    let hub = envelope().pending_acks(2).build();
    let (socket, client) = enter(&hub, "a").await;
    let ask = || socket.emit_with_ack::<u8, _>("q", &0);
    let late = ask().timeout(Duration::from_secs(3600)).await;
    assert!(matches!(late, Err(AckError::Timeout)), "{late:?}");
    // A late answer is ignored, and those that are not awaited do not count.
    let id = asked(&client, "q").await;
    answer(&client, id, "1").await;
    for _ in 0..5 {
        drop(ask());
    }
    let pending = [ask(), ask()];
    let refused = ask().await.unwrap_err();
    assert!(matches!(refused, AckError::TooMany { limit: 2, .. }), "{refused:?}");
    assert!(refused.to_string().contains("HubBuilder::pending_acks"), "{refused}");
    client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    for pending in pending {
        let ended = pending.await;
        assert!(matches!(ended, Err(AckError::Disconnected)), "{ended:?}");
    }
    wait_until(|| hub.is_empty()).await;
    let closed = ask().await;
    assert!(matches!(closed, Err(AckError::Disconnected)), "{closed:?}");
    let reserved = socket.emit_with_ack::<u8, _>("connect", &0).await;
    assert!(reserved.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_ends_with_the_sockets_that_have_not_answered() {
    let hub = envelope().pending_acks(1).build();
    let mut clients = BTreeMap::new();
    for id in ["answers", "silent", "leaves", "wrong", "busy"] {
        clients.insert(id, enter(&hub, id).await);
    }
    let (plain, server) = pair();
    let serving = hub.clone();
    tokio::spawn(async move { serving.serve_as(server, Protocol::Plain).await });
    wait_until(|| hub.len() == 6).await;
    let busy = clients["busy"].0.emit_with_ack::<u8, _>("other", &0);
    let mut acks = hub.everyone().emit_with_ack::<String, _>("q", &"?").unwrap();
    assert_eq!(acks.pending(), 4);
    assert_eq!(read(&plain).await, "\"?\"");
    let id = asked(&clients["answers"].1, "q").await;
    for name in ["silent", "leaves", "wrong"] {
        // One encoding for all.
        assert_eq!(asked(&clients[name].1, "q").await, id);
    }
    answer(&clients["answers"].1, id, "\"!\"").await;
    answer(&clients["wrong"].1, id, "1").await;
    clients["leaves"].1.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    let mut got = Vec::new();
    while let Some((id, answer)) = acks.next().await {
        let text = answer.unwrap_or_else(|error| {
            let text = format!("{error:?}");
            text.split(['(', ' ']).next().unwrap().to_owned()
        });
        got.push((id.as_str().to_owned(), text));
    }
    assert!(acks.next().await.is_none());
    assert_eq!(got.last().unwrap().0, "silent");
    let got: BTreeMap<_, _> = got.into_iter().collect();
    for (id, expected) in [
        ("answers", "!"),
        ("silent", "Timeout"),
        ("leaves", "Disconnected"),
        ("wrong", "Decode"),
        ("busy", "TooMany"),
    ] {
        assert_eq!(got[id], expected, "{id}");
    }
    assert_eq!(got.values().filter(|it| **it == "Unsupported").count(), 1);
    drop(busy);
    // It is a stream, too. Dropped, it leaves nothing behind.
    let acks = hub.to("nowhere").emit_with_ack::<String, _>("q", &"?").unwrap();
    assert_eq!(acks.count().await, 0);
    drop(hub.everyone().emit_with_ack::<String, _>("q", &"?").unwrap());
    let asking = clients["busy"].0.emit_with_ack::<u8, _>("last", &0).into_future();
    let answering = async {
        let client = &clients["busy"].1;
        asked(client, "other").await;
        asked(client, "q").await;
        let last = asked(client, "last").await;
        answer(client, last, "1").await;
    };
    assert_eq!(tokio::join!(asking, answering).0.unwrap(), 1);
}

#[tokio::test]
async fn a_plain_socket_acknowledges_nothing() {
    let hub = Hub::new();
    let (socket, _client) = enter(&hub, "a").await;
    let refused = socket.emit_with_ack::<u8, _>("q", &0).await;
    assert!(matches!(refused, Err(AckError::Unsupported)), "{refused:?}");
    assert!(matches!(hub.everyone().emit_with_ack::<u8, _>("q", &0), Err(EncodeError::NoEnvelope)));
}
