//! Is anything lost when a socket disconnects, and do its handlers and events complete?

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{
    Client, EventLog, Over, TIMEOUT, client_over, enter, enter_over, frame, over_protocol,
    read_all, serve_over, wait_until, with_silent_peer,
};
use futures::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ws_core::{Config, Keepalive, Message, StatusCode, pair, pair_with};
use ws_events::{
    ConnectRejection, DisconnectReason, Event, EventPayload, Hub, Room, Socket, State,
};

/// A hub that notes rooms, custom events and the end. Handlers can wait for its permits.
fn listening() -> Hub {
    let hub = Hub::builder().state(EventLog::default()).state(Semaphore::new(0)).build();
    for event in [Event::RoomJoin, Event::RoomLeave] {
        hub.on(event, async |event: Event, Room(room): Room, State(log): State<EventLog>| {
            log.note(format!("{event} {room}"));
        });
    }
    hub.on_any(async |event: EventPayload, State(log): State<EventLog>| log.note(event.name()));
    hub.on_disconnect(async |State(log): State<EventLog>| log.note("disconnect"));
    hub
}

fn log(hub: &Hub) -> Arc<EventLog> {
    hub.state().unwrap()
}

async fn wait(State(go): State<Semaphore>) {
    go.acquire().await.unwrap().forget();
}

fn go_on(hub: &Hub) {
    hub.state::<Semaphore>().unwrap().add_permits(1);
}

over_protocol! {
    plain Plain:
    #[tokio::test(start_paused = true)]
    a_drain_aborts_late_sockets_and_counts_hanging_handlers;
    #[tokio::test]
    a_close_waits_for_a_slow_network;
    #[tokio::test(start_paused = true)]
    a_close_takes_no_longer_than_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_handler_that_never_returns_does_not_keep_the_connection;
    #[tokio::test(start_paused = true)]
    a_held_close_is_answered_behind_the_queue;
    #[tokio::test(start_paused = true)]
    a_held_close_is_answered_within_the_close_timeout;
    #[tokio::test]
    events_that_are_queued_when_the_peer_closes_are_handled_before_disconnect;
    #[tokio::test]
    rooms_that_disconnect_handlers_join_and_leave_cause_events;
    #[tokio::test]
    a_socket_that_fires_at_itself_without_end_still_ends;
}

over_protocol! {
    envelope Envelope:
    #[tokio::test(start_paused = true)]
    a_drain_aborts_late_sockets_and_counts_hanging_handlers;
    #[tokio::test]
    a_close_waits_for_a_slow_network;
    #[tokio::test(start_paused = true)]
    a_close_takes_no_longer_than_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_handler_that_never_returns_does_not_keep_the_connection;
    #[tokio::test(start_paused = true)]
    a_held_close_is_answered_behind_the_queue;
    #[tokio::test(start_paused = true)]
    a_held_close_is_answered_within_the_close_timeout;
    #[tokio::test]
    events_that_are_queued_when_the_peer_closes_are_handled_before_disconnect;
    #[tokio::test]
    rooms_that_disconnect_handlers_join_and_leave_cause_events;
    #[tokio::test]
    a_socket_that_fires_at_itself_without_end_still_ends;
}

over_protocol! {
    socketio SocketIo:
    #[tokio::test(start_paused = true)]
    a_drain_aborts_late_sockets_and_counts_hanging_handlers;
    #[tokio::test]
    a_close_waits_for_a_slow_network;
    #[tokio::test(start_paused = true)]
    a_close_takes_no_longer_than_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_handler_that_never_returns_does_not_keep_the_connection;
    #[tokio::test]
    events_that_are_queued_when_the_peer_closes_are_handled_before_disconnect;
    #[tokio::test]
    rooms_that_disconnect_handlers_join_and_leave_cause_events;
    #[tokio::test]
    a_socket_that_fires_at_itself_without_end_still_ends;
}

async fn events_that_are_queued_when_the_peer_closes_are_handled_before_disconnect(over: Over) {
    let hub = listening();
    hub.on_message(wait);
    let (socket, client) = enter_over(&hub, over, "a").await;
    client.write("work").await.unwrap();
    client.close().await.unwrap();
    wait_until(|| !socket.is_alive()).await;
    for room in ["x", "y"] {
        socket.join(room).unwrap();
        assert!(socket.leave(room));
    }
    socket.join("stays").unwrap();
    assert!(socket.fire("custom", ""));
    go_on(&hub);
    let expected = [
        "room_join x",
        "room_leave x",
        "room_join y",
        "room_leave y",
        "room_join stays",
        "custom",
        "disconnect",
        "room_leave stays",
    ];
    assert_eq!(log(&hub).take(expected.len()).await, expected);
    wait_until(|| hub.is_empty()).await;
    assert!(!socket.fire("custom", ""));
}

