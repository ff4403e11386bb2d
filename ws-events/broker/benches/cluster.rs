//! How many messages a second get from one node of a cluster to another, and how late are they?
//!
//! Two nodes and the server of the broker share this machine: `cargo xtask bench cluster`. The first
//! node sends 100 bytes from server code, and the second has one member in the room. A third node
//! has a member in another room, and shows what it pays. `--short` sends a tenth, to try the program.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

mod server;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use server::Server;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use ws_core::{Message, pair};
use ws_events::ClusterDelivery::Published;
use ws_events::cluster::{ClusterConfig, ClusterStats};
use ws_events::{Hub, SendQueueLimits};
use ws_events_nats::{NatsBroker, NatsConfig};
use ws_events_redis::{RedisBroker, RedisConfig};

/// The bytes of a message.
const BYTES: usize = 100;

/// The messages that the sender is ahead of the receiver.
const AHEAD: usize = 4_096;

/// The numbers of messages: for the rate, and for the delay, ten each millisecond.
#[derive(Clone, Copy)]
struct Counts {
    messages: usize,
    timed: usize,
}

/// A hub, and when its member has got each message.
struct Node {
    hub: Hub,
    got: UnboundedReceiver<(Instant, Message)>,
}

impl Node {
    async fn start(config: ClusterConfig, room: &str) -> Result<Self> {
        // The client is as fast as the cluster, but not always.
        let limits = SendQueueLimits::new().bytes(256 * 1024 * 1024).messages(500_000);
        let hub = Hub::builder().send_queue(limits).build_clustered(config)?;
        let (client, server) = pair();
        tokio::spawn(hub.handler()(server));
        let (sender, got) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(message) = client.read().await {
                // Nobody receives at the end.
                let _ = sender.send((Instant::now(), message));
            }
        });
        while hub.is_empty() {
            tokio::task::yield_now().await;
        }
        hub.everyone().local().join(room);
        Ok(Self { hub, got })
    }

    async fn next(&mut self) -> Result<(Instant, Message)> {
        let next = timeout(Duration::from_secs(30), self.got.recv()).await;
        next.context("a message is lost")?.context("the member is gone")
    }
}

/// Measures one broker.
async fn measure(
    name: &str,
    counts: Counts,
    config: impl Fn() -> Result<ClusterConfig>,
) -> Result<()> {
    let mut sender = Node::start(config()?, "sender").await?;
    let mut receiver = Node::start(config()?, "room").await?;
    let other = Node::start(config()?, "elsewhere").await?;
    // Until the subscriptions are known everywhere.
    while receiver.got.is_empty() {
        sender.hub.to("room").send("hello");
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(10)).await;
    while receiver.got.try_recv().is_ok() {}

    let before = ClusterStats::of(&other.hub).context("no cluster")?;
    let started = Instant::now();
    let publisher = sender.hub.clone();
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let publishing = tokio::spawn(async move {
        let message = Message::binary(vec![b'x'; BYTES]);
        let mut sent = 0;
        while sent < counts.messages {
            // A node drops what it cannot hold: 8,192 messages of a subscription with NATS.
            let is_ahead = sent - counter.load(Relaxed) >= AHEAD;
            if !is_ahead && publisher.to("room").send(message.clone()).cluster == Published {
                sent += 1;
            } else {
                tokio::task::yield_now().await;
            }
            if sent % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut last = started;
    for number in 1..=counts.messages {
        last = match receiver.next().await {
            Ok((at, _)) => at,
            Err(error) => {
                let stats = [&sender, &receiver].map(|node| ClusterStats::of(&node.hub));
                return Err(error.context(format!("message {number} of the sender: {stats:#?}")));
            }
        };
        received.store(number, Relaxed);
    }
    publishing.await?;
    let rate = counts.messages as f64 / (last - started).as_secs_f64();
    let after = ClusterStats::of(&other.hub).context("no cluster")?;
    println!("{name}: {rate:.0} messages/s from node to node");
    println!("{name}: a node without a member got {} envelopes", after.received - before.received);

    let across = delays(&sender.hub, "room", &mut receiver, counts.timed).await?;
    let hub = sender.hub.clone();
    let local = delays(&hub, "sender", &mut sender, counts.timed).await?;
    println!(
        "{name}: at 10,000/s, p50 {:.3} ms and p99 {:.3} ms from node to node, p50 {:.3} ms on a node",
        millis(&across, 50),
        millis(&across, 99),
        millis(&local, 50),
    );
    Ok(())
}

/// Sends ten messages each millisecond, and returns their delays, sorted.
async fn delays(hub: &Hub, room: &str, receiver: &mut Node, timed: usize) -> Result<Vec<Duration>> {
    let (hub, room, epoch) = (hub.clone(), room.to_owned(), Instant::now());
    let publishing = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..timed {
            if number % 10 == 0 {
                ticks.tick().await;
            }
            let mut payload = vec![b'x'; BYTES];
            let sent = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if let Some(stamp) = payload.first_chunk_mut() {
                *stamp = sent.to_be_bytes();
            }
            hub.to(&room).send(Message::binary(payload));
        }
    });
    let mut delays = Vec::new();
    for _ in 0..timed {
        let (at, message) = receiver.next().await?;
        let sent = message.as_bytes().first_chunk().context("a foreign message")?;
        let sent = epoch + Duration::from_nanos(u64::from_be_bytes(*sent));
        delays.push(at.saturating_duration_since(sent));
    }
    publishing.await?;
    delays.sort();
    Ok(delays)
}

fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let delay = sorted.get(sorted.len() * percent / 100).copied();
    delay.unwrap_or_default().as_secs_f64() * 1000.0
}

/// Measures servers of socket.io on node with the same Redis, if node has the packages.
fn compare_with_node(port: u16, arguments: &[String]) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/socketio_redis.mjs");
    let mut command = Command::new("node");
    let status = command.arg(script).arg(port.to_string()).args(arguments).status();
    if !status.context("node is not installed")?.success() {
        println!("socket.io on node is not measured: `npm ci` in ws-events/socketio/tests/peers");
    }
    Ok(())
}

/// Measures servers of socketioxide with the same Redis, if `cargo xtask` has built the program.
fn compare_with_socketioxide(port: u16, arguments: &[String]) -> Result<()> {
    let Some(program) = std::env::var_os("WS_CLUSTER_PEER") else {
        println!("socketioxide is not measured: use `cargo xtask bench cluster`");
        return Ok(());
    };
    let status = Command::new(program).arg(port.to_string()).args(arguments).status()?;
    if !status.success() {
        println!("socketioxide is not measured: {status}");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    // cargo adds `--bench`.
    let arguments: Vec<_> = std::env::args().filter(|argument| argument == "--short").collect();
    let counts = if arguments.is_empty() {
        Counts { messages: 500_000, timed: 50_000 }
    } else {
        Counts { messages: 50_000, timed: 5_000 }
    };
    let redis = Server::start("redis-server", &["--bind", "127.0.0.1", "--save", ""], "--port")?;
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let config = || Ok(ClusterConfig::new(RedisBroker::new(RedisConfig::new(url.as_str()))?));
    measure("redis", counts, config).await?;
    compare_with_node(redis.port, &arguments)?;
    compare_with_socketioxide(redis.port, &arguments)?;
    drop(redis);

    let nats = Server::start("nats-server", &["-a", "127.0.0.1"], "-p")?;
    let url = format!("nats://127.0.0.1:{}", nats.port);
    let config = || Ok(ClusterConfig::new(NatsBroker::new(NatsConfig::new(url.as_str()))?));
    measure("nats", counts, config).await
}
