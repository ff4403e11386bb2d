//! Does anything leak, get lost or come out of order in hours of mixed load?

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use ws_client::{
    Compression, Config, Conn, Dial, Dialer, Message, MessageType, Reconnect, StatusCode,
};

use crate::plot;
use crate::record::Record;
use crate::serve::Adapter;
use crate::target::Target;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// The length.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The number of clients at a time.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// The file of the plot.
    #[arg(long, default_value = "target/attack/soak.svg")]
    plot: PathBuf,
}

/// How long one step of a client may take.
const STEP: Duration = Duration::from_secs(30);

/// What a client uses.
const KINDS: [&str; 7] =
    ["echoes", "fragments", "streams", "pings", "abrupt ends", "rooms", "reconnects"];

/// A server, as clients see it.
#[derive(Clone)]
struct Place {
    url: String,
    address: std::net::SocketAddr,
    kind: PlaceKind,
    /// The client's settings: HTTP/1.1, and HTTP/2 if the server has it.
    dialers: Vec<Dialer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    Echo,
    Hub,
}

/// Counts of finished conversations by kind.
type Counts = Arc<[AtomicU64; KINDS.len()]>;

fn finished(counts: &Counts) -> String {
    let counts = counts.iter().zip(KINDS);
    let counts: Vec<_> =
        counts.map(|(count, kind)| format!("{} {kind}", count.load(Relaxed))).collect();
    counts.join(", ")
}

pub(crate) fn run(args: &SoakArgs) -> Result<()> {
    load::meter::allow_files(4_000)?;
    let (mut targets, mut places) = (Vec::new(), Vec::new());
    for (adapter, tls, kind) in servers() {
        let (target, place) = start(adapter, tls, kind)?;
        targets.push(target);
        places.push(place);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let counts = Counts::default();
    let mut record = Record::new(&mut targets)?;
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        let (places, counts) = (places.clone(), Arc::clone(&counts));
        let client = async move { client(number as u64 + 1, &places, &counts, until).await };
        clients.spawn_on(client, runtime.handle());
    }
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        record.sample(&mut targets, runtime.handle())?;
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
    record.judge(&mut targets)
}

/// Every adapter over TCP, two over TLS with HTTP/2, and two hubs.
fn servers() -> Vec<(Adapter, bool, PlaceKind)> {
    let plain = Adapter::ALL.map(|adapter| (adapter, false, PlaceKind::Echo));
    let more = [
        (Adapter::Hyper, true, PlaceKind::Echo),
        (Adapter::Axum, true, PlaceKind::Echo),
        (Adapter::Axum, false, PlaceKind::Hub),
        (Adapter::Bare, false, PlaceKind::Hub),
    ];
    [&plain[..], &more].concat()
}

fn start(adapter: Adapter, tls: bool, kind: PlaceKind) -> Result<(Target, Place)> {
    let mut options = Vec::new();
    let file = std::env::temp_dir().join(format!("ws-soak-{}.der", std::process::id()));
    let tls_option = format!("--tls={}", file.display());
    if tls {
        options.push(&*tls_option);
    }
    if kind == PlaceKind::Hub {
        options.push("--use=hub");
    }
    let mut target = Target::start(adapter, &options)?;
    let mut dialers = vec![Dialer::new().no_proxy()];
    if tls {
        // The server has written it before it answers.
        target.stats()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(wait_for(&file)?))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        dialers = vec![Dialer::new().no_proxy().tls(config)];
        dialers.push(dialers[0].clone().http2());
        std::fs::remove_file(file)?;
    } else if adapter != Adapter::Bare {
        dialers.push(Dialer::new().no_proxy().http2_only());
    }
    let (address, port) = (target.address, target.address.port());
    let url = if tls { format!("wss://localhost:{port}/") } else { format!("ws://{address}/") };
    target.name = match (kind, tls) {
        (PlaceKind::Hub, _) => format!("hub on {}", target.name),
        (PlaceKind::Echo, true) => format!("{} (TLS)", target.name),
        (PlaceKind::Echo, false) => target.name.clone(),
    };
    Ok((target, Place { url, address, kind, dialers }))
}

