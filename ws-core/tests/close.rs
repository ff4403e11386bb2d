//! How can a connection end, and what does each call return then?
//!
//! A row has the actions of this side and of the peer, and the outcome: the results of `close`,
//! `read` and `write`, the value of `closed`, and the close frames on the wire. Everything happens
//! within one deadline, with a paused clock.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::coop;
use tokio::time::{Instant, sleep, timeout};
use ws_core::frame::{Header, Mask, OpCode, mask};
use ws_core::handshake::Negotiated;
use ws_core::{
    CloseInfo, CloseInitiator, Config, Conn, Deadline, Error, Message, MessageType, Role,
    StatusCode,
};

const DEADLINE: Duration = Duration::from_secs(5);

/// The action of this side.
#[derive(Clone, Copy, Debug)]
enum We {
    Read,
    Close(u16, &'static str),
    CloseWhileReading(u16),
    CloseNow,
    WriteBrokenly,
}

/// The actions of the peer, in order.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// Waits for our close frame and records its payload.
    AwaitClose,
    SendClose(&'static [u8]),
    SendText(&'static str),
    SendGarbage,
    /// Sends half of a frame.
    SendHalf,
    /// Cuts the transport.
    Cut,
    /// Does nothing for a long time.
    Silent,
    /// Sends a ping per second for a long time.
    Trickle,
    /// Sends a byte of a data frame per second for a long time.
    TrickleFrame,
}

/// The outcome.
struct Ends {
    close: &'static str,
    read: &'static str,
    write: &'static str,
    closed: &'static str,
    /// The payloads of our close frames that the peer saw.
    wire: &'static [&'static [u8]],
}

/// The outcome of a lost transport without close frames.
const CUT: Ends = Ends {
    close: "-",
    read: "closed 1006",
    write: "closed 1006",
    closed: "by transport, sent -, received -, unclean",
    wire: &[],
};

/// The peer's end of the stream.
struct Wire {
    io: DuplexStream,
    role: Role,
    closes: Vec<Vec<u8>>,
}

impl Wire {
    async fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        let key = (self.role == Role::Client).then(|| Mask::new([1, 2, 3, 4]));
        let header = Header { mask: key, ..Header::new(true, opcode, payload.len() as u64) };
        let mut frame = header.encode().as_slice().to_vec();
        let mut payload = payload.to_vec();
        if let Some(key) = key {
            mask(&mut payload, key);
        }
        frame.extend(payload);
        // The transport may have been cut meanwhile.
        let _ = self.io.write_all(&frame).await;
    }

    /// The next frame, or `None` at the end of the stream.
    async fn receive(&mut self) -> Option<(OpCode, Vec<u8>)> {
        let mut bytes = Vec::new();
        let (header, head) = loop {
            if let Some(decoded) = Header::decode(&bytes) {
                break decoded;
            }
            bytes.push(self.io.read_u8().await.ok()?);
        };
        assert_eq!(head, bytes.len());
        assert_eq!(header.mask.is_some(), self.role == Role::Server);
        let mut payload = vec![0; header.len as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        if let Some(key) = header.mask {
            mask(&mut payload, key);
        }
        if header.opcode == OpCode::CLOSE {
            self.closes.push(payload.clone());
        }
        Some((header.opcode, payload))
    }

    /// Runs the script and records our frames until the stream ends.
    async fn act(mut self, script: &[Peer]) -> Vec<Vec<u8>> {
        for act in script {
            match *act {
                Peer::AwaitClose => {
                    while self.receive().await.is_some_and(|(code, _)| code != OpCode::CLOSE) {}
                }
                Peer::SendClose(payload) => self.send(OpCode::CLOSE, payload).await,
                Peer::SendText(text) => self.send(OpCode::TEXT, text.as_bytes()).await,
                Peer::SendGarbage => {
                    let _ = self.io.write_all(&[0xff; 16]).await;
                }
                Peer::SendHalf => {
                    let masked = if self.role == Role::Client { 0x80 } else { 0 };
                    let _ = self.io.write_all(&[0x82, masked | 100, 1, 2, 3, 4, 5]).await;
                }
                Peer::Cut => return self.closes,
                // The timeout of the peer is independent of ours.
                Peer::Silent => sleep(DEADLINE * 10).await, // tidy: sleep is the subject
                Peer::Trickle => {
                    for _ in 0..50 {
                        self.send(OpCode::PING, b"").await;
                        sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
                    }
                }
                Peer::TrickleFrame => {
                    let masked = if self.role == Role::Client { 0x80 } else { 0 };
                    let _ = self.io.write_all(&[0x82, masked | 100, 1, 2, 3, 4]).await;
                    for _ in 0..50 {
                        let _ = self.io.write_all(&[0]).await;
                        sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
                    }
                }
            }
        }
        while self.receive().await.is_some() {}
        self.closes
    }
}

fn say(error: &Error) -> String {
    match error {
        Error::Closed(close) => {
            format!("closed {} {}", close.code.as_u16(), close.reason).trim_end().to_owned()
        }
        Error::Protocol(_) => "protocol".into(),
        Error::Timeout(Deadline::Close) => "timeout".into(),
        Error::CloseSent => "close sent".into(),
        other => format!("{other:?}"),
    }
}

fn say_result<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| say(&error), |_| "ok".into())
}

