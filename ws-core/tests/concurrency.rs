//! Do many tasks share one connection with whole messages, in the order of each writer?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::{
    Frame, Peer, binary, close, connect, more, ping, pong, run, soon, text, wire,
};
use crate::trickle::Trickle;
use bytes::Bytes;
use futures::executor::LocalPool;
use futures::future::{FutureExt as _, LocalBoxFuture, join_all};
use futures::task::LocalSpawnExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Limits, Message, MessageType, Role, StatusCode};

const WRITERS: usize = 8;
const READERS: usize = 2;

fn compressed() -> (Negotiated, Config) {
    let compression = Compression::context_takeover().threshold(32);
    let negotiated = Negotiated { compression: Some(Default::default()), ..Negotiated::default() };
    (negotiated, Config::new().compression(compression).write_buffer(512, 2048))
}

async fn over_tcp() -> (Conn, Conn) {
    let (negotiated, config) = compressed();
    over_tcp_with(negotiated, config).await
}

async fn over_tcp_with(negotiated: Negotiated, config: Config) -> (Conn, Conn) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (here, there) = tokio::join!(dialled, listener.accept());
    let here = here.unwrap();
    let there = there.unwrap().0;
    (
        Conn::from_stream(here, Role::Client, negotiated.clone(), Bytes::new(), config.clone()),
        Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), config),
    )
}

fn over_single_bytes() -> (Conn, Conn) {
    let (here, there) = duplex(256);
    let (negotiated, config) = compressed();
    let (here, there) = (Trickle::new(here), Trickle::new(there));
    (
        Conn::from_stream(here, Role::Client, negotiated.clone(), Bytes::new(), config.clone()),
        Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), config),
    )
}

/// The `number`th message of a writer: its length depends on both.
fn message(writer: usize, number: usize) -> Message {
    let filler = "abcdefgh".repeat((writer * 31 + number * 7) % 60);
    Message::from(format!("{writer}:{number}:{filler}"))
}

async fn write_all(conn: Conn, writer: usize, count: usize) {
    for number in 0..count {
        // One of the writers sends in pieces.
        if writer == 0 {
            let mut open = conn.writer(MessageType::Text).await.unwrap();
            let text = message(writer, number).into_bytes();
            tokio::io::AsyncWriteExt::write_all(&mut open, &text).await.unwrap();
            open.finish().await.unwrap();
        } else {
            conn.write(message(writer, number)).await.unwrap();
        }
    }
}

/// All messages that a reader receives until the connection ends.
async fn read_all(conn: Conn, seen: Arc<Mutex<HashMap<usize, Vec<usize>>>>) -> StatusCode {
    let mut last: HashMap<usize, usize> = HashMap::new();
    loop {
        let received = match conn.read().await {
            Ok(received) => received,
            Err(error) => return error.close_status().unwrap(),
        };
        let text = received.as_text().unwrap();
        let mut parts = text.splitn(3, ':').map(|part| part.parse::<usize>());
        let writer = parts.next().unwrap().unwrap();
        let number = parts.next().unwrap().unwrap();
        assert_eq!(received, message(writer, number));
        // One reader receives the messages of one writer in order.
        let before = last.insert(writer, number);
        assert!(before.is_none_or(|before| before < number));
        seen.lock().unwrap().entry(writer).or_default().push(number);
    }
}

