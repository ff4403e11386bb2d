//! Can raw frames be read, written and tapped?

use std::sync::{Arc, Mutex};

use crate::support::{
    BOTH, binary, close, connect, deflate, more, other, ping, pong, run, soon, text,
};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use ws_core::conn::Direction;
use ws_core::deflate::Params;
use ws_core::frame::Frame;
use ws_core::frame::OpCode;
use ws_core::handshake::Negotiated;
use ws_core::{
    Compression, Config, Conn, Error, Limits, Message, MessageType, ProtocolError, Role, SendError,
    StatusCode, TryWriteError,
};

use crate::support;

/// The content of a received frame.
fn said(frame: &Frame) -> (u8, bool, &[u8]) {
    (frame.opcode().as_u8(), frame.is_fin(), frame.payload())
}

#[test]
fn frames_are_read_as_they_come() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 1 << 20);
            let long = vec![7; 300_000];
            peer.send(&[
                text("Hel").open(),
                ping("1"),
                more("lo"),
                binary("").open(),
                more("").open(),
                more(""),
                pong("2"),
                binary(&long),
                close(1000, "bye"),
            ])
            .await;
            let expected: [(u8, bool, &[u8]); 9] = [
                (1, false, b"Hel"),
                (9, true, b"1"),
                (0, true, b"lo"),
                (2, false, b""),
                (0, false, b""),
                (0, true, b""),
                (10, true, b"2"),
                (2, true, &long),
                (8, true, b"\x03\xe8bye"),
            ];
            for expected in expected {
                assert_eq!(said(&soon(conn.frames().read()).await.unwrap()), expected, "{role:?}");
            }
            let error = soon(conn.frames().read()).await.unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
            // The ping was answered.
            assert_eq!(peer.frame().await, Some(pong("1")));
            assert_eq!(peer.frame().await, Some(close(1000, "bye")));
        });
    }
}

#[test]
fn frames_are_judged_like_any_other() {
    let rows = [
        (vec![more("x")], ProtocolError::NothingToContinue),
        (vec![text("x").open(), text("x")], ProtocolError::MessageUnfinished),
        (vec![text("x").rsv1()], ProtocolError::ReservedBits),
        (vec![ping("x").open()], ProtocolError::FragmentedControl),
        (vec![close(1005, "")], ProtocolError::CloseCode(1005)),
    ];
    for (frames, rule) in rows {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            peer.send(&frames).await;
            for _ in 1..frames.len() {
                let _ = soon(conn.frames().read()).await.unwrap();
            }
            let error = soon(conn.frames().read()).await.unwrap_err();
            assert!(matches!(&error, Error::Protocol(found) if *found == rule), "{error:?}");
        });
    }
}

#[test]
fn frames_are_held_to_the_limits() {
    run(async {
        let limits = Limits::new().message_size(10).fragments(3);
        let config = Config::new().limits(limits);
        let rows = [
            vec![binary(vec![0; 11])],
            vec![binary(vec![0; 6]).open(), more(vec![0; 5])],
            vec![binary("").open(), more("").open(), more("").open(), more("")],
        ];
        for frames in rows {
            let (conn, mut peer) = connect(Role::Server, config.clone(), None, 4096);
            peer.send(&frames).await;
            for _ in 1..frames.len() {
                let _ = soon(conn.frames().read()).await.unwrap();
            }
            let error = soon(conn.frames().read()).await.unwrap_err();
            assert!(matches!(error, Error::MessageTooBig { .. }), "{error:?}");
        }
    });
}

/// A pair with context takeover in both directions.
fn takeover() -> Config {
    Config::new().compression(Compression::context_takeover().threshold(0))
}

#[test]
fn a_compressed_frame_comes_compressed_and_the_next_message_can_refer_to_it() {
    run(async {
        let (here, there) = tokio::io::duplex(1 << 20);
        let negotiated =
            Negotiated { compression: Some(Params::default()), ..Negotiated::default() };
        let end = |io, role, config| {
            Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config)
        };
        let conn = end(here, Role::Server, takeover());
        let peer = end(there, Role::Client, takeover().fragment_size(9));
        let words = |seed| -> String {
            support::noise(200, seed).iter().map(|byte| char::from(b'a' + byte % 26)).collect()
        };
        for seed in 1..=3 {
            soon(peer.write(words(seed))).await.unwrap();
        }
        // Read in frames to its end, read in part, read whole.
        let first = soon(conn.frames().read()).await.unwrap();
        assert!(first.header().rsv1 && !first.is_fin());
        while !soon(conn.frames().read()).await.unwrap().is_fin() {}
        assert!(!soon(conn.frames().read()).await.unwrap().is_fin());
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from(words(3)));
        // A corrupt frame is detected.
        soon(peer.frames().write_unchecked(Frame::binary("\u{6}").rsv1(true))).await.unwrap();
        let error = soon(conn.frames().read()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::Deflate)), "{error:?}");
    });
}

