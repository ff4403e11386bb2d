//! Does a program without async code dial, read, write and close, and does async code get an error?
#![cfg(feature = "blocking")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use ws_client::{Dial, DialError, Error, Keepalive, Message, StatusCode, blocking};
use ws_core::{AcceptOptions, Acceptor, CloseInfo, Config, Conn};

const LIMIT: Duration = Duration::from_secs(30);

/// Serves one connection in a thread. Returns the URL, and how the connection ended.
fn server<F: Future<Output = ()>>(
    options: AcceptOptions,
    serve: impl FnOnce(Conn) -> F + Send + 'static,
) -> (String, mpsc::Receiver<CloseInfo>) {
    let (started, url) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(format!("ws://{}", listener.local_addr().unwrap())).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let conn = Acceptor::new(&options).accept(stream).await.unwrap();
            serve(conn.clone()).await;
            let _ = ended.send(conn.closed().await);
        });
    });
    (url.recv_timeout(LIMIT).unwrap(), end)
}

async fn echo(conn: Conn) {
    while let Ok(message) = conn.read().await {
        if conn.write(message).await.is_err() {
            return;
        }
    }
}

fn code(end: &mpsc::Receiver<CloseInfo>) -> Option<StatusCode> {
    end.recv_timeout(LIMIT).unwrap().error.close_status()
}

/// Another thread ends a call that waits, by a clone.
#[test]
fn what_waits_is_limited_or_ended() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (url, _end) = server(AcceptOptions::new(), async |conn| {
        conn.on_ping(|_, _| false);
        conn.write("ready").await.unwrap();
        let _ = stopped.await;
    });
    let conn = blocking::dial(url).unwrap();
    conn.read().unwrap();
    assert_eq!(conn.ping_timeout(Duration::from_millis(1)).unwrap(), None);
    conn.write("a").unwrap();
    conn.flush().unwrap();
    let pinging = conn.clone();
    let waiting = thread::spawn(move || pinging.ping());
    conn.get_ref().close_now();
    waiting.join().unwrap().unwrap_err();
    drop(stop);
}

#[test]
fn messages_and_values_are_exchanged() {
    let (url, end) = server(AcceptOptions::new(), echo);
    let conn = blocking::dial(url).unwrap();
    conn.write("hello").unwrap();
    assert_eq!(conn.read().unwrap(), Message::from("hello"));
    assert_eq!(conn.read_timeout(Duration::from_millis(1)).unwrap(), None);
    conn.write_json(&[1, 2]).unwrap();
    assert_eq!(conn.read_json::<Vec<u8>>().unwrap(), [1, 2]);
    conn.write("late").unwrap();
    assert_eq!(conn.read_timeout(LIMIT).unwrap(), Some(Message::from("late")));
    conn.ping().unwrap();
    assert!(conn.get_ref().response().is_some());
    conn.close(StatusCode::NORMAL_CLOSURE, "bye").unwrap();
    assert_eq!(code(&end), Some(StatusCode::NORMAL_CLOSURE));
    assert!(conn.close_info().is_some());
    assert!(matches!(conn.read(), Err(Error::Closed(_))));
}

#[test]
fn messages_end_with_the_connection_and_report_an_unusual_end() {
    let check = |code: StatusCode, is_error: bool| {
        let (url, _) = server(AcceptOptions::new(), async move |conn: Conn| {
            for text in ["a", "b"] {
                conn.write(text).await.unwrap();
            }
            let _ = conn.close(code, "").await;
        });
        let conn = blocking::connect(Dial::new(url)).unwrap();
        let mut messages = conn.messages();
        for text in ["a", "b"] {
            assert_eq!(messages.next().unwrap().unwrap(), Message::from(text));
        }
        assert_eq!(messages.next().is_some_and(|it| it.is_err()), is_error, "{code}");
        assert!(messages.next().is_none());
    };
    check(StatusCode::NORMAL_CLOSURE, false);
    check(StatusCode::GOING_AWAY, false);
    check(StatusCode::INTERNAL_ERROR, true);
}

#[test]
fn one_thread_reads_while_another_writes() {
    let (url, _) = server(AcceptOptions::new(), echo);
    let conn = blocking::dial(url).unwrap();
    let reader = conn.clone();
    let reading = thread::spawn(move || {
        (0..100).map(|_| reader.read().unwrap().as_text().unwrap().len()).sum::<usize>()
    });
    for number in 0..100 {
        conn.write("x".repeat(number)).unwrap();
    }
    assert_eq!(reading.join().unwrap(), (0..100).sum::<usize>());
}

/// The thread of the connections works while this one does not call it.
#[test]
fn pings_are_answered_while_the_program_is_busy() {
    let keepalive = Keepalive::every(Duration::from_millis(100)).pong_timeout(LIMIT);
    let options = AcceptOptions::new().config(Config::new().keepalive(keepalive));
    let (ponged, pongs) = mpsc::channel();
    let (url, _) = server(options, async move |conn: Conn| {
        conn.on_pong(move |_, _| {
            let _ = ponged.send(());
        });
        let _ = conn.read().await;
    });
    let conn = blocking::dial(url).unwrap();
    pongs.recv_timeout(LIMIT).unwrap();
    conn.close(StatusCode::NORMAL_CLOSURE, "").unwrap();
}

#[test]
fn dropping_the_last_handle_closes_the_connection() {
    let (url, end) = server(AcceptOptions::new(), echo);
    drop(blocking::dial(url).unwrap().messages());
    assert_eq!(code(&end), Some(StatusCode::GOING_AWAY));
}

#[test]
fn async_code_gets_an_error() {
    let (url, _) = server(AcceptOptions::new(), echo);
    let conn = blocking::dial(&url).unwrap();
    let check = |conn: &blocking::Conn| {
        assert!(matches!(blocking::dial("ws://a"), Err(DialError::InAsyncCode)));
        let text = conn.read().unwrap_err().to_string();
        assert!(text.contains("a blocking call in async code"), "{text}");
        assert!(conn.write("a").is_err() && conn.messages().next().unwrap().is_err());
    };
    let single = Builder::new_current_thread().build().unwrap();
    single.block_on(async { check(&conn) });
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let task = conn.clone();
    several.block_on(several.spawn(async move { check(&task) })).unwrap();

    // Where blocking is allowed, the same connection goes on.
    let works = move |conn: &blocking::Conn| {
        conn.write("hello").unwrap();
        assert_eq!(conn.read().unwrap(), Message::from("hello"));
    };
    works(&conn);
    let _entered = several.enter();
    assert!(Handle::try_current().is_ok());
    works(&conn);
    several.block_on(several.spawn_blocking(move || works(&conn))).unwrap();
}
