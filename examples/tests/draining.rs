//! Does a drain close all connections of each adapter, and leave no task?

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use ws_events::{Hub, Socket};
use ws_server_hyper::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, StatusCode, TestError,
};

use crate::adapters;

const ALL: usize = 1000;

/// The number of clients that never read.
const SILENT: usize = 40;

/// The number of WebSockets per HTTP/2 connection.
const PER_CONNECTION: usize = 250;

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Drains a thousand connections of one adapter, over one HTTP version.
async fn check(adapter: usize, http2: bool) -> &'static str {
    let (tracker, ended) = (ConnectionTracker::new(), Arc::new(AtomicUsize::new(0)));
    let options = AcceptOptions::new().tracker(&tracker);
    let ends = Arc::clone(&ended);
    let handler = async move |conn| {
        let _ = echo(conn).await;
        ends.fetch_add(1, SeqCst);
    };
    let served = &adapters::each(&options, handler)[adapter];
    let adapters::Served { by, client, .. } = served;
    let (mut responsive, mut silent) = (JoinSet::new(), Vec::new());
    let mut last = client.clone();
    for number in 0..ALL {
        if http2 && number % PER_CONNECTION == 0 {
            last = client.clone().http2();
        }
        let conn = last.websocket("/x").connect().await.unwrap();
        conn.write("hello").await.unwrap();
        assert_eq!(conn.read().await.unwrap().as_text(), Some("hello"));
        if number % (ALL / SILENT) == 0 {
            // More than a connection reads ahead. It does not get to the close frame behind it.
            conn.write(vec![0; 100 * 1024]).await.unwrap();
            silent.push(conn);
        } else {
            responsive.spawn(async move { conn.closed().await });
        }
    }
    assert_eq!(tracker.counts().open, ALL, "{by}");

    let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(3))).await;
    assert_eq!((counts.open, counts.ended), (0, ALL), "{by}");
    assert_eq!((counts.notified, counts.aborted), (ALL, SILENT), "{by}");
    for ending in responsive.join_all().await {
        let told = ending.received.as_ref().map(|close| close.code);
        assert!(ending.is_clean() && told == Some(StatusCode::GOING_AWAY), "{by}: {ending:?}");
    }
    let refused = last.websocket("/x").connect().await.unwrap_err();
    let TestError::Refused(response) = refused else { panic!("{by}: {refused}") };
    assert_eq!(response.status(), 503, "{by}");
    // The handlers of silent clients ended too; only their closing handshake was aborted.
    assert_eq!(ended.load(SeqCst), ALL, "{by}");
    *by
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_are_drained_and_silent_ones_aborted() {
    for adapter in 0..3 {
        for http2 in [false, true] {
            let before = tasks().await;
            let by = check(adapter, http2).await;
            assert_eq!(tasks().await, before, "{by}, over HTTP/2: {http2}");
        }
    }
}

/// The number of live tasks, when it no longer changes.
async fn tasks() -> usize {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let mut known = alive();
    loop {
        // Paused time advances when all tasks are idle. A task hands over metrics every five seconds.
        sleep(Duration::from_secs(7)).await; // tidy: sleep is the subject
        match alive() {
            same if same == known => return same,
            other => known = other,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_aborted_and_leaves_no_task() {
    for adapter in 0..3 {
        for http2 in [false, true] {
            let before = tasks().await;
            let (tracker, dropped) = (ConnectionTracker::new(), Arc::new(AtomicUsize::new(0)));
            let options = AcceptOptions::new().tracker(&tracker);
            let drops = Arc::clone(&dropped);
            let handler = async move |_conn: Conn| {
                let _counted = Counted(drops);
                pending::<()>().await;
            };
            let served = adapters::each(&options, handler).into_iter().nth(adapter);
            let adapters::Served { by, client, .. } = served.unwrap();
            let client = if http2 { client.http2() } else { client };
            let conns =
                [client.websocket("/x").connect().await, client.websocket("/x").connect().await];
            let began = Instant::now();
            let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(3))).await;
            assert_eq!(began.elapsed().as_secs(), 3, "{by}");
            assert_eq!(
                (counts.open, counts.ended, counts.notified, counts.aborted),
                (0, 2, 2, 2),
                "{by}"
            );
            assert_eq!(dropped.load(SeqCst), 2, "{by}");
            drop((conns, client));
            assert_eq!(tasks().await, before, "{by}, over HTTP/2: {http2}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_hub_refuses_new_handshakes_with_503() {
    for adapter in 0..3 {
        let tracker = ConnectionTracker::new();
        let hub = Hub::builder().tracker(&tracker).build();
        // A handler that never ends: the drain lasts until its limit.
        hub.on_connect(async |_: Socket| pending::<()>().await);
        let options = AcceptOptions::new().tracker(&tracker);
        let served = &adapters::each(&options, hub.handler())[adapter];
        let adapters::Served { by, client, .. } = served;
        let conn = client.websocket("/x").connect().await.unwrap();
        let drained = tokio::spawn({
            let hub = hub.clone();
            async move { hub.drain(Duration::from_secs(3)).await }
        });
        conn.closed().await;
        assert!(hub.is_draining() && !drained.is_finished(), "{by}");
        let refused = client.websocket("/x").connect().await.unwrap_err();
        let TestError::Refused(response) = refused else { panic!("{by}: {refused}") };
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"10".parse().unwrap()),
            "{by}"
        );
        assert_eq!(drained.await.unwrap().notified, 1, "{by}");
    }
}

/// Counts drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
