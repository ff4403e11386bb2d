//! How is the client tested with the Autobahn conformance suite?
//!
//! It connects once for each test case, and echoes all messages.

use std::fmt;

use anyhow::Context as _;
use clap::Parser;
use ws_client::Limits;
use ws_client::{Compression, Config, Conn, Dial, DialError, Error};

/// Runs all cases of `wstest -m fuzzingserver`.
#[derive(Parser)]
struct Args {
    /// The URL of the suite.
    #[arg(long, default_value = "ws://127.0.0.1:9001")]
    url: String,
    /// The name of this client in the reports.
    #[arg(long, default_value = "ws-client")]
    agent: String,
    /// The maximum size of a received message, in bytes.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    read_limit: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let agent = &args.agent;
    let count = case_count(&args).await.context("failed to get the number of cases")?;
    for case in 1..=count {
        let conn = dial(&args, &format!("/runCase?case={case}&agent={agent}")).await;
        let conn = conn.with_context(|| format!("failed to start case {case}"))?;
        // Most cases end with an error; the suite checks whether it is the right one.
        let _ = echo(&conn).await;
        conn.closed().await;
        if case % 50 == 0 || case == count {
            report(format_args!("{case} of {count} cases"));
        }
    }
    let conn = dial(&args, &format!("/updateReports?agent={agent}")).await?;
    conn.closed().await;
    Ok(())
}

async fn case_count(args: &Args) -> anyhow::Result<u32> {
    let conn = dial(args, "/getCaseCount").await?;
    let count = conn.read().await?.as_text().context("the number of cases is not text")?.parse()?;
    conn.closed().await;
    Ok(count)
}

async fn dial(args: &Args, path: &str) -> Result<Conn, DialError> {
    let config = Config::new()
        .limits(Limits::new().message_size(args.read_limit))
        .compression(Compression::context_takeover());
    Dial::new(format!("{}{path}", args.url)).config(config).connect().await
}

async fn echo(conn: &Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[expect(clippy::print_stderr, reason = "a program prints to its terminal")]
fn report(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}
