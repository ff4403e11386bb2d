//! What does `ws`, the program for the command line, do?

mod bench;
mod check;
mod connect;
mod exit;
mod listen;
mod percentiles;
mod ping;
mod print;
mod reach;
mod tls;

use std::process::ExitCode;

use clap::Parser;

/// Talks to WebSocket servers, is one, and measures them.
///
/// `ws <command> --help` has examples.
#[derive(Parser)]
#[command(name = "ws", version, after_help = exit::HELP)]
enum Command {
    Connect(connect::Args),
    Listen(listen::Args),
    Ping(ping::Args),
    Bench(bench::Args),
    Check(check::Args),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let mut runtime = match &command {
        // What is measured should not be this.
        Command::Bench(_) | Command::Listen(_) => tokio::runtime::Builder::new_multi_thread(),
        Command::Connect(_) | Command::Ping(_) | Command::Check(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
    };
    let ran = runtime.enable_all().build().map_err(Into::into).and_then(|runtime| {
        let ran = runtime.block_on(run(command));
        // A thread that reads the input cannot be told to stop.
        runtime.shutdown_background();
        ran
    });
    ran.unwrap_or_else(|error| {
        print::error(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Connect(args) => connect::run(args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Ping(args) => ping::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Check(args) => check::run(args).await,
    }
}
