//! Do hooks receive control frames in wire order, and may they use the connection?

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{BOTH, close, connect, more, ping, pong, run, soon, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use ws_core::frame::Frame;
use ws_core::{
    CloseInitiator, Config, Conn, Error, Message, MessageType, Role, StatusCode, TryWriteError,
};

use crate::support;

type Notes = Arc<Mutex<Vec<String>>>;

fn note(notes: &Notes, what: impl Into<String>) {
    notes.lock().unwrap().push(what.into());
}

fn hook_all(conn: &Conn) -> Notes {
    let notes = Notes::default();
    let (pings, pongs, closes) = (Arc::clone(&notes), Arc::clone(&notes), Arc::clone(&notes));
    conn.on_ping(move |_, payload| {
        note(&pings, format!("ping {payload:?}"));
        !payload.starts_with(b"no")
    });
    conn.on_pong(move |_, payload| note(&pongs, format!("pong {payload:?}")));
    conn.on_close(move |_, close| {
        note(&closes, format!("close {} {}", close.code, close.reason));
        true
    });
    notes
}

#[test]
fn hooks_see_control_frames_in_order_and_may_veto_a_pong() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            let notes = hook_all(&conn);
            peer.send(&[
                ping("1"),
                text("a"),
                ping("no"),
                pong("2"),
                ping("3"),
                close(1001, "bye"),
            ])
            .await;
            assert_eq!(soon(conn.read()).await.unwrap(), Message::from("a"));
            assert_eq!(*notes.lock().unwrap(), [r#"ping b"1""#]);
            let error = soon(conn.read()).await.unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
            let expected = [
                r#"ping b"1""#,
                r#"ping b"no""#,
                r#"pong b"2""#,
                r#"ping b"3""#,
                "close 1001 going away bye",
            ];
            assert_eq!(*notes.lock().unwrap(), expected);
            for expected in [pong("1"), pong("3"), close(1001, "bye")] {
                assert_eq!(peer.frame().await, Some(expected));
            }
        });
    }
}

/// Any reading call runs the hooks.
#[test]
fn every_way_to_read_calls_hooks() {
    type Read = fn(Conn) -> futures::future::BoxFuture<'static, ()>;
    let ways: [Read; 7] = [
        |conn| Box::pin(async move { drop(conn.read().await) }),
        |conn| Box::pin(async move { drop(conn.reader().await) }),
        |conn| Box::pin(async move { drop(conn.frames().read().await) }),
        |conn| Box::pin(async move { drop(conn.ping().await) }),
        |conn| Box::pin(async move { drop(conn.closed().await) }),
        |conn| Box::pin(async move { drop(conn.close_read().await) }),
        |conn| {
            Box::pin(async move {
                drop(futures::StreamExt::next(&mut conn.messages()).await);
            })
        },
    ];
    for (way, read) in ways.iter().enumerate() {
        run(async {
            let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
            let notes = hook_all(&conn);
            peer.send(&[ping("1")]).await;
            let reading = tokio::spawn(read(conn.clone()));
            // The call's own ping may come first.
            while peer.frame().await.unwrap() != pong("1") {}
            assert_eq!(*notes.lock().unwrap(), [r#"ping b"1""#], "way {way}");
            reading.abort();
        });
    }
}

#[test]
fn hooks_may_use_the_connection() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        conn.on_ping(|conn, payload| {
            conn.pong("first").unwrap();
            conn.try_write(payload.clone()).unwrap();
            assert_eq!(conn.stats().frames_in, 1);
            conn.set_read_limit(Some(100));
            conn.on_ping(|_, _| false);
            true
        });
        conn.on_close(|conn, _| {
            assert!(conn.close_info().is_none(), "the hook decides the answer");
            conn.try_write("late").unwrap();
            true
        });
        peer.send(&[ping("x"), ping("y"), close(1000, "")]).await;
        soon(conn.read()).await.unwrap_err();
        for expected in
            [pong("first"), support::binary("x"), pong("x"), text("late"), close(1000, "")]
        {
            assert_eq!(peer.frame().await, Some(expected));
        }
    });
}

