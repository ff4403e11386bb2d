//! What is the round-trip time to a server?

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;
use tokio::select;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use ws_client::{Conn, Error, StatusCode};
use ws_server_hyper::shutdown_signal;

use crate::connect_options::{ConnectOptions, describe, explain, printed_url, seconds};
use crate::exit_code::INTERRUPTED;
use crate::latency::LatencyHistogram;
use crate::print::{self, mask_secrets, time};

/// Pings a server over one connection, and prints the round-trip times.
///
/// Ctrl-C or SIGTERM stops with a summary. Every WebSocket server answers pings. Exits with 1 if a
/// pong is missing or the connection fails.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct PingArgs {
    /// The URL: ws://… or wss://…; ws:// is the default
    url: String,
    /// Stops after N pings
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// The interval between pings
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// The timeout of a pong
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// The payload length of a ping, 8 to 125
    #[arg(long, value_name = "BYTES", default_value = "8", value_parser = clap::value_parser!(u8).range(8..=125))]
    size: u8,
    /// Prints only the summary
    #[arg(short, long)]
    quiet: bool,
    /// Prints one JSON object per line: each pong, then the summary; times are in seconds
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ConnectOptions,
}

const HELP: &str = "\
Examples:
  ws ping localhost:9000
  ws ping -n 100 -i 0.05 -q wss://example.com/chat
  ws ping --size 125 wss://example.com/chat";

pub(crate) async fn run(args: PingArgs) -> Result<ExitCode> {
    let dial = args.options.dial(&args.url)?;
    let began = Instant::now();
    let conn = select! {
        conn = dial.connect() => conn.map_err(|error| explain(&error, &args.url))?,
        () = shutdown_signal() => return Ok(INTERRUPTED.into()),
    };
    let url = printed_url(&args.url);
    let opened = began.elapsed();
    if !args.json {
        let opened = time(opened);
        print::report(format_args!("{url}: {} bytes a ping; opened in {opened}", args.size));
    }
    let mut results = PingResults { sent: 0, times: LatencyHistogram::new()? };
    let ended = ping_all(&args, &conn, &mut results).await;
    match args.json {
        true => print_json_summary(&url, opened, &results),
        false => print_summary(&url, &results),
    }
    if let Some(error) = ended {
        return Err(anyhow!("the connection ended: {}", describe(&error)));
    }
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.ok();
    let all = results.sent > 0 && results.times.count() == results.sent;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct PingResults {
    sent: u64,
    times: LatencyHistogram,
}

/// Pings until the count is reached, the connection ends, or Ctrl-C. Returns why it ended.
async fn ping_all(args: &PingArgs, conn: &Conn, results: &mut PingResults) -> Option<Error> {
    let pinging = async {
        let mut ticks = interval(args.interval.max(Duration::from_micros(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while args.count.is_none_or(|count| results.sent < count) {
            ticks.tick().await;
            if !ping(args, conn, results).await {
                return;
            }
        }
    };
    select! {
        () = pinging => None,
        error = discard_messages(conn) => Some(error),
        () = shutdown_signal() => None,
    }
}

/// Reads messages until the end of the connection, and returns that. A pong is received when the
/// messages before it are read.
pub(crate) async fn discard_messages(conn: &Conn) -> Error {
    loop {
        if let Err(error) = conn.read().await {
            return error;
        }
    }
}

/// Sends one ping. Returns `false` if the output is closed.
async fn ping(args: &PingArgs, conn: &Conn, results: &mut PingResults) -> bool {
    let number = results.sent + 1;
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(usize::from(args.size), 0);
    let answered = timeout(args.timeout, conn.ping_with(payload)).await;
    // An interrupted ping does not count.
    results.sent = number;
    let answered = match answered {
        Ok(Ok(rtt)) => Ok(rtt),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err(format!("none within {} (--timeout)", time(args.timeout))),
    };
    if let Ok(rtt) = answered {
        results.times.add(rtt);
    }
    if args.quiet {
        return true;
    }
    match answered {
        Ok(rtt) if args.json => {
            print::json(&json!({ "pong": number, "seconds": rtt.as_secs_f64() }))
        }
        Err(why) if args.json => {
            print::json(&json!({ "pong": number, "error": mask_secrets(&why) }))
        }
        Ok(rtt) => print::report(format_args!("pong {number}: {}", time(rtt))),
        Err(why) => print::report(format_args!("pong {number}: {why}")),
    }
}

fn print_json_summary(url: &str, opened: Duration, results: &PingResults) {
    let (sent, received) = (results.sent, results.times.count());
    print::json(&json!({
        "url": url,
        "opened_seconds": opened.as_secs_f64(),
        "sent": sent,
        "received": received,
        "missing": sent - received,
        "seconds": results.times.json(),
    }));
}

fn print_summary(url: &str, results: &PingResults) {
    let (sent, received) = (results.sent, results.times.count());
    let lost = sent - received;
    print::report(format_args!("\n{url}: {sent} pings, {received} pongs, {lost} missing"));
    if received > 0 {
        let (names, times) = results.times.table();
        print::report(format_args!("{names}\n{times}"));
    }
}
