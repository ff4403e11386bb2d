//! What does a socket keep whose session cannot be recovered, if that shows late?

use std::future::ready;
use std::sync::Arc;

use crate::recovery::{Connect, GatedStore, connect_envelope, connect_socketio, empty, hub_of};
use crate::support::{EventLog, read, wait_until};
use tokio::sync::Semaphore;
use ws_core::{Conn, pair};
use ws_events::{
    ConnectRejection, EventPayload, History, Hub, MemoryHistory, Protocol, Recovery, Socket,
};

/// A hub whose room `room1` has a short history, and the gate of its store.
fn hub() -> (Hub, Arc<Semaphore>) {
    let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
    let gate = Arc::clone(&store.1);
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

/// How a client connects.
async fn check_meanwhile(protocol: &str, connect: Connect) {
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
        assert!(socket.leave("room2"));
        assert!(socket.fire("fired", ""));
        hub.to("room1").emit("n", &"secret").unwrap();
        hub.to("lobby").emit("n", &"hello").unwrap();
        gate.add_permits(1);
    };
    let ((conn, token, recovered), ()) = tokio::join!(connect(hub.clone(), token, at), meanwhile);
    assert!(!recovered, "{protocol}");
    let expected = [r#"connect ["lobby"]"#, "join lobby", "fired", "join room1", "join room2"];
    assert_eq!(log.take(5).await, expected, "{protocol}");
    let event = read(&conn).await;
    assert!(event.contains("hello"), "{protocol}: {event}");
    // Only now the position of this room is known.
    hub.to("room1").emit("n", &"now").unwrap();
    let event = read(&conn).await;
    assert!(event.contains("now"), "{protocol}: {event}");
    conn.close_now();
    empty(&hub).await;
    hub.to("lobby").emit("n", &"again").unwrap();
    gate.add_permits(2);
    let (conn, _, recovered) = connect(hub.clone(), Some(token), offset(&event)).await;
    assert!(recovered, "{protocol}");
    let event = read(&conn).await;
    assert!(event.contains("again"), "{protocol}: {event}");
}

#[tokio::test]
async fn what_the_application_has_done_while_a_history_was_read_stays() {
    check_meanwhile("envelope", connect_envelope).await;
    check_meanwhile("Socket.IO", connect_socketio).await;
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
    wait_until(|| hub.to("room2").count() == 1).await;
    // Only now the position of this room is known. The client reads nothing.
    hub.to("room1").emit("n", &"now").unwrap();
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
