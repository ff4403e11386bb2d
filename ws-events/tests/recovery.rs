//! Does a client that lost its connection get its session back, with all that it has missed and once?

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::history::SlowStore;
use crate::support::{EventLog, TIMEOUT, serve_socketio, wait_until};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use ws_core::{Conn, pair};
use ws_events::broker::{LoopbackBroker, LoopbackBus};
use ws_events::cluster::{ClusterConfig, Routing};
use ws_events::engine::{EngineConfig, EngineSession, EngineSessions};
use ws_events::{
    Appended, Bytes, ConnectRejection, History, HistoryError, HistoryPage, HistoryReply,
    HistorySink, HistoryStore, Hub, HubBuilder, MemoryHistory, MemorySessions, Overflow, Position,
    Protocol, Recovery, SendQueueLimits, SessionStore, SessionStoreError, Socket, StatusCode,
};

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Draft(String);

fn builder() -> HubBuilder {
    let recovery = Recovery::new().keep::<Draft>("draft");
    Hub::builder().envelope().history("room*", History::new()).recovery(recovery)
}

/// A new socket joins `room1` and `room2`.
fn hub(builder: HubBuilder) -> Hub {
    hub_of(builder.build())
}

pub(crate) fn hub_of(hub: Hub) -> Hub {
    hub.on_connect(async |socket: Socket| {
        if !socket.recovered() {
            socket.join("room1")?;
            socket.join("room2")?;
        }
        Ok::<_, ws_events::NotConnected>(())
    });
    hub
}

/// A client that comes back.
pub(crate) struct Client {
    conn: Conn,
    token: String,
    at: Option<String>,
    /// The answer to its last first message.
    pub(crate) welcome: Value,
}

