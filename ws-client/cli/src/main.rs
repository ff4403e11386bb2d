//! Which subcommands does `ws` have?

mod bench;
mod check;
mod connect;
mod connect_options;
mod exit_code;
mod latency;
mod listen;
mod ping;
mod print;
mod tls;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Builder;

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
}

fn main() -> ExitCode {
    let (one_thread, threads) = (Builder::new_current_thread, Builder::new_multi_thread);
    let ran = match Command::parse() {
        Command::Connect(args) => block_on(one_thread(), connect::run(args)),
        Command::Ping(args) => block_on(one_thread(), ping::run(args)),
        Command::Check(args) => block_on(one_thread(), check::run(args)),
        // One thread would limit the measured server.
        Command::Listen(args) => block_on(threads(), listen::run(args)),
        Command::Bench(args) => block_on(threads(), bench::run(args)),
    };
    ran.unwrap_or_else(|error| {
        print::error(&error);
        ExitCode::FAILURE
    })
}

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
        use clap::CommandFactory as _;
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
