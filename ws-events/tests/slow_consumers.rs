//! What happens to peers that do not keep up, and to the others?

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use crate::support::{
    Client, Over, TIMEOUT, client_over, frame, over_protocol, read, read_all, serve_over,
    wait_until, with_silent_peer,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_core::{
    Config, Conn, Deadline, Error, Keepalive, Message, MessageType, StatusCode, pair_with,
};
use ws_events::engine::{EngineConfig, EngineSession, EngineSessions};
use ws_events::{
    Delivery, DisconnectReason, EmitError, Hub, Overflow, SendQueueLimits, Socket, State,
};

use crate::support::EventLog;

/// The transport and the connection of a peer that does not read hold fewer messages of [`long`].
const HELD: usize = 20;

/// A message that fills the transport quickly.
fn long(n: usize) -> Message {
    Message::from(format!("{n} {}", "x".repeat(16 * 1024)))
}

fn number(message: &Message) -> usize {
    message.as_text().unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn hub_with(limits: SendQueueLimits) -> Hub {
    let hub = Hub::builder().send_queue(limits).state(EventLog::default()).build();
    hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
        log.note(match reason {
            DisconnectReason::SlowConsumer { queued, .. } => format!("slow {queued}"),
            other => format!("{other:?}"),
        });
    });
    hub
}

async fn enter(hub: &Hub, over: Over) -> (Socket, Client) {
    let (client, server) = pair_with(Config::new(), config());
    let before = hub.everyone().sockets();
    serve_over(hub, over, server);
    let client = client_over(over, client).await;
    (new_socket(hub, &before).await, client)
}

fn config() -> Config {
    Config::new().close_timeout(Duration::from_secs(2))
}

async fn serve(hub: &Hub, server: Conn) -> Socket {
    let before = hub.everyone().sockets();
    tokio::spawn(hub.handler()(server));
    new_socket(hub, &before).await
}

async fn new_socket(hub: &Hub, before: &[Socket]) -> Socket {
    wait_until(|| hub.len() > before.len()).await;
    let now = hub.everyone().sockets();
    now.into_iter().find(|socket| !before.contains(socket)).unwrap()
}

/// Sends to a socket whose peer does not read, until its queue is full. Returns the number of
/// messages.
async fn fill(socket: &Socket, limits: &SendQueueLimits, room: usize) -> usize {
    let mut sent = 0;
    while socket.stats().messages < room {
        socket.send(long(sent)).unwrap();
        sent += 1;
        // Its task writes until the transport is full.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(sent < room + HELD, "{limits:?}");
    }
    sent
}

async fn disconnect_discards_the_queue_and_closes_with_its_code(over: Over) {
    for code in [1013, 1008] {
        let code = StatusCode::try_from(code).unwrap();
        let limits = SendQueueLimits::new().messages(8).overflow(Overflow::Disconnect(code));
        let hub = hub_with(limits.clone());
        let (socket, client) = enter(&hub, over).await;
        let sent = fill(&socket, &limits, 8).await;
        let waiting = socket.stats().bytes;
        assert!(matches!(socket.send(long(sent)), Err(EmitError::SlowConsumer)));
        assert_eq!((socket.stats().messages, socket.stats().bytes), (0, 0));
        assert!(matches!(socket.send("more"), Err(EmitError::Closed)));
        // The peer reads again in time: the messages in the transport, then the close frame.
        let (messages, ended) = read_all(&client).await;
        assert_eq!(ended, Some(code.as_u16()));
        if over != Over::SocketIo {
            let received = client.conn.close_info().unwrap().received.unwrap();
            assert_eq!(received.reason, "slow consumer");
        }
        assert!(messages.iter().map(number).eq(0..messages.len()));
        let log = hub.state::<EventLog>().unwrap().take(1).await;
        assert_eq!(log, [format!("slow {waiting}")]);
        let stats = hub.stats();
        assert_eq!((stats.slow_consumers, stats.waiting(), stats.queued_bytes), (1, 0, 0));
        assert_eq!(stats.queued, stats.written + stats.discarded);
    }
}

