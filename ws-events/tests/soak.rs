//! Does a hub leak, while many sockets connect and disconnect?
//!
//! `WS_SOAK=600` runs it for ten minutes with 2,000 sockets; the default is 3 s with 100.
#![cfg(test)]

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{TIMEOUT, resident};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ws_core::{Conn, StatusCode, pair};
use ws_events::{Hub, SendQueueLimits, Socket};

/// A client that sends random commands, reads, and ends in a random way. Returns the number of
/// messages that it got.
async fn client(conn: Conn, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut got = 0;
    for step in 0..random.random_range(5..60) {
        let room = random.random_range(0..50);
        let word =
            ["join", "leave", "say", "rename", "all", "close"][match random.random_range(0..100) {
                0..30 => 0,
                30..45 => 1,
                45..85 => 2,
                85..95 => 3,
                95..99 => 4,
                _ => 5,
            }];
        if conn.write(format!("{word} {room} {step}")).await.is_err() {
            return got;
        }
        while let Ok(Ok(_)) = timeout(Duration::from_millis(1), conn.read()).await {
            got += 1;
        }
        // Other tasks run.
        tokio::task::yield_now().await;
    }
    match random.random_range(0..3) {
        0 => conn.close_now(),
        1 => _ = timeout(TIMEOUT, conn.close(StatusCode::NORMAL_CLOSURE, "")).await,
        _ => {}
    }
    got
}

/// Carries out the command of a client.
async fn run_command(socket: Socket, text: String) {
    let words: Vec<_> = text.split(' ').collect();
    let [word, room, step] = words[..] else { return };
    match word {
        "join" => _ = socket.join(room),
        "leave" => _ = socket.leave(room),
        "say" => _ = socket.to(room).send(text.as_str()),
        "rename" => _ = socket.set_id(format!("{room}-{step}")),
        "all" => _ = socket.broadcast().volatile().send(text.as_str()),
        _ => _ = socket.close(StatusCode::NORMAL_CLOSURE, "asked for"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_neither_loses_messages_nor_leaks() {
    let seconds = std::env::var("WS_SOAK").ok().and_then(|text| text.parse::<u64>().ok());
    let (members, length) = match seconds {
        Some(seconds) => (2000, Duration::from_secs(seconds)),
        None => (100, Duration::from_secs(3)),
    };
    let hub = Hub::builder().send_queue(SendQueueLimits::new().messages(64)).build();
    hub.on_message(run_command);
    let (mut clients, mut tasks) = (JoinSet::new(), JoinSet::new());
    let (started, mut seed, mut got) = (Instant::now(), 0, 0);
    let mut early = None;
    while started.elapsed() < length {
        while clients.len() < members {
            let (ours, theirs) = pair();
            seed += 1;
            tasks.spawn(hub.handler()(theirs));
            clients.spawn(client(ours, seed));
        }
        got += clients.join_next().await.unwrap().unwrap();
        while tasks.try_join_next().is_some() {}
        if early.is_none() && started.elapsed() > length / 4 {
            early = Some(resident());
        }
    }
    let late = resident();
    while let Some(done) = clients.join_next().await {
        got += done.unwrap();
    }
    while let Some(done) = timeout(TIMEOUT, tasks.join_next()).await.unwrap() {
        done.unwrap();
    }
    let stats = hub.stats();
    println!("{seed} clients got {got}; memory {early:?}, then {late}; {stats:?}");
    assert_eq!((stats.sockets, stats.rooms), (0, 0));
    assert_eq!(stats.queued, stats.written + stats.dropped + stats.discarded, "{stats:?}");
    assert_eq!((stats.connected, stats.disconnected), (seed, seed));
    assert!(got <= stats.written);
    assert_eq!(hub.drain(TIMEOUT).await.remaining, 0);
    if seconds.is_some() {
        let early = early.unwrap();
        assert!(late < early + early / 10, "{early} bytes, and later {late}");
    }
    let runtime = tokio::runtime::Handle::current();
    support::wait_until(|| runtime.metrics().num_alive_tasks() == 0).await;
}
