//! What do histories and recovery cost, and is it within the bars?
//!
//! `cargo xtask bench history` prints each figure beside its bar, and fails beyond one. It measures the
//! stores alone, two hubs that share a Redis on this machine, and 1,000 clients that come back, to
//! their node and to another one. `--short` does a tenth of the work, to try the program; its figures
//! say little. `--instructions` counts those of an emit without a history alone, and needs valgrind.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

mod server;

use std::fs;
use std::hint::black_box;
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use server::Server;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use ws_core::{Conn, pair};
use ws_events::cluster::ClusterConfig;
use ws_events::{
    History, HistoryStore, Hub, HubBuilder, MemoryHistory, Protocol, Recovery, SendQueueLimits,
    Socket, Stored,
};
use ws_events_redis::{RedisBroker, RedisConfig, RedisHistory, RedisSessions};

/// The bytes of a message, and how many a room keeps.
const BYTES: usize = 100;
const KEPT: usize = 1_000;

/// The bars.
const APPEND_NANOS: f64 = 150.0;
const APPEND_BYTES: f64 = 64.0;
const REDIS_RATE: f64 = 50_000.0;
const RECOVERY_SECONDS: f64 = 1.0;
/// What a room without a history may cost in a hub that has histories of others, in percent of its
/// cost in a hub without. The processor gives no smaller difference twice.
const OFF_PERCENT: f64 = 110.0;

/// How many instructions more it may be for an emit, and for each member of the room. The layout of
/// memory changes an emit to many by some hundreds; work for each member is one instruction at least.
const OFF_INSTRUCTIONS: f64 = 100.0;
const OFF_INSTRUCTIONS_EACH: f64 = 0.5;
const MEMBERS: [usize; 2] = [1, 1_000];

/// The clients that come back, their rooms, and what each has missed.
const CLIENTS: usize = 1_000;
const ROOMS: usize = 20;
const MISSED: usize = 100;

/// The messages that the sender is ahead of the member.
const AHEAD: usize = 10_000;

/// The longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// The figures that are beyond their bars.
#[derive(Default)]
struct Bars(Vec<String>);

impl Bars {
    fn at_most(&mut self, what: &str, value: f64, bar: f64, unit: &str) {
        self.print(value <= bar, format!("{what}: {value:.1} {unit}; at most {bar} {unit}"));
    }

    fn at_least(&mut self, what: &str, value: f64, bar: f64, unit: &str) {
        self.print(value >= bar, format!("{what}: {value:.0} {unit}; at least {bar} {unit}"));
    }

    fn check(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "beyond the bars: {}", self.0.join(", "));
        Ok(())
    }

    fn print(&mut self, is_met: bool, text: String) {
        println!("{} {text}", if is_met { "   " } else { "NOT" });
        if !is_met {
            self.0.push(text);
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let share = if has("--short") { 10 } else { 1 };
    let mut bars = Bars::default();
    if let Some(at) = arguments.iter().position(|argument| argument == "--emit") {
        return emit_and_exit(arguments.get(at + 1..).unwrap_or_default());
    }
    if has("--instructions") {
        off_instructions(&mut bars)?;
        return bars.check();
    }
    // Before anything has left memory behind.
    memory_bytes(share, &mut bars)?;
    for rooms in [1, 100] {
        memory_nanos(rooms, share, &mut bars)?;
    }
    off(share, &mut bars)?;
    let here = Node::start(|| Ok(recovering(Hub::builder(), Recovery::new()).build()))?;
    recovery("memory", CLIENTS, &[here], &mut bars)?;
    match Server::start("redis-server", &["--bind", "127.0.0.1", "--save", ""], "--port") {
        Ok(redis) => {
            let url = format!("redis://127.0.0.1:{}", redis.port);
            for rooms in [1, ROOMS] {
                let running = redis_rate(&url, rooms, 300_000 / share, &mut bars);
                runtime::Runtime::new()?.block_on(running)?;
            }
            let store = RedisHistory::new(RedisConfig::new(&*url))?.prefix("recovery")?;
            let builder = recovering(Hub::builder().history_store(store), Recovery::new());
            recovery("redis", CLIENTS, &[Node::start(|| Ok(builder.build()))?], &mut bars)?;
            let nodes = [Node::start(|| clustered(&url))?, Node::start(|| clustered(&url))?];
            recovery("redis, to another node", CLIENTS / share, &nodes, &mut bars)?;
        }
        Err(error) => println!("Redis is not measured: {error:#}"),
    }
    bars.check()
}

fn names(rooms: usize) -> Vec<String> {
    (0..rooms).map(|room| format!("room{room}")).collect()
}

/// The memory of this process, in bytes.
fn resident() -> Result<f64> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).context("no memory")?.parse::<f64>()?;
    Ok(pages * 4096.0)
}

