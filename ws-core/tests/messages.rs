//! Do messages round-trip: whole, in fragments, in pieces, compressed or not?

use std::time::Duration;

use crate::support::{
    BOTH, Frame, binary, close, connect, feed, more, noise, other, ping, pong, run, soon, text,
    wire,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use ws_core::deflate::{Deflater, Params};
use ws_core::frame::OpCode;
use ws_core::proto::{Inbound, Mode, ProtocolEvent};
use ws_core::{
    Compression, Config, Conn, Error, Limits, Message, MessageType, Role, SendError, StatusCode,
    pair_with,
};

/// Receives frames, split and read in all ways, and compares the messages.
#[track_caller]
fn check(compression: Option<Params>, frames: &[Frame], expected: &[Message]) {
    for role in BOTH {
        let bytes = wire(other(role), frames);
        for mode in [Mode::Whole, Mode::Pieces(1), Mode::Pieces(3), Mode::Pieces(1000)] {
            for at in 0..=bytes.len() {
                let pieces = [&bytes[..at], &bytes[at..]];
                check_pieces(role, compression, mode, pieces, expected);
            }
            check_pieces(role, compression, mode, bytes.chunks(1), expected);
        }
    }
}

#[track_caller]
fn check_pieces<'a>(
    role: Role,
    compression: Option<Params>,
    mode: Mode,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    expected: &[Message],
) {
    let mut inbound = Inbound::new(role, Config::new().limits(Limits::new()), compression);
    let (events, fault) = feed(&mut inbound, mode, pieces);
    let messages: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            ProtocolEvent::Message(message) => Some(message),
            ProtocolEvent::Ping(_) | ProtocolEvent::Pong(_) | ProtocolEvent::Close(_) => None,
        })
        .collect();
    assert_eq!((messages.as_slice(), fault), (expected, None), "{mode:?}");
}

fn deflated() -> Option<Params> {
    Some(Params::default())
}

/// A payload split into the frames of one compressed message.
fn in_frames(payload: &[u8], size: usize) -> Vec<Frame> {
    let mut frames: Vec<_> = payload.chunks(size).map(|piece| more(piece).open()).collect();
    frames[0].header.opcode = OpCode::BINARY;
    frames[0].header.rsv1 = true;
    frames.last_mut().unwrap().header.fin = true;
    frames
}

/// Two connections with or without compression.
fn two(compression: Compression, config: Config) -> (Conn, Conn) {
    pair_with(config.clone().compression(compression), config.compression(compression))
}

fn compressions() -> [Compression; 3] {
    [Compression::off(), Compression::no_context_takeover(), Compression::context_takeover()]
}

// Receiving.

#[test]
fn a_frame_is_a_message() {
    check(None, &[text("Hello"), binary(b"\0\xff")], &["Hello".into(), b"\0\xff".into()]);
    check(None, &[text("κόσμε 😀")], &["κόσμε 😀".into()]);
}

#[test]
fn fragments_are_joined() {
    check(None, &[text("a").open(), more("b").open(), more("c")], &["abc".into()]);
    let both = [text("a").open(), more("b"), binary("c").open(), more("d")];
    check(None, &both, &["ab".into(), b"cd".into()]);
}

#[test]
fn fragments_are_joined_across_control_frames() {
    let frames = [text("a").open(), ping("x"), more("b").open(), pong("y"), ping(""), more("c")];
    check(None, &frames, &["abc".into()]);
}

#[test]
fn empty_messages_are_messages() {
    check(None, &[text(""), binary(""), text("")], &["".into(), b"".into(), "".into()]);
    check(deflated(), &[text("").deflated(), binary("").deflated()], &["".into(), b"".into()]);
    // Without the byte of an empty block.
    check(deflated(), &[text("").rsv1(), text("a")], &["".into(), "a".into()]);
}

