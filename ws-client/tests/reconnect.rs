//! Does `Reconnect` dial again, and does the send queue keep its guarantees?

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, poll};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use ws_client::reconnect::{
    Backoff, ConnectionFailure, ReconnectError, ReconnectEvents, ReconnectState, RetryDecision,
    SendQueueConfig, WhenFull,
};
use ws_client::{
    Codec, CodecError, Config, Conn, Decode, Dial, DialError, Encode, Error, Keepalive, Message,
    MessageType, Reconnect, ReconnectingConn, StatusCode,
};
use ws_core::Acceptor;
#[cfg(feature = "proto")]
use ws_core::codec::ProtobufCodec;
use ws_core::{AcceptOptions, RequestInfo};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A server that accepts connections when the test asks for them. It uses in-memory pipes, so that
/// the clock can be paused.
struct Server(mpsc::UnboundedReceiver<DuplexStream>);

impl Server {
    /// The server, and a `Reconnect` that dials it.
    fn new() -> (Self, Reconnect) {
        let (sender, streams) = mpsc::unbounded_channel();
        let reconnect = Reconnect::new(Dial::new("ws://example.com/")).dial_by(move |dial| {
            let sender = sender.clone();
            async move {
                let (ours, theirs) = duplex(64 * 1024);
                sender
                    .send(theirs)
                    .map_err(|_| io::ErrorKind::ConnectionRefused)
                    .map_err(io::Error::from)?;
                dial.connect_over(ours).await
            }
        });
        (Self(streams), reconnect)
    }

    async fn accept(&mut self) -> Conn {
        self.accept_with(&AcceptOptions::new()).await.unwrap()
    }

    async fn accept_with(&mut self, options: &AcceptOptions) -> Option<Conn> {
        let accepted =
            async { Acceptor::new(options).accept(self.0.recv().await.unwrap()).await.ok() };
        timeout(Duration::from_secs(3600), accepted).await.unwrap()
    }
}

async fn text(conn: &Conn) -> String {
    in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(HALF_A_MINUTE, run).await.unwrap()
}

/// A `Reconnect` whose attempts all fail, and their number.
fn nobody_there() -> (Reconnect, Arc<AtomicU32>) {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let reconnect = Reconnect::new(Dial::new("ws://example.com/")).dial_by(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) }
    });
    (reconnect, attempts)
}

/// The states up to the end, at most `count`.
async fn states(mut events: ReconnectEvents, count: usize) -> Vec<ReconnectState> {
    let mut states = Vec::new();
    while states.len() < count
        && let Some(state) = events.next().await
    {
        states.push(state);
    }
    states
}

fn waits(states: &[ReconnectState]) -> Vec<Duration> {
    let wait = |state: &ReconnectState| match state {
        ReconnectState::Waiting { wait, .. } => Some(*wait),
        _ => None,
    };
    states.iter().filter_map(wait).collect()
}

