//! Do hubs with one store of sessions give each other what they hold, late, often, and if messages get lost?

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::recovery::{Client, GatedSessions, connect_socketio, empty, hub_of};
use crate::support::{EventLog, wait_until};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use ws_events::broker::{
    Broker, BrokerCapabilities, BrokerSink, LoopbackBroker, LoopbackBus, PublishError, Subject,
};
use ws_events::cluster::{ClusterConfig, Routing};
use ws_events::{Hub, MemorySessions, Recovery, SessionStoreError, Socket};

const MINUTE: Duration = Duration::from_secs(60);

/// A bus that loses the last message of a handover while a test wants it.
#[derive(Clone)]
struct LossyBroker(LoopbackBroker, Arc<AtomicBool>);

impl Broker for LossyBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        self.0.capabilities()
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        self.0.start(sink);
    }

    fn subscribe(&self, subjects: &[Subject]) {
        self.0.subscribe(subjects);
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.0.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        // How a node says that it has the session that it has asked for.
        let is_release = envelope.windows(9).any(|bytes| bytes == br#""release""#);
        if is_release && self.1.load(SeqCst) { Ok(()) } else { self.0.publish(subject, envelope) }
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.0.shutdown(deadline)
    }
}

/// A new socket joins `room1` and `room2`, which have no histories.
struct Nodes {
    hubs: Vec<Hub>,
    loses_release: Arc<AtomicBool>,
}

impl Nodes {
    /// Two nodes.
    async fn new(recovery: Recovery) -> Self {
        Self::of(2, recovery).await
    }

