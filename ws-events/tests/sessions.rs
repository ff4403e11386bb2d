//! Do hubs that share a store of sessions in memory give a client its session, to one connection alone?

use std::sync::Arc;
use std::time::Duration;

use crate::recovery::{GatedSessions, GatedStore};
use crate::support::{TIMEOUT, serve_socketio, wait_until};
use futures::future::{join_all, ready};
use serde_json::{Value, json};
use session_store::{MINUTE, check};
use tokio::sync::{Semaphore, watch};
use tokio::time::{advance, sleep, timeout};
use ws_core::{Conn, pair};
use ws_events::broker::{LoopbackBroker, LoopbackBus};
use ws_events::cluster::ClusterConfig;
use ws_events::{
    Bytes, History, Hub, HubBuilder, MemoryHistory, MemorySessions, NotConnected, Overflow,
    Protocol, Recovery, SendQueueLimits, SessionStore as _, Socket, Stored,
};

#[path = "support/session_store.rs"]
mod session_store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_memory_keeps_the_contract() {
    let store = MemorySessions::new();
    check([Arc::new(store.clone()), Arc::new(store.clone())], "key").await;
    let before = store.len();
    for generation in [1, 2, 1] {
        store.put("key", generation, Bytes::new(), MINUTE).await.unwrap();
    }
    assert_eq!(store.len(), before, "a key has one record");
}