async fn check((here, there): (Conn, Conn), count: usize) {
    let run = async {
        let seen = Arc::default();
        let readers: Vec<_> = (0..READERS)
            .map(|_| tokio::spawn(read_all(there.clone(), Arc::clone(&seen))))
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_all(here.clone(), writer, count)))
            .collect();
        let pinger = tokio::spawn({
            let here = here.clone();
            async move {
                let mut pings = 0;
                while here.ping().await.is_ok() {
                    pings += 1;
                    tokio::task::yield_now().await;
                }
                pings
            }
        });
        let closer = tokio::spawn({
            let here = here.clone();
            async move {
                for written in join_all(writers).await {
                    written.unwrap();
                }
                here.close(StatusCode::NORMAL_CLOSURE, "done").await
            }
        });
        closer.await.unwrap().unwrap();
        assert!(pinger.await.unwrap() > 0);
        for code in join_all(readers).await {
            assert_eq!(code.unwrap(), StatusCode::NORMAL_CLOSURE);
        }
        assert!(here.closed().await.is_clean() && there.closed().await.is_clean());
        let mut seen = seen.lock().unwrap();
        for writer in 0..WRITERS {
            let numbers = seen.get_mut(&writer).unwrap();
            numbers.sort_unstable();
            assert_eq!(*numbers, (0..count).collect::<Vec<_>>(), "writer {writer}");
        }
    };
    timeout(Duration::from_secs(60), run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_connection_over_tcp() {
    check(over_tcp().await, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_connection_of_single_bytes() {
    check(over_single_bytes(), 20).await;
}

#[tokio::test]
async fn many_tasks_share_a_connection_on_one_thread() {
    check(over_tcp().await, 300).await;
    check(over_single_bytes(), 20).await;
}

/// Writes that meet leave their bytes to the last of them, which must send them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_tasks_write_at_once_is_sent_without_another_write() {
    let run = async {
        let (here, there) = over_tcp_with(Negotiated::default(), Config::new()).await;
        // The fast path, the slow path, and messages beyond the batch.
        for len in [20, 70_000, 6000] {
            for _ in 0..100 {
                for writer in 0..4 {
                    let conn = here.clone();
                    tokio::spawn(async move {
                        for _ in 0..8 {
                            conn.write(vec![writer; len]).await.unwrap();
                        }
                    });
                }
                let mut counts = [0; 4];
                for _ in 0..4 * 8 {
                    let message = there.read().await.unwrap();
                    assert_eq!(message.as_bytes().len(), len);
                    counts[usize::from(message.as_bytes()[0])] += 1;
                }
                assert_eq!(counts, [8; 4]);
            }
        }
    };
    timeout(Duration::from_secs(60), run).await.unwrap();
}

#[tokio::test]
async fn a_read_that_is_held_but_not_polled_stops_nobody() {
    let (here, there) = over_single_bytes();
    let mut held = Box::pin(here.read());
    assert!(futures::poll!(&mut held).is_pending());
    let answering = there.close_read();
    here.ping().await.unwrap();
    here.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    assert!(held.await.is_err());
    assert!(answering.await.is_clean());
}

#[test]
fn a_connection_works_outside_of_a_runtime() {
    let (here, there) = ws_core::pair();
    let long = Message::binary(vec![5; 400_000]);
    futures::executor::block_on(async {
        let sent = async {
            here.write(long.clone()).await?;
            here.write("after").await?;
            here.flush().await
        };
        let received = async { Ok((there.read().await?, there.read().await?)) };
        let (_, received) = futures::future::try_join(sent, received).await.unwrap();
        assert_eq!(received, (long, Message::from("after")));
        // Answers to a burst, which no task can flush.
        for word in ["a", "b", "c"] {
            here.write(word).await.unwrap();
        }
        for word in ["a", "b", "c"] {
            let message = there.read().await.unwrap();
            there.write(message).await.unwrap();
            assert_eq!(here.read().await.unwrap().as_text(), Some(word));
        }
    });
}

// Operations that wait while others come and go.

/// An operation that takes no messages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Waits {
    Closed,
    Ping,
}

/// How another task makes room for what follows a long message.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Message,
    Frame,
    Pieces,
    /// It has read the first frame by `frames()`, and the rest with the next message.
    RestOfFrames,
    /// It limits the size, which makes the message one that is read ahead whole, and then reads.
    Limit,
}

async fn take(conn: &Conn, takes: Takes) {
    match takes {
        Takes::Message | Takes::RestOfFrames => drop(soon(conn.read()).await.unwrap()),
        Takes::Frame => drop(soon(conn.frames().read()).await.unwrap()),
        Takes::Pieces => {
            let mut reader = soon(conn.reader()).await.unwrap();
            while soon(reader.chunk()).await.unwrap().is_some() {}
        }
        Takes::Limit => {
            conn.set_read_limit(Some(1 << 20));
            drop(soon(conn.read()).await.unwrap());
        }
    }
}

/// No timer helps: there is no keepalive.
#[test]
fn what_waits_for_the_peer_goes_on_when_a_long_message_is_taken() {
    let ways = [Takes::Message, Takes::Frame, Takes::Pieces, Takes::RestOfFrames, Takes::Limit];
    for (waits, takes) in
        ways.iter().flat_map(|takes| [(Waits::Closed, *takes), (Waits::Ping, *takes)])
    {
        run(async {
            let config = Config::new().no_keepalive().limits(Limits::new().no_message_size());
            let (conn, mut peer) = connect(Role::Server, config, None, 1 << 20);
            if let Takes::RestOfFrames = takes {
                peer.send(&[text("a").open()]).await;
                drop(soon(conn.frames().read()).await.unwrap());
            }
            let waiting = tokio::spawn({
                let conn = conn.clone();
                async move {
                    match waits {
                        Waits::Closed => drop(conn.closed().await),
                        Waits::Ping => drop(conn.ping_with("p").await.unwrap()),
                    }
                }
            });
            if waits == Waits::Ping {
                assert_eq!(peer.frame().await, Some(ping("p")));
            }
            let long = vec![b'a'; 70 << 10];
            let frames = match takes {
                Takes::RestOfFrames => vec![more(long), text("b")],
                Takes::Message | Takes::Frame | Takes::Pieces | Takes::Limit => vec![text(long)],
            };
            let bytes = wire(Role::Client, &frames);
            // In two turns: the end of one would wake all.
            let (begin, rest) = bytes.split_at(60 << 10);
            for part in [begin, rest] {
                peer.send_bytes(part).await;
                sleep(Duration::from_secs(3)).await; // tidy: sleep is the subject
            }
            // The task that waits has read as much as it may, and is watched.
            take(&conn, takes).await;
            // Nor is it watched any more.
            sleep(Duration::from_secs(3)).await; // tidy: sleep is the subject
            peer.send(&[pong("p"), close(1000, "")]).await;
            assert!(timeout(Duration::from_secs(60), waiting).await.is_ok(), "{waits:?} {takes:?}");
        });
    }
}

