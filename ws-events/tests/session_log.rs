//! Does the log of a session have its messages in order, also those around a question or an answer?
//!
//! Both have no offset.

use std::future::ready;
use std::sync::Arc;

use crate::recovery::{Connect, GatedStore, connect_envelope, connect_socketio, empty, hub_of};
use crate::support::{read, wait_until};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use ws_core::{Conn, pair};
use ws_events::{
    Ack, ConnectRejection, EmitError, History, Hub, MemoryHistory, Overflow, Protocol, Recovery,
    SendQueueLimits, Socket,
};

/// A protocol by its name, how to connect, and an event `ask` that expects an answer.
const PROTOCOLS: [(&str, Connect, &str); 2] = [
    ("envelope", connect_envelope, r#"{"event":"ask","data":0,"id":1}"#),
    ("Socket.IO", connect_socketio, r#"421["ask",0]"#),
];

/// The data of an event.
fn data(event: &str) -> Value {
    let parse = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    match event.find('[') {
        Some(at) => parse(&event[at..])[1].take(),
        None => parse(event)["data"].take(),
    }
}

/// The offset of an event.
fn offset(event: &str) -> Option<String> {
    event.split('"').rev().nth(1).map(str::to_owned)
}

/// What takes the place of a queued event → the client learns that it has missed one.
async fn check_displaced(what: &str, send: fn(&Socket, &Ack)) {
    for (protocol, connect, ask) in PROTOCOLS {
        let limits = SendQueueLimits::new().messages(2).overflow(Overflow::DropOldest);
        let builder = Hub::builder().envelope().recovery(Recovery::new());
        let hub = hub_of(builder.send_queue(limits).build());
        let asked = Arc::new(Mutex::new(None));
        let note = Arc::clone(&asked);
        hub.on("ask", move |socket: Socket, ack: Ack| {
            *note.lock() = Some((socket, ack));
            ready(())
        });
        let (conn, token, _) = connect(hub.clone(), None, None).await;
        conn.write(ask).await.unwrap();
        wait_until(|| asked.lock().is_some()).await;
        let (socket, ack) = asked.lock().take().unwrap();
        // Nothing is written meanwhile.
        socket.emit("n", &1).unwrap();
        socket.emit("n", &2).unwrap();
        send(&socket, &ack);
        let event = read(&conn).await;
        assert_eq!(data(&event), 2, "{protocol}, {what}");
        conn.close_now();
        empty(&hub).await;
        let (_, _, recovered) = connect(hub, Some(token), offset(&event)).await;
        assert!(!recovered, "{protocol}, {what}: an event is missing");
    }
}

#[tokio::test]
async fn an_event_that_was_dropped_for_a_question_or_an_answer_is_missed() {
    check_displaced("a question", |socket, _| {
        drop(socket.emit_with_ack::<u8, _>("n", &3));
    })
    .await;
    check_displaced("an answer", |_, ack| ack.send(&3).unwrap()).await;
}

#[tokio::test]
async fn a_question_comes_in_its_order_behind_what_was_missed() {
    for (protocol, connect, _) in PROTOCOLS {
        let (hub, gate) = gated_hub(SendQueueLimits::new());
        let (conn, _) = miss_one_and_resume(&hub, &gate, connect, |socket| {
            let ask = |number: u64| drop(socket.emit_with_ack::<u8, _>("n", &number));
            ask(3);
            socket.emit("n", &4).unwrap();
            ask(5);
        })
        .await;
        for expected in 2..=5 {
            assert_eq!(data(&read(&conn).await), expected, "{protocol}");
        }
    }
}

/// A hub whose room `room1` has a history in a store that answers when it is opened, and the gate.
fn gated_hub(limits: SendQueueLimits) -> (Hub, Arc<Semaphore>) {
    let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
    let gate = Arc::clone(&store.1);
    let builder = Hub::builder().envelope().history("room1", History::new()).send_queue(limits);
    (hub_of(builder.history_store(store).recovery(Recovery::new()).build()), gate)
}

/// A client has read an event, its connection is lost, and it misses another one. It comes back, and
/// while the history is read, the application does something with its socket. Its session is recovered.
/// Returns the connection and the token.
async fn miss_one_and_resume(
    hub: &Hub,
    gate: &Semaphore,
    connect: Connect,
    meanwhile: impl FnOnce(&Socket),
) -> (Conn, String) {
    let (conn, token, _) = connect(hub.clone(), None, None).await;
    wait_until(|| hub.to("room2").count() == 1).await;
    hub.to("room1").emit("n", &1).unwrap();
    let event = read(&conn).await;
    conn.close_now();
    empty(hub).await;
    hub.to("room1").emit("n", &2).unwrap();
    let acting = async {
        // The socket waits for the history.
        wait_until(|| hub.to("room1").count() == 1).await;
        meanwhile(&hub.everyone().sockets()[0]);
        gate.add_permits(1);
    };
    let resuming = connect(hub.clone(), Some(token), offset(&event));
    let ((conn, token, recovered), ()) = tokio::join!(resuming, acting);
    assert!(recovered, "{event}");
    (conn, token)
}

#[tokio::test]
async fn an_event_of_a_room_that_is_left_while_its_history_is_read_comes_once() {
    for (protocol, connect, _) in PROTOCOLS {
        let (hub, gate) = gated_hub(SendQueueLimits::new());
        let (conn, _) = miss_one_and_resume(&hub, &gate, connect, |socket| {
            hub.to("room1").emit("n", &3).unwrap();
            assert!(socket.leave("room1"));
            socket.emit("n", &4).unwrap();
        })
        .await;
        for expected in 2..=4 {
            assert_eq!(data(&read(&conn).await), expected, "{protocol}");
        }
    }
}

#[tokio::test]
async fn the_oldest_of_what_was_held_back_is_dropped_and_not_the_answer() {
    for (protocol, connect, _) in PROTOCOLS {
        let limits = SendQueueLimits::new().messages(4).overflow(Overflow::DropOldest);
        let (hub, gate) = gated_hub(limits);
        let (conn, token) = miss_one_and_resume(&hub, &gate, connect, |socket| {
            (3..20).for_each(|n| socket.emit("n", &n).unwrap());
        })
        .await;
        assert_eq!(data(&read(&conn).await), 2, "{protocol}");
        let first = data(&read(&conn).await).as_u64().unwrap();
        // The answer of Socket.IO is not in the queue.
        assert!([17, 18].contains(&first), "{protocol}: {first}");
        let mut at = None;
        for expected in first + 1..20 {
            let event = read(&conn).await;
            assert_eq!(data(&event), expected, "{protocol}");
            at = offset(&event);
        }
        wait_until(|| hub.stats().waiting() == 0).await;
        assert_eq!(hub.stats().dropped, first - 3, "{protocol}");
        conn.close_now();
        empty(&hub).await;
        let (_, _, recovered) = connect(hub, Some(token), at).await;
        assert!(!recovered, "{protocol}: events are missing");
    }
}

/// A session is new, recovered, or new because a history is too short.
#[tokio::test]
async fn what_is_sent_before_the_answer_comes_behind_it_and_once() {
    for (protocol, connect, _) in PROTOCOLS {
        let builder = Hub::builder().envelope().history("room1", History::new().messages(3));
        let recovery = Recovery::new().user(|socket| {
            socket.emit("n", &"early").unwrap();
            None
        });
        let hub = hub_of(builder.recovery(recovery).build());
        let (mut conn, mut token, _) = connect(hub.clone(), None, None).await;
        assert_eq!(data(&read(&conn).await), "early", "{protocol}");
        for missed in [1, 4] {
            wait_until(|| hub.to("room2").count() == 1).await;
            hub.to("room1").emit("n", &0).unwrap();
            let event = read(&conn).await;
            assert_eq!(data(&event), 0, "{protocol}");
            conn.close_now();
            empty(&hub).await;
            (0..missed).for_each(|n| _ = hub.to("room1").emit("n", &n).unwrap());
            let recovered;
            (conn, token, recovered) = connect(hub.clone(), Some(token), offset(&event)).await;
            assert_eq!(recovered, missed == 1, "{protocol}, {missed}");
            if recovered {
                assert_eq!(data(&read(&conn).await), 0, "{protocol}");
            }
            assert_eq!(data(&read(&conn).await), "early", "{protocol}, {missed}");
        }
    }
}

/// Another socket gets the id that it has asked for.
#[tokio::test]
async fn a_socket_that_is_rejected_instead_of_an_answer_takes_no_messages() {
    let connecting = Arc::new(Mutex::new(None::<Socket>));
    let kept = Arc::clone(&connecting);
    let recovery = Recovery::new().user(move |socket| {
        let others = socket.hub().everyone().sockets();
        others.iter().for_each(|other| other.set_id("ann").unwrap());
        socket.emit("n", &1).unwrap();
        *kept.lock() = Some(socket.clone());
        None
    });
    let hub = Hub::builder().envelope().recovery(recovery).build();
    let _first = connect_envelope(hub.clone(), None, None).await;
    hub.middleware(|socket: Socket| {
        ready(socket.set_id("ann").map_err(|error| ConnectRejection::new(error.to_string())))
    });
    let (conn, server) = pair();
    let serving = hub.clone();
    tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
    conn.write(r#"{"resume":null}"#).await.unwrap();
    wait_until(|| hub.stats().rejected == 1).await;
    // The close frame has no answer yet.
    let sent = connecting.lock().take().unwrap().emit("n", &2);
    assert!(matches!(sent, Err(EmitError::Closed)), "{sent:?}");
    assert_eq!(hub.stats().waiting(), 0, "{:?}", hub.stats());
}
