//! How much does the hub do for one peer before other tasks run?

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use crate::support::{TIMEOUT, wait_until};
use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Message, Role, pair_with};
use ws_events::{Event, Hub, SendQueueLimits, State};

/// The limits of a turn of the event loop, in messages or events and in bytes.
const MAX_TURN: u64 = 64;
const MAX_TURN_BYTES: u64 = 128 * 1024;

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
        while last - start < total {
            turn().await;
            let now = count();
            largest = largest.max(now - last);
            last = now;
        }
        largest
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

/// A flood of `message` in a row gives others their turn.
async fn check(hub: &Hub, message: Message, count: usize) {
    let (server, client) = flooded(std::iter::repeat_n(message.clone(), count)).await;
    let serving = tokio::spawn({
        let (hub, server) = (hub.clone(), server.clone());
        async move { hub.serve(server).await }
    });
    let len = message.len() as u64;
    let largest = largest_step(count as u64, move || server.stats().messages_in).await;
    assert!(largest <= MAX_TURN, "{message:?}: {largest} messages in a turn");
    let most_bytes = MAX_TURN_BYTES + len;
    assert!(largest * len <= most_bytes, "{message:?}: {} bytes in a turn", largest * len);
    client.close_now();
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_flood_of_messages_gives_others_their_turn() {
    let silent = Hub::builder().envelope().build();
    let handling = Hub::builder().envelope().build();
    handling.on_any(async || {});
    handling.on_message(async || {});
    handling.on_error(async || {});
    for hub in [&silent, &handling] {
        check(hub, Message::from(r#"{"event":"x"}"#), 2000).await;
        check(hub, Message::from("not an event"), 2000).await;
        check(hub, Message::binary(Vec::new()), 2000).await;
        check(hub, Message::binary(vec![0; 64 * 1024]), 50).await;
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
async fn written_in_a_turn(sockets: usize, messages: u64, broadcast: bool) -> u64 {
    let limits = SendQueueLimits::new().bytes(64 * 1024 * 1024);
    let hub = Hub::builder().send_queue(limits).build();
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let (client, server) = compressed();
        let hub = hub.clone();
        tokio::spawn(async move { hub.serve(server).await });
        clients.push(client);
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
    // Four batches of 64 KiB and a message each.
    let largest = written_in_a_turn(1, 100, false).await;
    assert!(largest <= 8, "{largest} messages of 64 KiB");
}

#[tokio::test]
async fn a_broadcast_that_compresses_well_gives_others_their_turn() {
    // One batch by a batch writer, and then the turn of the socket's task.
    let largest = written_in_a_turn(1, 100, true).await;
    assert!(largest <= 10, "{largest} messages of 64 KiB to one socket");
    // 256 KiB and a batch by a batch writer.
    let largest = written_in_a_turn(8, 1, true).await;
    assert!(largest <= 6, "{largest} messages of 64 KiB to several sockets");
}
