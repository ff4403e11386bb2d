//! What works while the application does not read, or is stuck in a write?
//!
//! The end is noticed, pings are answered and deadlines pass. What arrives is read ahead within a
//! bound, and is still read in its order.

use std::future::pending;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{
    BOTH, Frame, Peer, binary, close, connect, more, other, ping, pong, run, soon, text, wire,
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep, timeout};
use ws_core::frame::OpCode;
use ws_core::handshake::Negotiated;
use ws_core::{
    CloseInitiator, Config, Conn, Deadline, Error, Keepalive, Limits, Message, MessageType,
    ProtocolError, Role, StatusCode,
};

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1024;

/// How much is read ahead, and what a message counts besides its payload.
const READ_AHEAD: usize = 64 * KIB;
const OVERHEAD: usize = 128;

fn watchful() -> Config {
    Config::new().keepalive(Keepalive::every(30 * SECOND))
}

/// A connection over TCP, and the socket of its peer.
async fn over_tcp(role: Role, config: Config) -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (there, here) = tokio::join!(dialled, listener.accept());
    let here = here.unwrap().0;
    (Conn::from_stream(here, role, Negotiated::default(), Bytes::new(), config), there.unwrap())
}

/// Fails instead of hanging, by the clock of the machine.
async fn at_last<T>(future: impl Future<Output = T>) -> T {
    timeout(20 * SECOND, future).await.expect("this hangs")
}

async fn check_rest(conn: &Conn, messages: &[&str]) -> Error {
    for message in messages {
        assert_eq!(at_last(conn.read()).await.unwrap(), Message::from(*message));
    }
    at_last(conn.read()).await.unwrap_err()
}

// The end, behind a message that is not read.

