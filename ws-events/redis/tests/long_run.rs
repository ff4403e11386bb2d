//! Do clients get every message once and in order, or learn that their session is new, whatever fails?
//!
//! `WS_SOAK=300` runs each kind for five minutes with 200 clients and 20 rooms; by default, it is a short
//! form. Without `redis-server` or node with the packages in `ws-client/tests/peers` and
//! `ws-events/socketio/tests/peers`, a part is skipped, and fails if `WS_REQUIRE_PEERS` is 1.
#![cfg(test)]

#[path = "support/servers.rs"]
mod servers;
#[path = "../../broker/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::future::join_all;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use servers::{admin, start};
use support::{FOREVER, Server, free_port, pause, skip, within};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;
use ws_core::handshake::{AcceptOptions, Acceptor};
use ws_core::{Conn, pair};
use ws_events::broker::LoopbackBus;
use ws_events::cluster::ClusterConfig;
use ws_events::{
    History, Hub, HubBuilder, NotConnected, Position, Protocol, Recovery, Socket, Stored,
};
use ws_events_redis::{DriverConfig, RedisBroker, RedisConfig, RedisHistory, RedisSessions};
use ws_events_socketio::SocketIo;

/// A client is in the rooms with the same remainder by this.
const GROUPS: usize = 5;

/// The last number of a room: what JavaScript takes for a whole number.
const LAST: u64 = (1 << 53) - 1;

/// How much is done.
#[derive(Clone, Copy)]
struct Size {
    clients: usize,
    pages: usize,
    rooms: usize,
    length: Duration,
}

fn size() -> Size {
    let seconds = std::env::var("WS_SOAK").ok().and_then(|text| text.parse().ok());
    match seconds.map(Duration::from_secs) {
        Some(length) => Size { clients: 180, pages: 20, rooms: 20, length },
        None => Size { clients: 20, pages: 5, rooms: 10, length: Duration::from_secs(2) },
    }
}

/// Where histories are, and what joins the nodes.
enum Store {
    Memory(LoopbackBus),
    Redis(Server),
    /// With the sessions, so that they move between the nodes and outlive them.
    Cluster(Server),
}

impl Store {
    fn build(&self, builder: HubBuilder) -> Hub {
        let recovery = Recovery::new();
        match self {
            Self::Memory(bus) => {
                let cluster = ClusterConfig::new(bus.join());
                builder.recovery(recovery).build_clustered(cluster).unwrap()
            }
            Self::Redis(server) => {
                let history = RedisHistory::new(config(server)).unwrap();
                builder.history_store(history).recovery(recovery).build()
            }
            Self::Cluster(server) => {
                let history = RedisHistory::new(config(server)).unwrap();
                let sessions = RedisSessions::new(config(server)).unwrap();
                let recovery = recovery.store(sessions).stored_only().room_offsets(GROUPS);
                let cluster = ClusterConfig::new(RedisBroker::new(config(server)).unwrap())
                    .heartbeat(Duration::from_millis(300));
                let builder = builder.history_store(history).recovery(recovery);
                builder.build_clustered(cluster).unwrap()
            }
        }
    }
}

fn config(server: &Server) -> RedisConfig {
    let driver = DriverConfig::new().max_backoff(Duration::from_millis(20));
    RedisConfig::new(format!("redis://127.0.0.1:{}", server.port)).driver(driver)
}

/// A process, as far as its connections and tasks are concerned.
struct Process {
    runtime: Runtime,
    node: Node,
}

#[derive(Clone)]
struct Node {
    hub: Hub,
    handle: Handle,
}

/// The nodes that live.
#[derive(Clone, Default)]
struct Nodes(Arc<Mutex<Vec<Node>>>);

impl Nodes {
    fn get(&self, at: usize) -> Node {
        let nodes = self.0.lock();
        nodes[at % nodes.len()].clone()
    }
}