/// Many rooms that are full, and some whose queue has just grown.
fn memory_bytes(share: usize, bars: &mut Bars) -> Result<()> {
    let (rooms, record) = (names(1_000 / share), [b'x'; BYTES]);
    // One that was dropped would leave its memory to the next.
    let mut stores = Vec::new();
    for kept in [KEPT, 600] {
        let store = MemoryHistory::with_bytes(1 << 30);
        let before = resident()?;
        for room in &rooms {
            for _ in 0..kept {
                store.append(room, &record, &History::new())?;
            }
        }
        let taken = (resident()? - before) / (rooms.len() * kept) as f64;
        let what = format!("memory: a message of {BYTES} bytes beside these, {kept} in each room");
        bars.at_most(&what, taken - BYTES as f64, APPEND_BYTES, "bytes");
        stores.push(store);
    }
    Ok(())
}

/// Rooms that are full, so each append removes a message, too. The best of several rounds.
fn memory_nanos(rooms: usize, share: usize, bars: &mut Bars) -> Result<()> {
    let (rooms, record) = (names(rooms), [b'x'; BYTES]);
    let (store, limits) = (MemoryHistory::with_bytes(1 << 30), History::new().messages(KEPT));
    let round = |appends: usize| -> Result<f64> {
        let started = Instant::now();
        for room in rooms.iter().cycle().take(appends) {
            black_box(store.append(black_box(room), &record, &limits)?);
        }
        Ok(started.elapsed().as_nanos() as f64 / appends as f64)
    };
    round(rooms.len() * KEPT)?;
    let mut best = f64::MAX;
    for _ in 0..10 {
        best = best.min(round(1_000_000 / share)?);
    }
    let what = format!("memory: an append of {BYTES} bytes, {} full rooms", rooms.len());
    if rooms.len() == 1 {
        bars.at_most(&what, best, APPEND_NANOS, "ns");
    } else {
        // More than the caches of most processors hold: the rest is the time of the memory.
        println!("    {what}: {best:.1} ns");
    }
    Ok(())
}

/// A hub with a member in a room that has no history, and how many messages the member has got.
async fn plain(builder: HubBuilder) -> (Hub, Arc<AtomicUsize>) {
    let (hub, (client, server)) = (builder.envelope().build(), pair());
    tokio::spawn(hub.handler()(server));
    while hub.is_empty() {
        yield_now().await;
    }
    hub.everyone().join("plain");
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    tokio::spawn(async move {
        while client.read().await.is_ok() {
            counter.fetch_add(1, Relaxed);
        }
    });
    (hub, received)
}

/// Emits to a room without a history, in a hub that has none and in one that has those of other rooms,
/// in turn. The best round of each.
fn off(share: usize, bars: &mut Bars) -> Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let with = Hub::builder().history("room*", History::new());
        let hubs = [plain(Hub::builder()).await, plain(with).await];
        let (mut best, emits) = ([f64::MAX; 2], 64_000 / share);
        for _ in 0..20 {
            for ((hub, received), best) in hubs.iter().zip(&mut best) {
                let (before, started) = (received.load(Relaxed), Instant::now());
                for number in 1..=emits {
                    hub.to("plain").emit("n", &number)?;
                    while number % 64 == 0 && received.load(Relaxed) < before + number {
                        yield_now().await;
                    }
                }
                *best = best.min(started.elapsed().as_nanos() as f64 / emits as f64);
            }
        }
        let [without, with] = best;
        println!(
            "    without a history: {without:.0} ns for a message, beside others {with:.0} ns"
        );
        bars.at_most("its cost beside others", 100.0 * with / without, OFF_PERCENT, "%");
        Ok(())
    })
}

