//! Does the hub keep its guarantees of order, rooms and lifecycle?
//!
//! Each guarantee in the documentation of the crate has a test here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    EventLog, Over, TIMEOUT, client_over, enter, enter_over, over_protocol, read, read_all,
    read_until_end, run_in_thread, run_in_thread_async, serve_over, wait_until, with_silent_peer,
};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Keepalive, Message, Role, StatusCode, pair};
use ws_events::{
    Attribute, ConnectRejection, DisconnectReason, EncodeError, Event, EventError, EventPayload,
    Hub, Json, ListenerId, Room, SetIdError, Socket, State,
};

over_protocol! {
    plain Plain:
    #[tokio::test]
    while_a_handler_runs_pings_are_answered_messages_are_sent_and_the_end_is_noticed;
    #[tokio::test]
    connect_is_first_and_disconnect_is_once_and_last_with_rooms_and_attributes;
    #[tokio::test]
    sockets_of_a_broadcast_join_leave_and_close_together;
    #[tokio::test]
    a_union_of_rooms_reaches_each_member_once_without_exceptions;
    #[tokio::test]
    a_member_that_joins_before_a_message_gets_it_and_one_that_leaves_before_does_not;
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    all_members_of_a_room_get_several_senders_in_one_order;
    #[tokio::test]
    messages_to_one_socket_arrive_in_order_by_each_call;
    #[tokio::test]
    handlers_of_one_socket_run_in_sequence_and_of_several_concurrently;
    #[tokio::test]
    messages_of_a_connect_handler_are_delivered_before_it_returns;
    #[tokio::test]
    events_and_messages_alternate;
    #[tokio::test]
    a_broadcast_to_ids_reaches_the_sockets_that_have_them_when_it_is_sent;
}

over_protocol! {
    envelope Envelope:
    #[tokio::test]
    while_a_handler_runs_pings_are_answered_messages_are_sent_and_the_end_is_noticed;
    #[tokio::test]
    connect_is_first_and_disconnect_is_once_and_last_with_rooms_and_attributes;
    #[tokio::test]
    sockets_of_a_broadcast_join_leave_and_close_together;
    #[tokio::test]
    a_union_of_rooms_reaches_each_member_once_without_exceptions;
    #[tokio::test]
    a_member_that_joins_before_a_message_gets_it_and_one_that_leaves_before_does_not;
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    all_members_of_a_room_get_several_senders_in_one_order;
    #[tokio::test]
    messages_to_one_socket_arrive_in_order_by_each_call;
    #[tokio::test]
    handlers_of_one_socket_run_in_sequence_and_of_several_concurrently;
    #[tokio::test]
    messages_of_a_connect_handler_are_delivered_before_it_returns;
    #[tokio::test]
    a_broadcast_to_ids_reaches_the_sockets_that_have_them_when_it_is_sent;
}

over_protocol! {
    socketio SocketIo:
    #[tokio::test]
    while_a_handler_runs_pings_are_answered_messages_are_sent_and_the_end_is_noticed;
    #[tokio::test]
    connect_is_first_and_disconnect_is_once_and_last_with_rooms_and_attributes;
    #[tokio::test]
    sockets_of_a_broadcast_join_leave_and_close_together;
    #[tokio::test]
    a_union_of_rooms_reaches_each_member_once_without_exceptions;
    #[tokio::test]
    a_member_that_joins_before_a_message_gets_it_and_one_that_leaves_before_does_not;
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    all_members_of_a_room_get_several_senders_in_one_order;
    #[tokio::test]
    messages_to_one_socket_arrive_in_order_by_each_call;
    #[tokio::test]
    handlers_of_one_socket_run_in_sequence_and_of_several_concurrently;
    #[tokio::test]
    messages_of_a_connect_handler_are_delivered_before_it_returns;
    #[tokio::test]
    events_and_messages_alternate;
    #[tokio::test]
    a_broadcast_to_ids_reaches_the_sockets_that_have_them_when_it_is_sent;
}

