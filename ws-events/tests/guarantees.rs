//! Does the hub keep what it guarantees of order, rooms and lifecycle?
//!
//! Each guarantee of the crate's documentation has its test here.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::{Heard, PATIENCE, apart, apart_async, enter, read, read_all, until_end, wait_until};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Keepalive, Message, Role, StatusCode, pair, pair_with};
use ws_events::{
    Attribute, EncodeError, Event, EventPayload, Fault, Hub, Json, ListenerId, Reason, Refusal,
    Room, SetIdError, Socket, State,
};

#[tokio::test]
async fn a_union_of_rooms_reaches_each_once_but_for_the_excepted() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for (id, rooms) in [("a", "x"), ("b", "xy"), ("c", "y"), ("d", "z"), ("e", "")] {
        let (socket, client) = enter(&hub, id).await;
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
        assert_eq!(until_end(client).await, expected);
    }
}

#[tokio::test]
async fn who_joins_before_a_message_gets_it_and_who_leaves_before_does_not() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    for n in 0..200 {
        socket.join("room").unwrap();
        assert_eq!(hub.to("room").send(n.to_string()).queued, 1);
        assert!(socket.leave("room") && !socket.leave("room"));
        assert_eq!(hub.to("room").send("never").matched, 0);
    }
    assert!(hub.rooms().is_empty());
    socket.send("end").unwrap();
    let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(until_end(&client).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_in_a_room_hear_several_senders_in_one_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 200;
    let hub = Hub::new();
    let mut clients = Vec::new();
    for id in 0..600 {
        let (socket, client) = enter(&hub, &id.to_string()).await;
        socket.join("room").unwrap();
        socket.join(if id % 2 == 0 { "even" } else { "odd" }).unwrap();
        if id % 100 == 0 {
            clients.push(client);
        } else {
            // Kept open, and not looked at.
            tokio::spawn(async move { read_all(&client).await });
        }
    }
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let target = hub.to("room");
                    // A union is in the same order.
                    let target = if n % 3 == 0 { target.to("even").to("odd") } else { target };
                    target.send(format!("{sender} {n}"));
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    let collecting: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(async move { until_end(&client).await }))
        .collect();
    tokio::task::spawn_blocking(|| senders.into_iter().for_each(|sender| sender.join().unwrap()))
        .await
        .unwrap();
    hub.send("end");
    let mut orders = Vec::new();
    for client in collecting {
        orders.push(timeout(PATIENCE, client).await.unwrap().unwrap());
    }
    for order in &orders {
        assert_eq!(order.len(), SENDERS * EACH);
        assert!(*order == orders[0], "two members heard two orders");
    }
    for sender in 0..SENDERS {
        let own: Vec<_> =
            orders[0].iter().filter(|it| it.starts_with(&format!("{sender} "))).collect();
        let sent: Vec<_> = (0..EACH).map(|n| format!("{sender} {n}")).collect();
        assert!(own.into_iter().eq(&sent));
    }
}

#[tokio::test]
async fn what_is_sent_to_one_socket_arrives_in_order_however_it_is_sent() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    socket.join("room").unwrap();
    for n in 0..900 {
        match n % 4 {
            0 => socket.send(n.to_string()).unwrap(),
            1 => hub.send_to("a", n.to_string()).unwrap(),
            2 => _ = hub.to("room").send(n.to_string()),
            _ => _ = hub.send(n.to_string()),
        }
    }
    socket.send("end").unwrap();
    let expected: Vec<_> = (0..900).map(|n| n.to_string()).collect();
    assert_eq!(until_end(&client).await, expected);
}

