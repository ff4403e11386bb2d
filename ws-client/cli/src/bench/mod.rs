//! How many messages does a server echo, and how fast?

mod load;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::select;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep_until};
use ws_client::{Conn, Message, StatusCode};

use self::load::Load;
use self::report::{Report, Rounds};
use crate::listen;
use crate::percentiles::Times;
use crate::reach::{Reach, complete, explain, seconds};

/// Sends messages over many connections to a server that echoes them, and tells how many come
/// back, and when.
///
/// Without --rate, each connection sends a message for each that comes back, with --pipeline
/// of them under way: as much as the server can do. With it, messages are sent at that rate
/// whatever comes back, and a time is counted from when its message was due: what waits
/// because the server is slow, waits in the figures too.
///
/// Without a URL it measures an echo server of its own, in the same process.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct Args {
    /// Where to: ws://… or wss://…; ws:// may be left out
    url: Option<String>,
    /// How many connections
    #[arg(short = 'C', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How many messages each connection sends in a second
    #[arg(short, long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// How many messages of a connection are under way
    #[arg(short, long, value_name = "N", default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pipeline: u32,
    /// How many bytes a message has
    #[arg(long, value_name = "BYTES", default_value_t = 128, conflicts_with = "payload")]
    size: usize,
    /// The text of each message
    #[arg(long, value_name = "TEXT")]
    payload: Option<String>,
    /// Sends binary messages
    #[arg(short, long)]
    binary: bool,
    /// How long to measure
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// How long to send before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warmup: Duration,
    /// Shows no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    reach: Reach,
}

const HELP: &str = "\
Examples:
  ws bench                                   # what can this machine do?
  ws bench localhost:9000 --connections 100 --pipeline 16
  ws bench --connections 100 --rate 10000 --payload 'hello world!!13212312!'
  ws bench wss://example.com/echo --connections 1000 --rate 1 --duration 60

Exits with 1 when a connection was lost, or the server sends nothing, or something else than
an echo.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let url = match &args.url {
        Some(url) => complete(url),
        None => format!("ws://{}", listen::echo_here().await?),
    };
    let message = message(&args)?;
    let report = Report::new(&args, &url, message.len());
    let mut opened = Times::new()?;
    let conns = connect_all(&args, &url, &mut opened).await?;
    report.opened(&opened);
    let load = Arc::new(Load::new(message, args.rate, args.pipeline)?);
    let rounds = measure(&args, &load, &conns, &report).await?;
    report.result(&args, &rounds, load.failures());
    for conn in &conns {
        conn.close_now();
    }
    let held = load.failures().is_empty() && rounds.echoed() > 0;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn message(args: &Args) -> Result<Message> {
    let text = match &args.payload {
        Some(payload) => payload.clone(),
        None => "0123456789abcdef".chars().cycle().take(args.size).collect(),
    };
    ensure!(args.rate.is_none_or(|rate| rate > 0.0), "a rate is more than 0 (--rate)");
    Ok(if args.binary { Message::binary(text.into_bytes()) } else { Message::text(text) })
}

/// Opens all connections, some at a time.
async fn connect_all(args: &Args, url: &str, times: &mut Times) -> Result<Vec<Conn>> {
    let some = Arc::new(Semaphore::new(64));
    let mut opening = JoinSet::new();
    let dial = args.reach.dial(url)?;
    for _ in 0..args.connections {
        let (some, url, dial) = (Arc::clone(&some), url.to_owned(), dial.clone());
        opening.spawn(async move {
            let _turn = some.acquire_owned().await?;
            let began = Instant::now();
            let conn = dial.connect().await.map_err(|error| explain(&error, &url))?;
            anyhow::Ok((conn, began.elapsed()))
        });
    }
    let mut conns = Vec::new();
    let all = async {
        while let Some(opened) = opening.join_next().await {
            let (conn, time) = opened.context("a task failed")??;
            times.add(time);
            conns.push(conn);
        }
        Ok(())
    };
    select! {
        all = all => all.map(|()| conns),
        _ = tokio::signal::ctrl_c() => bail!("interrupted before all connections were open"),
    }
}

/// Lets all connections send, and looks at the figures every second.
async fn measure(args: &Args, load: &Arc<Load>, conns: &[Conn], report: &Report) -> Result<Rounds> {
    let began = Instant::now();
    let measured = began + args.warmup;
    let end = measured + args.duration;
    let mut tasks = load.start(conns, began);
    let mut rounds = Rounds::new()?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    select! {
        () = sleep_until(measured) => {}
        _ = &mut interrupted => bail!("interrupted before anything was measured"),
    }
    load.look();
    let mut looks = interval_at(measured + Duration::from_secs(1), Duration::from_secs(1));
    let mut since = measured;
    loop {
        let more = select! {
            now = looks.tick() => now < end,
            () = sleep_until(end) => false,
            _ = &mut interrupted => false,
        };
        let now = Instant::now();
        rounds.add(load.look(), now - since);
        since = now;
        if !more {
            break;
        }
        report.progress(&rounds);
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    let polite = async {
        for conn in conns {
            // One that is lost has been counted.
            let _ = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), polite).await;
    Ok(rounds)
}

fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("write it as a number of messages in a second, more than 0"),
    }
}
