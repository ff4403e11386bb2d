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

use clap::Parser;

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
    let command = Command::parse();
    let mut runtime = match &command {
        // One thread would limit the measured server.
        Command::Bench(_) | Command::Listen(_) => tokio::runtime::Builder::new_multi_thread(),
        Command::Connect(_) | Command::Ping(_) | Command::Check(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
    };
    let ran = runtime.enable_all().build().map_err(Into::into).and_then(|runtime| {
        let ran = runtime.block_on(run(command));
        // The thread that reads standard input cannot be stopped.
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
