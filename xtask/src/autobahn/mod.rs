//! How is the Autobahn conformance suite run against the server and the client?
//!
//! The suite is one end of each connection, an example program the other. It has 517 cases, takes
//! minutes, and has one thread. So several processes of it run a part of the cases each, and
//! their reports are merged.

mod cases;
mod progress;
mod results;
mod suite;
mod table;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::{Map, Value};

use self::cases::CaseId;
use self::progress::Progress;
use self::results::CaseResult;
use self::suite::{OtherEnd, Suite};
use crate::process::Background;
use crate::workspace::{self, Examples};

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
pub(crate) struct AutobahnArgs {
    /// The role to test: `server`, `client` or `all` (the default); then cases, such as `6.*` or
    /// `12.1.3` (default: all 517).
    #[arg(value_name = "SERVER|CLIENT|ALL] [CASES")]
    words: Vec<String>,
    /// Leave out the large payloads of the compressed cases.
    #[arg(long)]
    quick: bool,
    /// The adapter of the echo server: `hyper`, `axum`, `warp`, or `tcp` for none.
    #[arg(long, default_value = DEFAULT_ADAPTER)]
    adapter: String,
    /// Test the server over HTTP/2, through an example that translates: the suite has HTTP/1.1 only.
    #[arg(long)]
    http2: bool,
    /// Number of processes of the suite that run at once. Default: one per core, at most 4.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    jobs: Option<u32>,
    /// Timeout in seconds, for each role.
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    /// Folder for reports. Default: `autobahn` in the target directory.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl AutobahnArgs {
    /// The name of this run, and of the folder of its reports.
    fn name(&self, role: Role) -> String {
        let mut name = role.name().to_owned();
        if role == Role::Server && self.adapter != DEFAULT_ADAPTER {
            name = format!("{name}-{}", self.adapter);
        }
        if role == Role::Server && self.http2 { format!("{name}-http2") } else { name }
    }
}

/// The role under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Server => "echo",
            Self::Client => "autobahn_client",
        }
    }
}

/// The example that translates the suite's HTTP/1.1 to HTTP/2.
const BRIDGE: &str = "http2_bridge";

/// A part of the cases, and the folder of their reports.
#[derive(Debug)]
struct Part {
    cases: Vec<CaseId>,
    dir: PathBuf,
}

/// The processes that run a part: the suite, and the client if that is under test.
#[derive(Debug)]
struct PartProcesses {
    suite: Background,
    client: Option<Background>,
}

/// Runs with these arguments, as they would be typed.
pub(crate) fn run_with(args: &str) -> Result<()> {
    run(&AutobahnArgs::try_parse_from(args.split_whitespace())?)
}

pub(crate) fn run(args: &AutobahnArgs) -> Result<()> {
    let (roles, patterns) = roles(&args.words);
    // Wrong arguments and a missing suite are found before the build.
    let cases = cases::select(patterns, args.quick)?;
    let suite = Suite::find()?;
    let examples = roles.iter().map(|role| role.example()).chain(args.http2.then_some(BRIDGE));
    let ours = Examples::build(&examples.collect::<Vec<_>>())?;
    let out = match &args.out {
        Some(out) => std::path::absolute(out).context("cannot resolve --out")?,
        None => workspace::target_dir()?.join("autobahn"),
    };
    let mut failed = Vec::new();
    for role in roles {
        if !test(*role, args, (&suite, &ours), &cases, &out.join(args.name(*role)))? {
            failed.push(role.name());
        }
    }
    ensure!(failed.is_empty(), "the suite reports failures of the {}", failed.join(" and the "));
    Ok(())
}

/// The roles to test, from the first word if it names one, and the patterns.
fn roles(words: &[String]) -> (&'static [Role], &[String]) {
    match words {
        [first, patterns @ ..] if first == "server" => (&[Role::Server], patterns),
        [first, patterns @ ..] if first == "client" => (&[Role::Client], patterns),
        [first, patterns @ ..] if first == "all" => (&[Role::Server, Role::Client], patterns),
        patterns => (&[Role::Server, Role::Client], patterns),
    }
}

