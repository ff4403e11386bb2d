//! Does a connection work as a byte stream, as a message stream, and as joined messages?

use std::time::Duration;

use crate::support::{
    binary, close, connect, frame, more, noise, ping, pong, run, soon, text, wire,
};
use bytes::Bytes;
use futures::stream::FusedStream as _;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use ws_core::Acceptor;
use ws_core::deflate::Params;
use ws_core::frame::OpCode;
use ws_core::handshake::Negotiated;
use ws_core::{
    AcceptOptions, ByteStream, CloseInitiator, Compression, Config, Conn, Deadline, Error,
    Keepalive, Limits, Message, MessageType, Role, StatusCode,
};

use crate::support;

#[test]
fn one_write_is_one_message_and_an_empty_one_is_none() {
    for kind in [MessageType::Text, MessageType::Binary] {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 20);
            let mut bytes = conn.into_byte_stream(kind);
            for write in ["one", "", "two", "three"] {
                assert_eq!(soon(bytes.write(write.as_bytes())).await.unwrap(), write.len());
            }
            soon(bytes.flush()).await.unwrap();
            let opcode = if kind == MessageType::Text { OpCode::TEXT } else { OpCode::BINARY };
            for payload in ["one", "two", "three"] {
                assert_eq!(peer.frame().await, Some(frame(opcode, payload)));
            }
        });
    }
}

#[test]
fn a_long_write_is_cut_but_not_within_a_character() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 22);
        let mut bytes = conn.into_byte_stream(MessageType::Text);
        let long = "a".to_owned() + &"käse".repeat(50_000);
        soon(bytes.write_all(long.as_bytes())).await.unwrap();
        soon(bytes.shutdown()).await.unwrap();
        let mut seen = String::new();
        loop {
            let frame = peer.frame().await.unwrap();
            if frame.is_control() {
                break;
            }
            assert!(frame.payload.len() <= 64 * 1024);
            seen.push_str(std::str::from_utf8(&frame.payload).unwrap());
        }
        assert_eq!(seen, long);
    });
}

#[test]
fn what_is_no_text_is_not_written_as_such() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let mut bytes = conn.into_byte_stream(MessageType::Text);
        let error = soon(bytes.write_all(b"\xff")).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        soon(bytes.write_all(b"fine")).await.unwrap();
        assert_eq!(peer.frame().await, Some(text("fine")));
    });
}

#[test]
fn payloads_are_read_however_they_are_cut_and_however_long() {
    run(async {
        let limits = Limits::new().message_size(10).frame_size(10).fragments(2);
        let (conn, mut peer) = connect(Role::Server, Config::new().limits(limits), None, 1 << 20);
        let mut bytes = conn.into_byte_stream(MessageType::Binary);
        let long = noise(200_000, 7);
        let cut = [binary("a").open(), more("b").open(), more("").open(), more("c")];
        peer.send(&cut).await;
        peer.send(&[binary(""), ping("p"), binary(&long)]).await;
        peer.send(&[close(1000, "")]).await;
        let mut read = Vec::new();
        soon(bytes.read_to_end(&mut read)).await.unwrap();
        assert_eq!(read, [b"abc", &long[..]].concat());
        assert_eq!(peer.frame().await, Some(pong("p")));
    });
}

#[test]
fn a_message_of_the_other_type_closes_with_1003() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let mut bytes = conn.into_byte_stream(MessageType::Binary);
        peer.send(&[binary("fine"), text("not fine")]).await;
        let mut read = Vec::new();
        let error = soon(bytes.read_to_end(&mut read)).await.unwrap_err();
        assert_eq!(
            (read, Error::close_status_in(&error)),
            (b"fine".to_vec(), Some(StatusCode::UNSUPPORTED_DATA))
        );
        assert_eq!(peer.frame().await.unwrap().payload[..2], 1003_u16.to_be_bytes());
    });
}

/// How a byte stream ends, by the close code of the peer.
async fn read_end(closing: Option<support::Frame>) -> std::io::Result<usize> {
    let (conn, mut peer) = connect(Role::Client, Config::new(), None, 4096);
    let mut bytes = conn.into_byte_stream(MessageType::Binary);
    match closing {
        Some(frame) => peer.send(&[binary("x"), frame]).await,
        None => peer.send(&[binary("x")]).await,
    }
    drop(peer);
    soon(bytes.read_to_end(&mut Vec::new())).await
}