async fn a_union_of_rooms_reaches_each_member_once_without_exceptions(over: Over) {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for (id, rooms) in [("a", "x"), ("b", "xy"), ("c", "y"), ("d", "z"), ("e", "")] {
        let (socket, client) = enter_over(&hub, over, id).await;
        for room in rooms.chars() {
            socket.join(room.to_string()).unwrap();
            socket.join(room.to_string()).unwrap();
        }
        clients.push(client);
    }
    let x = |id: &str| hub.socket(id).unwrap();
    assert_eq!(hub.to("x").send("x").queued, 2);
    assert_eq!(hub.to("x").to("y").send("xy").queued, 3);
    assert_eq!(hub.to("x").to("y").except("b").send("xy-b").queued, 2);
    assert_eq!(hub.to("x").to("y").except_room("y").send("xy-y").queued, 1);
    assert_eq!(hub.everyone().except_room("x").except("e").send("all-x-e").queued, 2);
    assert_eq!(x("b").to("x").to("z").send("b:xz").queued, 2);
    assert_eq!(x("e").broadcast().send("e:others").queued, 4);
    assert_eq!(hub.ids(["e"]).to("z").send("e+z").queued, 2);
    assert_eq!(hub.to("nowhere").send("never").matched, 0);
    assert_eq!(hub.to("nowhere").to("z").count(), 1);
    hub.send("end");
    let expected: [&[&str]; 5] = [
        &["x", "xy", "xy-b", "xy-y", "b:xz", "e:others"],
        &["x", "xy", "e:others"],
        &["xy", "xy-b", "all-x-e", "e:others"],
        &["all-x-e", "b:xz", "e:others", "e+z"],
        &["e+z"],
    ];
    for (client, expected) in clients.iter().zip(expected) {
        assert_eq!(read_until_end(client).await, expected);
    }
}

async fn a_member_that_joins_before_a_message_gets_it_and_one_that_leaves_before_does_not(
    over: Over,
) {
    let hub = Hub::new();
    let (socket, client) = enter_over(&hub, over, "a").await;
    for n in 0..200 {
        socket.join("room").unwrap();
        assert_eq!(hub.to("room").send(n.to_string()).queued, 1);
        assert!(socket.leave("room") && !socket.leave("room"));
        assert_eq!(hub.to("room").send("never").matched, 0);
    }
    assert!(hub.rooms().is_empty());
    socket.send("end").unwrap();
    let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(read_until_end(&client).await, expected);
}

async fn all_members_of_a_room_get_several_senders_in_one_order(over: Over) {
    const SENDERS: usize = 4;
    const EACH: usize = 200;
    let hub = Hub::new();
    let mut clients = Vec::new();
    for id in 0..600 {
        let (socket, client) = enter_over(&hub, over, &id.to_string()).await;
        socket.join("room").unwrap();
        socket.join(if id % 2 == 0 { "even" } else { "odd" }).unwrap();
        if id % 100 == 0 {
            clients.push(client);
        } else {
            // Kept open, and not checked.
            tokio::spawn(async move { read_all(&client).await });
        }
    }
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let target = hub.to("room");
                    // A union of rooms is in the same order.
                    let target = if n % 3 == 0 { target.to("even").to("odd") } else { target };
                    target.send(format!("{sender} {n}"));
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    let collecting: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(async move { read_until_end(&client).await }))
        .collect();
    tokio::task::spawn_blocking(|| senders.into_iter().for_each(|sender| sender.join().unwrap()))
        .await
        .unwrap();
    hub.send("end");
    let mut orders = Vec::new();
    for client in collecting {
        orders.push(timeout(TIMEOUT, client).await.unwrap().unwrap());
    }
    for order in &orders {
        assert_eq!(order.len(), SENDERS * EACH);
        assert!(*order == orders[0], "two members got two orders");
    }
    for sender in 0..SENDERS {
        let own: Vec<_> =
            orders[0].iter().filter(|it| it.starts_with(&format!("{sender} "))).collect();
        let sent: Vec<_> = (0..EACH).map(|n| format!("{sender} {n}")).collect();
        assert!(own.into_iter().eq(&sent));
    }
}

async fn messages_to_one_socket_arrive_in_order_by_each_call(over: Over) {
    let hub = Hub::new();
    let (socket, client) = enter_over(&hub, over, "a").await;
    socket.join("room").unwrap();
    for n in 0..900 {
        match n % 4 {
            0 => socket.send(n.to_string()).unwrap(),
            1 => assert_eq!(hub.ids(["a"]).send(n.to_string()).queued, 1),
            2 => _ = hub.to("room").send(n.to_string()),
            _ => _ = hub.send(n.to_string()),
        }
    }
    socket.send("end").unwrap();
    let expected: Vec<_> = (0..900).map(|n| n.to_string()).collect();
    assert_eq!(read_until_end(&client).await, expected);
}

