//! How does a connection end when its handler does, or when the server stops?

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Request;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use ws_core::Acceptor;
use ws_core::adapter::set_request;
use ws_core::handler::{ConnectionLimits, ConnectionTracker, DrainConfig, HandlerOutput};
use ws_core::handshake::Negotiated;
use ws_core::{
    AcceptError, AcceptOptions, CloseError, CloseInitiator, Config, Conn, Deadline, Error,
    PreparedMessage, Rejection, RequestInfo, Role, StatusCode, pair,
};

/// Runs a handler. Returns what its client has read.
async fn check<F, Fut>(options: AcceptOptions, handler: F, messages: &[&str], code: u16)
where
    F: FnOnce(Conn) -> Fut + Send + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let (client, server) = pair();
    set_request(&server, RequestInfo::default());
    let run = tokio::spawn(Acceptor::new(&options).admit().unwrap().run(server, handler));
    let mut read = Vec::new();
    let error = loop {
        match client.read().await {
            Ok(message) => read.push(message.as_text().unwrap().to_owned()),
            Err(error) => break error,
        }
    };
    let Error::Closed(CloseError { code: got, reason, .. }) = error else { panic!("{error}") };
    assert_eq!((got.as_u16(), reason.as_str()), (code, ""));
    assert_eq!(read, messages);
    run.await.unwrap();
}

#[tokio::test]
async fn a_handler_that_ends_closes_its_connection() {
    let new = AcceptOptions::new;
    check(new(), async |_| (), &[], 1000).await;
    check(new(), async |conn| conn.write("bye").await, &["bye"], 1000).await;
    check(new(), async |_| Err::<(), _>("a secret"), &[], 1011).await;
    check(new(), async |_| Err::<(), _>(io::Error::other("a secret")), &[], 1011).await;
    let closes = async |conn: Conn| conn.close(StatusCode::POLICY_VIOLATION, "").await;
    check(new(), closes, &[], 1008).await;
}

#[tokio::test]
async fn a_panic_closes_with_1011_and_tells_the_peer_nothing() {
    async fn fails(_: Conn) {
        panic!("a secret");
    }
    check(AcceptOptions::new(), fails, &[], 1011).await;
    // The call itself can panic, not only its future.
    let early = |_| -> std::future::Ready<()> { panic!("a secret") };
    check(AcceptOptions::new(), early, &[], 1011).await;
    // A payload other than text, behind a written message.
    let strange = async |conn: Conn| -> Result<(), Infallible> {
        conn.write("hello").await.unwrap();
        std::panic::panic_any(7_u8)
    };
    check(AcceptOptions::new(), strange, &["hello"], 1011).await;
}

#[tokio::test]
async fn the_hook_of_a_panic_sees_it_and_may_still_write() {
    let options = AcceptOptions::new().on_panic(|panicked| async move {
        assert_eq!(panicked.message(), Some("the cause"));
        assert!(panicked.request.is_some());
        let trace = panicked.backtrace.as_ref().unwrap().to_string();
        assert!(trace.contains("handlers"), "{trace}");
        panicked.conn.write("sorry").await.unwrap();
    });
    check(options, async |_| -> () { panic!("the {}", "cause") }, &["sorry"], 1011).await;
    let options = AcceptOptions::new().on_panic(|panicked| async move {
        panicked.conn.write("sorry").await.unwrap();
        panic!("again");
    });
    check(options, async |_| -> () { panic!("first") }, &["sorry"], 1011).await;
}

/// A transport that panics the first times it is written to.
struct Panics {
    io: DuplexStream,
    left: usize,
}

