//! How is the program run in a test?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// The program with these arguments, and nothing of the environment that changes what it does.
pub(crate) fn ws(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(args);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        command.env_remove(name);
    }
    command
}

/// What a run came to.
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

/// Runs the program to its end, which comes within half a minute.
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
    // Beside the reading, which it may wait for. One that ends early does not want it.
    thread::spawn(move || stdin.write_all(&input));
    let watch = Watch::over(&child);
    let output = child.wait_with_output().unwrap();
    watch.end();
    output
}

/// Ends a program that takes too long.
struct Watch(std::sync::mpsc::Sender<()>);

impl Watch {
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
        // It may just have been late.
        let _ = self.0.send(());
    }
}

/// Sends a signal. Every shell knows how; not every system has a program for it.
pub(crate) fn signal(name: &str, id: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
    assert!(sent.unwrap().success());
}

/// `ws listen` at work. It ends with this.
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

    /// Ends it politely, and gives what it said to people.
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
