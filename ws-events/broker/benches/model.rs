//! How many nodes does a cluster need, and how many messages does its broker carry?
//!
//! `cargo xtask model` prints tables by a model whose costs are measured. With `--simulate`, it also
//! compares the model's number of envelopes with that of 1,000 real hubs on a bus in memory.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};
use ws_core::pair;
use ws_events::broker::LoopbackBus;
use ws_events::cluster::{ClusterConfig, ClusterStats, Routing};
use ws_events::{Hub, Socket};

/// What one thing costs. `BENCHMARKS.md` has the commands that measure it.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// Processor time of a delivery over TCP, in ns: `cargo xtask bench hub`.
    delivery: f64,
    /// Processor time of a node to publish an envelope, in ns. `cargo xtask bench cluster` measures it
    /// together with the next, the work of the broker and that of the member: 11 µs with Redis.
    publish: f64,
    /// Processor time of a node to receive an envelope, in ns.
    receive: f64,
    /// Memory of an idle socket, in bytes: 3.4 KiB by `cargo xtask scale`, and buffers of the kernel.
    socket: f64,
    /// Envelopes that a broker process passes on in a second, more or less.
    broker: f64,
}

const COSTS: Costs = Costs {
    delivery: 9_600.0,
    publish: 2_500.0,
    receive: 3_500.0,
    socket: 8_192.0,
    broker: 300_000.0,
};

/// A machine of the cluster, and how far it is used.
#[derive(Clone, Copy, Debug)]
struct Machine {
    cores: f64,
    memory: f64,
    used: f64,
}

const MACHINE: Machine = Machine { cores: 4.0, memory: 8.0 * GIB, used: 0.6 };

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Heartbeats of a node in a second, by default.
const HEARTBEATS: f64 = 1.0 / 3.0;

/// What the sockets do.
#[derive(Clone, Copy, Debug)]
struct Load {
    sockets: f64,
    /// Members of a room. Each socket is in one.
    members: f64,
    /// Messages to each room in a second.
    messages: f64,
}

/// What a cluster of so many nodes does in a second.
#[derive(Clone, Copy, Debug)]
struct Figures {
    nodes: f64,
    /// The part of the processors of a node that is used.
    processor: f64,
    /// The part of the memory of a node that is used.
    memory: f64,
    /// Envelopes to the broker.
    published: f64,
    /// Envelopes from the broker.
    passed_on: f64,
}

/// The nodes that get a broadcast: those that have at least one of the sockets whose rooms share its
/// subject, where each socket is on a random node. The sender is one of them, as often as any other: a
/// broker passes on to it, too.
fn receivers(nodes: f64, sharing: f64) -> f64 {
    nodes * (1.0 - (1.0 - 1.0 / nodes).powf(sharing))
}

impl Load {
    /// The sockets whose rooms share a subject.
    fn sharing(&self, routing: Routing) -> f64 {
        match routing {
            Routing::PerRoom => self.members,
            Routing::Partitioned(count) => (self.sockets / f64::from(count)).max(self.members),
            _ => f64::INFINITY,
        }
    }

    fn on(&self, nodes: f64, routing: Routing, machine: Machine, costs: Costs) -> Figures {
        let messages = self.sockets / self.members * self.messages;
        let received = messages * receivers(nodes, self.sharing(routing));
        // Each node gets the heartbeats of all.
        let heartbeats = nodes * HEARTBEATS;
        let (published, passed_on) = (messages + heartbeats, received + heartbeats * nodes);
        let time = messages * self.members * costs.delivery
            + published * costs.publish
            + passed_on * costs.receive;
        Figures {
            nodes,
            processor: time / 1e9 / nodes / machine.cores,
            memory: self.sockets / nodes * costs.socket / machine.memory,
            published,
            passed_on,
        }
    }

    /// The fewest nodes on which neither processors nor memory are used beyond the bound; `None` if
    /// no number of them is enough.
    fn fewest(&self, routing: Routing, machine: Machine, costs: Costs) -> Option<Figures> {
        (1..=20_000)
            .map(|nodes| self.on(f64::from(nodes), routing, machine, costs))
            .find(|it| it.processor <= machine.used && it.memory <= machine.used)
    }
}

fn print_tables(machine: Machine, costs: Costs) {
    println!(
        "nodes with {} cores and {:.0} GiB, used to {:.0} %; costs: {costs:?}",
        machine.cores,
        machine.memory / GIB,
        machine.used * 100.0,
    );
    for (name, members, messages) in [
        ("devices of a user: 2 members, a message in 60 s", 2.0, 1.0 / 60.0),
        ("chat: 100 members, each sends in 60 s", 100.0, 100.0 / 60.0),
        ("feed: 10,000 members, a message each second", 10_000.0, 1.0),
    ] {
        println!("\n{name}\n");
        println!(
            "| sockets | routing | nodes | processors | memory | to the broker | from the broker | brokers |"
        );
        println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for sockets in [100_000.0, 1_000_000.0, 10_000_000.0] {
            let load = Load { sockets, members, messages };
            for (routing, label) in
                [(Routing::Partitioned(64), "64 partitions"), (Routing::PerRoom, "per room")]
            {
                match load.fewest(routing, machine, costs) {
                    Some(it) => println!(
                        "| {sockets:.0} | {label} | {} | {:.0} % | {:.0} % | {:.0}/s | {:.0}/s | {} |",
                        it.nodes,
                        it.processor * 100.0,
                        it.memory * 100.0,
                        it.published,
                        it.passed_on,
                        (it.passed_on / costs.broker / machine.used).ceil().max(1.0),
                    ),
                    None => println!("| {sockets:.0} | {label} | no number is enough | | | | | |"),
                }
            }
        }
    }
}

