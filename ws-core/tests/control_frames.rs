//! Do control frames overtake data, are they answered at once, and is their memory bounded?

use std::future::Future;
use std::time::Duration;

use crate::support::{
    BOTH, Frame, Peer, close, connect, decode_all, drain, more, noise, ping, pong, run, soon, take,
    text,
};
use tokio::io::AsyncWriteExt;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{advance, timeout};
use ws_core::Limits;
use ws_core::frame::OpCode;
use ws_core::proto::Outbound;
use ws_core::{
    Config, Conn, Deadline, Error, Message, MessageType, Role, SendError, StatusCode, pair,
};

const SECOND: Duration = Duration::from_secs(1);

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Reads until the end. Returns the error.
fn reading(conn: &Conn) -> JoinHandle<Error> {
    let conn = conn.clone();
    tokio::spawn(async move {
        loop {
            if let Err(error) = conn.read().await {
                return error;
            }
        }
    })
}

// Pings are answered.

/// Any reading call answers the ping, and the pong is sent without another call.
async fn check_answer<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    first: &[Frame],
    wait: impl Fn(Conn) -> F,
) {
    for role in BOTH {
        let (conn, mut peer) = connect(role, Config::new(), None, 1024);
        peer.send(first).await;
        let waiting = tokio::spawn(wait(conn.clone()));
        settle().await;
        for payload in ["", "x", "yz"] {
            peer.send(&[ping(payload)]).await;
            loop {
                match peer.frame().await.unwrap() {
                    // The call may have sent a ping itself.
                    frame if frame.header.opcode == OpCode::PING => {}
                    frame => break assert_eq!(frame, pong(payload)),
                }
            }
        }
        waiting.abort();
    }
}

#[test]
fn a_ping_is_answered_by_whoever_reads() {
    run(async {
        check_answer(&[], |conn| async move { conn.read().await }).await;
        check_answer(&[], |conn| async move { conn.reader().await }).await;
        check_answer(&[], |conn| async move { conn.ping().await }).await;
        check_answer(&[], |conn| async move { conn.ping_with("abc").await }).await;
        check_answer(&[], |conn| async move { conn.closed().await }).await;
        check_answer(&[], |conn| async move { conn.close_read().await }).await;
        check_answer(&[], |conn| async move { drop(conn.close_read()) }).await;
        // Inside a message.
        let begun = [text("a").open()];
        check_answer(&begun, |conn| async move { conn.read().await }).await;
        check_answer(&begun, |conn| async move { conn.ping().await }).await;
        check_answer(&begun, |conn| async move {
            let mut reader = conn.reader().await?;
            while reader.chunk().await?.is_some() {}
            Ok::<_, Error>(())
        })
        .await;
    });
}

#[test]
fn a_ping_before_a_message_is_answered_before_the_message_is_given_out() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        peer.send(&[ping("1"), text("a"), ping("2"), text("b")]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "a".into());
        assert_eq!(peer.frame().await, Some(pong("1")));
        assert_eq!(soon(conn.read()).await.unwrap(), "b".into());
        assert_eq!(peer.frame().await, Some(pong("2")));
    });
}

#[test]
fn every_ping_of_a_burst_is_answered_while_the_transport_takes_the_pongs() {
    run(async {
        const PINGS: u32 = 3000;
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024 * 1024);
        let pings: Vec<_> = (0..PINGS).map(|n| ping(n.to_be_bytes())).collect();
        peer.send(&pings).await;
        let _reading = reading(&conn);
        for n in 0..PINGS {
            assert_eq!(peer.frame().await, Some(pong(n.to_be_bytes())));
        }
    });
}

#[test]
fn nobody_is_answered_after_a_close_frame() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        let closing = tokio::spawn({
            let conn = conn.clone();
            async move { conn.close(StatusCode::NORMAL_CLOSURE, "bye").await }
        });
        assert_eq!(peer.frame().await, Some(close(1000, "bye")));
        peer.send(&[ping("x"), text("late"), close(1000, "")]).await;
        soon(closing).await.unwrap().unwrap();
        assert_eq!(peer.frames().await, []);
    });
}