impl Process {
    /// Serves other clients, and those of Socket.IO.
    async fn start(store: &Store, size: Size, addrs: Addrs) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let hub = {
            let _guard = handle.enter();
            let builder = Hub::builder().envelope().history("room*", History::new());
            store.build(builder)
        };
        let sockets = AtomicUsize::new(0);
        hub.on_connect(move |socket: Socket| {
            let group = sockets.fetch_add(1, SeqCst) % GROUPS;
            let rooms = (0..size.rooms).filter(move |room| room % GROUPS == group);
            let rooms = rooms.map(|room| format!("room{room}"));
            async move { if socket.recovered() { Ok(()) } else { enter(socket, rooms).await } }
        });
        let [serving, service] = [hub.clone(), hub.clone()];
        handle.spawn(async move {
            let listener = bind(addrs[0]).await;
            while let Ok((stream, _)) = listener.accept().await {
                let hub = serving.clone();
                tokio::spawn(async move {
                    if let Ok(conn) = Acceptor::new(&AcceptOptions::new()).accept(stream).await {
                        hub.serve_as(conn, Protocol::Resumable).await;
                    }
                });
            }
        });
        handle.spawn(async move {
            let listener = bind(addrs[1]).await;
            ws_server_hyper::serve(listener, SocketIo::new(&service)).await
        });
        Self { runtime, node: Node { hub, handle } }
    }

    /// Nothing of it runs any more, and no other node is notified.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A new socket joins its rooms. Its client gets what is in their histories by then, if it keeps up, and
/// knows the first position that it has to get.
async fn enter(socket: Socket, rooms: impl Iterator<Item = String>) -> Result<(), NotConnected> {
    let mut positions = Vec::new();
    for room in rooms {
        socket.join(&room)?;
        if let Ok(position) = socket.hub().room(&room).position().await {
            positions.push((room, position));
        }
    }
    // It has no offset, and is not missed.
    let _ = socket.hub().ids([socket.id()]).volatile().emit("start", &positions);
    Ok(())
}

async fn bind(addr: SocketAddr) -> TcpListener {
    loop {
        // The one before may have it for a moment longer.
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(_) => pause().await,
        }
    }
}

/// Where a node serves other clients, and those of Socket.IO.
type Addrs = [SocketAddr; 2];

/// A connection of a client that has a session.
struct Session {
    conn: Conn,
    token: Value,
    recovered: bool,
}

impl Session {
    /// `None` if the connection ends before the answer.
    async fn open(node: &Node, token: &Value, at: Value) -> Option<Self> {
        let (conn, server) = pair();
        let hub = node.hub.clone();
        node.handle.spawn(async move { hub.serve_as(server, Protocol::Resumable).await });
        conn.write(json!({ "resume": token, "at": at }).to_string()).await.ok()?;
        let welcome: Value = within(conn.read()).await.ok()?.json().unwrap();
        let recovered = welcome["recovered"] == true;
        Some(Self { conn, token: welcome["session"].clone(), recovered })
    }
}

/// How often sessions were recovered, and were new.
type Counts = (usize, usize);