/// Tests one role. Returns whether all cases passed.
fn test(
    role: Role,
    args: &AutobahnArgs,
    (suite, ours): (&Suite, &Examples),
    cases: &[CaseId],
    dir: &Path,
) -> Result<bool> {
    let program = ours.path(role.example())?;
    let agent = match role {
        Role::Server if args.http2 => format!("ws-{}-http2", args.adapter),
        Role::Server => format!("ws-{}", args.adapter),
        Role::Client => "ws-client".to_owned(),
    };
    let parts = split(cases, jobs(args), dir)?;
    println!("autobahn {}: {} cases in {} parts", role.name(), cases.len(), parts.len());
    let started = Instant::now();
    let deadline = started + Duration::from_secs(args.timeout);
    // The server and the bridge run until the end of this function.
    let mut server = match role {
        Role::Server => Some(serve(program, &args.adapter, &dir.join("echo.log"))?),
        Role::Client => None,
    };
    let bridge = match &server {
        Some((_, url)) if args.http2 => {
            Some(bridge(ours.path(BRIDGE)?, url, &dir.join("bridge.log"))?)
        }
        _ => None,
    };
    let url = bridge.as_ref().or(server.as_ref()).map(|(_, url)| url.clone());
    let start = |part: &Part| match &url {
        Some(url) => {
            let server = OtherEnd::Server(&agent, url);
            let suite = suite.start(server, &part.cases, &part.dir)?;
            Ok(PartProcesses { suite, client: None })
        }
        None => dial(program, suite, part, &agent),
    };
    let work = parts.iter().map(start).collect::<Result<Vec<_>>>()?;
    let server = server.as_mut().map(|(server, _)| server);
    watch(work, server, Progress::new(role.name(), cases.len()), deadline)?;
    let results = collect(&parts, &agent, dir)?;
    let failures = results::failures(&results, cases);
    let page = dir.join("index.html");
    fs::write(&page, table::html(&format!("Autobahn: {agent}"), &results, &failures))
        .with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}", table::text(&results));
    for failure in &failures {
        println!("{failure}");
    }
    let wall = started.elapsed().as_secs();
    println!(
        "autobahn {}: {} of {} cases passed in {wall} s of wall time; see {}\n",
        role.name(),
        results.iter().filter(|case| case.failure().is_none()).count(),
        cases.len(),
        page.display()
    );
    Ok(failures.is_empty())
}

fn jobs(args: &AutobahnArgs) -> u32 {
    let cores = || thread::available_parallelism().map_or(1, usize::from).min(4);
    args.jobs.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1))
}

/// Distributes the cases, and makes an empty folder for each part.
fn split(cases: &[CaseId], jobs: u32, dir: &Path) -> Result<Vec<Part>> {
    // Only a folder of an earlier run is emptied.
    if dir.join(MARK).exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let strange = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!strange, "{} has other files: empty it, or use another --out", dir.display());
    fs::write(dir.join(MARK), "`cargo xtask autobahn` empties this folder.\n")?;
    let mut parts = Vec::new();
    for part in 0..jobs {
        let cases: Vec<_> = cases.iter().filter(|case| case.part(jobs) == part).cloned().collect();
        // Without a case, the suite never ends.
        if !cases.is_empty() {
            let dir = dir.join(format!("part-{part}"));
            fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            parts.push(Part { cases, dir });
        }
    }
    Ok(parts)
}

/// Starts the echo server, and waits until it prints its address.
fn serve(program: &Path, adapter: &str, log: &Path) -> Result<(Background, String)> {
    let args = ["--listen", "127.0.0.1:0", "--adapter", adapter, "--compress", "takeover"];
    // The largest messages of section 9 have 16 MiB.
    let args = [args.as_slice(), &["--read-limit", "16777216"]].concat();
    listening("the echo server", program, &args, log)
}

/// Starts the translation to HTTP/2, and waits until it prints its address.
fn bridge(program: &Path, server: &str, log: &Path) -> Result<(Background, String)> {
    let args = ["--to", server.trim_start_matches("ws://")];
    listening("the bridge to HTTP/2", program, &args, log)
}

fn listening(
    name: &str,
    program: &Path,
    args: &[&str],
    log: &Path,
) -> Result<(Background, String)> {
    let program = Background::start(name, Command::new(program).args(args), log)?;
    let url = program.wait_for_line(Duration::from_secs(30), url_in)?;
    Ok((program, url))
}

/// The first `ws://ADDRESS:PORT` in a line.
fn url_in(line: &str) -> Option<String> {
    let url = line.get(line.find("ws://")?..)?;
    let host = url.strip_prefix("ws://")?;
    let end = host.find(|c: char| !c.is_ascii_alphanumeric() && !".:[]".contains(c));
    let host = end.map_or(host, |end| host.get(..end).unwrap_or_default());
    let host = host.trim_end_matches(['.', ':']);
    let (_, port) = host.rsplit_once(':')?;
    port.parse::<u16>().ok().map(|_| format!("ws://{host}"))
}