#[test]
fn empty_fragments_add_nothing() {
    check(None, &[text("").open(), more("").open(), more("")], &["".into()]);
    let frames = [text("").open(), more("a").open(), more("").open(), more("b").open(), more("")];
    check(None, &frames, &["ab".into()]);
    let hello = text("Hello").deflated().payload;
    let frames = [text("").rsv1().open(), more("").open(), more(hello).open(), more("")];
    check(deflated(), &frames, &["Hello".into()]);
}

#[test]
fn a_character_may_lie_in_two_fragments() {
    let bytes = "aκ😀é".as_bytes();
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        let frames = [text(head).open(), ping("x"), more("").open(), more(tail)];
        check(None, &frames, &["aκ😀é".into()]);
    }
    let mut frames: Vec<_> = bytes.chunks(1).map(|byte| more(byte).open()).collect();
    frames[0].header.opcode = OpCode::TEXT;
    frames.last_mut().unwrap().header.fin = true;
    check(None, &frames, &["aκ😀é".into()]);
}

#[test]
fn lengths_are_read_in_each_of_their_forms() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload = noise(len, 1);
        for role in BOTH {
            let bytes = wire(other(role), &[binary(&payload), text("after")]);
            let expected = [Message::binary(payload.clone()), "after".into()];
            for mode in [Mode::Whole, Mode::Pieces(4096), Mode::Pieces(65_536)] {
                for cut in [if len < 1000 { 1 } else { 100 }, 1000, 65_536, bytes.len()] {
                    check_pieces(role, None, mode, bytes.chunks(cut), &expected);
                }
            }
        }
    }
}

#[test]
fn compressed_messages_are_inflated_however_they_are_cut_into_frames() {
    let plain = b"Hello, Hello, Hello!".repeat(3);
    let mut payload = Vec::new();
    Deflater::new(15, false, 6).compress(&plain, &mut payload).unwrap();
    for size in 1..=payload.len() {
        check(deflated(), &in_frames(&payload, size), &[Message::binary(plain.clone())]);
    }
    // RFC 7692 §7.2.3.1.
    let frames = [text(b"\xf2\x48\xcd").rsv1().open(), ping("x"), more(b"\xc9\xc9\x07\x00")];
    check(deflated(), &frames, &["Hello".into()]);
}

#[test]
fn messages_may_refer_to_those_before_with_context_takeover() {
    // RFC 7692 §7.2.3.2, with an uncompressed message in between.
    let hello = text(b"\xf2\x48\xcd\xc9\xc9\x07\x00").rsv1();
    let again = text(b"\xf2\x00\x11\x00\x00").rsv1();
    let frames = [hello, text("plain"), again.clone(), binary("x"), again];
    let expected = ["Hello", "plain", "Hello"].map(Message::from);
    let expected = [&expected[..], &[b"x".into(), "Hello".into()]].concat();
    check(deflated(), &frames, &expected);
}

#[test]
fn messages_may_go_uncompressed_on_a_compressed_connection() {
    let frames = [text("a"), text("b").open(), more("c"), text("d").deflated(), text("e")];
    check(deflated(), &frames, &["a", "bc", "d", "e"].map(Message::from));
}

// Sending.

/// Messages and the frames that a connection sends for them.
async fn sent(role: Role, config: Config, compression: bool, messages: &[Message]) -> Vec<Frame> {
    let negotiated = compression.then(Params::default);
    let (conn, mut peer) = connect(role, config, negotiated, 1024 * 1024);
    for message in messages {
        soon(conn.write(message)).await.unwrap();
    }
    peer.send(&[close(1000, "")]).await;
    let _ = soon(conn.read()).await;
    let mut frames = peer.frames().await;
    assert_eq!(frames.pop().unwrap().header.opcode, OpCode::CLOSE);
    frames
}

#[test]
fn a_message_leaves_in_one_frame() {
    run(async {
        for role in BOTH {
            let long = noise(70_000, 2);
            let messages = ["a".into(), b"b".into(), "".into(), Message::binary(long.clone())];
            let frames = sent(role, Config::new(), false, &messages).await;
            assert_eq!(frames, [text("a"), binary("b"), text(""), binary(long)]);
        }
    });
}

