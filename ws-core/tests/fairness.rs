//! How much of a peer's input does a connection handle before other tasks run?

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::support::{BOTH, Frame, binary, connect, deflate, more, ping, pong, run, text};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{unconstrained, yield_now};
use tokio::time::advance;
use ws_core::deflate::Params;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, ConnStats, Deadline, Error, Limits, Role, StatusCode};

/// The most frames of one turn, and one that crosses the bound.
const FRAMES: u64 = 256 + 1;

/// The most bytes of one turn, and one read into a long message that crosses the bound.
const BYTES: u64 = 64 * 1024 + 256 * 1024;

/// Longer than anything that is sent.
const PIPE: usize = 16 * 1024 * 1024;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs an operation again and again until it has nothing to do, or returns `false`. Returns the
/// number of turns, and the statistics after each. A turn ends when the operation waits.
fn turns<F: Future<Output = bool>>(
    conn: &Conn,
    mut begin: impl FnMut() -> F,
) -> impl Future<Output = Vec<ConnStats>> {
    // Without tokio's own bound on the operations of a poll.
    unconstrained(async move {
        let mut turns = vec![conn.stats()];
        let mut operation = Box::pin(begin());
        loop {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let ended = loop {
                match operation.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(true) => operation = Box::pin(begin()),
                    Poll::Ready(false) => break true,
                    Poll::Pending => break false,
                }
            };
            turns.push(conn.stats());
            if !ended {
                // The connection may wait for its next turn.
                yield_now().await;
            }
            if ended || !woken.0.load(Relaxed) {
                return turns;
            }
        }
    })
}

type Operation = fn(Conn) -> BoxFuture<'static, bool>;

/// Every way to handle the input of the peer, and whether it takes messages.
const OPERATIONS: [(&str, bool, Operation); 7] = [
    ("read", true, |conn| Box::pin(async move { conn.read().await.is_ok() })),
    ("messages", true, |conn| Box::pin(async move { conn.messages().next().await.is_some() })),
    ("frames", true, |conn| Box::pin(async move { conn.frames().read().await.is_ok() })),
    ("reader", true, |conn| {
        Box::pin(async move {
            let Ok(mut reader) = conn.reader().await else { return false };
            while let Ok(Some(_)) = reader.chunk().await {}
            true
        })
    }),
    ("echo", true, |conn| {
        Box::pin(async move {
            let Ok(message) = conn.read().await else { return false };
            conn.write(message).await.is_ok()
        })
    }),
    ("closed", false, |conn| Box::pin(async move { conn.closed().await.error.is_close(&[]) })),
    ("close", true, |conn| {
        Box::pin(async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await.is_err() })
    }),
];

fn config() -> Config {
    Config::new().limits(Limits::new().message_size(PIPE))
}

