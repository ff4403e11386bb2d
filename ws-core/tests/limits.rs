//! Do the settings bound the memory and the time that a peer can use?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Cursor;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use support::{
    BOTH, Frame, binary, close, connect, deflate, feed, frame, message_of, more, noise, other,
    ping, run, soon, text, wire,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance, timeout};
use ws_core::deflate::Params;
use ws_core::frame::OpCode;
use ws_core::handshake::Negotiated;
use ws_core::proto::{Failure, Inbound, Mode, ProtocolEvent};
use ws_core::{
    Config, Conn, Deadline, Error, Limit, Limits, Message, MessageType, Role, StatusCode,
};

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The allocations of this thread.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// The bytes moved by reallocations.
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

fn allocated(bytes: usize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get().wrapping_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

fn freed(bytes: usize) {
    // Allocations of other threads do not count.
    let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(bytes)));
}

// SAFETY: all calls are forwarded to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        freed(layout.size());
        allocated(size);
        let _ = MOVED.try_with(|moved| moved.set(moved.get() + layout.size()));
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Starts to measure. Returns the bytes in use.
fn measure() -> usize {
    let live = LIVE.get();
    PEAK.set(live);
    MOVED.set(0);
    live
}

/// The maximum bytes in use since `before` was measured, relative to it.
fn peak(before: usize) -> usize {
    PEAK.get().saturating_sub(before)
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

const fn too_big(limit: usize, setting: Limit) -> Failure {
    Failure::TooBig { limit, setting }
}

fn deflated() -> Option<Params> {
    Some(Params::default())
}

fn fragments(payload: &[u8], size: usize, first: Frame) -> Vec<Frame> {
    let mut frames: Vec<_> = payload.chunks(size).map(|piece| more(piece).open()).collect();
    frames[0].header = ws_core::frame::Header { len: frames[0].header.len, ..first.open().header };
    frames.last_mut().unwrap().header.fin = true;
    frames
}

/// Receives frames under limits, split and read in all ways. Checks the number of messages and the
/// exceeded limit, and that a connection reports it to both ends.
#[track_caller]
fn check(
    limits: Limits,
    compression: Option<Params>,
    frames: &[Frame],
    messages: usize,
    crossed: Option<(usize, Limit)>,
) {
    let expected = crossed.map(|(limit, setting)| too_big(limit, setting));
    for role in BOTH {
        let bytes = wire(other(role), frames);
        for cut in [1, 7, 100, bytes.len()] {
            for mode in [Mode::Whole, Mode::Pieces(10), Mode::Pieces(64 * KIB)] {
                let mut inbound = Inbound::new(role, Config::new().limits(limits), compression);
                let (events, fault) = feed(&mut inbound, mode, bytes.chunks(cut));
                let count =
                    events.iter().filter(|it| matches!(it, ProtocolEvent::Message(_))).count();
                assert_eq!((count, fault), (messages, expected), "{role:?} {mode:?} cut by {cut}");
            }
        }
        for pieces in [false, true] {
            run(check_conn(role, limits, compression, &bytes, messages, crossed, pieces));
        }
    }
}

async fn check_conn(
    role: Role,
    limits: Limits,
    compression: Option<Params>,
    bytes: &[u8],
    messages: usize,
    crossed: Option<(usize, Limit)>,
    pieces: bool,
) {
    let (conn, mut peer) = connect(role, Config::new().limits(limits), compression, 64 * KIB);
    let reading = tokio::spawn({
        let conn = conn.clone();
        async move {
            let mut count = 0;
            loop {
                let read = if pieces { read_in_pieces(&conn).await } else { conn.read().await };
                match read {
                    Ok(_) => count += 1,
                    Err(error) => return (count, error),
                }
            }
        }
    });
    peer.send_bytes(bytes).await;
    peer.send(&[close(1000, "")]).await;
    let (count, error) = soon(reading).await.unwrap();
    assert_eq!(count, messages);
    let last = peer.frames().await.pop().unwrap();
    assert_eq!(last.header.opcode, OpCode::CLOSE);
    let Some((expected, expected_setting)) = crossed else {
        assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
        return;
    };
    let Error::MessageTooBig { limit, setting, .. } = error else { panic!("{error:?}") };
    assert_eq!((limit, setting), (expected, expected_setting));
    assert_eq!(last.payload[..2], 1009_u16.to_be_bytes());
    let reason = std::str::from_utf8(&last.payload[2..]).unwrap();
    assert!(reason.contains(&limit.to_string()) && !reason.contains("Limits"), "{reason}");
}

async fn read_in_pieces(conn: &Conn) -> Result<Message, Error> {
    let mut reader = conn.reader().await?;
    let mut payload = Vec::new();
    while let Some(piece) = reader.chunk().await? {
        payload.extend_from_slice(&piece);
    }
    Ok(message_of(reader.kind(), payload))
}

// Limits on what a peer may send.

#[test]
fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
    let limits = Limits::new().message_size(300);
    let crossed = Some((300, Limit::MessageSize));
    for len in [0, 1, 299, 300] {
        let payload = noise(len.max(1), 1);
        check(limits, None, &[binary(&payload), text("a")], 2, None);
        check(limits, None, &fragments(&payload, 100, binary("")), 1, None);
        check(limits, deflated(), &[binary(&payload).deflated()], 1, None);
        let payload = deflate(&payload);
        check(limits, deflated(), &fragments(&payload, 100, binary("").rsv1()), 1, None);
    }
    for len in [301, 1000] {
        let payload = noise(len, 1);
        check(limits, None, &[text("a"), binary(&payload)], 1, crossed);
        check(limits, None, &fragments(&payload, 100, binary("")), 0, crossed);
        check(limits, None, &[binary("a").open(), more(&payload[..300])], 0, crossed);
        check(limits, deflated(), &[text("a"), binary(&payload).deflated()], 1, crossed);
        let payload = deflate(&payload);
        check(limits, deflated(), &fragments(&payload, 100, binary("").rsv1()), 0, crossed);
    }
    let nothing = Limits::new().message_size(0);
    check(nothing, None, &[text(""), text("").open(), more("")], 2, None);
    check(nothing, deflated(), &[text("").deflated()], 1, None);
    check(nothing, None, &[text("a")], 0, Some((0, Limit::MessageSize)));
    check(nothing, deflated(), &[text("a").deflated()], 0, Some((0, Limit::MessageSize)));
}

