//! How does a measured client run echo loops on many connections?

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use load::meter::Moment;
use load::report::Report;
use load::scenario::{Content, Scenario};
use load::script::{Random, payload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The arguments that every measured client takes.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Address of the server.
    #[arg(long)]
    connect: SocketAddr,
    /// Name of the scenario.
    #[arg(long)]
    scenario: String,
    /// Process id of the server, to separate its processor time from that of other processes.
    #[arg(long)]
    pid: i32,
    /// Measured time in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Warm-up in seconds before that.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
}

/// The echo loop of a connection: it sends this message, and checks the reply.
#[derive(Clone, Debug)]
pub struct Task {
    /// The payload.
    pub payload: Bytes,
    /// Whether the message is text.
    pub text: bool,
    count: Arc<AtomicU64>,
}

impl Task {
    /// Checks and counts a reply.
    ///
    /// # Errors
    ///
    /// The reply differs from the message.
    pub fn answered(&self, text: bool, payload: &[u8]) -> Result<()> {
        ensure!(text == self.text && payload == self.payload, "a reply differs from its message");
        self.count.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Runs a client: `echo` is the loop on one stream, after the opening handshake.
///
/// # Errors
///
/// There is no server, or a connection ends.
pub fn run_client<T, F>(echo: F) -> Result<()>
where
    F: Fn(TcpStream, Task) -> T,
    T: Future<Output = Result<()>> + Send + 'static,
{
    let args = Args::parse();
    let scenario = Scenario::find(&args.scenario).context("unknown scenario")?;
    let count = Arc::new(AtomicU64::new(0));
    let task = Task {
        payload: payload(scenario, &mut Random(1)).into(),
        text: scenario.content != Content::Binary,
        count: Arc::clone(&count),
    };
    crate::runtime(1)?.block_on(async {
        let mut failing = tokio::task::JoinSet::new();
        for _ in 0..scenario.conns {
            let stream = dial(args.connect).await?;
            failing.spawn(echo(stream, task.clone()));
        }
        tokio::select! {
            Some(ended) = failing.join_next() => ended?.context("a connection ended"),
            measured = measure(&args, &count) => measured,
        }
    })
}

async fn measure(args: &Args, count: &AtomicU64) -> Result<()> {
    sleep(Duration::from_secs_f64(args.warm_up)).await;
    let (before, opened) = (count.load(Relaxed), Moment::now(Some(args.pid))?);
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let used = Moment::now(Some(args.pid))?.since(&opened);
    let report = Report {
        messages: count.load(Relaxed) - before,
        seconds: used.seconds,
        cpu_ns: used.own_ns,
        load_cpu_ns: used.measured_ns,
        foreign: used.foreign,
        ..Report::default()
    };
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &report)?;
    Ok(writeln!(out)?)
}

/// Makes the opening handshake, which is not measured.
async fn dial(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "the server does not answer");
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "the server refuses the handshake");
    Ok(stream)
}
