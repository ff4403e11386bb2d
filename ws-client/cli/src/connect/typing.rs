//! How does one type at a prompt while messages arrive above it?

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
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

use super::{Typed, hex};

pub(super) const HELP: &str = "\
TEXT                   sends it
/hex 00 ff 7f          sends a binary message
/ping                  sends a ping, and tells how long the pong takes
/close [CODE [REASON]] closes
//TEXT                 sends text that begins with /
Ctrl-R searches what was typed before, Ctrl-D closes.";

const PROMPT: &str = "> ";

/// The terminal with the prompt.
pub(super) struct Terminal {
    printer: Arc<Mutex<Box<dyn ExternalPrinter + Send>>>,
    falls: Arc<AtomicBool>,
    fallen: Mutex<mpsc::Receiver<()>>,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Terminal {
    /// Prints above the prompt.
    pub(super) fn print(&self, text: String) -> bool {
        self.printer.lock().print(text).is_ok()
    }

    /// Prints the last above the prompt, ends that, and leaves the terminal as it was.
    pub(super) fn finish(&self, last: String) {
        // The printer holds one text back while another is shown: when it takes the second, it
        // has shown all before the first, and when it is held, the first.
        self.print(if last.is_empty() { UNSEEN.to_owned() } else { last });
        self.print(UNSEEN.to_owned());
        self.falls.store(true, Ordering::SeqCst);
        // It may be held already, and take nothing more.
        let printer = Arc::clone(&self.printer);
        thread::spawn(move || printer.lock().print(UNSEEN.to_owned()));
        // Sooner, when the thread that reads has ended.
        let _ = self.fallen.lock().recv_timeout(Duration::from_secs(1));
        #[cfg(unix)]
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
        // What is left of the prompt goes; pasting and drawing are as they were.
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\r\x1b[K\x1b[?2004l\x1b[?2026l").and_then(|()| out.flush());
    }
}

/// One line up, and down again.
const UNSEEN: &str = "\x1b[1A\n";

/// What ends a prompt: a thread that reads from a terminal cannot be stopped, but it asks how
/// to draw the prompt whenever it is to be drawn, and is held there.
struct Curtain {
    falls: Arc<AtomicBool>,
    fallen: mpsc::SyncSender<()>,
}

impl Highlighter for Curtain {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.falls.load(Ordering::SeqCst) {
            let _ = self.fallen.try_send(());
            loop {
                thread::park();
            }
        }
        Cow::Borrowed(prompt)
    }
}

impl Completer for Curtain {
    type Candidate = String;
}

impl Hinter for Curtain {
    type Hint = String;
}

impl Validator for Curtain {}

impl Helper for Curtain {}

/// Starts a prompt. What is typed comes from the receiver, until Ctrl-D or Ctrl-C.
pub(super) fn start() -> Result<(Receiver<Typed>, Terminal)> {
    #[cfg(unix)]
    let before = rustix::termios::tcgetattr(io::stdin()).ok();
    let config = Config::builder()
        .auto_add_history(true)
        .history_ignore_dups(true)?
        // So that it asks how to draw.
        .color_mode(ColorMode::Forced)
        .build();
    let mut editor: Reader =
        Editor::with_config(config).context("the terminal cannot be used (pipe something in)")?;
    let (sender, fallen) = mpsc::sync_channel(1);
    let falls = Arc::new(AtomicBool::new(false));
    editor.set_helper(Some(Curtain { falls: Arc::clone(&falls), fallen: sender }));
    let history = history();
    if let Some(path) = &history {
        // There is none at first.
        let _ = editor.load_history(path);
    }
    let printer = editor.create_external_printer().context("the terminal cannot be used")?;
    let printer: Box<dyn ExternalPrinter + Send> = Box::new(printer);
    // Wide enough for a person: whoever waits here cannot print.
    let (sender, receiver) = channel(1024);
    thread::spawn(move || prompt(editor, history.as_deref(), &sender));
    Ok((
        receiver,
        Terminal {
            printer: Arc::new(Mutex::new(printer)),
            falls,
            fallen: Mutex::new(fallen),
            #[cfg(unix)]
            before,
        },
    ))
}

type Reader = Editor<Curtain, FileHistory>;

fn prompt(mut editor: Reader, history: Option<&Path>, sender: &Sender<Typed>) {
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
            // It is a convenience.
            let _ = editor.append_history(path);
        }
        if sender.blocking_send(parse(&line)).is_err() {
            return;
        }
    }
}

/// Where what was typed is kept.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("state")))?;
    let folder = state.join("ws");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// What a line means.
fn parse(line: &str) -> Typed {
    let Some(command) = line.strip_prefix('/') else { return Typed::Message(line.into()) };
    if command.starts_with('/') {
        return Typed::Message(command.into());
    }
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word {
        "hex" => match hex::parse(rest) {
            Some(bytes) => Typed::Message(Message::binary(bytes)),
            None => Typed::Problem("write it as /hex 00 ff 7f".to_owned()),
        },
        "ping" => Typed::Ping,
        "close" => close(rest.trim()),
        "help" | "?" => Typed::Help,
        _ => Typed::Problem(format!(
            "there is no /{word}: /help lists what there is, //{word} sends it"
        )),
    }
}

fn close(rest: &str) -> Typed {
    if rest.is_empty() {
        return Typed::Close(StatusCode::NORMAL_CLOSURE, String::new());
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse().ok().and_then(StatusCode::from_u16).filter(|code| code.is_sendable());
    match code {
        Some(_) if reason.len() > 123 => {
            Typed::Problem("a reason has at most 123 bytes".to_owned())
        }
        Some(code) => Typed::Close(code, reason.trim().to_owned()),
        None => Typed::Problem("a code is 1000 to 1014, or 3000 to 4999".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let check = |line: &str, expected: &str| {
            let text = match parse(line) {
                Typed::Message(message) => format!("{message:?}"),
                Typed::Ping => "ping".to_owned(),
                Typed::Close(code, reason) => format!("close {} {reason}", code.as_u16()),
                Typed::Help => "help".to_owned(),
                Typed::Problem(problem) => problem,
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
        check("/quit", "there is no /quit: /help lists what there is, //quit sends it");
    }
}
