//! Do WebSockets over HTTP/2 open, transfer messages, close, and report resets?
#![cfg(test)]

mod raw_http2;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use h2::Reason;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use ws_server_hyper::{
    AcceptOptions, CloseError, CloseInitiator, Compression, Config, Conn, Deadline, Error, Message,
    StatusCode, TestClient, TestError,
};

use self::raw_http2::Raw;

/// A service, and a channel of its connections.
fn service(
    options: AcceptOptions,
) -> (
    impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone,
    mpsc::UnboundedReceiver<Conn>,
) {
    let (sender, conns) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request| {
        let response = match ws_server_hyper::accept(&mut request, &options) {
            Ok((response, upgrade)) => {
                let sender = sender.clone();
                tokio::spawn(upgrade.map(move |conn| sender.send(conn.unwrap())));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        async { Ok(response) }
    });
    (service, conns)
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), run).await.unwrap()
}

#[tokio::test]
async fn compressed_messages_of_all_sizes_are_echoed() {
    let compression = Compression::context_takeover();
    let options = AcceptOptions::new().subprotocols(["chat"]).compression(compression);
    let (service, mut conns) = service(options);
    let client = TestClient::new(service).http2();
    in_time(async {
        let request = client.websocket("/chat?room=1").header("cookie", "who=ann");
        let client_conn = request.subprotocols(["chat"]).compression(compression).connect().await;
        let (client_conn, server_conn) = (client_conn.unwrap(), conns.recv().await.unwrap());
        for conn in [&client_conn, &server_conn] {
            assert_eq!(conn.subprotocol(), Some("chat"));
            assert!(conn.is_compressed());
        }
        let request = server_conn.request().unwrap();
        assert_eq!(request.query("room").as_deref(), Some("1"));
        assert_eq!(request.cookie("who"), Some("ann"));
        for size in [0, 10, 100_000, 900_000] {
            let text = "The same text. ".repeat(size / 15);
            let (sent, read) = tokio::join!(client_conn.write(text.as_str()), server_conn.read());
            sent.unwrap();
            let (sent, read) = tokio::join!(server_conn.write(read.unwrap()), client_conn.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from(text));
        }
        // The closing handshake, then END_STREAM.
        let (closed, read) =
            tokio::join!(client_conn.close(StatusCode::NORMAL_CLOSURE, "bye"), server_conn.read());
        closed.unwrap();
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::NORMAL_CLOSURE));
        assert!(server_conn.closed().await.is_clean());
    })
    .await;
}

#[tokio::test]
async fn a_rejection_is_a_response_and_the_http2_connection_stays_open() {
    let (service, mut conns) = service(AcceptOptions::new());
    let client = TestClient::new(service).http2();
    in_time(async {
        let foreign = client.websocket("/").header("origin", "https://evil.example").connect();
        let Err(TestError::Refused(response)) = foreign.await else { panic!("not refused") };
        assert_eq!((response.status().as_u16(), &response.body()[..9]), (403, &b"the `Orig"[..]));
        let conn = client.websocket("/").header("origin", "http://localhost").connect().await;
        conn.unwrap().write("hi").await.unwrap();
        assert_eq!(conns.recv().await.unwrap().read().await.unwrap(), Message::from("hi"));
    })
    .await;
}

#[tokio::test]
async fn a_slow_websocket_does_not_stall_the_others() {
    let (service, mut conns) = service(AcceptOptions::new());
    let client = TestClient::new(service).http2();
    in_time(async {
        let mut slow = Vec::new();
        for _ in 0..20 {
            let client_conn = client.websocket("/").connect().await.unwrap();
            let server_conn = conns.recv().await.unwrap();
            let writer = client_conn.clone();
            // More than the window of a stream: the write blocks.
            let writing = tokio::spawn(async move { writer.write(vec![0; 900_000]).await });
            slow.push((client_conn, server_conn, writing));
        }
        for _ in 0..20 {
            let client_conn = client.websocket("/").connect().await.unwrap();
            let server_conn = conns.recv().await.unwrap();
            let big = vec![1; 200_000];
            let (sent, read) = tokio::join!(client_conn.write(big.clone()), server_conn.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from(big));
            let (sent, read) = tokio::join!(server_conn.write("answer"), client_conn.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from("answer"));
        }
        // The slow connections still work.
        for (_here, server_conn, writing) in slow {
            assert_eq!(server_conn.read().await.unwrap().into_bytes().len(), 900_000);
            writing.await.unwrap().unwrap();
        }
    })
    .await;
}

async fn raw() -> (Raw, Conn) {
    raw_with(Config::new().close_timeout(Duration::from_secs(20)).no_keepalive()).await
}