impl AsyncRead for Panics {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Panics {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            panic!("a transport of an application");
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A server's connection over a transport that panics, and the peer's end of the stream.
fn panics(left: usize) -> (Conn, DuplexStream) {
    let (io, there) = duplex(64);
    let (negotiated, config) = (Negotiated::default(), Config::new().no_keepalive());
    let here = Panics { io, left };
    (Conn::from_stream(here, Role::Server, negotiated, Bytes::new(), config), there)
}

/// The answer to the peer's close frame panics, so the closing handshake is not complete.
#[tokio::test]
async fn a_connection_whose_transport_has_panicked_still_ends() {
    let (conn, mut peer) = panics(usize::MAX);
    peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    let reading = conn.clone();
    assert!(tokio::spawn(async move { reading.read().await }).await.unwrap_err().is_panic());
    assert!(conn.close_info().is_none());
    drop(peer);
    assert_eq!(conn.closed().await.by, CloseInitiator::Transport);
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_transport_has_panicked_has_a_deadline() {
    let (conn, _peer) = panics(1);
    let closing = conn.clone();
    let closing = async move { closing.close(StatusCode::NORMAL_CLOSURE, "").await };
    assert!(tokio::spawn(closing).await.unwrap_err().is_panic());
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
    assert!(matches!(closed, Err(Error::Timeout(Deadline::Close))), "{closed:?}");
}

/// The task that flushes panics, and the connection is still in use.
#[tokio::test]
async fn deferred_writes_are_flushed_after_a_transport_has_panicked() {
    let (conn, mut peer) = panics(1);
    for message in ["a", "b"] {
        conn.write_prepared(&PreparedMessage::new(message)).await.unwrap();
        quiet().await;
    }
    let mut received = [0; 6];
    peer.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"\x81\x01a\x81\x01b");
}

/// Dropping the connection writes the rest. A second panic during the first would abort the
/// process.
#[tokio::test]
async fn a_transport_that_panics_ends_its_tasks_and_not_the_process() {
    let (conn, _peer) = panics(usize::MAX);
    assert!(tokio::spawn(async move { conn.write("x").await }).await.unwrap_err().is_panic());
    let (conn, _peer) = panics(usize::MAX);
    let closing = async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await };
    assert!(tokio::spawn(closing).await.unwrap_err().is_panic());
    // Their background tasks have run by then.
    quiet().await;
}

async fn quiet() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bare_stream_is_served_to_its_end() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker).keep_request(false);
    let (mut here, there) = duplex(4096);
    here.write_all(request.as_bytes()).await.unwrap();
    let handler = async |conn: Conn| {
        assert!(conn.request().is_none());
        conn.write("hi").await
    };
    let (served, answer) = tokio::join!(Acceptor::new(&options).serve(there, handler), async {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x81\x02hi\x88\x02\x03\xe8") {
            answer.push(here.read_u8().await.unwrap());
        }
        here.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        answer
    });
    served.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert_eq!((tracker.counts().open, tracker.counts().ended), (0, 1));

    // No connection is accepted any more.
    assert!(!tracker.is_closed());
    tracker.close();
    assert!(tracker.is_closed());
    let (mut here, there) = duplex(4096);
    here.write_all(request.as_bytes()).await.unwrap();
    let refused = Acceptor::new(&options).accept(there).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Rejected(Rejection::ShuttingDown)), "{refused}");
    let mut answer = [0; 12];
    here.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test]
