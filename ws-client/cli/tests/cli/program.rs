//! How do the tests run `ws`, and `ws listen` as a server?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::ops::{Deref, DerefMut};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The path of `ws`.
pub(crate) const WS: &str = env!("CARGO_BIN_EXE_ws");

/// `ws` with these arguments, without the proxies of the environment.
pub(crate) fn ws(args: &[&str]) -> Command {
    program(WS, args)
}

/// A program without the proxies of the environment.
pub(crate) fn program(path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path);
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

    /// It failed with this error, whatever it printed before.
    #[track_caller]
    pub(crate) fn check_error(&self, err: &str) {
        assert!(self.code == 1 && self.err.contains(err), "{self:?}");
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
    let watchdog = Watchdog::over(child.id());
    let output = child.wait_with_output().unwrap();
    drop(watchdog);
    output
}

/// Kills a program that runs for more than 60 s, so that a test that reads its output ends.
pub(crate) struct Watchdog {
    /// Dropped to end the thread.
    _running: mpsc::Sender<()>,
}

impl Watchdog {
    pub(crate) fn over(id: u32) -> Self {
        let (running, receiver) = mpsc::channel();
        thread::spawn(move || {
            let ended = receiver.recv_timeout(Duration::from_secs(60));
            if ended == Err(mpsc::RecvTimeoutError::Timeout) {
                // It may have ended just now.
                let _ = kill("KILL", id);
            }
        });
        Self { _running: running }
    }
}

/// A program that is killed on drop, and after 60 s.
pub(crate) struct Program {
    child: Child,
    _watchdog: Watchdog,
}

impl Program {
    /// Starts `ws` with pipes as input, output and standard error.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = ws(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Self { _watchdog: Watchdog::over(child.id()), child }
    }
}

impl Deref for Program {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal. `kill` is a built-in of every shell, but not a program on every system.
pub(crate) fn signal(name: &str, id: u32) {
    assert!(kill(name, id).unwrap().success());
}

fn kill(name: &str, id: u32) -> std::io::Result<ExitStatus> {
    Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status()
}

/// A running `ws listen`.
pub(crate) struct Server {
    pub(crate) child: Program,
    pub(crate) url: String,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    pub(crate) fn start_at(address: &str, args: &[&str]) -> Self {
        let mut child = Program::start(&[&["listen", address], args].concat());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { child, url: url.to_owned(), stderr }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// Stops it by SIGINT, and returns its standard error.
    pub(crate) fn interrupt(self) -> String {
        self.stop("INT")
    }

    /// Stops it by a signal, and returns its standard error.
    pub(crate) fn stop(mut self, name: &str) -> String {
        signal(name, self.child.id());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}