#[test]
fn a_normal_close_is_the_end_of_the_file() {
    run(async {
        for code in [1000, 1001] {
            assert_eq!(read_end(Some(close(code, "bye"))).await.unwrap(), 1);
        }
        assert_eq!(read_end(Some(frame(OpCode::CLOSE, ""))).await.unwrap(), 1);
        for code in [1002, 1011, 4000] {
            let error = read_end(Some(close(code, ""))).await.unwrap_err();
            assert_eq!(Error::close_status_in(&error).map(StatusCode::as_u16), Some(code));
        }
        let error = read_end(None).await.unwrap_err();
        assert_eq!(Error::close_status_in(&error), Some(StatusCode::ABNORMAL_CLOSURE));
    });
}

#[test]
fn shutdown_closes_and_a_peer_that_answers_at_once_ends_it() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let handle = conn.clone();
        let mut bytes = conn.into_byte_stream(MessageType::Binary);
        soon(bytes.write_all(b"last words")).await.unwrap();
        soon(bytes.shutdown()).await.unwrap();
        soon(bytes.shutdown()).await.unwrap();
        assert_eq!(peer.frame().await, Some(binary("last words")));
        assert_eq!(peer.frame().await, Some(close(1000, "")));
        soon(bytes.write_all(b"x")).await.unwrap_err();
        peer.send(&[close(1000, "")]).await;
        assert_eq!(soon(bytes.read(&mut [0; 9])).await.unwrap(), 0);
        let ending = soon(handle.closed()).await;
        assert!(ending.is_clean() && ending.by == CloseInitiator::Local, "{ending:?}");
        assert_eq!(peer.frame().await, None);
    });
}

#[test]
fn what_one_side_has_to_say_comes_after_the_other_has_finished() {
    run(async {
        let (a, b) = ws_core::pair();
        let handles = [a.clone(), b.clone()];
        let mut a = a.into_byte_stream(MessageType::Binary);
        let mut b = b.into_byte_stream(MessageType::Binary);
        soon(a.write_all(b"question")).await.unwrap();
        soon(a.shutdown()).await.unwrap();
        let mut question = Vec::new();
        soon(b.read_to_end(&mut question)).await.unwrap();
        assert_eq!(question, b"question");
        let answer = noise(500_000, 3);
        let sent = answer.clone();
        let answering = tokio::spawn(async move {
            b.write_all(&sent).await.unwrap();
            b.shutdown().await.unwrap();
            b
        });
        let mut read = Vec::new();
        soon(a.read_to_end(&mut read)).await.unwrap();
        assert_eq!(read, answer);
        drop(soon(answering).await.unwrap());
        for handle in handles {
            let ending = soon(handle.closed()).await;
            assert!(ending.is_clean(), "{ending:?}");
        }
    });
}

/// A ping may not follow a close frame. What limits the time of an application still does.
#[test]
fn after_a_shutdown_keepalive_ends_nothing_and_other_deadlines_hold() {
    const SECOND: Duration = Duration::from_secs(1);
    let keepalive = || Config::new().keepalive(Keepalive::every(30 * SECOND));
    for role in support::BOTH {
        for (config, ends) in [
            (keepalive(), None),
            (keepalive().max_age(1000 * SECOND), Some((Deadline::Age, 1000))),
            (keepalive().idle_timeout(100 * SECOND), Some((Deadline::Idle, 100))),
        ] {
            run(async {
                let began = Instant::now();
                let (conn, mut peer) = connect(role, config, None, 4096);
                let handle = conn.clone();
                let mut bytes = conn.into_byte_stream(MessageType::Binary);
                soon(bytes.shutdown()).await.unwrap();
                assert_eq!(peer.frame().await, Some(close(1000, "")));
                let mut answer = Vec::new();
                let early = timeout(3600 * SECOND, bytes.read_to_end(&mut answer)).await;
                if let Some((deadline, after)) = ends {
                    early.unwrap().unwrap_err();
                    let error = handle.close_info().unwrap().error;
                    assert!(matches!(error, Error::Timeout(found) if found == deadline));
                    assert_eq!(began.elapsed().as_secs(), after);
                    return;
                }
                assert!(early.is_err(), "{early:?}");
                peer.send(&[binary("at last"), close(1000, "")]).await;
                soon(bytes.read_to_end(&mut answer)).await.unwrap();
                assert_eq!(answer, b"at last");
            });
        }
    }
}

