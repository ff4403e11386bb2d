//! How do the tests run `ws`, and `ws listen` as a server?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// `ws` with these arguments, without the proxies of the environment.
pub(crate) fn ws(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        command.env_remove(name);
    }
    command
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn check(&self, code: i32, out: &str, err: &str) {
        assert_eq!((self.code, &*self.out), (code, out), "{}", self.err);
        assert!(self.err.contains(err), "{}", self.err);
    }
}

/// Runs `ws` to its end. Kills it after 30 s.
pub(crate) fn run(args: &[&str], input: &[u8]) -> Ran {
    let output = run_bytes(args, input);
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn run_bytes(args: &[&str], input: &[u8]) -> Output {
    let mut command = ws(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread, since the program may stop reading until its output is read. Writing fails if
    // it exits early.
    thread::spawn(move || stdin.write_all(&input));
    let watch = Watchdog::over(&child);
    let output = child.wait_with_output().unwrap();
    watch.end();
    output
}

/// Kills a program that runs too long.
struct Watchdog(std::sync::mpsc::Sender<()>);

impl Watchdog {
    fn over(child: &Child) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let id = child.id();
        thread::spawn(move || {
            let late = receiver.recv_timeout(Duration::from_secs(30)).is_err();
            if late {
                signal("KILL", id);
            }
        });
        Self(sender)
    }

    fn end(self) {
        // The watchdog may have fired just now.
        let _ = self.0.send(());
    }
}

/// Sends a signal. `kill` is a built-in of every shell, but not a program on every system.
pub(crate) fn signal(name: &str, id: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
    assert!(sent.unwrap().success());
}

/// A running `ws listen`, which is killed on drop.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    pub(crate) fn start_at(address: &str, args: &[&str]) -> Self {
        let mut command = ws(&["listen", address]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { child, url: url.to_owned(), stderr }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap()
    }

    /// Stops it by SIGINT, and returns its standard error.
    pub(crate) fn interrupt(mut self) -> String {
        signal("INT", self.child.id());
        assert!(self.child.wait().unwrap().success());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