/// Starts the suite as a server, and the client once the suite listens.
fn dial(program: &Path, suite: &Suite, part: &Part, agent: &str) -> Result<PartProcesses> {
    let port = free_port()?;
    let mut suite = suite.start(OtherEnd::Client(port), &part.cases, &part.dir)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = suite.ended()? {
            bail!("wstest did not start: {status}; see {}", part.dir.join("wstest.log").display());
        }
        ensure!(Instant::now() < deadline, "wstest does not listen on port {port}");
        thread::sleep(Duration::from_millis(50));
    }
    let mut command = Command::new(program);
    command.args(["--url", &format!("ws://127.0.0.1:{port}"), "--agent", agent]);
    let client = Background::start("the client", &mut command, &part.dir.join("client.log"))?;
    Ok(PartProcesses { suite, client: Some(client) })
}

/// A port that was free a moment ago. The suite cannot choose one and report it.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

/// Waits until all parts have ended.
///
/// The suite ends by itself as a client. As a server, it is done when the client is.
fn watch(
    mut work: Vec<PartProcesses>,
    mut server: Option<&mut Background>,
    mut progress: Progress,
    deadline: Instant,
) -> Result<()> {
    loop {
        let mut running = 0;
        for (part, work) in work.iter_mut().enumerate() {
            for line in work.suite.lines() {
                progress.add_line(part, &line);
            }
            let ended = match &mut work.client {
                None => ended(&mut work.suite)?,
                // The suite is checked first: the client may end between the two checks.
                Some(client) => match (work.suite.ended()?, ended(client)?) {
                    (Some(status), false) => bail!("wstest ended before the client: {status}"),
                    (_, ended) => ended,
                },
            };
            running += usize::from(!ended);
        }
        progress.print();
        if running == 0 {
            progress.finish();
            return Ok(());
        }
        if let Some(server) = &mut server
            && let Some(status) = server.ended()?
        {
            bail!("{} ended during the test: {status}", server.name());
        }
        ensure!(Instant::now() < deadline, "timed out; --timeout sets another limit");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the program has ended. An exit status other than 0 is an error.
fn ended(program: &mut Background) -> Result<bool> {
    match program.ended()? {
        None => Ok(false),
        Some(status) if status.success() => Ok(true),
        Some(status) => bail!("{} failed: {status}; its log is with the reports", program.name()),
    }
}

/// Merges the reports of all parts into `dir`, and reads the results.
fn collect(parts: &[Part], agent: &str, dir: &Path) -> Result<Vec<CaseResult>> {
    let mut results = Vec::new();
    let mut index = Map::new();
    for part in parts {
        results.extend(results::read(&part.dir, agent)?);
        let part_index: Value = serde_json::from_slice(&fs::read(part.dir.join("index.json"))?)?;
        if let Some(Value::Object(cases)) = part_index.get(agent) {
            index.extend(cases.clone());
        }
        for entry in fs::read_dir(&part.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().contains("_case_") {
                fs::rename(entry.path(), dir.join(name))?;
            }
        }
    }
    let mut agents = Map::new();
    agents.insert(agent.to_owned(), Value::Object(index));
    fs::write(dir.join("index.json"), serde_json::to_string_pretty(&agents)?)?;
    results.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(results)
}

const DEFAULT_ADAPTER: &str = "hyper";

const MARK: &str = "made-by-xtask";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_found_in_the_output_of_the_server() {
        let check = |line: &str| url_in(line);
        assert_eq!(check("ws://127.0.0.1:80").as_deref(), Some("ws://127.0.0.1:80"));
        let sentence = "Echoing on ws://127.0.0.1:4321/. Try: `ws connect ws://h:1`";
        assert_eq!(check(sentence).as_deref(), Some("ws://127.0.0.1:4321"));
        assert_eq!(check("at ws://[::1]:9001, over TCP").as_deref(), Some("ws://[::1]:9001"));
        assert_eq!(check("listening on 127.0.0.1:80"), None);
        assert_eq!(check("ws://nowhere"), None);
    }

    #[test]
    fn arguments_are_read_from_one_line() {
        let args = "server 12.* 13.* --quick --adapter axum".split_whitespace();
        let args = AutobahnArgs::try_parse_from(args).unwrap();
        assert_eq!(args.words, ["server", "12.*", "13.*"]);
        assert!(args.quick && args.adapter == "axum" && args.name(Role::Server) == "server-axum");
        let whole = AutobahnArgs::try_parse_from([""; 0]).unwrap();
        assert!(whole.words.is_empty() && !whole.quick && whole.name(Role::Server) == "server");
    }

    #[test]
    fn the_first_word_may_be_a_role() {
        let check = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let (roles, patterns) = roles(&words);
            (roles.len(), roles[0], patterns.len())
        };
        assert_eq!(check(&[]), (2, Role::Server, 0));
        assert_eq!(check(&["all", "1.*"]), (2, Role::Server, 1));
        assert_eq!(check(&["client", "1.*", "2"]), (1, Role::Client, 2));
        assert_eq!(check(&["server"]), (1, Role::Server, 0));
        assert_eq!(check(&["6.*"]), (2, Role::Server, 1));
    }
}
