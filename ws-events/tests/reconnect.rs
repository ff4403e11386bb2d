//! Does `Reconnect` of `ws-client` get its session back, with each event once and in order?

use std::collections::BTreeMap;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_client::reconnect::{Backoff, ConnectionFailure, ReconnectError, ReconnectState};
use ws_client::{Dial, Reconnect, ReconnectingConn};
use ws_core::{Conn, StatusCode, pair};
use ws_events::{ConnectRejection, History, Hub, NotConnected, Protocol, Recovery, Socket};

use crate::support::{TIMEOUT, wait_until};

/// A hub that recovers sessions within this time. Each new socket joins a room.
fn hub(window: Duration) -> Hub {
    let recovery = Recovery::new().window(window);
    let hub = Hub::builder().envelope().history("room", History::new()).recovery(recovery).build();
    hub.on_connect(async |socket: Socket| {
        if !socket.recovered() {
            socket.join("room")?;
        }
        Ok::<_, NotConnected>(())
    });
    hub
}

const LONG: Duration = Duration::from_secs(600);

/// The last connection of a client, from both sides.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<Option<(Conn, Conn)>>>);

impl Network {
    /// A `Reconnect` whose connections are served by this function.
    fn reconnect(&self, serve: impl Fn(Conn) + Send + Sync + 'static) -> Reconnect {
        let network = self.clone();
        Reconnect::new(Dial::new("ws://example.com/"))
            .backoff(Backoff::new().first(Duration::from_millis(10)).max(Duration::from_millis(20)))
            .dial_by(move |_| {
                let (client, server) = pair();
                *network.0.lock() = Some((client.clone(), server.clone()));
                serve(server);
                ready(Ok(client))
            })
    }

    /// The connection is lost once the client has its session.
    async fn cut(&self, conn: &ReconnectingConn) {
        timeout(TIMEOUT, conn.connected()).await.unwrap().unwrap();
        let (client, server) = self.0.lock().clone().unwrap();
        // Each side is the first to know in turn.
        if client.id() / 2 % 2 == 0 {
            server.close_now()
        } else {
            client.close_now()
        }
        timeout(TIMEOUT, client.closed()).await.unwrap();
    }
}

fn serve(hub: &Hub) -> impl Fn(Conn) + Send + Sync + use<> {
    let hub = hub.clone();
    move |conn| {
        let hub = hub.clone();
        tokio::spawn(async move { hub.serve_as(conn, Protocol::Resumable).await });
    }
}

/// Waits until the client has received all that was sent.
async fn arrive(conn: &ReconnectingConn) {
    let open = timeout(TIMEOUT, conn.connected()).await.unwrap().unwrap();
    timeout(TIMEOUT, open.ping()).await.unwrap().unwrap();
}

/// A client whose socket is in the room.
async fn enter(hub: &Hub) -> (Network, ReconnectingConn) {
    let network = Network::default();
    let members = hub.to("room").count();
    let conn = network.reconnect(serve(hub)).resumable().connect();
    let conn = timeout(TIMEOUT, conn).await.unwrap().unwrap();
    wait_until(|| hub.to("room").count() == members + 1).await;
    assert!(!conn.recovered());
    (network, conn)
}

#[derive(Deserialize)]
struct NumberEvent {
    event: String,
    data: u64,
}

