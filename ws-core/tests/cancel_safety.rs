//! Can every future of a connection be dropped at any point without losing or repeating data?

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crate::trickle::Trickle;
use bytes::Bytes;
use futures::poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::yield_now;
use ws_core::Acceptor;
use ws_core::adapter::write_batch;
use ws_core::codec::JsonCodec;
use ws_core::codec::ProtobufCodec;
use ws_core::handshake::Negotiated;
use ws_core::{
    AcceptOptions, CloseInitiator, Compression, Config, Conn, Error, Message, MessageType,
    PreparedMessage, Role, StatusCode,
};

/// The futures of the public API. `cargo xtask tidy` compares this list with it.
const COVERED: &[&str] = &[
    "chunk",
    "close",
    "close_read",
    "closed",
    "finish",
    "flush",
    "ping",
    "ping_with",
    "read",
    "read_as",
    "read_json",
    "reader",
    "write",
    "write_as",
    "write_batch",
    "write_json",
    "write_prepared",
    "write_unchecked",
    "writer",
];

/// More polls than any future here needs.
const MOST_POLLS: usize = 3000;

/// Two connections: one over a stream that moves one byte per poll, and its peer.
fn connect(config: Config, compressed: bool) -> (Conn, Conn) {
    let negotiated =
        Negotiated { compression: compressed.then(Default::default), ..Negotiated::default() };
    let compression = if compressed { Compression::context_takeover() } else { Compression::off() };
    let (here, there) = duplex(64);
    let peer = Config::new().compression(compression.threshold(0)).fragment_size(7);
    (
        Conn::from_stream(
            Trickle::new(here),
            Role::Client,
            negotiated.clone(),
            Bytes::new(),
            config.compression(compression),
        ),
        Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), peer),
    )
}

/// Polls a future up to a number of times, then drops it. Returns its output if it completed.
async fn poll_and_drop<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Runs a scenario with the future dropped after 0, 1, 2, … polls, until the scenario reports that
/// it completed.
async fn at_every_poll<F: Future<Output = bool>>(scenario: impl Fn(usize) -> F) {
    for polls in 0..MOST_POLLS {
        let run = tokio::time::timeout(Duration::from_secs(20), scenario(polls));
        if run.await.unwrap_or_else(|_| panic!("hangs after {polls} polls")) {
            return;
        }
    }
    panic!("it never completed");
}

fn messages() -> Vec<Message> {
    let words = ["one", "", "zweiundzwanzig", "drei", "käse, große"];
    let text = words.iter().map(|word| Message::from(*word));
    text.chain([Message::binary(vec![7; 300])]).collect()
}

/// The peer sends the messages with pings in between, then closes.
fn send_all(peer: &Conn) -> tokio::task::JoinHandle<()> {
    let peer = peer.clone();
    tokio::spawn(async move {
        for message in messages() {
            peer.write(message).await.unwrap();
            peer.ping().await.unwrap();
        }
        peer.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    })
}

async fn read_rest(conn: &Conn, mut received: Vec<Message>) {
    loop {
        match conn.read().await {
            Ok(message) => received.push(message),
            Err(error) => {
                assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
                break;
            }
        }
    }
    assert_eq!(received, messages());
}

async fn dropped_read(polls: usize, compressed: bool) -> bool {
    let (conn, peer) = connect(Config::new(), compressed);
    let sending = send_all(&peer);
    let mut received = Vec::new();
    let mut done = false;
    // The same drop is repeated during the whole conversation.
    for _ in 0..20 {
        if let Some(Ok(message)) = poll_and_drop(conn.read(), polls).await {
            received.push(message);
            done = true;
        }
    }
    read_rest(&conn, received).await;
    sending.await.unwrap();
    done && polls > 800
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    assert!(COVERED.contains(&"read"));
    for compressed in [false, true] {
        for polls in (0..60).chain((60..900).step_by(97)) {
            let run =
                tokio::time::timeout(Duration::from_secs(20), dropped_read(polls, compressed));
            run.await.unwrap_or_else(|_| panic!("hangs after {polls} polls"));
        }
    }
}