async fn check_operation(
    row: &str,
    role: Role,
    frames: &[Frame],
    compression: Option<Params>,
    (way, _, operation): (&str, bool, Operation),
) {
    let (conn, mut peer) = connect(role, config(), compression, PIPE);
    let what = format!("{row}, {way}, {role:?}");
    if way == "close" {
        // The frames arrive after this side's close frame.
        let mut closing = operation(conn.clone());
        let _ = closing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    peer.send(frames).await;
    let sent = frames.iter().map(|frame| frame.encode(peer.role).len() as u64).sum::<u64>();
    let turns = turns(&conn, || operation(conn.clone())).await;
    assert_eq!(turns.last().unwrap().bytes_in, sent, "{what}: not all is handled");
    for turn in turns.windows(2) {
        let count = |of: fn(&ConnStats) -> u64| of(&turn[1]) - of(&turn[0]);
        let frames = count(|stats| stats.frames_in);
        assert!(frames <= FRAMES, "{what}: {frames} frames in a turn");
        let bytes = count(|stats| stats.bytes_in).max(count(|stats| stats.after_inflate));
        assert!(bytes <= BYTES, "{what}: {bytes} bytes in a turn");
    }
    // Frames that are dropped are not in the statistics.
    let polls = turns.len() as u64 - 1;
    assert!(polls * FRAMES >= frames.len() as u64, "{what}: {polls} turns");
}

/// Whatever a peer sends, other tasks run after a bounded part of it.
#[track_caller]
fn check(row: &str, frames: &[Frame], compression: Option<Params>) {
    let has_messages = frames.iter().any(|frame| !frame.is_control() && frame.header.fin);
    for role in BOTH {
        for operation in OPERATIONS {
            if operation.1 || !has_messages {
                run(check_operation(row, role, frames, compression, operation));
            }
        }
    }
}

const MANY: usize = 1500;

#[test]
fn a_flood_of_control_frames_is_handled_in_turns() {
    check("empty pongs", &vec![pong(""); MANY], None);
    check("empty pings", &vec![ping(""); MANY], None);
    check("long pongs", &vec![pong([b'x'; 125]); MANY], None);
    check("long pings", &vec![ping([b'x'; 125]); MANY], None);
    let pairs: Vec<_> = (0..MANY).flat_map(|_| [ping("1"), pong("2")]).collect();
    check("pings and pongs", &pairs, None);
}

#[test]
fn a_flood_of_short_frames_is_handled_in_turns() {
    let fragments = |each: &str| {
        let mut fragments = vec![more(each).open(); MANY];
        fragments[0] = text(each).open();
        fragments
    };
    check("empty fragments", &fragments(""), None);
    check("fragments of a byte", &fragments("x"), None);
    check("empty messages", &vec![text(""); MANY], None);
    check("messages of a byte", &vec![binary("x"); MANY], None);
    let mixed: Vec<_> =
        (0..MANY).flat_map(|_| [text("a").open(), ping("b"), more(""), pong("")]).collect();
    check("fragments and control frames", &mixed, None);
}

#[test]
fn a_flood_of_compressed_messages_is_handled_in_turns() {
    let compression = Some(Params::default());
    let empty = Frame { payload: vec![0], ..text(" ").rsv1() };
    check("compressed empty messages", &vec![empty; MANY], compression);
    let mut fragments = vec![more("").open(); MANY];
    fragments[0] = text("").open().rsv1();
    check("compressed empty fragments", &fragments, compression);
    check("compressed messages", &vec![text("hello").deflated(); MANY], compression);
}

#[test]
fn a_long_message_is_handled_in_turns() {
    check("a long message", &[binary(vec![0; 1 << 20])], None);
    check("a long text", &[text(vec![b'a'; 1 << 20])], None);
    check("messages of 64 KiB", &vec![binary(vec![0; 64 * 1024]); 16], None);
    let fragment = || more(vec![0; 20_000]).open();
    let mut fragments: Vec<_> = (0..100).map(|_| fragment()).collect();
    fragments[0] = binary(vec![0; 20_000]).open();
    check("long fragments", &fragments, None);
}

/// A transport that always has something to read.
struct Flood(Vec<u8>);

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let whole = buf.remaining().min(self.0.len() * 1000) / self.0.len() * self.0.len();
        buf.put_slice(&self.0.repeat(whole / self.0.len()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A peer that never stops sending cannot keep a connection open.
#[test]
fn a_flood_postpones_no_deadline() {
    let second = Duration::from_secs(1);
    for flood in [pong(""), ping("x"), binary("message")] {
        for (deadline, config) in [
            (Deadline::Close, Config::new().close_timeout(5 * second)),
            (Deadline::Age, Config::new().max_age(5 * second)),
        ] {
            run(async {
                let io = Flood(flood.encode(Role::Client));
                let none = Negotiated::default();
                let conn = Conn::from_stream(io, Role::Server, none, Bytes::new(), config);
                let ended = tokio::spawn(async move {
                    if deadline == Deadline::Close {
                        return conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap_err();
                    }
                    loop {
                        if let Err(error) = conn.read().await {
                            return error;
                        }
                    }
                });
                yield_now().await;
                for _ in 0..4 {
                    advance(second).await;
                    yield_now().await;
                    assert!(!ended.is_finished(), "{deadline:?}");
                }
                advance(second).await;
                for _ in 0..4 {
                    yield_now().await;
                }
                assert!(ended.is_finished(), "{deadline:?} is postponed by {flood:?}");
                let error = ended.await.unwrap();
                assert!(matches!(error, Error::Timeout(found) if found == deadline), "{error:?}");
            });
        }
    }
}

/// A few bytes inflate to many.
#[test]
fn a_bomb_is_inflated_in_turns() {
    let compression = Some(Params::default());
    check("a bomb", &[binary(vec![0; 1 << 20]).deflated()], compression);
    check("a bomb of text", &[text(vec![b'a'; 1 << 20]).deflated()], compression);
    let payload = deflate(&vec![0; 1 << 20]);
    let (first, second) = payload.split_at(payload.len() / 2);
    let halves = [binary(first).open().rsv1(), more(second)];
    check("a bomb in two fragments", &halves, compression);
}
