//! How much does the hub do for one peer before other tasks run?

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::flood::Flood;
use crate::support::{Over, TIMEOUT, client_over, frame, serve_over, wait_until};
use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Message, Role, pair_with};
use ws_events::engine::{EngineConfig, EnginePacket, EngineSession, EngineSessions};
use ws_events::{DisconnectReason, Event, Hub, SendQueueLimits, Socket, State};

/// The limits of a turn of the event loop, in messages or events and in bytes.
const MAX_TURN: u64 = 64;
const MAX_TURN_BYTES: u64 = 128 * 1024;

/// What a session of Socket.IO receives in a turn, if no message is longer. A message takes 256 more.
const TURN_BYTES: u64 = 64 * 1024;

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

/// How clients of Socket.IO send.
#[derive(Clone, Copy, Debug)]
enum Via {
    WebSocket,
    /// Each POST has so many messages.
    Polling(usize),
}

/// How many clients flood the hub together.
const CLIENTS: u64 = 8;

/// A session whose client sends all of this as fast as it can.
async fn flooded_session(via: Via, messages: Vec<Message>) -> EngineSession {
    let sessions = EngineSessions::new(EngineConfig::new());
    let packets = messages.into_iter().map(EnginePacket::Message);
    let Via::Polling(each) = via else {
        let (server, client) = flooded(packets.map(|packet| packet.to_message())).await;
        let session = sessions.open_websocket(server);
        let ended = session.clone();
        tokio::spawn(async move {
            ended.closed().await;
            drop(client);
        });
        return session;
    };
    let (session, _) = sessions.open_polling(None).unwrap();
    let (posting, packets) = (session.clone(), packets.map(|packet| packet.to_text()));
    let packets: Vec<_> = packets.collect();
    let getting = session.clone();
    tokio::spawn(async move { while getting.get().await.is_ok() {} });
    tokio::spawn(async move {
        for body in packets.chunks(each) {
            let body = Bytes::from(body.join("\u{1e}"));
            posting.begin_post().unwrap().finish(body).await.unwrap();
        }
    });
    session
}

/// While several clients flood a hub, it handles at most as much as one turn of a session has before
/// the runtime looks at its sockets again. `messages` are sent in turns, `count` by each client.
async fn check_clients(via: Via, connect: &[Message], messages: &[Message], count: usize) {
    let handled = Arc::new(AtomicU64::new(0));
    let hub = Hub::builder().build();
    for namespace in [hub.clone(), hub.of("/chat")] {
        for event in [Event::Message, Event::from("x")] {
            let handled = Arc::clone(&handled);
            namespace.on(event, move |_: Socket| {
                handled.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            });
        }
    }
    for _ in 0..CLIENTS {
        let flood = messages.iter().cycle().take(count);
        let session = flooded_session(via, connect.iter().chain(flood).cloned().collect()).await;
        let hub = hub.clone();
        tokio::spawn(
            async move { tokio::join!(session.drive(), hub.serve_engine(session.clone())) },
        );
    }
    let len = messages.iter().map(Message::len).max().unwrap() as u64;
    // What a session receives in a turn. It has this much before its first turn, too.
    let in_a_turn = (TURN_BYTES / (len + TURN_BYTES / 256)).max(1);
    let before = if len < TURN_BYTES { CLIENTS * in_a_turn } else { 0 };
    let (total, mut last, mut largest) = (CLIENTS * count as u64, 0, 0);
    let measuring = async {
        while last < total {
            // Until the runtime has looked at its sockets.
            yield_now().await;
            let now = handled.load(Ordering::Relaxed);
            if last >= before {
                largest = largest.max(now - last);
            }
            last = now;
        }
    };
    timeout(TIMEOUT, measuring).await.unwrap();
    assert!(total > before, "the flood is too short");
    // Of many short messages, a session may have some left of an earlier turn.
    assert!(largest < 2 * in_a_turn, "{via:?}: {largest} messages of {len} bytes at once");
}

#[tokio::test]
async fn sessions_take_turns_to_decode_and_handle_what_they_have_received() {
    let event = |name: &str, len| Message::from(format!(r#"2["{name}","{}"]"#, "x".repeat(len)));
    let root = [Message::from("0")];
    for via in [Via::WebSocket, Via::Polling(1)] {
        for name in ["message", "x"] {
            check_clients(via, &root, &[event(name, 32 * 1024)], 6).await;
            check_clients(via, &root, &[event(name, 64 * 1024)], 4).await;
        }
        check_clients(via, &root, &[event("x", 512 * 1024)], 2).await;
    }
    for via in [Via::WebSocket, Via::Polling(2000)] {
        check_clients(via, &root, &[event("x", 0)], 1000).await;
    }
    check_clients(Via::Polling(4), &root, &[event("x", 64 * 1024)], 8).await;
}

#[tokio::test]
async fn sessions_take_turns_in_each_namespace() {
    let event = |prefix: &str| {
        Message::from(format!(r#"2{prefix}["message","{}"]"#, "x".repeat(64 * 1024)))
    };
    let both = [Message::from("0"), Message::from("0/chat,")];
    for via in [Via::WebSocket, Via::Polling(1)] {
        check_clients(via, &both, &[event(""), event("/chat,")], 4).await;
    }
}

/// The packets of a long body are validated in one go.
#[tokio::test]
async fn long_posts_take_turns_to_be_validated() {
    let sessions = EngineSessions::new(EngineConfig::new());
    let taken = Arc::new(AtomicU64::new(0));
    for _ in 0..CLIENTS {
        let (session, _) = sessions.open_polling(None).unwrap();
        let taken = Arc::clone(&taken);
        tokio::spawn(async move {
            let body = Bytes::from(format!("4{}", "x".repeat(64 * 1024)));
            session.begin_post().unwrap().finish(body).await.unwrap();
            taken.fetch_add(1, Ordering::Relaxed);
        });
    }
    let (mut last, mut largest) = (0, 0);
    let measuring = async {
        while last < CLIENTS {
            yield_now().await;
            let now = taken.load(Ordering::Relaxed);
            largest = largest.max(now - last);
            last = now;
        }
    };
    timeout(TIMEOUT, measuring).await.unwrap();
    assert_eq!(largest, 1, "POSTs at once");
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn sessions_in_msgpack_take_turns() {
    let packet = |kind: u8, rest: &[u8]| {
        let head = [if rest.is_empty() { 0x82 } else { 0x83 }];
        Message::binary([&head, &b"\xa4type"[..], &[kind], b"\xa3nsp\xa1/", rest].concat())
    };
    // A text of 64 KiB.
    let args = [b"\xa4data\x92\xa1x\xdb\0\x01\0\0", &[b'x'; 64 * 1024][..]].concat();
    for via in [Via::WebSocket, Via::Polling(1)] {
        check_clients(via, &[packet(0, b"")], &[packet(2, &args)], 4).await;
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
