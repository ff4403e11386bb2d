//! Does anything leak, get lost or come out of order in hours of mixed load?

mod brokers;
mod conversations;
mod members;
mod places;
mod polling;
mod random;
mod sessions;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::places::{Place, PlaceKind, STEP};
use self::random::Random;
use crate::hubs;
use crate::plot;
use crate::record::Record;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// The length.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The number of clients at a time.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Only kinds of conversations with this in their name.
    #[arg(long)]
    only: Option<String>,
    /// The file of the plot.
    #[arg(long, default_value = "target/attack/soak.svg")]
    plot: PathBuf,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Echoes,
    Fragments,
    Streams,
    Pings,
    Abrupt,
    Rooms,
    Reconnects,
    SocketIo,
    Recoveries,
    Presence,
    Nodes,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Echoes,
        Self::Fragments,
        Self::Streams,
        Self::Pings,
        Self::Abrupt,
        Self::Rooms,
        Self::Reconnects,
        Self::SocketIo,
        Self::Recoveries,
        Self::Presence,
        Self::Nodes,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Echoes => "echoes",
            Self::Fragments => "fragments",
            Self::Streams => "streams",
            Self::Pings => "pings",
            Self::Abrupt => "abrupt ends",
            Self::Rooms => "rooms",
            Self::Reconnects => "reconnects",
            Self::SocketIo => "rooms by Socket.IO",
            Self::Recoveries => "recoveries",
            Self::Presence => "presence",
            Self::Nodes => "rooms on two nodes",
        }
    }

    /// Whether a place serves it.
    fn fits(self, place: &Place) -> bool {
        match self {
            Self::Echoes | Self::Fragments | Self::Streams | Self::Pings | Self::Abrupt => {
                place.kind == PlaceKind::Echo
            }
            Self::Rooms | Self::Reconnects => place.kind == PlaceKind::Hub,
            Self::SocketIo => place.kind == PlaceKind::Service { is_ordered: true },
            // The nodes of a cluster over NATS share no sessions.
            Self::Recoveries => place.kind == PlaceKind::Service { is_ordered: true },
            Self::Presence => matches!(place.kind, PlaceKind::Service { .. }),
            Self::Nodes => matches!(place.kind, PlaceKind::Service { .. }) && place.nodes.len() > 1,
        }
    }

    async fn run(self, place: &Place, random: &mut Random) -> Result<()> {
        match self {
            Self::Echoes => conversations::echoes(place, random, false).await,
            Self::Fragments => conversations::echoes(place, random, true).await,
            Self::Streams => conversations::streams(place, random).await,
            Self::Pings => conversations::pings(place, random).await,
            Self::Abrupt => conversations::abrupt(place, random).await,
            Self::Rooms => members::envelope_rooms(place, random).await,
            Self::Reconnects => conversations::reconnects(place, random).await,
            Self::SocketIo | Self::Nodes => members::mixed_rooms(place, random).await,
            Self::Recoveries => sessions::recoveries(place, random).await,
            Self::Presence => sessions::presence(place, random).await,
        }
    }
}

/// Counts of finished conversations by kind.
type Counts = Arc<[AtomicU64; Kind::ALL.len()]>;

fn finished(counts: &Counts) -> String {
    let counts = counts.iter().zip(Kind::ALL);
    let counts: Vec<_> =
        counts.map(|(count, kind)| format!("{} {}", count.load(Relaxed), kind.name())).collect();
    counts.join(", ")
}

pub(crate) fn run(args: &SoakArgs) -> Result<()> {
    load::meter::allow_files(4_000)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let mut started = places::start()?;
    let (targets, places) = (&mut started.targets[..], &started.places);
    let wants = |kind: &Kind| args.only.as_deref().is_none_or(|only| kind.name().contains(only));
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(wants).collect();
    let chosen: Vec<(Kind, Place)> = kinds
        .iter()
        .flat_map(|kind| places.iter().filter(|it| kind.fits(it)).map(|it| (*kind, it.clone())))
        .collect();
    warm_up(&runtime, &chosen)?;
    for target in &mut *targets {
        target.wait_open(0, STEP)?;
    }
    let counts = Counts::default();
    let mut record = Record::new(targets)?;
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        let (chosen, kinds, counts) = (chosen.clone(), kinds.clone(), Arc::clone(&counts));
        let client =
            async move { client(number as u64 + 1, &kinds, &chosen, &counts, until).await };
        clients.spawn_on(client, runtime.handle());
    }
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        record.sample(targets, runtime.handle())?;
        if let Some(Some(Err(error))) = clients.try_join_next().map(Result::ok) {
            bail!("a client has failed: {error:#}");
        }
        if record.times.len() % 30 == 0 {
            println!("{}", record.line(&finished(&counts)));
        }
    }
    runtime.block_on(async {
        while let Some(ended) = clients.join_next().await {
            ended?.context("a client has failed")?;
        }
        anyhow::Ok(())
    })?;
    println!("{}", record.line(&finished(&counts)));
    if let Some(folder) = args.plot.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.plot, plot::svg("resident memory, MiB", &record.times, &record.memory))?;
    println!("plot: {}", args.plot.display());
    record.judge(targets)
}

/// Does each thing once on each node, so that the tasks and files which a server keeps are there before
/// the load.
fn warm_up(runtime: &Runtime, chosen: &[(Kind, Place)]) -> Result<()> {
    let mut random = Random::new(7);
    for (kind, place) in chosen {
        if *kind == Kind::Nodes {
            runtime.block_on(one(*kind, place, &mut random))?;
            continue;
        }
        for node in &place.nodes {
            let alone = Place { nodes: vec![*node], ..place.clone() };
            runtime.block_on(one(*kind, &alone, &mut random))?;
        }
    }
    // What waits for clients ends.
    std::thread::sleep(hubs::WINDOW + Duration::from_secs(2));
    Ok(())
}

/// Has one conversation.
async fn one(kind: Kind, place: &Place, random: &mut Random) -> Result<()> {
    let what = format!("{} with {}", kind.name(), place.url);
    let done = timeout(2 * STEP, kind.run(place, random)).await;
    done.with_context(|| format!("{what} hang"))?.with_context(|| format!("{what} fail"))
}

/// Has one conversation after another.
async fn client(
    seed: u64,
    kinds: &[Kind],
    chosen: &[(Kind, Place)],
    counts: &Counts,
    until: Instant,
) -> Result<()> {
    let mut random = Random::new(seed);
    while Instant::now() < until {
        let kind = kinds[random.below(kinds.len())];
        let fit: Vec<_> = chosen.iter().filter(|(fits, _)| *fits == kind).collect();
        // Without the server of a broker, there is no place for some kinds.
        if fit.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        let (_, place) = fit[random.below(fit.len())];
        one(kind, place, &mut random).await?;
        counts[kind as usize].fetch_add(1, Relaxed);
    }
    Ok(())
}