fn gave_up(error: &ReconnectError) -> &ConnectionFailure {
    match error {
        ReconnectError::GaveUp(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_have_jitter() {
    let mut all = Vec::new();
    for _ in 0..5 {
        let (reconnect, attempts) = nobody_there();
        let backoff = Backoff::new().first(Duration::from_secs(1)).max(Duration::from_secs(60));
        let began = Instant::now();
        let conn = reconnect.backoff(backoff).start();
        // Each attempt has two states: connecting and waiting.
        let waits = waits(&states(conn.events(), 2 * 20).await);
        for (number, wait) in waits.iter().enumerate() {
            let longest = Duration::from_secs(60.min(1 << number.min(10)));
            assert!((longest / 2..=longest).contains(wait), "{number}: {wait:?}");
        }
        // The announced waits are the real ones. The last wait has just begun.
        let waited: Duration = waits.iter().rev().skip(1).sum();
        let took = began.elapsed();
        assert!(took >= waited && took < waited + Duration::from_secs(1), "{took:?}, {waited:?}");
        assert_eq!(attempts.load(Ordering::Relaxed), 20);
        all.push(waits);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5, "two clients had the same waits");
}

#[tokio::test(start_paused = true)]
async fn backoff_applies_to_a_server_that_closes_at_once() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    let served = tokio::spawn(async move {
        let mut accepted = 0;
        let hour = Instant::now() + Duration::from_secs(3600);
        while Instant::now() < hour {
            server.accept().await.close_now();
            accepted += 1;
        }
        accepted
    });
    let accepted = served.await.unwrap();
    // One every 15 to 30 s, and some more in the beginning.
    assert!((100..260).contains(&accepted), "{accepted}");
    drop(conn);
}

#[tokio::test(start_paused = true)]
async fn backoff_restarts_after_a_connection_that_lasted() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    let mut events = conn.events();
    for _ in 0..5 {
        let peer = server.accept().await;
        conn.connected().await.unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        peer.close_now();
        let wait = loop {
            if let ReconnectState::Waiting { wait, .. } = events.next().await.unwrap() {
                break wait;
            }
        };
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_attempts_limits_failed_attempts_in_a_row() {
    for max in [0, 1, 3] {
        let (reconnect, attempts) = nobody_there();
        let error = reconnect.max_attempts(max).connect().await.unwrap_err();
        assert!(matches!(gave_up(&error), ConnectionFailure::Dial(_)));
        assert_eq!(attempts.load(Ordering::Relaxed), max.max(1));
    }
    // No attempt has failed when a connection is lost that has lasted.
    for max in [0, 1] {
        let (mut server, reconnect) = Server::new();
        let conn = reconnect.max_attempts(max).start();
        for _ in 0..3 {
            let peer = server.accept().await;
            conn.connected().await.unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
            peer.close_now();
        }
        server.accept().await;
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_are_not_retried() {
    let error = Reconnect::new(Dial::new("ftp://example.com")).connect().await.unwrap_err();
    assert!(
        matches!(gave_up(&error), ConnectionFailure::Dial(error) if matches!(**error, DialError::Url(_)))
    );

    let error = Reconnect::new(Dial::new("ws://example.com").subprotocols(["a b"])).connect().await;
    assert!(matches!(gave_up(&error.unwrap_err()), ConnectionFailure::Dial(_)));

    let (mut server, reconnect) = Server::new();
    let refusing = AcceptOptions::new().subprotocols(["chat"]).require_subprotocol();
    let (error, _) = tokio::join!(reconnect.connect(), server.accept_with(&refusing));
    assert!(gave_up(&error.unwrap_err()).to_string().contains("no connection"));

    let (mut server, reconnect) = Server::new();
    let (conn, peer) = tokio::join!(reconnect.connect(), server.accept());
    let conn = conn.unwrap();
    peer.write("the last").await.unwrap();
    let (closed, last) =
        tokio::join!(peer.close(StatusCode::POLICY_VIOLATION, "too loud"), conn.read());
    closed.unwrap();
    assert_eq!(last.unwrap(), Message::from("the last"));
    for _ in 0..2 {
        let error = conn.read().await.unwrap_err();
        assert_eq!(Error::close_status_in(&error), Some(StatusCode::POLICY_VIOLATION));
        let error = conn.write("more").await.unwrap_err();
        assert_eq!(Error::close_status_in(&error), Some(StatusCode::POLICY_VIOLATION));
    }
    assert!(matches!(conn.state(), ReconnectState::Ended(ReconnectError::GaveUp(_))));
    assert_eq!(states(conn.events(), 10).await.len(), 1);
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn classify_changes_the_retry_policy() {
    let (mut server, reconnect) = Server::new();
    let reconnect = reconnect.classify(|failure| match failure.close_status() {
        Some(StatusCode::NORMAL_CLOSURE) => RetryDecision::Retry,
        Some(StatusCode::GOING_AWAY) => RetryDecision::GiveUp,
        _ => failure.retry_decision(),
    });
    let conn = reconnect.start();
    for code in [StatusCode::NORMAL_CLOSURE, StatusCode::SERVICE_RESTART, StatusCode::GOING_AWAY] {
        let peer = server.accept().await;
        let _ = in_time(peer.close(code, "")).await;
    }
    assert_eq!(
        Error::close_status_in(&conn.read().await.unwrap_err()),
        Some(StatusCode::GOING_AWAY)
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // Seconds, a date that is far away, and one that has passed. An hour is the longest wait.
    for (after, expected) in [
        ("100", 100..=102),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600..=3602),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0..=2),
    ] {
        let reconnect =
            Reconnect::new(Dial::new("ws://example.com/")).dial_by(move |dial| async move {
                let (ours, mut theirs) = duplex(64 * 1024);
                tokio::spawn(async move {
                    let _ = theirs.read(&mut [0; 1024]).await;
                    let answer = format!(
                        "HTTP/1.1 503 Busy\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n"
                    );
                    theirs.write_all(answer.as_bytes()).await
                });
                dial.connect_over(ours).await
            });
        let conn = reconnect.start();
        let waits = waits(&states(conn.events(), 4).await);
        assert_eq!(waits.len(), 2, "{after}: {waits:?}");
        assert!(waits.iter().all(|wait| expected.contains(&wait.as_secs())), "{after}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_attempt_changes_each_request() {
    let (mut server, reconnect) = Server::new();
    let tokens = AtomicU32::new(0);
    let conn = reconnect
        .on_attempt(move |dial, attempt| {
            let token = tokens.fetch_add(1, Ordering::Relaxed);
            async move {
                match token {
                    1 => Err("no token to be had"),
                    _ => Ok(dial.header("x-token", format!("{token}, {attempt}"))),
                }
            }
        })
        .start();
    let token = |peer: &Conn| {
        let request: Arc<RequestInfo> = peer.request().unwrap();
        let tokens: Vec<_> = request.headers.get_all("x-token").iter().collect();
        assert_eq!(tokens.len(), 1);
        tokens[0].to_str().unwrap().to_owned()
    };
    let peer = server.accept().await;
    assert_eq!(token(&peer), "0, 1");
    peer.close_now();
    // The second attempt failed in the hook.
    assert_eq!(token(&server.accept().await), "2, 3");
    drop(conn);
}

#[tokio::test(start_paused = true)]
async fn on_connect_runs_first_on_each_connection() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect
        .on_connect(async |conn| {
            conn.write("subscribe").await?;
            match conn.read().await?.as_text() {
                Some("subscribed") => Ok(()),
                other => {
                    Err(Box::<dyn std::error::Error + Send + Sync>::from(format!("{other:?}")))
                }
            }
        })
        .start();
    conn.write("written before there is a connection").await.unwrap();
    for answer in ["subscribed", "not now", "subscribed"] {
        let peer = server.accept().await;
        assert_eq!(text(&peer).await, "subscribe");
        peer.write(answer).await.unwrap();
        peer.write("news").await.unwrap();
        if answer == "not now" {
            // The client drops the connection.
            in_time(peer.read()).await.unwrap_err();
            continue;
        }
        // A message that the hook has read is not read again.
        assert_eq!(in_time(conn.read()).await.unwrap(), Message::from("news"));
        if let Ok(Ok(message)) = timeout(Duration::from_secs(1), peer.read()).await {
            assert_eq!(message, Message::from("written before there is a connection"));
        }
        peer.close_now();
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_of_the_server_takes_precedence_over_a_failed_hook() {
    let (mut server, reconnect) = Server::new();
    let reconnect = reconnect.on_connect(async |conn| conn.read().await.map(drop));
    let (error, closed) = tokio::join!(reconnect.connect(), async {
        server.accept().await.close(StatusCode::POLICY_VIOLATION, "").await
    });
    closed.unwrap();
    assert!(matches!(gave_up(&error.unwrap_err()), ConnectionFailure::Ended(_)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_that_has_closed_the_connection_itself_is_retried() {
    type HookError = Box<dyn std::error::Error + Send + Sync>;
    type Hook = fn(Conn) -> futures::future::BoxFuture<'static, Result<(), HookError>>;
    let rows: [(&str, bool, Hook); 5] = [
        ("it closes with 1000", true, |conn| {
            Box::pin(async move {
                conn.close(StatusCode::NORMAL_CLOSURE, "").await?;
                Err("the login was refused".into())
            })
        }),
        ("it closes with 1008, and reads", true, |conn| {
            Box::pin(async move {
                conn.close(StatusCode::POLICY_VIOLATION, "").await?;
                conn.read().await?;
                Ok(())
            })
        }),
        ("it closes at once", true, |conn| {
            Box::pin(async move {
                conn.close_now();
                conn.closed().await;
                Err("the login was refused".into())
            })
        }),
        ("it cannot decode a message", true, |conn| {
            Box::pin(async move {
                conn.read_as::<Tens, u32>().await?;
                Ok(())
            })
        }),
        ("the server exceeds a limit", false, |conn| {
            Box::pin(async move {
                conn.set_read_limit(Some(1));
                conn.read().await?;
                Ok(())
            })
        }),
    ];
    for (what, is_retried, hook) in rows {
        let (mut server, reconnect) = Server::new();
        let conn = reconnect.on_connect(hook).start();
        let mut events = conn.events();
        let serving = async {
            let peer = server.accept().await;
            peer.write("no number").await.unwrap();
            while peer.read().await.is_ok() {}
        };
        let failing = async {
            while let Some(state) = events.next().await {
                match state {
                    ReconnectState::Waiting { failure, .. } => return (failure, true),
                    ReconnectState::Ended(error) => return (gave_up(&error).clone(), false),
                    _ => {}
                }
            }
            panic!("no failure");
        };
        let (failure, retried) = tokio::join!(in_time(failing), serving).0;
        assert_eq!(retried, is_retried, "{what}: {failure}");
        let is_of_hook = matches!(failure, ConnectionFailure::Hook(_));
        assert_eq!(is_of_hook, is_retried, "{what}: {failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn reading_continues_with_the_next_connection() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    let serving = async {
        for number in 0..5 {
            let peer = server.accept().await;
            for part in ["a", "b", "c"] {
                peer.write(format!("{number}{part}")).await.unwrap();
            }
            peer.flush().await.unwrap();
            peer.close_now();
        }
    };
    let reading = async {
        for number in 0..5 {
            for part in ["a", "b", "c"] {
                let message = in_time(conn.read()).await.unwrap();
                assert_eq!(message, Message::from(format!("{number}{part}")));
            }
        }
    };
    tokio::join!(serving, reading);
}

/// Nothing reads, so messages lie in front of the end. They are read after it.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_replaced_behind_unread_messages() {
    let ends: [fn(Conn); 2] = [|peer| peer.close_now(), drop];
    for messages in [1, 100] {
        for end in ends {
            let (mut server, reconnect) = Server::new();
            let conn = reconnect.start();
            let peer = server.accept().await;
            for number in 0..messages {
                peer.write(format!("first {number}")).await.unwrap();
            }
            peer.flush().await.unwrap();
            end(peer);
            // Waits for it without a read.
            let peer = server.accept().await;
            peer.write("second").await.unwrap();
            for number in 0..messages {
                let expected = Message::from(format!("first {number}"));
                assert_eq!(in_time(conn.read()).await.unwrap(), expected);
            }
            assert_eq!(in_time(conn.read()).await.unwrap(), Message::from("second"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_may_start_before_its_server() {
    use tokio::io::AsyncWriteExt as _;
    /// What a dial gets instead: an error, or the response of a proxy.
    type Missing = fn() -> Result<&'static str, DialError>;
    let rows: [(&str, Missing); 3] = [
        ("no listener", || Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())),
        ("no name", || Err(DialError::Dns(io::Error::other("not known").into()))),
        ("a proxy", || Ok("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")),
    ];
    for (what, missing) in rows {
        for is_awaited in [true, false] {
            let (sender, streams) = mpsc::unbounded_channel();
            let attempts = Arc::new(AtomicU32::new(0));
            let counter = Arc::clone(&attempts);
            let reconnect = Reconnect::new(Dial::new("ws://example.com/")).dial_by(move |dial| {
                let is_there = counter.fetch_add(1, Ordering::Relaxed) == 5;
                let sender = sender.clone();
                async move {
                    let (ours, mut theirs) = duplex(64 * 1024);
                    match is_there {
                        true => sender.send(theirs).unwrap(),
                        false => theirs.write_all(missing()?.as_bytes()).await.unwrap(),
                    }
                    dial.connect_over(ours).await
                }
            });
            let dialling = async {
                match is_awaited {
                    true => reconnect.connect().await.unwrap(),
                    false => reconnect.start(),
                }
            };
            let mut server = Server(streams);
            let (conn, peer) = tokio::join!(dialling, async {
                let peer = server.accept().await;
                peer.write("welcome").await.unwrap();
                peer
            });
            conn.write("hello").await.unwrap();
            assert_eq!(text(&peer).await, "hello", "{what}");
            assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("welcome"), "{what}");
            assert_eq!(attempts.load(Ordering::Relaxed), 6, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_queued_until_there_is_a_connection() {
    for queue in [SendQueueConfig::at_most_once(), SendQueueConfig::at_least_once()] {
        let (mut server, reconnect) = Server::new();
        let conn = reconnect.send_queue(queue).start();
        for number in 0..100 {
            conn.write(number.to_string()).await.unwrap();
        }
        let peer = server.accept().await;
        for number in 0..100 {
            assert_eq!(text(&peer).await, number.to_string());
        }
        let (flushed, _) = tokio::join!(conn.flush(), timeout(Duration::from_secs(9), peer.read()));
        flushed.unwrap();
        assert!(conn.undelivered().is_empty());
    }
}

/// Some of them find a connection that takes them, and others do not.
#[tokio::test(start_paused = true)]
async fn messages_keep_their_order_while_the_connection_is_full_and_not() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    let peer = server.accept().await;
    in_time(conn.connected()).await.unwrap();
    let filler = "x".repeat(8 * 1024);
    for round in 0..4 {
        for number in 0..40 {
            conn.write(format!("{round} {number} {filler}")).await.unwrap();
        }
        assert!(!conn.undelivered().is_empty(), "the connection is not full");
        for number in 0..40 {
            let received = in_time(text(&peer)).await;
            assert!(received.starts_with(&format!("{round} {number} ")), "{received:.9}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_messages_are_sent_again() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.send_queue(SendQueueConfig::at_least_once()).start();
    let peer = server.accept().await;
    conn.write("a").await.unwrap();
    conn.write("b").await.unwrap();
    assert_eq!(text(&peer).await, "a");
    // The peer has not read further, so it has not answered the ping.
    peer.close_now();
    assert_eq!(conn.undelivered().len(), 2);
    let peer = server.accept().await;
    assert_eq!(text(&peer).await, "a");
    assert_eq!(text(&peer).await, "b");
}

/// A codec for multiples of ten.
struct Tens;

impl Codec for Tens {
    type Error = std::num::ParseIntError;
    const WRITES: MessageType = MessageType::Text;

    fn reads(kind: MessageType) -> bool {
        kind == MessageType::Text
    }
}

impl Encode<u32> for Tens {
    fn encode(value: &u32) -> Result<Vec<u8>, Self::Error> {
        match value {
            // Invalid UTF-8.
            0 => Ok(vec![0xff]),
            value => Ok((value / 10).to_string().into()),
        }
    }
}

impl Decode<u32> for Tens {
    fn decode(payload: &[u8]) -> Result<u32, Self::Error> {
        String::from_utf8_lossy(payload).parse().map(|tens: u32| 10 * tens)
    }
}

#[tokio::test(start_paused = true)]
async fn codecs_work_and_an_invalid_value_does_not_close() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    conn.write_as::<Tens, _>(&420).await.unwrap();
    let error = conn.write_as::<Tens, _>(&0).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Codec(CodecError::Encode(_))), "{error:?}");
    let peer = server.accept().await;
    assert_eq!(text(&peer).await, "42");
    for message in ["42".into(), "no number".into(), Message::from(b"42"), "7".into()] {
        peer.write(message).await.unwrap();
    }
    assert_eq!(in_time(conn.read_as::<Tens, u32>()).await.unwrap(), 420);
    let error = in_time(conn.read_as::<Tens, u32>()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Codec(CodecError::Decode(_))), "{error:?}");
    let error = in_time(conn.read_as::<Tens, u32>()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Codec(CodecError::Type(_))), "{error:?}");
    assert_eq!(in_time(conn.read_as::<Tens, u32>()).await.unwrap(), 70);
    assert!(matches!(conn.state(), ReconnectState::Connected) && peer.close_info().is_none());
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_works() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    conn.write_json(&[1, 2]).await.unwrap();
    let peer = server.accept().await;
    assert_eq!(in_time(peer.read_json::<Vec<u8>>()).await.unwrap(), [1, 2]);
    peer.write("no json").await.unwrap();
    peer.write_json(&[3]).await.unwrap();
    let error = in_time(conn.read_json::<Vec<u8>>()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Codec(_)), "{error:?}");
    assert_eq!(in_time(conn.read_json::<Vec<u8>>()).await.unwrap(), [3]);
}

#[cfg(feature = "proto")]
#[tokio::test(start_paused = true)]
async fn protocol_buffers_work() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    conn.write_as::<ProtobufCodec, _>(&7_u32).await.unwrap();
    let peer = server.accept().await;
    assert_eq!(in_time(peer.read_as::<ProtobufCodec, u32>()).await.unwrap(), 7);
    peer.write("text").await.unwrap();
    peer.write_as::<ProtobufCodec, _>(&8_u32).await.unwrap();
    let error = in_time(conn.read_as::<ProtobufCodec, u32>()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Codec(_)), "{error:?}");
    assert_eq!(in_time(conn.read_as::<ProtobufCodec, u32>()).await.unwrap(), 8);
}

/// Before the first connection, the future of `connect` has the only handle.
#[tokio::test(start_paused = true)]
async fn dropping_connect_stops_the_attempts() {
    let (mut server, reconnect) = Server::new();
    {
        let mut connecting = pin!(reconnect.connect());
        let dialled = tokio::select! {
            biased;
            connected = &mut connecting => panic!("{connected:?}"),
            dialled = server.0.recv() => dialled,
        };
        assert!(dialled.is_some());
    }
    // The settings were dropped.
    assert!(in_time(server.0.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn states_are_a_stream_and_a_slow_reader_misses_the_oldest() {
    let (reconnect, _) = nobody_there();
    let conn = reconnect.max_attempts(100).start();
    let slow = conn.events();
    assert_eq!(format!("{slow:?}"), "ReconnectEvents(..)");
    let all: Vec<_> = conn.events().collect().await;
    // Connecting and waiting for each attempt; the last wait is replaced by the end.
    assert_eq!(all.len(), 200);
    let seen: Vec<_> = slow.collect().await;
    assert_eq!(seen.len(), 1 + 64, "the first state, and the last 64");
    assert!(matches!(seen.first(), Some(ReconnectState::Connecting { attempt: 1, .. })));
    assert!(matches!(seen.last(), Some(ReconnectState::Ended(ReconnectError::GaveUp(_)))));
    assert_eq!(format!("{:?}", &seen[1..]), format!("{:?}", &all[200 - 64..]));
}

#[tokio::test(start_paused = true)]
async fn a_full_send_queue_waits_refuses_or_drops() {
    let queue = SendQueueConfig::at_most_once().capacity(65 * 2);
    let start = |policy| nobody_there().0.send_queue(queue.when_full(policy)).start();
    let full = |conn: ReconnectingConn| async move {
        conn.write("1").await.unwrap();
        conn.try_write("2").unwrap();
        let tried = conn.try_write("3");
        let waited = timeout(Duration::from_secs(100), conn.write("4")).await;
        let kept: Vec<_> =
            conn.undelivered().iter().map(|it| it.as_text().unwrap().to_owned()).collect();
        (tried.is_ok(), waited.ok().map(|written| written.is_ok()), kept.join(""))
    };
    assert_eq!(full(start(WhenFull::Wait)).await, (false, None, "12".to_owned()));
    assert_eq!(full(start(WhenFull::Refuse)).await, (false, Some(false), "12".to_owned()));
    assert_eq!(full(start(WhenFull::DropOldest)).await, (true, Some(true), "34".to_owned()));

    // A waiting write continues when there is space.
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.send_queue(queue).start();
    let writing = tokio::spawn({
        let conn = conn.clone();
        async move {
            for number in 0..100 {
                conn.write(number.to_string()).await.unwrap();
            }
        }
    });
    let peer = server.accept().await;
    for number in 0..100 {
        assert_eq!(text(&peer).await, number.to_string());
    }
    in_time(writing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_works_in_every_state() {
    let code = StatusCode::GOING_AWAY;
    // Connecting: the server does not accept.
    let (_server, reconnect) = Server::new();
    let conn = reconnect.start();
    in_time(conn.close(code, "")).await.unwrap();
    // Waiting.
    let (reconnect, attempts) = nobody_there();
    let conn = reconnect.start();
    states(conn.events(), 2).await;
    in_time(conn.close(code, "")).await.unwrap();
    let before = attempts.load(Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(3600)).await;
    yield_now().await;
    assert_eq!(attempts.load(Ordering::Relaxed), before);
    // In a hook that never returns.
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.on_connect(|_| std::future::pending::<Result<(), Error>>()).start();
    let peer = server.accept().await;
    in_time(conn.close(code, "")).await.unwrap();
    in_time(peer.read()).await.unwrap_err();
    // Connected: queued messages are sent first.
    let (mut server, reconnect) = Server::new();
    let (conn, peer) = tokio::join!(reconnect.connect(), server.accept());
    let conn = conn.unwrap();
    conn.try_write("the last").unwrap();
    let (closed, again, ()) =
        tokio::join!(conn.close(code, "bye"), conn.close(code, "again"), async {
            assert_eq!(text(&peer).await, "the last");
            let error = peer.read().await.unwrap_err();
            assert_eq!(error.close_status(), Some(code));
        });
    closed.unwrap();
    again.unwrap();
    assert!(matches!(conn.read().await, Err(ReconnectError::Closed)));
    assert!(matches!(conn.write("more").await, Err(ReconnectError::Closed)));
    assert!(matches!(conn.connected().await, Err(ReconnectError::Closed)));
    assert!(matches!(
        states(conn.events(), 9).await[..],
        [ReconnectState::Ended(ReconnectError::Closed)]
    ));
}

/// A loop over `connected` and an operation that fails at once does not keep the task from running.
#[tokio::test(start_paused = true)]
async fn connected_returns_no_connection_that_closes_or_has_ended() {
    let (mut server, reconnect) = Server::new();
    let conn = reconnect.start();
    let pinging = conn.clone();
    let pings = tokio::spawn(async move {
        loop {
            match pinging.connected().await {
                Ok(conn) => while conn.ping().await.is_ok() {},
                Err(ended) => return ended,
            }
        }
    });
    server.accept().await.close_now();
    // This one does not answer the close frame at once.
    let peer = server.accept().await;
    peer.on_close(|_, _| false);
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "");
    // The loop ends before the connection does.
    let (ended, _) = tokio::join!(in_time(pings), closed);
    assert!(matches!(ended.unwrap(), ReconnectError::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_close_changes_nothing() {
    let (mut server, reconnect) = Server::new();
    let (conn, peer) = tokio::join!(reconnect.connect(), server.accept());
    let conn = conn.unwrap();
    let error = conn.close(StatusCode::ABNORMAL_CLOSURE, "").await.unwrap_err();
    assert!(matches!(error, Error::SendError(_)));
    conn.write("still here").await.unwrap();
    assert_eq!(text(&peer).await, "still here");
}

#[tokio::test(start_paused = true)]
async fn close_ends_all_waiting_calls() {
    let (reconnect, _) = nobody_there();
    let conn = reconnect.send_queue(SendQueueConfig::at_most_once().capacity(1)).start();
    conn.write("fills it").await.unwrap();
    let closing = async {
        yield_now().await;
        conn.close(StatusCode::NORMAL_CLOSURE, "").await
    };
    let all = async {
        tokio::join!(conn.read(), conn.write("waits"), conn.flush(), conn.connected(), closing)
    };
    let (read, written, flushed, connected, closed) = in_time(all).await;
    assert!(matches!(read, Err(ReconnectError::Closed)));
    assert!(matches!(written, Err(ReconnectError::Closed)));
    assert!(matches!(flushed, Err(ReconnectError::Closed)));
    assert!(matches!(connected, Err(ReconnectError::Closed)));
    closed.unwrap();
    assert_eq!(conn.undelivered().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_connection() {
    let (mut server, reconnect) = Server::new();
    let (conn, peer) = tokio::join!(reconnect.connect(), server.accept());
    let conn = conn.unwrap();
    let events = conn.events();
    conn.try_write("the last").unwrap();
    drop(conn);
    assert_eq!(text(&peer).await, "the last");
    let error = in_time(peer.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    assert!(matches!(
        states(events, 9).await[..],
        [ReconnectState::Connected, ReconnectState::Ended(ReconnectError::Closed)]
    ));
    // The task has ended, and the settings were dropped.
    assert!(in_time(server.0.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_hook_stops_the_task() {
    let (reconnect, _) = nobody_there();
    let conn = reconnect
        .on_attempt(|_, _| async { panic!("the hook") as Result<Dial, Infallible> })
        .start();
    assert!(matches!(in_time(conn.read()).await, Err(ReconnectError::Stopped)));
    in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
}

#[test]
fn dropping_the_runtime_stops_the_task() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let conn = first.block_on(async { nobody_there().0.start() });
    drop(first);
    let read = runtime().block_on(async { in_time(conn.read()).await });
    assert!(matches!(read, Err(ReconnectError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn keepalive_detects_a_silent_server() {
    let check = async |dial: Dial, found: bool| {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&attempts);
        let reconnect = Reconnect::new(dial).dial_by(move |dial| {
            let (ours, mut near) = duplex(64 * 1024);
            let (mut far, theirs) = duplex(64 * 1024);
            let kept = Arc::clone(&kept);
            async move {
                let options = AcceptOptions::new().config(Config::new().no_keepalive());
                let handshake = async {
                    tokio::join!(dial.connect_over(ours), Acceptor::new(&options).accept(theirs))
                };
                // After the handshake, nothing passes between the two.
                let (conn, peer) = tokio::select! {
                    both = handshake => both,
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => unreachable!(),
                };
                kept.lock().unwrap().push((peer.unwrap(), near, far));
                conn
            }
        });
        let conn = reconnect.start();
        let reading = timeout(Duration::from_secs(300), conn.read()).await;
        assert!(reading.is_err());
        assert_eq!(attempts.lock().unwrap().len() > 1, found);
    };
    let dial = || Dial::new("ws://example.com");
    check(dial(), true).await;
    let config = Config::new();
    check(dial().config(config.clone().keepalive(Keepalive::default())), true).await;
    check(dial().config(config.no_keepalive()), false).await;
}

/// Polls a future up to `polls` times and drops it. Returns its output, if any.
async fn poll_and_drop<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

#[tokio::test]
async fn every_future_may_be_dropped_at_any_poll() {
    let (mut server, reconnect) = Server::new();
    let backoff = Backoff::new().first(Duration::ZERO).max(Duration::ZERO);
    let queue = SendQueueConfig::at_least_once().capacity(5 * 66);
    let conn = reconnect.backoff(backoff).send_queue(queue).start();
    // Echoes seven messages on each connection, and closes it.
    tokio::spawn(async move {
        while let Some(stream) = server.0.recv().await {
            let peer = Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
            for _ in 0..7 {
                let Ok(message) = peer.read().await else { break };
                let _ = peer.write(message).await;
            }
            peer.close_now();
        }
    });
    let (mut taken, mut received) = (Vec::new(), Vec::new());
    // The number of rounds depends on the clock, since the backoff waits.
    let mut round = 0;
    while taken.len() <= 100 || received.len() <= 100 {
        round += 1;
        assert!(round < 1_000_000, "{} {}", taken.len(), received.len());
        let number = round.to_string();
        if poll_and_drop(conn.write(&*number), round % 7).await.is_some() {
            taken.push(number);
        }
        if let Some(message) = poll_and_drop(conn.read(), round % 11).await {
            received.push(message.unwrap().as_text().unwrap().to_owned());
        }
        poll_and_drop(conn.flush(), round % 3).await;
        poll_and_drop(conn.connected(), round % 5).await;
    }
    // Every echo is of a queued message, in order, except for repetitions.
    let mut places: Vec<_> =
        received.iter().map(|it| taken.iter().position(|taken| taken == it).unwrap()).collect();
    let mut highest = 0;
    places.retain(|place| {
        let new = *place > highest;
        highest = highest.max(*place);
        new
    });
    assert!(places.is_sorted());
    // Nothing is stuck because of a dropped future.
    in_time(async {
        tokio::select! {
            flushed = conn.flush() => flushed.unwrap(),
            never = async { while conn.read().await.is_ok() {} } => never,
        }
    })
    .await;
}
