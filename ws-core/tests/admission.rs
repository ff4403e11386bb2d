//! Which connections count for a server, for how long, and which may stay when it stops?

use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_core::Acceptor;
use ws_core::handler::{ConnectionGuard, ConnectionLimits, ConnectionTracker, DrainConfig};
use ws_core::{AcceptError, AcceptOptions, Attributes, CloseInitiator, Conn, Rejection, pair};

type Meddle = fn(ConnectionGuard, &Conn) -> Option<Attributes>;

/// Checks that a connection counts while it has a handle, and no longer, whatever the application does
/// with its attributes.
#[track_caller]
fn check_counts(what: &str, meddle: Meddle) {
    let tracker = ConnectionTracker::new();
    let limits = ConnectionLimits::new().connections(1);
    let acceptor = Acceptor::new(&AcceptOptions::new().tracker(&tracker).limits(&limits));
    let request = Request::get("/").body(()).unwrap();
    let admit = || acceptor.admit_request(&request);
    let counts = || (tracker.counts().open, tracker.counts().ended);
    let (_client, server) = pair();
    let kept = meddle(admit().unwrap(), &server);
    assert_eq!(counts(), (1, 0), "{what}");
    assert_eq!(admit().unwrap_err(), Rejection::TooManyConnections, "{what}");
    drop(server);
    assert_eq!(counts(), (0, 1), "{what}");
    assert!(admit().is_ok(), "{what}");
    drop(kept);
}

#[tokio::test]
async fn a_connection_counts_until_it_is_gone_whatever_its_application_does_with_the_attributes() {
    check_counts("left alone", |guard, conn| {
        guard.release(conn);
        None
    });
    check_counts("cleared", |guard, conn| {
        guard.release(conn);
        conn.attributes().clear();
        None
    });
    check_counts("sealed", |guard, conn| {
        guard.release(conn);
        conn.attributes().seal();
        None
    });
    check_counts("sealed before", |guard, conn| {
        conn.attributes().seal();
        guard.release(conn);
        None
    });
    check_counts("cloned", |guard, conn| {
        guard.release(conn);
        conn.attributes().insert(1_u8);
        Some(conn.attributes().clone())
    });
}

