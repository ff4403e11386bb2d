//! What does a socket keep whose session cannot be recovered, if that shows late?

use std::future::ready;
use std::sync::Arc;

use crate::recovery::{Connect, GatedStore, connect_envelope, connect_socketio, empty, hub_of};
use crate::support::{EventLog, read, wait_until};
use tokio::sync::Semaphore;
use ws_core::{Conn, pair};
use ws_events::{
    Appended, ConnectRejection, EventPayload, History, HistoryError, HistoryPage, HistoryReply,
    HistoryStore, Hub, MemoryHistory, Position, Protocol, Recovery, Socket,
};

/// A store that knows at once where each room is.
struct Known(GatedStore);

impl HistoryStore for Known {
    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError> {
        self.0.append(key, record, limits)
    }

    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage> {
        self.0.since(key, position, most)
    }

    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage> {
        self.0.0.latest(key, most)
    }

    fn trim(&self, key: &str, through: Position) -> HistoryReply<()> {
        self.0.trim(key, through)
    }
}

/// A hub whose room `room1` has a short history, and the gate of its store.
fn hub() -> (Hub, Arc<Semaphore>) {
    let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
    let gate = Arc::clone(&store.1);
    let store = Known(store);
    let builder = Hub::builder().envelope().history("room1", History::new().messages(3));
    let builder = builder.history("lobby", History::new()).history_store(store);
    (builder.recovery(Recovery::new()).build(), gate)
}

/// The offset of an event.
fn offset(event: &str) -> Option<String> {
    event.split('"').rev().nth(1).map(str::to_owned)
}

/// A client has read an event, its connection is lost, and its room gets more than the history keeps.
/// Returns the token and the offset of the client.
async fn miss_too_much(
    hub: &Hub,
    (conn, token, _): (Conn, String, bool),
) -> (Option<String>, Option<String>) {
    wait_until(|| hub.to("room2").count() == 1).await;
    hub.to("room1").emit("n", &"first").unwrap();
    let event = read(&conn).await;
    assert!(event.contains("first"), "{event}");
    conn.close_now();
    empty(hub).await;
    (0..4).for_each(|n| _ = hub.to("room1").emit("n", &n).unwrap());
    (Some(token), offset(&event))
}

/// How a client connects, and whether the application joins a room of the session, too.
async fn check_meanwhile(protocol: &str, connect: Connect, joins_both: bool) {
    let (hub, gate) = hub();
    let log = EventLog::default();
    let (connected, joined, left, fired) = (log.clone(), log.clone(), log.clone(), log.clone());
    hub.on_connect(move |socket: Socket| {
        connected.note(format!("connect {:?}", socket.rooms()));
        ready(())
    });
    hub.on_room_join(move |event: EventPayload| {
        joined.note(format!("join {}", event.room().unwrap()));
        ready(())
    });
    hub.on_room_leave(move |event: EventPayload| {
        left.note(format!("leave {}", event.room().unwrap()));
        ready(())
    });
    hub.on("fired", move || {
        fired.note("fired");
        ready(())
    });
    let hub = hub_of(hub);
    let client = connect(hub.clone(), None, None).await;
    let (token, at) = miss_too_much(&hub, client).await;
    log.take(5).await;
    let meanwhile = async {
        // The socket waits for the history.
        wait_until(|| hub.to("room1").count() == 1).await;
        let socket = hub.everyone().sockets().remove(0);
        socket.join("lobby").unwrap();
        if joins_both {
            socket.join("room1").unwrap();
        }
        assert!(socket.leave("room2"));
        assert!(socket.fire("fired", ""));
        hub.to("room1").emit("n", &"secret").unwrap();
        hub.to("lobby").emit("n", &"hello").unwrap();
        gate.add_permits(1);
    };
    let ((conn, token, recovered), ()) = tokio::join!(connect(hub.clone(), token, at), meanwhile);
    assert!(!recovered, "{protocol}");
    // Its last rooms are those that each new socket joins.
    let expected = if joins_both {
        [
            r#"connect ["room1", "lobby"]"#,
            "join room1",
            "join room2",
            "join lobby",
            "leave room2",
            "fired",
            "join room2",
        ]
    } else {
        [
            r#"connect ["lobby"]"#,
            "join room2",
            "join lobby",
            "leave room2",
            "fired",
            "join room1",
            "join room2",
        ]
    };
    assert_eq!(log.take(7).await, expected, "{protocol}");
    let event = read(&conn).await;
    assert!(event.contains("hello"), "{protocol}: {event}");
    conn.close_now();
    empty(&hub).await;
    for room in ["lobby", "room1"] {
        hub.to(room).emit("n", &format!("again {room}")).unwrap();
    }
    gate.add_permits(2);
    let (conn, _, recovered) = connect(hub.clone(), Some(token), offset(&event)).await;
    assert!(recovered, "{protocol}");
    let mut events = [read(&conn).await, read(&conn).await];
    events.sort_by_key(|event| event.contains("room1"));
    let [lobby, room1] = events;
    assert!(lobby.contains("again lobby") && room1.contains("again room1"), "{lobby}, {room1}");
}