#[derive(Clone, Copy, Debug)]
enum Wait {
    Closed,
    Ping,
    /// A handler that pushes what a feed brings, and never reads.
    PushFeed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum HangUp {
    Fin,
    Rst,
}

async fn wait_for_end(conn: &Conn, wait: Wait) {
    match wait {
        Wait::Closed => {
            conn.closed().await;
        }
        Wait::Ping => {
            // A ping may be answered before the end.
            while conn.ping().await.is_ok() {}
        }
        Wait::PushFeed => {
            let (_feed, mut fed) = mpsc::channel::<Message>(1);
            tokio::select! {
                _ = conn.closed() => {}
                message = fed.recv() => conn.write(message.unwrap()).await.unwrap(),
            }
        }
    }
}

fn script(role: Role, with_close: bool) -> Vec<u8> {
    let frames = [text("a"), close(1000, "")];
    wire(other(role), &frames[..1 + usize::from(with_close)])
}

async fn check_end(conn: &Conn, wait: Wait, with_close: bool) {
    at_last(wait_for_end(conn, wait)).await;
    let ending = at_last(conn.closed()).await;
    let by = if with_close { CloseInitiator::Peer } else { CloseInitiator::Transport };
    assert_eq!(ending.by, by);
    let code = if with_close { StatusCode::NORMAL_CLOSURE } else { StatusCode::ABNORMAL_CLOSURE };
    assert_eq!(check_rest(conn, &["a"]).await.close_status(), Some(code));
}

#[tokio::test]
async fn what_waits_for_the_end_resolves_behind_an_unread_message() {
    for role in BOTH {
        for wait in [Wait::Closed, Wait::Ping, Wait::PushFeed] {
            for config in [Config::new(), watchful()] {
                for with_close in [false, true] {
                    let bytes = script(role, with_close);
                    for hang_up in [HangUp::Fin, HangUp::Rst] {
                        let (conn, mut peer) = over_tcp(role, config.clone()).await;
                        peer.write_all(&bytes).await.unwrap();
                        if hang_up == HangUp::Rst {
                            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                        }
                        drop(peer);
                        check_end(&conn, wait, with_close).await;
                    }
                    let (conn, mut peer) = connect(role, config.clone(), None, KIB);
                    peer.send_bytes(&bytes).await;
                    drop(peer);
                    check_end(&conn, wait, with_close).await;
                }
            }
        }
    }
}

/// Sends numbered messages, more than is read ahead, and returns how many. No more than fit: a FIN
/// arrives behind the bytes before it.
async fn fill(peer: &TcpStream, role: Role) -> u64 {
    let mut sent = 0_u64;
    while sent < 110 {
        let frame = binary([&sent.to_be_bytes()[..], &[0; 1000]].concat());
        peer.writable().await.unwrap();
        if peer.try_write(&frame.encode(role)).is_err() {
            break;
        }
        sent += 1;
    }
    sent
}

/// Reads the messages of [`fill`], and returns how many there are, and the error behind them.
async fn read_all(conn: &Conn) -> (u64, Error) {
    let mut read = 0_u64;
    loop {
        match at_last(conn.read()).await {
            Ok(message) => assert_eq!(message.as_bytes()[..8], read.to_be_bytes()),
            Err(error) => return (read, error),
        }
        read += 1;
    }
}

impl HangUp {
    /// After a FIN, the stream can still be read.
    fn run(self, peer: TcpStream) -> Option<TcpStream> {
        match self {
            Self::Fin => SockRef::from(&peer).shutdown(Shutdown::Write).unwrap(),
            Self::Rst => {
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                return None;
            }
        }
        Some(peer)
    }
}

/// More arrives than is read ahead. All of it can be read after the end.
#[tokio::test]
async fn a_hang_up_of_tcp_is_seen_behind_more_than_is_read_ahead() {
    for role in BOTH {
        for hang_up in [HangUp::Fin, HangUp::Rst] {
            for stuck in [false, true] {
                check_hang_up(role, hang_up, stuck).await;
            }
        }
    }
}

async fn check_hang_up(role: Role, hang_up: HangUp, stuck: bool) {
    let (conn, peer) = over_tcp(role, Config::new()).await;
    let sent = fill(&peer, other(role)).await;
    let waiting = tokio::spawn({
        let conn = conn.clone();
        async move {
            if stuck {
                while conn.write(vec![0; 100 * KIB]).await.is_ok() {}
            }
            conn.closed().await
        }
    });
    let full = (READ_AHEAD / (1008 + OVERHEAD)) as u64;
    at_last(async {
        while conn.stats().messages_in < full {
            sleep(SECOND / 20).await; // tidy: sleep is the subject
        }
    })
    .await;
    let _half_open = hang_up.run(peer);
    let ending = at_last(waiting).await.unwrap();
    assert_eq!(ending.by, CloseInitiator::Transport, "{role:?} {hang_up:?} {stuck}");
    let (read, error) = read_all(&conn).await;
    assert!(read > full && (read == sent || hang_up == HangUp::Rst), "{read} of {sent}");
    assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    // Nothing is left, and nothing changes.
    assert!(at_last(conn.read()).await.is_err());
}

/// How many messages of 1 KiB are sent over a pipe: more than is read ahead.
const MANY: usize = 200;

/// A connection over a pipe with more than is read ahead, and its peer.
async fn filled(role: Role, config: Config) -> (Conn, Peer) {
    let (conn, mut peer) = connect(role, config, None, 300 * KIB);
    let frames: Vec<_> = (0..MANY as u64)
        .map(|number| binary([&number.to_be_bytes()[..], &[0; KIB]].concat()))
        .collect();
    peer.send(&frames).await;
    (conn, peer)
}

/// Only a write shows that the peer of another transport has gone. It is tried after a minute.
#[test]
fn a_peer_that_has_gone_is_seen_behind_more_than_is_read_ahead() {
    let hourly = Config::new().keepalive(Keepalive::every(3600 * SECOND));
    for role in BOTH {
        for wait in [Wait::Closed, Wait::Ping, Wait::PushFeed] {
            for config in [&Config::new(), &hourly] {
                for goes_after in [0, 50, 100] {
                    run(async {
                        let (conn, peer) = filled(role, config.clone()).await;
                        let began = Instant::now();
                        let waiting = tokio::spawn({
                            let conn = conn.clone();
                            async move { wait_for_end(&conn, wait).await }
                        });
                        sleep(goes_after * SECOND).await; // tidy: sleep is the subject
                        assert!(conn.close_info().is_none());
                        drop(peer);
                        timeout(80 * SECOND, waiting).await.expect("this hangs").unwrap();
                        assert!(began.elapsed() >= 60 * SECOND, "an application may be slow");
                        let by = soon(conn.closed()).await.by;
                        assert_eq!(by, CloseInitiator::Transport, "{role:?} {wait:?}");
                        let (read, error) = read_all(&conn).await;
                        assert_eq!(read, MANY as u64);
                        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
                    });
                }
            }
        }
    }
}

/// A peer that has sent more than is read ahead and takes what it gets is there. It gets pongs,
/// which it does not answer.
#[test]
fn a_peer_that_stays_is_kept_behind_more_than_is_read_ahead() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = filled(role, Config::new()).await;
            let waiting = tokio::spawn({
                let conn = conn.clone();
                async move { conn.closed().await }
            });
            for pause in [58, 55] {
                let began = Instant::now();
                // A read begins a new minute.
                let early = timeout(pause * SECOND, peer.frame()).await;
                assert!(early.is_err(), "{early:?} after {:?}", began.elapsed());
                soon(conn.read()).await.unwrap();
            }
            sleep(10 * SECOND).await; // tidy: sleep is the subject
            for number in 0..100 {
                let began = Instant::now();
                assert_eq!(peer.frame().await.unwrap(), pong(""));
                assert!(number == 0 || began.elapsed() <= 11 * SECOND);
            }
            assert!(conn.close_info().is_none());
            for _ in 2..MANY {
                soon(conn.read()).await.unwrap();
            }
            // Nothing is behind the bound any more.
            assert!(timeout(3600 * SECOND, peer.io.read_u8()).await.is_err());
            peer.send(&[close(1000, "")]).await;
            assert!(soon(waiting).await.unwrap().is_clean());
        });
    }
}

/// Nothing is sent that no operation needs, or behind a close frame.
#[test]
fn no_pong_is_sent_if_nothing_waits_or_this_side_has_closed() {
    for role in BOTH {
        run(async {
            let (_conn, mut peer) = filled(role, Config::new()).await;
            assert!(timeout(3600 * SECOND, peer.io.read_u8()).await.is_err());

            let (conn, mut peer) = filled(role, Config::new()).await;
            let mut stream = conn.clone().into_byte_stream(MessageType::Binary);
            stream.shutdown().await.unwrap();
            tokio::spawn(async move { conn.closed().await });
            assert_eq!(peer.frame().await.unwrap(), close(1000, ""));
            assert!(timeout(3600 * SECOND, peer.io.read_u8()).await.is_err());
        });
    }
}

