//! How are the measured programs built, started and put under load?

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use load::process::{Answers, Process};
use load::report::Report;
use load::scenario::{Carrier, Scenario, Shape};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::implementations::{Entry, Implementation};

/// Not for measured programs: collecting a backtrace would take most of the time of a connection
/// that ends with an error.
const BACKTRACE: &str = "RUST_BACKTRACE";

/// The paths of the programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    dir: PathBuf,
    target: PathBuf,
}

impl Programs {
    /// In the folder of the running program.
    pub(crate) fn new() -> Result<Self> {
        let own = std::env::current_exe().context("cannot find the path of this program")?;
        let target = own.parent().and_then(Path::parent).context("this program is in no folder")?;
        Ok(Self { dir: target.join("release"), target: target.to_owned() })
    }

    /// Builds the load generator and the programs of these implementations.
    pub(crate) fn build(
        &self,
        implementations: &[&Implementation],
        scenarios: &[&Scenario],
    ) -> Result<()> {
        let mut cheap = self.cargo();
        cheap.args(["--package", "load", "--package", "limits", "--package", "ours"]);
        let tls = scenarios.iter().any(|scenario| scenario.carrier != Carrier::Tcp);
        if tls {
            cheap.args(["--features", "load/tls,limits/tls,ours/tls"]);
        }
        if scenarios.iter().any(|scenario| scenario.shape == Shape::Client) {
            cheap.args(["--features", "ours/reconnect"]);
        }
        succeed(&mut cheap)?;
        if implementations.iter().any(|it| it.package == "metered") {
            succeed(self.cargo().args(["--package", "metered"]))?;
        }
        let peers = implementations.iter().filter(|it| it.package == "peers");
        let over_tls = peers.clone().filter_map(|it| it.tls_feature().filter(|_| tls));
        let peers: Vec<_> = peers.map(|it| it.program.to_owned()).chain(over_tls).collect();
        if !peers.is_empty() {
            let mut cargo = self.cargo();
            cargo.args(["--package", "peers", "--features", &peers.join(",")]);
            succeed(&mut cargo)?;
        }
        Ok(())
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
        cargo.arg("--target-dir").arg(&self.target);
        cargo
    }

    /// The command that runs a program.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        command.env_remove(BACKTRACE);
        command
    }

    /// The path of a program.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }

    /// Puts a server under load.
    pub(crate) fn load(
        &self,
        server: &Server,
        scenario: &Scenario,
        raw: bool,
        more: &[&str],
    ) -> Result<Report> {
        let mut command = self.command("load");
        command.args(raw.then_some("--raw")).args((cores() > 1).then_some("--core=1"));
        command.args(self.certificate(scenario));
        report_of(&mut command, server, scenario, more)
    }

    /// Runs the server of an entry under a tool, puts it under load, and reads the file that the tool
    /// has written at the end of the server.
    pub(crate) fn trace(
        &self,
        tool: &mut Command,
        (entry, scenario): (&Entry, &Scenario),
        more: &[&str],
        end: fn(Server) -> Result<()>,
        file: &Path,
    ) -> Result<String> {
        let implementation = entry.implementation;
        tool.env_remove(BACKTRACE).arg(self.path(&implementation.program_for(scenario)));
        tool.args(self.arguments(entry, scenario));
        let server = Server::start(tool, 0..entry.workers)?;
        self.load(&server, scenario, implementation.is_raw(), more)?;
        end(server)?;
        fs::read_to_string(file).with_context(|| format!("there is no {}", file.display()))
    }

    /// The argument with the file of the server's certificate, for scenarios over TLS.
    fn certificate(&self, scenario: &Scenario) -> Option<String> {
        let file = self.dir.join("bench-certificate.der");
        let tls = scenario.carrier != Carrier::Tcp;
        tls.then(|| format!("--certificate={}", file.display()))
    }

    /// The arguments of the server of an entry.
    pub(crate) fn arguments(&self, entry: &Entry, scenario: &Scenario) -> Vec<String> {
        entry.arguments(scenario).into_iter().chain(self.certificate(scenario)).collect()
    }

    /// Runs a measured client against the reference server.
    pub(crate) fn load_from(
        &self,
        client: &str,
        scenario: &Scenario,
        more: &[&str],
    ) -> Result<Report> {
        let mut server = self.command("raw-epoll");
        let server = Server::start(server.args(["--variant", "websocket"]), 1..2)?;
        let mut command = self.command(&format!("{client}-client"));
        on(0..1, || report_of(&mut command, &server, scenario, more))
    }
}

/// The number of processors, of which the first two are used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Runs a command that puts a server under load and prints a report, and parses the report.
fn report_of(
    command: &mut Command,
    server: &Server,
    scenario: &Scenario,
    more: &[&str],
) -> Result<Report> {
    command.args(["--connect", &server.address, "--scenario", scenario.name]);
    command.args(["--pid", &server.process.id().to_string()]).args(more);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.trim());
    serde_json::from_slice(&output.stdout).context("the generator's report cannot be read")
}

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    process: Process,
    /// Kept open: a closed pipe would be an error for the server.
    _output: Answers,
}

impl Server {
    /// Starts a server on these processors.
    pub(crate) fn start(command: &mut Command, processors: Range<usize>) -> Result<Self> {
        let (process, mut output) = on(processors, || Process::start(command))?;
        let line = output.line()?;
        let address = line.strip_prefix("listening on ");
        let address = address
            .with_context(|| format!("{command:?} does not print its address: {line:?}"))?
            .to_owned();
        Ok(Self { address, process, _output: output })
    }

    /// Sends SIGTERM, and waits for the end. SIGINT is ignored by background processes of a shell.
    pub(crate) fn end(self) -> Result<()> {
        let pid = self.process.id();
        self.end_with(pid)
    }

    /// Sends SIGTERM to the child of the process, and waits for the end of both.
    pub(crate) fn end_child(self) -> Result<()> {
        let pid = self.process.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
        let child = children.split_whitespace().next().and_then(|word| word.parse().ok());
        self.end_with(child.with_context(|| format!("{path} names no child"))?)
    }

    fn end_with(mut self, pid: i32) -> Result<()> {
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("the server has ended already")?;
        self.process.wait()
    }
}

/// Runs a function on these processors only, if they exist. Child processes inherit them.
fn on<T>(processors: Range<usize>, what: impl FnOnce() -> Result<T>) -> Result<T> {
    if processors.end > cores() {
        return what();
    }
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut chosen = CpuSet::new();
    for core in processors {
        chosen.set(core)?;
    }
    sched_setaffinity(this, &chosen).context("cannot choose a processor")?;
    let outcome = what();
    sched_setaffinity(this, &before)?;
    outcome
}

/// Checks that a tool is installed.
pub(crate) fn require(tool: &str, version: &str, purpose: &str) -> Result<()> {
    let found = Command::new(tool).arg(version).stdout(Stdio::null()).status();
    ensure!(found.is_ok(), "{tool} is missing: install it to count {purpose}");
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
