//! Is a peer that exceeds a rate limit closed with 1008, and a backlog accepted?

use std::time::Duration;

use crate::support::{BOTH, Frame, binary, close, connect, more, ping, pong, run, soon, text};
use tokio::time::{advance, sleep};
use ws_core::{Config, Conn, Error, Limits, Rate, Role, StatusCode};

/// Sends frames at once and reads them. Checks the exceeded rate.
async fn read_all(conn: &Conn) -> Option<(usize, Rate)> {
    loop {
        match soon(conn.read()).await {
            Ok(_) => {}
            Err(Error::TooFast { limit, setting, .. }) => return Some((limit, setting)),
            Err(error) => {
                assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE), "{error:?}");
                return None;
            }
        }
    }
}

#[track_caller]
fn check(limits: Limits, frames: &[Frame], crossed: Option<(usize, Rate)>) {
    for role in BOTH {
        run(async {
            let config = Config::new().limits(limits);
            let (conn, mut peer) = connect(role, config, None, 1 << 20);
            peer.send(frames).await;
            peer.send(&[close(1000, "")]).await;
            assert_eq!(read_all(&conn).await, crossed, "{role:?}");
            let code: u16 = if crossed.is_some() { 1008 } else { 1000 };
            let last = peer.frames().await.pop().unwrap();
            assert_eq!(last.payload[..2], code.to_be_bytes());
        });
    }
}

#[test]
fn as_much_may_come_at_once_as_in_a_second_and_no_more() {
    let limits = Limits::new().messages_per_second(3);
    let messages = |count| vec![text("x"); count];
    check(limits, &messages(3), None);
    check(limits, &messages(4), Some((3, Rate::Messages)));
    // A fragment does not count as a message.
    check(limits, &[text("x").open(), more("").open(), more("").open(), more("")], None);

    let limits = Limits::new().control_frames_per_second(2);
    check(limits, &[ping("1"), text("x"), pong("2")], None);
    check(limits, &[ping("1"), pong("2"), ping("3")], Some((2, Rate::ControlFrames)));

    let limits = Limits::new().bytes_per_second(1000);
    check(limits, &[binary(vec![0; 900])], None);
    check(limits, &[binary(vec![0; 900]), binary(vec![0; 100])], Some((1000, Rate::Bytes)));
    check(limits, &[binary(vec![0; 200_000])], Some((1000, Rate::Bytes)));
    check(limits, &vec![text(""); 2000], Some((1000, Rate::Bytes)));

    // Zero is a valid limit.
    check(Limits::new().messages_per_second(0), &messages(1), Some((0, Rate::Messages)));
}

/// Reads messages in pieces until an error.
async fn read_pieces(conn: &Conn) -> Error {
    loop {
        let mut reader = match soon(conn.reader()).await {
            Ok(reader) => reader,
            Err(error) => return error,
        };
        loop {
            match soon(reader.chunk()).await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return error,
            }
        }
    }
}

async fn read_frames(conn: &Conn) -> Error {
    loop {
        if let Err(error) = soon(conn.frames().read()).await {
            return error;
        }
    }
}

#[test]
fn rates_hold_in_every_way_of_reading() {
    run(async {
        let config = Config::new().limits(Limits::new().messages_per_second(2));
        for by_frame in [false, true] {
            let (conn, mut peer) = connect(Role::Server, config.clone(), None, 4096);
            peer.send(&[text("a").open(), more("b"), text("c"), text("d")]).await;
            let error = if by_frame { read_frames(&conn).await } else { read_pieces(&conn).await };
            assert!(matches!(error, Error::TooFast { limit: 2, .. }), "{error:?}");
            assert!(error.to_string().contains("messages_per_second"), "{error}");
        }
    });
}

#[test]
fn a_steady_peer_is_never_too_fast() {
    run(async {
        let config = Config::new().limits(Limits::new().messages_per_second(10));
        let (conn, mut peer) = connect(Role::Server, config, None, 4096);
        for _ in 0..100 {
            peer.send(&[text("x")]).await;
            soon(conn.read()).await.unwrap();
            {
                let mut read = Box::pin(conn.read());
                assert!(futures::poll!(&mut read).is_pending());
            }
            sleep(Duration::from_millis(101)).await; // tidy: sleep is the subject
        }
    });
}

#[test]
fn what_piled_up_while_nobody_read_is_not_held_against_the_peer() {
    run(async {
        let config = Config::new().limits(Limits::new().messages_per_second(10));
        let (conn, mut peer) = connect(Role::Server, config, None, 1 << 16);
        // The handler is busy for five seconds.
        peer.send(&vec![text("x"); 50]).await;
        advance(Duration::from_secs(5)).await;
        for _ in 0..50 {
            soon(conn.read()).await.unwrap();
        }
        // Idle time while reading is not saved up.
        let reading = tokio::spawn({
            let conn = conn.clone();
            async move { read_all(&conn).await }
        });
        sleep(Duration::from_secs(20)).await; // tidy: sleep is the subject
        peer.send(&vec![text("x"); 10]).await;
        sleep(Duration::from_secs(20)).await; // tidy: sleep is the subject
        peer.send(&vec![text("x"); 11]).await;
        assert_eq!(soon(reading).await.unwrap(), Some((10, Rate::Messages)));
    });
}

#[test]
fn nobody_counts_after_this_side_has_closed() {
    run(async {
        let config = Config::new().limits(Limits::new().messages_per_second(1));
        let (conn, mut peer) = connect(Role::Server, config, None, 4096);
        let closing = tokio::spawn({
            let conn = conn.clone();
            async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await }
        });
        assert_eq!(peer.frame().await, Some(close(1000, "")));
        peer.send(&vec![text("x"); 10]).await;
        peer.send(&[close(1000, "")]).await;
        soon(closing).await.unwrap().unwrap();
    });
}