/// A client that loses its connections until `calm`, and has the last number of each of its rooms at the
/// end.
async fn run_client(
    nodes: Nodes,
    number: usize,
    rooms: usize,
    calm: watch::Receiver<bool>,
) -> Counts {
    let mut random = SmallRng::seed_from_u64(number as u64);
    let (mut recovered, mut lost, mut home) = (0, 0, number);
    let mut token = Value::Null;
    // The last offset of each room, the newest at the end.
    let mut at: Vec<(String, String)> = Vec::new();
    let mut starts: BTreeMap<String, Position> = BTreeMap::new();
    let mut last: BTreeMap<String, (Position, u64)> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    // What is in a black hole is never closed by this side.
    let mut black_hole = Vec::new();
    loop {
        if random.random_ratio(1, 4) {
            home = random.random_range(0..usize::MAX);
        }
        // As a page of 15 lines, or as our clients.
        let offsets = if number.is_multiple_of(2) {
            json!(at.last().map(|(_, offset)| offset))
        } else {
            json!(at.iter().map(|(_, offset)| offset).collect::<Vec<_>>())
        };
        let Some(session) = Session::open(&nodes.get(home), &token, offsets).await else {
            pause().await;
            continue;
        };
        if session.recovered {
            recovered += 1;
        } else {
            lost += usize::from(!token.is_null());
            at.clear();
            starts.clear();
            last.clear();
            ended.clear();
        }
        token = session.token;
        let conn = session.conn;
        while let Ok(message) = within(conn.read()).await {
            let event: Value = message.json().unwrap();
            if event["event"] == "start" {
                starts = serde_json::from_value::<Vec<_>>(event["data"].clone())
                    .unwrap()
                    .into_iter()
                    .collect();
                continue;
            }
            let text = event["at"].as_str().unwrap().to_owned();
            let position: Position = text.parse().unwrap();
            let room = event["data"][0].as_str().unwrap().to_owned();
            at.retain(|(other, _)| *other != room);
            at.push((room.clone(), text));
            let sent = event["data"][1].as_u64().unwrap();
            if !last.contains_key(&room)
                && let Some(start) = starts.get(&room)
            {
                // It is one of those before the start, or the next one.
                let is_begun = position.epoch == start.epoch && position.offset <= start.offset + 1;
                assert!(is_begun, "client {number} in {room}: {position} is not behind {start}");
            }
            if let Some((before, previous)) = last.insert(room.clone(), (position, sent)) {
                let next = Position { offset: before.offset + 1, ..before };
                assert_eq!(position, next, "client {number} in {room}");
                assert!(sent > previous || sent == LAST, "client {number} in {room}: {sent}");
            }
            if sent == LAST && ended.insert(room) && ended.len() == rooms / GROUPS {
                return (recovered, lost);
            }
            if !*calm.borrow() && random.random_ratio(1, 60) {
                if random.random_ratio(1, 3) {
                    black_hole.push(conn);
                } else {
                    conn.close_now();
                }
                break;
            }
        }
    }
}

/// Sends numbers to a room until `calm`, each once the one before it is stored, and then the last one.
async fn run_sender(
    nodes: Nodes,
    room: String,
    calm: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    let mut number = 0;
    while !*stop.borrow() {
        let next = if *calm.borrow() { LAST } else { number };
        let hub = nodes.get(0).hub;
        if hub.to(&room).emit("n", &(&room, next)).unwrap().stored != Stored::Refused {
            number += 1;
            let is_stored = async {
                while !hub.room(&room).latest(1).await.is_ok_and(|latest| {
                    latest.iter().any(|it| it.json::<(String, u64)>().is_ok_and(|it| it.1 == next))
                }) {
                    pause().await;
                }
            };
            // It may be lost with its node, or with Redis.
            let _ = timeout(Duration::from_secs(1), is_stored).await;
        }
        pause().await;
    }
}