async fn handlers_of_one_socket_run_in_sequence_and_of_several_concurrently(over: Over) {
    let hub = Hub::builder().state(Semaphore::new(0)).state(AtomicUsize::new(0)).build();
    hub.on_message(
        async |socket: Socket, State(running): State<AtomicUsize>, State(go): State<Semaphore>| {
            let together = running.fetch_add(1, Ordering::SeqCst) + 1;
            go.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            socket.send(together.to_string())
        },
    );
    let (running, go) = (hub.state::<AtomicUsize>().unwrap(), hub.state::<Semaphore>().unwrap());
    let (_a, one) = enter_over(&hub, over, "a").await;
    for _ in 0..3 {
        one.write("").await.unwrap();
    }
    wait_until(|| running.load(Ordering::SeqCst) == 1).await;
    let (_b, two) = enter_over(&hub, over, "b").await;
    two.write("").await.unwrap();
    wait_until(|| running.load(Ordering::SeqCst) == 2).await;
    go.add_permits(4);
    assert_eq!(read(&two).await, "2");
    let mut together = Vec::new();
    for _ in 0..3 {
        together.push(read(&one).await);
    }
    assert!(together.iter().all(|it| it == "1" || it == "2"), "{together:?}");
}

async fn while_a_handler_runs_pings_are_answered_messages_are_sent_and_the_end_is_noticed(
    over: Over,
) {
    let hub = Hub::builder().state(Semaphore::new(0)).state(EventLog::default()).build();
    hub.on_message(async |State(go): State<Semaphore>| go.acquire().await.unwrap().forget());
    hub.on_disconnect(async |State(log): State<EventLog>| log.note("disconnect"));
    let (socket, client) = enter_over(&hub, over, "a").await;
    client.write("work").await.unwrap();
    client.conn.ping().await.unwrap();
    socket.send("meanwhile").unwrap();
    assert_eq!(read(&client).await, "meanwhile");
    client.close().await.unwrap();
    wait_until(|| !socket.is_alive()).await;
    // `disconnect` is handled when the handler has returned.
    assert!(hub.socket("a").is_some() && hub.state::<EventLog>().unwrap().so_far().is_empty());
    hub.state::<Semaphore>().unwrap().add_permits(1);
    assert_eq!(hub.state::<EventLog>().unwrap().take(1).await, ["disconnect"]);
    wait_until(|| hub.socket("a").is_none()).await;
}