#[tokio::test]
async fn what_the_application_has_done_while_a_history_was_read_stays() {
    for joins_both in [false, true] {
        check_meanwhile("envelope", connect_envelope, joins_both).await;
        check_meanwhile("Socket.IO", connect_socketio, joins_both).await;
    }
}

#[tokio::test]
async fn an_id_that_was_set_while_a_history_was_read_stays() {
    for new in [None, Some("ann")] {
        let (hub, gate) = hub();
        let hub = hub_of(hub);
        let client = connect_envelope(hub.clone(), None, None).await;
        let id = hub.everyone().sockets()[0].id();
        let (token, at) = miss_too_much(&hub, client).await;
        let meanwhile = async {
            wait_until(|| hub.to("room1").count() == 1).await;
            let socket = hub.socket(&id).unwrap();
            new.iter().for_each(|new| socket.set_id(*new).unwrap());
            gate.add_permits(1);
            socket
        };
        let resuming = connect_envelope(hub.clone(), token, at);
        let ((_conn, _, recovered), socket) = tokio::join!(resuming, meanwhile);
        assert!(!recovered && hub.socket(&id).is_none(), "{new:?}");
        assert_eq!(socket.id() == "ann", new.is_some(), "{new:?}");
        assert_eq!(hub.socket(socket.id()), Some(socket));
    }
}

/// A client of Socket.IO: its library takes no event before the answer.
#[tokio::test]
async fn the_new_session_knows_what_middleware_has_sent() {
    let (hub, gate) = hub();
    hub.middleware(|socket: Socket| {
        socket.emit("n", &"welcome").unwrap();
        ready(Ok::<_, ConnectRejection>(()))
    });
    let hub = hub_of(hub);
    let client = connect_socketio(hub.clone(), None, None).await;
    assert!(read(&client.0).await.contains("welcome"));
    let (token, at) = miss_too_much(&hub, client).await;
    gate.add_permits(1);
    let (conn, token, recovered) = connect_socketio(hub.clone(), token, at).await;
    assert!(!recovered);
    // The client has not read it.
    conn.close_now();
    empty(&hub).await;
    gate.add_permits(1);
    let (_, _, recovered) = connect_socketio(hub, Some(token), None).await;
    assert!(!recovered, "an event of middleware is missing");
}

#[tokio::test]
async fn a_socket_that_is_dropped_while_a_history_is_read_counts_as_connected_before() {
    let (hub, _gate) = hub();
    let hub = hub_of(hub);
    let client = connect_envelope(hub.clone(), None, None).await;
    let (token, at) = miss_too_much(&hub, client).await;
    let (conn, server) = pair();
    let serving = hub.clone();
    let serving = tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
    conn.write(serde_json::json!({"resume": token, "at": at}).to_string()).await.unwrap();
    wait_until(|| hub.to("room1").count() == 1).await;
    serving.abort();
    empty(&hub).await;
    let stats = hub.stats();
    assert_eq!((stats.connected, stats.disconnected), (2, 2));
}