#[test]
fn long_messages_are_cut_into_fragments_where_that_is_set() {
    run(async {
        for role in BOTH {
            for size in [1, 2, 3, 7, 1000, 5000] {
                let config = Config::new().fragment_size(size);
                let payload = noise(11_111.min(size * 9 + 4), 3);
                let messages = [Message::binary(payload.clone()), "é".into(), b"".into()];
                let frames = sent(role, config, false, &messages).await;
                assert!(frames.iter().all(|frame| frame.payload.len() <= size));
                let full = frames.iter().filter(|frame| frame.payload.len() == size).count();
                assert!(full >= payload.len() / size, "{size}");
                let bytes = wire(role, &frames);
                check_pieces(other(role), None, Mode::Whole, [&bytes[..]], &messages);
            }
        }
    });
}

#[test]
fn a_compressed_message_is_cut_into_fragments_after_it_was_compressed() {
    run(async {
        for role in BOTH {
            let config = Config::new().compression(Compression::context_takeover());
            let messages = [Message::binary(noise(500, 4)), Message::binary(noise(500, 4))];
            let frames = sent(role, config.fragment_size(100), true, &messages).await;
            assert!(frames.len() <= 8, "the second refers to the first: {}", frames.len());
            for frame in &frames {
                assert_eq!(frame.header.rsv1, frame.header.opcode == OpCode::BINARY);
                assert!(frame.payload.len() <= 100);
            }
            let bytes = wire(role, &frames);
            check_pieces(other(role), deflated(), Mode::Whole, [&bytes[..]], &messages);
        }
    });
}

#[test]
fn messages_below_the_threshold_are_not_compressed() {
    run(async {
        for (compression, threshold) in [
            (Compression::no_context_takeover(), 512),
            (Compression::context_takeover(), 128),
            (Compression::context_takeover().threshold(10), 10),
            (Compression::no_context_takeover().threshold(0), 0),
        ] {
            let of = |len: usize| Message::from("a".repeat(len));
            let config = Config::new().compression(compression);
            let messages = [of(threshold.max(3) - 1), of(threshold.max(64)), of(threshold + 100)];
            let frames = sent(Role::Server, config, true, &messages).await;
            let compressed = frames.iter().map(|frame| frame.header.rsv1).collect::<Vec<_>>();
            // A payload that does not shrink is sent uncompressed, except with context takeover.
            assert_eq!(compressed[1..], [true, true], "{threshold}");
            assert_eq!(frames[0].header.rsv1, threshold == 0 && compressed[0], "{threshold}");
        }
    });
}

#[test]
fn a_message_can_be_kept_from_compression() {
    run(async {
        for compression in [Compression::no_context_takeover(), Compression::context_takeover()] {
            let (one, two) = (Message::from("a".repeat(1000)), Message::from("b".repeat(1000)));
            let messages = [one.clone(), two.clone().uncompressed(), one.clone()];
            let config = Config::new().compression(compression);
            let frames = sent(Role::Client, config, true, &messages).await;
            let compressed = frames.iter().map(|frame| frame.header.rsv1).collect::<Vec<_>>();
            assert_eq!(compressed, [true, false, true]);
            let bytes = wire(Role::Client, &frames);
            let expected = [one.clone(), two, one];
            check_pieces(Role::Server, deflated(), Mode::Whole, [&bytes[..]], &expected);
        }
    });
}

#[test]
fn what_does_not_shrink_goes_as_it_is_without_takeover() {
    run(async {
        let message = Message::binary(noise(5000, 5));
        let config = Config::new().compression(Compression::no_context_takeover());
        let frames = sent(Role::Server, config, true, std::slice::from_ref(&message)).await;
        assert_eq!(frames, [binary(message.as_bytes())]);
    });
}

// In pieces.