#[test]
fn a_frame_may_be_as_long_as_its_limit_and_no_longer() {
    let limits = Limits::new().frame_size(200);
    let crossed = Some((200, Limit::FrameSize));
    check(limits, None, &fragments(&noise(5000, 2), 200, binary("")), 1, None);
    check(limits, None, &[text("a"), binary(noise(201, 2))], 1, crossed);
    check(limits, None, &[binary("a").open(), more(noise(201, 2))], 0, crossed);
    check(limits, deflated(), &[binary([0; 5000]).deflated()], 1, None);
    check(limits, deflated(), &[binary(noise(300, 2)).deflated()], 0, crossed);
    // Control frames have a limit of their own.
    check(Limits::new().frame_size(1), None, &[ping("abc"), text("a")], 1, None);
}

#[test]
fn a_message_may_have_as_many_fragments_as_the_limit_and_no_more() {
    let limits = Limits::new().fragments(10);
    let crossed = Some((10, Limit::Fragments));
    check(limits, None, &fragments(&noise(100, 3), 10, binary("")), 1, None);
    check(limits, None, &fragments(&noise(110, 3), 10, binary("")), 0, crossed);
    let ten = vec![more("").open(); 10];
    check(limits, None, &[&[text("").open()], &ten[..]].concat(), 0, crossed);
    check(limits, None, &[&[text("").open()], &ten[1..9], &[more("")]].concat(), 1, None);
    let one = Limits::new().fragments(1);
    check(one, None, &[text("a"), text("b")], 2, None);
    check(one, None, &[text("a"), text("b").open(), more("")], 1, Some((1, Limit::Fragments)));
}

#[test]
fn a_million_empty_fragments_end_at_the_limit_and_hold_nothing() {
    let empty = more("").open().encode(Role::Client);
    for compression in [None, deflated()] {
        let mut inbound =
            Inbound::new(Role::Server, Config::new().limits(Limits::new()), compression);
        let mut first = text("").open();
        first.header.rsv1 = compression.is_some();
        assert_eq!(feed(&mut inbound, Mode::Whole, [&first.encode(Role::Client)[..]]).1, None);
        let before = measure();
        let mut fragments = 1;
        let fault = (1..1_000_000).find_map(|_| {
            fragments += 1;
            inbound.receive(&mut empty.clone(), Mode::Whole).err()
        });
        assert_eq!(fault, Some(too_big(128 * KIB, Limit::Fragments)));
        assert_eq!(fragments, 128 * KIB + 1);
        assert!(peak(before) < 200 + empty.len(), "{}", peak(before));
    }
}

