//! Do many tasks share one connection with whole messages, in the order of each writer?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::trickle::Trickle;
use bytes::Bytes;
use futures::future::join_all;
use tokio::io::duplex;
use tokio::net::{TcpListener, TcpStream};
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Message, MessageType, Role, StatusCode};

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
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
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
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
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
