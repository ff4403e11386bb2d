//! Which other implementations are installed, and how are they run?

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The timeout for all rows of a client, and for each report of a server.
const PATIENCE: Duration = Duration::from_secs(100);

/// The timeout for the version of a peer.
const START: Duration = Duration::from_secs(30);

/// Another implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Python,
    Node,
    Chromium,
    Nginx,
    Haproxy,
    Caddy,
    Tinyproxy,
    Microsocks,
}

/// The report of a server about a connection that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) path: String,
    pub(crate) code: Option<u64>,
    pub(crate) reason: String,
}

impl Peer {
    /// Runs the client of this peer with all rows, and returns its report.
    pub(crate) async fn run_client(self, rows: &Value) -> Result<Value> {
        let script = match self {
            Self::Python => "client.py",
            Self::Node => "client.mjs",
            Self::Chromium => "page.mjs",
            Self::Nginx | Self::Haproxy | Self::Caddy | Self::Tinyproxy | Self::Microsocks => {
                return Err(anyhow!("{self} is no client"));
            }
        };
        self.run(script, rows).await
    }

    /// Runs a client with `http2` of node, and returns its report.
    pub(crate) async fn run_http2(rows: &Value) -> Result<Value> {
        Self::Node.run("http2.mjs", rows).await
    }

    async fn run(self, script: &str, rows: &Value) -> Result<Value> {
        let mut child = self.command(script).await?.arg(rows.to_string()).spawn()?;
        let diary = Diary::of(child.stderr.take());
        let mut said = String::new();
        let done = async {
            if let Some(mut stdout) = child.stdout.take() {
                stdout.read_to_string(&mut said).await?;
            }
            child.wait().await
        };
        let failed = match timeout(PATIENCE, done).await {
            Ok(status) => {
                let status = status?;
                if status.success() {
                    return serde_json::from_str(&said)
                        .with_context(|| format!("{self} says {said:?}"));
                }
                status.to_string()
            }
            Err(_) => "it takes too long".to_owned(),
        };
        drop(child);
        Err(anyhow!("{self}, {script}: {failed}. It was at:\n{}", diary.read().await))
    }

    /// Starts the server of this peer.
    pub(crate) async fn start_server(self, compression: &Value) -> Result<PeerServer> {
        let script = match self {
            Self::Python => "server.py",
            Self::Node => "server.mjs",
            _ => return Err(anyhow!("{self} has no script of a server")),
        };
        self.start(script, compression).await
    }

    /// Starts a server with `http2` of node.
    pub(crate) async fn start_http2(settings: &Value) -> Result<PeerServer> {
        Self::Node.start("http2_server.mjs", settings).await
    }

    async fn start(self, script: &str, settings: &Value) -> Result<PeerServer> {
        let mut command = self.command(script).await?;
        let mut child = command.arg(settings.to_string()).stdin(Stdio::piped()).spawn()?;
        let diary = Diary::of(child.stderr.take());
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let stdin = child.stdin.take();
        let mut server = PeerServer {
            peer: self,
            port: 0,
            lines,
            diary: Some(diary),
            _stdin: stdin,
            _child: child,
        };
        server.port = server.says().await?["port"].as_u64().context("no port")?;
        Ok(server)
    }

    /// The command of a script, which is killed on drop.
    async fn command(self, script: &str) -> Result<Command> {
        let mut command = self.program().await?;
        command.arg(script);
        Ok(command)
    }

    /// The interpreter, which is killed on drop.
    pub(crate) async fn program(self) -> Result<Command> {
        let found = self.found().get_or_init(|| self.find()).await.clone()?;
        Ok(run(found.program))
    }

