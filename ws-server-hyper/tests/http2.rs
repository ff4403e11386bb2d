//! What is a WebSocket over HTTP/2, from its beginning to each of its ends?
#![cfg(test)]

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, select};
use h2::Reason;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use ws_server_hyper::{
    AcceptOptions, CloseError, CloseInitiator, Compression, Config, Conn, Error, Message,
    StatusCode, TestClient, TestError,
};

/// A service that hands out its connections.
fn service(
    options: AcceptOptions,
) -> (
    impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone,
    mpsc::UnboundedReceiver<Conn>,
) {
    let (sender, conns) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request| {
        let answer = match ws_server_hyper::accept(&mut request, &options) {
            Ok((response, upgrade)) => {
                let sender = sender.clone();
                tokio::spawn(upgrade.map(move |conn| sender.send(conn.unwrap())));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        async { Ok(answer) }
    });
    (service, conns)
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), run).await.unwrap()
}

#[tokio::test]
async fn messages_go_both_ways_compressed_and_piece_by_piece() {
    let compression = Compression::context_takeover();
    let options = AcceptOptions::new().subprotocols(["chat"]).compression(compression);
    let (service, mut conns) = service(options);
    let client = TestClient::new(service).http2();
    in_time(async {
        let request = client.websocket("/chat?room=1").header("cookie", "who=ann");
        let here = request.subprotocols(["chat"]).compression(compression).connect().await;
        let (here, there) = (here.unwrap(), conns.recv().await.unwrap());
        for conn in [&here, &there] {
            assert_eq!(conn.subprotocol(), Some("chat"));
            assert!(conn.is_compressed());
        }
        let request = there.request().unwrap();
        assert_eq!(request.query("room").as_deref(), Some("1"));
        assert_eq!(request.cookie("who"), Some("ann"));
        for size in [0, 10, 100_000, 900_000] {
            let text = "The same text. ".repeat(size / 15);
            let (sent, read) = tokio::join!(here.write(text.as_str()), there.read());
            sent.unwrap();
            let (sent, read) = tokio::join!(there.write(read.unwrap()), here.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from(text));
        }
        // The polite end: close frames, and then the end of the stream.
        let (closed, read) =
            tokio::join!(here.close(StatusCode::NORMAL_CLOSURE, "bye"), there.read());
        closed.unwrap();
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::NORMAL_CLOSURE));
        assert!(there.closed().await.is_clean());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_the_connection_goes_on() {
    let (service, mut conns) = service(AcceptOptions::new());
    let client = TestClient::new(service).http2();
    in_time(async {
        let foreign = client.websocket("/").header("origin", "https://evil.example").connect();
        let Err(TestError::Refused(answer)) = foreign.await else { panic!("not refused") };
        assert_eq!((answer.status().as_u16(), &answer.body()[..9]), (403, &b"this `Ori"[..]));
        let conn = client.websocket("/").header("origin", "http://localhost").connect().await;
        conn.unwrap().write("hi").await.unwrap();
        assert_eq!(conns.recv().await.unwrap().read().await.unwrap(), Message::from("hi"));
    })
    .await;
}

#[tokio::test]
async fn a_slow_socket_stalls_none_of_the_others() {
    let (service, mut conns) = service(AcceptOptions::new());
    let client = TestClient::new(service).http2();
    in_time(async {
        let mut slow = Vec::new();
        for _ in 0..20 {
            let here = client.websocket("/").connect().await.unwrap();
            let there = conns.recv().await.unwrap();
            let writer = here.clone();
            // More than what one stream may have unread; it waits for ever.
            let writing = tokio::spawn(async move { writer.write(vec![0; 900_000]).await });
            slow.push((here, there, writing));
        }
        for _ in 0..20 {
            let here = client.websocket("/").connect().await.unwrap();
            let there = conns.recv().await.unwrap();
            let big = vec![1; 200_000];
            let (sent, read) = tokio::join!(here.write(big.clone()), there.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from(big));
            let (sent, read) = tokio::join!(there.write("answer"), here.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), Message::from("answer"));
        }
        // They were slow, and not broken.
        for (_here, there, writing) in slow {
            assert_eq!(there.read().await.unwrap().into_bytes().len(), 900_000);
            writing.await.unwrap().unwrap();
        }
    })
    .await;
}