async fn raw_with(config: Config) -> (Raw, Conn) {
    let (service, mut conns) = service(AcceptOptions::new().config(config));
    let (client_io, server_io) = duplex(64 * 1024);
    tokio::spawn(async move {
        let server = ws_server_hyper::http_builder();
        server.serve_connection_with_upgrades(TokioIo::new(server_io), service).await.map_err(drop)
    });
    let raw = Raw::connect(client_io, "/").await;
    (raw, conns.recv().await.unwrap())
}

/// Checks that the connection ended with 1006, and that the error contains the cause.
async fn check_reset(conn: &Conn, cause: &str) {
    let Error::Closed(CloseError { code, reason, .. }) = conn.read().await.unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(code, StatusCode::ABNORMAL_CLOSURE);
    assert!(reason.contains(cause), "{reason:?}");
    assert_eq!(conn.close_info().unwrap().by, CloseInitiator::Transport);
}

const RESETS: [(Reason, &str); 4] = [
    (Reason::INTERNAL_ERROR, "unexpected internal error"),
    (Reason::ENHANCE_YOUR_CALM, "excessive load"),
    // hyper does not always have a text for these.
    (Reason::CANCEL, "the stream was reset: "),
    (Reason::NO_ERROR, "the stream was reset: "),
];

/// The scheduler decides which of hyper's tasks sees the reset first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_closes_with_1006_and_its_cause() {
    for (reason, cause) in [RESETS; 50].as_flattened() {
        in_time(async {
            let (mut raw, conn) = raw().await;
            raw.send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
            assert_eq!(conn.read().await.unwrap(), Message::from("hi"));
            raw.send.send_reset(*reason);
            check_reset(&conn, cause).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_reader_gets_the_cause_of_a_reset_that_a_writer_has_seen() {
    for (reason, cause) in RESETS {
        in_time(async {
            let (mut raw, conn) = raw().await;
            raw.send.send_reset(reason);
            while conn.write("into the void").await.is_ok() {
                tokio::task::yield_now().await;
            }
            check_reset(&conn, cause).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_has_its_cause_while_a_write_is_blocked() {
    for (reason, cause) in [RESETS; 10].as_flattened() {
        in_time(async {
            let (mut raw, conn) = raw().await;
            // More than the flow control window of the peer.
            conn.write(vec![0; 1024 * 1024]).await.unwrap();
            raw.send.send_reset(*reason);
            check_reset(&conn, cause).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_stream_while_a_write_is_blocked_closes_with_1006() {
    in_time(async {
        let (mut raw, conn) = raw().await;
        conn.write(vec![0; 1024 * 1024]).await.unwrap();
        raw.send.send_data(Bytes::new(), true).unwrap();
        let error = conn.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    })
    .await;
}

#[tokio::test]
async fn an_end_of_stream_without_a_close_frame_closes_with_1006() {
    in_time(async {
        let (mut raw, conn) = raw().await;
        raw.send.send_data(Bytes::new(), true).unwrap();
        let error = conn.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    })
    .await;
}

/// How the peer ends its side.
#[derive(Clone, Copy, Debug)]
enum End {
    CloseFrame,
    WithoutClose,
    Reset(Reason),
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    Closed,
    Ping,
    /// A handler that pushes what a feed brings, and never reads.
    PushFeed,
}

async fn wait_for_end(conn: &Conn, wait: Wait) {
    match wait {
        Wait::Closed => drop(conn.closed().await),
        Wait::Ping => while conn.ping().await.is_ok() {},
        Wait::PushFeed => {
            let (_feed, mut fed) = mpsc::channel::<Message>(1);
            tokio::select! {
                _ = conn.closed() => {}
                message = fed.recv() => conn.write(message.unwrap()).await.unwrap(),
            }
        }
    }
}

/// What waits for the end does not wait for the message before it to be read.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_end_resolves_behind_an_unread_message() {
    for end in [
        End::CloseFrame,
        End::WithoutClose,
        End::Reset(Reason::CANCEL),
        End::Reset(Reason::NO_ERROR),
        End::Reset(Reason::INTERNAL_ERROR),
    ] {
        for wait in [Wait::Closed, Wait::Ping, Wait::PushFeed] {
            let (mut raw, conn) = raw().await;
            raw.send.send_data(Bytes::from_static(b"\x81\x81\0\0\0\0a"), false).unwrap();
            let waiting = tokio::spawn({
                let conn = conn.clone();
                async move { wait_for_end(&conn, wait).await }
            });
            // A reset drops what its side has not sent yet.
            while conn.stats().messages_in == 0 {
                tokio::task::yield_now().await;
            }
            let code = match end {
                End::CloseFrame => {
                    let close = Bytes::from_static(b"\x88\x82\0\0\0\0\x03\xe8");
                    raw.send.send_data(close, false).unwrap();
                    StatusCode::NORMAL_CLOSURE
                }
                End::WithoutClose => {
                    raw.send.send_data(Bytes::new(), true).unwrap();
                    StatusCode::ABNORMAL_CLOSURE
                }
                End::Reset(reason) => {
                    raw.send.send_reset(reason);
                    StatusCode::ABNORMAL_CLOSURE
                }
            };
            in_time(waiting).await.unwrap();
            let ending = in_time(conn.closed()).await;
            assert_eq!(ending.error.close_status(), Some(code), "{end:?}, {wait:?}");
            assert_eq!(in_time(conn.read()).await.unwrap(), Message::from("a"));
            let error = in_time(conn.read()).await.unwrap_err();
            assert_eq!(error.close_status(), Some(code), "{end:?}, {wait:?}");
        }
    }
}

/// How many messages of 1 KiB are sent: more than is read ahead.
const MANY: usize = 80;

/// Only a write shows the reset behind more than is read ahead. It is tried after a minute.
#[tokio::test(start_paused = true)]
async fn a_peer_that_has_gone_is_seen_behind_more_than_is_read_ahead() {
    for reason in [Some(Reason::CANCEL), Some(Reason::NO_ERROR), None] {
        let (mut raw, conn) = raw().await;
        let message = [&b"\x82\xfe\x04\0\0\0\0\0"[..], &[0; 1024]].concat();
        raw.send.send_data(message.repeat(MANY).into(), false).unwrap();
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { conn.closed().await }
        });
        // A reset drops what its side has not sent yet.
        sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
        assert!(!waiting.is_finished() && conn.stats().messages_in < MANY as u64);
        let _kept = match reason {
            Some(reason) => {
                raw.send.send_reset(reason);
                Some(raw)
            }
            None => {
                raw.cut().await;
                None
            }
        };
        let ending = timeout(Duration::from_secs(80), waiting).await.unwrap().unwrap();
        assert_eq!(ending.by, CloseInitiator::Transport, "{reason:?}");
        for _ in 0..MANY {
            assert_eq!(in_time(conn.read()).await.unwrap().len(), 1024, "{reason:?}");
        }
        let error = in_time(conn.read()).await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE), "{reason:?}");
    }
}

/// The peer answers pings of HTTP/2, and does not take what is written.
#[tokio::test(start_paused = true)]
async fn a_write_that_makes_no_progress_ends_the_connection_after_60_s() {
    let (mut raw, conn) = raw_with(Config::new().no_keepalive()).await;
    let began = Instant::now();
    let error = loop {
        if let Err(error) = conn.write(vec![0; 1024 * 1024]).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Timeout(Deadline::Write)), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), 60);
    drop(conn);
    // hyper 1.12 does not reset the stream (see the documentation of the crate). If one of these
    // fails, hyper has learned better, and the limit can go.
    let mut taken = 0;
    while let Ok(Some(data)) = timeout(Duration::from_secs(1), raw.receive.data()).await {
        taken += data.unwrap().len();
    }
    assert_eq!(taken, 65_535, "the window of the peer");
    raw.receive.flow_control().release_capacity(taken).unwrap();
    while let Some(data) = in_time(raw.receive.data()).await {
        let more = data.unwrap().len();
        raw.receive.flow_control().release_capacity(more).unwrap();
        taken += more;
    }
    assert!(taken <= 65_535 + 4 * 32 * 1024, "{taken}");
}

#[tokio::test]
async fn a_clean_close_ends_the_stream_after_both_close_frames() {
    in_time(async {
        let (mut raw, conn) = raw().await;
        let closing = tokio::spawn({
            let conn = conn.clone();
            async move { conn.close(StatusCode::GOING_AWAY, "").await }
        });
        assert_eq!(&raw.receive.data().await.unwrap().unwrap()[..], b"\x88\x02\x03\xe9");
        raw.send.send_data(Bytes::from_static(b"\x88\x82\0\0\0\0\x03\xe9"), false).unwrap();
        closing.await.unwrap().unwrap();
        // The server ends its side first, without a reset.
        while let Some(data) = raw.receive.data().await {
            assert_eq!(data.unwrap(), Bytes::new());
        }
        raw.send.send_data(Bytes::new(), true).unwrap();
        assert!(conn.close_info().unwrap().is_clean());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_http2_pings_may_stay_idle() {
    let (mut raw, conn) = raw().await;
    sleep(Duration::from_secs(600)).await; // tidy: sleep is the subject
    conn.write("still here?").await.unwrap();
    assert_eq!(&raw.receive.data().await.unwrap().unwrap()[2..], b"still here?");
    raw.send.send_data(Bytes::from_static(b"\x81\x83\0\0\0\0yes"), false).unwrap();
    assert_eq!(conn.read().await.unwrap(), Message::from("yes"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_http2_pings_is_disconnected() {
    let (raw, conn) = raw().await;
    let _open = raw.freeze();
    let error = timeout(Duration::from_secs(100), conn.read()).await.unwrap().unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
}