#[test]
fn a_bomb_is_held_up_to_the_limit_and_no_further() {
    let bomb = binary(vec![0; 16 * MIB]).deflated();
    assert!(bomb.payload.len() * 900 < 16 * MIB, "this is no bomb: {}", bomb.payload.len());
    for params in
        [Params::default(), Params { client_no_context_takeover: true, ..Params::default() }]
    {
        let bytes = bomb.encode(Role::Client);
        for cut in [10, 1000, bytes.len()] {
            for mode in [Mode::Whole, Mode::Pieces(64 * KIB)] {
                let mut inbound =
                    Inbound::new(Role::Server, Config::new().limits(Limits::new()), Some(params));
                let before = measure();
                let mut fault = None;
                let mut rest = Vec::new();
                for piece in bytes.chunks(cut) {
                    rest.extend_from_slice(piece);
                    fault = receive_and_drop(&mut inbound, &mut rest, mode);
                    if fault.is_some() {
                        break;
                    }
                }
                assert_eq!(fault, Some(too_big(MIB, Limit::MessageSize)), "{mode:?}");
                let held = if mode == Mode::Whole { MIB + 1 } else { 64 * KIB };
                // The window and the unused input.
                let bound = held + 48 * KIB + 3 * bytes.len() + KIB;
                assert!(peak(before) <= bound, "{} > {bound} {mode:?}", peak(before));
            }
        }
    }
}

/// Receives `rest` and drops the events.
fn receive_and_drop(inbound: &mut Inbound, rest: &mut Vec<u8>, mode: Mode) -> Option<Failure> {
    loop {
        let received = match inbound.receive(rest, mode) {
            Ok(received) => received,
            Err(fault) => return Some(fault),
        };
        rest.drain(..received.consumed);
        if received.event.is_none() && (mode == Mode::Whole || inbound.take_piece().is_empty()) {
            return None;
        }
    }
}

#[test]
fn a_bomb_is_defused_for_a_reader_too() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), deflated(), 64 * KIB);
        peer.send(&[text("a"), binary(vec![0; 16 * MIB]).deflated()]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "a".into());
        let mut reader = soon(conn.reader()).await.unwrap();
        let before = measure();
        let mut read = 0;
        let error = loop {
            match soon(reader.chunk()).await {
                Ok(piece) => read += piece.unwrap().len(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::MessageTooBig { limit: MIB, .. }), "{error:?}");
        assert!((MIB - 64 * KIB..=MIB).contains(&read), "{read}");
        assert!(peak(before) < 200 * KIB, "{}", peak(before));
        // The same for a connection that discards it.
        let (conn, mut peer) = connect(Role::Server, Config::new(), deflated(), 64 * KIB);
        peer.send(&[binary(vec![0; 16 * MIB]).deflated(), text("b")]).await;
        drop(soon(conn.reader()).await.unwrap());
        assert!(matches!(soon(conn.read()).await, Err(Error::MessageTooBig { .. })));
    });
}

#[test]
fn a_header_alone_reserves_nothing() {
    for (len, limits) in [
        (1 << 62, Limits::new()),
        (MIB as u64 + 1, Limits::new()),
        (1 << 62, Limits::new().no_message_size().frame_size(1 << 40)),
    ] {
        let mut header = binary("").declared_len(len).encode(Role::Client);
        for mode in [Mode::Whole, Mode::Pieces(64 * KIB)] {
            let mut inbound = Inbound::new(Role::Server, Config::new().limits(limits), None);
            let before = measure();
            assert!(inbound.receive(&mut header, mode).is_err());
            assert_eq!(peak(before), 0);
        }
    }
}

#[test]
fn what_a_header_claims_is_reserved_as_it_arrives() {
    let header = binary("").declared_len(1 << 62).encode(Role::Server);
    let piece = noise(5000, 4);
    let limits = Limits::new().no_message_size();
    let mut inbound = Inbound::new(Role::Client, Config::new().limits(limits), None);
    let before = measure();
    let mut arrived = header.len();
    assert_eq!(feed(&mut inbound, Mode::Whole, [&header[..]]).1, None);
    for _ in 0..1000 {
        assert_eq!(feed(&mut inbound, Mode::Whole, [&piece[..]]).1, None);
        arrived += piece.len();
        // The received bytes and sixteen times as much, at least 64 KiB.
        let bound = (arrived + 16 * arrived).max(64 * KIB + 2 * piece.len());
        assert!(peak(before) <= bound, "{} > {bound} for {arrived}", peak(before));
    }
}