/// A raw client, with the stream of one WebSocket.
struct Raw {
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
    freeze: oneshot::Sender<()>,
}

impl Raw {
    async fn connect(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (client, connection) = h2::client::handshake(io).await.unwrap();
        let (freeze, frozen) = oneshot::channel::<()>();
        tokio::spawn(async move {
            // Frozen, it keeps its end of the transport, and does nothing with it.
            let mut connection = pin!(connection);
            if let Either::Right((Ok(()), _)) = select(connection.as_mut(), frozen).await {
                pending::<()>().await;
            }
            let _ = connection.await;
        });
        let mut client = client.ready().await.unwrap();
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::connect("http://localhost/")
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (answer, send) = client.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        Self { send, receive: answer.into_body(), freeze }
    }
}

async fn raw() -> (Raw, Conn) {
    let config = Config::new().close_timeout(Duration::from_secs(20)).no_keepalive();
    let (service, mut conns) = service(AcceptOptions::new().config(config));
    let (here, there) = duplex(64 * 1024);
    tokio::spawn(async move {
        let server = ws_server_hyper::server();
        server.serve_connection_with_upgrades(TokioIo::new(there), service).await.map_err(drop)
    });
    let raw = Raw::connect(here).await;
    (raw, conns.recv().await.unwrap())
}

/// Checks that the connection has ended as its stream was reset, with its cause.
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
    // Of these, hyper does not always know the words.
    (Reason::CANCEL, "the stream was reset: "),
    (Reason::NO_ERROR, "the stream was reset: "),
];

/// Which of hyper's tasks sees a reset first is up to the scheduler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_ends_with_1006_and_the_cause() {
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
async fn a_reset_has_its_cause_for_who_reads_when_a_writer_has_met_it() {
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
async fn a_reset_has_its_cause_while_bytes_wait_that_nobody_takes() {
    for (reason, cause) in [RESETS; 10].as_flattened() {
        in_time(async {
            let (mut raw, conn) = raw().await;
            // More than the peer lets in.
            conn.write(vec![0; 1024 * 1024]).await.unwrap();
            raw.send.send_reset(*reason);
            check_reset(&conn, cause).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_and_reads_nothing_is_not_waited_for() {
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
async fn a_stream_that_ends_without_a_close_frame_is_1006() {
    in_time(async {
        let (mut raw, conn) = raw().await;
        raw.send.send_data(Bytes::new(), true).unwrap();
        let error = conn.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    })
    .await;
}

#[tokio::test]
async fn the_polite_end_is_the_end_of_the_stream_behind_both_close_frames() {
    in_time(async {
        let (mut raw, conn) = raw().await;
        let closing = tokio::spawn({
            let conn = conn.clone();
            async move { conn.close(StatusCode::GOING_AWAY, "").await }
        });
        assert_eq!(&raw.receive.data().await.unwrap().unwrap()[..], b"\x88\x02\x03\xe9");
        raw.send.send_data(Bytes::from_static(b"\x88\x82\0\0\0\0\x03\xe9"), false).unwrap();
        closing.await.unwrap().unwrap();
        // The server says first that it is done, and no reset follows.
        while let Some(data) = raw.receive.data().await {
            assert_eq!(data.unwrap(), Bytes::new());
        }
        raw.send.send_data(Bytes::new(), true).unwrap();
        assert!(conn.close_info().unwrap().is_clean());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_may_be_silent_for_long() {
    let (mut raw, conn) = raw().await;
    sleep(Duration::from_secs(600)).await; // tidy: sleep is the subject
    conn.write("still here?").await.unwrap();
    assert_eq!(&raw.receive.data().await.unwrap().unwrap()[2..], b"still here?");
    raw.send.send_data(Bytes::from_static(b"\x81\x83\0\0\0\0yes"), false).unwrap();
    assert_eq!(conn.read().await.unwrap(), Message::from("yes"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_word_is_let_go() {
    let (raw, conn) = raw().await;
    raw.freeze.send(()).unwrap();
    let error = timeout(Duration::from_secs(100), conn.read()).await.unwrap().unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
}