#[test]
fn a_message_that_was_begun_otherwise_comes_as_one_frame() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        peer.send(&[text("half").open()]).await;
        {
            let mut read = Box::pin(conn.read());
            assert!(futures::poll!(&mut read).is_pending());
        }
        peer.send(&[more(" and half")]).await;
        assert_eq!(
            said(&soon(conn.frames().read()).await.unwrap()),
            (1, true, &b"half and half"[..])
        );
        // A frame received while waiting for a pong is stored, too.
        peer.send(&[text("met"), text("next")]).await;
        {
            let mut ping = Box::pin(conn.ping());
            assert!(futures::poll!(&mut ping).is_pending());
            assert!(futures::poll!(&mut ping).is_pending());
        }
        assert_eq!(said(&soon(conn.frames().read()).await.unwrap()), (1, true, &b"met"[..]));
        assert_eq!(said(&soon(conn.frames().read()).await.unwrap()), (1, true, &b"next"[..]));
    });
}

#[test]
fn a_frame_that_others_meet_waits_for_whom_it_is_for() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        peer.send(&[text("one").open()]).await;
        assert_eq!(said(&soon(conn.frames().read()).await.unwrap()), (1, false, &b"one"[..]));
        let mut pinging = Box::pin(conn.ping());
        assert!(futures::poll!(&mut pinging).is_pending());
        let payload = peer.frame().await.unwrap().payload;
        peer.send(&[more("two"), pong(payload), text("three")]).await;
        soon(pinging).await.unwrap();
        assert_eq!(said(&soon(conn.frames().read()).await.unwrap()), (0, true, &b"two"[..]));
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from("three"));
    });
}

#[test]
fn whole_reads_drop_the_rest_of_a_message_that_was_read_by_frames() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        peer.send(&[text("a").open(), more("b").open(), more("c"), text("next")]).await;
        let _ = soon(conn.frames().read()).await.unwrap();
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from("next"));
        peer.send(&[text("a").open(), more("b"), text("last")]).await;
        let _ = soon(conn.frames().read()).await.unwrap();
        let mut reader = soon(conn.reader()).await.unwrap();
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "last");
    });
}

#[test]
fn crafted_frames_leave_as_they_are() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            for frame in [
                Frame::text("Hel").fin(false),
                Frame::ping("1"),
                Frame::new(OpCode::CONTINUATION, "lo"),
                Frame::pong(""),
            ] {
                soon(conn.frames().write(frame.clone())).await.unwrap();
                let seen = peer.frame().await.unwrap();
                assert_eq!((seen.header.opcode, seen.header.fin), (frame.opcode(), frame.is_fin()));
                assert_eq!(seen.payload, *frame.payload());
            }
            soon(conn.frames().write(Frame::close(StatusCode::GOING_AWAY, "bye"))).await.unwrap();
            assert_eq!(peer.frame().await, Some(close(1001, "bye")));
            let error = soon(conn.write("late")).await.unwrap_err();
            assert!(matches!(error, Error::CloseSent));
            peer.send(&[close(1001, "")]).await;
            assert!(soon(conn.closed()).await.is_clean());
        });
    }
}

#[test]
fn frames_that_the_peer_would_refuse_are_not_sent() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        for frame in [
            Frame::new(OpCode::CONTINUATION, "x"),
            Frame::text("x").rsv1(true),
            Frame::ping(vec![0; 126]),
            Frame::text("x").masked_with([1; 4]),
            Frame::text("x").declared_len(3),
            Frame::close(StatusCode::ABNORMAL_CLOSURE, ""),
            Frame::new(OpCode::CLOSE, "x"),
            Frame::close(StatusCode::NORMAL_CLOSURE, "").fin(false),
        ] {
            let error = soon(conn.frames().write(frame.clone())).await.unwrap_err();
            assert!(matches!(error, Error::SendError(_)), "{frame:?}: {error:?}");
        }
        let error =
            soon(conn.frames().write(Frame::new(OpCode::TEXT, &b"\xff"[..]))).await.unwrap_err();
        assert!(matches!(error, Error::SendError(SendError::NotUtf8)));
        soon(conn.write("fine")).await.unwrap();
        assert_eq!(peer.frame().await, Some(text("fine")));
    });
}