fn wait_for(file: &std::path::Path) -> Result<Vec<u8>> {
    for _ in 0..100 {
        if let Ok(bytes) = std::fs::read(file)
            && !bytes.is_empty()
        {
            return Ok(bytes);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the server has written no certificate")
}

/// A generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn payload(&mut self) -> Vec<u8> {
        let len = match self.below(10) {
            0..6 => self.below(200),
            6..9 => self.below(20_000),
            _ => self.below(300_000),
        };
        let start = self.next();
        (0..len).map(|at| (start.wrapping_add(at as u64 / 3)) as u8).collect()
    }
}

/// Has one conversation after another.
async fn client(seed: u64, places: &[Place], counts: &Counts, until: Instant) -> Result<()> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    while Instant::now() < until {
        let kind = random.below(KINDS.len());
        let wanted = if kind >= 5 { PlaceKind::Hub } else { PlaceKind::Echo };
        let fit: Vec<_> = places.iter().filter(|it| it.kind == wanted).collect();
        let place = fit[random.below(fit.len())];
        let what = format!("{} with {}", KINDS[kind], place.url);
        let conversation = async {
            match kind {
                0 | 1 => echoes(place, &mut random, kind == 1).await,
                2 => streams(place, &mut random).await,
                3 => pings(place, &mut random).await,
                4 => abrupt(place, &mut random).await,
                5 => rooms(place, &mut random).await,
                _ => reconnects(place, &mut random).await,
            }
        };
        let done = timeout(2 * STEP, conversation).await;
        done.with_context(|| format!("{what} hang"))?.with_context(|| format!("{what} fail"))?;
        counts[kind].fetch_add(1, Relaxed);
    }
    Ok(())
}

fn dial(place: &Place, random: &mut Random) -> Dial {
    let dial = Dial::new(&place.url).dialer(&place.dialers[random.below(place.dialers.len())]);
    match random.below(3) {
        0 => dial.compression(Compression::context_takeover()),
        1 => dial.compression(Compression::no_context_takeover()),
        _ => dial,
    }
}

/// Messages in both directions at once, which have to come back in order.
async fn echoes(place: &Place, random: &mut Random, fragments: bool) -> Result<()> {
    let mut dial = dial(place, random);
    if fragments {
        dial = dial.config(Config::new().fragment_size(random.below(5_000) + 1_000));
    }
    let conn = dial.connect().await?;
    let messages: Vec<_> = (0..random.below(30) + 1).map(|_| random.payload()).collect();
    let write = async {
        for message in &messages {
            conn.write(Message::binary(message.clone())).await?;
        }
        anyhow::Ok(())
    };
    let read = async {
        for message in &messages {
            let found = conn.read().await?;
            ensure!(found.as_bytes() == &message[..], "an echo differs, or is out of order");
        }
        anyhow::Ok(())
    };
    tokio::try_join!(write, read)?;
    end(&conn).await
}

/// A message that is written and read in pieces.
async fn streams(place: &Place, random: &mut Random) -> Result<()> {
    let conn = dial(place, random).connect().await?;
    let pieces: Vec<_> = (0..random.below(20) + 1).map(|_| random.payload()).collect();
    let pieces: Vec<_> = pieces.into_iter().map(|it| it[..it.len().min(40_000)].to_vec()).collect();
    let write = async {
        let mut writer = conn.writer(MessageType::Binary).await?;
        for piece in &pieces {
            writer.write_all(piece).await?;
        }
        writer.finish().await?;
        anyhow::Ok(())
    };
    let read = async {
        let mut reader = conn.reader().await?;
        let mut found = Vec::new();
        while let Some(chunk) = reader.chunk().await? {
            found.extend_from_slice(&chunk);
        }
        ensure!(found == pieces.concat(), "a streamed message differs");
        anyhow::Ok(())
    };
    tokio::try_join!(write, read)?;
    end(&conn).await
}