#[test]
fn pings_have_up_to_125_bytes() {
    run(async {
        for role in BOTH {
            let (conn, mut peer) = connect(role, Config::new(), None, 1024);
            let _reading = reading(&conn);
            for len in 0..=125 {
                let payload = noise(len, 1);
                peer.send(&[ping(&payload)]).await;
                assert_eq!(peer.frame().await, Some(pong(&payload)));
                let pinging = tokio::spawn({
                    let (conn, payload) = (conn.clone(), payload.clone());
                    async move { conn.ping_with(payload).await }
                });
                assert_eq!(peer.frame().await, Some(ping(&payload)));
                peer.send(&[pong(&payload)]).await;
                soon(pinging).await.unwrap().unwrap();
                conn.pong(payload.clone()).unwrap();
                assert_eq!(peer.frame().await, Some(pong(&payload)));
            }
            let long = noise(126, 1);
            let refused = |error| matches!(error, Error::SendError(SendError::Control(126)));
            assert!(refused(soon(conn.ping_with(long.clone())).await.unwrap_err()));
            assert!(refused(conn.pong(long).unwrap_err()));
            // Nothing was sent.
            conn.pong("next").unwrap();
            assert_eq!(peer.frame().await, Some(pong("next")));
        }
    });
}

// Pings are waited for.

#[test]
fn a_ping_tells_the_round_trip() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        let answer = async {
            let sent = peer.frame().await.unwrap();
            advance(3 * SECOND).await;
            peer.send(&[pong(sent.payload)]).await;
        };
        let (rtt, ()) = tokio::join!(soon(conn.ping()), answer);
        assert_eq!(rtt.unwrap(), 3 * SECOND);
        assert_eq!(conn.stats().rtt, Some(3 * SECOND));
    });
}

#[test]
fn the_pong_to_the_latest_ping_answers_all_before() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        let ask = |payload| {
            let conn = conn.clone();
            tokio::spawn(async move { conn.ping_with(payload).await })
        };
        let one = ask("1");
        assert_eq!(peer.frame().await, Some(ping("1")));
        let two = ask("2");
        assert_eq!(peer.frame().await, Some(ping("2")));
        let three = ask("3");
        assert_eq!(peer.frame().await, Some(ping("3")));
        peer.send(&[pong("2")]).await;
        soon(one).await.unwrap().unwrap();
        soon(two).await.unwrap().unwrap();
        settle().await;
        assert!(!three.is_finished());
        peer.send(&[pong("3")]).await;
        soon(three).await.unwrap().unwrap();
    });
}

#[test]
fn a_pong_that_answers_nothing_is_ignored() {
    run(async {
        let (conn, mut peer) = connect(Role::Client, Config::new(), None, 1024);
        peer.send(&[pong(""), pong("unasked"), text("a")]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "a".into());
        assert_eq!(conn.stats().rtt, None);
        peer.send(&[pong("other")]).await;
        assert!(timeout(SECOND, conn.ping_with("this")).await.is_err());
        assert_eq!(peer.frame().await, Some(ping("this")));
        // The caller has dropped its future.
        peer.send(&[pong("this"), text("b")]).await;
        assert_eq!(soon(conn.read()).await.unwrap(), "b".into());
    });
}

#[test]
fn pings_are_answered_while_both_sides_only_write() {
    run(async {
        let (one, two) = pair();
        let _reading = reading(&two);
        for _ in 0..100 {
            soon(one.write("x")).await.unwrap();
            soon(one.ping()).await.unwrap();
        }
    });
}

// Control frames overtake.

/// A connection with a full transport, and the number of bytes sent so far.
async fn stuck(role: Role, size: usize, config: Config) -> (Conn, Peer, u64) {
    let (conn, peer) = connect(role, config.write_buffer(0, 1024 * 1024), None, 64);
    for n in 0..150_000 / size {
        soon(conn.write(noise(size, n as u64))).await.unwrap();
    }
    settle().await;
    assert!(conn.stats().buffered > 100_000);
    let left = conn.stats().bytes_out;
    (conn, peer, left)
}

/// The frames up to and including the first control frame, which is sent at the first frame
/// boundary.
async fn check_overtaken(peer: &mut Peer, left: u64) -> Frame {
    let mut begins = 0;
    loop {
        let frame = peer.frame().await.unwrap();
        if frame.is_control() {
            return frame;
        }
        assert!(begins < left || left == 0, "a frame that had not begun came first");
        let key = if peer.role == Role::Server { 4 } else { 0 };
        begins += (frame.header.encode().as_slice().len() + key + frame.payload.len()) as u64;
    }
}