    async fn of(count: usize, recovery: Recovery) -> Self {
        let bus = LoopbackBus::new(1);
        let loses_release = Arc::new(AtomicBool::new(false));
        let node = |_| {
            let broker = LossyBroker(bus.join(), Arc::clone(&loses_release));
            let config = ClusterConfig::new(broker).routing(Routing::PerRoom);
            let builder = Hub::builder().envelope().recovery(recovery.clone());
            hub_of(builder.build_clustered(config).unwrap())
        };
        let hubs: Vec<_> = (0..count).map(node).collect();
        wait_until(|| hubs.iter().all(|hub| hub.nodes().len() + 1 == count)).await;
        Self { hubs, loses_release }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_known_on_other_nodes_however_long_and_busy_its_own_one_is() {
    for (away, reason) in [(119, None), (121, Some("unknown_session"))] {
        let nodes = Nodes::new(Recovery::new().store(MemorySessions::new())).await;
        let (mut client, _) = Client::enter(&nodes.hubs[0]).await;
        // Another one is written in each window.
        let mut others = Vec::new();
        for _ in 0..11 {
            others.push(Client::enter(&nodes.hubs[0]).await);
            sleep(MINUTE - Duration::from_secs(1)).await; // tidy: sleep is the subject
        }
        client.cut();
        wait_until(|| nodes.hubs[0].len() == others.len()).await;
        sleep(Duration::from_secs(away)).await; // tidy: sleep is the subject
        let welcome = client.resume(&nodes.hubs[1]).await;
        assert_eq!(welcome["reason"].as_str(), reason, "{away}: {welcome}");
        assert_eq!(welcome["recovered"], reason.is_none(), "{away}: {welcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_began_while_the_store_was_down_is_known_once_it_is_up() {
    let is_down = Arc::<AtomicBool>::default();
    let gate = Arc::clone(&is_down);
    let store = GatedSessions(MemorySessions::new(), move || {
        let is_down = gate.load(SeqCst);
        ready(if is_down { Err(SessionStoreError("down".into())) } else { Ok(()) })
    });
    let nodes = Nodes::new(Recovery::new().store(store)).await;
    is_down.store(true, SeqCst);
    let (mut client, _) = Client::enter(&nodes.hubs[0]).await;
    sleep(Duration::from_secs(30)).await; // tidy: sleep is the subject
    is_down.store(false, SeqCst);
    sleep(Duration::from_secs(6)).await; // tidy: sleep is the subject
    let welcome = client.resume(&nodes.hubs[1]).await;
    assert_eq!(welcome["recovered"], true, "{welcome}");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_known_on_other_nodes_before_its_record_is_written() {
    // The other node looks once more after 50 ms, and asks the node of the token then.
    for delay in [40, 1_000] {
        let delay = Duration::from_millis(delay);
        let store = GatedSessions(MemorySessions::new(), move || async move {
            sleep(delay).await; // tidy: sleep is the subject
            Ok(())
        });
        let nodes = Nodes::new(Recovery::new().store(store)).await;
        let (mut client, _) = Client::enter(&nodes.hubs[0]).await;
        // Each welcome has a new token, which the next connection sends at once.
        for turn in 1..=4 {
            client.cut();
            let welcome = client.resume(&nodes.hubs[turn % 2]).await;
            assert_eq!(welcome["recovered"], true, "{delay:?}, {turn}: {welcome}");
        }
    }
    // A token of no session is refused after a second look.
    let known = Nodes::new(Recovery::new().store(MemorySessions::new())).await;
    let mut other = Client::enter(&known.hubs[0]).await.0;
    let unknown = MemorySessions::new();
    let elsewhere = Nodes::new(Recovery::new().store(unknown)).await;
    assert_eq!(other.resume(&elsewhere.hubs[0]).await["reason"], "unknown_session");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_gives_away_its_sessions_however_many_rooms_they_have() {
    let nodes = Nodes::new(Recovery::new().store(MemorySessions::new())).await;
    let mut clients = Vec::new();
    let enter = async |name: &str, rooms: usize| {
        let (client, socket) = Client::enter(&nodes.hubs[0]).await;
        (0..rooms).for_each(|room| socket.join(format!("{name} {room}")).unwrap());
        client
    };
    // Together more than can be marked in one step.
    for number in 0..128 {
        clients.push(enter(&number.to_string(), 9).await);
    }
    // Alone as well.
    let mut large = enter("large", 1_030).await;
    clients.iter().chain([&large]).for_each(Client::cut);
    empty(&nodes.hubs[0]).await;
    nodes.hubs[0].drain(Duration::from_secs(60)).await;
    for (at, client) in clients.iter_mut().enumerate() {
        let welcome = client.resume(&nodes.hubs[1]).await;
        assert_eq!(welcome["recovered"], true, "{at}: {welcome}");
    }
    assert_eq!(large.resume(&nodes.hubs[1]).await["reason"], "missed");
}

#[tokio::test(start_paused = true)]
async fn what_no_history_has_is_missed_at_most_once_if_only_histories_count() {
    let recovery = Recovery::new().store(MemorySessions::new()).stored_only();
    let nodes = Nodes::new(recovery).await;
    let (mut client, socket) = Client::enter(&nodes.hubs[0]).await;
    for (turn, next) in [1, 0, 0].into_iter().enumerate() {
        let id = socket.id();
        // Into the dead connection, and while it is away.
        nodes.hubs.iter().for_each(|hub| _ = hub.emit_to(&id, "n", &"missed"));
        client.cut();
        wait_until(|| nodes.hubs.iter().all(Hub::is_empty)).await;
        nodes.hubs.iter().for_each(|hub| _ = hub.emit("n", &"missed").unwrap());
        // Until all of it has arrived on both.
        sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
        let welcome = client.resume(&nodes.hubs[next]).await;
        assert_eq!(welcome["recovered"], true, "{turn}: {welcome}");
        nodes.hubs[1].emit("n", &turn).unwrap();
        assert_eq!(client.read().await, turn);
    }
}

/// Notes the sessions that end without their clients, on all nodes.
fn noting(recovery: Recovery) -> (Recovery, EventLog) {
    let log = EventLog::default();
    let expired = log.clone();
    let hook = move |session: ws_events::ExpiredSession| expired.note(session.id.to_string());
    (recovery.store(MemorySessions::new()).on_expired(hook), log)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_moves_is_not_reported_by_its_earlier_node_if_the_last_message_is_lost() {
    // A client of Socket.IO keeps its token.
    let (recovery, log) = noting(Recovery::new().stored_only());
    let nodes = Nodes::new(recovery).await;
    let (first, second) = (&nodes.hubs[0], &nodes.hubs[1]);
    let (conn, token, _) = connect_socketio(first.clone(), None, None).await;
    wait_until(|| first.to("room2").count() == 1).await;
    conn.close_now();
    empty(first).await;
    nodes.loses_release.store(true, SeqCst);
    let (conn, pid, recovered) = connect_socketio(second.clone(), Some(token), None).await;
    assert!(recovered);
    // Longer than its earlier node keeps it.
    sleep(MINUTE / 2).await; // tidy: sleep is the subject
    nodes.loses_release.store(false, SeqCst);
    conn.close_now();
    empty(second).await;
    assert_eq!(log.so_far(), [""; 0]);
    // Its record is there.
    let (_conn, _, recovered) = connect_socketio(first.clone(), Some(pid), None).await;
    assert!(recovered);
    assert_eq!(log.so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_while_it_moves_is_reported_once() {
    let (recovery, log) = noting(Recovery::new());
    let nodes = Nodes::new(recovery).await;
    let (mut client, socket): (Client, Socket) = Client::enter(&nodes.hubs[0]).await;
    client.cut();
    empty(&nodes.hubs[0]).await;
    nodes.loses_release.store(true, SeqCst);
    assert_eq!(client.resume(&nodes.hubs[1]).await["reason"], "missed");
    sleep(MINUTE / 2).await; // tidy: sleep is the subject
    assert_eq!(log.so_far(), [socket.id().to_string()]);
}

/// A handler of `disconnect` on the node of the session returns too late.
#[tokio::test(start_paused = true)]
async fn a_session_whose_node_is_up_has_one_holder_however_long_its_handlers_run() {
    for is_lost in [false, true] {
        let (recovery, log) = noting(Recovery::new().stored_only());
        let nodes = Nodes::new(recovery).await;
        let gate = Arc::new(Semaphore::new(0));
        let handler_gate = Arc::clone(&gate);
        nodes.hubs[0].on_disconnect(move |_: Socket| {
            let gate = Arc::clone(&handler_gate);
            async move { gate.acquire().await.unwrap().forget() }
        });
        let (mut client, socket) = Client::enter(&nodes.hubs[0]).await;
        sleep(MINUTE / 2).await; // tidy: sleep is the subject
        if is_lost {
            client.cut();
            wait_until(|| !socket.is_alive()).await;
        }
        let welcome = client.resume(&nodes.hubs[1]).await;
        assert_eq!(welcome["reason"], "busy", "lost: {is_lost}: {welcome}");
        gate.add_permits(1);
        empty(&nodes.hubs[0]).await;
        // Its window.
        sleep(3 * MINUTE).await; // tidy: sleep is the subject
        assert_eq!(log.so_far(), [socket.id().to_string()], "lost: {is_lost}");
    }
}

/// More clients come back at once than a node asks, or answers, at the same time.
#[tokio::test(start_paused = true)]
async fn a_session_whose_node_is_up_has_one_holder_however_many_are_asked_for() {
    for places in [&[1][..], &[1, 2]] {
        let (recovery, log) = noting(Recovery::new().stored_only());
        let nodes = Nodes::of(3, recovery).await;
        let gate = Arc::new(Semaphore::new(0));
        let handler_gate = Arc::clone(&gate);
        nodes.hubs[0].on_disconnect(move |_: Socket| {
            let gate = Arc::clone(&handler_gate);
            async move { gate.acquire().await.unwrap().forget() }
        });
        let mut clients = Vec::new();
        for _ in 0..1_100 {
            clients.push(Client::new(&nodes.hubs[0]).await);
        }
        wait_until(|| nodes.hubs[0].to("room2").count() == clients.len()).await;
        sleep(MINUTE / 2).await; // tidy: sleep is the subject
        let claims = clients.iter_mut().zip(places.iter().cycle()).map(|(client, place)| {
            let hub = &nodes.hubs[*place];
            async move { client.resume(hub).await["reason"].clone() }
        });
        let reasons = join_all(claims).await;
        assert!(reasons.iter().all(|reason| reason == "busy"), "{places:?}: {reasons:?}");
        gate.add_permits(clients.len());
        empty(&nodes.hubs[0]).await;
        sleep(3 * MINUTE).await; // tidy: sleep is the subject
        assert_eq!(log.so_far().len(), clients.len());
    }
}