async fn rooms_that_disconnect_handlers_join_and_leave_cause_events(over: Over) {
    let hub = listening();
    hub.on_disconnect(async |socket: Socket| {
        socket.leave("early");
        socket.join("late")
    });
    let (socket, client) = enter_over(&hub, over, "a").await;
    socket.join("early").unwrap();
    assert_eq!(log(&hub).take(1).await, ["room_join early"]);
    client.close_now();
    let expected = ["disconnect", "room_leave early", "room_join late", "room_leave late"];
    assert_eq!(log(&hub).take(expected.len()).await, expected);
    assert!(hub.rooms().is_empty());
}

#[tokio::test]
async fn a_flood_of_pings_does_not_drop_room_events() {
    let hub = listening();
    hub.on(Event::Ping, async || {});
    hub.on_message(wait);
    let (socket, client) = enter(&hub, "a").await;
    client.write("work").await.unwrap();
    for _ in 0..1100 {
        client.ping().await.unwrap();
    }
    assert!(!socket.fire("custom", ""), "the queue is not full");
    socket.join("x").unwrap();
    go_on(&hub);
    assert_eq!(log(&hub).take(1).await, ["room_join x"]);
}

async fn a_socket_that_fires_at_itself_without_end_still_ends(over: Over) {
    let hub = listening();
    hub.on("again", async |socket: Socket| _ = socket.fire("again", ""));
    let (socket, client) = enter_over(&hub, over, "a").await;
    assert!(socket.fire("again", ""));
    client.close_now();
    wait_until(|| hub.is_empty()).await;
}

#[tokio::test]
async fn a_task_that_is_dropped_while_it_disconnects_is_continued_by_another() {
    let hub = listening();
    hub.on_disconnect(wait);
    let (client, server) = pair();
    let serving = tokio::spawn(hub.handler()(server));
    wait_until(|| hub.len() == 1).await;
    hub.everyone().join("x");
    client.close_now();
    assert_eq!(log(&hub).take(2).await, ["room_join x", "disconnect"]);
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    go_on(&hub);
    assert_eq!(log(&hub).take(1).await, ["room_leave x"]);
    wait_until(|| hub.is_empty()).await;
    assert_eq!(hub.drain(TIMEOUT).await.remaining, 0);
}

#[tokio::test]
async fn events_that_are_queued_when_a_task_is_dropped_are_handled() {
    let hub = listening();
    hub.on_message(wait);
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(format!("{reason:?}"));
    });
    let (client, server) = pair();
    let serving = tokio::spawn(hub.handler()(server));
    wait_until(|| hub.len() == 1).await;
    client.write("work").await.unwrap();
    client.ping().await.unwrap();
    let socket = hub.everyone().sockets().remove(0);
    socket.join("x").unwrap();
    assert!(socket.fire("custom", ""));
    serving.abort();
    let expected = ["room_join x", "custom", "disconnect", "Dropped", "room_leave x"];
    assert_eq!(log(&hub).take(expected.len()).await, expected);
}

#[tokio::test]
async fn an_attribute_that_is_set_after_the_end_is_not_stored() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    client.close_now();
    wait_until(|| hub.is_empty() && socket.conn().is_none()).await;
    let dear = Arc::new(());
    socket.attributes().insert(Arc::clone(&dear));
    socket.attributes().set("dear", (Arc::clone(&dear), socket.clone()));
    assert_eq!(Arc::strong_count(&dear), 1);
    assert!(socket.attributes().get::<Arc<()>>().is_none());
}

/// Forwards wake-ups.
struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

#[tokio::test]
async fn a_handle_does_not_keep_the_task() {
    let hub = Hub::new();
    let (client, server) = pair();
    let mut serving = hub.handler()(server);
    let mut forward = None;
    let mut socket = None;
    poll_fn(|cx| {
        let forward = forward.get_or_insert_with(|| Arc::new(Forward(cx.waker().clone())));
        let waker = Waker::from(Arc::clone(forward));
        let served = serving.as_mut().poll(&mut Context::from_waker(&waker));
        if let Some(entered) = hub.everyone().sockets().pop() {
            socket = Some(entered);
            client.close_now();
        }
        served
    })
    .await;
    drop(serving);
    // A waker would keep the memory of the task.
    assert_eq!(forward.map(|forward| Arc::strong_count(&forward)), Some(1));
    assert!(!socket.unwrap().is_alive());
}