#[test]
fn other_writes_wait_for_the_end_of_a_crafted_message() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        soon(conn.frames().write(Frame::text("a").fin(false))).await.unwrap();
        assert!(matches!(conn.try_write("x"), Err(TryWriteError::Busy)));
        let mut write = Box::pin(conn.write("after"));
        assert!(futures::poll!(&mut write).is_pending());
        let mut writer = Box::pin(conn.writer(MessageType::Text));
        assert!(futures::poll!(&mut writer).is_pending());
        drop(writer);
        conn.pong("p").unwrap();
        soon(conn.frames().write(Frame::new(OpCode::CONTINUATION, "b"))).await.unwrap();
        soon(write).await.unwrap();
        for expected in [text("a").open(), pong("p"), more("b"), text("after")] {
            assert_eq!(peer.frame().await, Some(expected));
        }
    });
}

#[test]
fn crafted_frames_wait_for_the_end_of_a_message_in_pieces() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let writer = soon(conn.writer(MessageType::Text)).await.unwrap();
        let mut crafted = Box::pin(conn.frames().write(Frame::binary("x")));
        assert!(futures::poll!(&mut crafted).is_pending());
        // Control frames may be sent in between.
        soon(conn.frames().write(Frame::ping("p"))).await.unwrap();
        soon(writer.finish()).await.unwrap();
        soon(crafted).await.unwrap();
        for expected in [ping("p"), text(""), binary("x")] {
            assert_eq!(peer.frame().await, Some(expected));
        }
    });
}

#[test]
fn unchecked_frames_leave_bit_by_bit() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            let odd = Frame::new(OpCode::from_u8(0xb), "x").rsv2(true).non_minimal_len();
            soon(conn.frames().write_unchecked(odd)).await.unwrap();
            let seen = peer.frame().await.unwrap();
            assert!(seen.header.rsv2 && !seen.header.minimal);
            assert_eq!((seen.header.opcode.as_u8(), &seen.payload[..]), (0xb, &b"x"[..]));
            // Control frames and messages are still sent.
            soon(conn.frames().write_unchecked(Frame::text("").declared_len(5))).await.unwrap();
            conn.pong("p").unwrap();
            soon(conn.flush()).await.unwrap();
            assert_eq!(conn.stats().buffered, 0);
        });
    }
}

#[test]
fn unchecked_frames_are_refused_by_those_who_check() {
    run(async {
        let key = [9; 4];
        for (frame, rule) in [
            (Frame::text("x").rsv1(true), ProtocolError::ReservedBits),
            (Frame::text("x").rsv3(true), ProtocolError::ReservedBits),
            (Frame::new(OpCode::from_u8(0x5), ""), ProtocolError::ReservedOpcode(5)),
            (Frame::ping("").fin(false), ProtocolError::FragmentedControl),
            (Frame::text("x").non_minimal_len(), ProtocolError::LengthNotMinimal),
            (Frame::text("x").masked_with(key), ProtocolError::Masked),
        ] {
            let (client, server) = ws_core::pair();
            soon(server.frames().write_unchecked(frame.clone())).await.unwrap();
            let found = soon(client.read()).await.unwrap_err();
            assert!(matches!(&found, Error::Protocol(found) if *found == rule), "{found:?}");
        }
    });
}

type Seen = Arc<Mutex<Vec<(Direction, u8, Vec<u8>)>>>;

/// Records the tapped frames of a connection, with long ones reassembled.
fn tap(conn: &Conn) -> Seen {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let mut open = Vec::new();
    let open = Mutex::new(std::mem::take(&mut open));
    conn.frames().tap(move |frame| {
        let mut open = open.lock().unwrap();
        if frame.offset == 0 {
            open.retain(|(direction, _): &(Direction, Vec<u8>)| *direction != frame.direction);
            open.push((frame.direction, Vec::new()));
        }
        let (_, payload) =
            open.iter_mut().find(|(direction, _)| *direction == frame.direction).unwrap();
        payload.extend_from_slice(frame.payload);
        if frame.is_end() {
            let opcode = frame.header.opcode.as_u8();
            notes.lock().unwrap().push((frame.direction, opcode, payload.clone()));
        }
    });
    seen
}

