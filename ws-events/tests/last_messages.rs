//! Does a session of Socket.IO close after the last messages of all of its namespaces?

use std::time::Duration;

use crate::support::{TIMEOUT, wait_until};
use bytes::Bytes;
use tokio::time::timeout;
use ws_core::{Conn, StatusCode, pair};
use ws_events::engine::{EngineConfig, EngineSession, EngineSessions};
use ws_events::{ConnectRejection, Hub, Recovery, Socket};

/// More than a transport holds.
const MESSAGES: usize = 40;
const LENGTH: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Drain,
    /// All sockets of a namespace, so that clients connect again.
    Restart,
    /// One socket, so that its client connects again.
    GoAway,
    /// For good.
    Kick,
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    WebSocket,
    Polling,
    /// The client tests a WebSocket when the session is closed, and then changes to it.
    Upgrading,
}

/// A client in the root namespace, with little to read, and in `/slow`, with much.
struct Client {
    session: EngineSession,
    conn: Option<Conn>,
}

impl Client {
    async fn connect(hub: &Hub, transport: Transport) -> Self {
        let sessions = EngineSessions::new(EngineConfig::new());
        let (session, conn) = match transport {
            Transport::WebSocket => {
                let (client, server) = pair();
                (sessions.open_websocket(server), Some(client))
            }
            Transport::Polling | Transport::Upgrading => {
                (sessions.open_polling(None).unwrap().0, None)
            }
        };
        let (driven, served, hub) = (session.clone(), session.clone(), hub.clone());
        tokio::spawn(async move { tokio::join!(driven.drive(), hub.serve_engine(served)) });
        let client = Self { session, conn };
        // Middleware of the last one is still running when the session closes.
        for packet in ["40", "40/slow,", "40/checked,"] {
            client.send(packet).await;
        }
        let mut accepted = 0;
        while accepted < 2 {
            accepted += client.read().await.unwrap().len();
        }
        client
    }

    async fn send(&self, packet: &str) {
        match &self.conn {
            Some(conn) => conn.write(packet).await.unwrap(),
            None => {
                let post = self.session.begin_post().unwrap();
                post.finish(Bytes::copy_from_slice(packet.as_bytes())).await.unwrap();
            }
        }
    }

    /// The next packets of Socket.IO; `None` after the end.
    async fn read(&self) -> Option<Vec<String>> {
        let texts: Vec<String> = match &self.conn {
            Some(conn) => vec![conn.read().await.ok()?.as_text().unwrap().to_owned()],
            None => {
                let body = String::from_utf8(self.session.get().await.ok()?.to_vec()).unwrap();
                body.split('\u{1e}').map(str::to_owned).collect()
            }
        };
        if texts == ["1"] {
            return None;
        }
        Some(texts.into_iter().filter(|text| text.starts_with('4')).collect())
    }

    /// Begins to test a WebSocket.
    async fn probe(&self) -> Conn {
        let (client, server) = pair();
        let session = self.session.clone();
        tokio::spawn(async move { session.upgrade(server).await });
        client.write("2probe").await.unwrap();
        assert_eq!(client.read().await.unwrap().as_text(), Some("3probe"));
        client
    }
}

fn hub(has_recovery: bool) -> Hub {
    let hub = match has_recovery {
        true => Hub::builder().recovery(Recovery::new()).build(),
        false => Hub::new(),
    };
    let _ = hub.of("/slow");
    hub.of("/checked").middleware(async |_: Socket| -> Result<(), ConnectRejection> {
        std::future::pending().await
    });
    hub
}

/// Closes a session whose namespaces have messages to send.
async fn check(closing: Closing, transport: Transport, has_recovery: bool) {
    let hub = hub(has_recovery);
    let mut client = Client::connect(&hub, transport).await;
    let probe = match transport {
        Transport::Upgrading => Some(client.probe().await),
        Transport::WebSocket | Transport::Polling => None,
    };
    for n in 0..MESSAGES {
        hub.of("/slow").emit("n", &(n, "x".repeat(LENGTH))).unwrap();
    }
    hub.emit("n", &(0, "")).unwrap();
    let draining = hub.clone();
    let root = hub.everyone().sockets().remove(0);
    match closing {
        Closing::Drain => {
            tokio::spawn(async move { draining.drain(TIMEOUT).await });
            wait_until(|| hub.is_draining()).await;
        }
        Closing::Restart => _ = hub.close_all(StatusCode::SERVICE_RESTART, "").unwrap(),
        Closing::GoAway => root.close(StatusCode::GOING_AWAY, "").unwrap(),
        Closing::Kick => root.close_session(StatusCode::POLICY_VIOLATION, "").unwrap(),
    }
    // The task of the session runs.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    if let Some(probe) = probe {
        probe.write("5").await.unwrap();
        client.conn = Some(probe);
    }
    let mut packets = Vec::new();
    while let Some(more) = timeout(TIMEOUT, client.read()).await.unwrap() {
        packets.extend(more);
    }
    let count = |start: &str| packets.iter().filter(|text| text.starts_with(start)).count();
    let what = format!("{closing:?}, {transport:?}, {has_recovery}");
    assert_eq!((count("42["), count("42/slow,")), (1, MESSAGES), "{what}");
    // Only a close that is meant to be final keeps clients from connecting again.
    let is_final = usize::from(closing == Closing::Kick);
    assert_eq!((count("41"), count("41/slow,")), (2 * is_final, is_final), "{what}");
    if let Some(conn) = &client.conn {
        let code = conn.closed().await.received.map(|close| close.code);
        let expected = match closing {
            Closing::Drain | Closing::GoAway => StatusCode::GOING_AWAY,
            Closing::Restart => StatusCode::SERVICE_RESTART,
            Closing::Kick => StatusCode::POLICY_VIOLATION,
        };
        assert_eq!(code, Some(expected), "{what}");
    }
    wait_until(|| hub.is_empty() && hub.of("/slow").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_messages_of_all_namespaces_are_sent_before_their_session_closes() {
    for closing in [Closing::Drain, Closing::Restart, Closing::GoAway, Closing::Kick] {
        for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrading] {
            check(closing, transport, false).await;
            check(closing, transport, true).await;
        }
    }
}

/// A namespace whose messages nobody fetches delays the end for half of the close timeout.
#[tokio::test(start_paused = true)]
async fn a_session_that_fetches_nothing_is_closed_in_time() {
    let hub = hub(false);
    let client = Client::connect(&hub, Transport::Polling).await;
    hub.of("/slow").emit("n", &1).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(hub.close_all(StatusCode::GOING_AWAY, "").unwrap(), 1);
    timeout(TIMEOUT, client.session.closed()).await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(2510), "{:?}", began.elapsed());
    // The end waits for a GET.
    assert_eq!(client.read().await, None);
}