async fn a_request_is_kept_until_it_is_taken_and_the_address_of_the_client_stays() {
    let (_client, server) = pair();
    assert!(server.request().is_none() && server.take_request().is_none());
    let addr = Some(([127, 0, 0, 1], 80).into());
    let mut request = RequestInfo::default();
    request.peer_addr = addr;
    set_request(&server, request);
    assert!(server.request().is_some() && server.request().is_some());
    assert!(server.take_request().is_some());
    assert!(server.request().is_none() && server.take_request().is_none());
    assert_eq!(server.peer_addr(), addr);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_request_is_an_error() {
    let (mut here, there) = duplex(4096);
    here.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    drop(here);
    let error = Acceptor::new(&AcceptOptions::new()).accept(there).await.unwrap_err();
    let AcceptError::Io(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_deadline_unless_it_is_disabled() {
    const HOUR: Duration = Duration::from_secs(3600);
    let options = AcceptOptions::new();
    for (options, seconds) in [
        (options.clone(), Some(10)),
        (options.clone().handshake_timeout(Duration::from_secs(3)), Some(3)),
        (options.no_handshake_timeout(), None),
    ] {
        let (_here, there) = duplex(4096);
        let began = Instant::now();
        let acceptor = Acceptor::new(&options);
        let accepted = tokio::time::timeout(HOUR, acceptor.accept(there)).await;
        assert_eq!(began.elapsed(), seconds.map_or(HOUR, Duration::from_secs));
        match accepted {
            Ok(Err(AcceptError::Rejected(Rejection::Timeout))) => assert!(seconds.is_some()),
            Err(_) => assert_eq!(seconds, None),
            Ok(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_opens_during_a_drain_is_closed_before_its_handler() {
    let tracker = ConnectionTracker::new();
    let acceptor = Acceptor::new(&AcceptOptions::new().tracker(&tracker));
    let admitted = acceptor.admit().unwrap();
    let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(60)));
    let (client, server) = pair();
    let opens = async {
        // The drain has begun.
        tokio::task::yield_now().await;
        let handler = async |_: Conn| -> () { unreachable!() };
        tokio::join!(admitted.run(server, handler), client.closed()).1
    };
    let (counts, ending) = tokio::join!(drain, opens);
    assert_eq!(ending.received.unwrap().code, StatusCode::GOING_AWAY);
    assert_eq!((counts.open, counts.notified, counts.aborted), (0, 1, 0));
}

#[tokio::test]
async fn a_connection_without_a_handler_counts_until_it_is_gone() {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let (client, server) = pair();
    Acceptor::new(&options).admit().unwrap().release(&server);
    assert_eq!(tracker.counts().open, 1);
    let other = server.clone();
    drop(server);
    let drained = tokio::spawn({
        let tracker = tracker.clone();
        async move { tracker.drain(DrainConfig::timeout(Duration::from_secs(60))).await }
    });
    let error = client.read().await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    assert!(other.closed().await.is_clean());
    drop(other);
    let counts = drained.await.unwrap();
    assert_eq!((counts.open, counts.ended, counts.notified, counts.aborted), (0, 1, 1, 0));
}

/// A handshake that is refused, and one whose transport never arrives.
#[tokio::test]
async fn what_was_never_open_has_not_ended() {
    let tracker = ConnectionTracker::new();
    let counts = || (tracker.counts().open, tracker.counts().ended);
    let options = AcceptOptions::new().tracker(&tracker);
    let request = Request::get("/").body(()).unwrap();
    let limits = ConnectionLimits::new().connections(0);
    let full = Acceptor::new(&options.clone().limits(&limits));
    assert_eq!(full.admit_request(&request).unwrap_err(), Rejection::TooManyConnections);
    assert_eq!(counts(), (0, 0));
    let acceptor = Acceptor::new(&options);
    let opening = acceptor.admit_request(&request).unwrap();
    assert_eq!(counts(), (1, 0));
    drop(opening);
    assert_eq!(counts(), (0, 0));
    // A session has no connection, and ends nevertheless.
    let session = acceptor.admit_request(&request).unwrap();
    assert_eq!(session.run_session(async { counts() }).await, Some((1, 0)));
    assert_eq!(counts(), (0, 1));
    let dropped = acceptor.admit_request(&request).unwrap().run_session(pending::<()>());
    assert!(dropped.now_or_never().is_none());
    assert_eq!(counts(), (0, 2));
}

/// The behaviour of a client.
#[derive(Clone, Copy, PartialEq)]
enum Client {
    /// Reads and answers the close frame.
    Polite,
    /// A stream that nothing reads.
    Deaf,
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_are_drained_and_the_deaf_ones_cut() {
    const ALL: usize = 1000;
    const DEAF: usize = 30;
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let finished = Arc::new(AtomicUsize::new(0));
    let (mut handlers, mut clients, mut deaf) = (JoinSet::new(), JoinSet::new(), Vec::new());
    for number in 0..ALL {
        let (there, here) = duplex(1024);
        let connect = |io, role| {
            Conn::from_stream(io, role, Negotiated::default(), Bytes::new(), Config::new())
        };
        let server = connect(here, Role::Server);
        let finished = Arc::clone(&finished);
        handlers.spawn(Acceptor::new(&options).admit().unwrap().run(
            server,
            async move |conn: Conn| {
                while conn.read().await.is_ok() {}
                finished.fetch_add(1, SeqCst);
            },
        ));
        match if number < DEAF { Client::Deaf } else { Client::Polite } {
            Client::Deaf => deaf.push(there),
            Client::Polite => {
                let client = connect(there, Role::Client);
                clients.spawn(async move {
                    let error = client.read().await.unwrap_err();
                    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
                });
            }
        }
    }
    // A handler that does not read and never ends.
    let (_busy, server) = pair();
    let busy = tokio::spawn(
        Acceptor::new(&options).admit().unwrap().run(server, async |_| pending::<()>().await),
    );
    // A connection whose transport has not arrived.
    let waiting = Acceptor::new(&options).admit().unwrap();
    let waiting = tokio::spawn(async move { waiting.wait(pending::<()>()).await });

    let began = Instant::now();
    let drain = DrainConfig::timeout(Duration::from_secs(3)).batch(100, Duration::from_millis(50));
    let draining = tracker.clone();
    let draining = tokio::spawn(async move { draining.drain(drain).await });
    // The counts advance: the last are notified long after the first have ended.
    while clients.len() > ALL / 2 {
        clients.join_next().await.unwrap().unwrap();
    }
    let counts = tracker.counts();
    assert!(counts.notified >= 400 && counts.notified < ALL, "{counts:?}");
    assert_eq!(Acceptor::new(&options).admit().unwrap_err(), Rejection::ShuttingDown);
    clients.join_all().await;
    let counts = draining.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(counts.notified, ALL + 1);
    assert_eq!((counts.open, counts.ended, counts.aborted), (0, ALL + 1, DEAF + 2), "{counts:?}");
    assert_eq!(waiting.await.unwrap(), None);
    busy.await.unwrap();
    handlers.join_all().await;
    // The handlers of unresponsive clients have ended too. Only their closing was aborted.
    assert_eq!(finished.load(SeqCst), ALL);
}

#[tokio::test]
async fn running_a_handler_takes_little_memory() {
    let (_client, server) = pair();
    let handler = async |conn: Conn| conn.read().await.map(drop);
    let acceptor = Acceptor::new(&AcceptOptions::new());
    // The future of the handler and that of the handshake are in allocations of their own.
    let serve = acceptor.serve(duplex(64).0, handler);
    let run = acceptor.admit().unwrap().run(server, handler);
    let bytes = size_of_val(&serve).max(size_of_val(&run));
    assert!(bytes <= 104, "{bytes}");
}