/// The length of each record, and for how long it is kept → which of them are there, after some
/// seconds.
async fn check_limits(
    store: MemorySessions,
    records: &[(&'static str, usize, u64)],
    seconds: u64,
    expected: &str,
) {
    for (key, length, ttl) in records {
        let _ = store.put(key, 1, vec![0; *length].into(), Duration::from_secs(*ttl)).await;
    }
    advance(Duration::from_secs(seconds)).await;
    let what = format!("{records:?}, {seconds} s");
    assert_eq!((store.len(), store.is_empty()), (expected.len(), expected.is_empty()), "{what}");
    for key in ["a", "b", "c"] {
        let is_there = store.replace(key, Bytes::new(), MINUTE).await.unwrap().is_some();
        assert_eq!(is_there, expected.contains(key), "{what}: {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_in_memory_is_bounded_by_number_bytes_and_age() {
    let (all, three) = (usize::MAX, [("a", 100, 60), ("b", 100, 30), ("c", 100, 60)]);
    let bytes = 3 * (256 + 1 + 100);
    for (records, most_bytes, expected) in [
        (3, bytes, "abc"),
        (2, all, "ac"),
        (1, all, "c"),
        (0, all, ""),
        (all, bytes - 1, "ac"),
        // A record that is too long alone removes no other one.
        (all, 256 + 1 + 99, ""),
    ] {
        check_limits(MemorySessions::with_limits(records, most_bytes), &three, 0, expected).await;
    }
    let store = || MemorySessions::with_limits(all, bytes);
    let too_long = [("a", 100, 60), ("b", bytes - 256, 60), ("a", bytes, 60)];
    check_limits(store(), &too_long, 0, "a").await;
    let again = [("a", 300, 60), ("a", 300, 60), ("a", 100, 60), ("b", 100, 60), ("c", 100, 60)];
    check_limits(store(), &again, 0, "abc").await;
    for (seconds, expected) in [(29, "abc"), (30, "ac"), (60, "")] {
        check_limits(MemorySessions::new(), &three, seconds, expected).await;
    }
    let refused = MemorySessions::with_limits(9, 100).put("a", 1, Bytes::new(), MINUTE).await;
    assert!(refused.unwrap_err().to_string().contains("longer than all"));
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Over {
    Envelope,
    SocketIo,
}

/// A client that comes back.
pub(crate) struct Client {
    pub(crate) conn: Conn,
    over: Over,
    pub(crate) token: Option<String>,
    /// The offset of its last event.
    at: Option<String>,
    pub(crate) is_recovered: bool,
    /// Why not, if its protocol tells it.
    pub(crate) reason: Option<String>,
}

impl Client {
    async fn connect(hub: &Hub, over: Over, token: Option<&str>, at: Option<&str>) -> Self {
        let (conn, server) = pair();
        match over {
            Over::Envelope => {
                let hub = hub.clone();
                tokio::spawn(async move { hub.serve_as(server, Protocol::Resumable).await });
                conn.write(json!({"resume": token, "at": at}).to_string()).await.unwrap();
            }
            Over::SocketIo => {
                serve_socketio(hub, server);
                read(&conn).await;
                conn.write(format!("40{}", json!({"pid": token, "offset": at}))).await.unwrap();
            }
        }
        let answer = read(&conn).await;
        let answer: Value = serde_json::from_str(answer.trim_start_matches("40")).unwrap();
        let of = |name: &str| answer[name].as_str().map(str::to_owned);
        let own = of(if over == Over::Envelope { "session" } else { "pid" });
        // The library of Socket.IO compares the tokens.
        let is_recovered = match over {
            Over::Envelope => answer["recovered"] == true,
            Over::SocketIo => own.as_deref() == token,
        };
        Self {
            conn,
            over,
            token: own,
            at: at.map(str::to_owned),
            is_recovered,
            reason: of("reason"),
        }
    }

    pub(crate) async fn enter(hub: &Hub, over: Over) -> (Self, Socket) {
        let client = Self::connect(hub, over, None, None).await;
        let find = || hub.everyone().sockets().into_iter().find(|socket| socket.is_in("room"));
        wait_until(|| find().is_some()).await;
        (client, find().unwrap())
    }

    pub(crate) async fn resume(&self, hub: &Hub) -> Self {
        Self::connect(hub, self.over, self.token.as_deref(), self.at.as_deref()).await
    }

    /// The number of the next event.
    pub(crate) async fn next(&mut self) -> u64 {
        let event = read(&self.conn).await;
        let event: Value = serde_json::from_str(event.trim_start_matches("42")).unwrap();
        let (number, at) = match self.over {
            Over::Envelope => (&event["data"], &event["at"]),
            Over::SocketIo => (&event[1], &event[2]),
        };
        self.at = Some(at.as_str().unwrap().to_owned());
        number.as_u64().unwrap()
    }

    /// It did not get its session by this connection, and learns it. A client of Socket.IO does not
    /// learn why.
    #[track_caller]
    pub(crate) fn check_lost(&self, other: &Self, reason: &str) {
        assert!(!other.is_recovered && other.token != self.token, "{:?}", self.over);
        let expected = if self.over == Over::Envelope { Some(reason) } else { None };
        assert_eq!(other.reason.as_deref(), expected);
    }
}

async fn read(conn: &Conn) -> String {
    let message = timeout(TIMEOUT, conn.read()).await.expect("a message in time").unwrap();
    message.as_text().unwrap().to_owned()
}

/// Hubs of one cluster, whose new sockets join a room.
pub(crate) async fn nodes(count: usize, recovery: &Recovery) -> (Vec<Hub>, Vec<LoopbackBroker>) {
    nodes_with(count, || Hub::builder().envelope().recovery(recovery.clone())).await
}

pub(crate) async fn nodes_with(
    count: usize,
    builder: impl Fn() -> HubBuilder,
) -> (Vec<Hub>, Vec<LoopbackBroker>) {
    let bus = LoopbackBus::new(1);
    let brokers: Vec<_> = (0..count).map(|_| bus.join()).collect();
    let node = |broker: &LoopbackBroker| {
        joining(builder().build_clustered(ClusterConfig::new(broker.clone())).unwrap())
    };
    let hubs: Vec<_> = brokers.iter().map(node).collect();
    // They know each other, and their numbers count.
    sleep(Duration::from_secs(20)).await; // tidy: sleep is the subject
    assert!(hubs.iter().all(|hub| hub.nodes().len() + 1 == count));
    (hubs, brokers)
}

fn joining(hub: Hub) -> Hub {
    hub.on_connect(|socket: Socket| {
        let joined = if socket.recovered() { Ok(()) } else { socket.join("room") };
        ready(joined as Result<(), NotConnected>)
    });
    hub
}

pub(crate) async fn empty(hub: &Hub) {
    wait_until(|| hub.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_session_on_each_hub_that_shares_the_store() {
    for over in [Over::Envelope, Over::SocketIo] {
        let sessions = MemorySessions::new();
        let (hubs, _) = nodes(3, &Recovery::new().store(sessions.clone())).await;
        let (mut client, socket) = Client::enter(&hubs[0], over).await;
        // A client of Socket.IO keeps its token, so it has one record.
        let turns = if over == Over::Envelope { 7 } else { 2 };
        for turn in 1..turns {
            wait_until(|| sessions.len() == turn).await;
            // Every other time, its hub has not noticed the loss.
            if turn % 2 == 0 {
                client.conn.close_now();
                empty(&hubs[(turn - 1) % 3]).await;
            }
            let hub = &hubs[turn % 3];
            client = client.resume(hub).await;
            assert!(client.is_recovered, "{over:?} {turn}: {:?}", client.reason);
            assert!(hub.socket(socket.id()).unwrap().is_in("room"), "{over:?} {turn}");
            hubs[0].to("room").emit("n", &turn).unwrap();
            assert_eq!(client.next().await, turn as u64);
        }
        let (last, next) = (&hubs[(turns - 1) % 3], &hubs[turns % 3]);
        let reading = async { while client.conn.read().await.is_ok() {} };
        tokio::join!(last.drain(Duration::from_secs(5)), reading);
        let client = client.resume(next).await;
        assert!(client.is_recovered, "{over:?}, drained: {:?}", client.reason);
        assert!(next.socket(socket.id()).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_record_is_lost_is_with_the_node_that_made_its_token() {
    for over in [Over::Envelope, Over::SocketIo] {
        let store = MemorySessions::with_limits(0, usize::MAX);
        let (hubs, brokers) = nodes(2, &Recovery::new().store(store)).await;
        let (client, socket) = Client::enter(&hubs[0], over).await;
        let client = client.resume(&hubs[1]).await;
        assert!(client.is_recovered, "{over:?}: {:?}", client.reason);
        assert!(hubs[1].socket(socket.id()).is_some());
        if over == Over::SocketIo {
            // It keeps its token, whose node does not have the session any more.
            client.check_lost(&client.resume(&hubs[0]).await, "unknown_session");
        } else {
            brokers[0].set_group(1);
            sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
            assert!(hubs[0].nodes().is_empty());
            client.check_lost(&client.resume(&hubs[0]).await, "unknown_session");
        }
        assert!(client.resume(&hubs[1]).await.is_recovered);
    }
}

/// Two connections claim a session at once, on these hubs → one of them has it. Before, the
/// connection of the session was lost, or its hub cannot be reached any more.
async fn check_claims(over: Over, places: [usize; 2], is_lost: bool, is_cut_off: bool) {
    let what = format!("{over:?} on {places:?}, lost: {is_lost}, cut off: {is_cut_off}");
    let sessions = MemorySessions::new();
    let (hubs, brokers) = nodes(3, &Recovery::new().store(sessions.clone()).stored_only()).await;
    let (client, socket) = Client::enter(&hubs[0], over).await;
    let id = socket.id();
    wait_until(|| sessions.len() == 1).await;
    if is_lost {
        client.conn.close_now();
        empty(&hubs[0]).await;
    }
    if is_cut_off {
        brokers[0].set_group(1);
        // Shorter than the window.
        sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
        assert!(hubs[1].nodes().len() == 1 && hubs[2].nodes().len() == 1);
    }
    let claims = join_all(places.map(|place| client.resume(&hubs[place]))).await;
    let is_there: Vec<_> = places.iter().map(|place| hubs[*place].socket(&id).is_some()).collect();
    assert!(is_there == [true, false] || is_there == [false, true], "{what}: {is_there:?}");
    for (claim, is_there) in claims.iter().zip(is_there) {
        if is_there {
            assert!(claim.is_recovered, "{what}");
        } else if claim.is_recovered {
            // A client of Socket.IO keeps its token, so the second one ends the connection of the first.
            assert_eq!(over, Over::SocketIo, "{what}");
            timeout(TIMEOUT, claim.conn.closed()).await.unwrap();
        } else {
            client.check_lost(claim, "already_claimed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_two_connections_that_claim_a_session_on_two_hubs_gets_it() {
    for over in [Over::Envelope, Over::SocketIo] {
        for places in [[1, 2], [0, 1]] {
            for is_lost in [false, true] {
                check_claims(over, places, is_lost, false).await;
            }
        }
        check_claims(over, [1, 2], true, true).await;
    }
}

/// The store has to know it before the node dies.
#[tokio::test(start_paused = true)]
async fn a_session_for_which_a_message_was_dropped_does_not_outlive_its_node() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let sessions = MemorySessions::new();
        let recovery = Recovery::new().store(sessions.clone()).stored_only();
        let limits = SendQueueLimits::new().messages(1).overflow(overflow);
        let builder =
            || Hub::builder().envelope().recovery(recovery.clone()).send_queue(limits.clone());
        let (hubs, brokers) = nodes_with(2, builder).await;
        let (client, _socket) = Client::enter(&hubs[0], Over::Envelope).await;
        wait_until(|| sessions.len() == 1).await;
        let long = "x".repeat(64 * 1024);
        wait_until(|| {
            hubs[0].emit("n", &long).unwrap();
            hubs[0].stats().refused + hubs[0].stats().dropped > 0
        })
        .await;
        // Before all records are written again.
        sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
        brokers[0].set_group(1);
        sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
        client.check_lost(&client.resume(&hubs[1]).await, "missed");
    }
}

/// A full send queue drops a message of a history, and the node dies before the store has the record of
/// it, or after that → whether the session is recovered on another node.
async fn check_death_behind_loss(
    over: Over,
    rooms: &'static [&'static str],
    overflow: Overflow,
    is_stored: bool,
    expected: bool,
) {
    let what = format!("{over:?} in {rooms:?}, {overflow:?}, stored: {is_stored}");
    let histories = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(99)));
    let held = watch::Sender::new(false);
    let is_held = held.clone();
    let sessions = GatedSessions(MemorySessions::new(), move || {
        let mut held = is_held.subscribe();
        async move {
            let _ = held.wait_for(|is_held| !is_held).await;
            Ok(())
        }
    });
    let builder = || {
        let recovery = Recovery::new().store(sessions.clone()).stored_only().room_offsets(2);
        let limits = SendQueueLimits::new().messages(2).overflow(overflow);
        let builder = Hub::builder().envelope().history("room*", History::new());
        builder.history_store(histories.clone()).recovery(recovery).send_queue(limits)
    };
    let (hubs, brokers) = nodes_with(2, builder).await;
    let (mut client, socket) = Client::enter(&hubs[0], over).await;
    rooms.iter().for_each(|room| socket.join(room).unwrap());
    // The nodes share the histories, so each message is appended by one of them.
    let emit = |hub: &Hub, room: &str, number: u64| {
        let stored = hub.to(room).local().emit("n", &number).unwrap().stored;
        assert!(matches!(stored, Stored::At(_)), "{what}: {stored:?}");
    };
    // Its positions are known, and are in the record with the next change of its rooms.
    for room in rooms {
        emit(&hubs[0], room, 1);
        assert_eq!(client.next().await, 1, "{what}");
    }
    socket.join("other").unwrap();
    sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
    held.send_replace(!is_stored);
    (2..5).for_each(|number| emit(&hubs[0], "room1", number));
    let kept = if overflow == Overflow::DropOldest { [3, 4] } else { [2, 3] };
    for number in kept {
        assert_eq!(client.next().await, number, "{what}");
    }
    emit(&hubs[0], "room1", 5);
    assert_eq!(client.next().await, 5, "{what}");
    // Longer than a write takes, and shorter than the time after which it is repeated.
    sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
    brokers[0].set_group(1);
    sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
    emit(&hubs[1], "room1", 6);
    let mut again = client.resume(&hubs[1]).await;
    assert_eq!(again.is_recovered, expected, "{what}: {:?}", again.reason);
    if expected {
        // Nobody that is left knows of the message that was dropped.
        assert_eq!(again.next().await, 6, "{what}");
    } else if is_stored {
        client.check_lost(&again, "missed");
    } else {
        client.check_lost(&again, "unknown_offset");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_is_silent_if_the_node_dies_while_its_record_is_on_its_way() {
    let (one, two) = (&["room1"][..], &["room1", "room2"][..]);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        for (over, rooms, is_stored, expected) in [
            (Over::Envelope, one, true, false),
            (Over::Envelope, one, false, true),
            (Over::SocketIo, one, true, false),
            (Over::SocketIo, one, false, true),
            (Over::SocketIo, two, true, false),
            // Behind the drop, an event has the offset of its own room alone.
            (Over::SocketIo, two, false, false),
        ] {
            check_death_behind_loss(over, rooms, overflow, is_stored, expected).await;
        }
    }
}

/// A node is cut off, and the client goes on with another one. When it comes back to the first, that does
/// not know what the client has got meanwhile.
#[tokio::test(start_paused = true)]
async fn a_client_gets_nothing_twice_from_a_node_that_was_cut_off() {
    let histories = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(99)));
    let sessions = MemorySessions::new();
    let builder = || {
        let recovery = Recovery::new().store(sessions.clone()).stored_only();
        let builder = Hub::builder().envelope().history("room", History::new());
        builder.history_store(histories.clone()).recovery(recovery)
    };
    let (hubs, brokers) = nodes_with(2, builder).await;
    // One with another token would ask the store.
    let (mut client, socket) = Client::enter(&hubs[0], Over::SocketIo).await;
    let emit = |hub: &Hub, number: u64| _ = hub.to("room").local().emit("n", &number).unwrap();
    emit(&hubs[0], 1);
    assert_eq!(client.next().await, 1);
    // Its position is known, and is in the record with the next change of its rooms.
    socket.join("other").unwrap();
    sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
    brokers[0].set_group(1);
    sleep(Duration::from_secs(30)).await; // tidy: sleep is the subject
    let mut again = client.resume(&hubs[1]).await;
    assert!(again.is_recovered);
    emit(&hubs[1], 2);
    assert_eq!(again.next().await, 2);
    for conn in [&client.conn, &again.conn] {
        conn.close_now();
    }
    empty(&hubs[0]).await;
    empty(&hubs[1]).await;
    let mut back = again.resume(&hubs[0]).await;
    assert!(!back.is_recovered && back.token != again.token);
    wait_until(|| hubs[0].to("room").count() == 1).await;
    emit(&hubs[0], 3);
    assert_eq!(back.next().await, 3);
}

/// The first one reads the history, and is recovered after that.
#[tokio::test]
async fn a_connection_learns_at_once_that_another_one_has_claimed_the_session() {
    for over in [Over::Envelope, Over::SocketIo] {
        let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
        let builder = Hub::builder().envelope().history("room", History::new());
        let builder = builder.history_store(store.clone()).recovery(Recovery::new());
        let hub = joining(builder.build());
        let (client, socket) = Client::enter(&hub, over).await;
        // Only now the position of its room is known.
        hub.to("room").emit("n", &1).unwrap();
        read(&client.conn).await;
        client.conn.close_now();
        empty(&hub).await;
        let claims = async {
            wait_until(|| hub.to("room").count() == 1).await;
            let second = client.resume(&hub).await;
            store.1.add_permits(1);
            second
        };
        let (first, second) = tokio::join!(client.resume(&hub), claims);
        assert!(first.is_recovered, "{over:?}: {:?}", first.reason);
        client.check_lost(&second, "already_claimed");
        assert!(hub.socket(socket.id()).is_some());
    }
}

/// Its library remembers one text.
#[tokio::test]
async fn each_event_for_a_client_of_socket_io_has_the_offsets_of_all_its_rooms() {
    let store = GatedStore(Arc::new(MemoryHistory::new()), Arc::new(Semaphore::new(0)));
    let recovery = Recovery::new().store(MemorySessions::new()).stored_only().room_offsets(2);
    let builder = Hub::builder().history("room*", History::new()).history_store(store.clone());
    // A call that waits for room has a path of its own.
    let limits = SendQueueLimits::new().overflow(Overflow::Block(TIMEOUT));
    let hub = builder.recovery(recovery).send_queue(limits).build();
    hub.on_connect(|socket: Socket| {
        let join = || ["room2", "room1", "room"].into_iter().try_for_each(|room| socket.join(room));
        let joined = if socket.recovered() { Ok(()) } else { join() };
        ready(joined as Result<(), NotConnected>)
    });
    let (mut client, socket) = Client::enter(&hub, Over::SocketIo).await;
    let emit = |room: &str, number: u64| match hub.to(room).emit("n", &number).unwrap().stored {
        Stored::At(position) => position.to_string(),
        other => panic!("{other:?}"),
    };
    let expect = async |client: &mut Client, number: u64, offsets: &[&str]| {
        assert_eq!(client.next().await, number);
        assert_eq!(client.at.clone().unwrap(), offsets.join(","), "{number}");
    };
    // Only now the positions of its rooms are known.
    let first = emit("room1", 1);
    expect(&mut client, 1, &[&first]).await;
    let second = emit("room2", 2);
    expect(&mut client, 2, &[&first, &second]).await;
    let third = emit("room1", 3);
    expect(&mut client, 3, &[&second, &third]).await;
    hub.emit("n", &4).unwrap();
    socket.emit_wait("n", &5).await.unwrap();
    for number in [4, 5] {
        assert_eq!(client.next().await, number);
        let plain = client.at.as_ref().unwrap().strip_prefix(&format!("{second},{third},"));
        assert!(plain.is_some_and(|plain| plain.starts_with('p')), "{:?}", client.at);
    }
    client.conn.close_now();
    empty(&hub).await;
    let (missed, other) = (emit("room1", 6), emit("room2", 7));
    let sending = async {
        wait_until(|| hub.to("room1").count() == 1).await;
        // The history of the first room is read, and that of the other one is not.
        store.1.add_permits(1);
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        let held = emit("room2", 8);
        store.1.add_permits(1);
        held
    };
    let (mut client, held) = tokio::join!(client.resume(&hub), sending);
    assert!(client.is_recovered);
    expect(&mut client, 7, &[&third, &other]).await;
    expect(&mut client, 6, &[&other, &missed]).await;
    expect(&mut client, 8, &[&missed, &held]).await;
    wait_until(|| hub.stats().queued_bytes == 0).await;
    // With a third room, it is known what it has of one room alone.
    let socket = hub.socket(socket.id()).unwrap();
    socket.join("room3").unwrap();
    let last = emit("room1", 9);
    // What was held back was counted as long as it was when it was sent.
    assert_eq!(hub.stats().queued_bytes, socket.stats().bytes as u64);
    expect(&mut client, 9, &[&last]).await;
}

/// What is sent meanwhile comes before it.
#[tokio::test]
async fn an_event_that_waits_for_room_has_the_offsets_of_the_moment_in_which_it_is_queued() {
    let recovery = Recovery::new().store(MemorySessions::new()).stored_only().room_offsets(2);
    let limits = SendQueueLimits::new().bytes(4_096).overflow(Overflow::Block(TIMEOUT));
    let builder = Hub::builder().history("room*", History::new()).recovery(recovery);
    let hub = joining(builder.send_queue(limits).build());
    let (mut client, socket) = Client::enter(&hub, Over::SocketIo).await;
    for room in ["room1", "room2"] {
        socket.join(room).unwrap();
    }
    let mut offsets = Vec::new();
    let mut emit = |room: &str, number: u64| match hub.to(room).emit("n", &number).unwrap().stored {
        Stored::At(position) => offsets.push(position.to_string()),
        other => panic!("{other:?}"),
    };
    emit("room1", 1);
    emit("room2", 2);
    hub.emit("text", &"x".repeat(2_000)).unwrap();
    let text = "y".repeat(3_000);
    let mut waiting = std::pin::pin!(socket.emit_wait("text", &text));
    assert!(futures::poll!(&mut waiting).is_pending());
    emit("room2", 3);
    waiting.await.unwrap();
    for number in 1..=2 {
        assert_eq!(client.next().await, number);
    }
    assert!(read(&client.conn).await.contains("xx"));
    assert_eq!(client.next().await, 3);
    assert_eq!(client.at.clone().unwrap(), format!("{},{}", offsets[0], offsets[2]));
    let last = read(&client.conn).await.replace(&text, "y");
    assert!(last.contains("\"y\""), "{last}");
    assert!(last.contains(&format!("\"{},{},p", offsets[0], offsets[2])), "{last}");
}
