//! How are the completions of shells and the manual page written?

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

/// Prints the completions of a shell: of subcommands, options, and files
///
/// Load them in each new shell, for example: `source <(ws completions bash)`.
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, for `man`
///
/// For example: `ws manual > ~/.local/share/man/man1/ws.1`.
#[derive(clap::Args)]
pub(crate) struct ManualArgs {}

pub(crate) fn print_completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    generate(args.shell, &mut command, "ws", &mut text);
    print(&text)
}

/// One page: the program, and then each subcommand.
pub(crate) fn print_manual(command: &Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    let page = Man::new(command.clone());
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    for subcommand in command.get_subcommands() {
        let name = format!("ws {}", subcommand.get_name());
        writeln!(text, ".SH \"{}\"", name.to_uppercase())?;
        let part = Man::new(subcommand.clone().bin_name(name).disable_help_flag(true));
        part.render_description_section(&mut text)?;
        part.render_synopsis_section(&mut text)?;
        part.render_options_section(&mut text)?;
    }
    page.render_extra_section(&mut text)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<ExitCode> {
    match io::stdout().lock().write_all(text) {
        // The reader has what it needs.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(ExitCode::SUCCESS)
}
