//! How much of a peer's input does a connection handle before other tasks run?

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::flood::Flood;
use crate::support::{
    BOTH, Frame, binary, connect, deflate, more, other, ping, pong, run, text, wire,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{unconstrained, yield_now};
use tokio::time::advance;
use ws_core::deflate::Params;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, ConnStats, Deadline, Error, Limits, Role, StatusCode};

/// The most frames of one turn, and one that crosses the bound.
const FRAMES: u64 = 256 + 1;

/// The most bytes of one turn, and one read into a long message that crosses the bound.
const BYTES: u64 = 64 * 1024 + 256 * 1024;

/// The most of a long turn: the frames and bytes of two others, and 1 MiB of long payloads.
const LONG_FRAMES: u64 = 2 * 256 + 1;
const LONG_BYTES: u64 = 2 * 64 * 1024 + 1024 * 1024 + 256 * 1024;

/// Longer than anything that is sent.
const PIPE: usize = 16 * 1024 * 1024;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs an operation again and again until it has handled so many bytes and has nothing to do, or
/// returns `false`. Returns the statistics after each turn. A turn ends when the operation waits.
fn turns<F: Future<Output = bool>>(
    conn: &Conn,
    bytes: u64,
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
                // The connection may wait for its next turn, or for bytes on their way.
                for _ in 0..4 {
                    yield_now().await;
                }
                while conn.stats().bytes_in < bytes && !woken.0.load(Relaxed) {
                    yield_now().await;
                }
            }
            if ended || !woken.0.load(Relaxed) {
                return turns;
            }
        }
    })
}

type Operation = fn(Conn) -> BoxFuture<'static, bool>;

