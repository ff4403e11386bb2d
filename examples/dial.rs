//! How does one talk to a server? Lines typed here become text messages there, and what
//! it says is printed.

use std::fmt;
use std::io::{self, BufRead as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Parser;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_client::{CloseInfo, Compression, Conn, Dial, Error, StatusCode};

/// Connects to a WebSocket. Ctrl-D closes it.
///
/// Exits with 0 when the connection was closed normally, with 3 when it was closed for
/// another reason, with 1 when there was no connection, or none any more.
#[derive(Parser)]
struct Args {
    /// Where to: ws://… or wss://…
    url: String,
    /// A header to send, as 'Name: value'; may be repeated.
    #[arg(long, value_parser = header)]
    header: Vec<(String, String)>,
    /// A subprotocol to offer, the preferred one first; may be repeated.
    #[arg(long)]
    subprotocol: Vec<String>,
    /// Offers compression.
    #[arg(long)]
    compress: bool,
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    talk(Args::parse()).await.unwrap_or_else(|error| {
        report(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn talk(args: Args) -> anyhow::Result<ExitCode> {
    let conn = connect(args).await?;
    let (compressed, subprotocol) = (conn.is_compressed(), conn.subprotocol().unwrap_or("none"));
    report(format_args!("connected; subprotocol: {subprotocol}, compressed: {compressed}"));
    tokio::spawn(say(conn.clone()));
    while let Ok(message) = conn.read().await {
        match message.as_text() {
            Some(text) => print(format_args!("{text}")),
            None => print(format_args!("({} bytes)", message.len())),
        }
    }
    conclude(conn.closed().await)
}

async fn connect(args: Args) -> anyhow::Result<Conn> {
    let mut dial = Dial::new(&args.url).subprotocols(args.subprotocol);
    for (name, value) in args.header {
        dial = dial.header(name, value);
    }
    if args.compress {
        dial = dial.compression(Compression::context_takeover());
    }
    let dialled = dial.connect().await.map_err(|error| match error.refusal() {
        Some(refusal) => anyhow!("{error}, and says: {}", refusal.body_text().trim()),
        None => error.into(),
    });
    dialled.with_context(|| format!("no connection to {}", args.url))
}

/// Sends each line, and closes after the last.
async fn say(conn: Conn) -> Result<(), Error> {
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        conn.write(line).await?;
    }
    // Answers that are on their way are here before the pong is.
    let _ = timeout(Duration::from_secs(5), conn.ping()).await;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await
}

/// The lines of the input. They have a thread to themselves, since one cannot stop waiting
/// for the next.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Says how it ended, and whether that is good.
fn conclude(ending: CloseInfo) -> anyhow::Result<ExitCode> {
    use StatusCode as Code;
    match ending.error {
        Error::Closed(close) if close.code != Code::ABNORMAL_CLOSURE => {
            report(format_args!("{close}"));
            let normal = [Code::NORMAL_CLOSURE, Code::NO_STATUS_RECEIVED].contains(&close.code);
            Ok(if normal { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        error => Err(error).context("the connection is lost"),
    }
}

#[expect(clippy::print_stdout, reason = "that is what a program is for")]
fn print(line: fmt::Arguments<'_>) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "that is what a program is for")]
fn report(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}