#[test]
fn a_close_frame_is_answered_when_a_byte_stream_is_dropped() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let mut bytes = conn.into_byte_stream(MessageType::Binary);
        peer.send(&[close(1001, "")]).await;
        assert_eq!(soon(bytes.read(&mut [0; 9])).await.unwrap(), 0);
        drop(bytes);
        assert_eq!(peer.frame().await, Some(close(1001, "")));
        assert_eq!(peer.frame().await, None);
    });
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (here, there) = tokio::join!(dialled, listener.accept());
    (here.unwrap(), there.unwrap().0)
}

/// Both ends of a TCP tunnel through a WebSocket.
async fn tunnel(compression: Compression) -> (TcpStream, TcpStream) {
    let negotiated = Negotiated {
        compression: compression.is_on().then(Params::default),
        ..Negotiated::default()
    };
    let end = |io, role| {
        let config = Config::new().compression(compression);
        Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config)
            .into_byte_stream(MessageType::Binary)
    };
    let carry = |mut bytes: ByteStream, mut tcp: TcpStream| {
        tokio::spawn(async move { copy_bidirectional(&mut bytes, &mut tcp).await.unwrap() });
    };
    let ((here, a), (b, there), (c, d)) = (tcp_pair().await, tcp_pair().await, tcp_pair().await);
    carry(end(c, Role::Client), a);
    carry(end(d, Role::Server), b);
    (here, there)
}

/// Traffic like that of ssh: single keys with their echo, and long output and input at the same
/// time.
#[tokio::test]
async fn a_tunnel_carries_tcp_both_ways_and_a_half_close() {
    for compression in [Compression::off(), Compression::context_takeover()] {
        let (here, there) = tunnel(compression).await;
        let (mut from_there, mut to_there) = here.into_split();
        let (mut from_here, mut to_here) = there.into_split();
        let session = async {
            // Keys and their echo.
            for key in 0..200_u8 {
                to_there.write_all(&[key]).await.unwrap();
                assert_eq!(from_here.read_u8().await.unwrap(), key);
                to_here.write_all(&[key, b'\n']).await.unwrap();
                assert_eq!(from_there.read_u16().await.unwrap().to_be_bytes()[0], key);
            }
            let (up, down) = (noise(3_000_000, 1), vec![b'x'; 5_000_000]);
            let sending = async {
                to_there.write_all(&up).await.unwrap();
                // No more from this side. The other direction continues.
                to_there.shutdown().await.unwrap();
            };
            let answering = async {
                let mut received = Vec::new();
                from_here.read_to_end(&mut received).await.unwrap();
                assert!(received == up, "{} bytes", received.len());
                to_here.write_all(&down).await.unwrap();
                to_here.shutdown().await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                from_there.read_to_end(&mut received).await.unwrap();
                assert!(received == down, "{} bytes", received.len());
            };
            tokio::join!(sending, answering, reading);
        };
        timeout(Duration::from_secs(120), session).await.unwrap();
    }
}

#[test]
fn joined_messages_have_a_terminator_each() {
    for (terminator, expected) in [("\n", "one\n\ntwo\n"), ("", "onetwo"), ("--", "one----two--")] {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            peer.send(&[text("o").open(), more("ne"), binary(""), text("two"), close(1000, "")])
                .await;
            let mut read = String::new();
            soon(conn.messages().joined(terminator).read_to_string(&mut read)).await.unwrap();
            assert_eq!(read, expected);
        });
    }
}

#[test]
fn joined_messages_end_after_a_normal_close() {
    run(async {
        for closing in [close(1000, ""), close(1001, ""), frame(OpCode::CLOSE, "")] {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            peer.send(&[text("one"), closing]).await;
            let mut read = String::new();
            soon(conn.messages().joined("\n").read_to_string(&mut read)).await.unwrap();
            assert_eq!(read, "one\n");
        }
    });
}

#[test]
fn joined_messages_end_with_an_error_after_another_close_or_within_a_message() {
    for (last, code, expected) in [
        (text("two"), 1011, "one\ntwo\n"),
        (text("two").open(), 1011, "one\ntwo"),
        (text("two").open(), 1000, "one\ntwo"),
        (text("").open(), 1000, "one\n"),
    ] {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            peer.send(&[text("one"), last.clone(), close(code, "")]).await;
            let (mut joined, mut read) = (conn.messages().joined("\n"), Vec::new());
            for _ in 0..2 {
                let error = soon(joined.read_to_end(&mut read)).await.unwrap_err();
                assert_eq!(
                    (str::from_utf8(&read), Error::close_status_in(&error)),
                    (Ok(expected), StatusCode::from_u16(code)),
                );
            }
        });
    }
}