/// The same if no operation waits: the close frame may still be read in its turn, until a deadline.
#[test]
fn a_hang_up_that_nothing_waits_for_is_an_end_at_the_next_deadline() {
    let keepalive = Config::new().keepalive(Keepalive::every(10 * SECOND));
    let age = Config::new().max_age(20 * SECOND);
    for role in BOTH {
        for hang_up in [HangUp::Fin, HangUp::Rst] {
            for (config, deadline) in [(&keepalive, 20), (&age, 20), (&Config::new(), 3600)] {
                run(async {
                    let (conn, peer) = over_tcp(role, config.clone()).await;
                    let sent = fill(&peer, other(role)).await;
                    let _half_open = hang_up.run(peer);
                    let began = Instant::now();
                    while conn.close_info().is_none() && began.elapsed() < 3600 * SECOND {
                        sleep(SECOND / 2).await; // tidy: sleep is the subject
                    }
                    // What has arrived before the hang-up counts as a sign of life, once.
                    let (least, most) = ((deadline - 1) * SECOND, (deadline + 12) * SECOND);
                    let after = began.elapsed();
                    assert!(least < after && after < most, "{hang_up:?} {after:?} {config:?}");
                    let by = conn.close_info().map(|ending| ending.by);
                    assert_eq!(by, (deadline < 3600).then_some(CloseInitiator::Transport));
                    let (read, error) = read_all(&conn).await;
                    assert!(read == sent || hang_up == HangUp::Rst, "{read} of {sent}");
                    assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
                });
            }
        }
    }
}

#[test]
fn a_close_frame_behind_more_than_is_read_ahead_is_read_in_its_turn() {
    for role in BOTH {
        run(async {
            let (conn, peer) = over_tcp(role, watchful()).await;
            let sent = fill(&peer, other(role)).await;
            peer.try_write(&close(1000, "bye").encode(other(role))).unwrap();
            let _half_open = HangUp::Fin.run(peer);
            sleep(20 * SECOND).await; // tidy: sleep is the subject
            assert!(conn.close_info().is_none());
            let (read, error) = read_all(&conn).await;
            assert_eq!((read, error.is_normal_close()), (sent, true), "{error:?}");
        });
    }
}

// What the handler does meanwhile.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Busy {
    /// Waits for something else.
    Elsewhere,
    /// Waits for a write that the peer does not take.
    Writing,
    /// Waits for a flush that the peer does not take.
    Flushing,
    /// Holds a read that has waited, and does not poll it.
    HoldingRead,
    /// Holds a stream of messages that has waited, and is stuck in a write.
    HoldingStream,
    /// Holds a stream of messages that has waited, and waits for something else.
    HoldingIdleStream,
    /// Waits for the end, with a message unread.
    AwaitingEnd,
    /// Waits for the message behind one that it holds, and has read a part of.
    ReadingBehind,
}

const BUSY: [Busy; 8] = [
    Busy::Elsewhere,
    Busy::Writing,
    Busy::Flushing,
    Busy::HoldingRead,
    Busy::HoldingStream,
    Busy::HoldingIdleStream,
    Busy::AwaitingEnd,
    Busy::ReadingBehind,
];

async fn be_busy(conn: Conn, busy: Busy) {
    match busy {
        Busy::Elsewhere => pending().await,
        Busy::Writing => while conn.write(vec![0; 100_000]).await.is_ok() {},
        Busy::Flushing => {
            conn.write(vec![0; 10_000]).await.unwrap();
            conn.flush().await.unwrap_err();
        }
        Busy::HoldingRead => {
            let mut read = Box::pin(conn.read());
            assert!(futures::poll!(&mut read).is_pending());
            pending().await
        }
        Busy::HoldingStream => {
            let mut stream = conn.messages();
            assert!(futures::poll!(stream.next()).is_pending());
            while conn.write(vec![0; 100_000]).await.is_ok() {}
        }
        Busy::HoldingIdleStream => {
            let mut stream = conn.messages();
            assert!(futures::poll!(stream.next()).is_pending());
            pending().await
        }
        Busy::AwaitingEnd => {
            conn.closed().await;
        }
        Busy::ReadingBehind => {
            let reader = conn.reader().await.unwrap();
            conn.read().await.unwrap_err();
            drop(reader);
        }
    }
}

/// Starts a handler whose peer has sent one message, except where that would end a read.
async fn start(role: Role, config: Config, busy: Busy) -> (Conn, Peer) {
    let (conn, mut peer) = connect(role, config, None, KIB);
    tokio::spawn(be_busy(conn.clone(), busy));
    yield_now().await;
    match busy {
        Busy::HoldingRead | Busy::HoldingStream | Busy::HoldingIdleStream => {}
        Busy::ReadingBehind => peer.send(&[text("a").open()]).await,
        Busy::Elsewhere | Busy::Writing | Busy::Flushing | Busy::AwaitingEnd => {
            peer.send(&[text("a")]).await;
        }
    }
    (conn, peer)
}

#[test]
fn keepalive_ends_a_silent_peer_whatever_the_handler_does() {
    for role in BOTH {
        for busy in BUSY {
            run(async {
                let (conn, peer) = start(role, watchful(), busy).await;
                let began = Instant::now();
                while conn.close_info().is_none() {
                    assert!(began.elapsed() < 95 * SECOND, "{busy:?}");
                    sleep(SECOND / 2).await; // tidy: sleep is the subject
                }
                let error = conn.close_info().unwrap().error;
                assert!(matches!(error, Error::Timeout(Deadline::Keepalive)), "{busy:?} {error:?}");
                drop(peer);
            });
        }
    }
}