/// A socket with more queued messages than its transport holds, and its client.
async fn enter_with_queue(hub: &Hub, over: Over, count: usize) -> (Socket, Client) {
    let server = Config::new().close_timeout(Duration::from_secs(4));
    let (client, server) = pair_with(Config::new(), server);
    serve_over(hub, over, server);
    let client = client_over(over, client).await;
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    for n in 0..count {
        let message = Message::from(format!("{n} {}", "x".repeat(16 * 1024)));
        socket.send(message).unwrap();
    }
    (socket, client)
}

async fn a_close_waits_for_a_slow_network(over: Over) {
    let hub = Hub::new();
    let (socket, client) = enter_with_queue(&hub, over, 32).await;
    // Its transport is full.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    socket.close(StatusCode::NORMAL_CLOSURE, "").unwrap();
    let (messages, code) = read_all(&client).await;
    assert_eq!((messages.len(), code), (32, Some(over.final_code(1000))));
    let stats = hub.stats();
    assert_eq!((stats.written, stats.discarded), (32, 0));
}

/// A peer that reads nothing is let go after `close_timeout`, however much is queued for it.
async fn a_close_takes_no_longer_than_the_close_timeout(over: Over) {
    // That of `enter_with_queue`, and the precision of the loop below.
    let limit = over.close_timeout(Duration::from_secs(4)) + Duration::from_millis(20);
    for count in [0, 1, 32] {
        let hub = Hub::new();
        let (socket, client) = enter_with_queue(&hub, over, count).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let started = tokio::time::Instant::now();
        socket.close(StatusCode::NORMAL_CLOSURE, "").unwrap();
        while !hub.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await; // tidy: sleep is the subject
            assert!(started.elapsed() <= limit, "{count} queued messages");
        }
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_rejects_connections_in_middleware() {
    let hub = listening();
    hub.middleware(async |socket: Socket| {
        wait(State(socket.hub().state().unwrap())).await;
        Ok(())
    });
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    tokio::task::yield_now().await;
    let drained = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(TIMEOUT).await }
    });
    assert_eq!(timeout(TIMEOUT / 2, read_all(&client)).await.unwrap(), (vec![], Some(1001)));
    let drained = drained.await.unwrap();
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 0));
    assert_eq!((hub.stats().connected, hub.stats().rejected), (0, 1));
}

#[tokio::test]
async fn a_connection_that_middleware_accepts_during_a_drain_is_rejected() {
    let hub = listening();
    // The drain begins before middleware accepts the connection.
    hub.middleware(async |socket: Socket| {
        let hub = socket.hub();
        tokio::spawn(async move { hub.drain(TIMEOUT).await });
        while !socket.hub().is_draining() {
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    let (client, server) = pair();
    tokio::spawn(hub.handler()(server));
    assert_eq!(read_all(&client).await, (vec![], Some(1001)));
    assert_eq!(hub.stats().connected, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_counts_rejected_peers_that_do_not_answer() {
    let hub = listening();
    hub.middleware(async |socket: Socket| {
        socket.attributes().insert(socket.clone());
        Err(ConnectRejection::new(""))
    });
    // One peer does not answer.
    let (silent, server) = with_silent_peer(Config::new());
    tokio::spawn(hub.handler()(server));
    wait_until(|| hub.stats().rejected == 1).await;
    let drained = hub.drain(Duration::from_secs(1)).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 1));
    drop(silent);
    let drained = hub.drain(TIMEOUT).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 0));
}

async fn a_drain_aborts_late_sockets_and_counts_hanging_handlers(over: Over) {
    let hub = listening();
    hub.on_message(wait);
    // Neither answers the close frame, and a handler of one does not return.
    let (_, silent) = enter_over(&hub, over, "silent").await;
    let (_, hanging) = enter_over(&hub, over, "hanging").await;
    hanging.write("work").await.unwrap();
    hanging.conn.ping().await.unwrap();
    let drained = hub.drain(Duration::from_secs(1)).await;
    // A silent socket of Socket.IO ends before its transport.
    let aborted = if over == Over::SocketIo { 1 } else { 2 };
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (2, aborted, 1));
    assert!(hub.socket("silent").is_none() && hub.socket("hanging").is_some());
    go_on(&hub);
    let drained = hub.drain(TIMEOUT).await;
    assert_eq!((drained.notified, drained.aborted, drained.remaining), (0, 0, 0));
    drop((silent, hanging));
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    PeerCloses,
    PeerVanishes,
    PeerIsSilent,
    HubCloses,
    HubDrains,
}

