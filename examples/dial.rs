//! How do I connect to a server, and send and print messages from the terminal?

use std::fmt;
use std::io::{self, BufRead as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_client::{CloseInfo, Compression, Conn, Dial, Error, Escaped, StatusCode};
use ws_core::redact::Redacted;

/// Connects to a WebSocket server. Sends each line of the input, and prints each message.
///
/// Ctrl-D closes the connection. Exit code: 0 after a normal close, 3 after another close code, 1
/// if the connection failed or was lost.
#[derive(Parser)]
struct Args {
    /// The URL: ws://… or wss://…
    url: String,
    /// Adds a header, as 'Name: value'. May be repeated.
    #[arg(long, value_parser = header)]
    header: Vec<(String, String)>,
    /// Offers a subprotocol. May be repeated, in order of preference.
    #[arg(long)]
    subprotocol: Vec<String>,
    /// Offers compression.
    #[arg(long)]
    compress: bool,
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(Args::parse()).await.unwrap_or_else(|error| {
        report(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let conn = connect(args).await?;
    let (compressed, subprotocol) = (conn.is_compressed(), conn.subprotocol().unwrap_or("none"));
    report(format_args!("connected; subprotocol: {subprotocol}, compressed: {compressed}"));
    tokio::spawn(send_lines(conn.clone()));
    while let Ok(message) = conn.read().await {
        match message.as_text() {
            // A peer must not control the terminal.
            Some(text) => print(format_args!("{}", Escaped::new(text).uncut())),
            None => print(format_args!("({} bytes)", message.len())),
        }
    }
    exit_code(conn.closed().await)
}

async fn connect(args: Args) -> anyhow::Result<Conn> {
    let mut dial = Dial::new(&args.url).subprotocols(args.subprotocol);
    for (name, value) in args.header {
        dial = dial.header(name, value);
    }
    if args.compress {
        dial = dial.compression(Compression::context_takeover());
    }
    let dialled = dial.connect().await;
    dialled.with_context(|| format!("failed to connect to {}", Redacted(&*args.url)))
}

/// Sends each line, and closes the connection after the last one.
async fn send_lines(conn: Conn) -> Result<(), Error> {
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        conn.write(line).await?;
    }
    // Responses that are in flight arrive before the pong.
    let _ = timeout(Duration::from_secs(5), conn.ping()).await;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await
}

/// The lines of the input. A thread reads them, because a blocking read cannot be cancelled.
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

/// Prints how the connection closed, and returns the exit code.
fn exit_code(ending: CloseInfo) -> anyhow::Result<ExitCode> {
    use StatusCode as Code;
    match ending.error {
        Error::Closed(close) if close.code != Code::ABNORMAL_CLOSURE => {
            report(format_args!("{close}"));
            let normal = [Code::NORMAL_CLOSURE, Code::NO_STATUS_RECEIVED].contains(&close.code);
            Ok(if normal { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        error => Err(error).context("connection lost"),
    }
}

#[expect(clippy::print_stdout, reason = "a program prints to its terminal")]
fn print(line: fmt::Arguments<'_>) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a program prints to its terminal")]
fn report(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}