#[test]
fn pings_are_answered_while_no_future_reads() {
    for role in BOTH {
        for busy in
            [Busy::Elsewhere, Busy::HoldingIdleStream, Busy::AwaitingEnd, Busy::ReadingBehind]
        {
            run(async {
                let (_conn, mut peer) = start(role, Config::new(), busy).await;
                for number in 0..10_u8 {
                    peer.send(&[ping([number])]).await;
                    let sent = Instant::now();
                    assert_eq!(peer.frame().await.unwrap(), pong([number]), "{busy:?}");
                    assert!(sent.elapsed() <= SECOND, "{busy:?}");
                    sleep(7 * SECOND).await; // tidy: sleep is the subject
                }
            });
        }
    }
}

/// A peer that answers pings stays, however long the handler is busy.
#[test]
fn a_peer_that_answers_pings_stays_while_the_handler_does_not_read() {
    for role in BOTH {
        for busy in [
            Busy::Elsewhere,
            Busy::HoldingRead,
            Busy::HoldingIdleStream,
            Busy::AwaitingEnd,
            Busy::ReadingBehind,
        ] {
            run(async {
                let config = Config::new().keepalive(Keepalive::every(10 * SECOND));
                let (conn, mut peer) = start(role, config, busy).await;
                for _ in 0..20 {
                    let frame = peer.frame().await.unwrap();
                    assert_eq!(frame.header.opcode, OpCode::PING, "{busy:?}");
                    peer.send(&[pong(frame.payload)]).await;
                }
                assert!(conn.close_info().is_none());
            });
        }
    }
}

#[test]
fn the_end_is_noticed_while_no_future_reads() {
    for role in BOTH {
        for busy in [
            Busy::Elsewhere,
            Busy::Writing,
            Busy::Flushing,
            Busy::HoldingStream,
            Busy::HoldingIdleStream,
            Busy::ReadingBehind,
        ] {
            for with_close in [false, true] {
                run(async {
                    let (conn, mut peer) = start(role, Config::new(), busy).await;
                    if with_close {
                        peer.send(&[close(1000, "")]).await;
                    } else {
                        // The peer still takes nothing, and does not reset the stream.
                        peer.io.shutdown().await.unwrap();
                    }
                    sleep(2 * SECOND).await; // tidy: sleep is the subject
                    assert!(conn.close_info().is_some(), "{busy:?} {with_close}");
                });
            }
        }
    }
}

#[test]
fn a_violation_and_a_maximum_age_end_it_while_the_handler_does_not_read() {
    for (config, bytes, deadline) in [
        (Config::new(), &[0xff; 16][..], None),
        (Config::new().max_age(100 * SECOND), &[], Some(Deadline::Age)),
    ] {
        run(async {
            let (conn, mut peer) = start(Role::Server, config.clone(), Busy::Elsewhere).await;
            peer.send_bytes(bytes).await;
            sleep(102 * SECOND).await; // tidy: sleep is the subject
            match (conn.close_info().unwrap().error, deadline) {
                (Error::Protocol(_), None) => {}
                (Error::Timeout(found), Some(deadline)) => assert_eq!(found, deadline),
                (error, _) => panic!("{error:?}"),
            }
        });
    }
}

/// The peer of a tunnel has closed its direction, so nothing is read any more.
#[test]
fn a_maximum_age_ends_a_tunnel_that_is_half_closed() {
    for role in BOTH {
        run(async {
            let config = Config::new().max_age(100 * SECOND);
            let (conn, mut peer) = connect(role, config, None, KIB);
            let mut stream = conn.clone().into_byte_stream(MessageType::Binary);
            peer.send(&[close(1000, "")]).await;
            assert_eq!(soon(stream.read(&mut [0; 9])).await.unwrap(), 0);
            sleep(98 * SECOND).await; // tidy: sleep is the subject
            assert!(conn.close_info().is_none());
            sleep(4 * SECOND).await; // tidy: sleep is the subject
            assert_eq!(conn.close_info().unwrap().by, CloseInitiator::Peer);
            assert_eq!(peer.frame().await.unwrap(), close(1000, ""));
        });
    }
}

/// The idle timeout counts only while something waits for a message.
#[test]
fn the_idle_timeout_is_paused_while_the_handler_does_not_read() {
    run(async {
        let config = Config::new().idle_timeout(10 * SECOND);
        let (conn, _peer) = start(Role::Server, config, Busy::Elsewhere).await;
        sleep(1000 * SECOND).await; // tidy: sleep is the subject
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from("a"));
        let error = soon(conn.read()).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Deadline::Idle)), "{error:?}");
    });
}

#[test]
fn a_close_that_nobody_waits_for_keeps_its_deadline() {
    run(async {
        let (conn, _peer) = start(Role::Server, Config::new(), Busy::Elsewhere).await;
        {
            let mut closing = Box::pin(conn.close(StatusCode::NORMAL_CLOSURE, ""));
            assert!(futures::poll!(&mut closing).is_pending());
        }
        sleep(7 * SECOND).await; // tidy: sleep is the subject
        let error = conn.close_info().unwrap().error;
        assert!(matches!(error, Error::Timeout(Deadline::Close)), "{error:?}");
    });
}

/// The timer fires before the deadline, which has moved.
#[test]
fn a_deadline_that_has_moved_passes_while_a_read_is_held() {
    for role in BOTH {
        run(async {
            let config = Config::new().idle_timeout(30 * SECOND);
            let (conn, mut peer) = connect(role, config, None, KIB);
            let mut read = Box::pin(conn.read());
            assert!(futures::poll!(&mut read).is_pending());
            sleep(20 * SECOND).await; // tidy: sleep is the subject
            peer.send(&[text("a")]).await;
            soon(read).await.unwrap();
            let mut held = Box::pin(conn.read());
            assert!(futures::poll!(&mut held).is_pending());
            sleep(100 * SECOND).await; // tidy: sleep is the subject
            let ended = conn.close_info().map(|info| info.error);
            assert!(matches!(ended, Some(Error::Timeout(Deadline::Idle))), "{ended:?}");
        });
    }
}

