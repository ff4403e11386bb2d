//! How are the contestants built, started and put under load?

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use load::report::Report;
use load::scenario::Scenario;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::contestants::Contestant;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    dir: PathBuf,
    target: PathBuf,
}

impl Programs {
    /// Beside the program that asks.
    pub(crate) fn new() -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let target = own.parent().and_then(Path::parent).context("this program is nowhere")?;
        Ok(Self { dir: target.join("release"), target: target.to_owned() })
    }

    /// Builds the generator and what these contestants need.
    pub(crate) fn build(&self, contestants: &[&Contestant]) -> Result<()> {
        let of = |package: &str| {
            let mut programs: Vec<_> = contestants
                .iter()
                .filter(|it| it.package == package)
                .map(|it| it.program)
                .collect();
            programs.sort_unstable();
            programs.dedup();
            programs
        };
        let mut cheap = self.cargo();
        cheap.args(["--package", "load", "--package", "limits", "--package", "ours"]);
        succeed(&mut cheap)?;
        let peers = of("peers");
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

    /// The command that runs one of them.
    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.path(program))
    }

    /// Where one of them is.
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
        command.args(["--connect", &server.address, "--scenario", scenario.name]);
        command.args(["--pid", &server.child.id().to_string()]).args(more);
        if raw {
            command.arg("--raw");
        }
        if cores() > 1 {
            command.args(["--core", "1"]);
        }
        report_of(&mut command)
    }

    /// Has a client make the load, on a server that is always the same.
    pub(crate) fn load_from(
        &self,
        client: &str,
        scenario: &Scenario,
        more: &[&str],
    ) -> Result<Report> {
        let mut server = self.command("raw-epoll");
        let server = Server::start(server.args(["--variant", "websocket"]), 1..2)?;
        let mut command = self.command(&format!("{client}-client"));
        command.args(["--connect", &server.address, "--scenario", scenario.name]);
        command.args(["--pid", &server.child.id().to_string()]).args(more);
        on(0..1, || report_of(&mut command))
    }
}

/// How many processors there are, of which the first two are used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Runs what prints a report, and reads it.
pub(crate) fn report_of(command: &mut Command) -> Result<Report> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.trim());
    serde_json::from_slice(&output.stdout).context("the generator's report cannot be read")
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    child: Child,
    /// Kept open, so that what it prints goes somewhere.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on these processors.
    pub(crate) fn start(command: &mut Command, processors: Range<usize>) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = on(processors, || {
            command.spawn().with_context(|| format!("cannot start {command:?}"))
        })?;
        let stdout = child.stdout.take().context("a server has no output")?;
        let mut server = Self { address: String::new(), child, _stdout: BufReader::new(stdout) };
        let mut line = String::new();
        server._stdout.read_line(&mut line).context("cannot read what a server prints")?;
        let address = line.trim().strip_prefix("listening on ");
        address
            .with_context(|| format!("{command:?} does not say where it listens: {line:?}"))?
            .clone_into(&mut server.address);
        Ok(server)
    }

    /// Asks it to end, and waits until it has. Not as Ctrl-C does: in the background of a
    /// shell that is ignored.
    pub(crate) fn end(mut self) -> Result<()> {
        kill(self.pid(), Signal::SIGTERM).context("the server has ended by itself")?;
        self.child.wait().context("cannot wait for a server")?;
        Ok(())
    }

    /// Asks the program that it runs to end, where it runs one, and waits until both have.
    pub(crate) fn end_child(mut self) -> Result<()> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
        let child = children.split_whitespace().next().and_then(|word| word.parse().ok());
        let child = child.with_context(|| format!("{path} names no child"))?;
        kill(Pid::from_raw(child), Signal::SIGTERM).context("the server has ended by itself")?;
        self.child.wait().context("cannot wait for a server")?;
        Ok(())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does something on these processors only, if they are there. What it starts stays there.
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

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