#[test]
fn a_stream_of_messages_ends_as_wanted_or_with_an_error() {
    for (closing, wanted) in [
        (Some(close(1000, "")), true),
        (Some(close(1001, "")), true),
        (Some(frame(OpCode::CLOSE, "")), true),
        (Some(close(1008, "")), false),
        (Some(text("x").rsv3()), false),
        (None, false),
    ] {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            let mut messages = conn.messages();
            assert!(!messages.is_terminated());
            peer.send(&[text("a"), binary("b")]).await;
            if let Some(frame) = closing {
                peer.send(&[frame]).await;
            }
            drop(peer);
            assert_eq!(soon(messages.next()).await.unwrap().unwrap(), Message::from("a"));
            assert_eq!(soon(messages.next()).await.unwrap().unwrap(), Message::from(b"b"));
            if !wanted {
                assert!(soon(messages.next()).await.unwrap().is_err());
            }
            assert!(soon(messages.next()).await.is_none());
            assert!(messages.is_terminated() && soon(messages.next()).await.is_none());
        });
    }
}

#[test]
fn a_sink_sends_in_order_waits_for_room_and_closes() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new().write_buffer(0, 0), None, 32);
        let sending = tokio::spawn(async move {
            let mut messages = conn.messages();
            for n in 0..100 {
                messages.feed(Message::from(n.to_string())).await.unwrap();
            }
            messages.feed(Message::from("last")).await.unwrap();
            let closed = messages.close().await;
            let late = messages.send(Message::from("late")).await.unwrap_err();
            (closed, late)
        });
        for n in 0..100 {
            assert_eq!(peer.frame().await, Some(text(n.to_string())));
        }
        assert_eq!(peer.frame().await, Some(text("last")));
        assert_eq!(peer.frame().await, Some(close(1000, "")));
        peer.send(&[close(1000, "")]).await;
        let (closed, late) = soon(sending).await.unwrap();
        closed.unwrap();
        assert!(matches!(late, Error::CloseSent | Error::Closed(_)), "{late:?}");
    });
}

#[test]
fn answers_to_a_burst_leave_in_order_through_a_narrow_transport() {
    run(async {
        let burst: Vec<_> = (0..100).map(|n| text(n.to_string())).collect();
        let leftover = Bytes::from(wire(Role::Client, &burst));
        let (mut peer, here) = tokio::io::duplex(8);
        let given = Negotiated::default();
        let conn = Conn::from_stream(here, Role::Server, given, leftover, Config::new());
        let echo = tokio::spawn(async move {
            let (sink, stream) = conn.messages().split();
            stream.forward(sink).await
        });
        let expected = wire(Role::Server, &burst);
        let mut answers = vec![0; expected.len()];
        soon(peer.read_exact(&mut answers)).await.unwrap();
        assert_eq!(answers, expected);
        drop(peer);
        assert!(soon(echo).await.unwrap().is_err());
    });
}

#[test]
fn a_stream_can_be_split_and_forwarded() {
    run(async {
        let (here, there) = ws_core::pair();
        let echo = tokio::spawn(async move {
            let (sink, stream) = there.messages().split();
            stream.forward(sink).await
        });
        let mut messages = here.messages();
        for n in 0..10 {
            messages.send(Message::from(n.to_string())).await.unwrap();
            let echoed = soon(messages.try_next()).await.unwrap().unwrap();
            assert_eq!(echoed, Message::from(n.to_string()));
        }
        soon(messages.close()).await.unwrap();
        // The stream has ended cleanly, and so has the sink.
        let _ = soon(echo).await.unwrap();
    });
}

/// A byte stream whose opening handshake is made on a bare stream.
#[tokio::test]
async fn an_accepted_connection_is_a_byte_stream_too() {
    let (here, there) = tokio::io::duplex(4096);
    let options = AcceptOptions::new();
    let accepting = Acceptor::new(&options).accept(there);
    let asking = async {
        let (mut read, mut write) = tokio::io::split(here);
        let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        write.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(read.read_u8().await.unwrap());
        }
        (read, write)
    };
    let (conn, (mut read, _write)) = tokio::join!(accepting, asking);
    let mut bytes = conn.unwrap().into_byte_stream(MessageType::Binary);
    soon(bytes.write_all(b"x")).await.unwrap();
    let mut frame = [0; 3];
    soon(read.read_exact(&mut frame)).await.unwrap();
    assert_eq!(&frame, b"\x82\x01x");
}
