//! How long does a message take to the server and back?

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::select;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use ws_client::{Conn, Error, StatusCode};

use crate::exit;
use crate::percentiles::Times;
use crate::print::{self, time};
use crate::reach::{Reach, explain, seconds};

/// Pings a server over one connection, and tells how long the pongs take.
///
/// Ctrl-C ends it with a summary. The server needs nothing for it: every WebSocket answers
/// pings. Exits with 1 when a pong is missing, and when there is no connection.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct Args {
    /// Where to: ws://… or wss://…; ws:// may be left out
    url: String,
    /// Stops after so many pings
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// How long to wait between pings
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// How long to wait for a pong
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// How many bytes a ping carries, 8 to 125
    #[arg(long, value_name = "BYTES", default_value = "8", value_parser = clap::value_parser!(u8).range(8..=125))]
    size: u8,
    /// Prints only the summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    reach: Reach,
}

const HELP: &str = "\
Examples:
  ws ping localhost:9000
  ws ping -n 100 -i 0.05 -q wss://example.com/chat
  ws ping --size 125 wss://example.com/chat";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let dial = args.reach.dial(&args.url)?;
    let began = Instant::now();
    let conn = dial.connect().await.map_err(|error| explain(&error, &args.url))?;
    let url = crate::reach::complete(&args.url);
    let opened = time(began.elapsed());
    print::out(format_args!("{url}: {} bytes a ping; opened in {opened}", args.size));
    let pings = Pings { sent: 0, times: Times::new()? };
    let (pings, ended) = ping_all(&args, &conn, pings).await;
    summary(&url, &pings);
    if let Some(error) = ended {
        return Err(error).context("the connection ended");
    }
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.ok();
    let all = pings.sent > 0 && pings.times.count() == pings.sent;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Pings {
    sent: u64,
    times: Times,
}

/// Pings until it is enough, or the connection ends.
async fn ping_all(args: &Args, conn: &Conn, mut pings: Pings) -> (Pings, Option<Error>) {
    // What the server has to say is of no interest, and must not be in the way of pongs.
    let reading = async {
        loop {
            if let Err(error) = conn.read().await {
                return error;
            }
        }
    };
    let pinging = async {
        let mut ticks = interval(args.interval.max(Duration::from_micros(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while args.count.is_none_or(|count| pings.sent < count) {
            ticks.tick().await;
            if !ping(args, conn, &mut pings).await {
                return;
            }
        }
    };
    let ended = select! {
        () = pinging => None,
        error = reading => Some(error),
        _ = tokio::signal::ctrl_c() => None,
    };
    (pings, ended)
}

/// One ping. `false` when nobody wants to know any more.
async fn ping(args: &Args, conn: &Conn, pings: &mut Pings) -> bool {
    let number = pings.sent + 1;
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(usize::from(args.size), 0);
    let answered = timeout(args.timeout, conn.ping_with(payload)).await;
    // One that is interrupted does not count.
    pings.sent = number;
    let line = match answered {
        Ok(Ok(rtt)) => {
            pings.times.add(rtt);
            format!("pong {number}: {}", time(rtt))
        }
        Ok(Err(error)) => format!("pong {number}: {}", exit::chain(&error)),
        Err(_) => format!("pong {number}: none within {} (--timeout)", time(args.timeout)),
    };
    args.quiet || print::out(format_args!("{line}"))
}

fn summary(url: &str, pings: &Pings) {
    let (sent, received) = (pings.sent, pings.times.count());
    let lost = sent - received;
    print::out(format_args!("\n{url}: {sent} pings, {received} pongs, {lost} missing"));
    if received > 0 {
        let (names, times) = pings.times.table();
        print::out(format_args!("{names}\n{times}"));
    }
}