/// Hubs on a bus, with sockets in random rooms.
struct Simulation {
    nodes: usize,
    sockets: usize,
    rooms: usize,
    messages: usize,
    routing: Routing,
}

impl Simulation {
    /// Compares the number of envelopes that arrive with that of the model.
    async fn run(&self) -> Result<()> {
        println!(
            "\n{} nodes, {} sockets in {} rooms, {:?}",
            self.nodes, self.sockets, self.rooms, self.routing
        );
        let bus = LoopbackBus::new(1);
        let config = || ClusterConfig::new(bus.join()).routing(self.routing).max_nodes(self.nodes);
        let hubs = (0..self.nodes).map(|_| Hub::builder().build_clustered(config()));
        let hubs = hubs.collect::<Result<Vec<_>, _>>()?;
        // The clock is paused, and moves when all tasks wait.
        let mut seconds = 0;
        while hubs.iter().any(|hub| hub.nodes().len() + 1 < self.nodes) {
            sleep(Duration::from_secs(1)).await;
            seconds += 1;
            ensure!(seconds < 60, "the nodes do not know each other after a minute");
        }
        println!("all nodes know each other after {seconds} s");

        let before = received(&hubs)?;
        sleep(Duration::from_secs(30)).await;
        let nodes = self.nodes as f64;
        let heartbeats = (received(&hubs)? - before) as f64 / 30.0;
        let modelled = nodes * (nodes - 1.0) * HEARTBEATS;
        compare("heartbeats that arrive in a second", heartbeats, modelled)?;

        let random = Arc::new(Mutex::new(SmallRng::seed_from_u64(7)));
        self.connect(&hubs, &random).await?;
        let (started, before) = (Instant::now(), received(&hubs)?);
        for number in 0..self.messages {
            let (hub, room) = {
                let mut random = random.lock();
                (random.random_range(0..self.nodes), random.random_range(0..self.rooms))
            };
            if let Some(hub) = hubs.get(hub) {
                hub.to(room.to_string()).send("hello");
            }
            if number % 100 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        // Whole intervals of heartbeats.
        sleep_until(started + Duration::from_secs(3)).await;
        let counted = (received(&hubs)? - before) as f64 - heartbeats * 3.0;
        // A node does not count its own.
        let others = (nodes - 1.0) / nodes;
        let load = Load {
            sockets: self.sockets as f64,
            members: self.sockets as f64 / self.rooms as f64,
            messages: 0.0,
        };
        let modelled = self.messages as f64 * receivers(nodes, load.sharing(self.routing)) * others;
        compare("envelopes that arrive", counted, modelled)
    }

    /// Connects each socket to a random node, where it joins a random room.
    async fn connect(&self, hubs: &[Hub], random: &Arc<Mutex<SmallRng>>) -> Result<()> {
        for hub in hubs {
            let (random, rooms) = (Arc::clone(random), self.rooms);
            hub.on_connect(move |socket: Socket| {
                std::future::ready(socket.join(random.lock().random_range(0..rooms).to_string()))
            });
        }
        for _ in 0..self.sockets {
            let (client, server) = pair();
            let hub =
                hubs.get(random.lock().random_range(0..self.nodes)).context("no such node")?;
            tokio::spawn(hub.handler()(server));
            tokio::spawn(async move { while client.read().await.is_ok() {} });
        }
        // Until the subscriptions are made.
        sleep(Duration::from_secs(1)).await;
        let connected: usize = hubs.iter().map(Hub::len).sum();
        ensure!(connected == self.sockets, "{connected} of {} sockets are connected", self.sockets);
        Ok(())
    }
}

/// Envelopes that have arrived at all nodes.
fn received(hubs: &[Hub]) -> Result<u64> {
    hubs.iter().map(|hub| Ok(ClusterStats::of(hub).context("no cluster")?.received)).sum()
}

/// The model holds within five per cent.
fn compare(what: &str, counted: f64, modelled: f64) -> Result<()> {
    println!("{what}: {counted:.0} counted, {modelled:.0} by the model");
    let difference = (counted / modelled - 1.0).abs();
    ensure!(difference < 0.05, "{what}: the model is {:.0} % away", difference * 100.0);
    Ok(())
}

/// Compares the model with real hubs whose clock is paused.
fn simulate(nodes: usize) -> Result<()> {
    for routing in [Routing::PerRoom, Routing::Partitioned(64)] {
        let is_per_room = routing == Routing::PerRoom;
        let simulation = Simulation {
            nodes,
            sockets: 10 * nodes,
            rooms: nodes,
            messages: if is_per_room { 20_000 } else { 2_000 },
            routing,
        };
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(simulation.run())?;
    }
    Ok(())
}

fn main() -> Result<()> {
    // `cargo bench` passes an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let number = |name: &str, default: f64| match arguments.iter().position(|it| it == name) {
        Some(at) => arguments.get(at + 1).context("no number")?.parse().context("not a number"),
        None => Ok(default),
    };
    let machine = Machine {
        cores: number("--cores", MACHINE.cores)?,
        memory: number("--gib", MACHINE.memory / GIB)? * GIB,
        used: number("--percent", MACHINE.used * 100.0)? / 100.0,
    };
    print_tables(machine, COSTS);
    if arguments.iter().any(|it| it == "--simulate") {
        simulate(1_000)?;
    }
    Ok(())
}