/// Otherwise the cost of a message could be quadratic in its length.
#[test]
fn a_message_in_small_fragments_is_not_moved_for_each_of_them() {
    let limits = Limits::new().message_size(64 * KIB);
    let mut inbound = Inbound::new(Role::Client, Config::new().limits(limits), None);
    let mut first = binary([0; 8]).open().encode(Role::Server);
    inbound.receive(&mut first, Mode::Whole).unwrap();
    let mut next = more([0; 8]).open().encode(Role::Server);
    let before = measure();
    for _ in 1..8 * KIB {
        assert!(inbound.receive(&mut next, Mode::Whole).unwrap().event.is_none());
    }
    let moved = MOVED.get();
    assert!(moved <= 4 * 64 * KIB, "{moved} bytes were moved for 64 KiB");
    assert!(peak(before) <= 64 * KIB, "{}", peak(before));
}

#[test]
fn the_read_limit_can_be_changed_for_the_next_message() {
    run(async {
        let config = Config::new().limits(Limits::new().message_size(10));
        let (conn, mut peer) = connect(Role::Server, config, None, 64 * KIB);
        peer.send(&[text("a".repeat(10))]).await;
        assert_eq!(soon(conn.read()).await.unwrap().len(), 10);
        // Not for a message that has begun.
        peer.send(&[text("a".repeat(9)).open()]).await;
        assert!(timeout(SECOND, conn.read()).await.is_err());
        conn.set_read_limit(Some(5));
        peer.send(&[more("a")]).await;
        assert_eq!(soon(conn.read()).await.unwrap().len(), 10);
        peer.send(&[text("a".repeat(5))]).await;
        assert_eq!(soon(conn.read()).await.unwrap().len(), 5);
        conn.set_read_limit(None);
        peer.send(&[text("a".repeat(50_000))]).await;
        assert_eq!(soon(conn.read()).await.unwrap().len(), 50_000);
        conn.set_read_limit(Some(4));
        peer.send(&[text("aaaa"), text("aaaaa")]).await;
        assert_eq!(soon(conn.read()).await.unwrap().len(), 4);
        let error = soon(conn.read()).await.unwrap_err();
        assert!(matches!(error, Error::MessageTooBig { limit: 4, .. }), "{error:?}");
    });
}

#[test]
fn a_long_message_streams_through_little_memory() {
    run(async {
        const LEN: usize = 64 * MIB;
        let config = Config::new().limits(Limits::new().no_message_size());
        // A pipe would buffer some of it, too.
        let first = text("a").encode(Role::Server);
        let header = binary("").declared_len(LEN as u64).encode(Role::Server);
        let payload = tokio::io::repeat(0x55).take(LEN as u64);
        let bytes = Cursor::new(first).chain(Cursor::new(header)).chain(payload);
        let io = tokio::io::join(bytes, tokio::io::sink());
        let conn = Conn::from_stream(io, Role::Client, Negotiated::default(), Bytes::new(), config);
        soon(conn.read()).await.unwrap();
        let before = measure();
        let mut reader = soon(conn.reader()).await.unwrap();
        let mut read = 0;
        let mut buf = vec![0; 10_000];
        loop {
            match soon(reader.read(&mut buf)).await.unwrap() {
                0 => break,
                count => read += count,
            }
        }
        assert_eq!(read, LEN);
        assert!(peak(before) < 100 * KIB, "{}", peak(before));
    });
}

// The send buffer.

fn writing(conn: &Conn, messages: usize, len: usize) -> JoinHandle<()> {
    let conn = conn.clone();
    tokio::spawn(async move {
        for _ in 0..messages {
            conn.write(vec![0; len]).await.unwrap();
        }
    })
}