#[test]
fn pongs_and_pings_overtake_the_data_that_waits() {
    run(async {
        for role in BOTH {
            for size in [10, 100, 1000, 5000, 140_000] {
                let (conn, mut peer, left) = stuck(role, size, Config::new()).await;
                let _reading = reading(&conn);
                peer.send(&[ping("1"), ping("2")]).await;
                settle().await;
                let pinging = tokio::spawn({
                    let conn = conn.clone();
                    async move { conn.ping_with("3").await }
                });
                settle().await;
                conn.pong("4").unwrap();
                assert_eq!(check_overtaken(&mut peer, left).await, pong("1"));
                for expected in [pong("2"), ping("3"), pong("4")] {
                    assert_eq!(peer.frame().await, Some(expected));
                }
                pinging.abort();
            }
        }
    });
}

#[test]
fn control_frames_pass_between_the_fragments_of_a_message() {
    run(async {
        let config = Config::new().fragment_size(1000);
        let (conn, mut peer, left) = stuck(Role::Server, 140_000, config).await;
        conn.pong("x").unwrap();
        assert_eq!(check_overtaken(&mut peer, left).await, pong("x"));
        assert_eq!(peer.frame().await.unwrap().header.opcode, OpCode::CONTINUATION);
    });
}

#[test]
fn control_frames_overtake_a_message_that_is_written_in_pieces() {
    run(async {
        let config = Config::new().write_buffer(0, 1024 * 1024);
        let (conn, mut peer) = connect(Role::Server, config, None, 64);
        let mut writer = conn.writer(MessageType::Binary).await.unwrap();
        writer.write_all(&noise(150_000, 2)).await.unwrap();
        settle().await;
        conn.pong("x").unwrap();
        let left = conn.stats().bytes_out;
        assert_eq!(check_overtaken(&mut peer, left).await, pong("x"));
        assert_eq!(peer.frame().await.unwrap().header.opcode, OpCode::CONTINUATION);
        drop(writer);
    });
}

#[test]
fn the_close_frame_for_a_fault_overtakes_the_data_that_waits() {
    run(async {
        for role in BOTH {
            for size in [10, 1000, 5000, 140_000] {
                let (conn, mut peer, left) = stuck(role, size, Config::new()).await;
                let reading = reading(&conn);
                peer.send(&[more("x")]).await;
                soon(reading).await.unwrap();
                let frame = check_overtaken(&mut peer, left).await;
                assert_eq!(frame.header.opcode, OpCode::CLOSE);
                assert_eq!(frame.payload[..2], 1002_u16.to_be_bytes());
                assert_eq!(peer.frames().await, [], "it is the last one");
            }
        }
    });
}

#[test]
fn control_frames_never_cut_a_frame_wherever_it_stopped() {
    let frames = |role| {
        let mut outbound = Outbound::new(role, &Config::new(), None);
        for size in [3, 200, 5000, 0, 4096, 4097, 1] {
            outbound.message(Message::binary(noise(size, 3)));
        }
        outbound
    };
    for role in BOTH {
        let whole = drain(&mut frames(role), usize::MAX).len();
        for written in (0..whole).filter(|at| *at < 230 || at % 397 == 0 || whole - at < 20) {
            let mut outbound = frames(role);
            let mut out = Vec::new();
            while out.len() < written {
                out.extend(take(&mut outbound, written - out.len()));
            }
            outbound.ping(b"1").unwrap();
            outbound.ping(b"2").unwrap();
            out.extend(drain(&mut outbound, 1000));
            let seen = decode_all(role, &out);
            assert_eq!(seen.len(), 9, "{written}");
            assert_eq!(seen.iter().filter(|frame| frame.is_control()).count(), 2);
        }
    }
}

// Floods of pings.