fn say_ending(ending: &CloseInfo) -> String {
    let by = match ending.by {
        CloseInitiator::Local => "us",
        CloseInitiator::Peer => "peer",
        CloseInitiator::Transport => "transport",
        _ => "somebody",
    };
    let code = |frame: &Option<ws_core::CloseError>| {
        frame.as_ref().map_or_else(|| "-".into(), |frame| frame.code.as_u16().to_string())
    };
    let clean = if ending.is_clean() { "clean" } else { "unclean" };
    format!("by {by}, sent {}, received {}, {clean}", code(&ending.sent), code(&ending.received))
}

async fn do_it(conn: &Conn, we: We) -> (String, String) {
    let code = |code| StatusCode::from_u16(code).unwrap();
    match we {
        We::Read => ("-".into(), say_result(read_to_end(conn).await)),
        We::Close(number, reason) => {
            let closed = conn.close(code(number), reason).await;
            (say_result(closed), say_result(read_to_end(conn).await))
        }
        We::CloseWhileReading(number) => {
            let (closed, read) = tokio::join!(conn.close(code(number), ""), read_to_end(conn));
            (say_result(closed), say_result(read))
        }
        We::CloseNow => {
            conn.close_now();
            ("-".into(), say_result(read_to_end(conn).await))
        }
        We::WriteBrokenly => {
            drop(conn.writer(MessageType::Text).await.unwrap());
            ("-".into(), say_result(read_to_end(conn).await))
        }
    }
}

/// Reads until there is an error.
async fn read_to_end(conn: &Conn) -> Result<Message, Error> {
    loop {
        conn.read().await?;
    }
}