/// Every way to handle the input of the peer, and whether it takes messages.
const OPERATIONS: [(&str, bool, Operation); 10] = [
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
    ("read beside closed", true, |conn| {
        Box::pin(async move {
            tokio::select! {
                message = conn.read() => message.is_ok(),
                _ = conn.closed() => false,
            }
        })
    }),
    ("read beside a ping and a second read", true, |conn| {
        Box::pin(async move {
            tokio::select! {
                message = conn.read() => message.is_ok(),
                message = conn.read() => message.is_ok(),
                error = async { conn.ping().await.err() } => error.is_none(),
            }
        })
    }),
    ("read that is dropped and made again", true, |conn| {
        Box::pin(async move {
            for _ in 0..4 {
                if let Some(message) = conn.read().now_or_never() {
                    return message.is_ok();
                }
            }
            conn.read().await.is_ok()
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Pipe,
    Tcp,
}

/// A connection over TCP, and the socket of its peer.
async fn over_tcp(role: Role, compression: Option<Params>) -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (there, here) = tokio::join!(dialled, listener.accept());
    let negotiated = Negotiated { compression, ..Negotiated::default() };
    let here = here.unwrap().0;
    (Conn::from_stream(here, role, negotiated, Bytes::new(), config()), there.unwrap())
}

async fn check_operation(
    row: &str,
    role: Role,
    frames: &[Frame],
    compression: Option<Params>,
    (way, _, operation): (&str, bool, Operation),
    transport: Transport,
) {
    let what = format!("{row}, {way}, {role:?}, {transport:?}");
    let close = |conn: &Conn| {
        if way == "close" {
            // The frames arrive after this side's close frame.
            let mut closing = operation(conn.clone());
            let _ = closing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    };
    let sent = wire(other(role), frames);
    let bytes = sent.len() as u64;
    let (most_frames, most_bytes, turns) = match transport {
        Transport::Pipe => {
            let (conn, mut peer) = connect(role, config(), compression, PIPE);
            close(&conn);
            peer.send_bytes(&sent).await;
            (FRAMES, BYTES, turns(&conn, 0, || operation(conn.clone())).await)
        }
        Transport::Tcp => {
            let (conn, mut peer) = over_tcp(role, compression).await;
            close(&conn);
            let sending = tokio::spawn(async move {
                let (mut from, mut to) = peer.split();
                let taken = async { tokio::io::copy(&mut from, &mut tokio::io::sink()).await };
                let _ = tokio::join!(to.write_all(&sent), taken);
            });
            let turns = turns(&conn, bytes, || operation(conn.clone())).await;
            sending.abort();
            (LONG_FRAMES, LONG_BYTES, turns)
        }
    };
    assert_eq!(turns.last().unwrap().bytes_in, bytes, "{what}: not all is handled");
    for turn in turns.windows(2) {
        let count = |of: fn(&ConnStats) -> u64| of(&turn[1]) - of(&turn[0]);
        let frames = count(|stats| stats.frames_in);
        assert!(frames <= most_frames, "{what}: {frames} frames in a turn");
        let bytes = count(|stats| stats.bytes_in);
        assert!(bytes <= most_bytes, "{what}: {bytes} bytes in a turn");
        let inflated = count(|stats| stats.after_inflate);
        assert!(inflated <= BYTES, "{what}: {inflated} bytes are inflated in a turn");
    }
    // Frames that are dropped are not in the statistics.
    let polls = turns.len() as u64 - 1;
    assert!(polls * most_frames >= frames.len() as u64, "{what}: {polls} turns");
}

/// Whatever a peer sends, other tasks run after a bounded part of it.
#[track_caller]
fn check(row: &str, frames: &[Frame], compression: Option<Params>) {
    let has_messages = frames.iter().any(|frame| !frame.is_control() && frame.header.fin);
    for role in BOTH {
        for operation in OPERATIONS {
            if operation.1 || !has_messages {
                for transport in [Transport::Pipe, Transport::Tcp] {
                    run(check_operation(row, role, frames, compression, operation, transport));
                }
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
    let long = || binary(vec![0; 1 << 20]);
    check("long messages", &[long(), long(), long()], None);
    check("a message of several turns", &[binary(vec![0; 5 << 20])], None);
    let mut behind = vec![binary("x"); MANY];
    behind.insert(0, long());
    check("short messages behind a long one", &behind, None);
    let mut pings = vec![ping("x"); MANY];
    pings.insert(0, long());
    check("pings behind a long message", &pings, None);
    let mut texts = vec![text(vec![b'a'; 64 * 1024]); 40];
    texts.insert(0, long());
    check("messages of 64 KiB behind a long one", &texts, None);
}

#[test]
fn compressed_messages_behind_a_long_one_are_handled_in_turns() {
    let bomb = || binary(vec![0; 1 << 20]).deflated();
    let frames = [binary(vec![0; 1 << 20]), bomb(), bomb()];
    check("bombs behind a long message", &frames, Some(Params::default()));
}

/// The length of a long message, and of its frame.
const LONG: usize = 512 * 1024;
const LONG_FRAME: u64 = LONG as u64 + 14;

/// What one read takes that does not know how long the message is.
const FIRST_READ: u64 = 65 * 1024;

/// Sends a message over TCP and reads it. Returns how many bytes each turn has read.
async fn read_one(conn: &Conn, peer: &TcpStream, len: usize) -> Vec<u64> {
    let frame = binary(vec![0; len]).encode(Role::Client);
    let (mut rest, end) = (&frame[..], conn.stats().bytes_in + frame.len() as u64);
    let mut read = Vec::new();
    while conn.stats().bytes_in < end {
        // As much as the system takes.
        while !rest.is_empty()
            && let Ok(count) = peer.try_write(rest)
        {
            rest = &rest[count..];
        }
        // The runtime looks for events.
        yield_now().await;
        let sent = end - rest.len() as u64;
        let turns = turns(conn, sent, || async { conn.read().await.is_ok() }).await;
        read.extend(turns.windows(2).map(|turn| turn[1].bytes_in - turn[0].bytes_in));
    }
    read
}

/// With Linux, the loopback device holds a message of this length after some of them.
#[cfg(target_os = "linux")]
#[test]
fn a_long_message_over_tcp_is_read_in_one_turn_behind_another_and_in_two_behind_a_short_one() {
    run(async {
        let (conn, peer) = over_tcp(Role::Server, None).await;
        peer.writable().await.unwrap();
        let (mut behind_long, mut behind_short) = (Vec::new(), Vec::new());
        for _ in 0..16 {
            behind_short.push(read_one(&conn, &peer, LONG).await);
            behind_long.push(read_one(&conn, &peer, LONG).await);
            read_one(&conn, &peer, 10).await;
        }
        let largest = |reads: &[Vec<u64>]| reads.iter().flatten().copied().max().unwrap();
        assert_eq!(largest(&behind_long), LONG_FRAME);
        assert_eq!(largest(&behind_short), LONG_FRAME - FIRST_READ);
    });
}

#[test]
fn the_first_short_message_behind_a_long_one_waits_for_a_turn_and_the_second_does_not() {
    run(async {
        let (conn, peer) = over_tcp(Role::Server, None).await;
        peer.writable().await.unwrap();
        read_one(&conn, &peer, LONG).await;
        assert_eq!(read_one(&conn, &peer, 10).await, [0, 16]);
        assert_eq!(read_one(&conn, &peer, 10).await, [16]);
    });
}

/// The next turn of a connection is due in a runtime that ends. Another one reads on.
#[test]
fn a_connection_outlives_the_runtime_in_which_it_waits_for_its_turn() {
    let flood = wire(Role::Client, &vec![binary("x"); MANY]);
    let mut connection = None;
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let turns = runtime.block_on(async {
            if connection.is_none() {
                let (conn, mut peer) = connect(Role::Server, config(), None, PIPE);
                peer.send_bytes(&flood).await;
                connection = Some((conn, peer));
            }
            let (conn, _) = connection.as_ref().unwrap();
            let mut turns = [0; 2];
            for messages in &mut turns {
                for _ in 0..4 {
                    yield_now().await;
                }
                while let Some(Ok(_)) = unconstrained(conn.read()).now_or_never() {
                    *messages += 1;
                }
            }
            turns
        });
        assert!(turns.iter().all(|messages| (1..=256).contains(messages)), "{turns:?}");
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
                let io = Flood::new(Vec::new(), flood.encode(Role::Client));
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