#[test]
fn a_message_read_in_pieces_is_the_message() {
    run(async {
        for compression in compressions() {
            for (size, fragments) in [(0, 100), (1, 100), (3000, 100), (200_000, 7000)] {
                let (one, two) = two(compression, Config::new().fragment_size(fragments));
                let payload = noise(size, 6);
                let (sent, read) = tokio::join!(one.write(payload.clone()), async {
                    let mut reader = soon(two.reader()).await.unwrap();
                    assert_eq!(reader.kind(), MessageType::Binary);
                    let mut read = Vec::new();
                    soon(reader.read_to_end(&mut read)).await.unwrap();
                    // Later reads return the end again.
                    assert_eq!(soon(reader.read(&mut [0])).await.unwrap(), 0);
                    assert_eq!(soon(reader.chunk()).await.unwrap(), None);
                    read
                });
                sent.unwrap();
                assert!(read == payload, "{compression:?}, {size} bytes");
                one.write("after").await.unwrap();
                assert_eq!(soon(two.read()).await.unwrap(), "after".into());
            }
        }
    });
}

#[test]
fn a_reader_is_there_before_its_message_is() {
    run(async {
        for frames in [[text("ab").open()], [text("ab").declared_len(1000)], [text("").open()]] {
            let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
            peer.send(&frames).await;
            let began = Instant::now();
            let mut reader = soon(conn.reader()).await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO, "nobody woke it");
            assert_eq!(reader.kind(), MessageType::Text);
            if !frames[0].payload.is_empty() {
                assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "ab");
            }
            assert!(timeout(Duration::from_secs(1), reader.chunk()).await.is_err());
        }
    });
}

#[test]
fn a_reader_dropped_early_leaves_the_next_message_intact() {
    run(async {
        for compression in compressions() {
            for bytes in [0, 1, 70_000, 199_999, 200_000] {
                let (one, two) = two(compression, Config::new().fragment_size(7000));
                // With context takeover, the second message refers to the first.
                let payload = noise(200_000, 7);
                let writing = async {
                    for _ in 0..3 {
                        one.write(payload.clone()).await.unwrap();
                    }
                };
                let reading = async {
                    let mut reader = soon(two.reader()).await.unwrap();
                    let mut read = vec![0; bytes];
                    soon(reader.read_exact(&mut read)).await.unwrap();
                    assert!(read == payload[..bytes]);
                    drop(reader);
                    assert!(soon(two.read()).await.unwrap().as_bytes() == payload);
                    let mut reader = soon(two.reader()).await.unwrap();
                    let mut whole = Vec::new();
                    soon(reader.read_to_end(&mut whole)).await.unwrap();
                    assert!(whole == payload, "{compression:?}, dropped after {bytes}");
                };
                tokio::join!(writing, reading);
            }
        }
    });
}

#[test]
fn a_reader_dropped_before_its_message_has_arrived_leaves_the_next_intact() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        peer.send(&[text("a").open()]).await;
        drop(soon(conn.reader()).await.unwrap());
        peer.send(&[more("b").open(), ping("x"), more("c"), text("d").open()]).await;
        let reader = soon(conn.reader()).await.unwrap();
        drop(reader);
        peer.send(&[more("e"), text("f")]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "f".into());
        assert_eq!(peer.frame().await, Some(pong("x")));
    });
}

#[test]
fn a_read_given_up_halfway_can_go_on_as_a_reader_and_the_other_way_round() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        let second = Duration::from_secs(1);
        peer.send(&[text("ab").open()]).await;
        assert!(timeout(second, conn.read()).await.is_err());
        let mut reader = soon(conn.reader()).await.unwrap();
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "ab");
        peer.send(&[more("cd"), text("ef").open()]).await;
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "cd");
        assert_eq!(soon(reader.chunk()).await.unwrap(), None);
        assert!(timeout(second, conn.read()).await.is_err());
        peer.send(&[more("gh")]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "efgh".into());
    });
}

#[test]
fn other_reads_wait_for_a_reader_and_then_get_the_next_message() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        peer.send(&[text("ab").open()]).await;
        let mut reader = soon(conn.reader()).await.unwrap();
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { conn.read().await }
        });
        peer.send(&[more("cd"), text("ef")]).await;
        let mut read = String::new();
        soon(reader.read_to_string(&mut read)).await.unwrap();
        assert_eq!(read, "abcd");
        assert_eq!(soon(waiting).await.unwrap().unwrap(), "ef".into());
    });
}