#[test]
fn a_flood_of_pings_that_nobody_hears_answered_costs_no_memory() {
    run(async {
        const PINGS: u32 = 100_000;
        for role in BOTH {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            let _reading = reading(&conn);
            for batch in 0..PINGS / 100 {
                let numbers = batch * 100..(batch + 1) * 100;
                let pings: Vec<_> = numbers.map(|n| ping(n.to_be_bytes())).collect();
                peer.send(&pings).await;
                assert!(conn.stats().buffered < 5 * 1024, "{}", conn.stats().buffered);
            }
            settle().await;
            // Some pings are answered, in order, including the latest.
            conn.write("end").await.unwrap();
            let mut last = None;
            let mut end = false;
            while !end || last != Some(PINGS - 1) {
                let frame = peer.frame().await.unwrap();
                end |= frame == text("end");
                if frame.header.opcode == OpCode::PONG {
                    let number = u32::from_be_bytes(frame.payload.try_into().unwrap());
                    assert!(last < Some(number), "{last:?} before {number}");
                    last = Some(number);
                }
            }
        }
    });
}

#[test]
fn a_flood_behind_a_full_write_buffer_stays_within_the_marks() {
    run(async {
        let config = Config::new().write_buffer(1000, 10_000);
        let (conn, mut peer) = connect(Role::Server, config, None, 64);
        let _reading = reading(&conn);
        while timeout(SECOND, conn.write(noise(100, 4))).await.is_ok() {}
        for n in 0..3000_u32 {
            peer.send(&[ping(n.to_be_bytes().repeat(30))]).await;
            assert!(conn.stats().buffered < 10_000 + 100 + 5 * 1024);
        }
    });
}

// Close.

/// The peer reads after a delay. Checks its input, and the result of `close` if it answers.
async fn check_close_behind_data(reads_after: Duration, sees_all: bool) {
    for role in BOTH {
        for size in [200, 5000, 140_000] {
            let config = Config::new().close_timeout(4 * SECOND);
            let (conn, mut peer, left) = stuck(role, size, config).await;
            let closing = tokio::spawn({
                let conn = conn.clone();
                async move { conn.close(StatusCode::GOING_AWAY, "bye").await }
            });
            settle().await;
            advance(reads_after).await;
            settle().await;
            if sees_all {
                for n in 0..150_000 / size {
                    assert_eq!(peer.frame().await.unwrap().payload, noise(size, n as u64));
                }
                assert_eq!(peer.frame().await, Some(close(1001, "bye")));
            } else {
                assert_eq!(check_overtaken(&mut peer, left).await, close(1001, "bye"));
            }
            peer.send(&[close(1001, "")]).await;
            soon(closing).await.unwrap().unwrap();
            assert_eq!(peer.frames().await, []);
        }
    }
}

#[test]
fn what_was_written_before_close_arrives_if_the_peer_reads_in_time() {
    run(async {
        check_close_behind_data(Duration::ZERO, true).await;
        check_close_behind_data(SECOND * 19 / 10, true).await;
    });
}

#[test]
fn the_close_frame_stops_waiting_behind_data_at_half_of_the_deadline() {
    run(async {
        check_close_behind_data(2 * SECOND, false).await;
        check_close_behind_data(SECOND * 39 / 10, false).await;
    });
}

#[test]
fn a_peer_that_never_reads_does_not_hold_up_close() {
    run(async {
        let config = Config::new().close_timeout(4 * SECOND);
        let (conn, mut peer, _) = stuck(Role::Server, 1000, config).await;
        let began = tokio::time::Instant::now();
        let error = soon(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Deadline::Close)), "{error:?}");
        assert_eq!(began.elapsed(), 4 * SECOND);
        // The transport is lost.
        settle().await;
        assert!(peer.io.write_all(b"x").await.is_err());
    });
}

/// A peer that exceeds limits after our close frame is still closed cleanly.
#[test]
fn what_arrives_after_close_is_dropped_however_long_it_is() {
    run(async {
        for long in [text("a".repeat(500)), text("a").open()] {
            let config = Config::new().limits(Limits::new().message_size(100));
            let (conn, mut peer) = connect(Role::Server, config, None, 64 * 1024);
            let closing = tokio::spawn({
                let conn = conn.clone();
                async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await }
            });
            assert_eq!(peer.frame().await, Some(close(1000, "")));
            peer.send(&[long, close(1000, "")]).await;
            soon(closing).await.unwrap().unwrap();
        }
    });
}