/// What is queued from a hook leaves in its order, before what follows the hook.
#[test]
fn a_hook_sends_control_frames_in_order() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            conn.on_ping(|conn, _| {
                conn.frames().try_write(Frame::ping("a")).unwrap();
                conn.pong("b").unwrap();
                conn.frames().try_write(Frame::ping("c")).unwrap();
                conn.frames().try_write(Frame::text("d").fin(false)).unwrap();
                let busy = conn.try_write("e").unwrap_err();
                assert!(matches!(busy, TryWriteError::Busy), "{busy:?}");
                let long = conn.frames().try_write(Frame::ping(vec![0; 126])).unwrap_err();
                assert!(matches!(long, TryWriteError::Conn(Error::SendError(_))), "{long:?}");
                true
            });
            peer.send(&[ping("x"), text("end")]).await;
            soon(conn.read()).await.unwrap();
            for expected in [ping("a"), pong("b"), ping("c"), text("d").open(), pong("x")] {
                assert_eq!(peer.frame().await, Some(expected), "{role:?}");
            }
        });
    }
}

/// How the application answers a close frame that its hook has held.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The hook lets the connection answer.
    Echo,
    /// The hook answers.
    InHook,
    /// The application writes on, and closes.
    Close,
    /// The same with a frame.
    CloseFrame,
    /// It waits for the end.
    Wait,
    /// It does nothing, and drops the connection.
    Drop,
}

#[test]
fn the_application_decides_the_answer_to_a_close_frame() {
    let late = text("late");
    for (answer, expected) in [
        (Answer::Echo, vec![close(3000, "bye")]),
        (Answer::InHook, vec![close(4001, "mine")]),
        (Answer::Close, vec![late.clone(), close(4002, "done")]),
        (Answer::CloseFrame, vec![late, close(4002, "done")]),
        (Answer::Wait, vec![close(3000, "bye")]),
        (Answer::Drop, vec![close(3000, "bye")]),
    ] {
        for role in BOTH {
            run(async {
                let timeout = Duration::from_secs(7);
                let config = Config::new().close_timeout(timeout);
                let (conn, mut peer) = connect(role, config, None, 4096);
                let code = StatusCode::from_u16(4002).unwrap();
                conn.on_close(move |conn, close| {
                    assert_eq!(close.reason, "bye");
                    if let Answer::InHook = answer {
                        let mine = StatusCode::from_u16(4001).unwrap();
                        conn.frames().try_write(Frame::close(mine, "mine")).unwrap();
                    }
                    matches!(answer, Answer::Echo)
                });
                peer.send(&[close(3000, "bye")]).await;
                let error = soon(conn.read()).await.unwrap_err();
                assert_eq!(error.close_status().map(StatusCode::as_u16), Some(3000));
                let began = Instant::now();
                match answer {
                    Answer::Echo | Answer::InHook => {}
                    Answer::Close => {
                        conn.write("late").await.unwrap();
                        conn.close(code, "done").await.unwrap();
                    }
                    Answer::CloseFrame => {
                        conn.frames().try_write(Frame::text("late")).unwrap();
                        conn.frames().write(Frame::close(code, "done")).await.unwrap();
                    }
                    Answer::Wait => {
                        assert!(soon(conn.closed()).await.is_clean());
                        assert_eq!(began.elapsed(), timeout);
                    }
                    Answer::Drop => drop(conn.clone()),
                }
                if let Answer::Drop = answer {
                    drop(conn);
                } else {
                    let info = soon(conn.closed()).await;
                    assert!(info.is_clean() && info.by == CloseInitiator::Peer, "{info:?}");
                }
                for expected in &expected {
                    assert_eq!(peer.frame().await.as_ref(), Some(expected), "{answer:?}, {role:?}");
                }
            });
        }
    }
}

/// The hook decides nothing where nothing is to be answered, or where a tunnel answers.
#[test]
fn the_result_of_a_close_hook_does_not_count_after_a_close_and_in_a_tunnel() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        conn.on_close(|_, _| false);
        let closing = tokio::spawn({
            let conn = conn.clone();
            async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await }
        });
        assert_eq!(peer.frame().await, Some(close(1000, "")));
        peer.send(&[close(1000, "")]).await;
        soon(closing).await.unwrap().unwrap();

        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        conn.on_close(|_, _| true);
        let mut tunnel = conn.into_byte_stream(MessageType::Text);
        peer.send(&[close(1000, "")]).await;
        assert_eq!(soon(tunnel.read(&mut [0; 9])).await.unwrap(), 0);
        soon(tunnel.write_all(b"more")).await.unwrap();
        soon(tunnel.shutdown()).await.unwrap();
        assert_eq!(peer.frames().await, [text("more"), close(1000, "")]);
    });
}

/// A proxy between two peers: each way ends by itself.
async fn pass_on(from: &Conn, to: &Conn) {
    let close = loop {
        match from.read().await {
            Ok(message) => to.write(message).await.unwrap(),
            Err(Error::Closed(close)) => break close,
            Err(error) => panic!("{error}"),
        }
    };
    let _ = to.frames().write(Frame::close(close.code, &close.reason)).await;
}

