//! How does the prompt edit lines while messages are printed above it?

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use ws_client::{Message, StatusCode};

use super::hex;
use super::user_input::UserInput;
use crate::connect_options::code_and_reason;

pub(super) const HELP: &str = "\
TEXT                   sends a text message
/hex 00 ff 7f          sends a binary message
/ping                  sends a ping, and prints the round-trip time
/close [CODE [REASON]] closes the connection
//TEXT                 sends text that starts with /
Ctrl-R searches the history, Ctrl-D closes the connection.";

const PROMPT: &str = "> ";

/// The terminal with the prompt.
pub(super) struct Terminal {
    printer: Arc<Mutex<Box<dyn ExternalPrinter + Send>>>,
    stop: Arc<AtomicBool>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

/// The settings of the terminal from before the prompt; set if there is a prompt.
static SAVED: OnceLock<SavedSettings> = OnceLock::new();

#[derive(Debug)]
struct SavedSettings {
    #[cfg(unix)]
    termios: Option<rustix::termios::Termios>,
}

impl SavedSettings {
    fn read() -> Self {
        Self {
            #[cfg(unix)]
            termios: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    /// Restores the settings, erases the prompt, and disables bracketed paste and synchronized output.
    fn restore(&self) {
        #[cfg(unix)]
        if let Some(termios) = &self.termios {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, termios);
        }
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\r\x1b[K\x1b[?2004l\x1b[?2026l").and_then(|()| out.flush());
    }
}

/// Restores the terminal if there is a prompt, before the program exits without
/// [`Terminal::finish`].
pub(crate) fn restore_terminal() {
    let Some(saved) = SAVED.get() else { return };
    let (sender, restored) = mpsc::sync_channel(1);
    // A terminal that is stopped (Ctrl-S) takes no output, but new settings.
    thread::spawn(move || {
        saved.restore();
        sender.try_send(())
    });
    let _ = restored.recv_timeout(Duration::from_secs(1));
}

impl Terminal {
    /// Prints above the prompt. Returns `false` if the terminal is closed.
    pub(super) fn print(&self, text: String) -> bool {
        self.printer.lock().print(text).is_ok()
    }

    /// Prints `last` above the prompt, stops the prompt, and restores the terminal.
    pub(super) fn finish(&self, last: String) {
        // The printer buffers one text. It takes the second one after it has printed all texts
        // before the first, and the third one after it has printed the first.
        self.print(if last.is_empty() { INVISIBLE.to_owned() } else { last });
        self.print(INVISIBLE.to_owned());
        self.stop.store(true, Ordering::SeqCst);
        // Blocks if the thread of the prompt has stopped already.
        let printer = Arc::clone(&self.printer);
        thread::spawn(move || printer.lock().print(INVISIBLE.to_owned()));
        // Returns at once if the thread of the prompt has ended.
        let _ = self.stopped.lock().recv_timeout(Duration::from_secs(1));
        if let Some(saved) = SAVED.get() {
            saved.restore();
        }
    }
}

/// A text without effect: one line up, and down again.
const INVISIBLE: &str = "\x1b[1A\n";

/// Stops the prompt. A thread that reads from a terminal cannot be cancelled, but it calls
/// `highlight_prompt` before it draws the prompt, and is parked there.
struct PromptGuard {
    stop: Arc<AtomicBool>,
    stopped: mpsc::SyncSender<()>,
}

impl Highlighter for PromptGuard {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.stop.load(Ordering::SeqCst) {
            let _ = self.stopped.try_send(());
            loop {
                thread::park();
            }
        }
        Cow::Borrowed(prompt)
    }
}

impl Completer for PromptGuard {
    type Candidate = String;
}

impl Hinter for PromptGuard {
    type Hint = String;
}

impl Validator for PromptGuard {}

impl Helper for PromptGuard {}

/// Starts the prompt. The receiver yields the input until Ctrl-D or Ctrl-C.
pub(super) fn start() -> Result<(Receiver<UserInput>, Terminal)> {
    SAVED.get_or_init(SavedSettings::read);
    let config = Config::builder()
        .auto_add_history(true)
        .history_ignore_dups(true)?
        // Without colours, `highlight_prompt` is not called.
        .color_mode(ColorMode::Forced)
        .build();
    let mut editor: LineEditor =
        Editor::with_config(config).context("the terminal cannot be used (use a pipe as input)")?;
    let (sender, stopped) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    editor.set_helper(Some(PromptGuard { stop: Arc::clone(&stop), stopped: sender }));
    let history = history_path();
    if let Some(path) = &history {
        // Fails if the file does not exist yet.
        let _ = editor.load_history(path);
    }
    let printer = editor.create_external_printer().context("the terminal cannot be used")?;
    let printer: Box<dyn ExternalPrinter + Send> = Box::new(printer);
    // Large enough for typed input: nothing is printed while the thread waits for capacity.
    let (sender, receiver) = channel(1024);
    thread::spawn(move || run_prompt(editor, history.as_deref(), &sender));
    Ok((
        receiver,
        Terminal { printer: Arc::new(Mutex::new(printer)), stop, stopped: Mutex::new(stopped) },
    ))
}

type LineEditor = Editor<PromptGuard, FileHistory>;

fn run_prompt(mut editor: LineEditor, history: Option<&Path>, sender: &Sender<UserInput>) {
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Signal(_)) => continue,
            Err(_) => return,
        };
        if line.is_empty() {
            continue;
        }
        if let Some(path) = history {
            // The history is optional.
            let _ = editor.append_history(path);
        }
        if sender.blocking_send(parse(&line)).is_err() {
            return;
        }
    }
}

/// The path of the history file. Creates its folder.
fn history_path() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("state")))?;
    let folder = state.join("ws");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Parses a line: a message or a command.
