//! Do all kinds of connections receive the same prepared message?

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::duplex;
use tokio::time::timeout;
use ws_core::adapter::try_write_batch;
use ws_core::adapter::write_batch;
use ws_core::deflate::Params;
use ws_core::handshake::Negotiated;
use ws_core::{
    Compression, Config, Conn, Message, MessageType, PreparedMessage, Role, TryWriteError,
};

fn config(compression: Compression) -> Config {
    Config::new().compression(compression)
}

/// A connection with these settings, and its peer.
fn connect(role: Role, config: Config, compressed: bool) -> (Conn, Conn) {
    let (here, there) = duplex(1 << 20);
    let negotiated =
        Negotiated { compression: compressed.then(Params::default), ..Negotiated::default() };
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let conn = Conn::from_stream(here, role, negotiated.clone(), Bytes::new(), config.clone());
    (conn, Conn::from_stream(there, other, negotiated, Bytes::new(), config))
}

/// Sends each message twice to connections of all kinds.
async fn check(messages: &[Message]) {
    let off = config(Compression::off());
    let takeover = config(Compression::context_takeover().threshold(0));
    let no_takeover = config(Compression::no_context_takeover().threshold(0));
    let other_level = config(Compression::no_context_takeover().threshold(0).level(9));
    let mut conns = Vec::new();
    for role in [Role::Server, Role::Client] {
        for (config, compressed) in [
            (off.clone(), false),
            (off.clone().fragment_size(3), false),
            (takeover.clone(), true),
            (no_takeover.clone(), true),
            (no_takeover.clone().fragment_size(3), true),
            (other_level.clone(), true),
        ] {
            conns.push(connect(role, config, compressed));
        }
    }
    for message in messages {
        let prepared = PreparedMessage::new(message);
        for (conn, peer) in &conns {
            for _ in 0..2 {
                conn.write_prepared(&prepared).await.unwrap();
                let received = timeout(Duration::from_secs(20), peer.read()).await;
                assert_eq!(received.unwrap().unwrap(), *message, "{conn:?}");
            }
        }
    }
}

#[tokio::test]
async fn everybody_gets_the_message_whatever_was_agreed() {
    check(&[
        Message::from(""),
        Message::from("short"),
        Message::from("the same again and again and again and again and again and again"),
        Message::binary((0..100_u8).map(|n| n.wrapping_mul(151)).collect::<Vec<_>>()),
        Message::from("long and plain ".repeat(1000)).uncompressed(),
        Message::from("long ".repeat(10_000)),
    ])
    .await;
}

#[tokio::test]
async fn a_message_is_compressed_like_a_written_one() {
    let no_takeover = config(Compression::no_context_takeover().threshold(10));
    for text in ["short", "the same again and again and again and again and again"] {
        let (conn, peer) = connect(Role::Server, no_takeover.clone(), true);
        conn.write(text).await.unwrap();
        conn.flush().await.unwrap();
        let written = conn.stats().bytes_out;
        conn.write_prepared(&PreparedMessage::new(text)).await.unwrap();
        conn.flush().await.unwrap();
        assert_eq!(conn.stats().bytes_out, 2 * written, "{text}");
        drop(peer);
    }
}

/// The message length → the number of messages in the first batch.
async fn check_batch(len: usize, mark: usize, expected: usize) {
    let config = config(Compression::off()).write_buffer(0, mark);
    let (conn, peer) = connect(Role::Server, config, false);
    let mut waiting: VecDeque<_> =
        (0..10_u8).map(|n| PreparedMessage::new(Message::binary(vec![n; len]))).collect();
    assert_eq!(write_batch(&conn, |_| waiting.pop_front()).await.unwrap().messages, expected);
    assert_eq!(waiting.len(), 10 - expected);
    while !waiting.is_empty() {
        conn.flush().await.unwrap();
        write_batch(&conn, |_| waiting.pop_front()).await.unwrap();
    }
    assert_eq!(conn.stats().messages_out, 10);
    for n in 0..10_u8 {
        let received = timeout(Duration::from_secs(20), peer.read()).await.unwrap().unwrap();
        assert_eq!(received, Message::binary(vec![n; len]));
    }
}

#[tokio::test]
async fn a_batch_is_what_there_is_up_to_the_high_mark() {
    check_batch(10, 1 << 20, 10).await;
    // Each has two more bytes. The message that exceeds the watermark is the last.
    check_batch(10, 35, 3).await;
    check_batch(10, 36, 4).await;
    check_batch(100_000, 64 * 1024, 1).await;
}

#[tokio::test]
async fn a_batch_is_refused_when_nothing_can_be_sent() {
    let (conn, peer) = connect(Role::Server, Config::new(), false);
    let mut asked = false;
    let closing = tokio::spawn({
        let conn = conn.clone();
        async move { conn.close(ws_core::StatusCode::NORMAL_CLOSURE, "").await }
    });
    peer.closed().await;
    closing.await.unwrap().unwrap();
    let mut take = |_| {
        asked = true;
        None::<PreparedMessage>
    };
    assert!(write_batch(&conn, &mut take).await.is_err());
    assert!(matches!(try_write_batch(&conn, &mut take), Err(TryWriteError::Conn(_))));
    assert!(!asked);
}