/// What the room of [`emit_and_exit`] is in: a hub without any history, or one with those of others.
const HUBS: [&str; 2] = ["none", "others"];

/// The instructions of an emit to a room without a history, as in [`off`]. No message is written, so
/// they are those of the call alone.
fn off_instructions(bars: &mut Bars) -> Result<()> {
    for members in MEMBERS {
        let (none, others) = (count(HUBS[0], members)?, count(HUBS[1], members)?);
        let each = none / members as f64;
        println!(
            "    without a history: {none:.0} instructions to emit to {members}, {each:.1} each"
        );
        let what = format!("more of them beside others, to {members}");
        let bar = OFF_INSTRUCTIONS + OFF_INSTRUCTIONS_EACH * members as f64;
        bars.at_most(&what, others - none, bar, "instructions");
    }
    Ok(())
}

/// The instructions of an emit in [`emit_and_exit`].
fn count(hub: &str, members: usize) -> Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.args(["--collect-atstart=no", "--toggle-collect=*emit_counted*"]);
    valgrind.arg(std::env::current_exe()?).args(["--emit", hub, &members.to_string()]);
    let output = valgrind.output().context("valgrind is missing")?;
    ensure!(output.status.success(), "{valgrind:?} has failed");
    let report = String::from_utf8(output.stderr)?;
    let line = report.lines().find_map(|line| line.split_once("Collected : "));
    let all: f64 = line.context("valgrind counts nothing")?.1.trim().parse()?;
    ensure!(all > 0.0, "valgrind does not find the function");
    Ok(all / COUNTED as f64)
}

/// Emits to so many members of a room in one of the [`HUBS`], and ends the process.
fn emit_and_exit(arguments: &[String]) -> Result<()> {
    let [hub, members, ..] = arguments else { anyhow::bail!("--emit HUB MEMBERS") };
    let members = members.parse()?;
    let builder = Hub::builder().envelope();
    let builder = if hub == HUBS[0] { builder } else { builder.history("room*", History::new()) };
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (hub, mut clients) = (builder.build(), Vec::new());
        for _ in 0..members {
            let (client, server) = pair();
            tokio::spawn(hub.handler()(server));
            clients.push(client);
        }
        while hub.everyone().count() < members {
            yield_now().await;
        }
        hub.everyone().join("plain");
        // The first one wakes the tasks of the members.
        ensure!(hub.to("plain").emit("n", &0)?.queued == members, "a member is missing");
        emit_counted(&hub, members)?;
        // Nothing is written or freed.
        exit(0)
    })
}

/// As many as a queue takes without the heap, with the one before.
const COUNTED: usize = 15;

#[inline(never)]
fn emit_counted(hub: &Hub, members: usize) -> Result<()> {
    for _ in 0..COUNTED {
        ensure!(hub.to("plain").emit("n", &0)?.queued == members, "a queue is full");
    }
    Ok(())
}