fn parse(line: &str) -> UserInput {
    let Some(command) = line.strip_prefix('/') else { return UserInput::Message(line.into()) };
    if command.starts_with('/') {
        return UserInput::Message(command.into());
    }
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word {
        "hex" => match hex::parse(rest) {
            Some(bytes) => UserInput::Message(Message::binary(bytes)),
            None => UserInput::Invalid("write it as /hex 00 ff 7f".to_owned()),
        },
        "ping" => UserInput::Ping,
        "close" if rest.trim().is_empty() => {
            UserInput::Close(StatusCode::NORMAL_CLOSURE, String::new())
        }
        "close" => match code_and_reason(rest.trim()) {
            Ok((code, reason)) => UserInput::Close(code, reason),
            Err(problem) => UserInput::Invalid(problem.to_owned()),
        },
        "help" | "?" => UserInput::Help,
        _ => UserInput::Invalid(format!(
            "unknown command /{word}: /help lists the commands, //{word} sends it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let check = |line: &str, expected: &str| {
            let text = match parse(line) {
                UserInput::Message(message) => format!("{message:?}"),
                UserInput::Ping => "ping".to_owned(),
                UserInput::Close(code, reason) => format!("close {} {reason}", code.as_u16()),
                UserInput::Help => "help".to_owned(),
                UserInput::Invalid(reason) => reason,
            };
            assert_eq!(text, expected, "{line}");
        };
        check("hello", r#"Text("hello")"#);
        check("//hello", r#"Text("/hello")"#);
        check("/hex 00 fF", r#"Binary(b"\0\xff")"#);
        check("/hex 0", "write it as /hex 00 ff 7f");
        check("/ping", "ping");
        check("/close", "close 1000 ");
        check("/close 4001 see you", "close 4001 see you");
        check("/close 1006", "a code is 1000 to 1014, or 3000 to 4999");
        check("/close soon", "a code is 1000 to 1014, or 3000 to 4999");
        check(&format!("/close 1000 {}", "a".repeat(124)), "a reason has at most 123 bytes");
        check("/quit", "unknown command /quit: /help lists the commands, //quit sends it");
    }
}