async fn pings(place: &Place, random: &mut Random) -> Result<()> {
    let conn = dial(place, random).connect().await?;
    for number in 0..5_u8 {
        conn.write(Message::binary(vec![number])).await?;
        let (rtt, found) = tokio::join!(conn.ping(), conn.read());
        rtt?;
        ensure!(found?.as_bytes() == [number], "an echo differs");
    }
    end(&conn).await
}

/// Closes, and waits for the answer.
async fn end(conn: &Conn) -> Result<()> {
    Ok(timeout(STEP, conn.close(StatusCode::NORMAL_CLOSURE, "done")).await??)
}

/// Connections that end without a close frame, in the middle of something.
async fn abrupt(place: &Place, random: &mut Random) -> Result<()> {
    match random.below(4) {
        0 => {
            let conn = dial(place, random).connect().await?;
            conn.write(Message::binary(random.payload())).await?;
            drop(conn);
        }
        1 => {
            let conn = dial(place, random).connect().await?;
            conn.write(Message::binary(random.payload())).await?;
            conn.close_now();
        }
        2 => {
            let mut stream = TcpStream::connect(place.address).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await?;
        }
        _ => {
            // A dial that is given up.
            let _ = timeout(Duration::from_millis(1), dial(place, random).connect()).await;
        }
    }
    Ok(())
}

fn event(name: &str, data: &str) -> Message {
    Message::text(format!("{{\"event\":\"{name}\",\"data\":{data}}}"))
}

/// Three members of a room of their own. Each gets what the others say, in order.
async fn rooms(place: &Place, random: &mut Random) -> Result<()> {
    const MEMBERS: usize = 3;
    let room = random.next().to_string();
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let conn = dial(place, random).connect().await?;
        conn.write(event("join", &format!("\"{room}\""))).await?;
        conn.write(event("echo", "0")).await?;
        // Joined: handlers of a socket run in order.
        conn.read().await?;
        members.push(conn);
    }
    let count = random.below(40) + 1;
    let talk = async |index: usize, conn: &Conn| -> Result<()> {
        let write = async {
            for number in 0..count {
                conn.write(event("say", &format!("\"{room}:{index}:{number}\""))).await?;
            }
            anyhow::Ok(())
        };
        let read = async {
            let mut next = [0; MEMBERS];
            for _ in 0..count * (MEMBERS - 1) {
                let message = conn.read().await?;
                let text = message.as_text().unwrap_or_default();
                let mut words = text.trim_end_matches("\"}").rsplit(':');
                let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
                let (number, from) =
                    (number().context("no number")?, number().context("no sender")?);
                ensure!(from != index && next[from] == number, "out of order: {text}");
                next[from] += 1;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(write, read)?;
        Ok(())
    };
    let [a, b, c] = &members[..] else { bail!("three members") };
    tokio::try_join!(talk(0, a), talk(1, b), talk(2, c))?;
    for conn in &members {
        end(conn).await?;
    }
    Ok(())
}

/// The server closes with 1001 now and then. No message that was answered is asked for again.
async fn reconnects(place: &Place, random: &mut Random) -> Result<()> {
    let dial = Dial::new(&place.url).dialer(&place.dialers[0]);
    let conn = Reconnect::new(dial).connect().await?;
    for number in 0..random.below(4) + 1 {
        conn.write(event("echo", &number.to_string())).await?;
        let wanted = format!("{{\"event\":\"echo\",\"data\":\"{number}\"}}");
        let found = conn.read().await?;
        ensure!(found.as_text() == Some(&*wanted), "{found:?} instead of {wanted}");
    }
    conn.write(event("kick", "0")).await?;
    // Written to the next connection, or to this one and lost: it is asked again.
    for attempt in 0..100 {
        let _ = conn.write(event("echo", "99")).await;
        match timeout(Duration::from_millis(500), conn.read()).await {
            Ok(found) => {
                ensure!(found?.as_text().is_some_and(|it| it.contains("\"99\"")), "another answer");
                break;
            }
            Err(_) => ensure!(attempt < 99, "no answer after a reconnect"),
        }
    }
    timeout(STEP, conn.close(StatusCode::NORMAL_CLOSURE, "")).await?.ok();
    Ok(())
}