async fn a_peer_that_never_reads_is_aborted_within_the_close_timeout(over: Over) {
    let hub = hub_with(SendQueueLimits::new().messages(8));
    let (socket, client) = enter(&hub, over).await;
    let sent = fill(&socket, &SendQueueLimits::new(), 8).await;
    let started = tokio::time::Instant::now();
    assert!(socket.send(long(sent)).is_err());
    assert!(hub.state::<EventLog>().unwrap().take(1).await[0].starts_with("slow"));
    wait_until(|| hub.is_empty()).await;
    // The `close_timeout` of `enter`. A socket of Socket.IO ends before its transport.
    assert!(started.elapsed().as_secs() <= 2);
    tokio::time::sleep_until(started + Duration::from_secs(2)).await;
    read_all(&client).await;
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_pong_overtakes_the_queue_of_a_slow_peer() {
    let hub = hub_with(SendQueueLimits::new());
    let (socket, client) = enter(&hub, Over::Plain).await;
    let client = client.conn;
    let sent = fill(&socket, &SendQueueLimits::new(), 20).await;
    let read = Arc::new(AtomicUsize::new(0));
    let at_pong = Arc::new(AtomicUsize::new(usize::MAX));
    client.on_pong({
        let (read, at_pong) = (Arc::clone(&read), Arc::clone(&at_pong));
        move |_, _| at_pong.store(read.load(SeqCst), SeqCst)
    });
    let pinging = tokio::spawn({
        let client = client.clone();
        async move { client.ping().await }
    });
    for n in 0..sent {
        assert_eq!(number(&client.read().await.unwrap()), n);
        read.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
    }
    timeout(TIMEOUT, pinging).await.unwrap().unwrap().unwrap();
    // After the messages in the transport, and before those in the send queue.
    let before = at_pong.load(SeqCst);
    assert!(before <= sent - 20, "{before} of {sent}");
}

over_protocol! {
    plain Plain:
    #[tokio::test]
    disconnect_discards_the_queue_and_closes_with_its_code;
    #[tokio::test(start_paused = true)]
    a_peer_that_never_reads_is_aborted_within_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_close_waits_for_a_quarter_of_the_timeout_and_loses_nothing_for_others;
    #[tokio::test(start_paused = true)]
    a_peer_that_takes_nothing_of_a_message_ends_in_time;
    #[tokio::test]
    drop_newest_keeps_the_first_in_order;
    #[tokio::test]
    drop_oldest_keeps_the_last_in_order;
    #[tokio::test]
    bytes_are_limited_and_a_single_message_may_be_larger;
    #[tokio::test]
    block_waits_for_room_in_send_wait_and_a_broadcast_never_waits;
    #[tokio::test]
    volatile_messages_skip_peers_that_do_not_keep_up;
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    stalled_peers_are_closed_and_others_get_everything_in_order;
}

over_protocol! {
    envelope Envelope:
    #[tokio::test]
    disconnect_discards_the_queue_and_closes_with_its_code;
    #[tokio::test(start_paused = true)]
    a_peer_that_never_reads_is_aborted_within_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_close_waits_for_a_quarter_of_the_timeout_and_loses_nothing_for_others;
    #[tokio::test(start_paused = true)]
    a_peer_that_takes_nothing_of_a_message_ends_in_time;
    #[tokio::test]
    drop_newest_keeps_the_first_in_order;
    #[tokio::test]
    drop_oldest_keeps_the_last_in_order;
    #[tokio::test]
    bytes_are_limited_and_a_single_message_may_be_larger;
    #[tokio::test]
    block_waits_for_room_in_send_wait_and_a_broadcast_never_waits;
    #[tokio::test]
    volatile_messages_skip_peers_that_do_not_keep_up;
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    stalled_peers_are_closed_and_others_get_everything_in_order;
}

over_protocol! {
    socketio SocketIo:
    #[tokio::test]
    disconnect_discards_the_queue_and_closes_with_its_code;
    #[tokio::test(start_paused = true)]
    a_peer_that_never_reads_is_aborted_within_the_close_timeout;
    #[tokio::test(start_paused = true)]
    a_close_waits_for_a_quarter_of_the_timeout_and_loses_nothing_for_others;
    #[tokio::test(start_paused = true)]
    a_peer_that_takes_nothing_of_a_message_ends_in_time;
    #[tokio::test]
    drop_newest_keeps_the_first_in_order;
    #[tokio::test]
    drop_oldest_keeps_the_last_in_order;
    #[tokio::test]
    bytes_are_limited_and_a_single_message_may_be_larger;
    #[tokio::test]
    block_waits_for_room_in_send_wait_and_a_broadcast_never_waits;
    #[tokio::test]
    volatile_messages_skip_peers_that_do_not_keep_up;
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    stalled_peers_are_closed_and_others_get_everything_in_order;
}

async fn drop_newest_keeps_the_first_in_order(over: Over) {
    let limits = SendQueueLimits::new().messages(8).overflow(Overflow::DropNewest);
    let hub = hub_with(limits.clone());
    let (socket, client) = enter(&hub, over).await;
    let sent = fill(&socket, &limits, 8).await;
    for n in sent..sent + 5 {
        assert!(matches!(socket.send(long(n)), Err(EmitError::Full)));
    }
    assert_eq!(hub.send(long(99)), {
        let mut delivery = Delivery::default();
        (delivery.matched, delivery.dropped) = (1, 1);
        delivery
    });
    assert_eq!((socket.stats().dropped, hub.stats().refused), (6, 6));
    for n in 0..sent {
        assert_eq!(number(&client.read().await.unwrap()), n);
    }
    socket.send("kept up").unwrap();
    assert_eq!(read(&client).await, "kept up");
}

async fn drop_oldest_keeps_the_last_in_order(over: Over) {
    let limits = SendQueueLimits::new().messages(8).overflow(Overflow::DropOldest);
    let hub = hub_with(limits.clone());
    let (socket, client) = enter(&hub, over).await;
    let sent = fill(&socket, &limits, 8).await;
    for n in sent..sent + 5 {
        socket.send(long(n)).unwrap();
    }
    assert_eq!((socket.stats().messages, socket.stats().dropped), (8, 5));
    // The messages in the transport, and the last eight of the others.
    let expected = (0..sent - 8).chain(sent + 5 - 8..sent + 5);
    for n in expected {
        assert_eq!(number(&client.read().await.unwrap()), n);
    }
    let stats = hub.stats();
    assert_eq!((stats.dropped, stats.waiting()), (5, 0));
}

async fn bytes_are_limited_and_a_single_message_may_be_larger(over: Over) {
    let limits = SendQueueLimits::new().bytes(40 * 1024).overflow(Overflow::DropNewest);
    let hub = hub_with(limits.clone());
    let (socket, _client) = enter(&hub, over).await;
    fill(&socket, &limits, 2).await;
    assert!(matches!(socket.send(long(0)), Err(EmitError::Full)));
    socket.send("short").unwrap();
    let (socket, client) = enter(&hub, over).await;
    socket.send(Message::binary(vec![0; 100 * 1024])).unwrap();
    assert_eq!(client.read().await.unwrap().len(), 100 * 1024);
}

async fn block_waits_for_room_in_send_wait_and_a_broadcast_never_waits(over: Over) {
    let limits = SendQueueLimits::new().messages(8).overflow(Overflow::Block(TIMEOUT));
    let hub = hub_with(limits.clone());
    let (socket, client) = enter(&hub, over).await;
    let sent = fill(&socket, &limits, 8).await;
    assert!(matches!(socket.send(long(99)), Err(EmitError::Full)));
    assert_eq!(hub.send(long(99)).dropped, 1);
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move {
            for n in sent..sent + 50 {
                socket.send_wait(long(n)).await.unwrap();
            }
        }
    });
    for n in 0..sent + 50 {
        let message = timeout(TIMEOUT, client.read()).await.unwrap().unwrap();
        assert_eq!(number(&message), n);
    }
    waiting.await.unwrap();
    // A sender that waits gets an error when the socket ends.
    let sent = fill(&socket, &limits, 8).await;
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.send_wait(long(sent)).await }
    });
    tokio::task::yield_now().await;
    client.close_now();
    assert!(matches!(waiting.await.unwrap(), Err(EmitError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn block_waits_for_its_duration() {
    let limits =
        SendQueueLimits::new().messages(1).overflow(Overflow::Block(Duration::from_secs(3)));
    let hub = hub_with(limits.clone());
    let (_peer, server) = with_silent_peer(config());
    let socket = serve(&hub, server).await;
    fill(&socket, &limits, 1).await;
    let started = tokio::time::Instant::now();
    assert!(matches!(socket.send_wait(long(0)).await, Err(EmitError::Full)));
    assert_eq!(started.elapsed().as_secs(), 3);
}

async fn volatile_messages_skip_peers_that_do_not_keep_up(over: Over) {
    let hub = hub_with(SendQueueLimits::new());
    let (slow, client) = enter(&hub, over).await;
    let (_, other) = enter(&hub, over).await;
    // No peer is stalled: messages that wait for the task do not count.
    assert_eq!(hub.everyone().volatile().send("one").queued, 2);
    assert_eq!(hub.ids([slow.id()]).volatile().send("two").queued, 1);
    let sent = fill(&slow, &SendQueueLimits::new(), 3).await;
    let delivery = hub.everyone().volatile().send("three");
    assert_eq!((delivery.matched, delivery.queued, delivery.dropped), (2, 1, 1));
    slow.send("four").unwrap();
    assert_eq!((read(&other).await, read(&other).await), ("one".into(), "three".into()));
    assert_eq!((read(&client).await, read(&client).await), ("one".into(), "two".into()));
    for n in 0..sent {
        assert_eq!(number(&client.read().await.unwrap()), n);
    }
    assert_eq!(read(&client).await, "four");
}

async fn a_close_waits_for_a_quarter_of_the_timeout_and_loses_nothing_for_others(over: Over) {
    let hub = hub_with(SendQueueLimits::new());
    let (slow, client) = enter(&hub, over).await;
    let (quick, other) = enter(&hub, over).await;
    let sent = fill(&slow, &SendQueueLimits::new(), 8).await;
    let reading = tokio::spawn(async move { read_all(&other).await });
    for n in 0..500 {
        quick.send(n.to_string()).unwrap();
    }
    let started = tokio::time::Instant::now();
    hub.close_all(StatusCode::NORMAL_CLOSURE, "").unwrap();
    let (messages, code) = reading.await.unwrap();
    assert_eq!(code, Some(over.final_code(1000)));
    assert!(messages.iter().map(number).eq(0..500));
    let quarter = over.close_timeout(Duration::from_secs(2)) / 4;
    tokio::time::sleep_until(started + quarter - Duration::from_millis(1)).await;
    assert_eq!(hub.stats().discarded, 0);
    tokio::time::sleep_until(started + quarter + Duration::from_millis(1)).await;
    assert!(hub.stats().discarded > 0);
    let (messages, code) = read_all(&client).await;
    assert_eq!(code, Some(over.final_code(1000)));
    assert!(messages.len() < sent && messages.iter().map(number).eq(0..messages.len()));
    wait_until(|| hub.is_empty()).await;
    let stats = hub.stats();
    assert_eq!((stats.discarded, stats.waiting()), ((sent - messages.len()) as u64, 0));
}

async fn stalled_peers_are_closed_and_others_get_everything_in_order(over: Over) {
    const MEMBERS: usize = 100;
    const STALLED: usize = 5;
    // 840 KB: far beyond the queue, the buffers of the transport and what a client reads ahead.
    const MESSAGES: usize = 8000;
    let limit = 64 * 1024;
    let hub = hub_with(SendQueueLimits::new().bytes(limit));
    let mut stalled = Vec::new();
    let (mut reading, mut readers) = (Vec::new(), Vec::new());
    for n in 0..MEMBERS {
        let (socket, client) = enter(&hub, over).await;
        if n < STALLED {
            stalled.push((socket, client));
        } else {
            reading.push(socket);
            readers.push(tokio::spawn(async move {
                for n in 0..MESSAGES {
                    assert_eq!(number(&client.read().await.unwrap()), n);
                }
            }));
        }
    }
    for n in 0..MESSAGES {
        hub.send(format!("{n} {}", "x".repeat(100)));
        let waiting: usize = stalled.iter().map(|(socket, _)| socket.stats().bytes).sum();
        assert!(waiting <= STALLED * limit, "{waiting}");
        // No faster than the slowest peer that reads.
        wait_until(|| reading.iter().all(|socket| socket.stats().bytes < limit / 2)).await;
    }
    for reader in readers {
        timeout(TIMEOUT, reader).await.unwrap().unwrap();
    }
    assert!(stalled.iter().all(|(socket, _)| !socket.is_alive()));
    assert_eq!(hub.stats().slow_consumers, STALLED as u64);
}

/// The application writes to the connection directly, by `write`, and the peer does not read.
/// The slow consumer is closed by policy nevertheless.
async fn check_closed_while_the_application_writes(write: impl AsyncFn(&Conn)) {
    let hub = hub_with(SendQueueLimits::new().messages(8));
    let (socket, client) = enter(&hub, Over::Plain).await;
    let conn = socket.conn().unwrap();
    write(&conn).await;
    drop(conn);
    for n in 0..8 {
        socket.send(n.to_string()).unwrap();
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // The connection has no room for them, so the queue is stalled.
    assert_eq!(
        (socket.stats().messages, hub.ids([socket.id()]).volatile().send("never").queued),
        (8, 0)
    );
    assert!(matches!(socket.send("one more"), Err(EmitError::SlowConsumer)));
    assert_eq!(hub.state::<EventLog>().unwrap().take(1).await, ["slow 8"]);
    wait_until(|| hub.is_empty()).await;
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_closed_while_a_long_message_of_the_application_waits() {
    check_closed_while_the_application_writes(async |conn| {
        conn.write(Message::binary(vec![0; 1024 * 1024])).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_closed_while_the_application_writes_in_chunks() {
    check_closed_while_the_application_writes(async |conn| {
        // The message is never finished.
        std::mem::forget(conn.writer(MessageType::Text).await.unwrap());
    })
    .await;
}

/// The peer takes nothing, and a message that is longer than the transport is on its way, so the
/// queue stays short. Returns why the socket ends, and after how many seconds.
async fn stalled(over: Over, config: Config) -> (DisconnectReason, u64) {
    let hub = Hub::new();
    let (ended, mut ends) = mpsc::unbounded_channel();
    hub.on_disconnect(move |reason: DisconnectReason| {
        let ended = ended.clone();
        async move { ended.send(reason).unwrap() }
    });
    let (mut peer, server) = with_silent_peer(config);
    serve_over(&hub, over, server);
    if over == Over::SocketIo {
        peer.write_all(&frame(1, b"40")).await.unwrap();
    }
    let socket = new_socket(&hub, &[]).await;
    let began = tokio::time::Instant::now();
    socket.send(Message::binary(vec![0; 500 * 1024])).unwrap();
    let reason = timeout(Duration::from_secs(3600), ends.recv()).await;
    let reason = reason.unwrap_or_else(|_| panic!("{over:?} hangs")).unwrap();
    assert_eq!(hub.stats().slow_consumers, 0);
    drop(peer);
    (reason, began.elapsed().as_secs())
}

async fn a_peer_that_takes_nothing_of_a_message_ends_in_time(over: Over) {
    let seconds = Duration::from_secs;
    let none = || Config::new().no_keepalive();
    let keepalive = Keepalive::every(seconds(5)).pong_timeout(seconds(5));
    for (deadline, config) in [
        (Deadline::Write, none().write_timeout(seconds(5))),
        (Deadline::Keepalive, none().keepalive(keepalive)),
    ] {
        let (reason, after) = stalled(over, config).await;
        let is_due = matches!(
            &reason, DisconnectReason::Lost(Error::Timeout(found)) if *found == deadline);
        // At most three times the interval of the keepalive.
        assert!(is_due && (5..=15).contains(&after), "{over:?}: {reason:?} after {after} s");
    }
    if over == Over::SocketIo {
        // The session pings by itself.
        let (reason, after) = stalled(over, none()).await;
        assert!(matches!(reason, DisconnectReason::Lost(_)), "{reason:?}");
        assert_eq!(after, 45, "{reason:?}");
    }
}

/// Wakes nothing; its handles are counted.
struct NoWake;

impl Wake for NoWake {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn a_dropped_wait_leaks_nothing() {
    let limits = SendQueueLimits::new().messages(1).overflow(Overflow::Block(TIMEOUT));
    let hub = hub_with(limits.clone());
    let (socket, _client) = enter(&hub, Over::Plain).await;
    fill(&socket, &limits, 1).await;
    let counted = Arc::new(NoWake);
    for _ in 0..10 {
        let waker = Waker::from(Arc::clone(&counted));
        let mut sending = Box::pin(socket.send_wait(long(0)));
        assert!(sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_is_counted_once() {
    let limits =
        SendQueueLimits::new().messages(1).overflow(Overflow::Block(Duration::from_secs(3)));
    let hub = hub_with(limits.clone());
    let (socket, client) = enter(&hub, Over::Plain).await;
    let sent = fill(&socket, &limits, 1).await as u64;
    // Two wait for the room of one message. Both are sent in the end.
    let waiting = [0, 1].map(|_| {
        let socket = socket.clone();
        tokio::spawn(async move { socket.send_wait(long(0)).await })
    });
    tokio::task::yield_now().await;
    for _ in 0..sent + 2 {
        client.read().await.unwrap();
    }
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    assert_eq!((hub.stats().queued, hub.stats().refused), (sent + 2, 0));
    let mut more = fill(&socket, &limits, 1).await as u64;
    // The peer reads ahead, within its bound.
    let refused = loop {
        match socket.send_wait(long(0)).await {
            Ok(()) => more += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, EmitError::Full));
    assert_eq!((hub.stats().queued, hub.stats().refused), (sent + 2 + more, 1));
    assert_eq!(socket.stats().dropped, 1);
}

/// A client of Socket.IO that polls, and its socket.
async fn enter_polling(hub: &Hub) -> (Socket, EngineSession) {
    let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
    let before = hub.everyone().sockets();
    let (served, serving) = (session.clone(), hub.clone());
    tokio::spawn(async move {
        let driving = served.clone();
        tokio::join!(driving.drive(), serving.serve_engine(served));
    });
    session.begin_post().unwrap().finish("40".into()).await.unwrap();
    let answer = timeout(TIMEOUT, session.get()).await.unwrap().unwrap();
    assert!(answer.starts_with(b"40{"), "{answer:?}");
    (new_socket(hub, &before).await, session)
}

/// The messages in the response to a GET.
async fn get(session: &EngineSession) -> Vec<String> {
    let answer = timeout(TIMEOUT, session.get()).await.unwrap().unwrap();
    let packets = std::str::from_utf8(&answer).unwrap().split('\u{1e}');
    let message = |packet: &str| -> (String, String) {
        serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap()
    };
    packets.map(|packet| message(packet).1).collect()
}

/// Lets the task of a socket try to write.
async fn try_to_write() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_polls_and_does_not_keep_up_is_closed_by_its_transport() {
    // A packet `41` keeps the client from connecting again: with a code that does not mean "later".
    for (code, last) in [(1013, "1"), (1008, "41")] {
        let overflow = Overflow::Disconnect(StatusCode::try_from(code).unwrap());
        let hub = hub_with(SendQueueLimits::new().messages(4).overflow(overflow));
        let (socket, session) = enter_polling(&hub).await;
        for n in 0..4 {
            socket.send(n.to_string()).unwrap();
            try_to_write().await;
        }
        let waiting = socket.stats().bytes;
        assert!(matches!(socket.send("more"), Err(EmitError::SlowConsumer)));
        if last == "1" {
            // The client gets it also by a GET that comes later.
            wait_until(|| hub.is_empty()).await;
        }
        // The queue is discarded.
        let answer = timeout(TIMEOUT, session.get()).await.unwrap();
        assert_eq!(answer.unwrap(), last, "{code}");
        let log = hub.state::<EventLog>().unwrap().take(1).await;
        assert_eq!(log, [format!("slow {waiting}")]);
        let stats = hub.stats();
        assert_eq!((stats.slow_consumers, stats.waiting(), stats.queued_bytes), (1, 0, 0));
        assert_eq!((stats.written, stats.discarded), (0, 4));
        wait_until(|| hub.is_empty()).await;
    }
}

#[tokio::test]
async fn messages_beyond_the_queue_of_a_client_that_polls_are_dropped_between_two_gets() {
    for (overflow, kept) in [
        (Overflow::DropNewest, 0..4),
        (Overflow::DropOldest, 2..6),
        (Overflow::Block(TIMEOUT), 0..4),
    ] {
        let hub = hub_with(SendQueueLimits::new().messages(4).overflow(overflow));
        let (socket, session) = enter_polling(&hub).await;
        for n in 0..6 {
            let is_refused = matches!(socket.send(n.to_string()), Err(EmitError::Full));
            let expected = n >= 4 && !matches!(overflow, Overflow::DropOldest);
            assert_eq!(is_refused, expected, "{overflow:?}, {n}");
            try_to_write().await;
        }
        let kept: Vec<_> = kept.map(|n| n.to_string()).collect();
        assert_eq!(get(&session).await, kept, "{overflow:?}");
        socket.send("kept up").unwrap();
        assert_eq!(get(&session).await, ["kept up"], "{overflow:?}");
        assert_eq!(hub.stats().slow_consumers, 0);
    }
}

#[tokio::test]
async fn a_sender_waits_for_the_next_get_of_a_client_that_polls() {
    let overflow = Overflow::Block(TIMEOUT);
    let hub = hub_with(SendQueueLimits::new().messages(1).overflow(overflow));
    let (socket, session) = enter_polling(&hub).await;
    let sending = async {
        for n in 0..20 {
            socket.send_wait(n.to_string()).await.unwrap();
        }
    };
    let getting = async {
        let mut got = Vec::new();
        while got.len() < 20 {
            got.extend(get(&session).await);
        }
        got
    };
    let ((), got) = tokio::join!(sending, getting);
    assert_eq!(got, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_volatile_message_is_dropped_while_others_wait_for_a_get() {
    let hub = hub_with(SendQueueLimits::new());
    let (socket, session) = enter_polling(&hub).await;
    let send = |text: &str| hub.ids([socket.id()]).volatile().send(text);
    // Nothing waits: it is the next message.
    assert_eq!(send("one").queued, 1);
    try_to_write().await;
    let delivery = send("two");
    assert_eq!((delivery.queued, delivery.dropped), (0, 1));
    assert_eq!(get(&session).await, ["one"]);
    // A GET waits.
    let (got, ()) = tokio::join!(get(&session), async {
        try_to_write().await;
        assert_eq!(send("three").queued, 1);
    });
    assert_eq!(got, ["three"]);
}