    /// The result of the search.
    fn found(self) -> &'static OnceCell<Result<Found, Missing>> {
        static PYTHON: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static NODE: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static CHROMIUM: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static NGINX: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static HAPROXY: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static CADDY: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static TINYPROXY: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        static MICROSOCKS: OnceCell<Result<Found, Missing>> = OnceCell::const_new();
        match self {
            Self::Python => &PYTHON,
            Self::Node => &NODE,
            Self::Chromium => &CHROMIUM,
            Self::Nginx => &NGINX,
            Self::Haproxy => &HAPROXY,
            Self::Caddy => &CADDY,
            Self::Tinyproxy => &TINYPROXY,
            Self::Microsocks => &MICROSOCKS,
        }
    }

    /// Looks for the peer by running it.
    async fn find(self) -> Result<Found, Missing> {
        let (programs, args): (&[_], &[_]) = match self {
            Self::Python => (&["python3", VENV], &["client.py", "--version"]),
            Self::Node => (&["node"], &["client.mjs", "--version"]),
            Self::Chromium => (&["node"], &["page.mjs", "--version"]),
            Self::Nginx => (&["nginx", "/usr/sbin/nginx"], &["-v"]),
            Self::Haproxy => (&["haproxy", "/usr/sbin/haproxy"], &["-v"]),
            Self::Caddy => (&["caddy"], &["version"]),
            Self::Tinyproxy => (&["tinyproxy"], &["-v"]),
            // This script has no version, and only fails.
            Self::Microsocks => (&["microsocks"], &["-h"]),
        };
        let mut why = String::new();
        for &program in programs {
            let version = run(program).args(args).output();
            why = match timeout(START, version).await {
                Ok(Ok(output)) if output.status.success() || self == Self::Microsocks => {
                    let said = [output.stdout, output.stderr].concat();
                    let said = String::from_utf8_lossy(&said);
                    let version = said.lines().next().unwrap_or_default().trim().to_owned();
                    return Ok(Found { program, version });
                }
                Ok(Ok(output)) => complaint(&String::from_utf8_lossy(&output.stderr)),
                // The error of an installed peer has more information.
                Ok(Err(_)) if !why.is_empty() => why,
                Ok(Err(error)) => format!("{program}: {error}"),
                Err(_) => format!("{program} does not answer"),
            };
        }
        Err(Missing { peer: self, why })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "python3 with `websockets`",
            Self::Node => "node with `ws`",
            Self::Chromium => "chromium with `playwright-core`",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Tinyproxy => "tinyproxy",
            Self::Microsocks => "microsocks",
        })
    }
}

/// The interpreter of the scripts of a peer.
#[derive(Clone, Debug)]
struct Found {
    program: &'static str,
    version: String,
}

/// The versions of the peers that were found.
pub(crate) fn versions() -> impl Iterator<Item = String> {
    use Peer as P;
    let programs = [P::Nginx, P::Haproxy, P::Caddy, P::Tinyproxy, P::Microsocks];
    [P::Python, P::Node, P::Chromium]
        .into_iter()
        .chain(programs)
        .filter_map(|peer| Some(peer.found().get()?.as_ref().ok()?.version.clone()))
}

fn run(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A peer that is not installed, and how to install it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{peer} is missing: {}", peer.remedy())]
pub(crate) struct Missing {
    peer: Peer,
    why: String,
}

impl Missing {
    /// Why it is considered missing.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// Does a missing peer fail the test?
    pub(crate) fn is_required() -> bool {
        std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1")
    }
}

impl Peer {
    const fn remedy(self) -> &'static str {
        match self {
            Self::Python => "pip install -r ws-client/tests/peers/requirements.txt",
            Self::Node => "npm ci in ws-client/tests/peers",
            Self::Chromium => "npm ci in ws-client/tests/peers, and your distribution's chromium",
            Self::Nginx | Self::Haproxy | Self::Caddy | Self::Tinyproxy | Self::Microsocks => {
                "your distribution has it"
            }
        }
    }
}

/// The line with the error of a script.
fn complaint(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("Error"));
    line.or_else(|| said.lines().last()).unwrap_or("it does not say why").trim().to_owned()
}

/// The server of a peer, which is killed on drop.
pub(crate) struct PeerServer {
    peer: Peer,
    port: u64,
    lines: Lines<BufReader<ChildStdout>>,
    diary: Option<Diary>,
    /// The server also exits at the end of its input, if this process is killed.
    _stdin: Option<ChildStdin>,
    _child: Child,
}

impl PeerServer {
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next connection that has ended.
    pub(crate) async fn ended(&mut self) -> Result<Ended> {
        let said = self.says().await?;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        Ok(Ended { path: text("path"), code: said["code"].as_u64(), reason: text("reason") })
    }

    async fn says(&mut self) -> Result<Value> {
        let line = match timeout(PATIENCE, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(None)) | Err(_) => {
                let diary = self.diary.take().context("it has gone")?.read().await;
                return Err(anyhow!("{} says nothing. Its last words:\n{diary}", self.peer));
            }
        };
        serde_json::from_str(&line).with_context(|| format!("{} says {line:?}", self.peer))
    }
}

/// The last output of a script: its current row, and its error.
struct Diary {
    lines: Arc<Mutex<VecDeque<String>>>,
    reading: JoinHandle<()>,
}

impl Diary {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut stderr = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = stderr.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == 20 {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Self { lines, reading }
    }

    /// The whole output, when the script has exited or soon after.
    async fn read(self) -> String {
        let _ = timeout(Duration::from_secs(1), self.reading).await;
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

/// Where `CONTRIBUTING.md` installs the Python packages, if they are not in `$PATH`.
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers-venv/bin/python");
