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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line for a shell, up to where its input or its output comes from a file,
    /// or a comment begins.
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
    fn every_example_is_understood() {
        use clap::CommandFactory as _;
        let mut texts = vec![include_str!("../README.md").to_owned()];
        for word in Command::command().get_subcommands_mut() {
            texts.push(word.render_long_help().to_string());
        }
        let mut understood = 0;
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
            understood += 1;
        }
        assert!(understood > 20, "{understood}");
    }
}