/// A handler never returns, while this many messages of 4 KiB are not handled. The connection ends
/// nevertheless, within a bound in seconds.
async fn check_hanging(over: Over, leaving: Leaving, unread: usize, bound: u64) {
    let hub = listening();
    hub.on_message(async |State(log): State<EventLog>, go: State<Semaphore>| {
        log.note("works");
        wait(go).await;
    });
    let keepalive = Keepalive::every(Duration::from_secs(30));
    let config = match over {
        Over::Plain | Over::Envelope => {
            Config::new().keepalive(keepalive.pong_timeout(Duration::from_secs(30)))
        }
        // The session pings by itself.
        Over::SocketIo => Config::new().no_keepalive(),
    };
    let (mut client, server) = with_silent_peer(config);
    let conn = server.clone();
    let serving = serve_over(&hub, over, server);
    if over == Over::SocketIo {
        client.write_all(&frame(1, b"40")).await.unwrap();
    }
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    let message = match over {
        Over::Plain | Over::Envelope => frame(2, &[0; 4096]),
        Over::SocketIo => frame(1, format!(r#"42["message","{}"]"#, "x".repeat(4096)).as_bytes()),
    };
    // A flood that exceeds what is read ahead fills the transport.
    client.write_all(&message).await.unwrap();
    assert_eq!(log(&hub).take(1).await, ["works"]);
    for n in 0..unread {
        if timeout(Duration::from_secs(2), client.write_all(&message)).await.is_err() {
            assert!(n > 16, "only {n} messages");
            break;
        }
    }
    let started = tokio::time::Instant::now();
    let mut client = Some(client);
    match leaving {
        Leaving::PeerCloses => {
            let close = frame(8, &1000_u16.to_be_bytes());
            let _ = client.as_mut().unwrap().write_all(&close).now_or_never();
        }
        Leaving::PeerVanishes => drop(client.take()),
        Leaving::PeerIsSilent => {}
        Leaving::HubCloses => socket.close(StatusCode::NORMAL_CLOSURE, "").unwrap(),
        Leaving::HubDrains => {
            let drained = hub.drain(Duration::from_secs(10)).await;
            assert_eq!((drained.notified, drained.remaining), (1, 1), "{unread}");
        }
    }
    // A client of Socket.IO that has to leave a namespace stays connected.
    let stays = matches!((over, leaving), (Over::SocketIo, Leaving::HubCloses));
    let limit = Duration::from_secs(bound) + Duration::from_millis(100);
    while socket.is_alive() || (conn.close_info().is_none() && !stays) {
        assert!(started.elapsed() <= limit, "{over:?}, {leaving:?}, {unread} unread");
        tokio::time::sleep(Duration::from_millis(10)).await; // tidy: sleep is the subject
    }
    // Its other handlers come after the one that hangs. The socket leaves with its task.
    assert_eq!(hub.len(), 1);
    serving.abort();
    wait_until(|| hub.is_empty()).await;
    drop(client);
}

async fn a_handler_that_never_returns_does_not_keep_the_connection(over: Over) {
    for unread in [0, 1, 5, 100] {
        let silent = match (over, unread) {
            // The interval and the timeout of the pings, twice if nothing can be read.
            (Over::SocketIo, 100) => 90,
            (Over::SocketIo, _) => 45,
            // Three times the interval of the keepalive, or that and the 60 s for which bytes that
            // are not read are a sign of life.
            (Over::Plain | Over::Envelope, 100) => 125,
            (Over::Plain | Over::Envelope, _) => 92,
        };
        check_hanging(over, Leaving::PeerCloses, unread, silent).await;
        check_hanging(over, Leaving::PeerVanishes, unread, silent).await;
        check_hanging(over, Leaving::PeerIsSilent, unread, silent).await;
        check_hanging(over, Leaving::HubCloses, unread, 5).await;
        check_hanging(over, Leaving::HubDrains, unread, 11).await;
    }
}

/// The peer closes, and the application holds the answer: what is queued comes first.
async fn a_held_close_is_answered_behind_the_queue(over: Over) {
    const MESSAGES: usize = 100;
    let hub = listening();
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(format!("{reason:?}"));
    });
    let (mut peer, server) = with_silent_peer(Config::new());
    let serving = serve_over(&hub, over, server);
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    socket.conn().unwrap().on_close(|_, _| false);
    // More than the transport and the connection take.
    for _ in 0..MESSAGES {
        socket.send(Message::binary(vec![7; 4096])).unwrap();
    }
    peer.write_all(&frame(8, b"\x0b\xb8bye")).await.unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(socket.stats().messages > 0, "{over:?}");
    let message = [&[0x82, 126, 0x10, 0][..], &[7; 4096]].concat();
    for n in 0..MESSAGES {
        let mut read = vec![0; message.len()];
        timeout(TIMEOUT, peer.read_exact(&mut read)).await.unwrap().unwrap();
        assert_eq!(read, message, "{over:?}: {n}");
    }
    let mut rest = Vec::new();
    timeout(TIMEOUT, peer.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"\x88\x05\x0b\xb8bye", "{over:?}");
    // Not by the `close_timeout`, after which the connection answers by itself.
    assert_eq!(began.elapsed(), Duration::ZERO, "{over:?}");
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    let log = log(&hub).take(2).await;
    assert!(log[1].starts_with("Peer("), "{over:?}: {log:?}");
    assert_eq!((hub.stats().discarded, hub.len()), (0, 0), "{over:?}");
}

