//! Does an Engine.IO session keep its messages, its deadlines and its bounds?

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use futures::poll;
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use ws_core::{Conn, Message, PreparedMessage, StatusCode, TryWriteError, adapter, pair};
use ws_events::engine::{
    EngineConfig, EngineEndKind, EngineError, EnginePacketError, EngineSession, EngineSessions,
};

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);

/// A session that polls, with the task that keeps its deadlines.
fn open(config: EngineConfig) -> EngineSession {
    let (session, _) = EngineSessions::new(config).open_polling(None).unwrap();
    let driven = session.clone();
    tokio::spawn(async move { driven.drive().await });
    session
}

fn polling() -> EngineSession {
    open(EngineConfig::new())
}

/// A session with a WebSocket, and the client's side of it.
async fn websocket() -> (EngineSession, Conn) {
    let (client, server) = pair();
    let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
    let driven = session.clone();
    tokio::spawn(async move { driven.drive().await });
    assert!(read(&client).await.starts_with("0{"));
    (session, client)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(FOREVER, future).await.expect("it hangs")
}

async fn read(conn: &Conn) -> String {
    within(conn.read()).await.unwrap().as_text().unwrap().to_owned()
}

async fn get(session: &EngineSession) -> Result<String, EngineError> {
    within(session.get()).await.map(|body| String::from_utf8(body.to_vec()).unwrap())
}

async fn post(session: &EngineSession, body: &str) -> Result<(), EngineError> {
    within(session.begin_post()?.finish(Bytes::copy_from_slice(body.as_bytes()))).await
}

async fn receive(session: &EngineSession) -> Option<String> {
    within(session.receive()).await.map(|message| message.as_text().unwrap().to_owned())
}

/// Writes texts as messages, all that are given.
async fn write(session: &EngineSession, texts: impl IntoIterator<Item = String>) {
    let mut queue: VecDeque<_> = texts.into_iter().map(|text| prepared(&text)).collect();
    while !queue.is_empty() {
        within(session.write_batch(|_| queue.pop_front())).await.unwrap();
    }
}

fn prepared(text: &str) -> PreparedMessage {
    PreparedMessage::new(Message::text(format!("4{text}")))
}

async fn end(session: &EngineSession) -> EngineEndKind {
    within(session.closed()).await.kind
}