#[tokio::test]
async fn a_dropped_reader_loses_nothing() {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), polls % 2 == 1);
        let sending = send_all(&peer);
        let mut received = Vec::new();
        let opened = poll_and_drop(conn.reader(), polls).await;
        let done = opened.is_some();
        if let Some(reader) = opened {
            let mut reader = reader.unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).await.unwrap();
            received.push(Message::from(text));
        }
        read_rest(&conn, received).await;
        sending.await.unwrap();
        done
    })
    .await;
}

#[tokio::test]
async fn a_dropped_chunk_loses_nothing() {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), polls % 2 == 1);
        let long = Message::binary(vec![9; 200]);
        let sending = tokio::spawn({
            let long = long.clone();
            async move { peer.write(long).await.map(|()| peer) }
        });
        let mut reader = conn.reader().await.unwrap();
        let mut received = Vec::new();
        let mut done = false;
        loop {
            match poll_and_drop(reader.chunk(), polls).await {
                Some(Ok(Some(chunk))) => {
                    done = true;
                    received.extend(chunk);
                }
                Some(Ok(None)) => break,
                Some(Err(error)) => panic!("{error:?}"),
                None => match reader.chunk().await.unwrap() {
                    Some(chunk) => received.extend(chunk),
                    None => break,
                },
            }
        }
        assert_eq!(received, long.into_bytes());
        sending.await.unwrap().unwrap();
        done && polls > 3
    })
    .await;
}

/// Settings that make a write wait.
fn tight() -> Config {
    Config::new().write_buffer(8, 16)
}

/// Drops the future of `write` with a message.
async fn check_dropped_write(write: impl AsyncFn(&Conn, Message) -> Result<(), Error>) {
    let second = Message::from("second");
    check_dropped_write_of(second.clone(), async |conn| write(conn, second.clone()).await).await;
}

/// Drops the future of `write`, which sends this message.
async fn check_dropped_write_of(second: Message, write: impl AsyncFn(&Conn) -> Result<(), Error>) {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(tight(), polls % 2 == 1);
        let first = Message::from("x".repeat(150));
        conn.write(first.clone()).await.unwrap();
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            while let Ok(message) = peer.read().await {
                received.push(message);
            }
            received
        });
        let written = poll_and_drop(write(&conn), polls).await;
        conn.write("last").await.unwrap();
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        let received = reading.await.unwrap();
        let expected = match &written {
            Some(written) => {
                assert!(written.is_ok());
                vec![first, second.clone(), Message::from("last")]
            }
            None => vec![first, Message::from("last")],
        };
        assert_eq!(received, expected, "{polls} polls");
        written.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_write_queues_the_whole_message_or_nothing() {
    check_dropped_write(async |conn, message| conn.write(message).await).await;
    let prepared =
        async |conn: &Conn, message| conn.write_prepared(&PreparedMessage::new(message)).await;
    check_dropped_write(prepared).await;
}