#[test]
fn a_tap_shows_every_frame_both_ways_and_changes_none() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 1 << 20);
            let seen = tap(&conn);
            let long = vec![3; 100_000];
            peer.send(&[text("in").open(), ping("p"), more("!"), binary(&long)]).await;
            assert_eq!(soon(conn.read()).await.unwrap(), Message::from("in!"));
            assert_eq!(soon(conn.read()).await.unwrap().as_bytes(), &long);
            soon(conn.write("out")).await.unwrap();
            soon(conn.write(long.clone())).await.unwrap();
            peer.send(&[close(1000, "")]).await;
            soon(conn.read()).await.unwrap_err();
            for expected in [pong("p"), text("out"), binary(&long), close(1000, "")] {
                assert_eq!(peer.frame().await, Some(expected));
            }
            let seen = seen.lock().unwrap().clone();
            let way = |wanted| {
                let of = seen.iter().filter(move |(direction, _, _)| *direction == wanted);
                of.map(|(_, opcode, payload)| (*opcode, &payload[..])).collect::<Vec<_>>()
            };
            let close: &[u8] = &[0x03, 0xe8];
            assert_eq!(
                way(Direction::In),
                [(1, &b"in"[..]), (9, b"p"), (0, b"!"), (2, &long), (8, close)]
            );
            assert_eq!(way(Direction::Out), [(10, &b"p"[..]), (1, b"out"), (2, &long), (8, close)]);
        });
    }
}

#[test]
fn a_tap_shows_what_breaks_the_rules() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let seen = tap(&conn);
        peer.send(&[text("x").rsv2()]).await;
        soon(conn.read()).await.unwrap_err();
        assert!(seen.lock().unwrap().contains(&(Direction::In, 1, b"x".to_vec())));
    });
}

#[test]
fn a_tap_may_begin_in_the_middle_of_everything() {
    // A small pipe, so that the tap begins inside a frame.
    for before in 0..40 {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 16);
            let bytes = support::wire(other(Role::Server), &[text("0123456789"), text("abc")]);
            let (early, late) = bytes.split_at(before.min(bytes.len()));
            let (early, late) = (early.to_vec(), late.to_vec());
            let sending = tokio::spawn(async move {
                peer.send_bytes(&early).await;
                (peer, late)
            });
            {
                let mut read = Box::pin(conn.reader());
                for _ in 0..10 {
                    if futures::poll!(&mut read).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            conn.try_write("a message that waits for room").unwrap();
            let seen = tap(&conn);
            conn.try_write("after").unwrap();
            let (mut peer, late) = soon(sending).await.unwrap();
            let reading = tokio::spawn({
                let conn = conn.clone();
                async move { while conn.read().await.is_ok() {} }
            });
            tokio::spawn(async move {
                peer.send_bytes(&late).await;
                peer.send(&[close(1000, "")]).await;
                peer.frames().await
            });
            soon(reading).await.unwrap();
            let seen = seen.lock().unwrap().clone();
            assert!(seen.contains(&(Direction::Out, 1, b"after".to_vec())), "{before}: {seen:?}");
            assert!(seen.contains(&(Direction::In, 8, b"\x03\xe8".to_vec())), "{before}: {seen:?}");
            for (_, opcode, payload) in seen {
                let known: [&[u8]; 5] = [
                    b"0123456789",
                    b"abc",
                    b"after",
                    b"\x03\xe8",
                    b"a message that waits for room",
                ];
                assert!(known.contains(&&payload[..]), "{before}: {opcode} {payload:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_tap_works_on_tcp_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (there, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let end =
        |io, role| Conn::from_stream(io, role, Negotiated::default(), Bytes::new(), Config::new());
    let (conn, peer) = (end(accepted.unwrap().0, Role::Server), end(there.unwrap(), Role::Client));
    soon(conn.write("before")).await.unwrap();
    let addresses = (conn.peer_addr(), conn.local_addr());
    let reading = tokio::spawn({
        let conn = conn.clone();
        async move { conn.read().await }
    });
    tokio::task::yield_now().await;
    let seen = tap(&conn);
    soon(conn.write("after")).await.unwrap();
    for expected in ["before", "after"] {
        assert_eq!(soon(peer.read()).await.unwrap().as_text(), Some(expected));
    }
    soon(peer.write("answer")).await.unwrap();
    assert_eq!(soon(reading).await.unwrap().unwrap().as_text(), Some("answer"));
    assert_eq!((conn.peer_addr(), conn.local_addr()), addresses);
    let expected = [(Direction::Out, 1, b"after".to_vec()), (Direction::In, 1, b"answer".to_vec())];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_compressed_frame_may_be_crafted_where_no_window_is_kept() {
    run(async {
        let config = Config::new().compression(Compression::no_context_takeover());
        let (conn, mut peer) = connect(Role::Server, config, Some(Params::default()), 4096);
        let payload = deflate(b"hello");
        soon(conn.frames().write(Frame::new(OpCode::TEXT, payload).rsv1(true))).await.unwrap();
        assert_eq!(peer.frame().await, Some(text("hello").deflated()));
    });
}
