//! Does a client that upgrades during a broadcast get each message once, in order?
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::Barrier;
use tokio::time::{interval, timeout};
use ws_core::pair;
use ws_events::Hub;
use ws_events::engine::{EngineConfig, EngineSession, EngineSessions};

const CLIENTS: usize = 1000;
const MESSAGES: usize = 100;

/// Longer than everything that a test waits for. The clock is paused.
const FOREVER: Duration = Duration::from_secs(3600);

/// The numbers in a payload of packets.
fn numbers(payload: &str) -> impl Iterator<Item = usize> {
    let data = |packet: &str| packet.strip_prefix(r#"42["n","#)?.strip_suffix(']')?.parse().ok();
    payload.split('\u{1e}').filter_map(data)
}

async fn get(session: &EngineSession) -> String {
    String::from_utf8(session.get().await.unwrap().to_vec()).unwrap()
}

/// Connects by polling, upgrades after some GETs, and returns the numbers that have arrived.
async fn client(session: EngineSession, gets: usize, connected: Arc<Barrier>) -> Vec<usize> {
    session.begin_post().unwrap().finish("40".into()).await.unwrap();
    assert!(get(&session).await.starts_with(r#"40{"sid":""#));
    connected.wait().await;
    let mut received = Vec::new();
    for _ in 0..gets {
        received.extend(numbers(&get(&session).await));
    }
    let (conn, server) = pair();
    let upgrading = session.clone();
    tokio::spawn(async move { assert!(upgrading.upgrade(server).await) });
    let test = async {
        conn.write("2probe").await.unwrap();
        assert_eq!(conn.read().await.unwrap().as_text(), Some("3probe"));
    };
    // A GET is in progress meanwhile, and its answer comes before the client changes.
    let (body, ()) = join(get(&session), test).await;
    received.extend(numbers(&body));
    conn.write("5").await.unwrap();
    while received.last() != Some(&(MESSAGES - 1)) {
        received.extend(numbers(conn.read().await.unwrap().as_text().unwrap()));
    }
    received
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_upgrade_while_a_broadcast_runs() {
    let hub = Hub::new();
    let sessions = EngineSessions::new(EngineConfig::new());
    let connected = Arc::new(Barrier::new(CLIENTS + 1));
    let clients = (0..CLIENTS).map(|number| {
        let (session, _) = sessions.open_polling(None).unwrap();
        let (hub, serving, driving) = (hub.clone(), session.clone(), session.clone());
        tokio::spawn(async move { hub.serve_engine(serving).await });
        tokio::spawn(async move { driving.drive().await });
        tokio::spawn(client(session, number % 50, Arc::clone(&connected)))
    });
    let clients: Vec<_> = clients.collect();
    let broadcast = async {
        connected.wait().await;
        let mut pace = interval(Duration::from_millis(1));
        for number in 0..MESSAGES {
            pace.tick().await;
            assert_eq!(hub.emit("n", &number).unwrap().queued, CLIENTS);
        }
    };
    let (clients, ()) = timeout(FOREVER, join(join_all(clients), broadcast)).await.unwrap();
    for received in clients {
        assert!(received.unwrap().into_iter().eq(0..MESSAGES));
    }
}