/// A peer that takes nothing does not keep a connection whose answer is held.
async fn a_held_close_is_answered_within_the_close_timeout(over: Over) {
    let hub = listening();
    let (mut peer, server) = with_silent_peer(Config::new().close_timeout(Duration::from_secs(4)));
    let serving = serve_over(&hub, over, server);
    wait_until(|| hub.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    socket.conn().unwrap().on_close(|_, _| false);
    for _ in 0..100 {
        socket.send(Message::binary(vec![7; 4096])).unwrap();
    }
    peer.write_all(&frame(8, b"\x0b\xb8bye")).await.unwrap();
    let began = tokio::time::Instant::now();
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    // The timeout of the answer, and then that of the closing handshake.
    assert!(began.elapsed() <= Duration::from_secs(8), "{over:?}: {:?}", began.elapsed());
    assert!(hub.is_empty());
    drop(peer);
}

/// On several threads, so that they interleave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_joins_rooms_while_it_disconnects_is_in_none_and_each_join_has_its_leave() {
    let hub = listening();
    for _ in 0..50 {
        let (socket, client) = enter(&hub, "a").await;
        let joining = std::thread::spawn(move || {
            while socket.join("room").is_ok() {
                socket.leave("room");
                std::thread::yield_now();
            }
        });
        client.close_now();
        wait_until(|| hub.is_empty() && hub.socket("a").is_none()).await;
        joining.join().unwrap();
        assert!(hub.rooms().is_empty());
        wait_until(|| log(&hub).so_far().len() % 2 == 1).await;
        let events = log(&hub).take(1).await;
        let rooms: Vec<_> = events.iter().filter(|what| *what != "disconnect").collect();
        for pair in rooms.chunks(2) {
            assert_eq!(pair, ["room_join room", "room_leave room"]);
        }
    }
}

/// An attribute that panics when dropped.
#[derive(Clone)]
struct Fuse(Arc<()>);

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(Arc::strong_count(&self.0) > 1, "the last handle is dropped");
    }
}

#[tokio::test]
async fn an_attribute_that_panics_when_dropped_does_not_leak_the_socket() {
    let hub = Hub::new();
    let (client, server) = pair();
    hub.on_connect(async |socket: Socket| socket.attributes().insert(Fuse(Arc::default())));
    let serving = tokio::spawn(hub.handler()(server));
    wait_until(|| hub.len() == 1).await;
    let [socket] = &hub.everyone().sockets()[..] else { panic!("one") };
    wait_until(|| socket.attributes().get::<Fuse>().is_some()).await;
    client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    assert!(timeout(TIMEOUT, serving).await.unwrap().unwrap_err().is_panic());
    assert!(hub.is_empty() && hub.socket(socket.id()).is_none() && socket.conn().is_none());
    assert_eq!(hub.drain(TIMEOUT).await.remaining, 0);
}