#[test]
fn a_close_frame_that_is_written_beside_a_held_read_keeps_its_deadline() {
    for config in [Config::new(), watchful()] {
        run(async {
            let (conn, _peer) = connect(Role::Server, config.clone(), None, KIB);
            let mut held = Box::pin(conn.read());
            assert!(futures::poll!(&mut held).is_pending());
            sleep(3 * SECOND).await; // tidy: sleep is the subject
            let close = ws_core::frame::Frame::close(StatusCode::NORMAL_CLOSURE, "");
            soon(conn.frames().write(close)).await.unwrap();
            sleep(7 * SECOND).await; // tidy: sleep is the subject
            let ended = conn.close_info().map(|info| info.error);
            assert!(matches!(ended, Some(Error::Timeout(Deadline::Close))), "{ended:?}");
        });
    }
}

/// How a connection ends whose transport is full.
#[derive(Clone, Copy, Debug)]
enum FullEnd {
    Dropped,
    Cut,
    Broken,
}

#[test]
fn no_task_waits_for_a_full_transport_after_the_end() {
    for how in [FullEnd::Dropped, FullEnd::Cut, FullEnd::Broken] {
        run(async {
            let alive = || Handle::current().metrics().num_alive_tasks();
            // A client has no write timeout.
            let (conn, mut peer) = connect(Role::Client, Config::new(), None, KIB);
            let mut write = Box::pin(conn.write(vec![0; 100_000]));
            assert!(futures::poll!(&mut write).is_ready());
            sleep(2 * SECOND).await; // tidy: sleep is the subject
            match how {
                FullEnd::Dropped => {}
                FullEnd::Cut => conn.close_now(),
                FullEnd::Broken => {
                    peer.send_bytes(&[0xff; 16]).await;
                    soon(conn.closed()).await;
                }
            }
            drop(write);
            drop(conn);
            sleep(30 * SECOND).await; // tidy: sleep is the subject
            assert_eq!(alive(), 0, "{how:?}");
            drop(peer);
        });
    }
}

#[test]
fn hooks_run_while_the_handler_does_not_read() {
    run(async {
        let (conn, mut peer) = start(Role::Server, Config::new(), Busy::Elsewhere).await;
        conn.on_ping(|conn, payload| {
            let _ = conn.pong([b"hook ", &payload[..]].concat());
            false
        });
        peer.send(&[ping("1"), ping("2")]).await;
        for expected in ["hook 1", "hook 2"] {
            assert_eq!(peer.frame().await.unwrap(), pong(expected));
        }
    });
}

#[test]
fn text_that_is_not_utf8_fails_a_read_that_waits_for_it() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, KIB);
        let mut read = Box::pin(conn.read());
        assert!(futures::poll!(&mut read).is_pending());
        peer.send(&[text(b"\xff")]).await;
        assert!(matches!(soon(read).await, Err(Error::Protocol(ProtocolError::TextNotUtf8))));
    });
}

#[test]
fn a_hook_that_panics_does_not_end_the_watch() {
    run(async {
        let (conn, mut peer) = start(Role::Server, Config::new(), Busy::Elsewhere).await;
        conn.on_ping(|_, payload| {
            assert_ne!(&payload[..], b"1", "the hook panics");
            true
        });
        peer.send(&[ping("1"), ping("2")]).await;
        assert_eq!(peer.frame().await.unwrap(), pong("2"));
    });
}

/// A stream that panics.
struct Panics {
    when_closed: bool,
}

impl AsyncRead for Panics {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("the transport panics");
    }
}

