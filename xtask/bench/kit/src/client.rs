//! How does a measured client run echo loops on many connections?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser as _;
use load::drive::conn::{connect, shake_hands};
use load::meter::Moment;
use load::options::LoadOptions;
use load::report::Report;
use load::scenario::{Content, Scenario};
use load::script::{Random, payload};
use tokio::net::TcpStream;
use tokio::time::sleep;

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

/// As [`run_client`], for clients that connect and make the opening handshake themselves.
///
/// # Errors
///
/// There is no server, or a connection ends.
pub fn run_dialling_client<T, F>(echo: F) -> Result<()>
where
    F: Fn(SocketAddr, Task) -> T,
    T: Future<Output = Result<()>> + Send + 'static,
{
    run(|options, task| Ok(echo(options.connect, task)))
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
    run(|options, task| {
        // The handshake is not measured.
        let mut stream = connect(options.connect)?;
        shake_hands(&mut stream, "/", "")?;
        stream.set_nonblocking(true)?;
        Ok(echo(TcpStream::from_std(stream)?, task))
    })
}

fn run<T, F>(open: F) -> Result<()>
where
    F: Fn(&LoadOptions, Task) -> Result<T>,
    T: Future<Output = Result<()>> + Send + 'static,
{
    let options = LoadOptions::parse();
    let scenario = Scenario::named(&options.scenario)?;
    let count = Arc::new(AtomicU64::new(0));
    let task = Task {
        payload: payload(scenario, &mut Random(1)).into(),
        text: scenario.content != Content::Binary,
        count: Arc::clone(&count),
    };
    crate::runtime(1)?.block_on(async {
        let mut failing = tokio::task::JoinSet::new();
        for _ in 0..scenario.conns {
            failing.spawn(open(&options, task.clone())?);
        }
        tokio::select! {
            Some(ended) = failing.join_next() => ended?.context("a connection ended"),
            measured = measure(&options, &count) => measured,
        }
    })
}

async fn measure(options: &LoadOptions, count: &AtomicU64) -> Result<()> {
    sleep(options.warm_up).await;
    let (before, opened) = (count.load(Relaxed), Moment::now(options.pid)?);
    sleep(options.seconds).await;
    let used = Moment::now(options.pid)?.since(&opened);
    let report = Report::of(count.load(Relaxed) - before, &used);
    // The client is measured, and the server is the load.
    Report { cpu_ns: used.own_ns, load_cpu_ns: used.measured_ns, ..report }.print()
}
