//! How does `ws bench` measure an echo server?

mod args;
mod load;
mod report;

use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::select;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep_until};
use ws_client::{Conn, Message, StatusCode};
use ws_server_hyper::shutdown_signal;

pub(crate) use self::args::BenchArgs;
use self::load::{Load, TAG};
use self::report::{BenchReport, Measurement};
use crate::connect_options::{complete_url, explain, printed_url};
use crate::exit_code::INTERRUPTED;
use crate::latency::LatencyHistogram;
use crate::{listen, print};

pub(crate) async fn run(args: BenchArgs) -> Result<ExitCode> {
    let url = match &args.url {
        Some(url) => complete_url(url),
        None if args.fanout => format!("ws://{}", listen::start_broadcast().await?),
        None => format!("ws://{}", listen::start_echo().await?),
    };
    if args.fanout && args.size < TAG {
        bail!("a message of --fanout has at least {TAG} bytes (--size)");
    }
    let message = message(&args);
    let printed = printed_url(&url);
    let report = BenchReport::new(&args, &printed, message.len());
    // One future, so that no signal is missed between two steps.
    let mut interrupted = pin!(shutdown_signal());
    let Some((conns, opened)) = connect_all(&args, &url, interrupted.as_mut()).await? else {
        return Ok(INTERRUPTED.into());
    };
    if !args.json {
        report.print_opened(&opened);
    }
    let load = Arc::new(Load::new(message, args.pattern())?);
    let Some(measurement) = measure(&args, &load, &conns, &report, interrupted).await? else {
        return Ok(INTERRUPTED.into());
    };
    match args.json {
        true => report.print_json(&args, &printed, &opened, &measurement, &load.failures()),
        false => report.print_result(&args, &measurement, load.failures()),
    }
    for conn in &conns {
        conn.close_now();
    }
    let missed = report::missed_thresholds(&args, &measurement);
    for threshold in &missed {
        print::note(format_args!("{threshold}"));
    }
    let is_complete = load.failures().is_empty() && measurement.total.times.count() > 0;
    let held = is_complete && missed.is_empty();
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn message(args: &BenchArgs) -> Message {
    let text = match &args.payload {
        Some(payload) => payload.clone(),
        None => "0123456789abcdef".chars().cycle().take(args.size).collect(),
    };
    if args.binary { Message::binary(text.into_bytes()) } else { Message::text(text) }
}

/// Opens all connections, at most 64 at a time. Returns how long each took, too. `None` after a
/// signal.
async fn connect_all(
    args: &BenchArgs,
    url: &str,
    interrupted: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<(Vec<Conn>, LatencyHistogram)>> {
    let permits = Arc::new(Semaphore::new(64));
    let mut opening = JoinSet::new();
    let dial = args.options.dial(url)?;
    let started = Instant::now();
    for number in 0..args.connections {
        let share = f64::from(number) / f64::from(args.connections);
        let start = started + args.ramp_up.mul_f64(share);
        let (permits, url, dial) = (Arc::clone(&permits), url.to_owned(), dial.clone());
        opening.spawn(async move {
            sleep_until(start).await;
            let _permit = permits.acquire_owned().await?;
            let began = Instant::now();
            let conn = dial.connect().await.map_err(|error| explain(&error, &url))?;
            anyhow::Ok((conn, began.elapsed()))
        });
    }
    let all = async {
        let (mut conns, mut times) = (Vec::new(), LatencyHistogram::new()?);
        while let Some(opened) = opening.join_next().await {
            let (conn, time) = opened.context("a task failed")??;
            times.add(time);
            conns.push(conn);
        }
        Ok(Some((conns, times)))
    };
    select! {
        all = all => all,
        () = interrupted => Ok(None),
    }
}

/// Sends on all connections, and collects the results every second. `None` after a signal during the
/// warmup.
async fn measure(
    args: &BenchArgs,
    load: &Arc<Load>,
    conns: &[Conn],
    report: &BenchReport,
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Measurement>> {
    let began = Instant::now();
    let start = began + args.warmup;
    let end = start + args.duration;
    let mut tasks = load.start(conns, began);
    let mut measurement = Measurement::new()?;
    select! {
        () = sleep_until(start) => {}
        () = &mut interrupted => return Ok(None),
    }
    // Discards the results of the warmup.
    load.take_results()?;
    let mut ticks = interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
    let mut since = start;
    loop {
        let more = select! {
            now = ticks.tick() => now < end,
            () = sleep_until(end) => false,
            () = &mut interrupted => false,
        };
        let now = Instant::now();
        measurement.add(load.take_results()?, now - since);
        since = now;
        if !more {
            break;
        }
        report.print_progress(&measurement);
    }
    tasks.shutdown().await;
    let close_all = async {
        for conn in conns {
            // A lost connection was counted as a failure.
            let _ = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), close_all).await;
    Ok(Some(measurement))
}