impl AsyncWrite for Panics {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(!self.when_closed, "the transport panics");
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_transport_that_panics_ends_its_connection() {
    for when_closed in [false, true] {
        run(async {
            let (role, given) = (Role::Server, Negotiated::default());
            let io = Panics { when_closed };
            let conn = Conn::from_stream(io, role, given, Bytes::new(), Config::new());
            sleep(3 * SECOND).await; // tidy: sleep is the subject
            let ending = conn.close_info().unwrap();
            assert_eq!(ending.by, CloseInitiator::Transport);
            assert!(matches!(ending.error, Error::Io(_)), "{ending:?}");
            let alive = Handle::current().metrics().num_alive_tasks();
            assert_eq!(alive, METRICS, "none is watched");
        });
    }
}

// The bound.

/// Sends numbered messages until the transport takes no more. Returns how many were taken whole.
async fn flood(peer: &mut Peer, size: usize) -> u64 {
    let mut sent = 0_u64;
    loop {
        let frame = binary([&sent.to_be_bytes()[..], &vec![0; size]].concat());
        let bytes = frame.encode(peer.role);
        if timeout(10 * SECOND, peer.io.write_all(&bytes)).await.is_err() {
            return sent;
        }
        sent += 1;
    }
}

#[test]
fn a_flood_that_is_not_read_is_stopped_by_backpressure() {
    const PIPE: usize = 16 * KIB;
    for role in BOTH {
        for (busy, limits) in [
            (Busy::Elsewhere, Limits::new()),
            (Busy::AwaitingEnd, Limits::new()),
            (Busy::Elsewhere, Limits::new().no_message_size()),
        ] {
            for size in [0, 100, 5000, 200 * KIB] {
                run(async {
                    let config = Config::new().limits(limits);
                    let (conn, mut peer) = start(role, config, busy).await;
                    let sent = flood(&mut peer, size).await;
                    let message = size + 8 + OVERHEAD;
                    let most = READ_AHEAD + message.max(READ_AHEAD) + PIPE + 65 * KIB;
                    let least = if size > READ_AHEAD { 0 } else { READ_AHEAD / message };
                    assert!(sent as usize * message <= most, "{sent} of {size}");
                    assert!(sent as usize >= least, "{sent} of {size}");
                    assert!(conn.stats().bytes_in as usize <= most);
                    assert_eq!(soon(conn.read()).await.unwrap(), Message::from("a"));
                    for number in 0..sent {
                        let read = soon(conn.read()).await.unwrap();
                        assert_eq!(read.as_bytes()[..8], number.to_be_bytes());
                        assert_eq!(read.len(), size + 8);
                    }
                });
            }
        }
    }
}

/// Keepalive cannot see pongs behind bytes that the application does not read.
#[test]
fn unread_bytes_are_a_sign_of_life_for_a_minute() {
    run(async {
        let config = Config::new().keepalive(Keepalive::every(10 * SECOND));
        let (conn, mut peer) = connect(Role::Server, config, None, 128 * KIB);
        let began = Instant::now();
        tokio::spawn(async move {
            let frame = binary([0; 5000]).encode(Role::Client);
            while peer.io.write_all(&frame).await.is_ok() {}
        });
        sleep(55 * SECOND).await; // tidy: sleep is the subject
        assert!(conn.close_info().is_none());
        // An application that reads a little begins a new minute.
        for _ in 0..5 {
            soon(conn.read()).await.unwrap();
        }
        sleep(59 * SECOND).await; // tidy: sleep is the subject
        assert!(conn.close_info().is_none());
        while conn.close_info().is_none() {
            assert!(began.elapsed() < 145 * SECOND);
            sleep(SECOND).await; // tidy: sleep is the subject
        }
        let error = conn.close_info().unwrap().error;
        assert!(matches!(error, Error::Timeout(Deadline::Keepalive)), "{error:?}");
        // What was read ahead can still be read.
        soon(conn.read()).await.unwrap();
    });
}

// What is read ahead, by each way to read.

#[test]
fn each_way_to_read_takes_what_was_read_ahead_in_order() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4 * KIB);
            let frames: Vec<Frame> = (b'a'..=b'j').map(|letter| text([letter])).collect();
            peer.send(&frames).await;
            peer.send(&[close(1000, "")]).await;
            soon(conn.closed()).await;
            assert_eq!(soon(conn.read()).await.unwrap(), Message::from("a"));
            let mut reader = soon(conn.reader()).await.unwrap();
            assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "b");
            assert_eq!(soon(reader.chunk()).await.unwrap(), None);
            drop(reader);
            assert_eq!(soon(conn.frames().read()).await.unwrap().payload(), "c");
            let mut messages = conn.messages();
            assert_eq!(soon(messages.next()).await.unwrap().unwrap(), Message::from("d"));
            let mut rest = String::new();
            let mut joined = messages.joined("\n");
            soon(joined.read_to_string(&mut rest)).await.unwrap();
            assert_eq!(rest, "e\nf\ng\nh\ni\nj\n");
            assert!(soon(conn.read()).await.unwrap_err().is_normal_close());
        });
    }
}

/// The end of the message that is read in pieces, and those behind it.
#[test]
fn reading_goes_on_behind_a_message_that_is_read_in_pieces() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4 * KIB);
            peer.send(&[text("be").open()]).await;
            let mut reader = soon(conn.reader()).await.unwrap();
            peer.send(&[more("gin"), text("second"), text("third").open()]).await;
            let (payload, _) = tokio::join!(async { soon(conn.ping_with("p")).await }, async {
                assert_eq!(peer.frame().await.unwrap(), ping("p"));
                peer.send(&[more("rest"), pong("p")]).await;
            });
            payload.unwrap();
            peer.send(&[close(1000, "")]).await;
            soon(conn.closed()).await;
            let mut first = String::new();
            soon(reader.read_to_string(&mut first)).await.unwrap();
            assert_eq!(first, "begin");
            drop(reader);
            assert_eq!(soon(conn.read()).await.unwrap(), Message::from("second"));
            assert_eq!(soon(conn.read()).await.unwrap(), Message::from("thirdrest"));
            assert!(soon(conn.read()).await.unwrap_err().is_normal_close());
        });
    }
}

#[test]
fn a_reader_that_is_dropped_drops_its_message_only() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4 * KIB);
        peer.send(&[text("one").open()]).await;
        let reader = soon(conn.reader()).await.unwrap();
        peer.send(&[more("rest"), text("two"), close(1000, "")]).await;
        soon(conn.closed()).await;
        drop(reader);
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from("two"));
        assert!(soon(conn.read()).await.is_err());
    });
}

#[test]
fn frames_of_one_message_stay_frames() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4 * KIB);
        peer.send(&[text("a").open()]).await;
        assert_eq!(soon(conn.frames().read()).await.unwrap().payload(), "a");
        peer.send(&[more("b").open(), more("c"), text("d"), close(1000, "")]).await;
        soon(conn.closed()).await;
        let frame = soon(conn.frames().read()).await.unwrap();
        assert_eq!((frame.is_fin(), frame.opcode()), (false, OpCode::CONTINUATION));
        // A whole read drops the rest of the message.
        assert_eq!(soon(conn.read()).await.unwrap(), Message::from("d"));
    });
}