/// The clients in JavaScript. `None` if node or its packages are not installed.
async fn pages(size: Size, addrs: &[Addrs]) -> Option<tokio::process::Child> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/long_run.mjs");
    let found = Command::new("node").args([script, "--version"]).output().await;
    if !found.is_ok_and(|output| output.status.success()) {
        skip("node, or packages of long_run.mjs, are missing: see CONTRIBUTING.md");
        return None;
    }
    let mut command = Command::new("node");
    let numbers = [size.pages, size.rooms / GROUPS].map(|number| number.to_string());
    let urls = addrs.iter().map(|[addr, other]| format!(r#"["ws://{addr}/","http://{other}"]"#));
    command.arg(script).args(numbers).args(urls).stdin(Stdio::null()).stdout(Stdio::piped());
    Some(command.stderr(Stdio::inherit()).kill_on_drop(true).spawn().unwrap())
}

/// Kills a node or Redis, or its connections, in turn, until the end.
async fn fail(
    nodes: &Nodes,
    processes: &mut Vec<Process>,
    store: &mut Store,
    size: Size,
    addrs: &[Addrs],
) {
    let (started, faults) = (Instant::now(), 4 + size.length.as_secs() as u32 / 10);
    for fault in 0..faults {
        let due = started + size.length * (fault + 1) / (faults + 1);
        tokio::time::sleep_until(due.into()).await; // tidy: sleep is the subject
        match (fault % 2, &mut *store) {
            (1, Store::Redis(server) | Store::Cluster(server)) if fault % 4 == 1 => {
                server.restart().await;
            }
            (1, Store::Redis(server) | Store::Cluster(server)) => {
                for kind in ["normal", "pubsub"] {
                    let mut kill = redis::cmd("CLIENT");
                    kill.arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes");
                    let _: usize = kill.query_async(&mut admin(server.port).await).await.unwrap();
                }
            }
            _ => {
                let at = fault as usize / 2 % processes.len();
                let killed = processes.remove(at);
                killed.kill();
                let next = Process::start(store, size, addrs[at]).await;
                nodes.0.lock()[at] = next.node.clone();
                processes.insert(at, next);
            }
        }
    }
}

async fn check(count: usize, mut store: Store) {
    let size = size();
    let addr = |()| ([127, 0, 0, 1], free_port()).into();
    let addrs: Vec<Addrs> = (0..count).map(|_| [(); 2].map(addr)).collect();
    let (nodes, mut processes) = (Nodes::default(), Vec::new());
    for addr in &addrs {
        let process = Process::start(&store, size, *addr).await;
        nodes.0.lock().push(process.node.clone());
        processes.push(process);
    }
    let (calm, stop) = (watch::Sender::new(false), watch::Sender::new(false));
    let client = |number| run_client(nodes.clone(), number, size.rooms, calm.subscribe());
    let clients: Vec<_> = (0..size.clients).map(|it| tokio::spawn(client(it))).collect();
    let pages = pages(size, &addrs).await;
    let sender =
        |room| run_sender(nodes.clone(), format!("room{room}"), calm.subscribe(), stop.subscribe());
    let senders: Vec<_> = (0..size.rooms).map(|room| tokio::spawn(sender(room))).collect();

    fail(&nodes, &mut processes, &mut store, size, &addrs).await;
    calm.send_replace(true);
    let counts = timeout(FOREVER, join_all(clients)).await.expect("all clients come to the end");
    let counts: Vec<Counts> = counts.into_iter().map(Result::unwrap).collect();
    let pages = match pages {
        Some(pages) => {
            let output = timeout(FOREVER, pages.wait_with_output()).await.unwrap().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        }
        None => String::new(),
    };
    stop.send_replace(true);
    for sender in senders {
        sender.await.unwrap();
    }
    let (recovered, lost) = counts.iter().fold((0, 0), |all, it| (all.0 + it.0, all.1 + it.1));
    println!(
        "{count} nodes: {recovered} sessions were recovered and {lost} were new; pages {pages}"
    );
    // Both happen: all connections are lost, and a node is killed.
    assert!(recovered > 0 && lost > 0, "{recovered} and {lost}");
    processes.into_iter().for_each(Process::kill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_with_histories_in_memory_misses_nothing_silently() {
    check(1, Store::Memory(LoopbackBus::new(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_with_histories_in_memory_miss_nothing_silently() {
    check(3, Store::Memory(LoopbackBus::new(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_with_histories_in_redis_misses_nothing_silently() {
    let Some(server) = start(&[]).await else { return };
    check(1, Store::Redis(server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_with_histories_in_redis_miss_nothing_silently() {
    let Some(server) = start(&[]).await else { return };
    check(3, Store::Redis(server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_that_share_sessions_in_redis_miss_nothing_silently() {
    let Some(server) = start(&[]).await else { return };
    check(3, Store::Cluster(server)).await;
}
