//! Does the log of a session have its messages in order, also those around a question or an answer?
//!
//! Both have no offset.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::recovery::{Connect, GatedStore, connect_envelope, connect_socketio, empty, hub_of};
use crate::support::{read, wait_until};
use futures::poll;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use ws_core::{Conn, StatusCode, pair};
use ws_events::{
    Ack, ConnectRejection, EmitError, History, Hub, HubStats, MemoryHistory, Overflow, Protocol,
    Recovery, SendQueueLimits, Socket,
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

/// A client has read an event, its connection is lost, and it misses another one. Returns its token and
/// its offset.
async fn miss_one(hub: &Hub, connect: Connect) -> (String, Option<String>) {
    let (conn, token, _) = connect(hub.clone(), None, None).await;
    wait_until(|| hub.to("room2").count() == 1).await;
    hub.to("room1").emit("n", &1).unwrap();
    let event = read(&conn).await;
    conn.close_now();
    empty(hub).await;
    hub.to("room1").emit("n", &2).unwrap();
    (token, offset(&event))
}

/// The socket of a client that comes back, once it waits for the history.
async fn resuming_socket(hub: &Hub) -> Socket {
    wait_until(|| hub.to("room1").count() == 1).await;
    hub.everyone().sockets().remove(0)
}

/// A client that [has missed an event](miss_one) comes back, and while the history is read, the
/// application does something with its socket. Its session is recovered. Returns the connection and the
/// token.
async fn miss_one_and_resume(
    hub: &Hub,
    gate: &Semaphore,
    connect: Connect,
    meanwhile: impl FnOnce(&Socket),
) -> (Conn, String) {
    let (token, at) = miss_one(hub, connect).await;
    let acting = async {
        meanwhile(&resuming_socket(hub).await);
        gate.add_permits(1);
    };
    let resuming = connect(hub.clone(), Some(token), at);
    let ((conn, token, recovered), ()) = tokio::join!(resuming, acting);
    assert!(recovered);
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

/// Twenty events for a queue of four while the history is read → those that come, behind the one that was
/// missed.
async fn check_overflow(overflow: Overflow, expected: [u64; 4]) {
    for (protocol, connect, _) in PROTOCOLS {
        let limits = SendQueueLimits::new().messages(4).overflow(overflow);
        let (hub, gate) = gated_hub(limits);
        let (conn, token) = miss_one_and_resume(&hub, &gate, connect, |socket| {
            for n in 3..23 {
                let is_full = overflow == Overflow::DropNewest && n > 6;
                assert_eq!(socket.emit("n", &n).is_err(), is_full, "{protocol} {n}");
                assert!(hub.stats().waiting() <= 4, "{protocol} {n}: {:?}", hub.stats());
            }
        })
        .await;
        let mut at = None;
        for expected in [2].into_iter().chain(expected) {
            let event = read(&conn).await;
            assert_eq!(data(&event), expected, "{protocol}, {overflow:?}");
            at = offset(&event);
        }
        wait_until(|| hub.stats().waiting() == 0).await;
        let HubStats { dropped, refused, discarded, queued_bytes, .. } = hub.stats();
        assert_eq!(dropped + refused, 16, "{protocol}, {overflow:?}");
        assert_eq!((discarded, queued_bytes), (0, 0), "{protocol}, {overflow:?}");
        conn.close_now();
        empty(&hub).await;
        let (_, _, recovered) = connect(hub, Some(token), at).await;
        assert!(!recovered, "{protocol}: events are missing");
    }
}

#[tokio::test]
async fn what_is_held_back_while_a_history_is_read_counts_as_queued() {
    check_overflow(Overflow::DropOldest, [19, 20, 21, 22]).await;
    check_overflow(Overflow::DropNewest, [3, 4, 5, 6]).await;
}

#[tokio::test]
async fn a_socket_that_gets_too_much_while_a_history_is_read_is_a_slow_consumer() {
    for (protocol, connect, _) in PROTOCOLS {
        let (hub, gate) = gated_hub(SendQueueLimits::new().messages(4));
        let (token, at) = miss_one(&hub, connect).await;
        let flooding = async {
            let socket = resuming_socket(&hub).await;
            for n in 3..23 {
                assert_eq!(socket.emit("n", &n).is_err(), n > 6, "{protocol} {n}");
            }
            assert_eq!(hub.stats().queued_bytes, 0, "{protocol}: all are discarded at once");
            gate.add_permits(1);
        };
        let resuming = connect(hub.clone(), Some(token), at);
        let ((conn, _, recovered), ()) = tokio::join!(resuming, flooding);
        assert!(!recovered, "{protocol}: events are missing");
        let code = conn.closed().await.received.map(|close| close.code);
        assert_eq!(code, Some(StatusCode::TRY_AGAIN_LATER), "{protocol}");
        empty(&hub).await;
        let HubStats { slow_consumers, discarded, refused, .. } = hub.stats();
        assert_eq!((slow_consumers, discarded, refused), (1, 4, 1), "{protocol}");
    }
}

#[tokio::test]
async fn a_sender_waits_for_room_while_a_history_is_read() {
    for (protocol, connect, _) in PROTOCOLS {
        let overflow = Overflow::Block(Duration::from_secs(3600));
        let (hub, gate) = gated_hub(SendQueueLimits::new().messages(8).overflow(overflow));
        let (token, at) = miss_one(&hub, connect).await;
        let sending = async {
            let socket = resuming_socket(&hub).await;
            for n in 3..23 {
                let mut sending = pin!(socket.emit_wait("n", &n));
                let is_full = poll!(&mut sending).is_pending();
                if n <= 11 {
                    assert_eq!(is_full, n == 11, "{protocol} {n}: eight are held back");
                }
                if is_full {
                    gate.add_permits(1);
                    sending.await.unwrap();
                }
            }
        };
        let reading = async {
            let (conn, _, recovered) = connect(hub.clone(), Some(token), at).await;
            assert!(recovered, "{protocol}");
            for expected in 2..23 {
                assert_eq!(data(&read(&conn).await), expected, "{protocol}");
            }
            conn
        };
        let (_conn, ()) = tokio::join!(reading, sending);
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
        hub.middleware(|socket: Socket| {
            socket.emit("n", &"earliest").unwrap();
            ready(Ok(()))
        });
        let (mut conn, mut token, _) = connect(hub.clone(), None, None).await;
        for expected in ["earliest", "early"] {
            assert_eq!(data(&read(&conn).await), expected, "{protocol}");
        }
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
            assert_eq!(data(&read(&conn).await), "earliest", "{protocol}, {missed}");
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