/// Tests a WebSocket, and changes to it, as a client does.
async fn upgrade(session: &EngineSession) -> Conn {
    let (client, server) = pair();
    let upgrading = session.clone();
    let upgrading = tokio::spawn(async move { upgrading.upgrade(server).await });
    client.write("2probe").await.unwrap();
    assert_eq!(read(&client).await, "3probe");
    client.write("5").await.unwrap();
    assert!(within(upgrading).await.unwrap());
    client
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_pinged_and_ends_after_45_seconds() {
    let began = Instant::now();
    let session = polling();
    assert_eq!(get(&session).await.unwrap(), "2");
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    assert_eq!(end(&session).await, EngineEndKind::PingTimeout);
    assert_eq!(began.elapsed(), Duration::from_secs(45));

    let began = Instant::now();
    let (session, client) = websocket().await;
    assert_eq!(read(&client).await, "2");
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    assert_eq!(end(&session).await, EngineEndKind::PingTimeout);
    assert_eq!(began.elapsed(), Duration::from_secs(45));
    within(client.closed()).await;

    // Without any GET.
    let began = Instant::now();
    assert_eq!(end(&polling()).await, EngineEndKind::PingTimeout);
    assert_eq!(began.elapsed(), Duration::from_secs(45));
}

/// The task that keeps the deadlines is late.
#[tokio::test(start_paused = true)]
async fn a_get_gets_the_ping_and_the_timeout_when_they_are_due() {
    let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
    tokio::time::advance(Duration::from_secs(25)).await;
    assert_eq!(get(&session).await.unwrap(), "2");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(matches!(get(&session).await, Err(EngineError::UnknownSession)));
    assert_eq!(end(&session).await, EngineEndKind::PingTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_pong_keeps_a_session_until_the_next_ping() {
    for interval in [25, 1] {
        let began = Instant::now();
        let session = open(EngineConfig::new().ping_interval(Duration::from_secs(interval)));
        for round in 1..=4 {
            assert_eq!(get(&session).await.unwrap(), "2");
            assert_eq!(began.elapsed(), Duration::from_secs(interval * round));
            post(&session, "3").await.unwrap();
        }
    }
    let session = polling();
    // Another packet is a sign of life, too, but no pong.
    assert_eq!(get(&session).await.unwrap(), "2");
    tokio::time::advance(Duration::from_secs(15)).await;
    post(&session, "6").await.unwrap();
    let extended = Instant::now();
    assert_eq!(end(&session).await, EngineEndKind::PingTimeout);
    assert_eq!(extended.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_is_due_waits_for_the_next_get_or_the_websocket() {
    let session = polling();
    tokio::time::sleep(Duration::from_secs(26)).await; // tidy: sleep is the subject
    assert_eq!(get(&session).await.unwrap(), "2");

    let session = polling();
    tokio::time::sleep(Duration::from_secs(26)).await; // tidy: sleep is the subject
    let client = upgrade(&session).await;
    assert_eq!(read(&client).await, "2");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_may_not_do_ends_its_session() {
    for (body, error) in [
        ("", EnginePacketError::Empty),
        ("abc", EnginePacketError::UnknownType('a')),
        ("4a\u{1e}", EnginePacketError::Empty),
        ("4a\u{1e}bA", EnginePacketError::Base64),
        ("0{}", EnginePacketError::Unexpected),
        ("2", EnginePacketError::Unexpected),
        ("5", EnginePacketError::Unexpected),
        ("1x", EnginePacketError::UnexpectedData('1')),
    ] {
        let session = polling();
        assert_eq!(post(&session, body).await, Err(EngineError::Malformed(error)), "{body}");
        assert_eq!(end(&session).await, EngineEndKind::ParseError, "{body}");
        assert_eq!(receive(&session).await, None, "{body}");
        assert_eq!(get(&session).await, Err(EngineError::UnknownSession), "{body}");
    }
    for text in ["", "abc", "bA", "0{}", "2", "2probe", "5", "6x"] {
        let (session, client) = websocket().await;
        client.write(text).await.unwrap();
        assert_eq!(end(&session).await, EngineEndKind::ParseError, "{text}");
        within(client.closed()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_get_and_one_post_at_a_time() {
    let session = polling();
    let (first, second) = join(get(&session), get(&session)).await;
    assert_eq!((first, second), (Ok("1".to_owned()), Err(EngineError::Overlap)));
    assert_eq!(end(&session).await, EngineEndKind::TransportError);

    let session = polling();
    let first = session.begin_post().unwrap();
    assert_eq!(session.begin_post().unwrap_err(), EngineError::Overlap);
    assert_eq!(end(&session).await, EngineEndKind::TransportError);
    let finished = first.finish(Bytes::from_static(b"4late")).await;
    assert_eq!(finished, Err(EngineError::UnknownSession));
    assert_eq!(receive(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_ends_the_session_and_a_cancelled_future_loses_nothing() {
    let session = polling();
    assert!(timeout(Duration::from_secs(1), session.get()).await.is_err());
    assert_eq!(end(&session).await, EngineEndKind::TransportError);

    let session = polling();
    drop(session.begin_post().unwrap());
    assert_eq!(end(&session).await, EngineEndKind::TransportError);

    let session = polling();
    let mut message = Some(prepared("kept"));
    let writing = session.write_batch(|_| message.take());
    assert!(timeout(Duration::from_secs(1), writing).await.is_err());
    assert!(message.is_some());
    assert!(matches!(session.try_write_batch(|_| message.take()), Err(TryWriteError::Full)));
    assert!(message.is_some());
    assert!(timeout(Duration::from_secs(1), session.receive()).await.is_err());
    post(&session, "4a").await.unwrap();
    assert_eq!(receive(&session).await.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_get_takes_64_kib_and_one_message() {
    let session = polling();
    let text = "x".repeat(1000);
    let writing = write(&session, std::iter::repeat_n(text, 100));
    let reading = async {
        let (mut bodies, mut messages) = (0, 0);
        while messages < 100 {
            let body = get(&session).await.unwrap();
            assert!(body.len() <= 64 * 1024 + 1002, "{}", body.len());
            messages += body.split('\u{1e}').count();
            bodies += 1;
        }
        bodies
    };
    let ((), bodies) = join(writing, reading).await;
    assert_eq!(bodies, 2);
}

#[tokio::test(start_paused = true)]
async fn a_post_waits_for_the_messages_of_the_last_one_to_be_received() {
    let session = polling();
    post(&session, "4a\u{1e}3\u{1e}4b").await.unwrap();
    let began = Instant::now();
    let receiving = async {
        tokio::time::sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
        [receive(&session).await, receive(&session).await, receive(&session).await]
    };
    let (posted, received) = join(post(&session, "4c"), receiving).await;
    posted.unwrap();
    assert_eq!(received.map(Option::unwrap), ["a", "b", "c"]);
    assert_eq!(began.elapsed(), Duration::from_secs(5));

    // An application that does not receive is not waited for without end.
    let session = polling();
    post(&session, "4a").await.unwrap();
    let began = Instant::now();
    assert_eq!(post(&session, "4b").await, Err(EngineError::Unread));
    assert_eq!(began.elapsed(), Duration::from_secs(45));
    assert_eq!(end(&session).await, EngineEndKind::TransportError);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_not_read_while_64_messages_wait() {
    let (session, client) = websocket().await;
    let text = format!("4{}", "x".repeat(100 * 1024));
    // The session takes one message that exceeds its bound, and the pipe a part of the next one.
    let mut written = 0;
    while timeout(Duration::from_secs(1), client.write(text.as_str())).await.is_ok() {
        written += 1;
        assert!(written < 100, "nothing bounds it");
    }
    for _ in 0..written {
        assert_eq!(receive(&session).await.unwrap().len(), 100 * 1024);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_websocket_is_noticed_behind_messages_that_nobody_receives() {
    for messages in [0, 1, 63, 64, 65, 300] {
        for says_goodbye in [true, false] {
            let (session, client) = websocket().await;
            for n in 0..messages {
                client.write(format!("4{n}")).await.unwrap();
            }
            if says_goodbye {
                within(client.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
            } else {
                client.flush().await.unwrap();
                client.close_now();
            }
            assert_eq!(end(&session).await, EngineEndKind::TransportClose, "{messages}");
            let mut message = Some(prepared("late"));
            assert!(within(session.write_batch(|_| message.take())).await.is_err());
            for n in 0..messages {
                assert_eq!(receive(&session).await, Some(n.to_string()));
            }
            assert_eq!(receive(&session).await, None);
        }
    }
    // Nor does it take a message of the application to end at once.
    let (session, client) = websocket().await;
    for _ in 0..200 {
        client.write("4a").await.unwrap();
    }
    client.close_now();
    end(&session).await;
    session.close_now();
    assert_eq!(receive(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_close_packet_of_a_post_is_noticed_behind_messages_that_nobody_receives() {
    let session = polling();
    post(&session, "4a\u{1e}4b").await.unwrap();
    let began = Instant::now();
    post(&session, "4c\u{1e}1").await.unwrap();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);
    assert_eq!(began.elapsed(), Duration::ZERO);
    for text in ["a", "b", "c"] {
        assert_eq!(receive(&session).await.as_deref(), Some(text));
    }
    assert_eq!(receive(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_not_blamed_for_a_pong_behind_messages_that_nobody_receives() {
    let (session, client) = websocket().await;
    for _ in 0..100 {
        client.write("4a").await.unwrap();
    }
    let ponging = tokio::spawn(async move {
        while let Ok(packet) = client.read().await {
            assert_eq!(packet.as_text(), Some("2"));
            client.write("3").await.unwrap();
        }
    });
    assert!(timeout(FOREVER, session.closed()).await.is_err());
    for _ in 0..100 {
        assert_eq!(receive(&session).await.as_deref(), Some("a"));
    }
    assert!(timeout(FOREVER, session.closed()).await.is_err());
    // From now on, nobody answers.
    ponging.abort();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);
}

#[tokio::test(start_paused = true)]
async fn no_message_is_lost_doubled_or_reordered_by_an_upgrade() {
    for gets_before in 0..20 {
        let session = polling();
        let writer = session.clone();
        let numbers = || (0..2000).map(|number| number.to_string());
        let writing = tokio::spawn(async move { write(&writer, numbers()).await });
        let echo = session.clone();
        let receiving = tokio::spawn(async move {
            let mut received = Vec::new();
            while received.len() < 2000 {
                received.push(receive(&echo).await.unwrap());
            }
            received
        });
        let client = async {
            let mut received = Vec::new();
            let mut sent = numbers();
            let parse = |body: &str, received: &mut Vec<String>| {
                let messages = body.split('\u{1e}').filter_map(|packet| packet.strip_prefix('4'));
                received.extend(messages.map(str::to_owned));
            };
            for _ in 0..gets_before {
                let next: Vec<_> = sent.by_ref().take(40).map(|text| format!("4{text}")).collect();
                if !next.is_empty() {
                    post(&session, &next.join("\u{1e}")).await.unwrap();
                }
                if received.len() < 2000 {
                    parse(&get(&session).await.unwrap(), &mut received);
                }
            }
            // A GET is in progress during the test of the WebSocket, as with real clients.
            let (probe, server) = pair();
            let upgrading = session.clone();
            tokio::spawn(async move { assert!(upgrading.upgrade(server).await) });
            let probing = async {
                probe.write("2probe").await.unwrap();
                assert_eq!(read(&probe).await, "3probe");
            };
            let (body, ()) = join(get(&session), probing).await;
            parse(&body.unwrap(), &mut received);
            probe.write("5").await.unwrap();
            let sending = async {
                for text in sent {
                    probe.write(format!("4{text}")).await.unwrap();
                }
            };
            let reading = async {
                while received.len() < 2000 {
                    parse(&read(&probe).await, &mut received);
                }
            };
            join(sending, reading).await;
            received
        };
        let received = within(client).await;
        assert!(received.into_iter().eq(numbers()), "{gets_before} GETs");
        within(writing).await.unwrap();
        assert!(within(receiving).await.unwrap().into_iter().eq(numbers()), "{gets_before} GETs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_polls_on_when_an_upgrade_fails() {
    let check = async |texts: &[&str], limit: u64| {
        let session = polling();
        let (client, server) = pair();
        let began = Instant::now();
        let upgrading = session.clone();
        let upgraded = tokio::spawn(async move { upgrading.upgrade(server).await });
        for text in texts {
            client.write(*text).await.unwrap();
        }
        let (upgraded, _) = within(join(upgraded, client.closed())).await;
        assert!(!upgraded.unwrap(), "{texts:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(limit), "{texts:?}");
        post(&session, "4a").await.unwrap();
        assert_eq!(receive(&session).await.as_deref(), Some("a"), "{texts:?}");
        // The next one may succeed.
        let client = upgrade(&session).await;
        client.write("4b").await.unwrap();
        assert_eq!(receive(&session).await.as_deref(), Some("b"), "{texts:?}");
    };
    check(&["2"], 0).await;
    check(&["4a"], 0).await;
    check(&["5"], 0).await;
    check(&["2probe", "4a"], 0).await;
    check(&["2probe", "2probe"], 0).await;
    check(&[], 10).await;
    check(&["2probe"], 10).await;
}

/// A client that has the answer to its test polls no more, and would not notice an earlier end. Each row
/// has the seconds after which it uses the WebSocket, if it does, and those to the end.
#[tokio::test(start_paused = true)]
async fn a_session_that_ends_during_an_upgrade_closes_the_websocket_when_the_client_uses_it() {
    for (used_after, limit) in [(Some(0), 0), (Some(3), 3), (None, 10)] {
        let session = polling();
        let (client, server) = pair();
        let began = Instant::now();
        let upgrading = session.clone();
        let upgraded = tokio::spawn(async move { upgrading.upgrade(server).await });
        client.write("2probe").await.unwrap();
        assert_eq!(read(&client).await, "3probe");
        within(session.close(StatusCode::NORMAL_CLOSURE)).await;
        if let Some(seconds) = used_after {
            tokio::time::sleep(Duration::from_secs(seconds)).await; // tidy: sleep is the subject
            assert!(client.close_info().is_none(), "{seconds}");
            client.write("5").await.unwrap();
        }
        let (upgraded, _) = within(join(upgraded, client.closed())).await;
        assert!(!upgraded.unwrap(), "{used_after:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(limit), "{used_after:?}");
        assert_eq!(end(&session).await, EngineEndKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_ends_while_a_websocket_is_tested() {
    let session = polling();
    let (client, server) = pair();
    let upgrading = session.clone();
    tokio::spawn(async move { upgrading.upgrade(server).await });
    client.write("2probe").await.unwrap();
    assert_eq!(read(&client).await, "3probe");
    assert_eq!(get(&session).await.unwrap(), "6");
    assert_eq!(get(&session).await.unwrap(), "6");
    // Messages go on meanwhile.
    let (body, ()) = join(get(&session), write(&session, ["a".to_owned()])).await;
    assert_eq!(body.unwrap(), "4a");
}

/// Each row has what the client sends on its WebSocket after a GET has its answer, `noop`, and before the
/// GET is dropped. Then the session is still tested, has a WebSocket, or polls again.
#[tokio::test(start_paused = true)]
async fn a_get_whose_noop_is_not_fetched_does_not_end_the_session() {
    let check = async |texts: &[&str], expected: Result<&str, EngineError>| {
        let session = polling();
        let mut getting = Box::pin(session.get());
        assert!(poll!(&mut getting).is_pending());
        let (client, server) = pair();
        let upgrading = session.clone();
        let upgraded = tokio::spawn(async move { upgrading.upgrade(server).await });
        client.write("2probe").await.unwrap();
        assert_eq!(read(&client).await, "3probe");
        for text in texts {
            client.write(*text).await.unwrap();
        }
        if !texts.is_empty() {
            within(upgraded).await.unwrap();
        }
        drop(getting);
        assert!(!session.is_closed(), "{texts:?}");
        assert_eq!(get(&session).await.as_deref(), expected.as_ref().copied(), "{texts:?}");
    };
    check(&[], Ok("6")).await;
    check(&["5"], Err(EngineError::NotPolling)).await;
    // The test fails.
    check(&["4a"], Ok("2")).await;
}

/// Each row has what the client sends before its GET, and the answer. The task that tests the WebSocket
/// has not read it when the GET begins.
#[tokio::test(start_paused = true)]
async fn a_get_behind_the_upgrade_packet_is_refused_and_one_before_it_is_answered() {
    for (texts, expected) in [
        (&["5"][..], Err(EngineError::NotPolling)),
        (&["5", "4a"], Err(EngineError::NotPolling)),
        (&[], Ok("6".to_owned())),
        // The test fails, and the session polls on.
        (&["4a"], Ok("2".to_owned())),
    ] {
        let session = polling();
        let (client, server) = pair();
        let upgrading = session.clone();
        tokio::spawn(async move { upgrading.upgrade(server).await });
        client.write("2probe").await.unwrap();
        assert_eq!(read(&client).await, "3probe");
        for text in texts {
            client.write(*text).await.unwrap();
        }
        assert_eq!(get(&session).await, expected, "{texts:?}");
    }
}

/// The client has the answer to the handshake of the WebSocket before a task tests it.
#[tokio::test(start_paused = true)]
async fn a_get_waits_for_a_websocket_whose_handshake_was_answered() {
    for is_completed in [true, false] {
        let session = polling();
        let begun = session.begin_upgrade().unwrap();
        assert!(session.begin_upgrade().is_none());
        let (client, server) = pair();
        client.write("2probe").await.unwrap();
        client.write("5").await.unwrap();
        let mut asking = Box::pin(get(&session));
        assert!(poll!(&mut asking).is_pending());
        let expected = if is_completed {
            assert!(begun.complete(server).await);
            Err(EngineError::NotPolling)
        } else {
            drop(begun);
            Ok("2".to_owned())
        };
        assert_eq!(within(asking).await, expected);
    }
}

/// The test of a WebSocket is given up, or the session ends, before it can answer the GETs that ask.
#[tokio::test(start_paused = true)]
async fn a_get_does_not_wait_for_an_upgrade_that_has_ended() {
    for ends_session in [false, true] {
        let session = polling();
        let (_client, server) = pair();
        let mut upgrading = Box::pin(session.upgrade(server));
        assert!(poll!(&mut upgrading).is_pending());
        let asker = session.clone();
        let asking = tokio::spawn(async move { get(&asker).await });
        yield_now().await;
        let expected = if ends_session {
            session.close_now();
            Err(EngineError::UnknownSession)
        } else {
            drop(upgrading);
            Ok("2".to_owned())
        };
        assert_eq!(within(asking).await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn only_one_websocket_is_tested_at_a_time_and_none_after_an_upgrade() {
    let session = polling();
    let (_first, server) = pair();
    let upgrading = session.clone();
    let first = tokio::spawn(async move { upgrading.upgrade(server).await });
    yield_now().await;
    let refused = async |session: &EngineSession| {
        let (client, server) = pair();
        let (upgraded, _) = join(session.upgrade(server), client.closed()).await;
        assert!(!upgraded);
    };
    within(refused(&session)).await;
    first.abort();
    let _ = first.await;
    let client = upgrade(&session).await;
    client.write("4a").await.unwrap();
    assert_eq!(receive(&session).await.as_deref(), Some("a"));
    within(refused(&session)).await;
    assert_eq!(get(&session).await, Err(EngineError::NotPolling));
    assert_eq!(session.begin_post().unwrap_err(), EngineError::NotPolling);
    client.write("4b").await.unwrap();
    assert_eq!(receive(&session).await.as_deref(), Some("b"));
}

/// A request that began before the session has changed to its WebSocket.
enum Request {
    /// A POST with this body.
    Post(&'static str),
    /// A POST whose body does not arrive.
    CutPost,
    /// A GET whose client does not fetch the answer: this message, or `noop`.
    CutGet(Option<&'static str>),
}

/// Each row has a request that completes after the upgrade, and how the session ends, if it does.
#[tokio::test(start_paused = true)]
async fn a_request_that_ends_a_session_after_its_upgrade_closes_the_websocket() {
    use EngineEndKind::{ParseError, TransportClose, TransportError};
    let check = async |request: Request, messages: &[&str], expected: Option<EngineEndKind>| {
        let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
        let driven = session.clone();
        let driving = tokio::spawn(async move { driven.drive().await });
        let client = match request {
            Request::Post(body) => {
                let begun = session.begin_post().unwrap();
                let client = upgrade(&session).await;
                let _ = within(begun.finish(Bytes::from_static(body.as_bytes()))).await;
                client
            }
            Request::CutPost => {
                let begun = session.begin_post().unwrap();
                let client = upgrade(&session).await;
                drop(begun);
                client
            }
            Request::CutGet(message) => {
                let mut getting = Box::pin(session.get());
                assert!(poll!(&mut getting).is_pending());
                write(&session, message.map(str::to_owned)).await;
                let client = upgrade(&session).await;
                drop(getting);
                client
            }
        };
        for message in messages {
            assert_eq!(receive(&session).await.as_deref(), Some(*message));
        }
        let Some(expected) = expected else {
            client.write("4by the websocket").await.unwrap();
            assert_eq!(receive(&session).await.as_deref(), Some("by the websocket"));
            return;
        };
        assert_eq!(end(&session).await, expected);
        assert_eq!(receive(&session).await, None);
        within(client.closed()).await;
        within(driving).await.unwrap();
    };
    check(Request::Post("1"), &[], Some(TransportClose)).await;
    check(Request::Post("4a\u{1e}1"), &["a"], Some(TransportClose)).await;
    check(Request::Post("abc"), &[], Some(ParseError)).await;
    check(Request::Post("2"), &[], Some(ParseError)).await;
    check(Request::CutPost, &[], Some(TransportError)).await;
    check(Request::CutGet(Some("lost")), &[], Some(TransportError)).await;
    // Nothing is lost.
    check(Request::Post("4a"), &["a"], None).await;
    check(Request::CutGet(None), &[], None).await;
}

/// The number of polls until the body of a POST is taken.
async fn turns(session: &EngineSession, body: &str) -> (usize, Result<(), EngineError>) {
    let post = session.begin_post().unwrap();
    let mut finishing = pin!(post.finish(Bytes::copy_from_slice(body.as_bytes())));
    let mut polls = 0;
    let result = poll_fn(|cx| {
        polls += 1;
        finishing.as_mut().poll(cx)
    });
    let result = within(result).await;
    (polls, result)
}

#[tokio::test(start_paused = true)]
async fn a_body_of_many_packets_gives_others_their_turn() {
    let session = polling();
    let body = format!("{}4last", "4\u{1e}".repeat(100 * 64));
    let (turns, result) = turns(&session, &body).await;
    result.unwrap();
    assert!(turns > 100, "{turns}");
    for _ in 0..100 * 64 {
        assert_eq!(receive(&session).await.as_deref(), Some(""));
    }
    assert_eq!(receive(&session).await.as_deref(), Some("last"));
}

/// Nothing wakes the first `receive` when it is the turn of its session: its runtime does not run.
#[test]
fn a_receive_that_is_dropped_before_its_turn_loses_nothing() {
    let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (first, second) = (runtime(), runtime());
    let long = "x".repeat(100_000);
    let (busy, other) = first.block_on(async {
        let sessions = [polling(), polling()];
        for session in &sessions {
            post(session, &format!("4{long}\u{1e}4a")).await.unwrap();
        }
        sessions.into()
    });
    first.block_on(async {
        // The turn of another one comes before.
        assert!(poll!(pin!(other.receive())).is_pending());
        assert!(poll!(pin!(busy.receive())).is_pending());
    });
    second.block_on(async {
        for session in [&busy, &other] {
            assert_eq!(receive(session).await.as_deref(), Some(&*long));
            assert_eq!(receive(session).await.as_deref(), Some("a"));
        }
    });
    // The turn that was asked for first has no effect.
    first.block_on(async {
        for _ in 0..10 {
            yield_now().await;
        }
        post(&busy, "4b").await.unwrap();
        assert_eq!(receive(&busy).await.as_deref(), Some("b"));
    });
}

/// Each message that arrives wakes the session only if it does not wait for its turn.
#[tokio::test]
async fn messages_that_wait_for_a_turn_arrive_in_order() {
    let (session, client) = websocket().await;
    let text = |number: usize| format!("{number} {}", "x".repeat(number * 997 % 40_000));
    let writing = async {
        for number in 0..200 {
            client.write(format!("4{}", text(number))).await.unwrap();
        }
    };
    let reading = async {
        for number in 0..200 {
            // Another connection ends a turn, too.
            adapter::wake_in_turn(Waker::noop());
            assert_eq!(receive(&session).await, Some(text(number)), "{number}");
        }
    };
    join(writing, reading).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_has_at_most_64_packets_that_are_no_messages() {
    let check = async |others: usize, last: &str, is_taken: bool| {
        let session = polling();
        let body = format!("{}{last}", "6\u{1e}".repeat(others));
        let posted = post(&session, &body).await;
        if is_taken {
            assert_eq!(posted, Ok(()), "{others} {last}");
        } else {
            let malformed = EngineError::Malformed(EnginePacketError::Unexpected);
            assert_eq!(posted, Err(malformed), "{others} {last}");
            assert_eq!(end(&session).await, EngineEndKind::ParseError);
        }
    };
    check(64, "4last", true).await;
    check(65, "4last", false).await;
    check(63, "6", true).await;
    check(64, "6", false).await;
}

#[tokio::test(start_paused = true)]
async fn each_end_has_its_official_reason_and_last_packet() {
    // By the client.
    let session = polling();
    post(&session, "4last\u{1e}1").await.unwrap();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);
    assert_eq!(receive(&session).await.as_deref(), Some("last"));
    assert_eq!(receive(&session).await, None);
    assert_eq!(get(&session).await.unwrap(), "6");
    assert_eq!(get(&session).await, Err(EngineError::UnknownSession));

    let (session, client) = websocket().await;
    client.write("1").await.unwrap();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);
    within(client.closed()).await;

    let (session, client) = websocket().await;
    client.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);

    let (session, client) = websocket().await;
    client.close_now();
    assert_eq!(end(&session).await, EngineEndKind::TransportClose);

    // By the application.
    let session = polling();
    let (body, ()) = join(get(&session), session.close(StatusCode::NORMAL_CLOSURE)).await;
    assert_eq!(body.unwrap(), "1");
    assert_eq!(end(&session).await, EngineEndKind::Closed);

    let session = polling();
    session.close(StatusCode::NORMAL_CLOSURE).await;
    assert_eq!(get(&session).await.unwrap(), "1");

    let (session, client) = websocket().await;
    session.close(StatusCode::GOING_AWAY).await;
    assert_eq!(end(&session).await, EngineEndKind::Closed);
    let closed = within(client.closed()).await;
    assert_eq!(closed.received.map(|close| close.code), Some(StatusCode::GOING_AWAY));

    let session = polling();
    post(&session, "4dropped").await.unwrap();
    session.close_now();
    assert_eq!(receive(&session).await, None);
    assert_eq!(end(&session).await, EngineEndKind::Closed);
    assert_eq!(get(&session).await, Err(EngineError::UnknownSession));
}

#[tokio::test(start_paused = true)]
async fn the_last_packet_of_a_session_waits_for_the_ping_timeout() {
    let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
    let began = Instant::now();
    session.close(StatusCode::NORMAL_CLOSURE).await;
    within(session.drive()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_holds_what_polls() {
    let sessions = EngineSessions::new(EngineConfig::new().max_sessions(2));
    let (first, open) = sessions.open_polling(None).unwrap();
    let (second, _) = sessions.open_polling(None).unwrap();
    assert_eq!(sessions.open_polling(None).err(), Some(EngineError::TooManySessions));
    assert!(open.contains(first.id()));
    assert_ne!(first.id(), second.id());
    // 144 bits.
    assert_eq!(first.id().len(), 24);
    assert_eq!(sessions.find(first.id()).unwrap().id(), first.id());
    // With a WebSocket, it is still known, and does not count.
    sessions.upgraded(&second);
    sessions.upgraded(&second);
    assert_eq!(sessions.polling(), 1);
    assert!(sessions.find(second.id()).is_some());
    sessions.remove(&second);
    sessions.remove(&first);
    assert_eq!(sessions.polling(), 0);
    assert!(sessions.find(first.id()).is_none());
    assert!(sessions.open_polling(None).is_ok());
    assert!(sessions.open_polling(None).is_ok());
    let (_client, server) = pair();
    let websocket = sessions.open_websocket(server);
    assert!(sessions.find(websocket.id()).is_none());
    assert_eq!(sessions.polling(), 2);
}