/// A call of `ping` that receives the end of a message stores it for the reader.
#[test]
fn the_end_of_a_message_belongs_to_its_reader() {
    run(async {
        for whole in [false, true] {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
            peer.send(&[text("ab").open()]).await;
            let mut reader = soon(conn.reader()).await.unwrap();
            assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "ab");
            let second = Duration::from_secs(1);
            peer.send(&[more("cd")]).await;
            assert!(timeout(second, conn.ping()).await.is_err());
            // Other readers wait for a message, and this is the end of one.
            if whole {
                assert!(timeout(second, conn.read()).await.is_err());
            } else {
                assert!(timeout(second, conn.reader()).await.is_err());
            }
            assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "cd");
            assert_eq!(soon(reader.chunk()).await.unwrap(), None);
            peer.send(&[text("ef")]).await;
            assert_eq!(soon(conn.read()).await.unwrap(), "ef".into());
        }
    });
}

#[test]
fn readers_take_turns_by_message() {
    run(async {
        let (one, two) = two(Compression::off(), Config::new().fragment_size(50));
        let mut tasks = tokio::task::JoinSet::new();
        for pieces in [false, true, true] {
            let conn = two.clone();
            tasks.spawn(async move {
                let mut read = Vec::new();
                loop {
                    if !pieces {
                        match conn.read().await {
                            Ok(message) => read.push(message.into_bytes()),
                            Err(_) => return read,
                        }
                        continue;
                    }
                    let Ok(mut reader) = conn.reader().await else { return read };
                    let mut payload = Vec::new();
                    reader.read_to_end(&mut payload).await.unwrap();
                    read.push(payload.into());
                }
            });
        }
        for number in 0..200_u32 {
            soon(one.write(number.to_be_bytes().repeat(100))).await.unwrap();
        }
        soon(one.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
        let mut all: Vec<Bytes> = soon(tasks.join_all()).await.concat();
        all.sort();
        let expected: Vec<_> =
            (0..200_u32).map(|number| Bytes::from(number.to_be_bytes().repeat(100))).collect();
        assert!(all == expected, "{} messages", all.len());
    });
}

#[test]
fn a_message_written_in_pieces_is_one_message() {
    run(async {
        for compression in compressions() {
            for (len, cut) in [(0, 1), (1, 1), (5000, 7), (100_000, 999), (100_000, 100_000)] {
                let (one, two) = two(compression, Config::new());
                let payload = noise(len, 8);
                let writing = async {
                    let mut writer = soon(one.writer(MessageType::Binary)).await.unwrap();
                    assert_eq!(writer.kind(), MessageType::Binary);
                    for piece in payload.chunks(cut) {
                        writer.write_all(piece).await.unwrap();
                    }
                    writer.finish().await.unwrap();
                    one.write("after").await.unwrap();
                };
                let reading = async {
                    let message = soon(two.read()).await.unwrap();
                    assert!(message == Message::binary(payload.clone()), "{compression:?} {len}");
                    assert_eq!(soon(two.read()).await.unwrap(), "after".into());
                };
                tokio::join!(writing, reading);
            }
        }
    });
}

#[test]
fn what_is_flushed_reaches_the_peer_before_the_message_ends() {
    run(async {
        for compression in compressions() {
            let (one, two) = two(compression, Config::new());
            let mut writer = one.writer(MessageType::Text).await.unwrap();
            writer.write_all("κό".as_bytes()).await.unwrap();
            writer.flush().await.unwrap();
            let mut reader = soon(two.reader()).await.unwrap();
            assert_eq!(reader.kind(), MessageType::Text);
            assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "κό");
            writer.write_all("σμε".as_bytes()).await.unwrap();
            writer.flush().await.unwrap();
            // A flush without new bytes sends nothing.
            writer.flush().await.unwrap();
            assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "σμε");
            writer.shutdown().await.unwrap();
            assert_eq!(soon(reader.chunk()).await.unwrap(), None);
            assert_eq!(
                writer.write(b"late").await.unwrap_err().kind(),
                std::io::ErrorKind::BrokenPipe
            );
        }
    });
}