#[test]
fn a_write_waits_above_the_high_mark_until_the_low_one() {
    run(async {
        let config = Config::new().write_buffer(2000, 10_000);
        let (conn, mut peer) = connect(Role::Server, config, None, 64);
        // Ten bytes each, header included.
        let writing = writing(&conn, 10_000, 8);
        settle().await;
        assert!(!writing.is_finished());
        let full = conn.stats().buffered;
        assert!(full > 10_000 && full <= 10_000 + 10, "{full}");
        let mut messages = conn.stats().messages_out;
        for _ in 0..100 {
            // The peer reads. No write completes before there is room.
            while conn.stats().buffered > 2000 + 64 {
                assert_eq!(conn.stats().messages_out, messages);
                peer.frame().await.unwrap();
                settle_a_little().await;
            }
            while conn.stats().messages_out == messages && !writing.is_finished() {
                peer.frame().await.unwrap();
                settle_a_little().await;
            }
            settle().await;
            messages = conn.stats().messages_out;
            let full = conn.stats().buffered;
            assert!(full <= 10_000 + 10, "{full}");
            if writing.is_finished() {
                return;
            }
        }
        panic!("there is no end");
    });
}

async fn settle_a_little() {
    for _ in 0..5 {
        yield_now().await;
    }
}

#[test]
fn many_writers_together_keep_to_the_mark_and_one_message() {
    run(async {
        let config = Config::new().write_buffer(1000, 5000);
        let (conn, mut peer) = connect(Role::Client, config, None, 1000);
        let writers: Vec<_> = (0..20).map(|n| writing(&conn, 50, 100 * n)).collect();
        let mut most = 0;
        for _ in 0..20 * 50 {
            settle_a_little().await;
            most = most.max(conn.stats().buffered);
            peer.frame().await.unwrap();
        }
        assert!(most > 5000 && most <= 5000 + 1900 + 14, "{most}");
        for writer in writers {
            soon(writer).await.unwrap();
        }
    });
}

#[test]
fn a_message_longer_than_the_high_mark_is_taken_whole() {
    run(async {
        let config = Config::new().write_buffer(0, 100);
        let (conn, _peer) = connect(Role::Server, config, None, 64);
        soon(conn.write(vec![0; 100_000])).await.unwrap();
        assert!(timeout(SECOND, conn.write("a")).await.is_err());
        assert_eq!(conn.stats().messages_out, 1);
    });
}

#[test]
fn a_writer_of_pieces_keeps_to_the_mark_and_one_piece() {
    run(async {
        let config = Config::new().write_buffer(1000, 5000);
        let (conn, mut peer) = connect(Role::Server, config, None, 64);
        let writing = tokio::spawn({
            let conn = conn.clone();
            async move {
                let mut writer = conn.writer(MessageType::Binary).await.unwrap();
                writer.write_all(&[0; 200_000]).await.unwrap();
                writer.finish().await.unwrap();
            }
        });
        let mut read = 0;
        while read < 200_000 {
            settle_a_little().await;
            assert!(conn.stats().buffered <= 5000 + 16 * KIB + 14, "{}", conn.stats().buffered);
            read += peer.frame().await.unwrap().payload.len();
        }
        soon(writing).await.unwrap();
    });
}

// A peer that reads nothing.

/// Ends with the write timeout, this long after the last progress.
async fn check_given_up(conn: &Conn, since: Instant, after: Duration) {
    let ending = soon(conn.closed()).await;
    assert!(matches!(ending.error, Error::Timeout(Deadline::Write)), "{:?}", ending.error);
    assert_eq!(since.elapsed(), after);
    let error = soon(conn.write("late")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Write)), "{error:?}");
    assert_eq!(conn.stats().buffered, 0);
}

fn write_timeout() -> Config {
    Config::new().write_buffer(1000, 5000).write_timeout(4 * SECOND)
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    run(async {
        let (conn, _peer) = connect(Role::Server, write_timeout(), None, 64);
        let since = Instant::now();
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { while conn.write(vec![0; 100]).await.is_ok() {} }
        });
        check_given_up(&conn, since, 4 * SECOND).await;
        soon(waiting).await.unwrap();
    });
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_is_not_given_up() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, write_timeout(), None, 64);
        soon(conn.write(vec![0; 2000])).await.unwrap();
        let mut seen = BytesMut::new();
        for _ in 0..20 {
            advance(3 * SECOND).await;
            settle().await;
            assert!(conn.close_info().is_none());
            let mut some = [0; 10];
            soon(peer.io.read_exact(&mut some)).await.unwrap();
            seen.extend_from_slice(&some);
            settle().await;
        }
        check_given_up(&conn, Instant::now(), 4 * SECOND).await;
    });
}

