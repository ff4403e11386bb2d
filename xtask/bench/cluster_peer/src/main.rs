//! How many messages a second get from one server of socketioxide to another, and how late are they?
//!
//! usage: cluster-peer PORT [--short]
//!
//! Two processes use socketioxide in axum, with its Redis adapter and the Redis at PORT. The first
//! sends as the hubs of `ws-events/broker/benches/cluster.rs` do. The second has one member in the
//! room, whose WebSocket is in memory, as theirs is: the adapter reports nothing without a socket.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::future::pending;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use axum::Router;
use axum::serve::Listener;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use socketioxide::adapter::{Adapter, Emitter};
use socketioxide::extract::SocketRef;
use socketioxide::layer::SocketIoLayer;
use socketioxide::{SocketIo, TransportType};
use socketioxide_redis::drivers::redis::RedisDriver;
use socketioxide_redis::{RedisAdapter, RedisAdapterConfig, RedisAdapterCtr};
use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// The bytes of a message.
const BYTES: usize = 100;

/// The messages that the sender is ahead of the receiver.
const AHEAD: usize = 10_000;

/// An emit waits for the answer of Redis, so many of them run at once.
const EMITS: usize = 256;

/// The longest wait for a message.
const LOST: Duration = Duration::from_secs(30);

/// The numbers of messages: for the rate, and for the delay, ten each millisecond.
#[derive(Clone, Copy, Debug)]
struct Counts {
    messages: usize,
    timed: usize,
}

type RedisIo = SocketIo<RedisAdapter<Emitter>>;
type RedisLayer = SocketIoLayer<RedisAdapter<Emitter>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let is = |word: &str| arguments.iter().any(|argument| argument == word);
    let port = arguments.first().context("usage: cluster-peer PORT [--short]")?;
    let counts = if is("--short") {
        Counts { messages: 10_000, timed: 5_000 }
    } else {
        Counts { messages: 100_000, timed: 50_000 }
    };
    if is("receive") { receive(port, counts).await } else { send(port, &arguments, counts).await }
}

async fn enter<A: Adapter>(socket: SocketRef<A>) {
    socket.join("room");
}

/// A server in the settings in which it loses nothing: by default, the adapter drops messages behind
/// 1,024, and a socket behind 128.
async fn serve(port: &str) -> Result<(RedisLayer, RedisIo)> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/?protocol=resp3"))?;
    let config = RedisAdapterConfig::new().with_stream_buffer(2 * AHEAD);
    let adapter = RedisAdapterCtr::new_with_driver(RedisDriver::new(&client).await?, config);
    let hour = Duration::from_secs(3600);
    let (layer, io) = SocketIo::builder()
        .transports([TransportType::Websocket])
        .max_buffer_size(2 * AHEAD)
        // The member does not answer pings.
        .ping_interval(hour)
        .ping_timeout(hour)
        .with_adapter::<RedisAdapter<_>>(adapter)
        .build_layer();
    io.ns("/", enter).await?;
    Ok((layer, io))
}

fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// Sends as fast as the other server receives, and then ten messages each millisecond.
async fn send(port: &str, arguments: &[String], counts: Counts) -> Result<()> {
    let (_, io) = serve(port).await?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).arg("receive").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = command.kill_on_drop(true).spawn()?;
    let output = other.stdout.take().context("the other server has no output")?;
    let mut lines = BufReader::new(output).lines();
    ensure!(lines.next_line().await?.as_deref() == Some("ready"), "the other server has ended");

    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let (sender, timed) = oneshot::channel();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            match line.parse() {
                Ok(number) => counter.store(number, Relaxed),
                // Nobody waits for it after an error.
                Err(_) => return drop(sender.send(line)),
            }
        }
    });

    let started = Instant::now();
    let text = Arc::from("x".repeat(BYTES));
    let emits = stream::iter(0..counts.messages).map(|sent| {
        let (io, text, received) = (io.clone(), Arc::clone(&text), Arc::clone(&received));
        async move {
            while sent >= received.load(Relaxed) + AHEAD {
                sleep(Duration::from_millis(1)).await;
            }
            emit(io, "m", text).await
        }
    });
    let mut emits = std::pin::pin!(emits.buffer_unordered(EMITS));
    while emits.next().await.transpose()?.is_some() {}
    let all = async {
        while received.load(Relaxed) < counts.messages {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LOST, all).await.context("a message is lost")?;
    let rate = counts.messages as f64 / started.elapsed().as_secs_f64();
    println!("socketioxide, redis: {rate:.0} messages/s from node to node");

    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..counts.timed {
        if number % 10 == 0 {
            ticks.tick().await;
        }
        let stamp = format!("{:<BYTES$}", now());
        tokio::spawn(emit(io.clone(), "t", stamp.into()));
    }
    let delays = timeout(LOST, timed).await.context("a message is lost")??;
    println!("socketioxide, redis: at 10,000/s, {delays} from node to node");
    Ok(())
}

async fn emit(io: RedisIo, event: &'static str, text: Arc<str>) -> Result<()> {
    let sent = io.to("room").emit(event, &*text).await;
    sent.map_err(|error| anyhow!("Redis does not take a message: {error}"))
}

async fn receive(port: &str, counts: Counts) -> Result<()> {
    // The input ends with the parent process.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let (layer, io) = serve(port).await?;
    let (client, server) = tokio::io::duplex(64 * 1024);
    let app = Router::new().layer(layer);
    tokio::spawn(axum::serve(OneConnection(Some(server)), app).into_future());
    let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
    let (mut client, _) = client_async(url, client).await?;
    client.send(Message::text("40")).await?;
    while io.within("room").sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    println!("ready");
    let (mut received, mut delays) = (0, Vec::new());
    while let Some(message) = client.next().await {
        let message = message?;
        let Ok(text) = message.to_text() else { continue };
        if text.starts_with(r#"42["m""#) {
            received += 1;
            if received % 64 == 0 || received == counts.messages {
                println!("{received}");
            }
        } else if let Some(stamp) = text.strip_prefix(r#"42["t",""#) {
            let sent = stamp.split(' ').next().unwrap_or_default().parse::<u128>()?;
            delays.push(now().saturating_sub(sent));
            if delays.len() == counts.timed {
                break;
            }
        }
    }
    delays.sort_unstable();
    let millis = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or(0);
    let millis = |percent| millis(percent) as f64 / 1e6;
    println!("p50 {:.3} ms and p99 {:.3} ms", millis(50), millis(99));
    Ok(())
}

/// Accepts one connection, which is in memory.
struct OneConnection(Option<DuplexStream>);

impl Listener for OneConnection {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(stream) => (stream, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}