#[tokio::test]
async fn a_dropped_write_batch_takes_nothing() {
    check_dropped_write(async |conn, message| {
        let mut batch = Some(PreparedMessage::new(message));
        assert_eq!(write_batch(conn, |_| batch.take()).await?.messages, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_dropped_write_of_a_value_or_a_frame_queues_all_of_it_or_nothing() {
    let json = Message::from_json("value").unwrap();
    check_dropped_write_of(json.clone(), async |conn| conn.write_json("value").await).await;
    check_dropped_write_of(json, async |conn| conn.write_as::<JsonCodec, _>("value").await).await;
    let number = Message::from_proto(&7_u32);
    check_dropped_write_of(number, async |conn| conn.write_as::<ProtobufCodec, _>(&7_u32).await)
        .await;
    check_dropped_write(async |conn, message| conn.frames().write(message.into()).await).await;
    let unchecked =
        async |conn: &Conn, message: Message| conn.frames().write_unchecked(message.into()).await;
    check_dropped_write(unchecked).await;
}

/// Drops the future of `read` while the peer sends these messages.
async fn check_dropped_read<T: PartialEq + std::fmt::Debug>(
    sent: &[(Message, T)],
    read: impl AsyncFn(&Conn) -> Result<T, Error>,
) {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), false);
        let messages: Vec<_> = sent.iter().map(|(message, _)| message.clone()).collect();
        let sending = tokio::spawn(async move {
            for message in messages {
                peer.write(message).await.unwrap();
            }
            peer.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        });
        let first = poll_and_drop(read(&conn), polls).await;
        let done = first.is_some();
        let mut received: Vec<T> = first.into_iter().map(Result::unwrap).collect();
        while let Ok(value) = read(&conn).await {
            received.push(value);
        }
        assert!(received.iter().eq(sent.iter().map(|(_, value)| value)), "{received:?}");
        sending.await.unwrap();
        done
    })
    .await;
}

#[tokio::test]
async fn a_dropped_read_of_a_value_or_a_frame_loses_nothing() {
    let json: Vec<_> = (0..3).map(|n| (Message::from_json(&n).unwrap(), n)).collect();
    check_dropped_read(&json, async |conn| conn.read_json::<u32>().await).await;
    check_dropped_read(&json, async |conn| conn.read_as::<JsonCodec, u32>().await).await;
    let proto: Vec<_> = (1..4_u32).map(|n| (Message::from_proto(&n), n)).collect();
    check_dropped_read(&proto, async |conn| conn.read_as::<ProtobufCodec, u32>().await).await;
    let frames = ["one", "two", "three"].map(|text| (Message::from(text), Bytes::from(text)));
    check_dropped_read(&frames, async |conn| {
        loop {
            let frame = conn.frames().read().await?;
            if !frame.is_control() {
                return Ok(frame.into_payload());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_writer_keeps_nobody_waiting() {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(tight(), false);
        conn.write("x".repeat(150)).await.unwrap();
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            while let Ok(message) = peer.read().await {
                received.push(message.as_text().unwrap().to_owned());
            }
            received
        });
        let opened = poll_and_drop(conn.writer(MessageType::Text), polls).await;
        let done = opened.is_some();
        let mut expected = vec!["x".repeat(150)];
        if let Some(opened) = opened {
            let mut writer = opened.unwrap();
            writer.write_all(b"in pieces").await.unwrap();
            writer.finish().await.unwrap();
            expected.push("in pieces".into());
        }
        conn.write("last").await.unwrap();
        expected.push("last".into());
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        assert_eq!(reading.await.unwrap(), expected);
        done
    })
    .await;
}

#[tokio::test]
async fn a_dropped_finish_finishes_or_closes() {
    for polls in [0, 1] {
        let (conn, peer) = connect(Config::new(), false);
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"whole").await.unwrap();
        let finished = poll_and_drop(writer.finish(), polls).await;
        match finished {
            Some(finished) => {
                finished.unwrap();
                assert_eq!(peer.read().await.unwrap(), Message::from("whole"));
            }
            None => {
                let error = peer.read().await.unwrap_err();
                assert_eq!(error.close_status(), Some(StatusCode::INTERNAL_ERROR));
            }
        }
    }
}

#[tokio::test]
async fn a_dropped_flush_changes_nothing() {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), false);
        for message in messages() {
            conn.write(message).await.unwrap();
        }
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            while let Ok(message) = peer.read().await {
                received.push(message);
            }
            received
        });
        let flushed = poll_and_drop(conn.flush(), polls).await;
        if let Some(flushed) = &flushed {
            assert!(flushed.is_ok());
            assert_eq!(conn.stats().buffered, 0);
        }
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        assert_eq!(reading.await.unwrap(), messages());
        flushed.is_some()
    })
    .await;
}