async fn check(we: We, peer: &'static [Peer], ends: Ends) {
    for role in [Role::Server, Role::Client] {
        let (here, there) = duplex(1024);
        let conn =
            Conn::from_stream(here, role, Negotiated::default(), Bytes::new(), Config::new());
        let peer_role = if role == Role::Server { Role::Client } else { Role::Server };
        let wire = Wire { io: there, role: peer_role, closes: Vec::new() };
        let acting = tokio::spawn(wire.act(peer));
        let began = Instant::now();
        let (closed, read) = do_it(&conn, we).await;
        let row = format!("{role:?} {we:?} {peer:?}");
        assert!(began.elapsed() <= DEADLINE, "{row}: {:?}", began.elapsed());
        assert_eq!(closed, ends.close, "close: {row}");
        assert_eq!(read, ends.read, "read: {row}");
        assert_eq!(say_result(conn.write("x").await), ends.write, "write: {row}");
        assert_eq!(say_ending(&conn.closed().await), ends.closed, "closed: {row}");
        assert_eq!(say_result(conn.ping().await), ends.write, "ping: {row}");
        // Repeated calls return the same.
        assert_eq!(say_result(conn.read().await), ends.read, "read again: {row}");
        if let We::Close(number, reason) = we {
            let again = conn.close(StatusCode::from_u16(number).unwrap(), reason).await;
            assert_eq!(say_result(again), ends.close, "close again: {row}");
        }
        assert!(began.elapsed() <= DEADLINE, "{row}: {:?}", began.elapsed());
        drop(conn);
        assert_eq!(acting.await.unwrap(), ends.wire, "wire: {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn we_close_and_the_peer_answers() {
    let close = We::Close(1000, "bye");
    check(
        close,
        &[Peer::AwaitClose, Peer::SendClose(b"\x03\xe8")],
        Ends {
            close: "ok",
            read: "closed 1000",
            write: "close sent",
            closed: "by us, sent 1000, received 1000, clean",
            wire: &[b"\x03\xe8bye"],
        },
    )
    .await;
    // With another code, with data before, and with no code at all.
    check(
        close,
        &[Peer::SendText("late"), Peer::AwaitClose, Peer::SendClose(b"\x0f\xa0why")],
        Ends {
            close: "ok",
            read: "closed 4000 why",
            write: "close sent",
            closed: "by us, sent 1000, received 4000, clean",
            wire: &[b"\x03\xe8bye"],
        },
    )
    .await;
    check(
        We::Close(1005, ""),
        &[Peer::AwaitClose, Peer::SendClose(b"")],
        Ends {
            close: "ok",
            read: "closed 1005",
            write: "close sent",
            closed: "by us, sent 1005, received 1005, clean",
            wire: &[b""],
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_reads_of_other_tasks() {
    check(
        We::CloseWhileReading(1001),
        &[Peer::AwaitClose, Peer::SendText("late"), Peer::SendClose(b"\x03\xe9")],
        Ends {
            close: "ok",
            read: "closed 1001",
            write: "close sent",
            closed: "by us, sent 1001, received 1001, clean",
            wire: &[b"\x03\xe9"],
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_peer_closes_and_is_answered_with_its_code_and_reason() {
    for (script, read, closed, wire) in [
        (
            &[Peer::SendText("first"), Peer::SendClose(b"\x03\xe8")],
            "closed 1000",
            "by peer, sent 1000, received 1000, clean",
            &[b"\x03\xe8" as &[u8]] as &[&[u8]],
        ),
        (
            &[Peer::SendText("first"), Peer::SendClose(b"\x03\xe9leaving")],
            "closed 1001 leaving",
            "by peer, sent 1001, received 1001, clean",
            &[b"\x03\xe9leaving"],
        ),
        (
            &[Peer::SendText("first"), Peer::SendClose(b"\x0b\xb8\xc3\xa9t\xc3\xa9")],
            "closed 3000 \u{e9}t\u{e9}",
            "by peer, sent 3000, received 3000, clean",
            &[b"\x0b\xb8\xc3\xa9t\xc3\xa9"],
        ),
        (
            &[Peer::SendText("first"), Peer::SendClose(b"")],
            "closed 1005",
            "by peer, sent 1005, received 1005, clean",
            &[b""],
        ),
    ] {
        check(We::Read, script, Ends { close: "-", read, write: read, closed, wire }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_close_at_once() {
    check(
        We::Close(1000, ""),
        &[Peer::SendClose(b"\x03\xe9"), Peer::AwaitClose],
        Ends {
            close: "ok",
            read: "closed 1001",
            write: "close sent",
            closed: "by us, sent 1000, received 1001, clean",
            wire: &[b"\x03\xe8"],
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_cut_at_the_deadline() {
    for peer in [
        &[Peer::Silent][..],
        &[Peer::AwaitClose, Peer::Silent],
        &[Peer::Trickle],
        &[Peer::TrickleFrame],
        &[Peer::SendHalf, Peer::Silent],
    ] {
        check(
            We::Close(1000, ""),
            peer,
            Ends {
                close: "timeout",
                read: "timeout",
                write: "close sent",
                closed: "by us, sent 1000, received -, unclean",
                wire: &[b"\x03\xe8"],
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_is_cut_is_1006() {
    for (we, peer, ends) in [
        (We::Read, &[Peer::Cut][..], CUT),
        (We::Read, &[Peer::SendText("whole"), Peer::SendHalf, Peer::Cut], CUT),
        (
            We::Close(1000, ""),
            &[Peer::AwaitClose, Peer::Cut],
            Ends {
                close: "closed 1006",
                write: "close sent",
                closed: "by transport, sent 1000, received -, unclean",
                wire: &[b"\x03\xe8"],
                ..CUT
            },
        ),
        // Messages received before the end are delivered before it.
        (
            We::Read,
            &[Peer::SendClose(b"\x03\xe8"), Peer::Cut],
            Ends {
                read: "closed 1000",
                write: "closed 1000",
                closed: "by peer, sent 1000, received 1000, clean",
                ..CUT
            },
        ),
    ] {
        check(we, peer, ends).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_peer_is_told_and_ends_it() {
    check(
        We::Read,
        &[Peer::SendText("good"), Peer::SendGarbage, Peer::AwaitClose],
        Ends {
            close: "-",
            read: "protocol",
            write: "protocol",
            closed: "by us, sent 1002, received -, unclean",
            wire: &[b"\x03\xeaa reserved bit is set that no extension gives a meaning"],
        },
    )
    .await;
    // The same while we are closing: the close frame has been sent by then.
    check(
        We::Close(1000, ""),
        &[Peer::AwaitClose, Peer::SendGarbage],
        Ends {
            close: "protocol",
            read: "protocol",
            write: "close sent",
            closed: "by us, sent 1000, received -, unclean",
            wire: &[b"\x03\xe8"],
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn we_cut_the_transport() {
    let ends = Ends { closed: "by us, sent -, received -, unclean", ..CUT };
    check(We::CloseNow, &[], ends).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_finished_ends_it() {
    check(
        We::WriteBrokenly,
        &[Peer::AwaitClose, Peer::SendClose(b"\x03\xf3")],
        Ends {
            close: "-",
            read: "closed 1011 a message was not finished",
            write: "closed 1011 a message was not finished",
            closed: "by us, sent 1011, received -, unclean",
            wire: &[b"\x03\xf3a message was not finished"],
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_may_not_be_sent_sends_nothing() {
    let (here, there) = ws_core::pair();
    for (code, reason) in [(1006, ""), (1004, ""), (1015, ""), (2999, ""), (1005, "why")] {
        let code = StatusCode::from_u16(code).unwrap();
        assert!(matches!(here.close(code, reason).await, Err(Error::SendError(_))));
    }
    let long = "x".repeat(124);
    let unsendable = here.close(StatusCode::NORMAL_CLOSURE, &long).await;
    assert!(matches!(unsendable, Err(Error::SendError(_))));
    here.write("still open").await.unwrap();
    assert_eq!(there.read().await.unwrap(), Message::from("still open"));
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_says_goodbye() {
    let (here, there) = ws_core::pair();
    let also = here.clone();
    here.write("last words").await.unwrap();
    drop(here);
    assert_eq!(there.read().await.unwrap(), Message::from("last words"));
    assert!(timeout(Duration::from_secs(1), there.read()).await.is_err());
    drop(also);
    let gone = there.read().await.unwrap_err();
    assert_eq!(gone.close_status(), Some(StatusCode::GOING_AWAY));
    assert_eq!(there.closed().await.by, CloseInitiator::Peer);
}

/// More than the stream between them holds.
#[tokio::test(start_paused = true)]
async fn the_last_handle_leaves_what_was_written() {
    let (here, there) = ws_core::pair();
    let long = Message::binary(vec![3; 600_000]);
    here.write(long.clone()).await.unwrap();
    drop(here);
    assert_eq!(there.read().await.unwrap(), long);
    assert_eq!(there.read().await.unwrap_err().close_status(), Some(StatusCode::GOING_AWAY));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_goes_before_the_close() {
    let (here, there) = ws_core::pair();
    let long = Message::binary(vec![3; 600_000]);
    here.write(long.clone()).await.unwrap();
    let closing = tokio::spawn(async move { here.close(StatusCode::NORMAL_CLOSURE, "").await });
    assert_eq!(there.read().await.unwrap(), long);
    assert_eq!(there.read().await.unwrap_err().close_status(), Some(StatusCode::NORMAL_CLOSURE));
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_before_the_end_are_all_read() {
    let (here, there) = ws_core::pair();
    for number in 0..100_u8 {
        here.write(vec![number]).await.unwrap();
    }
    here.close_now();
    // A task that waits for the end drops no message, and does not wait for a read.
    assert_eq!(there.closed().await.by, CloseInitiator::Transport);
    for number in 0..100_u8 {
        assert_eq!(there.read().await.unwrap(), Message::binary(vec![number]));
    }
    assert_eq!(there.read().await.unwrap_err().close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
}

#[tokio::test(start_paused = true)]
async fn pending_calls_end_with_the_connection() {
    let (here, there) = ws_core::pair_with(Config::new().write_buffer(0, 0), Config::new());
    let stuck = Message::binary(vec![0; 200_000]);
    here.write(stuck.clone()).await.unwrap();
    let calls = [
        tokio::spawn({
            let here = here.clone();
            async move { here.write("waits").await }
        }),
        tokio::spawn({
            let here = here.clone();
            async move { here.flush().await }
        }),
        tokio::spawn({
            let here = here.clone();
            async move { here.ping().await.map(drop) }
        }),
        tokio::spawn({
            let here = here.clone();
            async move { here.read().await.map(drop) }
        }),
        tokio::spawn({
            let here = here.clone();
            async move { here.writer(MessageType::Text).await.map(drop) }
        }),
    ];
    sleep(Duration::from_millis(1)).await; // tidy: sleep is the subject
    here.close_now();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    drop(there);
}

#[tokio::test(start_paused = true)]
async fn idle_age_and_keepalive_end_it_and_say_why() {
    let seconds = Duration::from_secs;
    for (config, deadline, after, seen) in [
        (Config::new().idle_timeout(seconds(30)), Deadline::Idle, 30, StatusCode::GOING_AWAY),
        (Config::new().max_age(seconds(100)), Deadline::Age, 100, StatusCode::GOING_AWAY),
    ] {
        let (here, there) = ws_core::pair_with(config, Config::new());
        let began = Instant::now();
        let seeing = tokio::spawn(async move { there.read().await.unwrap_err() });
        let error = here.read().await.unwrap_err();
        assert!(matches!(error, Error::Timeout(found) if found == deadline), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), after);
        assert_eq!(seeing.await.unwrap().close_status(), Some(seen));
    }
    // A live peer keeps answering pings. A dead one is aborted.
    let keepalive = ws_core::Keepalive::every(seconds(30));
    let (here, there) = ws_core::pair_with(Config::new().keepalive(keepalive), Config::new());
    let reading = there.close_read();
    assert!(timeout(seconds(1000), here.read()).await.is_err());
    drop((reading, there));
    let (here, silent) = duplex(1024);
    let config = Config::new().keepalive(keepalive);
    let here = Conn::from_stream(here, Role::Client, Negotiated::default(), Bytes::new(), config);
    let began = Instant::now();
    let error = here.read().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Keepalive)), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), 60);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_busy_handler_is_not_taken_for_a_dead_peer() {
    let seconds = Duration::from_secs;
    let config =
        Config::new().keepalive(ws_core::Keepalive::every(seconds(10))).idle_timeout(seconds(20));
    let (here, there) = ws_core::pair_with(config, Config::new());
    there.write("before").await.unwrap();
    let reading = tokio::spawn(async move { there.read().await.map(|_| there) });
    sleep(seconds(1000)).await; // tidy: sleep is the subject
    assert_eq!(here.read().await.unwrap(), Message::from("before"));
    sleep(seconds(1000)).await; // tidy: sleep is the subject
    assert!(timeout(seconds(15), here.read()).await.is_err());
    here.write("after").await.unwrap();
    reading.await.unwrap().unwrap();
}

/// In a task whose coop budget is used up, reads return pending even if there is data.
#[tokio::test(start_paused = true)]
async fn a_busy_task_does_not_take_its_peer_for_dead() {
    let seconds = Duration::from_secs;
    let config = Config::new().keepalive(ws_core::Keepalive::every(seconds(10)));
    let (here, mut there) = duplex(1024);
    let here = Conn::from_stream(here, Role::Client, Negotiated::default(), Bytes::new(), config);
    assert!(timeout(seconds(15), here.read()).await.is_err());
    there.write_all(b"\x81\x01a").await.unwrap();
    sleep(seconds(1000)).await; // tidy: sleep is the subject
    while coop::has_budget_remaining() {
        coop::consume_budget().await;
    }
    assert_eq!(here.read().await.unwrap(), Message::from("a"));
}