#[tokio::test]
async fn a_connection_of_two_trackers_counts_in_both_until_it_is_gone() {
    let trackers = [ConnectionTracker::new(), ConnectionTracker::new()];
    let open = || trackers.each_ref().map(|tracker| tracker.counts().open);
    let (_client, server) = pair();
    for tracker in &trackers {
        let acceptor = Acceptor::new(&AcceptOptions::new().tracker(tracker));
        acceptor.admit().unwrap().release(&server);
    }
    assert_eq!(open(), [1, 1]);
    drop(server);
    assert_eq!(open(), [0, 0]);
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn second() -> DrainConfig {
    DrainConfig::timeout(Duration::from_secs(1))
}

/// The client reads nothing, and its stream takes a part of the response.
#[tokio::test(start_paused = true)]
async fn no_handshake_on_a_bare_stream_outlives_the_timeout_of_a_drain() {
    for is_served in [false, true] {
        let tracker = ConnectionTracker::new();
        let options = AcceptOptions::new().tracker(&tracker).no_handshake_timeout();
        let acceptor = Acceptor::new(&options);
        let (mut client, server) = duplex(64);
        let accepting = tokio::spawn(async move {
            match is_served {
                true => acceptor.serve(server, async |_: Conn| -> () { unreachable!() }).await,
                false => acceptor.accept(server).await.map(drop),
            }
        });
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        while tracker.counts().open == 0 {
            yield_now().await;
        }
        let counts = tracker.drain(second()).await;
        assert_eq!((counts.open, counts.ended, counts.aborted), (0, 0, 1), "{is_served}");
        match accepting.await.unwrap() {
            Ok(()) => assert!(is_served),
            Err(AcceptError::Io(error)) => {
                assert_eq!((error.kind(), is_served), (io::ErrorKind::ConnectionAborted, false));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_opens_after_the_timeout_of_a_drain_is_aborted_at_once() {
    for is_run in [false, true] {
        let tracker = ConnectionTracker::new();
        let acceptor = Acceptor::new(&AcceptOptions::new().tracker(&tracker));
        let admitted = acceptor.admit().unwrap();
        assert_eq!(tracker.drain(second()).await.open, 1);
        let (_client, server) = pair();
        if is_run {
            let run = admitted.run(server.clone(), async |_| -> () { unreachable!() });
            assert!(run.now_or_never().is_some());
        } else {
            admitted.release(&server);
        }
        let end = server.close_info().expect("it has ended");
        assert_eq!((end.by, end.sent), (CloseInitiator::Local, None), "{is_run}");
        drop(server);
        let counts = tracker.counts();
        assert_eq!((counts.open, counts.ended), (0, 1), "{is_run}");
        assert_eq!((counts.notified, counts.aborted), (0, 1), "{is_run}");
    }
}

/// Two drains of a connection that its application keeps, and of an upgrade that does not end.
async fn check_once(what: &str, drains: impl AsyncFnOnce(&ConnectionTracker)) {
    let tracker = ConnectionTracker::new();
    let acceptor = Acceptor::new(&AcceptOptions::new().tracker(&tracker));
    let (_client, server) = pair();
    acceptor.admit().unwrap().release(&server);
    let _upgrade = acceptor.admit().unwrap();
    drains(&tracker).await;
    let counts = tracker.counts();
    assert_eq!((counts.open, counts.notified, counts.aborted), (2, 1, 2), "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_counts_once_however_often_it_is_drained() {
    check_once("again after the timeout", async |tracker| {
        tracker.drain(second()).await;
        tracker.drain(second()).await;
    })
    .await;
    check_once("again after the first was dropped", async |tracker| {
        let minute = DrainConfig::timeout(Duration::from_secs(60));
        timeout(Duration::from_secs(1), tracker.drain(minute)).await.unwrap_err();
        tracker.drain(second()).await;
    })
    .await;
    check_once("twice at a time", async |tracker| {
        tokio::join!(tracker.drain(second()), tracker.drain(second()));
    })
    .await;
}

/// Sends this on a bare stream. Returns why it is refused, after the client has read the response.
async fn refused(head: &[u8], options: AcceptOptions) -> Rejection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(head).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let error = Acceptor::new(&options).accept(server).await.unwrap_err();
    let AcceptError::Rejected(rejection) = error else { panic!("{error}") };
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, format!("HTTP/1.1 {}", rejection.status().as_str()).as_bytes());
    rejection
}

/// Checks why a head is refused, and that it counts for the limit of its client.
async fn check_refused(head: &[u8], options: AcceptOptions, expected: Rejection) {
    let limits = ConnectionLimits::new();
    assert_eq!(refused(head, options.clone().limits(&limits)).await, expected);
    let limits = limits.handshakes_per_second(0);
    let got = refused(head, options.limits(&limits)).await;
    assert_eq!(got, Rejection::TooManyHandshakes, "{expected}");
}

#[tokio::test]
async fn a_head_that_a_bare_stream_refuses_counts_as_a_handshake_of_its_client() {
    let options = AcceptOptions::new;
    check_refused(b"\0\r\n\r\n", options(), Rejection::HeadMalformed).await;
    check_refused(REQUEST.as_bytes(), options().head_limit(1024, 2), Rejection::HeadTooLarge).await;
    let late = options().handshake_timeout(Duration::ZERO);
    check_refused(b"GET / HTTP/1.1\r\n", late, Rejection::Timeout).await;
    let old = REQUEST.replace("Version: 13", "Version: 8");
    check_refused(old.as_bytes(), options(), Rejection::VersionUnsupported).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_request_makes_no_handshake() {
    let limits = ConnectionLimits::new().handshakes_per_second(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (server, _) = listener.accept().await.unwrap();
    let error = Acceptor::new(&AcceptOptions::new().limits(&limits)).accept(server).await;
    assert!(matches!(error, Err(AcceptError::Io(_))), "{error:?}");
}