/// The number of the next event, or the loss of the session.
async fn read(conn: &ReconnectingConn) -> Option<u64> {
    match timeout(TIMEOUT, conn.read()).await.unwrap() {
        Ok(message) => {
            let NumberEvent { event, data } = message.json().unwrap();
            assert_eq!(event, "n");
            Some(data)
        }
        Err(ReconnectError::SessionLost) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_client_reads_each_event_once_and_in_order_whatever_has_arrived_before_the_loss() {
    let hub = hub(LONG);
    let (network, conn) = enter(&hub).await;
    let (mut sent, mut got) = (0, 0);
    for round in 0..100 {
        for _ in 0..4 {
            hub.to("room").emit("n", &sent).unwrap();
            sent += 1;
        }
        if round % 2 == 0 {
            // All of them have arrived. From none to three are read before the loss.
            arrive(&conn).await;
        }
        for _ in 0..round % 4 {
            assert_eq!(read(&conn).await, Some(got), "{round}");
            got += 1;
        }
        network.cut(&conn).await;
        if round % 3 == 0 {
            wait_until(|| hub.is_empty()).await;
        }
        hub.to("room").emit("n", &sent).unwrap();
        sent += 1;
        // At least one connection is not read at all in some rounds.
        if round % 5 != 0 {
            assert_eq!(read(&conn).await, Some(got), "{round}");
            got += 1;
        }
    }
    while got < sent {
        assert_eq!(read(&conn).await, Some(got));
        got += 1;
    }
    assert!(conn.recovered());
    hub.to("room").emit("n", &sent).unwrap();
    assert_eq!(read(&conn).await, Some(sent));
}

#[tokio::test]
async fn a_lost_session_is_reported_once_between_its_events_and_those_of_the_next() {
    let hub = hub(Duration::ZERO);
    let (network, conn) = enter(&hub).await;
    let renew = async || {
        let before = hub.everyone().sockets();
        network.cut(&conn).await;
        let is_new = |socket: &Socket| !before.contains(socket) && socket.is_in("room");
        wait_until(|| hub.everyone().sockets().iter().any(is_new)).await;
        timeout(TIMEOUT, conn.connected()).await.unwrap().unwrap();
        assert!(!conn.recovered());
    };
    let send = async |number: u64| {
        hub.to("room").emit("n", &number).unwrap();
        arrive(&conn).await;
    };
    send(1).await;
    send(2).await;
    assert_eq!(read(&conn).await, Some(1));
    renew().await;
    send(3).await;
    // What has arrived before is not lost.
    for expected in [Some(2), None, Some(3)] {
        assert_eq!(read(&conn).await, expected);
    }
    // Of connections that are not read, the last two are kept. The losses are one.
    for number in 4..8 {
        renew().await;
        send(number).await;
    }
    for expected in [None, Some(6), None, Some(7)] {
        assert_eq!(read(&conn).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_lose_and_repeat_nothing() {
    let hub = hub(LONG);
    let (network, conn) = enter(&hub).await;
    const LAST: u64 = 2_000;
    let got = Arc::new(Mutex::new(Vec::new()));
    let readers = (0..4).map(|_| {
        let (conn, got) = (conn.clone(), Arc::clone(&got));
        tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(1);
            loop {
                // A dropped read loses nothing.
                let read = async { Some(read(&conn).await.unwrap()) };
                let give_up = async {
                    for _ in 0..random.random_range(0..8) {
                        yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    Some(number) = read => got.lock().push(number),
                    () = give_up => {}
                }
                if got.lock().len() as u64 == LAST {
                    return;
                }
                yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let mut random = SmallRng::seed_from_u64(2);
    for number in 0..LAST {
        hub.to("room").emit("n", &number).unwrap();
        if random.random_ratio(1, 50) {
            network.cut(&conn).await;
        }
        while number > got.lock().len() as u64 + 100 {
            yield_now().await;
        }
        yield_now().await;
    }
    let readers = timeout(TIMEOUT, join_all(readers)).await.unwrap();
    assert!(readers.iter().all(Result::is_ok));
    let mut got = std::mem::take(&mut *got.lock());
    got.sort_unstable();
    assert!(got.into_iter().eq(0..LAST));
}

#[tokio::test]
async fn what_has_arrived_waits_for_the_answer_and_is_read_once() {
    for recovered in [true, false] {
        let hub = hub(LONG);
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1)));
        let (count, opens) = (Arc::clone(&asked), Arc::clone(&gate));
        hub.middleware(move |_: Socket| {
            let (count, opens) = (Arc::clone(&count), Arc::clone(&opens));
            async move {
                count.fetch_add(1, SeqCst);
                opens.acquire().await.unwrap().forget();
                Ok::<_, ConnectRejection>(())
            }
        });
        let (network, conn) = enter(&hub).await;
        let mut reading = pin!(read(&conn));
        assert!(poll!(&mut reading).is_pending());
        for number in 1..=3 {
            hub.to("room").emit("n", &number).unwrap();
        }
        arrive(&conn).await;
        network.cut(&conn).await;
        wait_until(|| asked.load(SeqCst) == 2).await;
        for _ in 0..10 {
            assert!(poll!(&mut reading).is_pending());
            yield_now().await;
        }
        if !recovered {
            // No history has it, and nobody gets it.
            hub.emit("n", &0).unwrap();
        }
        gate.add_permits(1);
        assert_eq!(reading.await, Some(1));
        wait_until(|| hub.to("room").count() == 1).await;
        hub.to("room").emit("n", &4).unwrap();
        for number in [2, 3] {
            assert_eq!(read(&conn).await, Some(number));
        }
        if !recovered {
            assert_eq!(read(&conn).await, None);
        }
        assert_eq!(read(&conn).await, Some(4));
        assert_eq!(conn.recovered(), recovered);
    }
}

const ROOMS: usize = 20;
const CLIENTS: usize = 50;
/// The sender is at most so many events of a room ahead of the slowest client.
const AHEAD: u64 = 50;

/// Losses of each client: 8, or 10 for each second of `WS_SOAK`.
fn cuts() -> usize {
    let seconds = std::env::var("WS_SOAK").ok().and_then(|text| text.parse::<usize>().ok());
    seconds.map_or(8, |seconds| 10 * seconds)
}

/// The rooms of a client: those with the same remainder by five.
fn rooms_of(client: usize) -> impl Iterator<Item = usize> {
    (0..ROOMS).filter(move |room| room % 5 == client % 5)
}

/// Loses its connection at random, and reads every event of its rooms once and in order. Notes how
/// many it has of the room of which it has fewest.
async fn run_client(hub: Hub, client: usize, progress: Arc<[AtomicU64]>) {
    let network = Network::default();
    let conn = network.reconnect(serve(&hub)).resumable().start();
    let mut random = SmallRng::seed_from_u64(client as u64);
    let mut next: BTreeMap<usize, u64> = rooms_of(client).map(|room| (room, 0)).collect();
    let mut left = cuts();
    while left > 0 {
        let message = timeout(TIMEOUT, conn.read()).await.unwrap().unwrap();
        let RoomEvent { data: (room, number) } = message.json().unwrap();
        let expected = next.get_mut(&room).unwrap();
        assert_eq!(number, *expected, "room {room} of client {client}, {left} cuts left");
        *expected += 1;
        progress[client].store(*next.values().min().unwrap(), SeqCst);
        if random.random_ratio(1, 40) {
            left -= 1;
            network.cut(&conn).await;
        }
    }
    progress[client].store(u64::MAX, SeqCst);
}

#[derive(Deserialize)]
struct RoomEvent {
    data: (usize, u64),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_that_lose_connections_at_random_read_every_event_once_and_in_order() {
    let recovery = Recovery::new();
    let hub = Hub::builder().envelope().history("room*", History::new()).recovery(recovery).build();
    let clients = AtomicUsize::new(0);
    hub.on_connect(move |socket: Socket| {
        if !socket.recovered() {
            let client = clients.fetch_add(1, SeqCst);
            rooms_of(client).for_each(|room| socket.join(format!("room{room}")).unwrap());
        }
        ready(())
    });
    let progress: Arc<[AtomicU64]> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        clients.push(tokio::spawn(run_client(hub.clone(), client, Arc::clone(&progress))));
        let members = |room| hub.to(format!("room{room}")).count();
        wait_until(|| (0..ROOMS).map(members).sum::<usize>() == 4 * (client + 1)).await;
    }
    for number in 0.. {
        let slowest = || progress.iter().map(|it| it.load(SeqCst)).min().unwrap();
        if slowest() == u64::MAX {
            break;
        }
        for room in 0..ROOMS {
            hub.to(format!("room{room}")).emit("n", &(room, number)).unwrap();
        }
        wait_until(|| slowest().saturating_add(AHEAD) > number).await;
    }
    let clients = timeout(TIMEOUT, join_all(clients)).await.unwrap();
    assert!(clients.iter().all(Result::is_ok));
}

/// A server → why there is no session.
async fn check_without_sessions(serve: impl Fn(Conn) + Send + Sync + 'static, expected: &str) {
    let network = Network::default();
    let conn = network.reconnect(serve).resumable().start();
    let mut events = conn.events();
    loop {
        match events.next().await.unwrap() {
            ReconnectState::Waiting { failure, .. } => {
                assert!(matches!(failure, ConnectionFailure::NoSession { .. }));
                assert_eq!(format!("retry: {failure}"), expected);
                return;
            }
            ReconnectState::Ended(ReconnectError::GaveUp(failure)) => {
                assert_eq!(format!("give up: {failure}"), expected);
                return;
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_sessions_is_a_failure() {
    let plain = Hub::builder().envelope().build();
    check_without_sessions(
        move |conn| _ = tokio::spawn(plain.handler()(conn)),
        "give up: the server has no sessions (`Protocol::Resumable`)",
    )
    .await;
    check_without_sessions(
        move |conn| _ = tokio::spawn(async move { conn.closed().await }),
        "retry: no answer to the request for a session within 10 s",
    )
    .await;
    let refuses = async |conn: Conn| conn.close(StatusCode::POLICY_VIOLATION, "not you").await;
    check_without_sessions(
        move |conn| _ = tokio::spawn(refuses(conn)),
        "give up: the peer closed with 1008 policy violation: not you",
    )
    .await;
}