/// While a handler runs, `read` messages of this length are read.
async fn check_ahead(length: usize, read: u64) {
    const COUNT: usize = 1000;
    let hub = Hub::builder().state(Semaphore::new(0)).state(AtomicUsize::new(0)).build();
    hub.on_message(async |State(go): State<Semaphore>, State(done): State<AtomicUsize>| {
        go.acquire().await.unwrap().forget();
        done.fetch_add(1, Ordering::SeqCst);
    });
    let (socket, client) = enter(&hub, "a").await;
    let conn = socket.conn().unwrap();
    let writing = tokio::spawn(async move {
        for _ in 0..COUNT {
            client.write(Message::binary(vec![0; length])).await.unwrap();
        }
        client
    });
    wait_until(|| conn.stats().messages_in == read).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(conn.stats().messages_in, read);
    hub.state::<Semaphore>().unwrap().add_permits(COUNT);
    let done = hub.state::<AtomicUsize>().unwrap();
    wait_until(|| done.load(Ordering::SeqCst) == COUNT).await;
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_slow_handler_stops_its_peer_and_reads_little_ahead() {
    // One is being handled. 64 KiB are read ahead, with 128 bytes for each message.
    check_ahead(16 * 1024, 1 + 4).await;
    check_ahead(1, 1 + 509).await;
}

async fn connect_is_first_and_disconnect_is_once_and_last_with_rooms_and_attributes(over: Over) {
    let hub = Hub::builder().envelope().state(EventLog::default()).build();
    for event in [Event::Connect, Event::Message, Event::Close, Event::Error] {
        hub.on(event, async |event: EventPayload, State(log): State<EventLog>| {
            log.note(event.name());
        });
    }
    hub.on_any(async |event: Event, State(log): State<EventLog>| log.note(event));
    hub.on_connect(async |socket: Socket| {
        // Other tasks run meanwhile; messages of the peer wait.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        socket.attributes().set("n", 1_u8);
        socket.join("room")
    });
    hub.on_disconnect(async |socket: Socket, State(log): State<EventLog>| {
        let there = (socket.is_in("room"), socket.attributes().named::<u8>("n"));
        log.note(format!("disconnect {there:?} {}", socket.hub().to("room").count()));
    });
    hub.on_room_leave(async |socket: Socket, Room(room): Room, State(log): State<EventLog>| {
        log.note(format!("leaves {room} {}", socket.is_in(&*room)));
    });
    let log = hub.state::<EventLog>().unwrap();
    // An event, something that is none, and a message, before the socket exists.
    let (sent, noted) = match over {
        Over::Plain => (["early", "no event", "text"], ["message"; 3]),
        Over::Envelope => (
            [r#"{"event":"early"}"#, "no event", r#"{"event":"last"}"#],
            ["early", "error", "last"],
        ),
        Over::SocketIo => {
            let reserved = r#"42["ping"]"#;
            ([r#"42["early"]"#, reserved, r#"42["message",1]"#], ["early", "error", "message"])
        }
    };
    for by_us in [false, true] {
        let (client, server) = pair();
        let client = client_over(over, client).await;
        for text in sent {
            client.conn.write(text).await.unwrap();
        }
        let serving = serve_over(&hub, over, server);
        assert_eq!(log.take(1).await, ["connect"]);
        assert_eq!(log.take(3).await, noted);
        let mut expected = vec![];
        if by_us {
            hub.close_all(StatusCode::NORMAL_CLOSURE, "").unwrap();
            expected.push("close");
            // A client of Socket.IO stays connected when it has to leave a namespace.
            while let Ok(message) = timeout(TIMEOUT, client.conn.read()).await.unwrap() {
                if (over, message.as_text()) == (Over::SocketIo, Some("41")) {
                    client.close().await.unwrap();
                }
            }
        } else {
            client.close().await.unwrap();
        }
        timeout(TIMEOUT, serving).await.unwrap().unwrap();
        expected.extend(["disconnect (true, Some(1)) 1", "leaves room false"]);
        assert_eq!(log.take(expected.len()).await, expected);
    }
    assert!(hub.is_empty() && hub.rooms().is_empty());
}

async fn messages_of_a_connect_handler_are_delivered_before_it_returns(over: Over) {
    let hub = Hub::new();
    // Many times the limit of a send queue; the task writes whenever the handler awaits.
    hub.on_connect(async |socket: Socket| {
        for n in 0..10_000 {
            if n % 1000 == 0 {
                wait_until(|| socket.stats().messages == 0).await;
            }
            socket.send(n.to_string()).unwrap();
        }
        socket.send("end")
    });
    let (client, server) = pair();
    serve_over(&hub, over, server);
    let client = client_over(over, client).await;
    assert_eq!(read_until_end(&client).await.len(), 10_000);
}

#[tokio::test]
async fn a_socket_whose_task_is_dropped_leaves_the_hub_and_disconnects_once() {
    let hub = Hub::builder().state(EventLog::default()).build();
    hub.on_disconnect(
        async |reason: DisconnectReason, socket: Socket, State(log): State<EventLog>| {
            log.note(format!("{reason:?} {}", socket.is_in("room")));
        },
    );
    let (client, server) = pair();
    let serving = tokio::spawn(hub.handler()(server));
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    socket.join("room").unwrap();
    serving.abort();
    assert_eq!(hub.state::<EventLog>().unwrap().take(1).await, ["Dropped true"]);
    wait_until(|| hub.is_empty()).await;
    assert!(hub.state::<EventLog>().unwrap().so_far().is_empty());
    assert_eq!(read_all(&client).await.1, Some(1001));
    assert!(hub.rooms().is_empty());
    assert!(socket.join("room").is_err());
    assert_eq!(hub.drain(TIMEOUT).await.remaining, 0);
}

#[tokio::test(start_paused = true)]
async fn every_message_is_counted_when_the_transport_fails() {
    let hub = Hub::new();
    // The peer is connected, sends nothing, and takes nothing.
    let (_silent, input) = tokio::io::duplex(1);
    let (output, _) = tokio::io::duplex(1);
    let io = tokio::io::join(input, output);
    let config = Config::new();
    let conn = Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), config);
    hub.on_connect(async |socket: Socket| {
        for n in 0..5 {
            socket.send(format!("{n}")).unwrap();
        }
    });
    timeout(TIMEOUT, hub.serve(conn)).await.unwrap();
    let stats = hub.stats();
    assert_eq!((stats.queued, stats.written, stats.waiting()), (5, 5, 0), "{stats:?}");
}

#[tokio::test]
async fn a_handle_keeps_neither_the_connection_nor_values_of_the_application() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    let dear = Arc::new(());
    socket.attributes().insert(Arc::clone(&dear));
    // Attributes and handlers may contain the socket itself.
    socket.attributes().set("self", socket.clone());
    let held = (socket.clone(), Arc::clone(&dear));
    socket.on("never", move || {
        let _held = &held;
        async {}
    });
    assert_eq!(Arc::strong_count(&dear), 3);
    client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    wait_until(|| Arc::strong_count(&dear) == 1).await;
    assert!(socket.conn().is_none());
    socket.on("late", move || {
        let _held = &dear;
        async {}
    });
}

#[tokio::test]
async fn presence_is_the_members_of_a_room_and_its_join_and_leave_events() {
    let hub = Hub::builder().envelope().build();
    hub.on_room_join(async |socket: Socket, Room(room): Room| {
        socket.to(&*room).emit("came", &socket.id()).map(drop)
    });
    hub.on_room_leave(async |socket: Socket, Room(room): Room| {
        socket.to(&*room).emit("went", &socket.id()).map(drop)
    });
    let (a, watching) = enter(&hub, "a").await;
    a.join("room").unwrap();
    let (b, other) = enter(&hub, "b").await;
    b.join("room").unwrap();
    assert_eq!(read(&watching).await, r#"{"event":"came","data":"b"}"#);
    let mut present: Vec<_> = hub.to("room").sockets().iter().map(Socket::id).collect();
    present.sort();
    assert_eq!(present, ["a", "b"]);
    assert_eq!((hub.to("room").count(), a.to("room").count()), (2, 1));
    b.leave("room");
    assert_eq!(read(&watching).await, r#"{"event":"went","data":"b"}"#);
    b.join("room").unwrap();
    assert_eq!(read(&watching).await, r#"{"event":"came","data":"b"}"#);
    other.close_now();
    assert_eq!(read(&watching).await, r#"{"event":"went","data":"b"}"#);
    assert_eq!(hub.to("room").count(), 1);
}

#[tokio::test]
async fn typed_data_is_deserialised_and_invalid_data_is_an_error() {
    let hub = Hub::builder().envelope().no_error_events().build();
    hub.on("add", async |socket: Socket, Json((a, b)): Json<(i32, i32)>| {
        socket.emit("sum", &(a + b))
    });
    hub.on("maybe", async |socket: Socket, n: Option<Json<u8>>| {
        socket.emit("maybe", &n.map(|Json(n)| n))
    });
    hub.on_error(async |socket: Socket, error: EventError| {
        let kind = match error {
            EventError::InvalidArgument { .. } => "unfit",
            EventError::Malformed(_) => "malformed",
            _ => "other",
        };
        socket.emit("wrong", kind)
    });
    let (socket, client) = enter(&hub, "a").await;
    for (sent, got) in [
        (r#"{"event":"add","data":[1,2]}"#, r#"{"event":"sum","data":3}"#),
        (r#"{"event":"add","data":[1]}"#, r#"{"event":"wrong","data":"unfit"}"#),
        (r#"{"event":"maybe","data":3}"#, r#"{"event":"maybe","data":3}"#),
        (r#"{"event":"maybe","data":-3}"#, r#"{"event":"maybe","data":null}"#),
        (r#"{"event":"connect"}"#, r#"{"event":"wrong","data":"malformed"}"#),
        ("{", r#"{"event":"wrong","data":"malformed"}"#),
    ] {
        client.write(sent).await.unwrap();
        assert_eq!(read(&client).await, got);
    }
    assert!(matches!(hub.emit("connect", "x"), Err(EncodeError::BadName(_))));
    assert!(matches!(hub.emit("x", &f64::NAN).map(|it| it.queued), Ok(1)));
    let keys = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(hub.emit("x", &keys), Err(EncodeError::Json(_))));
    assert!(matches!(Hub::new().emit("x", "x"), Err(EncodeError::NoEnvelope)));
    drop(socket);
}

#[tokio::test]
async fn an_argument_that_an_event_does_not_have_is_an_error_that_names_it() {
    let hub = Hub::builder().state(EventLog::default()).build();
    hub.on_error(async |error: EventError, State(log): State<EventLog>| log.note(error));
    hub.on_connect(async |_: Message| {});
    hub.on_connect(async |_: Room| {});
    hub.on_message(async |_: String| {});
    hub.on_message(async |_: DisconnectReason| {});
    hub.on_message(async |_: EventError| {});
    hub.on_message(async |_: State<u8>| {});
    hub.on_message(async |_: Attribute<u8>| {});
    let log = hub.state::<EventLog>().unwrap();
    let check = async |expected: &[&str]| {
        for (error, expected) in log.take(expected.len()).await.iter().zip(expected) {
            assert!(error.contains(expected), "{error}");
        }
    };
    let (_socket, client) = enter(&hub, "a").await;
    check(&["not a message event", "not a room event"]).await;
    client.write(Message::binary("\u{e9}".as_bytes()[..1].to_vec())).await.unwrap();
    let missing = ["utf-8", "has not ended", "no error", "no state of type `u8`", "type `u8`"];
    check(&missing).await;
}

#[tokio::test]
async fn a_message_is_an_argument_as_it_is_as_text_and_as_bytes() {
    let hub = Hub::builder().state(EventLog::default()).build();
    hub.on_message(
        async |message: Message, text: String, bytes: Bytes, State(log): State<EventLog>| {
            log.note(message.as_text() == Some(&text) && bytes == text);
        },
    );
    let (_socket, client) = enter(&hub, "a").await;
    client.write("käse").await.unwrap();
    assert_eq!(hub.state::<EventLog>().unwrap().take(1).await, ["true"]);
}

#[tokio::test]
async fn what_handlers_get_is_shown_without_its_data() {
    let hub = Hub::builder().state(EventLog::default()).build();
    hub.on_message(async |event: EventPayload, State(log): State<EventLog>| {
        log.note(format!("{event:?}"));
    });
    let (socket, client) = enter(&hub, "a").await;
    client.write("secret").await.unwrap();
    let event = hub.state::<EventLog>().unwrap().take(1).await.remove(0);
    for (shown, parts) in [
        (event, [r#"id: "a""#, "data: 6"]),
        (format!("{socket:?}"), [r#"id: "a""#, "state: Connected"]),
        (format!("{hub:?}"), ["Hub {", "connected: 1"]),
        (format!("{:?}", Hub::builder().envelope()), ["HubBuilder {", "states: 0"]),
    ] {
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn an_attribute_of_the_connection_is_an_argument_of_handlers() {
    #[derive(Clone)]
    struct User(String);
    let hub = Hub::new();
    hub.middleware(async |socket: Socket| {
        let known =
            socket.attributes().get::<User>().ok_or_else(|| ConnectRejection::new("who?"))?;
        Ok(socket.set_id(known.0)?)
    });
    hub.on_message(async |socket: Socket, Attribute(User(name)): Attribute<User>| {
        socket.attributes().remove::<User>();
        socket.send(name)
    });
    hub.on_error(async |socket: Socket, error: EventError| socket.send(error.to_string()));
    let (client, server) = pair();
    server.attributes().insert(User("ann".to_owned()));
    server.attributes().set("own", 1);
    let values = server.clone();
    tokio::spawn(hub.handler()(server));
    client.write("who am I?").await.unwrap();
    assert_eq!(read(&client).await, "ann");
    client.write("and now?").await.unwrap();
    let why = read(&client).await;
    assert!(why.contains("has no attribute of type") && why.contains("User"), "{why}");
    let socket = hub.socket("ann").unwrap();
    assert_eq!(socket.attributes().named::<i32>("own"), Some(1));
    // The socket has a copy of the attributes.
    assert!(values.attributes().get::<User>().is_some());

    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    assert_eq!(read_all(&client).await.1, Some(1008));
}

#[tokio::test]
async fn two_hubs_share_nothing() {
    let (one, two) = (Hub::new(), Hub::new());
    two.on_message(async |socket: Socket| socket.send("two"));
    let (_a, client) = enter(&one, "a").await;
    let (b, other) = enter(&two, "a").await;
    b.join("room").unwrap();
    assert_eq!(one.to("room").send("never").matched, 0);
    assert_eq!(one.send("one").queued, 1);
    client.write("").await.unwrap();
    other.write("").await.unwrap();
    assert_eq!((read(&client).await, read(&other).await), ("one".into(), "two".into()));
}

#[tokio::test]
async fn a_handler_may_remove_itself_and_others() {
    let hub = Hub::new();
    let slot = Arc::new(std::sync::OnceLock::new());
    let ids = Arc::clone(&slot);
    let first = hub.on_message(move |socket: Socket| {
        let ids = Arc::clone(&ids);
        async move {
            let [own, other] = *ids.get().unwrap();
            assert!(socket.hub().off(own) && socket.hub().off(other));
            socket.send("once")
        }
    });
    let second = hub.on_message(async |socket: Socket| socket.send("once more"));
    slot.set([first, second]).unwrap();
    hub.on_message(async |socket: Socket| socket.send("always"));
    let (_a, client) = enter(&hub, "a").await;
    client.write("").await.unwrap();
    client.write("").await.unwrap();
    // A dispatch calls the handlers that it began with.
    for expected in ["once", "once more", "always", "always"] {
        assert_eq!(read(&client).await, expected);
    }
}

/// A value of the application that runs a function when dropped.
struct RunOnDrop(Box<dyn Fn() + Send + Sync>);

impl Drop for RunOnDrop {
    fn drop(&mut self) {
        self.0();
    }
}

impl RunOnDrop {
    fn new(run: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(run)))
    }
}

/// `remove` removes a handler of `event`, and drops the values in it.
async fn check_removed(event: &str, remove: fn(&Hub, ListenerId, &str) -> bool) {
    let hub = Hub::new();
    let (socket, _client) = enter(&hub, "a").await;
    let on_drop = RunOnDrop::new(move || {
        socket.hub().on("other", async || {});
        assert!(socket.fire("other", ""));
    });
    let id = hub.on(event, move || {
        let _held = &on_drop;
        async {}
    });
    let event = event.to_owned();
    assert!(run_in_thread(move || remove(&hub, id, &event)).await);
}

#[tokio::test]
async fn a_value_in_a_removed_handler_may_use_the_hub_when_dropped() {
    for event in ["message", "custom"] {
        check_removed(event, |hub, id, _| hub.off(id)).await;
        check_removed(event, |hub, _, event| hub.off_all(event) == 1).await;
    }
}

#[tokio::test]
async fn an_attribute_of_the_connection_may_use_the_socket_when_dropped() {
    run_in_thread_async(async || {
        let hub = Hub::new();
        let (socket, client) = enter(&hub, "a").await;
        let (asked, conn) = (socket.clone(), socket.conn().unwrap());
        conn.attributes().insert(RunOnDrop::new(move || assert!(asked.peer_addr().is_none())));
        drop(conn);
        client.close_now();
        wait_until(|| hub.is_empty() && socket.conn().is_none()).await;
    })
    .await;
}

async fn sockets_of_a_broadcast_join_leave_and_close_together(over: Over) {
    let hub = Hub::new();
    let (_a, one) = enter_over(&hub, over, "a").await;
    let (b, two) = enter_over(&hub, over, "b").await;
    assert_eq!(hub.everyone().join("x"), 2);
    assert_eq!(b.to("x").join("y"), 1);
    assert_eq!(hub.to("y").leave("x"), 1);
    assert_eq!((hub.to("x").count(), hub.to("y").count()), (1, 1));
    assert_eq!(hub.to("x").close(StatusCode::POLICY_VIOLATION, "out").unwrap(), 1);
    assert_eq!(read_all(&two).await.1, Some(1008));
    wait_until(|| hub.len() == 1).await;
    assert_eq!(hub.to("y").send("end").queued, 1);
    assert!(read_until_end(&one).await.is_empty());
}

async fn events_and_messages_alternate(over: Over) {
    let hub = Hub::builder().state(AtomicUsize::new(0)).build();
    // It fires at itself without end.
    hub.on("again", async |socket: Socket| _ = socket.fire("again", ""));
    hub.on_message(async |socket: Socket, message: Message| socket.send(message));
    let (socket, client) = enter_over(&hub, over, "a").await;
    assert!(socket.fire("again", ""));
    client.write("log").await.unwrap();
    assert_eq!(read(&client).await, "log");
    hub.off_all("again");
}

#[tokio::test]
async fn events_for_a_handler_that_hangs_are_bounded() {
    let hub = Hub::builder().state(Semaphore::new(0)).build();
    hub.on("hang", async |State(go): State<Semaphore>| drop(go.acquire().await));
    let (socket, _client) = enter(&hub, "a").await;
    let fired = (0..5000).filter(|_| socket.fire("hang", "")).count();
    assert!((1024..=1026).contains(&fired), "{fired}");
    assert!(!socket.fire("without a handler", ""));
}

async fn a_broadcast_to_ids_reaches_the_sockets_that_have_them_when_it_is_sent(over: Over) {
    let hub = Hub::new();
    let target = hub.ids(["a", "b"]).to("room");
    assert_eq!(target.count(), 0);
    let (a, one) = enter_over(&hub, over, "a").await;
    let (c, other) = enter_over(&hub, over, "c").await;
    assert_eq!(target.send("to a").queued, 1);
    c.join("room").unwrap();
    assert_eq!(target.send("to a and the room").queued, 2);
    a.set_id("elsewhere").unwrap();
    c.set_id("b").unwrap();
    assert_eq!((target.count(), target.except("b").count()), (1, 0));
    hub.send("end");
    assert_eq!(read_until_end(&one).await, ["to a", "to a and the room"]);
    assert_eq!(read_until_end(&other).await, ["to a and the room"]);
}

#[tokio::test]
async fn names_of_own_events_are_these_events_and_a_peer_cannot_send_them() {
    let hub = Hub::builder().envelope().state(EventLog::default()).build();
    hub.on("room_join", async |State(log): State<EventLog>| log.note("room_join"));
    hub.on("room_leave", async |State(log): State<EventLog>| log.note("room_leave"));
    hub.on_error(async |error: EventError, State(log): State<EventLog>| {
        log.note(matches!(error, EventError::Malformed(_)));
    });
    let (socket, client) = enter(&hub, "a").await;
    let log = hub.state::<EventLog>().unwrap();
    socket.join("x").unwrap();
    socket.leave("x");
    assert_eq!(log.take(2).await, ["room_join", "room_leave"]);
    for name in ["room_join", "room_leave"] {
        client.write(format!(r#"{{"event":"{name}"}}"#)).await.unwrap();
        assert_eq!(log.take(1).await, ["true"]);
        assert!(hub.emit(name, "").is_err());
    }
}

#[tokio::test]
async fn middleware_gets_an_error_for_a_taken_id() {
    let hub = Hub::new();
    let (_a, _client) = enter(&hub, "a").await;
    hub.middleware(async |socket: Socket| {
        assert_eq!(socket.set_id("a"), Err(SetIdError::Taken));
        socket.set_id("another").map_err(|error| ConnectRejection::new(error.to_string()))
    });
    let (_client, server) = pair();
    tokio::spawn(hub.handler()(server));
    wait_until(|| hub.socket("another").is_some()).await;
}

#[tokio::test]
async fn middleware_that_needs_a_taken_id_rejects_and_says_so() {
    let hub = Hub::new();
    let (_a, _client) = enter(&hub, "a").await;
    hub.middleware(async |socket: Socket| Ok(socket.set_id("a")?));
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    let close = timeout(TIMEOUT, client.closed()).await.unwrap().received.unwrap();
    assert_eq!((close.code, &*close.reason), (StatusCode::POLICY_VIOLATION, "the id is taken"));
    assert_eq!(hub.everyone().count(), 1);
}

#[tokio::test]
async fn middleware_that_panics_rejects_with_1011_and_the_hub_continues() {
    let hub = Hub::new();
    hub.middleware(async |socket: Socket| {
        socket.attributes().insert(());
        panic!("later")
    });
    let (client, server) = pair();
    let serving = tokio::spawn(hub.handler()(server));
    assert_eq!(read_all(&client).await, (vec![], Some(1011)));
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    assert_eq!((hub.stats().rejected, hub.stats().connected), (1, 0));
    assert_eq!(hub.drain(TIMEOUT).await.remaining, 0);
}

#[tokio::test(start_paused = true)]
async fn keepalive_detects_a_silent_peer() {
    let hub = Hub::builder().state(EventLog::default()).build();
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(format!("{:?}", matches!(reason, DisconnectReason::Lost(_))));
    });
    let keepalive = Keepalive::every(Duration::from_secs(10));
    let (_silent, server) = with_silent_peer(Config::new().keepalive(keepalive));
    let started = Instant::now();
    hub.serve(server).await;
    assert_eq!(hub.state::<EventLog>().unwrap().so_far(), ["true"]);
    assert!(started.elapsed() <= Duration::from_secs(30), "{:?}", started.elapsed());
}