async fn read_json(conn: &Conn) -> Value {
    let message = timeout(TIMEOUT, conn.read()).await.expect("a message in time").unwrap();
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

impl Client {
    pub(crate) async fn new(hub: &Hub) -> Self {
        Self::with(hub, None, None).await
    }

    pub(crate) async fn with(hub: &Hub, token: Option<&str>, at: Option<String>) -> Self {
        let (conn, server) = pair();
        let serving = hub.clone();
        tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
        conn.write(json!({"resume": token, "at": at}).to_string()).await.unwrap();
        let welcome = read_json(&conn).await;
        let token = welcome["session"].as_str().unwrap().to_owned();
        Self { conn, token, at, welcome }
    }

    /// A client with a socket that is in its rooms.
    pub(crate) async fn enter(hub: &Hub) -> (Self, Socket) {
        let known = hub.everyone().sockets();
        let client = Self::new(hub).await;
        let find = || hub.everyone().sockets().into_iter().find(|it| !known.contains(it));
        wait_until(|| find().is_some_and(|socket| socket.is_in("room2"))).await;
        (client, find().unwrap())
    }

    /// The connection is lost.
    pub(crate) fn cut(&self) {
        self.conn.close_now();
    }

    /// Comes back with its token, and with the offset of the last message that it has.
    pub(crate) async fn resume(&mut self, hub: &Hub) -> &Value {
        *self = Self::with(hub, Some(&self.token), self.at.clone()).await;
        &self.welcome
    }

    /// The data of the next event.
    pub(crate) async fn read(&mut self) -> Value {
        let mut event = read_json(&self.conn).await;
        if let Some(at) = event["at"].as_str() {
            self.at = Some(at.to_owned());
        }
        event["data"].take()
    }

    async fn read_many(&mut self, count: usize) -> Vec<Value> {
        let mut data = Vec::new();
        for _ in 0..count {
            data.push(self.read().await);
        }
        data
    }
}

/// Waits until no socket is left.
pub(crate) async fn empty(hub: &Hub) {
    wait_until(|| hub.is_empty()).await;
}

#[tokio::test]
async fn a_client_gets_its_id_rooms_attributes_and_what_it_missed_in_order_and_once() {
    let hub = hub(builder());
    let log = EventLog::default();
    let (connected, left) = (log.clone(), log.clone());
    hub.on_connect(move |socket: Socket| {
        connected.note(format!("connect {} {:?}", socket.recovered(), socket.rooms()));
        ready(())
    });
    hub.on_disconnect(move |socket: Socket| {
        left.note("disconnect");
        // Not for itself.
        socket.broadcast().emit("n", &"it has left").unwrap();
        socket.to("room1").emit("n", &"it has left").unwrap();
        ready(())
    });
    let (mut client, socket) = Client::enter(&hub).await;
    let id = socket.id();
    socket.attributes().insert(Draft("dear".to_owned()));
    socket.attributes().insert(7_u32);
    hub.to("room1").emit("n", &1).unwrap();
    assert_eq!(client.read().await, 1);
    // Sent into the dead connection, and not read.
    hub.to("room2").emit("n", &2).unwrap();
    hub.to("room1").emit("n", &3).unwrap();
    client.cut();
    empty(&hub).await;
    hub.to("room1").emit("n", &4).unwrap();
    hub.to("room2").emit("n", &5).unwrap();
    hub.to("room1").except(&id).emit("n", &"not for it").unwrap();
    hub.to("room1").except_room("room2").emit("n", &"nor this").unwrap();
    hub.to("room3").emit("n", &"of another room").unwrap();
    hub.everyone().volatile().emit("n", &"volatile").unwrap();
    let token = client.token.clone();
    client.resume(&hub).await;
    assert_eq!(client.welcome, json!({"session": client.token, "recovered": true}));
    assert_ne!(client.token, token);
    hub.to("room1").emit("n", &6).unwrap();
    let mut got = client.read_many(5).await;
    // In the order in which they were sent before the loss, and then in the order of each room.
    got[2..4].sort_by_key(Value::to_string);
    assert_eq!(got, [2, 3, 4, 5, 6]);
    let socket = hub.socket(&id).unwrap();
    assert_eq!(socket.attributes().get(), Some(Draft("dear".to_owned())));
    assert_eq!(socket.attributes().get::<u32>(), None);
    let log = log.take(3).await;
    assert_eq!(log[1], "disconnect");
    assert!(log[0].starts_with("connect false") && log[2].contains(r#"true ["room1", "room2"]"#));
    hub.emit("n", &"all").unwrap();
    assert_eq!(client.read().await, "all");
}

/// What happens to a session while its client is away → the reason for which it is a new one.
async fn check_lost(
    what: &str,
    builder: HubBuilder,
    while_away: impl AsyncFn(&Hub, &Socket, &mut Client),
    reason: &str,
) {
    let hub = hub(builder);
    let (mut client, socket) = Client::enter(&hub).await;
    hub.to("room1").emit("n", &1).unwrap();
    assert_eq!(client.read().await, 1, "{what}");
    let id = socket.id();
    while_away(&hub, &socket, &mut client).await;
    client.cut();
    wait_until(|| !socket.is_alive()).await;
    hub.to("room1").emit("n", &"secret").unwrap();
    assert_eq!(client.resume(&hub).await["recovered"], false, "{what}");
    assert_eq!(client.welcome["reason"], reason, "{what}");
    let find = || hub.everyone().sockets().into_iter().find(|socket| socket.is_alive());
    wait_until(|| find().is_some_and(|socket| socket.is_in("room2"))).await;
    assert_ne!(find().unwrap().id(), id, "{what}");
    assert!(!find().unwrap().recovered());
    // It gets nothing of the session, and works.
    hub.to("room1").emit("n", &2).unwrap();
    assert_eq!(client.read().await, 2, "{what}");
}

#[tokio::test]
async fn a_session_that_cannot_be_recovered_is_a_new_one_and_gets_nothing_of_the_old() {
    let cut = async |hub: &Hub, client: &Client| {
        client.cut();
        empty(hub).await;
    };
    check_lost(
        "a message to all",
        builder(),
        async |hub, _, client| {
            cut(hub, client).await;
            hub.emit("n", &"missed").unwrap();
        },
        "missed",
    )
    .await;
    check_lost(
        "a message to its id",
        builder(),
        async |hub, socket, client| {
            cut(hub, client).await;
            hub.emit_to(socket.id(), "n", &"missed").unwrap_err();
        },
        "missed",
    )
    .await;
    check_lost(
        "a message to its handle",
        builder(),
        async |hub, socket, client| {
            cut(hub, client).await;
            socket.emit("n", &"missed").unwrap_err();
        },
        "missed",
    )
    .await;
    let blocking = || {
        let limits = SendQueueLimits::new().messages(4).overflow(Overflow::Block(TIMEOUT));
        builder().send_queue(limits)
    };
    check_lost(
        "a message to its handle, by a call that waits for room",
        blocking(),
        async |hub, socket, client| {
            cut(hub, client).await;
            socket.emit_wait("n", &"missed").await.unwrap_err();
        },
        "missed",
    )
    .await;
    check_lost(
        "a message that waits for room when the connection is lost",
        blocking(),
        async |hub, socket, client| {
            (0..4).for_each(|n| _ = hub.everyone().volatile().emit("n", &n).unwrap());
            let mut waiting = pin!(socket.send_wait("missed"));
            assert!(futures::poll!(&mut waiting).is_pending());
            cut(hub, client).await;
            waiting.await.unwrap_err();
        },
        "missed",
    )
    .await;
    check_lost(
        "a message to two rooms",
        builder(),
        async |hub, _, client| {
            cut(hub, client).await;
            hub.to("room1").to("other").emit("n", &"missed").unwrap();
        },
        "missed",
    )
    .await;
    check_lost(
        "a message into the dead connection",
        builder(),
        async |_, socket, _| {
            socket.emit("n", &"missed").unwrap();
        },
        "missed",
    )
    .await;
    let few = || History::new().messages(3);
    let short = Hub::builder().envelope().history("room1", few()).history("room2", few());
    check_lost(
        "a short history",
        short.recovery(Recovery::new()),
        async |hub, _, client| {
            cut(hub, client).await;
            (0..4).for_each(|n| _ = hub.to("room2").emit("n", &n).unwrap());
        },
        "missed",
    )
    .await;
    let small = builder().history_store(MemoryHistory::with_bytes(1024));
    check_lost(
        "a small store",
        small,
        async |hub, _, client| {
            cut(hub, client).await;
            (0..9).for_each(|n| {
                _ = hub.to(format!("room{}", n + 3)).emit("n", &vec![n; 50]).unwrap()
            });
        },
        "missed",
    )
    .await;
    let queue = SendQueueLimits::new().messages(5);
    check_lost(
        "a short queue",
        builder().send_queue(queue),
        async |hub, _, client| {
            cut(hub, client).await;
            (0..6).for_each(|n| _ = hub.to("room2").emit("n", &n).unwrap());
        },
        "too_much",
    )
    .await;
    let queue = SendQueueLimits::new().messages(1).overflow(Overflow::DropNewest);
    check_lost(
        "a dropped message",
        builder().send_queue(queue),
        async |hub, _, client| {
            // Nothing runs between the two.
            (0..2).for_each(|n| _ = hub.to("room2").emit("n", &n).unwrap());
            cut(hub, client).await;
        },
        "missed",
    )
    .await;
    check_lost(
        "a forged token",
        builder(),
        async |_, _, client| {
            client.token = "0".repeat(32);
        },
        "unknown_session",
    )
    .await;
    check_lost(
        "no token",
        builder(),
        async |_, _, client| {
            client.token = "../../etc".to_owned();
        },
        "unknown_session",
    )
    .await;
    check_lost(
        "no offset",
        builder(),
        async |_, _, client| {
            client.at = Some("1; drop table".to_owned());
        },
        "unknown_offset",
    )
    .await;
    check_lost(
        "a kicked socket",
        builder(),
        async |hub, socket, client| {
            socket.close(StatusCode::POLICY_VIOLATION, "no").unwrap();
            timeout(TIMEOUT, client.conn.closed()).await.unwrap();
            empty(hub).await;
        },
        "unknown_session",
    )
    .await;
    check_lost(
        "a client that left",
        builder(),
        async |hub, _, client| {
            client.conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            empty(hub).await;
        },
        "unknown_session",
    )
    .await;
}

#[tokio::test]
async fn a_session_whose_id_another_socket_has_is_a_new_one() {
    let hub = hub(builder());
    let (mut client, socket) = Client::enter(&hub).await;
    let id = socket.id();
    client.cut();
    empty(&hub).await;
    let (_other, other) = Client::enter(&hub).await;
    other.set_id(&id).unwrap();
    assert_eq!(client.resume(&hub).await["reason"], "id_taken");
    assert_eq!(hub.socket(&id), Some(other));
    assert_eq!(hub.len(), 2);
}

#[tokio::test]
async fn a_client_comes_back_before_its_loss_was_detected() {
    let hub = hub(builder());
    let (mut client, socket) = Client::enter(&hub).await;
    hub.to("room1").emit("n", &1).unwrap();
    hub.to("room1").emit("n", &2).unwrap();
    assert_eq!(client.read().await, 1);
    let old = client.conn.clone();
    assert_eq!(client.resume(&hub).await["recovered"], true);
    assert_eq!(client.read().await, 2);
    assert!(!socket.is_alive() && hub.len() == 1);
    assert_eq!(hub.socket(socket.id()).unwrap().rooms().len(), 2);
    timeout(TIMEOUT, old.closed()).await.unwrap();
}

#[tokio::test]
async fn a_client_comes_back_a_hundred_times_in_a_row() {
    let hub = hub(builder());
    let (mut client, socket) = Client::enter(&hub).await;
    let (mut sent, mut got) = (0, 0);
    for round in 0..100 {
        for _ in 0..2 {
            hub.to("room1").emit("n", &sent).unwrap();
            sent += 1;
        }
        assert_eq!(client.resume(&hub).await["recovered"], true, "{round}");
        // It reads from none to three of them, and the others after it has come back again.
        for _ in 0..(round % 4).min(sent - got) {
            assert_eq!(client.read().await, got, "{round}");
            got += 1;
        }
    }
    for expected in got..sent {
        assert_eq!(client.read().await, expected);
    }
    assert_eq!(hub.socket(socket.id()).unwrap().rooms().len(), 2);
}

#[tokio::test]
async fn one_of_two_connections_that_claim_a_session_gets_it() {
    for both_at_once in [false, true] {
        let hub = hub(builder());
        let (client, socket) = Client::enter(&hub).await;
        client.cut();
        if !both_at_once {
            empty(&hub).await;
        }
        let token = Some(client.token.as_str());
        let claims = [Client::with(&hub, token, None), Client::with(&hub, token, None)];
        let mut outcomes: Vec<_> =
            join_all(claims).await.iter().map(|it| it.welcome["reason"].clone()).collect();
        outcomes.sort_by_key(Value::to_string);
        assert_eq!(outcomes, [json!("already_claimed"), Value::Null]);
        assert!(hub.socket(socket.id()).is_some());
    }
}

#[tokio::test]
async fn a_session_is_given_to_its_own_user_only() {
    let user = |socket: &Socket| socket.attributes().get::<String>();
    let hub = hub(builder().recovery(Recovery::new().user(user)));
    let current = Arc::new(Mutex::new("ann"));
    let name = Arc::clone(&current);
    hub.middleware(move |socket: Socket| {
        socket.attributes().insert((*name.lock()).to_owned());
        ready(Ok::<_, ConnectRejection>(()))
    });
    let (mut client, socket) = Client::enter(&hub).await;
    *current.lock() = "eve";
    let token = Some(client.token.as_str());
    // The connection of its owner stays open.
    assert_eq!(Client::with(&hub, token, None).await.welcome["reason"], "unknown_session");
    assert!(socket.is_alive());
    client.cut();
    wait_until(|| !socket.is_alive()).await;
    assert_eq!(Client::with(&hub, token, None).await.welcome["reason"], "unknown_session");
    *current.lock() = "ann";
    assert_eq!(client.resume(&hub).await["recovered"], true);
}

#[tokio::test]
async fn an_attribute_of_a_session_is_kept_only_if_the_session_is() {
    let hub = hub(builder());
    let (mut client, socket) = Client::enter(&hub).await;
    socket.attributes().insert(Draft("dear".to_owned()));
    client.cut();
    empty(&hub).await;
    hub.emit("n", &"missed").unwrap();
    assert_eq!(client.resume(&hub).await["reason"], "missed");
    assert_eq!(hub.everyone().sockets()[0].attributes().get::<Draft>(), None);
}

#[tokio::test]
async fn each_message_for_a_recovered_socket_is_counted_once() {
    let hub = hub(builder());
    let (mut client, _) = Client::enter(&hub).await;
    for round in 0..20 {
        hub.to("room1").emit("n", &round).unwrap();
        client.resume(&hub).await;
        hub.to("room2").emit("n", &round).unwrap();
        assert_eq!([client.read().await, client.read().await], [round, round]);
    }
    client.cut();
    empty(&hub).await;
    let stats = hub.stats();
    assert_eq!(stats.queued, stats.written + stats.discarded + stats.dropped, "{stats:?}");
    assert_eq!(stats.queued_bytes, 0);
}

#[tokio::test]
async fn middleware_may_reject_a_client_that_comes_back() {
    let hub = hub(builder());
    let (client, _) = Client::enter(&hub).await;
    client.cut();
    empty(&hub).await;
    hub.middleware(async |_: Socket| Err::<(), _>(ConnectRejection::new("no longer")));
    let (conn, server) = pair();
    let serving = hub.clone();
    tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
    conn.write(json!({"resume": client.token}).to_string()).await.unwrap();
    let error = timeout(TIMEOUT, conn.read()).await.unwrap().unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::POLICY_VIOLATION));
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_its_window_and_no_longer() {
    for (away, recovered) in [(119, true), (121, false)] {
        let hub = hub(builder());
        let (mut client, _) = Client::enter(&hub).await;
        client.cut();
        empty(&hub).await;
        tokio::time::advance(Duration::from_secs(away)).await;
        assert_eq!(client.resume(&hub).await["recovered"], recovered, "{away}");
    }
}

/// A hub with a window of 10 s, and its sessions that have ended without their clients.
fn expiring(recovery: Recovery) -> (Hub, EventLog) {
    let log = EventLog::default();
    let expired = log.clone();
    let slot = Arc::new(Mutex::new(None::<Hub>));
    let within = Arc::clone(&slot);
    let recovery = recovery
        .window(Duration::from_secs(10))
        .keep::<Draft>("draft")
        .user(|socket| socket.attributes().get())
        .on_expired(move |session| {
            let hub = within.lock().clone().unwrap();
            // It may use the hub: no lock is held.
            hub.emit("gone", &session.id).unwrap();
            let draft = session.attributes.get::<Draft>();
            expired.note(format!("{} {:?} {draft:?}", session.namespace, session.user));
            assert_eq!(session.rooms, ["room1", "room2"]);
            assert!(hub.socket(&session.id).is_none());
            assert!(session.user.as_deref() != Some("panic"));
        });
    let hub = hub(builder().recovery(recovery));
    *slot.lock() = Some(hub.clone());
    (hub, log)
}

/// A client of this user, with a draft.
async fn enter_as(hub: &Hub, user: &'static str) -> (Client, Socket) {
    hub.middleware(move |socket: Socket| {
        socket.attributes().insert(user.to_owned());
        ready(Ok::<_, ConnectRejection>(()))
    });
    let (client, socket) = Client::enter(hub).await;
    socket.attributes().insert(Draft(user.to_owned()));
    (client, socket)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_expires_is_reported_once_and_not_if_it_was_recovered() {
    let (hub, log) = expiring(Recovery::new());
    let leave = async |client: &Client| {
        client.cut();
        empty(&hub).await;
    };
    let report = |user: &str| vec![format!(r#"/ Some("{user}") Some(Draft("{user}"))"#)];
    // Its window is over, and nobody else connects.
    let (client, _) = enter_as(&hub, "panic").await;
    leave(&client).await;
    let left = Instant::now();
    assert_eq!(log.take(1).await, report("panic"));
    let waited = left.elapsed().as_millis();
    assert!((10_000..10_010).contains(&waited), "{waited}");
    // It was recovered, and lost again.
    let (mut client, _) = enter_as(&hub, "ann").await;
    leave(&client).await;
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(client.resume(&hub).await["recovered"], true);
    tokio::time::advance(Duration::from_secs(60)).await;
    leave(&client).await;
    let left = Instant::now();
    assert_eq!(log.take(1).await, report("ann"));
    let waited = left.elapsed().as_millis();
    assert!((10_000..10_010).contains(&waited), "{waited}");
    // It came back, and was not recovered.
    let (mut client, _) = enter_as(&hub, "eve").await;
    leave(&client).await;
    hub.emit("n", &"missed").unwrap();
    assert_eq!(client.resume(&hub).await["reason"], "missed");
    assert_eq!(log.so_far(), report("eve"));
    // What follows is not the end of a session that waits.
    client.conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    empty(&hub).await;
    let (client, socket) = enter_as(&hub, "kicked").await;
    socket.close(StatusCode::POLICY_VIOLATION, "no").unwrap();
    client.conn.closed().await;
    empty(&hub).await;
    let (client, _) = enter_as(&hub, "bob").await;
    leave(&client).await;
    assert_eq!(log.take(2).await[1..], report("bob"));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_for_newer_ones_is_reported() {
    let (hub, log) = expiring(Recovery::new().sessions(1));
    for user in ["ann", "bob"] {
        let (client, _) = enter_as(&hub, user).await;
        client.cut();
        empty(&hub).await;
    }
    assert_eq!(log.so_far(), [r#"/ Some("ann") Some(Draft("ann"))"#]);
}

#[tokio::test(start_paused = true)]
async fn a_resumable_connection_begins_with_a_request() {
    for first in [Some(r#"{"event":"a"}"#), Some("[]"), None] {
        let hub = hub(builder());
        let (conn, server) = pair();
        let serving = hub.clone();
        tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
        if let Some(first) = first {
            conn.write(first).await.unwrap();
        }
        let error = timeout(TIMEOUT, conn.read()).await.unwrap().unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::POLICY_VIOLATION), "{first:?}");
        assert!(hub.is_empty());
    }
}

#[tokio::test]
async fn the_hub_sends_offsets_to_resumable_clients_alone() {
    let hub = hub(builder());
    let (client, socket) = Client::enter(&hub).await;
    let (plain, server) = pair();
    tokio::spawn(hub.handler()(server));
    wait_until(|| hub.to("room2").count() == 2).await;
    hub.to("room1").emit("n", &1).unwrap();
    hub.emit("n", &2).unwrap();
    socket.emit("n", &3).unwrap();
    hub.emit_to_list([socket.id()], "n", &4).unwrap();
    hub.everyone().volatile().emit("n", &5).unwrap();
    let position = hub.room("room1").position().await.unwrap().to_string();
    assert_eq!(read_json(&client.conn).await, json!({"event": "n", "data": 1, "at": position}));
    let second = read_json(&client.conn).await;
    let number = second["at"].as_str().and_then(|at| at.strip_prefix('p'));
    let number: u64 = number.unwrap().parse().unwrap();
    assert_eq!(second, json!({"event": "n", "data": 2, "at": format!("p{number}")}));
    for expected in [
        json!({"event": "n", "data": 3, "at": format!("p{}", number + 1)}),
        json!({"event": "n", "data": 4, "at": format!("p{}", number + 2)}),
        json!({"event": "n", "data": 5}),
    ] {
        assert_eq!(read_json(&client.conn).await, expected);
    }
    assert_eq!(read_json(&plain).await, json!({"event": "n", "data": 1}));
    assert_eq!(read_json(&plain).await, json!({"event": "n", "data": 2}));
    assert_eq!(read_json(&plain).await, json!({"event": "n", "data": 5}));
}

/// Connects with a token and an offset. Returns the connection, the token and whether the session was
/// recovered.
pub(crate) type Connect =
    fn(Hub, Option<String>, Option<String>) -> BoxFuture<'static, (Conn, String, bool)>;

pub(crate) fn connect_envelope(
    hub: Hub,
    token: Option<String>,
    at: Option<String>,
) -> BoxFuture<'static, (Conn, String, bool)> {
    Box::pin(async move {
        let client = Client::with(&hub, token.as_deref(), at).await;
        (client.conn, client.token, client.welcome["recovered"] == true)
    })
}

/// As the library of Socket.IO does.
pub(crate) fn connect_socketio(
    hub: Hub,
    pid: Option<String>,
    offset: Option<String>,
) -> BoxFuture<'static, (Conn, String, bool)> {
    Box::pin(async move {
        let (conn, server) = pair();
        serve_socketio(&hub, server);
        let read = async || timeout(TIMEOUT, conn.read()).await.expect("in time").unwrap();
        assert!(read().await.as_text().unwrap().starts_with('0'));
        let auth = json!({"pid": pid, "offset": offset});
        conn.write(format!("40{auth}")).await.unwrap();
        let answer = read().await;
        let answer: Value = serde_json::from_str(&answer.as_text().unwrap()[2..]).unwrap();
        let token = answer["pid"].as_str().unwrap().to_owned();
        let recovered = pid.as_ref() == Some(&token);
        (conn, token, recovered)
    })
}

/// A client that keeps the offset of its last session when it gets a new one, from a server that was
/// started again.
async fn check_earlier_offset(name: &str, connect: Connect) {
    let emit = async |hub: &Hub| {
        wait_until(|| hub.to("room2").count() == 1).await;
        hub.emit("n", &1).unwrap();
    };
    let first = hub(Hub::builder().envelope().recovery(Recovery::new()));
    let (conn, token, _) = connect(first.clone(), None, None).await;
    emit(&first).await;
    let event = timeout(TIMEOUT, conn.read()).await.unwrap().unwrap();
    let text = event.as_text().unwrap();
    let offset = text.split('"').rev().nth(1).unwrap().to_owned();
    assert!(offset.starts_with('p'), "{name}: {text}");
    // The next process sends as many messages.
    let second = hub(Hub::builder().envelope().recovery(Recovery::new()));
    let (conn, token, recovered) = connect(second.clone(), Some(token), Some(offset.clone())).await;
    assert!(!recovered, "{name}");
    emit(&second).await;
    conn.close_now();
    empty(&second).await;
    let (_, _, recovered) = connect(second.clone(), Some(token), Some(offset)).await;
    assert!(!recovered, "{name}: a message is missing");
}

#[tokio::test]
async fn the_offset_of_an_earlier_session_says_nothing_of_the_next_one() {
    check_earlier_offset("envelope", connect_envelope).await;
    check_earlier_offset("Socket.IO", connect_socketio).await;
}

/// A store that answers when it is opened.
#[derive(Clone)]
pub(crate) struct GatedStore(pub(crate) Arc<MemoryHistory>, pub(crate) Arc<Semaphore>);

impl HistoryStore for GatedStore {
    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError> {
        self.0.append(key, record, limits)
    }

    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage> {
        let (store, key, gate) = (Arc::clone(&self.0), key.to_owned(), Arc::clone(&self.1));
        HistoryReply::Later(Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            store.since(&key, position, most).wait().await
        }))
    }

    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage> {
        let (store, key) = (Arc::clone(&self.0), key.to_owned());
        HistoryReply::Later(Box::pin(async move { store.latest(&key, most).wait().await }))
    }

    fn trim(&self, key: &str, through: Position) -> HistoryReply<()> {
        self.0.trim(key, through)
    }
}

/// A store of sessions whose writes wait for what a function returns first, and fail as that does.
#[derive(Clone)]
pub(crate) struct GatedSessions<F>(pub(crate) MemorySessions, pub(crate) F);

impl<F, G> SessionStore for GatedSessions<F>
where
    F: Fn() -> G + Send + Sync + 'static,
    G: Future<Output = Result<(), SessionStoreError>> + Send + 'static,
{
    fn put(
        &self,
        key: &str,
        generation: u64,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<(), SessionStoreError>> {
        let (store, gate, key) = (self.0.clone(), (self.1)(), key.to_owned());
        Box::pin(async move {
            gate.await?;
            store.put(&key, generation, record, ttl).await
        })
    }

    fn replace(
        &self,
        key: &str,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, SessionStoreError>> {
        self.0.replace(key, record, ttl)
    }
}

#[tokio::test]
async fn messages_that_are_sent_while_the_history_is_read_come_once_and_behind_it() {
    let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
    let hub = hub(builder().history_store(store.clone()));
    let (mut client, _) = Client::enter(&hub).await;
    // Only now the positions of its rooms are known.
    hub.to("room1").emit("n", &1).unwrap();
    hub.to("room2").emit("n", &2).unwrap();
    assert_eq!(client.read_many(2).await, [1, 2]);
    client.cut();
    empty(&hub).await;
    hub.to("room1").emit("n", &3).unwrap();
    let sending = async {
        // The socket is in its rooms, and waits for the first history.
        wait_until(|| hub.to("room2").count() == 1).await;
        for n in 4..7 {
            hub.to("room1").emit("n", &n).unwrap();
        }
        store.1.add_permits(1);
        for n in 7..10 {
            hub.to("room2").emit("n", &n).unwrap();
            tokio::task::yield_now().await;
        }
        store.1.add_permits(1);
    };
    tokio::join!(client.resume(&hub), sending);
    assert_eq!(client.welcome["recovered"], true);
    hub.emit("n", &10).unwrap();
    // Each room is in its order.
    let got = client.read_many(8).await;
    let of = |numbers: &[i32]| {
        let all: Vec<_> = numbers.iter().map(|n| json!(n)).collect();
        got.iter().filter(|n| all.contains(n)).cloned().collect::<Vec<_>>() == all
    };
    assert!(of(&[3, 4, 5, 6]) && of(&[7, 8, 9]) && got.last() == Some(&json!(10)), "{got:?}");
}

#[tokio::test]
async fn what_was_missed_has_to_fit_into_the_send_queue() {
    let disconnect = Overflow::Disconnect(StatusCode::TRY_AGAIN_LATER);
    for overflow in [disconnect, Overflow::DropOldest, Overflow::DropNewest] {
        for (missed, expected) in [(2, None), (3, Some("too_much"))] {
            let limits = SendQueueLimits::new().messages(2).overflow(overflow);
            let hub = hub(builder().send_queue(limits));
            let (mut client, _) = Client::enter(&hub).await;
            client.cut();
            empty(&hub).await;
            (0..missed).for_each(|n| _ = hub.to("room1").emit("n", &n).unwrap());
            let welcome = client.resume(&hub).await;
            assert_eq!(welcome["reason"].as_str(), expected, "{overflow:?}: {welcome}");
            if expected.is_none() {
                assert_eq!(client.read_many(2).await, [0, 1], "{overflow:?}");
            }
        }
    }
}

/// A client of Socket.IO, packet by packet.
struct WireClient {
    session: EngineSession,
    /// If it is on a WebSocket.
    conn: Option<Conn>,
    /// Those of the last GET that are not read yet.
    packets: VecDeque<String>,
    /// It ends with its last handle.
    _sessions: EngineSessions,
}

impl WireClient {
    async fn open(hub: &Hub, is_polling: bool, auth: Value) -> Self {
        let sessions = EngineSessions::new(EngineConfig::new());
        let (session, conn) = if is_polling {
            (sessions.open_polling(None).unwrap().0, None)
        } else {
            let (conn, server) = pair();
            (sessions.open_websocket(server), Some(conn))
        };
        let (hub, driving, serving) = (hub.clone(), session.clone(), session.clone());
        tokio::spawn(async move { tokio::join!(driving.drive(), hub.serve_engine(serving)) });
        let mut client = Self { session, conn, packets: VecDeque::new(), _sessions: sessions };
        if !is_polling {
            assert!(client.next().await.unwrap().starts_with('0'));
        }
        let connect = format!("40{auth}");
        match &client.conn {
            Some(conn) => conn.write(connect).await.unwrap(),
            None => client.session.begin_post().unwrap().finish(connect.into()).await.unwrap(),
        }
        client
    }

    /// The packets of the next message or GET; `None` if the connection has ended.
    async fn payload(&self) -> Option<Vec<String>> {
        let Some(conn) = &self.conn else {
            let body = timeout(TIMEOUT, self.session.get()).await.expect("a GET in time").ok()?;
            let text = String::from_utf8(body.to_vec()).unwrap();
            return Some(text.split('\x1e').map(str::to_owned).collect());
        };
        let message = timeout(TIMEOUT, conn.read()).await.expect("a message in time").ok()?;
        Some(vec![message.as_text().unwrap().to_owned()])
    }

    async fn next(&mut self) -> Option<String> {
        if self.packets.is_empty() {
            self.packets = self.payload().await?.into();
        }
        self.packets.pop_front()
    }

    /// The room and the number of the next event, and its offset.
    async fn event(&mut self) -> ((String, u64), String) {
        let packet = self.next().await.expect("an event");
        let event = packet.strip_prefix("42").unwrap_or_else(|| panic!("an event: {packet}"));
        let (_, room, number, offset): (String, String, u64, String) =
            serde_json::from_str(event).unwrap();
        ((room, number), offset)
    }

    /// The connection is lost, or that of a GET that waits.
    fn cut(&self) {
        match &self.conn {
            Some(conn) => conn.close_now(),
            None => assert!(self.session.get().now_or_never().is_none(), "a GET without an event"),
        }
    }
}

/// Its library keeps an event that comes before the answer, and handles it later: it would be handled
/// twice, or too early.
#[tokio::test]
async fn a_client_of_socket_io_gets_the_answer_then_what_it_missed_and_then_what_is_new() {
    for is_polling in [false, true] {
        let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
        let hub = hub(builder().history_store(store.clone()));
        let emit = |room: &str, number: u64| {
            hub.to(room).emit("n", &(room, number)).unwrap();
        };
        let mut client = WireClient::open(&hub, is_polling, json!({})).await;
        let answer = client.next().await.unwrap();
        wait_until(|| hub.to("room2").count() == 1).await;
        emit("room1", 1);
        emit("room2", 1);
        emit("room1", 2);
        assert_eq!(client.event().await.0, ("room1".to_owned(), 1));
        // The others are sent into the dead connection.
        let ((_, first), offset) = client.event().await;
        assert_eq!(first, 1);
        client.cut();
        empty(&hub).await;
        emit("room2", 2);
        emit("room1", 3);
        let answer: Value = serde_json::from_str(&answer[2..]).unwrap();
        let auth = json!({"pid": answer["pid"], "offset": offset});
        let resuming = async {
            let mut client = WireClient::open(&hub, is_polling, auth).await;
            let answer = client.next().await.unwrap();
            (client, answer)
        };
        let sending = async {
            wait_until(|| hub.to("room2").count() == 1).await;
            // While the histories are read.
            for (room, number) in [("room1", 4), ("room2", 3), ("room1", 5), ("room2", 4)] {
                emit(room, number);
                if number == 5 {
                    store.1.add_permits(1);
                    for _ in 0..64 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            store.1.add_permits(1);
        };
        let ((mut client, again), ()) = tokio::join!(resuming, sending);
        let again: Value = serde_json::from_str(again.strip_prefix("40").unwrap()).unwrap();
        assert_eq!((&again["pid"], &again["sid"]), (&answer["pid"], &answer["sid"]));
        emit("room1", 6);
        emit("room2", 5);
        let mut got = Vec::new();
        while got.len() < 9 {
            let (event, offset) = client.event().await;
            let position: Position = offset.parse().unwrap();
            // Of each room, the offsets are the numbers: in order and without gaps.
            assert_eq!(position.offset, event.1, "{event:?}");
            got.push(event);
        }
        let of = |room: &str| -> Vec<u64> {
            got.iter().filter(|(other, _)| other == room).map(|(_, number)| *number).collect()
        };
        assert_eq!((of("room1"), of("room2")), (vec![2, 3, 4, 5, 6], vec![2, 3, 4, 5]));
    }
}

/// The library handles the packets of a GET later than it handles a close among them. So it would take
/// the events before that for those of its next connection, which gets them again.
#[tokio::test]
async fn the_end_of_a_session_that_polls_is_in_no_answer_with_events() {
    let hub = hub(builder());
    let mut client = WireClient::open(&hub, true, json!({})).await;
    client.next().await.unwrap();
    wait_until(|| hub.to("room2").count() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    let emit = |number| _ = hub.to("room1").emit("n", &number).unwrap();
    let session = client.session.clone();
    let mut get = pin!(session.get());
    assert!(futures::poll!(&mut get).is_pending());
    emit(1);
    emit(2);
    socket.close_session(StatusCode::SERVICE_RESTART, "").unwrap();
    // The answer with the events is not fetched yet.
    wait_until(|| session.is_closed()).await;
    let events = String::from_utf8(get.await.unwrap().to_vec()).unwrap();
    let events: Vec<_> = events.split('\x1e').collect();
    assert!(events.len() == 2 && events.iter().all(|it| it.starts_with("42")), "{events:?}");
    let last = client.payload().await.unwrap();
    assert_eq!(last, ["1"]);
}

/// A store tells positions, and loses messages → why a client does not get its session back, or
/// `None`, and whether its first connection was closed for it.
#[track_caller]
fn check_store(
    name: &'static str,
    during: impl Fn(&dyn HistorySink, &SlowStore, &Hub),
    expected: Option<&str>,
) -> impl Future<Output = ()> {
    let store = SlowStore::default();
    let hub = hub(builder().history_store(store.clone()));
    let sink = store.sink();
    async move {
        let (mut client, _) = Client::enter(&hub).await;
        during(&*sink, &store, &hub);
        if expected.is_some() {
            let error = timeout(TIMEOUT, client.conn.read()).await.unwrap().unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::SERVICE_RESTART), "{name}");
        } else {
            client.cut();
        }
        empty(&hub).await;
        let welcome = client.resume(&hub).await;
        assert_eq!(welcome["recovered"], expected.is_none(), "{name}: {welcome}");
        assert_eq!(welcome["reason"].as_str(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_client_of_a_store_that_numbers_later_is_recovered_once_its_positions_are_known() {
    let at = |offset| Position { epoch: 1, offset };
    // A room without a message so far, and one whose history is older than the member.
    let quiet = |sink: &dyn HistorySink, _: &SlowStore, _: &Hub| {
        sink.reached("room1", at(0));
        sink.reached("room2", at(0));
    };
    check_store("quiet rooms", quiet, None).await;
    let again = |sink: &dyn HistorySink, _: &SlowStore, _: &Hub| {
        quiet(sink, &SlowStore::default(), &Hub::new());
        sink.reached("room1", at(0));
    };
    check_store("the same position again", again, None).await;
    let behind = |sink: &dyn HistorySink, _: &SlowStore, _: &Hub| {
        quiet(sink, &SlowStore::default(), &Hub::new());
        sink.reached("room1", at(1));
    };
    check_store("a position that is ahead", behind, Some("missed")).await;
    let other = |sink: &dyn HistorySink, _: &SlowStore, _: &Hub| {
        quiet(sink, &SlowStore::default(), &Hub::new());
        sink.reached("room1", Position { epoch: 2, offset: 0 });
    };
    check_store("another numbering", other, Some("missed")).await;
    let lost = |sink: &dyn HistorySink, _: &SlowStore, _: &Hub| sink.lost("room2");
    check_store("lost messages", lost, Some("missed")).await;
}

#[tokio::test]
async fn a_member_has_the_position_of_its_room_from_the_moment_it_joins() {
    let store = SlowStore::default();
    let hub = hub(builder().history_store(store.clone()));
    let (_first, _) = Client::enter(&hub).await;
    for room in ["room1", "room2"] {
        store.sink().reached(room, Position { epoch: 1, offset: 0 });
    }
    hub.to("room1").emit("n", &1).unwrap();
    store.flush();
    let (mut client, _) = Client::enter(&hub).await;
    client.cut();
    wait_until(|| hub.len() == 1).await;
    hub.to("room1").emit("n", &2).unwrap();
    store.flush();
    assert_eq!(client.resume(&hub).await["recovered"], true);
    assert_eq!(client.read().await, 2);
}

/// A client is away for a while, and meanwhile something happens on another node → why it does not
/// get its session back, or `None`.
async fn check_cluster(
    name: &str,
    meanwhile: impl AsyncFn(&Hub, &LoopbackBroker),
    expected: Option<&str>,
) {
    let bus = LoopbackBus::new(1);
    let join = || {
        let broker = bus.join();
        let config = ClusterConfig::new(broker.clone()).routing(Routing::PerRoom);
        (hub_of(builder().build_clustered(config).unwrap()), broker)
    };
    let ((hub, _), (other, broker)) = (join(), join());
    let (mut client, socket) = Client::enter(&hub).await;
    socket.join("live").unwrap();
    // The nodes know each other, and their numbers count.
    sleep(Duration::from_secs(20)).await; // tidy: sleep is the subject
    other.to("room2").emit("n", &1).unwrap();
    assert_eq!(client.read().await, 1);
    client.cut();
    empty(&hub).await;
    // Longer than a subscription stays without a member.
    sleep(Duration::from_secs(30)).await; // tidy: sleep is the subject
    meanwhile(&other, &broker).await;
    sleep(Duration::from_secs(30)).await; // tidy: sleep is the subject
    let welcome = client.resume(&hub).await;
    assert_eq!(welcome["reason"].as_str(), expected, "{name}: {welcome}");
}

#[tokio::test(start_paused = true)]
async fn what_other_nodes_send_outside_of_histories_to_a_client_that_is_away_is_counted() {
    check_cluster("nothing", async |_, _| {}, None).await;
    let other_room = async |other: &Hub, _: &LoopbackBroker| {
        other.to("elsewhere").emit("n", &2).unwrap();
    };
    check_cluster("to another room", other_room, None).await;
    let to_room = async |other: &Hub, _: &LoopbackBroker| {
        other.to("live").emit("n", &2).unwrap();
    };
    check_cluster("to its room", to_room, Some("missed")).await;
    let lost = async |other: &Hub, broker: &LoopbackBroker| {
        broker.set_group(1);
        other.emit("n", &2).unwrap();
        broker.set_group(0);
    };
    check_cluster("a gap", lost, Some("missed")).await;
    let dies = async |_: &Hub, broker: &LoopbackBroker| broker.set_group(1);
    check_cluster("a node that is silent", dies, Some("missed")).await;
    let leaves = async |other: &Hub, _: &LoopbackBroker| {
        other.drain(Duration::from_secs(1)).await;
    };
    check_cluster("a node that leaves", leaves, None).await;
}

const ROOMS: usize = 20;
const CLIENTS: u64 = 50;
const CUTS: usize = 8;
/// The number of the last message of each room.
const LAST: u64 = u64::MAX;

/// The rooms of a client: those with the same remainder by five.
fn rooms_of(client: u64) -> Vec<usize> {
    (0..ROOMS).filter(|room| *room as u64 % 5 == client % 5).collect()
}

/// A client that loses its connection at random. Returns how often its session was not recovered.
async fn run_client(hub: Hub, number: u64, finished: Arc<AtomicU64>) -> usize {
    let mut random = SmallRng::seed_from_u64(number);
    let mut client = Client::new(&hub).await;
    let (mut cuts, mut lost, mut ended) = (0, 0, 0);
    // Connections that are lost, and whose loss the hub does not detect.
    let mut silent = Vec::new();
    // The last number of each room.
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    while ended < rooms_of(number).len() {
        if cuts < CUTS && random.random_ratio(1, 40) {
            cuts += 1;
            if random.random() {
                client.cut();
            }
            silent.push(client.conn.clone());
            if client.resume(&hub).await["recovered"] != true {
                lost += 1;
                last.clear();
            }
            if cuts == CUTS {
                finished.fetch_add(1, SeqCst);
            }
        }
        let data = client.read().await;
        let (room, got) = (data[0].as_u64().unwrap(), data[1].as_u64().unwrap());
        if got == LAST {
            ended += 1;
        } else if let Some(before) = last.insert(room, got) {
            assert_eq!(got, before + 1, "room {room} of client {number} after {cuts} cuts");
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_lose_connections_at_random_have_every_message_once_and_in_order() {
    let hub = builder().build();
    let numbers = AtomicU64::new(0);
    hub.on_connect(move |socket: Socket| {
        if !socket.recovered() {
            let number = numbers.fetch_add(1, SeqCst);
            rooms_of(number).iter().for_each(|room| socket.join(format!("room{room}")).unwrap());
        }
        ready(())
    });
    let finished = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(tokio::spawn(run_client(hub.clone(), number, Arc::clone(&finished))));
        wait_until(|| hub.len() == clients.len()).await;
    }
    let per_room = usize::try_from(CLIENTS).unwrap() / 5;
    wait_until(|| (0..ROOMS).all(|room| hub.to(format!("room{room}")).count() == per_room)).await;
    let sending = async {
        for number in 0.. {
            if finished.load(SeqCst) == CLIENTS {
                return;
            }
            for room in 0..ROOMS {
                hub.to(format!("room{room}")).emit("n", &(room, number)).unwrap();
                tokio::task::yield_now().await;
            }
            // Not faster than the clients read.
            while hub.stats().queued_bytes > 16 * 1024 {
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(3 * TIMEOUT, sending).await.unwrap();
    for room in 0..ROOMS {
        hub.to(format!("room{room}")).emit("n", &(room, LAST)).unwrap();
    }
    let lost = timeout(TIMEOUT, join_all(clients)).await.unwrap();
    // No message outside of the histories was sent.
    assert_eq!(lost.into_iter().map(Result::unwrap).sum::<usize>(), 0);
}