/// A hub over the Redis of this machine, which takes messages.
async fn redis_hub(url: &str, prefix: &str) -> Result<Hub> {
    let limits = SendQueueLimits::new().bytes(256 * 1024 * 1024).messages(500_000);
    let hub = Hub::builder()
        .send_queue(limits)
        .history("room*", History::new().messages(KEPT))
        .history_store(RedisHistory::new(RedisConfig::new(url))?.prefix(prefix)?)
        .build();
    let up = async {
        while hub.to("rooms").send("hello").stored != Stored::Queued {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, up).await.context("Redis does not answer")?;
    Ok(hub)
}

/// One hub sends from server code, and the only member is at the other one.
async fn redis_rate(url: &str, rooms: usize, messages: usize, bars: &mut Bars) -> Result<()> {
    let prefix = format!("rate{rooms}");
    let (sender, receiver) = (redis_hub(url, &prefix).await?, redis_hub(url, &prefix).await?);
    let rooms = names(rooms);
    let (client, server) = pair();
    tokio::spawn(receiver.handler()(server));
    while receiver.is_empty() {
        yield_now().await;
    }
    rooms.iter().for_each(|room| _ = receiver.everyone().join(room));
    // Each room passes on what comes from now on.
    for room in &rooms {
        let heard = async {
            while timeout(Duration::from_millis(10), client.read()).await.is_err() {
                sender.to(room).send("hello");
            }
        };
        timeout(LIMIT, heard).await.context("a room is not heard")?;
    }
    while timeout(Duration::from_millis(200), client.read()).await.is_ok() {}

    let received = Arc::new(AtomicUsize::new(0));
    // The last handle of a hub ends what it has queued.
    let (hub, counter, names) = (sender.clone(), Arc::clone(&received), rooms.clone());
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        let text = "x".repeat(BYTES);
        let mut sent = 0;
        while sent < messages {
            let room = names.get(sent % names.len()).map_or("", String::as_str);
            let is_ahead = sent - counter.load(Relaxed) >= AHEAD;
            if !is_ahead && hub.to(room).send(text.as_str()).stored == Stored::Queued {
                sent += 1;
            } else {
                // It leaves the processor to those that are behind.
                sleep(Duration::from_millis(1)).await;
            }
            if sent % 64 == 0 {
                yield_now().await;
            }
        }
    });
    for number in 1..=messages {
        let next = timeout(LIMIT, client.read()).await;
        next.with_context(|| format!("message {number} of {messages} is lost"))??;
        received.store(number, Relaxed);
    }
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    sending.await?;
    let what = format!("redis: {BYTES} bytes, appended and delivered, {} rooms", rooms.len());
    bars.at_least(&what, rate, REDIS_RATE, "messages/s");
    Ok(())
}

/// The thread of a server, which measures its processor time.
struct ServerThread {
    handle: Handle,
    /// Its folder in `/proc`.
    folder: String,
    _stop: oneshot::Sender<()>,
}

impl ServerThread {
    fn start() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel::<()>());
        let (sender, folder) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = sender.send(fs::read_link("/proc/thread-self"));
            // It ends with its owner.
            let _ = runtime.block_on(stopped);
        });
        let folder = format!("/proc/{}", folder.recv()??.display());
        Ok(Self { handle, folder, _stop: stop })
    }

    fn seconds(&self) -> Result<f64> {
        let times = fs::read_to_string(format!("{}/schedstat", self.folder))?;
        let nanos = times.split(' ').next().context("no time")?.parse::<f64>()?;
        Ok(nanos / 1e9)
    }
}

/// A hub with a thread of its own. A new socket joins one of the rooms.
struct Node {
    server: ServerThread,
    hub: Hub,
}

impl Node {
    fn start(build: impl FnOnce() -> Result<Hub>) -> Result<Self> {
        let server = ServerThread::start()?;
        let hub = {
            let _runtime = server.handle.enter();
            build()?
        };
        let next = AtomicUsize::new(0);
        hub.on_connect(move |socket: Socket| {
            let room = format!("room{}", next.load(Relaxed) % ROOMS);
            let joined = if socket.recovered() {
                Ok(())
            } else {
                next.fetch_add(1, Relaxed);
                socket.join(room)
            };
            std::future::ready(joined)
        });
        Ok(Self { server, hub })
    }
}

fn recovering(builder: HubBuilder, recovery: Recovery) -> HubBuilder {
    builder.envelope().history("room*", History::new()).recovery(recovery)
}

/// A node of a cluster over the Redis of this machine, which has its histories and sessions, too.
fn clustered(url: &str) -> Result<Hub> {
    let (config, prefix) = (RedisConfig::new(url), "moved");
    let histories = RedisHistory::new(config.clone())?.prefix(prefix)?;
    let sessions = RedisSessions::new(config.clone())?.prefix(prefix)?;
    let recovery = Recovery::new().store(sessions);
    let builder = recovering(Hub::builder().history_store(histories), recovery);
    Ok(builder.build_clustered(ClusterConfig::new(RedisBroker::new(config)?))?)
}