#[test]
fn other_messages_wait_for_a_writer_and_pings_do_not() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        let second = Duration::from_secs(1);
        assert!(timeout(second, conn.write("never")).await.is_err());
        assert!(timeout(second, conn.writer(MessageType::Binary)).await.is_err());
        conn.pong("x").unwrap();
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { conn.write("b").await }
        });
        writer.finish().await.unwrap();
        soon(waiting).await.unwrap().unwrap();
        for expected in [text("a").open(), pong("x"), more(""), text("b")] {
            assert_eq!(peer.frame().await, Some(expected));
        }
    });
}

#[test]
fn a_writer_dropped_early_closes_with_1011() {
    run(async {
        for (compression, begun) in [(None, false), (None, true), (deflated(), true)] {
            let (conn, mut peer) = connect(Role::Client, Config::new(), compression, 1024);
            let mut writer = conn.writer(MessageType::Binary).await.unwrap();
            if begun {
                writer.write_all(&noise(300, 9)).await.unwrap();
                writer.flush().await.unwrap();
                assert_eq!(peer.frame().await.unwrap().header.opcode, OpCode::BINARY);
            }
            drop(writer);
            let frame = peer.frame().await.unwrap();
            assert_eq!(frame.header.opcode, OpCode::CLOSE);
            assert_eq!(frame.payload[..2], 1011_u16.to_be_bytes());
            assert!(soon(conn.write("late")).await.is_err());
            let error = soon(conn.read()).await.unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::INTERNAL_ERROR));
        }
    });
}

#[test]
fn a_writer_of_text_refuses_what_is_not_utf8() {
    run(async {
        for bad in [&b"\xff"[..], b"ab\xc0", b"\xed\xa0\x80"] {
            let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
            let mut writer = conn.writer(MessageType::Text).await.unwrap();
            writer.write_all(b"good").await.unwrap();
            let error = writer.write_all(bad).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            // A rejected piece is not consumed, and the message can be finished.
            writer.finish().await.unwrap();
            assert_eq!(peer.frame().await, Some(text("good")));
        }
    });
}

#[test]
fn half_a_character_is_no_text() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"a\xe2\x82").await.unwrap();
        let error = writer.finish().await.unwrap_err();
        assert!(matches!(error, Error::SendError(SendError::NotUtf8)), "{error:?}");
        let frame = peer.frame().await.unwrap();
        assert_eq!((frame.header.opcode, &frame.payload[..2]), (OpCode::CLOSE, &b"\x03\xf3"[..]));
    });
}

#[test]
fn half_a_character_is_no_text_however_often_one_asks() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"a\xe2\x82").await.unwrap();
        writer.shutdown().await.unwrap_err();
        writer.shutdown().await.unwrap_err();
        // The rest of the message can still arrive.
        writer.write_all(b"\xac").await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(peer.frame().await, Some(text("a€")));
    });
}

#[test]
fn what_was_refused_does_not_complete_a_character() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"\xe2").await.unwrap();
        writer.write_all(b"\x82\xac\xff").await.unwrap_err();
        writer.finish().await.unwrap_err();
        assert_eq!(peer.frame().await.unwrap().header.opcode, OpCode::CLOSE);
    });
}

#[test]
fn a_writer_cuts_no_longer_fragments_than_is_set() {
    run(async {
        let (conn, mut peer) =
            connect(Role::Client, Config::new().fragment_size(1000), None, 65_536);
        let mut writer = conn.writer(MessageType::Binary).await.unwrap();
        writer.write_all(&noise(5500, 10)).await.unwrap();
        writer.finish().await.unwrap();
        let mut seen = 0;
        loop {
            let frame = peer.frame().await.unwrap();
            assert!(frame.payload.len() <= 1000, "{}", frame.payload.len());
            seen += frame.payload.len();
            if frame.header.fin {
                break;
            }
        }
        assert_eq!(seen, 5500);
    });
}
