//! How much does the hub do for one peer before other tasks run?

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::flood::Flood;
use crate::support::{Over, TIMEOUT, client_over, frame, serve_over, wait_until};
use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Message, Role, pair_with};
use ws_events::{DisconnectReason, Event, Hub, SendQueueLimits, State};

/// The limits of a turn of the event loop, in messages or events and in bytes.
const MAX_TURN: u64 = 64;
const MAX_TURN_BYTES: u64 = 128 * 1024;

/// How often another task runs before a test has failed: the clock may stand still.
const MAX_STEPS: u32 = 1_000_000;

/// Lets each other task of the runtime run once.
async fn turn() {
    let mut is_first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut is_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Runs until `count` has grown by `total`, and returns its largest growth between two turns of
/// another task.
async fn largest_step(total: u64, count: impl Fn() -> u64 + Send + 'static) -> u64 {
    let start = count();
    let measuring = tokio::spawn(async move {
        let mut largest = 0;
        let mut last = start;
        for _ in 0..MAX_STEPS {
            // Also before the first turn of this task.
            let now = count();
            largest = largest.max(now - last);
            last = now;
            if last - start >= total {
                return largest;
            }
            turn().await;
        }
        panic!("it hangs");
    });
    timeout(TIMEOUT, measuring).await.unwrap().unwrap()
}

fn conn(io: DuplexStream, role: Role) -> Conn {
    Conn::from_stream(io, role, Negotiated::default(), Bytes::new(), Config::new())
}

/// A connection whose client has sent all of this before the hub reads.
async fn flooded(messages: impl IntoIterator<Item = Message>) -> (Conn, Conn) {
    let (near, far) = duplex(16 * 1024 * 1024);
    let (server, client) = (conn(near, Role::Server), conn(far, Role::Client));
    for message in messages {
        client.write(message).await.unwrap();
    }
    client.flush().await.unwrap();
    (server, client)
}

/// A flood of `message` in a row gives others their turn. If the hub counts what its handlers get, that
/// is measured; otherwise what is read.
async fn check(hub: &Hub, over: Over, message: Message, count: usize) {
    // A client of Socket.IO is in a namespace first.
    let connect = (over == Over::SocketIo).then(|| Message::from("40"));
    let flood = std::iter::repeat_n(message.clone(), count);
    let (server, client) = flooded(connect.into_iter().chain(flood)).await;
    let serving = serve_over(hub, over, server.clone());
    let len = message.len() as u64;
    let handled = hub.state::<AtomicU64>();
    let largest = largest_step(count as u64, move || match &handled {
        Some(handled) => handled.load(Ordering::Relaxed),
        None => server.stats().messages_in,
    });
    let largest = largest.await;
    assert!(largest <= MAX_TURN, "{message:?}: {largest} messages in a turn");
    let most_bytes = MAX_TURN_BYTES + len;
    assert!(largest * len <= most_bytes, "{message:?}: {} bytes in a turn", largest * len);
    client.close_now();
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
}

/// The clock stands still: it counts messages that are read, and the watch, which looks once per second,
/// reads more of a connection that is not read yet.
#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_gives_others_their_turn() {
    let silent = Hub::builder().envelope().build();
    let handling = Hub::builder().envelope().build();
    handling.on_any(async || {});
    handling.on_message(async || {});
    handling.on_error(async || {});
    for hub in [&silent, &handling] {
        check(hub, Over::Envelope, Message::from(r#"{"event":"x"}"#), 2000).await;
        check(hub, Over::Envelope, Message::from("not an event"), 2000).await;
        check(hub, Over::Envelope, Message::binary(Vec::new()), 2000).await;
        check(hub, Over::Envelope, Message::binary(vec![0; 64 * 1024]), 50).await;
        // Packets of Engine.IO that mean nothing.
        check(hub, Over::SocketIo, Message::from("6"), 2000).await;
        check(hub, Over::SocketIo, Message::from("3"), 2000).await;
    }
}

#[tokio::test]
async fn a_flood_of_packets_gives_others_their_turn() {
    let long = format!(r#"42["message","{}"]"#, "x".repeat(64 * 1024));
    for (packet, count) in [(r#"42["x"]"#, 2000), (r#"42["message","x"]"#, 2000), (&long, 50)] {
        // Beyond what the handlers of one turn get, the connection reads ahead up to 64 KiB.
        let hub = Hub::builder().state(AtomicU64::new(0)).build();
        let note = async |State(count): State<AtomicU64>| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        hub.on_any(note);
        hub.on_message(note);
        check(&hub, Over::SocketIo, Message::from(packet), count).await;
    }
}

/// A client of Socket.IO that never stops sending cannot keep its session.
#[tokio::test(start_paused = true)]
async fn a_flood_postpones_no_deadline_of_a_session() {
    let second = Duration::from_secs(1);
    let text = |text: &str| frame(1, text.as_bytes());
    for (connects, flood, deadline) in [
        // Frames are no packets, so the ping is not answered: 25 s and 20 s.
        ("40", frame(9, b"x"), 45 * second),
        ("40", frame(10, b""), 45 * second),
        // Packets are a sign of life, but no namespace.
        ("6", text("6"), 45 * second),
        ("6", frame(10, b""), 45 * second),
    ] {
        let hub = Hub::builder().state(AtomicU64::new(0)).build();
        hub.on_disconnect(async |reason: DisconnectReason, State(count): State<AtomicU64>| {
            assert!(matches!(reason, DisconnectReason::Lost(_)), "{reason:?}");
            count.fetch_add(1, Ordering::Relaxed);
        });
        let io = Flood::new(text(connects), flood.clone());
        let config = Config::new().no_keepalive().close_timeout(second);
        let none = Negotiated::default();
        let server = Conn::from_stream(io, Role::Server, none, Bytes::new(), config);
        let serving = serve_over(&hub, Over::SocketIo, server.clone());
        let row = || format!("{connects} {:?}", &flood[..1]);
        let wait = async |time: Duration| {
            tokio::time::advance(time).await;
            for _ in 0..50 {
                turn().await;
            }
        };
        wait(Duration::ZERO).await;
        for _ in 0..5 {
            assert!(server.close_info().is_none() && !serving.is_finished(), "{}", row());
            wait((deadline - second) / 5).await;
        }
        assert!(server.close_info().is_none() && !serving.is_finished(), "{}", row());
        // The flood answers no close frame.
        for _ in 0..3 {
            wait(second).await;
        }
        assert!(server.close_info().is_some() && serving.is_finished(), "{} goes on", row());
        let sockets = u64::from(connects == "40");
        assert_eq!(hub.state::<AtomicU64>().unwrap().load(Ordering::Relaxed), sockets, "{}", row());
    }
}

#[tokio::test]
async fn a_flood_of_pings_gives_others_their_turn() {
    let hub = Hub::builder().state(AtomicU64::new(0)).build();
    hub.on(Event::Ping, async |State(count): State<AtomicU64>| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (near, mut far) = duplex(1024 * 1024);
    // Empty, and masked with zeros. More would exceed the queue of events.
    far.write_all(&[0x89, 0x80, 0, 0, 0, 0].repeat(1000)).await.unwrap();
    let server = conn(near, Role::Server);
    tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(server).await }
    });
    let count = hub.state::<AtomicU64>().unwrap();
    let largest = largest_step(1000, move || count.load(Ordering::Relaxed)).await;
    assert!(largest <= MAX_TURN, "{largest} pings in a turn");
}

/// Compressed, the queue fits into the transport at once.
fn compressed() -> (Conn, Conn) {
    let config = || Config::new().compression(Compression::context_takeover().threshold(0));
    pair_with(config(), config())
}

/// Sends messages that compress well to some sockets. Returns how many are written in a turn.
async fn written_in_a_turn(over: Over, sockets: usize, messages: u64, broadcast: bool) -> u64 {
    let limits = SendQueueLimits::new().bytes(64 * 1024 * 1024);
    let hub = Hub::builder().send_queue(limits).build();
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let (client, server) = compressed();
        serve_over(&hub, over, server);
        clients.push(client_over(over, client).await);
    }
    wait_until(|| hub.len() == sockets).await;
    for _ in 0..100 {
        turn().await;
    }
    for _ in 0..messages {
        let message = Message::from("x".repeat(64 * 1024));
        if broadcast {
            hub.send(message);
        } else {
            hub.everyone().sockets()[0].send(message).unwrap();
        }
    }
    let total = messages * sockets as u64;
    largest_step(total, move || hub.stats().written).await
}

#[tokio::test]
async fn a_long_queue_that_compresses_well_gives_others_their_turn() {
    for over in [Over::Plain, Over::SocketIo] {
        // Four batches of 64 KiB and a message each.
        let largest = written_in_a_turn(over, 1, 100, false).await;
        assert!(largest <= 8, "{over:?}: {largest} messages of 64 KiB");
    }
}

#[tokio::test]
async fn a_broadcast_that_compresses_well_gives_others_their_turn() {
    for over in [Over::Plain, Over::SocketIo] {
        // One batch by a batch writer, and then the turn of the socket's task.
        let largest = written_in_a_turn(over, 1, 100, true).await;
        assert!(largest <= 10, "{over:?}: {largest} messages of 64 KiB to one socket");
        // 256 KiB and a batch by a batch writer.
        let largest = written_in_a_turn(over, 8, 1, true).await;
        assert!(largest <= 6, "{over:?}: {largest} messages of 64 KiB to several sockets");
    }
}
