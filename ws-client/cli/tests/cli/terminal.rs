//! Does `ws connect` work at a terminal?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};
use ws_core::handshake::head::{decode_request, encode_response};
use ws_core::{AcceptOptions, Acceptor};

use crate::program::{Server, WS, program, signal, ws};
use crate::switches::head;

/// `ws` in a pseudo-terminal, with its own history.
struct Terminal {
    session: PtySession,
}

impl Terminal {
    fn start(home: &str, args: &[&str]) -> Self {
        Self::start_as("xterm", home, args)
    }

    /// Starts it in a terminal of this type.
    fn start_as(term: &str, home: &str, args: &[&str]) -> Self {
        Self::run(term, home, ws(args))
    }

    fn run(term: &str, home: &str, mut command: Command) -> Self {
        command.env("XDG_STATE_HOME", home).env("NO_COLOR", "1").env("TERM", term);
        // The timeout of each read. On drop, SIGTERM is followed by SIGKILL.
        let mut session = spawn_command(command, Some(30_000)).unwrap();
        session.process_mut().set_kill_timeout(Some(10_000));
        Self { session }
    }

    fn sees(&mut self, text: &str) {
        self.session.exp_string(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    fn types(&mut self, text: &str) {
        self.session.send(text).unwrap();
        self.session.flush().unwrap();
    }

    fn exits(mut self, code: i32) {
        // Waiting for the process has no timeout.
        self.session.exp_eof().unwrap_or_else(|error| panic!("{error}"));
        let status = format!("{:?}", self.session.process().wait().unwrap());
        assert!(status.ends_with(&format!(", {code})")), "{status}");
    }
}

/// A folder that is removed on drop.
struct Home(String);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ws-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.to_str().unwrap().to_owned())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_prompt_sends_lines_and_prints_replies() {
    let (server, home) = (Server::start(&["-q"]), Home::new("types"));
    let mut terminal = Terminal::start(&home.0, &["connect", &server.url]);
    terminal.sees("/help, Ctrl-D closes");
    terminal.types("helo\x1b[Dl\r");
    terminal.sees("< hello");
    terminal.types("{\"a\": [1, 2]}\r");
    terminal.sees("< {\"a\": [1, 2]}");
    terminal.types("/hex 00 68 69\r");
    terminal.sees("< 3 bytes");
    terminal.sees("000000  00 68 69");
    terminal.sees(".hi");
    terminal.types("/ping\r");
    terminal.sees("pong after");
    terminal.types("//slash\r");
    terminal.sees("< /slash");
    terminal.types("/nonsense\r");
    terminal.sees("unknown command /nonsense");
    terminal.types("\x04");
    terminal.sees("closed with 1000 normal closure");
    terminal.exits(0);
    // The history is kept for the next run.
    let mut terminal = Terminal::start(&home.0, &["connect", &server.url]);
    terminal.sees("Ctrl-D closes");
    terminal.types("\x12hell");
    terminal.types("\r");
    terminal.sees("< hello");
    terminal.types("/close 4001 bye\r");
    terminal.sees("closed with 4001");
    terminal.exits(40);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let (server, home) = (Server::start(&["-q"]), Home::new("dumb"));
    let mut terminal = Terminal::start_as("dumb", &home.0, &["connect", &server.url]);
    let mut all = terminal.session.exp_string("connected (").unwrap();
    terminal.types("hello\n");
    all += &terminal.session.exp_string("hello\r\n").unwrap();
    terminal.types("\x04");
    all += &terminal.session.exp_string("closed with 1000").unwrap();
    assert!(!all.contains(['\x1b', '>', '<']), "{all:?}");
    terminal.exits(0);
}

#[test]
fn a_close_of_the_server_ends_the_prompt_in_the_middle_of_a_line() {
    let script = "read line; echo 'the last'; exit 3";
    let (server, home) = (Server::start(&["-q", "--", "sh", "-c", script]), Home::new("closes"));
    let mut terminal = Terminal::start(&home.0, &["connect", "--timestamps", &server.url]);
    terminal.sees("Ctrl-D closes");
    terminal.types("go\rhalf a li");
    terminal.sees("< the last");
    terminal.sees("closed with 1011 internal error");
    // The terminal is restored. Bracketed paste is the visible part of that.
    terminal.sees("\x1b[?2004l");
    terminal.exits(21);
}

/// A server that opens a WebSocket, tells when the client begins to close it, and does not answer.
fn never_closes() -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (tell, closing) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let (request, _) = decode_request(head(&mut stream).as_bytes()).unwrap().unwrap();
        let answer = Acceptor::new(&AcceptOptions::new()).answer(&request).unwrap();
        stream.write_all(&encode_response(&answer.response.map(|()| ""))).unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first, [0x88], "a close frame");
        tell.send(()).unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (url, closing)
}

#[test]
fn a_second_signal_restores_the_terminal() {
    let ((url, closing), home) = (never_closes(), Home::new("twice"));
    let script = "sh -c 'echo \"process $$.\"; exec \"$0\" connect \"$1\"' \"$0\" \"$1\"; stty -a";
    let mut terminal = Terminal::run("xterm", &home.0, program("sh", &["-c", script, WS, &url]));
    let (_, process) = terminal.session.exp_regex(r"process \d+\.").unwrap();
    let process = process.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    // The prompt is there.
    terminal.sees("\x1b[?2004h");
    signal("TERM", process);
    closing.recv_timeout(Duration::from_secs(30)).unwrap();
    signal("TERM", process);
    terminal.sees("\x1b[?2004l");
    let (_, setting) = terminal.session.exp_regex("-?icanon").unwrap();
    assert_eq!(setting, "icanon");
    terminal.exits(0);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let (server, home) =
        (Server::start(&["-q", "--", "printf", r"\033[2Jgone\n"]), Home::new("draws"));
    let mut terminal = Terminal::start(&home.0, &["connect", &server.url]);
    let before = terminal.session.exp_string("[2Jgone").unwrap();
    assert!(!before.ends_with('\x1b'), "{before}");
    terminal.exits(0);
}

#[test]
fn the_loss_and_the_reconnect_are_printed() {
    let (mut server, home) = (Server::start(&["-q"]), Home::new("lost"));
    let address = server.address().to_owned();
    let mut terminal = Terminal::start(&home.0, &["connect", "--reconnect", &server.url]);
    terminal.sees("Ctrl-D closes");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    terminal.sees("the connection ended without a close frame (1006)");
    terminal.sees("next attempt in");
    terminal.types("written meanwhile\r");
    let _server = Server::start_at(&address, &["-q"]);
    terminal.sees("reconnected");
    terminal.sees("< written meanwhile");
    terminal.types("\x04");
    terminal.sees("closed");
    terminal.exits(0);
}