#[test]
fn a_message_that_was_read_ahead_is_an_error_for_close_read() {
    run(async {
        let (conn, mut peer) = start(Role::Server, Config::new(), Busy::Elsewhere).await;
        sleep(2 * SECOND).await; // tidy: sleep is the subject
        assert_eq!(conn.stats().messages_in, 1);
        let ending = soon(conn.close_read()).await;
        assert!(matches!(ending.error, Error::Protocol(_)), "{:?}", ending.error);
        assert_eq!(peer.frame().await.unwrap().payload[..2], 1008_u16.to_be_bytes());
    });
}

/// How a message of any length is met by `close_read`.
#[derive(Clone, Copy, Debug)]
enum Unlimited {
    /// It arrives later.
    Later,
    /// A part of it is read ahead.
    Begun,
    /// As `Begun`, and its size was limited when it began.
    OnceLimited,
    /// The application has read its first frame.
    ByFrames,
}

/// It need not end for that: no more of it is read than what is read ahead.
#[test]
fn a_message_of_any_length_is_an_error_for_close_read() {
    for role in BOTH {
        for how in [Unlimited::Later, Unlimited::Begun, Unlimited::OnceLimited, Unlimited::ByFrames]
        {
            run(async {
                let (conn, mut peer) = connect(role, Config::new(), None, 300 * KIB);
                if !matches!(how, Unlimited::OnceLimited) {
                    conn.set_read_limit(None);
                }
                let begin = text("a").open();
                // Neither the frames nor the message end.
                let frames = vec![more(vec![b'a'; KIB]).open(); 150];
                match how {
                    Unlimited::Later => {}
                    Unlimited::Begun | Unlimited::OnceLimited => {
                        peer.send(&[slice::from_ref(&begin), &frames[..]].concat()).await;
                        sleep(2 * SECOND).await; // tidy: sleep is the subject
                    }
                    Unlimited::ByFrames => {
                        peer.send(slice::from_ref(&begin)).await;
                        drop(soon(conn.frames().read()).await.unwrap());
                    }
                }
                conn.set_read_limit(None);
                let closing = conn.close_read();
                match how {
                    Unlimited::Later => peer.send(&[&[begin], &frames[..]].concat()).await,
                    Unlimited::ByFrames => peer.send(&frames).await,
                    Unlimited::Begun | Unlimited::OnceLimited => {}
                }
                let error = soon(closing).await.error;
                let expected = Error::Protocol(ProtocolError::UnexpectedMessage);
                assert_eq!(error.to_string(), expected.to_string(), "{how:?}");
                assert_eq!(peer.frame().await.unwrap().payload[..2], 1008_u16.to_be_bytes());
            });
        }
    }
}

#[test]
fn a_message_of_any_length_is_not_read_ahead_whole() {
    run(async {
        let config = Config::new().limits(Limits::new().no_message_size());
        let (conn, mut peer) = connect(Role::Server, config, None, KIB);
        let long = binary(vec![7; 300 * KIB]);
        let bytes = long.encode(Role::Client);
        let sending = tokio::spawn(async move {
            peer.io.write_all(&bytes).await.unwrap();
            peer
        });
        sleep(100 * SECOND).await; // tidy: sleep is the subject
        assert!(!sending.is_finished() && conn.stats().bytes_in <= 131 * KIB as u64);
        assert_eq!(soon(conn.read()).await.unwrap().len(), 300 * KIB);
        sending.await.unwrap();
    });
}

// Tasks.

/// The task that hands over the counts of all connections, until five seconds after their end.
const METRICS: usize = cfg!(feature = "metrics") as usize;

#[test]
fn no_task_outlives_its_connections() {
    run(async {
        let alive = || Handle::current().metrics().num_alive_tasks();
        let conns: Vec<_> = (0..100).map(|_| ws_core::pair()).collect();
        assert_eq!(alive(), 1 + METRICS, "there is one task for all");
        let reads = conns.iter().map(|(here, there)| {
            futures::future::join(
                timeout(5 * SECOND, here.read()),
                timeout(5 * SECOND, there.read()),
            )
        });
        sleep(3 * SECOND).await; // tidy: sleep is the subject
        let mut reads = Box::pin(futures::future::join_all(reads));
        assert!(futures::poll!(&mut reads).is_pending());
        sleep(2 * SECOND).await; // tidy: sleep is the subject
        assert_eq!(alive(), METRICS, "operations read for themselves");
        reads.await;
        assert_eq!(alive(), 1 + METRICS);
        drop(conns);
        sleep(12 * SECOND).await; // tidy: sleep is the subject
        assert_eq!(alive(), 0);
    });
}

#[test]
fn close_read_runs_one_task_and_none_after_a_close() {
    run(async {
        let alive = || Handle::current().metrics().num_alive_tasks();
        let (conn, _peer) = connect(Role::Server, Config::new(), None, KIB);
        let before = alive();
        drop((conn.close_read(), conn.close_read()));
        assert_eq!(alive(), before + 1);
        let (conn, _peer) = connect(Role::Server, Config::new(), None, KIB);
        assert!(futures::poll!(Box::pin(conn.close(StatusCode::NORMAL_CLOSURE, ""))).is_pending());
        let before = alive();
        drop((conn.close_read(), conn.close_read()));
        assert_eq!(alive(), before);
    });
}

