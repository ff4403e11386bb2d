//! Which subcommands does `ws` have?

mod bench;
mod check;
mod connect;
mod connect_options;
mod exit_code;
mod latency;
mod listen;
mod manual;
mod ping;
mod print;
mod tls;

use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory as _, Parser};
use tokio::runtime::Builder;
use tokio::time::timeout;
use ws_server_hyper::shutdown_signal;

use crate::exit_code::INTERRUPTED;
use crate::print::{Style, mask_arguments, mask_secrets};

/// A WebSocket client, test server and load generator.
///
/// See `ws <command> --help` for examples.
#[derive(Parser)]
#[command(name = "ws", version, after_help = exit_code::HELP)]
enum Command {
    Connect(connect::ConnectArgs),
    Listen(listen::ListenArgs),
    Ping(ping::PingArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Completions(manual::CompletionsArgs),
    Manual(manual::ManualArgs),
}

fn main() -> ExitCode {
    let (one_thread, threads) = (Builder::new_current_thread, Builder::new_multi_thread);
    let command = parse();
    if !matches!(command, Command::Listen(_)) {
        thread::spawn(exit_by_second_signal);
    }
    let ran = match command {
        Command::Connect(args) => block_on(one_thread(), connect::run(args)),
        Command::Ping(args) => block_on(one_thread(), ping::run(args)),
        Command::Check(args) => block_on(one_thread(), check::run(args)),
        // One thread would limit the measured server.
        Command::Listen(args) => block_on(threads(), listen::run(args)),
        Command::Bench(args) => block_on(threads(), bench::run(args)),
        Command::Completions(args) => manual::print_completions(&args, Command::command()),
        Command::Manual(_) => manual::print_manual(&Command::command()),
    };
    ran.unwrap_or_else(|error| {
        print::error(&error);
        ExitCode::FAILURE
    })
}

/// Parses the arguments. An error repeats them, without secrets.
fn parse() -> Command {
    Command::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.render();
        let text = Style::of(&io::stderr()).choose(text.to_string(), text.ansi().to_string());
        // Standard error may be closed.
        let _ = io::stderr().write_all(mask_secrets(&mask_arguments(&text)).as_bytes());
        process::exit(error.exit_code());
    })
}

/// Exits at the second signal, or if the end after the first one takes too long. The program may be
/// writing to an output that nobody reads. Restores the terminal of a prompt.
fn exit_by_second_signal() {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        shutdown_signal().await;
        let _ = timeout(END_TIMEOUT, shutdown_signal()).await;
    });
    connect::restore_terminal();
    process::exit(INTERRUPTED.into());
}

/// More than a confirmation and the closing handshake take.
const END_TIMEOUT: Duration = Duration::from_secs(20);

fn block_on(
    mut runtime: Builder,
    command: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    let runtime = runtime.enable_all().build()?;
    let ran = runtime.block_on(command);
    // The thread that reads standard input cannot be stopped.
    runtime.shutdown_background();
    ran
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a shell command, up to a redirection or a comment.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for character in line.chars().chain([' ']) {
            match character {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.extend(Some(std::mem::take(&mut word))),
                _ => word.push(character),
            }
        }
        words.retain(|word| !word.is_empty());
        let end = words.iter().position(|word| word.starts_with(['<', '>', '#']));
        words.truncate(end.unwrap_or(words.len()));
        words
    }

    #[test]
    fn every_example_parses() {
        let mut texts = vec![include_str!("../README.md").to_owned()];
        for word in Command::command().get_subcommands_mut() {
            texts.push(word.render_long_help().to_string());
        }
        let mut parsed = 0;
        for line in texts.iter().flat_map(|text| text.lines()) {
            let line = line.trim_start().trim_start_matches("$ ");
            let line = match line.strip_prefix("echo ") {
                Some(piped) => piped.split_once("| ").map_or("", |(_, line)| line),
                None => line,
            };
            if !line.starts_with("ws ") || line.starts_with("ws <") {
                continue;
            }
            if let Err(error) = Command::try_parse_from(words(line)) {
                panic!("{line}: {error}");
            }
            parsed += 1;
        }
        assert!(parsed > 20, "{parsed}");
    }
}