/// Loses the connections of all clients of the first node, and lets them come back to the last one at
/// once. Each hub has a thread of its own, and the clients another.
fn recovery(name: &str, count: usize, nodes: &[Node], bars: &mut Bars) -> Result<()> {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(()) };
    let seconds = || nodes.iter().map(|node| node.server.seconds()).sum::<Result<f64>>();
    let clients = runtime::Builder::new_current_thread().enable_all().build()?;
    clients.block_on(async {
        let known = async {
            while nodes.iter().any(|node| node.hub.nodes().len() + 1 < nodes.len()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, known).await.context("the nodes do not know each other")?;
        // A store of sessions has their records long before the last message is stored.
        let clients = lose(&first.server, &first.hub, count).await?;
        let (started, before) = (Instant::now(), seconds()?);
        try_join_all(clients.iter().map(|client| client.come_back(&last.server, &last.hub)))
            .await?;
        let (all, taken) = (started.elapsed().as_secs_f64(), seconds()? - before);
        println!("    {name}: all clients were back after {all:.2} s");
        let what =
            format!("{name}: server time for {count} clients with {MISSED} missed messages each");
        bars.at_most(&what, taken, RECOVERY_SECONDS, "s");
        Ok(())
    })
}

/// Clients that have lost their connections, and then messages.
async fn lose(server: &ServerThread, hub: &Hub, count: usize) -> Result<Vec<Client>> {
    let (rooms, mut clients) = (names(ROOMS), Vec::new());
    for number in 1..=count {
        clients.push(Client::connect(server, hub, "null").await?);
        while rooms.iter().map(|room| hub.to(room).count()).sum::<usize>() < number {
            sleep(Duration::from_micros(100)).await;
        }
    }
    // All have a position in their room.
    emit(hub, &rooms, 1).await?;
    for client in &mut clients {
        client.at = client.read().await?;
        client.conn.close_now();
    }
    while !hub.is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    emit(hub, &rooms, MISSED).await?;
    for room in &rooms {
        let all = async {
            while hub.room(room).position().await?.offset < 1 + MISSED as u64 {
                sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(LIMIT, all).await.context("the store does not store")??;
    }
    Ok(clients)
}

/// Emits to each room, and waits while the store takes nothing.
async fn emit(hub: &Hub, rooms: &[String], count: usize) -> Result<()> {
    let text = "x".repeat(BYTES);
    for room in rooms {
        for _ in 0..count {
            while hub.to(room).emit("n", &text)?.stored == Stored::Refused {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
    Ok(())
}

/// A client with a session.
struct Client {
    conn: Conn,
    token: String,
    recovered: bool,
    /// The position of the last event.
    at: String,
}

impl Client {
    /// `resume`: what its first message asks for, in JSON, and what follows it.
    async fn connect(server: &ServerThread, hub: &Hub, resume: &str) -> Result<Self> {
        let (conn, other) = pair();
        let hub = hub.clone();
        server.handle.spawn(async move { hub.serve_as(other, Protocol::Resumable).await });
        conn.write(format!(r#"{{"resume":{resume}}}"#)).await?;
        let welcome = timeout(LIMIT, conn.read()).await.context("no answer")??;
        let welcome = welcome.as_text().context("no text")?;
        let token = field(welcome, "session").context("no session")?.to_owned();
        let recovered = welcome.contains(r#""recovered":true"#);
        Ok(Self { conn, token, recovered, at: String::new() })
    }

    async fn come_back(&self, server: &ServerThread, hub: &Hub) -> Result<()> {
        let resume = format!(r#""{}","at":"{}""#, self.token, self.at);
        let client = Self::connect(server, hub, &resume).await?;
        ensure!(client.recovered, "a session is lost");
        for _ in 0..MISSED {
            client.read().await?;
        }
        Ok(())
    }

    /// The position of the next event.
    async fn read(&self) -> Result<String> {
        let event = timeout(LIMIT, self.conn.read()).await.context("a message is lost")??;
        let event = event.as_text().context("no text")?;
        Ok(field(event, "at").context("no position")?.to_owned())
    }
}

/// The text of a field. Neither tokens nor positions have escapes.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    json.split_once(&format!(r#""{name}":""#))?.1.split('"').next()
}