#[test]
fn a_connection_is_watched_by_the_next_runtime_that_uses_it() {
    let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let (conn, mut peer) =
        first.block_on(async { connect(Role::Server, Config::new(), None, KIB) });
    drop(first);
    runtime().block_on(async {
        peer.send(&[ping("a")]).await;
        // One operation that waits, and is dropped.
        assert!(futures::poll!(Box::pin(conn.read())).is_pending());
        peer.send(&[ping("b")]).await;
        for payload in ["a", "b"] {
            assert_eq!(peer.frame().await.unwrap(), pong(payload));
        }
    });
}

/// A byte stream whose peer has closed is not read any more. A reset is still seen.
#[tokio::test]
async fn a_reset_behind_the_close_frame_of_the_peer_ends_a_byte_stream() {
    let (conn, mut peer) = over_tcp(Role::Server, Config::new()).await;
    let mut stream = conn.clone().into_byte_stream(MessageType::Binary);
    peer.write_all(&close(1000, "").encode(Role::Client)).await.unwrap();
    let mut nothing = Vec::new();
    assert_eq!(at_last(stream.read_to_end(&mut nothing)).await.unwrap(), 0);
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert_eq!(at_last(conn.closed()).await.by, CloseInitiator::Transport);
}

// A write that makes no progress.

#[test]
fn a_server_gives_up_a_peer_that_takes_nothing_and_sends_much() {
    run(async {
        let (mut there, here) = tokio::io::duplex(KIB);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        there.write_all(request.as_bytes()).await.unwrap();
        let acceptor = ws_core::Acceptor::new(&ws_core::AcceptOptions::new());
        let conn = acceptor.accept(here).await.unwrap();
        let mut writer = conn.writer(MessageType::Binary).await.unwrap();
        let began = Instant::now();
        let writing = tokio::spawn(async move { writer.write_all(&[0; 1_000_000]).await });
        let pinging = tokio::spawn(async move {
            let frame = ping("").encode(Role::Client);
            while there.write_all(&frame).await.is_ok() {
                sleep(SECOND).await; // tidy: sleep is the subject
            }
        });
        while !writing.is_finished() {
            assert!(began.elapsed() < 65 * SECOND);
            sleep(SECOND).await; // tidy: sleep is the subject
        }
        assert!(matches!(conn.closed().await.error, Error::Timeout(Deadline::Write)));
        pinging.abort();
    });
}

/// How long after a ping the watch answers it, behind a message that was read.
async fn time_to_pong(len: usize) -> Duration {
    let (conn, mut peer) = over_tcp(Role::Server, watchful()).await;
    let message = binary(vec![0; len]).encode(Role::Client);
    let (sent, read) = tokio::join!(peer.write_all(&message), conn.read());
    sent.unwrap();
    assert_eq!(read.unwrap().len(), len);
    assert!(conn.read().now_or_never().is_none());
    let began = Instant::now();
    peer.write_all(&ping("").encode(Role::Client)).await.unwrap();
    assert_eq!(at_last(peer.read_u16()).await.unwrap(), 0x8a00);
    began.elapsed()
}

#[test]
fn the_watch_reads_behind_a_long_message_as_soon_as_behind_a_short_one() {
    run(async {
        let short = time_to_pong(KIB).await;
        assert_eq!(time_to_pong(512 * KIB).await, short);
    });
}

/// An echo to a peer that takes nothing: one message is sent, and another waits to be written. The
/// next one would be the third in memory.
#[test]
fn the_watch_does_not_read_for_a_task_that_has_read_since_the_last_look() {
    async fn others_run() {
        for _ in 0..100 {
            yield_now().await;
        }
    }
    run(async {
        let config = watchful().write_buffer(0, 0);
        let (conn, mut peer) = connect(Role::Server, config, None, 64 * KIB);
        let echo = conn.clone();
        let echoing = tokio::spawn(async move {
            while let Ok(message) = echo.read().await
                && echo.write(message).await.is_ok()
            {}
        });
        let sending = tokio::spawn(async move {
            peer.send(&vec![binary(vec![0; 100 * KIB]); 4]).await;
            peer
        });
        others_run().await;
        let mut seen = vec![conn.stats().bytes_in];
        for _ in 0..3 {
            advance(SECOND).await;
            others_run().await;
            seen.push(conn.stats().bytes_in);
        }
        assert_eq!(seen[0] / (100 * KIB as u64), 2, "{seen:?}");
        assert_eq!(seen[1], seen[0], "{seen:?}");
        assert!(seen[3] > seen[1], "{seen:?}");
        echoing.abort();
        sending.abort();
    });
}

/// What is read ahead lasts for minutes, and the application takes a part of it between two looks.
#[test]
fn a_ping_is_answered_behind_what_a_slow_handler_has_not_taken() {
    for waits_in_a_write in [false, true] {
        run(async move {
            let (conn, mut peer) = connect(Role::Server, watchful(), None, 64 * KIB);
            peer.send(&vec![binary("x"); 300]).await;
            let handler = conn.clone();
            let handling = tokio::spawn(async move {
                // It leaves the messages to the watch.
                sleep(3 * SECOND).await; // tidy: sleep is the subject
                if waits_in_a_write {
                    handler.write(vec![0; 200 * KIB]).await.unwrap();
                }
                while handler.read().await.is_ok() {
                    sleep(SECOND / 2).await; // tidy: sleep is the subject
                }
            });
            sleep(5 * SECOND).await; // tidy: sleep is the subject
            let began = Instant::now();
            peer.send(&[ping("p")]).await;
            while conn.stats().frames_in <= 300 {
                assert!(began.elapsed() < 3 * SECOND, "{waits_in_a_write}");
                sleep(SECOND / 10).await; // tidy: sleep is the subject
            }
            handling.abort();
        });
    }
}