async fn dropped_ping(polls: usize, payload: Option<&'static [u8]>) -> bool {
    let (conn, peer) = connect(Config::new(), false);
    let sending = send_all(&peer);
    let answered = match payload {
        None => poll_and_drop(conn.ping(), polls).await,
        Some(payload) => poll_and_drop(conn.ping_with(payload), polls).await,
    };
    // Waiting for a pong reads and stores one message at most.
    read_rest(&conn, Vec::new()).await;
    sending.await.unwrap();
    if let Some(answered) = &answered {
        assert!(answered.is_ok());
    }
    answered.is_some()
}

#[tokio::test]
async fn a_dropped_ping_loses_nothing() {
    // The peer's first message precedes the pong. Until it is read, later bytes stay in the socket,
    // so some of these pings are not answered.
    for polls in (0..80).chain([200, 400]) {
        dropped_ping(polls, None).await;
        dropped_ping(polls, Some(b"")).await;
    }
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), false);
        let closing = peer.close_read();
        let first = poll_and_drop(conn.ping(), polls).await;
        conn.ping().await.unwrap();
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        assert!(closing.await.is_clean());
        first.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_close_goes_on_with_the_next() {
    at_every_poll(async |polls| {
        let (conn, peer) = connect(Config::new(), false);
        conn.write("before").await.unwrap();
        let reading = tokio::spawn(async move {
            let message = peer.read().await.unwrap();
            (message, peer.read().await.unwrap_err())
        });
        let first = poll_and_drop(conn.close(StatusCode::GOING_AWAY, "first"), polls).await;
        assert_eq!(matches!(conn.write("x").await, Err(Error::CloseSent)), polls > 0);
        let second = conn.close(StatusCode::NORMAL_CLOSURE, "second").await;
        assert!(second.is_ok());
        let ending = conn.close_info().unwrap();
        let code = if polls > 0 { StatusCode::GOING_AWAY } else { StatusCode::NORMAL_CLOSURE };
        assert_eq!(ending.sent.unwrap().code, code);
        drop(reading);
        first.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_closed_loses_nothing() {
    for polls in (0..120).chain([500]) {
        let (conn, peer) = connect(Config::new(), polls % 2 == 1);
        let sending = send_all(&peer);
        // The messages before the end are read ahead.
        let _ = poll_and_drop(conn.closed(), polls).await;
        read_rest(&conn, Vec::new()).await;
        sending.await.unwrap();
        assert_eq!(conn.closed().await.by, CloseInitiator::Peer);
    }
}

#[tokio::test]
async fn a_dropped_close_read_reads_on() {
    for polls in 0..20 {
        let (conn, peer) = connect(Config::new(), false);
        assert!(poll_and_drop(conn.close_read(), polls).await.is_none());
        peer.ping().await.unwrap();
        peer.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        assert!(conn.close_read().await.is_clean());
    }
}

#[tokio::test]
async fn a_dropped_accept_drops_the_stream() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    at_every_poll(async |polls| {
        let (here, mut there) = duplex(1024);
        there.write_all(request.as_bytes()).await.unwrap();
        let options = AcceptOptions::new();
        let accepted =
            poll_and_drop(Acceptor::new(&options).accept(Trickle::new(here)), polls).await;
        match accepted {
            Some(accepted) => {
                let conn = accepted.unwrap();
                conn.write("ready").await.unwrap();
                conn.flush().await.unwrap();
                let mut answer = vec![0; 1024];
                let count = there.read(&mut answer).await.unwrap();
                assert!(answer[..count].ends_with(b"\x81\x05ready"));
                true
            }
            None => {
                let mut answer = Vec::new();
                there.read_to_end(&mut answer).await.unwrap();
                assert!(!answer.ends_with(b"ready"));
                false
            }
        }
    })
    .await;
}
