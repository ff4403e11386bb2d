//! Do hooks receive control frames in wire order, and may they use the connection?
#![cfg(test)]

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use support::{BOTH, close, connect, ping, pong, run, soon, text};
use ws_core::{Config, Conn, Message, Role, StatusCode};

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
