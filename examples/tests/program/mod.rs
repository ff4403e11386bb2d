//! How do tests run an example as a program?
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use ws_client::{Conn, Dial};

/// A running example that is a server. It is killed on drop, and after a time, so that a test
/// that reads its output ends.
pub(crate) struct Example {
    pub(crate) child: Child,
    pub(crate) output: BufReader<ChildStdout>,
    pub(crate) url: String,
    /// Dropped to end the thread of the watchdog.
    _running: Sender<()>,
}

impl Example {
    /// Starts an example that prints its address, on a free port.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        Self::start_with(name, &[&["--listen", "127.0.0.1:0"], args].concat())
    }

    /// Starts an example that prints its address.
    pub(crate) fn start_with(name: &str, args: &[&str]) -> Self {
        Self::start_for(name, args, Duration::from_secs(60))
    }

    /// The same. It is killed after this time.
    pub(crate) fn start_for(name: &str, args: &[&str], limit: Duration) -> Self {
        let mut command = Command::new(program(name));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (running, receiver) = channel();
        let id = child.id();
        thread::spawn(move || {
            let ended = receiver.recv_timeout(limit);
            if ended == Err(RecvTimeoutError::Timeout) {
                // It may have ended just now.
                let _ = signal("KILL", id);
            }
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{name}"));
        Self { child, output, url: url.to_owned(), _running: running }
    }

    pub(crate) fn dial(&self, path: &str) -> Dial {
        Dial::new(format!("{}{path}", self.url))
    }

    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that is killed on drop.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints that a test is skipped. It is a failure if all peers are required.
pub(crate) fn skip(missing: &str) {
    let is_required = std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!is_required, "{missing}");
    // Not with `println!`, whose output is captured when a test passes.
    writeln!(std::io::stdout(), "{missing}\n1 interop tests not run").unwrap();
}

/// A port of 127.0.0.1 that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Sends a message, and waits for its echo.
pub(crate) async fn check_echo(conn: &Conn) {
    in_time(conn.write("hello")).await.unwrap();
    assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("hello"));
}

/// Sends a signal. `kill` is a built-in of every shell, but not a program on every system.
pub(crate) fn signal(name: &str, id: u32) -> bool {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
    sent.unwrap().success()
}

/// The path of an example's binary, which cargo builds with the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

pub(crate) async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}