#[test]
fn what_is_queued_meanwhile_is_no_sign_that_the_peer_takes_anything() {
    run(async {
        for pings in [false, true] {
            let (conn, mut peer) = connect(Role::Server, write_timeout(), None, 64);
            soon(conn.write(vec![0; 1000])).await.unwrap();
            settle().await;
            let since = Instant::now();
            let given_up = tokio::spawn({
                let conn = conn.clone();
                async move { conn.closed().await.error }
            });
            for _ in 0..5 {
                advance(SECOND * 3 / 2).await;
                settle().await;
                if pings {
                    peer.send(&[ping("")]).await;
                } else {
                    let _ = soon(conn.write("a")).await;
                }
                settle().await;
            }
            assert!(since.elapsed() > 4 * SECOND);
            assert!(given_up.is_finished(), "a peer that takes nothing is kept");
            let error = given_up.await.unwrap();
            assert!(matches!(error, Error::Timeout(Deadline::Write)), "{error:?}");
        }
    });
}

// All limits together.

#[test]
fn a_connection_holds_no_more_than_its_settings_say() {
    for (role, compressed) in BOTH.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        // A thread of its own, which keeps no buffers of earlier messages.
        std::thread::spawn(move || run(check_held(role, compressed))).join().unwrap();
    }
}

/// Nearly a whole message has arrived, and the send buffer is full.
async fn check_held(role: Role, compressed: bool) {
    const READ: usize = 300 * KIB;
    const HIGH: usize = 100 * KIB;
    const WRITTEN: usize = 200 * KIB;
    const PIPE: usize = KIB;
    let config =
        Config::new().limits(Limits::new().message_size(READ)).write_buffer(HIGH / 2, HIGH);
    let (conn, mut peer) = connect(role, config, compressed.then(Params::default), PIPE);
    // The caches of the thread.
    peer.send(&[text("a")]).await;
    soon(conn.read()).await.unwrap();
    let message = binary(noise(READ, 6));
    let message = if compressed { message.deflated() } else { message };
    let bytes = message.encode(peer.role);
    let plain = |len| Message::binary(vec![0; len]).uncompressed();
    let before = measure();
    for _ in 0..(HIGH + PIPE) / KIB - 2 {
        soon(conn.write(plain(KIB - 8))).await.unwrap();
    }
    soon(conn.write(plain(WRITTEN))).await.unwrap();
    assert!(timeout(SECOND, conn.write("a")).await.is_err(), "there is room left");
    let reading = tokio::spawn({
        let conn = conn.clone();
        async move { conn.read().await }
    });
    let (last, most) = bytes.split_last().unwrap();
    peer.send_bytes(most).await;
    settle().await;
    let inflate = if compressed { 48 * KIB } else { 0 };
    let bound = READ + 64 * KIB + HIGH + WRITTEN + inflate;
    let held = peak(before);
    assert!(held <= bound, "{held} > {bound}, {role:?}, compressed: {compressed}");
    assert!(held > bound - 100 * KIB, "{held} is too good to be true");
    peer.send_bytes(&[*last]).await;
    assert_eq!(soon(reading).await.unwrap().unwrap().len(), READ);
}

#[test]
fn what_is_kept_for_a_read_is_one_message() {
    run(async {
        let config = Config::new().limits(Limits::new().message_size(100 * KIB));
        let (conn, mut peer) = connect(Role::Client, config, None, 16 * KIB);
        peer.send(&[text("a")]).await;
        soon(conn.read()).await.unwrap();
        let before = measure();
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { conn.closed().await }
        });
        let flood = tokio::spawn(async move {
            let bytes = binary(noise(100 * KIB, 7)).encode(Role::Server);
            for _ in 0..20 {
                peer.send_bytes(&bytes).await;
            }
            peer.send(&[frame(OpCode::CLOSE, [])]).await;
        });
        settle().await;
        assert!(!flood.is_finished());
        // The test holds the flood itself, twice while building it.
        assert!(peak(before) < 3 * 100 * KIB + 64 * KIB + 10 * KIB, "{}", peak(before));
        for _ in 0..20 {
            assert_eq!(soon(conn.read()).await.unwrap().len(), 100 * KIB);
        }
        soon(waiting).await.unwrap();
    });
}