#[tokio::test]
async fn a_batch_says_how_much_room_there_is_and_takes_whatever_it_is_given() {
    let config = config(Compression::off()).write_buffer(0, 100);
    let (conn, peer) = connect(Role::Server, config, false);
    let message = PreparedMessage::new("x".repeat(60));
    for (at_once, expected) in [(1, (vec![100, 38], 2)), (3, (vec![100], 3))] {
        let mut rooms = Vec::new();
        let batch = write_batch(&conn, |room| {
            rooms.push(room);
            vec![message.clone(); at_once]
        });
        let batch = batch.await.unwrap();
        assert!(batch.flushed);
        assert_eq!((rooms, batch.messages), expected);
        for _ in 0..batch.messages {
            assert_eq!(peer.read().await.unwrap(), *message.message());
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_only_tried_waits_for_nothing() {
    // The peer reads a little, then nothing.
    let (here, there) = duplex(64);
    let config = config(Compression::off()).write_buffer(0, 100);
    let negotiated = Negotiated::default();
    let conn =
        Conn::from_stream(here, Role::Server, negotiated.clone(), Bytes::new(), config.clone());
    let message = PreparedMessage::new("x".repeat(60));
    let try_one = || {
        let mut one = Some(message.clone());
        let tried = try_write_batch(&conn, |_| one.take());
        (tried.map(|batch| (batch.messages, batch.flushed)), one.is_none())
    };
    assert!(matches!(try_one(), (Ok((1, true)), true)));
    assert!(matches!(try_one(), (Ok((1, false)), true)));
    assert!(matches!(try_one(), (Ok((1, false)), true)));
    // The send buffer is above the high watermark.
    assert!(matches!(try_one(), (Err(TryWriteError::Full), false)));
    let peer = Conn::from_stream(there, Role::Client, negotiated, Bytes::new(), config);
    for _ in 0..3 {
        assert_eq!(peer.read().await.unwrap(), *message.message());
    }
    conn.flush().await.unwrap();
    assert!(matches!(try_one(), (Ok((1, true)), true)));
    let writer = conn.writer(MessageType::Text).await.unwrap();
    assert!(matches!(try_one(), (Err(TryWriteError::Busy), false)));
    drop(writer);
}

/// The connection with this number, and its peer: plain or compressed, with and without context
/// takeover, with all window sizes and several levels.
fn member(number: u8) -> (Conn, Conn) {
    let bits = 8 + number % 8;
    let compression = match number % 3 {
        0 => Compression::off(),
        1 => Compression::no_context_takeover(),
        _ => Compression::context_takeover(),
    };
    let kept = number % 3 == 2;
    let params = Params {
        server_no_context_takeover: !kept,
        client_no_context_takeover: !kept,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    };
    let config = Config::new()
        .compression(compression.threshold(0).level(1 + number % 2 * 5).window_bits(bits));
    let negotiated =
        Negotiated { compression: compression.is_on().then_some(params), ..Negotiated::default() };
    let role = if number.is_multiple_of(5) { Role::Client } else { Role::Server };
    let (here, there) = duplex(1 << 16);
    let end =
        |io, role| Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config.clone());
    (end(here, role), end(there, role.other()))
}

#[tokio::test]
async fn a_crowd_of_a_thousand_gets_the_same_of_one() {
    let crowd: Vec<_> = (0..1000_u16).map(|number| member((number % 240) as u8)).collect();
    let text = "the same for all of them, and again, ".repeat(100) + "and an end";
    for level in [None, Some(9)] {
        let message = match level {
            None => Message::from(&text[..]),
            Some(level) => Message::from(&text[..]).compression_level(level),
        };
        let news = PreparedMessage::new(message);
        for (conn, _) in &crowd {
            conn.try_write_prepared(&news).unwrap();
        }
        for (conn, peer) in &crowd {
            let received = timeout(Duration::from_secs(60), peer.read()).await;
            assert_eq!(received.unwrap().unwrap().as_text(), Some(&text[..]), "{conn:?}");
        }
    }
    let smaller = crowd.iter().filter(|(conn, _)| conn.stats().after_deflate > 0).count();
    assert_eq!(smaller, 1000 - crowd.iter().filter(|(conn, _)| !conn.is_compressed()).count());
}

#[tokio::test]
async fn a_sequence_is_written_together_and_in_order() {
    let compressed = config(Compression::no_context_takeover().threshold(0));
    for (role, config, is_compressed) in [
        (Role::Server, config(Compression::off()), false),
        (Role::Client, config(Compression::off()), false),
        (Role::Server, compressed, true),
    ] {
        let (conn, peer) = connect(role, config, is_compressed);
        let rest = [Message::binary(vec![0; 300]), Message::from("end")];
        let sequence = PreparedMessage::sequence("head", rest);
        let before = conn.stats().messages_out;
        conn.write_prepared(&sequence).await.unwrap();
        let mut waiting = Some(sequence.clone());
        let batch = try_write_batch(&conn, |_| waiting.take()).unwrap();
        assert_eq!((batch.messages, conn.stats().messages_out - before), (3, 6));
        for _ in 0..2 {
            for message in sequence.messages() {
                let received = timeout(Duration::from_secs(20), peer.read()).await;
                assert_eq!(received.unwrap().unwrap(), *message);
            }
        }
    }
}