/// An operation that waits on a full transport, outside of a runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stuck {
    /// It waits for room, and then until everything is sent.
    Write,
    /// It waits for the answer to what is queued.
    Read,
    /// The same, from before the transport was full.
    EarlyRead,
    /// It waits for the end, behind as much as is read ahead.
    Closed,
}

/// Another one, which is polled once.
#[derive(Clone, Copy, Debug)]
enum Passing {
    Read,
    Write,
    Flush,
    Ping,
    TryWrite,
    /// It answers a ping.
    Pong,
}

/// What is left of it after that.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Dropped,
    Held,
}

/// Polls the operation once. The task that it wakes does nothing.
fn poll_once<'a>(conn: &'a Conn, passing: Passing) -> Option<LocalBoxFuture<'a, ()>> {
    let mut op: LocalBoxFuture<'a, ()> = match passing {
        Passing::Read | Passing::Pong => Box::pin(conn.read().map(drop)),
        Passing::Write => Box::pin(conn.write("passing").map(drop)),
        Passing::Flush => Box::pin(conn.flush().map(drop)),
        Passing::Ping => Box::pin(conn.ping().map(drop)),
        Passing::TryWrite => {
            assert!(conn.try_write("passing").is_err());
            return None;
        }
    };
    let polled = op.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    polled.is_pending().then_some(op)
}

fn send_now(peer: &mut Peer, frames: &[Frame]) {
    let bytes = wire(peer.role, frames);
    peer.io.write_all(&bytes).now_or_never().unwrap().unwrap();
}

fn check_stuck(stuck: Stuck, passing: Passing, fate: Fate) {
    let config = Config::new().write_buffer(512, 2048);
    let (conn, mut peer) = connect(Role::Server, config, None, 128 << 10);
    let fill = || conn.write(vec![7; 1 << 20]).now_or_never().unwrap().unwrap();
    if stuck == Stuck::Closed {
        send_now(&mut peer, &vec![binary([0; 1000]); 100]);
    }
    let mut pool = LocalPool::new();
    if stuck != Stuck::EarlyRead {
        fill();
    }
    let waiting = pool.spawner().spawn_local_with_handle({
        let conn = conn.clone();
        async move {
            match stuck {
                Stuck::Write => {
                    conn.write("last").await.unwrap();
                    conn.flush().await.unwrap();
                }
                Stuck::Read | Stuck::EarlyRead => drop(conn.read().await.unwrap()),
                Stuck::Closed => drop(conn.closed().await),
            }
        }
    });
    pool.run_until_stalled();
    if stuck == Stuck::EarlyRead {
        fill();
        pool.run_until_stalled();
    }
    if let Passing::Pong = passing {
        send_now(&mut peer, &[ping("p")]);
    }
    let held = poll_once(&conn, passing).filter(|_| fate == Fate::Held);
    pool.run_until_stalled();
    let mut room = vec![0; 1024];
    while let Some(read) = peer.io.read(&mut room).now_or_never() {
        read.unwrap();
        pool.run_until_stalled();
    }
    assert_eq!(conn.stats().buffered, 0, "{stuck:?} {passing:?} {fate:?}");
    send_now(&mut peer, &[text("answer")]);
    pool.run_until_stalled();
    let done = waiting.unwrap().now_or_never();
    assert_eq!(done.is_some(), stuck != Stuck::Closed, "{stuck:?} {passing:?} {fate:?}");
    drop(held);
}

#[test]
fn outside_of_a_runtime_an_operation_that_is_not_polled_again_stops_nobody() {
    for stuck in [Stuck::Write, Stuck::Read, Stuck::EarlyRead, Stuck::Closed] {
        for passing in [
            Passing::Read,
            Passing::Write,
            Passing::Flush,
            Passing::Ping,
            Passing::TryWrite,
            Passing::Pong,
        ] {
            for fate in [Fate::Dropped, Fate::Held] {
                check_stuck(stuck, passing, fate);
            }
        }
    }
}