#[tokio::test]
async fn handlers_of_one_socket_run_one_after_the_other_and_of_several_at_once() {
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
    let (_a, one) = enter(&hub, "a").await;
    for _ in 0..3 {
        one.write("").await.unwrap();
    }
    wait_until(|| running.load(Ordering::SeqCst) == 1).await;
    let (_b, two) = enter(&hub, "b").await;
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

#[tokio::test]
async fn while_a_handler_works_pings_are_answered_what_is_sent_leaves_and_an_end_is_seen() {
    let hub = Hub::builder().state(Semaphore::new(0)).state(Heard::default()).build();
    hub.on_message(async |State(go): State<Semaphore>| go.acquire().await.unwrap().forget());
    hub.on_disconnect(async |State(heard): State<Heard>| heard.note("disconnect"));
    let (socket, client) = enter(&hub, "a").await;
    client.write("work").await.unwrap();
    client.ping().await.unwrap();
    socket.send("meanwhile").unwrap();
    assert_eq!(read(&client).await, "meanwhile");
    client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    wait_until(|| !socket.is_alive()).await;
    // It is told when the handler is done.
    assert!(hub.socket("a").is_some() && hub.state::<Heard>().unwrap().so_far().is_empty());
    hub.state::<Semaphore>().unwrap().add_permits(1);
    assert_eq!(hub.state::<Heard>().unwrap().take(1).await, ["disconnect"]);
    wait_until(|| hub.socket("a").is_none()).await;
}

/// So many messages of this length, to a handler that works: so many of them are read.
async fn check_ahead(length: usize, read: u64) {
    const COUNT: usize = 100;
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
async fn a_handler_that_works_for_long_stops_its_peer_and_costs_little_memory() {
    // One is handled. Ahead are 64 KiB, or 32 messages.
    check_ahead(16 * 1024, 1 + 4).await;
    check_ahead(1, 1 + 32).await;
}

#[tokio::test]
async fn connect_is_first_disconnect_once_and_last_with_rooms_and_attributes_there() {
    let hub = Hub::builder().envelope().state(Heard::default()).build();
    for event in [Event::Connect, Event::Message, Event::Close, Event::Error] {
        hub.on(event, async |event: EventPayload, State(heard): State<Heard>| {
            heard.note(event.name());
        });
    }
    hub.on_any(async |event: Event, State(heard): State<Heard>| heard.note(event));
    hub.on_connect(async |socket: Socket| {
        // Others run while it works; what the peer has sent waits.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        socket.attributes().set("n", 1_u8);
        socket.join("room")
    });
    hub.on_disconnect(async |socket: Socket, State(heard): State<Heard>| {
        let there = (socket.is_in("room"), socket.attributes().named::<u8>("n"));
        heard.note(format!("disconnect {there:?} {}", socket.hub().to("room").count()));
    });
    hub.on_room_leave(async |socket: Socket, Room(room): Room, State(heard): State<Heard>| {
        heard.note(format!("leaves {room} {}", socket.is_in(&*room)));
    });
    let heard = hub.state::<Heard>().unwrap();
    for by_us in [false, true] {
        let (client, server) = pair();
        client.write(r#"{"event":"early"}"#).await.unwrap();
        client.write("no event").await.unwrap();
        client.write(Message::binary("binary")).await.unwrap();
        let serving = tokio::spawn(hub.member()(server));
        let mut expected = vec!["connect", "early", "error", "message"];
        assert_eq!(heard.take(4).await, expected);
        if by_us {
            hub.close_all(StatusCode::NORMAL_CLOSURE, "").unwrap();
            read_all(&client).await;
            expected = vec!["close"];
        } else {
            client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            expected = vec![];
        }
        timeout(PATIENCE, serving).await.unwrap().unwrap();
        expected.extend(["disconnect (true, Some(1)) 1", "leaves room false"]);
        assert_eq!(heard.take(expected.len()).await, expected);
    }
    assert!(hub.is_empty() && hub.rooms().is_empty());
}

#[tokio::test]
async fn what_connect_handlers_send_is_delivered_also_before_they_return() {
    let hub = Hub::new();
    // Many times what an outbox holds; the task writes whenever the handler waits.
    hub.on_connect(async |socket: Socket| {
        for n in 0..10_000 {
            if n % 1000 == 0 {
                tokio::task::yield_now().await;
            }
            socket.send(n.to_string()).unwrap();
        }
        socket.send("end")
    });
    let (client, server) = pair();
    tokio::spawn(hub.member()(server));
    assert_eq!(until_end(&client).await.len(), 10_000);
}

#[tokio::test]
async fn a_dropped_task_still_leaves_the_hub_and_tells_disconnect_once() {
    let hub = Hub::builder().state(Heard::default()).build();
    hub.on_disconnect(async |reason: Reason, socket: Socket, State(heard): State<Heard>| {
        heard.note(format!("{reason:?} {}", socket.is_in("room")));
    });
    let (client, server) = pair();
    let serving = tokio::spawn(hub.member()(server));
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    socket.join("room").unwrap();
    serving.abort();
    assert_eq!(hub.state::<Heard>().unwrap().take(1).await, ["Dropped true"]);
    wait_until(|| hub.is_empty()).await;
    assert!(hub.state::<Heard>().unwrap().so_far().is_empty());
    assert_eq!(read_all(&client).await.1, Some(1001));
    assert!(hub.rooms().is_empty());
    assert!(socket.join("room").is_err());
    assert_eq!(hub.drain(PATIENCE).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_is_left_and_every_message_accounted_for() {
    let hub = Hub::new();
    // The peer is there, says nothing, and takes nothing.
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
    timeout(PATIENCE, hub.serve(conn)).await.unwrap();
    let stats = hub.stats();
    assert_eq!((stats.queued, stats.written, stats.waiting()), (5, 5, 0), "{stats:?}");
}

#[tokio::test]
async fn who_keeps_a_handle_keeps_no_connection_and_nothing_of_the_application() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    let dear = Arc::new(());
    socket.attributes().insert(Arc::clone(&dear));
    // Attributes and handlers may hold the socket itself.
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
async fn presence_is_who_is_in_a_room_and_who_comes_and_goes() {
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
async fn typed_events_are_taken_from_json_and_what_does_not_fit_is_an_error() {
    let hub = Hub::builder().envelope().build();
    hub.on("add", async |socket: Socket, Json((a, b)): Json<(i32, i32)>| {
        socket.emit("sum", &(a + b))
    });
    hub.on("maybe", async |socket: Socket, n: Option<Json<u8>>| {
        socket.emit("maybe", &n.map(|Json(n)| n))
    });
    hub.on_error(async |socket: Socket, fault: Fault| {
        let kind = match fault {
            Fault::Unfit { .. } => "unfit",
            Fault::Malformed(_) => "malformed",
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
async fn what_is_kept_with_a_connection_before_is_an_attribute_that_handlers_ask_for() {
    #[derive(Clone)]
    struct User(String);
    let hub = Hub::new();
    hub.middleware(async |socket: Socket| {
        let known = socket.attributes().get::<User>().ok_or_else(|| Refusal::new("who?"))?;
        Ok(socket.set_id(known.0)?)
    });
    hub.on_message(async |socket: Socket, Attribute(User(name)): Attribute<User>| {
        socket.attributes().remove::<User>();
        socket.send(name)
    });
    hub.on_error(async |socket: Socket, fault: Fault| socket.send(fault.to_string()));
    let (client, server) = pair();
    server.attributes().insert(User("ann".to_owned()));
    server.attributes().set("own", 1);
    let values = server.clone();
    tokio::spawn(hub.member()(server));
    client.write("who am I?").await.unwrap();
    assert_eq!(read(&client).await, "ann");
    client.write("and now?").await.unwrap();
    let why = read(&client).await;
    assert!(why.contains("has no attribute of type") && why.contains("User"), "{why}");
    let socket = hub.socket("ann").unwrap();
    assert_eq!(socket.attributes().named::<i32>("own"), Some(1));
    // Each has its own from then on.
    assert!(values.attributes().get::<User>().is_some());

    let (client, server) = pair();
    tokio::spawn(hub.member()(server));
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
    // What is under way is finished as it began.
    for expected in ["once", "once more", "always", "always"] {
        assert_eq!(read(&client).await, expected);
    }
}

/// Something of the application that does something when it goes.
struct Goodbye(Box<dyn Fn() + Send + Sync>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0();
    }
}

impl Goodbye {
    fn new(say: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(say)))
    }
}

/// `remove` removes a handler of `event` whose last handle this is.
async fn check_removed(event: &str, remove: fn(&Hub, ListenerId, &str) -> bool) {
    let hub = Hub::new();
    let (socket, _client) = enter(&hub, "a").await;
    let goodbye = Goodbye::new(move || {
        socket.hub().on("other", async || {});
        assert!(socket.fire("other", ""));
    });
    let id = hub.on(event, move || {
        let _held = &goodbye;
        async {}
    });
    let event = event.to_owned();
    assert!(apart(move || remove(&hub, id, &event)).await);
}

#[tokio::test]
async fn what_a_handler_holds_may_use_the_hub_when_the_handler_is_removed() {
    for event in ["message", "custom"] {
        check_removed(event, |hub, id, _| hub.off(id)).await;
        check_removed(event, |hub, _, event| hub.off_all(event) == 1).await;
    }
}

#[tokio::test]
async fn what_is_kept_with_a_connection_may_ask_the_socket_when_it_goes() {
    apart_async(async || {
        let hub = Hub::new();
        let (socket, client) = enter(&hub, "a").await;
        let (asked, conn) = (socket.clone(), socket.conn().unwrap());
        conn.attributes().insert(Goodbye::new(move || assert!(asked.peer_addr().is_none())));
        drop(conn);
        client.close_now();
        wait_until(|| hub.is_empty() && socket.conn().is_none()).await;
    })
    .await;
}

#[tokio::test]
async fn targets_join_leave_and_close_together() {
    let hub = Hub::new();
    let (_a, one) = enter(&hub, "a").await;
    let (b, two) = enter(&hub, "b").await;
    assert_eq!(hub.everyone().join("x"), 2);
    assert_eq!(b.to("x").join("y"), 1);
    assert_eq!(hub.to("y").leave("x"), 1);
    assert_eq!((hub.to("x").count(), hub.to("y").count()), (1, 1));
    assert_eq!(hub.to("x").close(StatusCode::POLICY_VIOLATION, "out").unwrap(), 1);
    assert_eq!(read_all(&two).await.1, Some(1008));
    wait_until(|| hub.len() == 1).await;
    assert_eq!(hub.to("y").send("end").queued, 1);
    assert!(until_end(&one).await.is_empty());
}

#[tokio::test]
async fn who_is_told_and_who_speaks_take_turns() {
    let hub = Hub::builder().state(AtomicUsize::new(0)).build();
    // It never stops telling itself.
    hub.on("again", async |socket: Socket| _ = socket.fire("again", ""));
    hub.on_message(async |socket: Socket, message: Message| socket.send(message));
    let (socket, client) = enter(&hub, "a").await;
    assert!(socket.fire("again", ""));
    client.write("heard").await.unwrap();
    assert_eq!(read(&client).await, "heard");
    hub.off_all("again");
}

#[tokio::test]
async fn events_for_a_handler_that_hangs_are_bounded() {
    let hub = Hub::builder().state(Semaphore::new(0)).build();
    hub.on("hang", async |State(go): State<Semaphore>| drop(go.acquire().await));
    let (socket, _client) = enter(&hub, "a").await;
    let fired = (0..5000).filter(|_| socket.fire("hang", "")).count();
    assert!((1024..=1026).contains(&fired), "{fired}");
    assert!(!socket.fire("nobody hears this", ""));
}

#[tokio::test]
async fn a_target_is_who_has_the_ids_when_something_is_done() {
    let hub = Hub::new();
    let target = hub.ids(["a", "b"]).to("room");
    assert_eq!(target.count(), 0);
    let (a, one) = enter(&hub, "a").await;
    let (c, other) = enter(&hub, "c").await;
    assert_eq!(target.send("to a").queued, 1);
    c.join("room").unwrap();
    assert_eq!(target.send("to a and the room").queued, 2);
    a.set_id("elsewhere").unwrap();
    c.set_id("b").unwrap();
    assert_eq!((target.count(), target.except("b").count()), (1, 0));
    hub.send("end");
    assert_eq!(until_end(&one).await, ["to a", "to a and the room"]);
    assert_eq!(until_end(&other).await, ["to a and the room"]);
}

#[tokio::test]
async fn all_names_of_the_hub_s_own_events_mean_these_and_no_peer_sends_them() {
    let hub = Hub::builder().envelope().state(Heard::default()).build();
    hub.on("room_join", async |State(heard): State<Heard>| heard.note("room_join"));
    hub.on("room_leave", async |State(heard): State<Heard>| heard.note("room_leave"));
    hub.on_error(async |fault: Fault, State(heard): State<Heard>| {
        heard.note(matches!(fault, Fault::Malformed(_)));
    });
    let (socket, client) = enter(&hub, "a").await;
    let heard = hub.state::<Heard>().unwrap();
    socket.join("x").unwrap();
    socket.leave("x");
    assert_eq!(heard.take(2).await, ["room_join", "room_leave"]);
    for name in ["room_join", "room_leave"] {
        client.write(format!(r#"{{"event":"{name}"}}"#)).await.unwrap();
        assert_eq!(heard.take(1).await, ["true"]);
        assert!(hub.emit(name, "").is_err());
    }
}

#[tokio::test]
async fn middleware_hears_at_once_that_an_id_is_taken() {
    let hub = Hub::new();
    let (_a, _client) = enter(&hub, "a").await;
    hub.middleware(async |socket: Socket| {
        assert_eq!(socket.set_id("a"), Err(SetIdError::Taken));
        socket.set_id("another").map_err(|error| Refusal::new(error.to_string()))
    });
    let (_client, server) = pair();
    tokio::spawn(hub.member()(server));
    wait_until(|| hub.socket("another").is_some()).await;
}

#[tokio::test]
async fn middleware_that_panics_refuses_with_1011_and_the_hub_lives() {
    let hub = Hub::new();
    hub.middleware(async |socket: Socket| {
        socket.attributes().insert(());
        panic!("later")
    });
    let (client, server) = pair();
    let serving = tokio::spawn(hub.member()(server));
    assert_eq!(read_all(&client).await, (vec![], Some(1011)));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!((hub.stats().turned_away, hub.stats().connected), (1, 0));
    assert_eq!(hub.drain(PATIENCE).await.left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_is_found_out_by_keepalive() {
    let hub = Hub::builder().state(Heard::default()).build();
    hub.on_disconnect(async |reason: Reason, State(heard): State<Heard>| {
        heard.note(format!("{:?}", matches!(reason, Reason::Lost(_))));
    });
    let keepalive = Keepalive::every(Duration::from_secs(10));
    let (_silent, server) = pair_with(Config::new(), Config::new().keepalive(keepalive));
    let started = Instant::now();
    hub.serve(server).await;
    assert_eq!(hub.state::<Heard>().unwrap().so_far(), ["true"]);
    assert!(started.elapsed() <= Duration::from_secs(30), "{:?}", started.elapsed());
}