#[test]
fn a_proxy_that_holds_the_answer_loses_nothing() {
    run(async {
        let (near, mut client) = connect(Role::Server, Config::new(), None, 4096);
        let (far, server) = ws_core::pair();
        near.on_close(|_, _| false);
        server.on_close(|_, _| false);
        let proxy = tokio::spawn(async move {
            futures::join!(pass_on(&near, &far), pass_on(&far, &near));
            (near.closed().await, far.closed().await)
        });
        let server = tokio::spawn(async move {
            let mut heard = 0;
            while server.read().await.is_ok() {
                heard += 1;
            }
            for _ in 0..100 {
                server.write("an answer after the close frame").await.unwrap();
            }
            server.close(StatusCode::from_u16(3001).unwrap(), "done").await.unwrap();
            heard
        });
        let sent: Vec<_> = (0..100).map(|_| text("a question")).collect();
        client.send(&sent).await;
        client.send(&[close(3000, "bye")]).await;
        let mut answers = client.frames().await;
        assert_eq!(answers.pop(), Some(close(3001, "done")));
        assert_eq!(answers, vec![text("an answer after the close frame"); 100]);
        assert_eq!(soon(server).await.unwrap(), 100);
        let (near, far) = soon(proxy).await.unwrap();
        assert!(near.is_clean() && far.is_clean());
    });
}

#[test]
fn a_hook_that_closes_is_obeyed() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        conn.on_ping(|conn, _| {
            conn.close_now();
            true
        });
        peer.send(&[ping("x"), text("never read")]).await;
        assert_eq!(
            soon(conn.read()).await.unwrap_err().close_status(),
            Some(StatusCode::ABNORMAL_CLOSURE)
        );
        assert_eq!(peer.frame().await, None);
    });
}

#[test]
fn a_ping_that_is_waited_for_is_told_to_the_hook_too() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        let notes = hook_all(&conn);
        let pinging = tokio::spawn({
            let conn = conn.clone();
            async move { conn.ping_with("round").await }
        });
        assert_eq!(peer.frame().await, Some(ping("round")));
        peer.send(&[pong("round")]).await;
        soon(pinging).await.unwrap().unwrap();
        assert_eq!(*notes.lock().unwrap(), [r#"pong b"round""#]);
    });
}

#[test]
fn a_hook_does_not_keep_a_connection_open() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 4096);
        hook_all(&conn);
        drop(conn);
        assert_eq!(peer.frame().await, Some(close(1001, "")));
    });
}

#[test]
fn a_flood_of_pings_calls_one_hook_at_a_time() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 20);
        let notes = hook_all(&conn);
        let pings: Vec<_> = (0..1000).map(|n: u32| ping(n.to_string())).collect();
        peer.send(&pings).await;
        peer.send(&[text("end")]).await;
        soon(conn.read()).await.unwrap();
        assert_eq!(notes.lock().unwrap().len(), 1000);
        assert_eq!(notes.lock().unwrap()[999], r#"ping b"999""#);
    });
}

/// Uses its connection when dropped.
struct Looks(Conn);

impl Drop for Looks {
    fn drop(&mut self) {
        self.0.set_read_limit(None);
    }
}

#[test]
fn what_a_hook_holds_may_use_the_connection_when_another_takes_its_place() {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        let (conn, _peer) = ws_core::pair();
        let held = || Looks(conn.clone());
        let (ping, pong, close) = (held(), held(), held());
        conn.on_ping(move |_, _| matches!(&ping, Looks(_)));
        conn.on_pong(move |_, _| _ = &pong);
        conn.on_close(move |_, _| matches!(&close, Looks(_)));
        hook_all(&conn);
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(20)).unwrap();
}

/// A read of frames that was dropped has left a ping, which the next read of frames takes.
#[test]
fn a_control_frame_between_fragments_does_not_end_a_message_that_is_read_in_pieces() {
    for role in BOTH {
        run(async {
            let (conn, mut peer) = connect(role, Config::new(), None, 4096);
            conn.on_ping(|_, _| true);
            peer.send(&[ping("p")]).await;
            assert!(futures::poll!(Box::pin(conn.frames().read())).is_pending());
            peer.send(&[text("be").open()]).await;
            let mut reader = soon(conn.reader()).await.unwrap();
            assert_eq!(soon(reader.chunk()).await.unwrap().as_deref(), Some(&b"be"[..]));
            peer.send(&[pong("q"), more("gin").open(), pong("q"), more("")]).await;
            let mut rest = String::new();
            soon(reader.read_to_string(&mut rest)).await.unwrap();
            assert_eq!(rest, "gin");
        });
    }
}
