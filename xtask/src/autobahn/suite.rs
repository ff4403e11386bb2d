//! Where is the Autobahn suite installed, and how is it started?

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::cases::CaseId;
use crate::process::Background;

/// The suite's program, `wstest`.
#[derive(Debug)]
pub(crate) enum Suite {
    /// An installed program.
    Program(PathBuf),
    /// In the Docker image of the suite's authors.
    Container,
}

/// The other end of the suite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OtherEnd<'a> {
    /// A server, by its name and URL. The suite is a client, and ends by itself.
    Server(&'a str, &'a str),
    /// A client, which calls this port. The suite is a server, and runs until it is dropped.
    Client(u16),
}

impl Suite {
    /// Looks for `$WSTEST`, then in `PATH`, then for Docker.
    pub(crate) fn find() -> Result<Self> {
        if let Some(program) = env::var_os("WSTEST").filter(|program| !program.is_empty()) {
            let program = PathBuf::from(program);
            ensure!(program.is_file(), "$WSTEST names no file: {}", program.display());
            return Ok(Self::Program(program));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let found =
            env::split_paths(&path).map(|dir| dir.join("wstest")).find(|file| file.is_file());
        if let Some(program) = found {
            return Ok(Self::Program(program));
        }
        let docker = docker(&["info"]).status();
        if docker.is_ok_and(|status| status.success()) {
            return Ok(Self::Container);
        }
        bail!(
            "there is no `wstest`: not in $WSTEST, not in PATH, and Docker does not run either.\n\
             Start Docker, and the image {IMAGE} is used. Or install the Python package\n\
             `autobahntestsuite` for Python 2.7 or PyPy 2.7, and let WSTEST name its `wstest`."
        );
    }

    /// Starts the suite in `dir`, an empty folder for the reports.
    pub(crate) fn start(
        &self,
        other: OtherEnd<'_>,
        cases: &[CaseId],
        dir: &Path,
    ) -> Result<Background> {
        let spec = serde_json::to_string_pretty(&spec(other, cases))?;
        let spec_file = dir.join("spec.json");
        fs::write(&spec_file, spec)
            .with_context(|| format!("cannot write {}", spec_file.display()))?;
        let log = dir.join("wstest.log");
        let mode: &[&str] = match other {
            OtherEnd::Server(..) => &["-m", "fuzzingclient", "-s", "spec.json"],
            // Without `-u 0`, it also serves a page on port 8080.
            OtherEnd::Client(_) => &["-m", "fuzzingserver", "-s", "spec.json", "-u", "0"],
        };
        match self {
            Self::Program(program) => {
                Background::start("wstest", Command::new(program).args(mode).current_dir(dir), &log)
            }
            Self::Container => {
                let part = dir.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("wstest-{}-{part}", process::id());
                let mut run = Command::new("docker");
                run.args(["run", "--rm", "--name", &name, "--network", "host"])
                    .args(["--env", "PYTHONUNBUFFERED=1", "--workdir", "/reports", "--volume"])
                    .arg(format!("{}:/reports", dir.display()))
                    .args([IMAGE, "wstest"])
                    .args(mode);
                let started = Background::start("wstest", &mut run, &log)?;
                Ok(started.on_drop(docker(&["kill", &name])))
            }
        }
    }
}

fn spec(other: OtherEnd<'_>, cases: &[CaseId]) -> serde_json::Value {
    // Full numbers, because the suite's own patterns match prefixes: its `1*` also matches 10 to 13.
    let cases: Vec<String> = cases.iter().map(CaseId::to_string).collect();
    let (url, servers) = match other {
        OtherEnd::Server(agent, url) => (None, vec![json!({ "agent": agent, "url": url })]),
        OtherEnd::Client(port) => (Some(format!("ws://127.0.0.1:{port}")), Vec::new()),
    };
    json!({
        "url": url,
        "servers": servers,
        "outdir": ".",
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    })
}

fn docker(args: &[&str]) -> Command {
    let mut docker = Command::new("docker");
    docker.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    docker
}

const IMAGE: &str = "crossbario/autobahn-testsuite";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_names_the_cases_and_the_other_end() {
        let cases = ["1.1.1".parse().unwrap(), "2.2".parse().unwrap()];
        let server = spec(OtherEnd::Client(9001), &cases);
        assert_eq!(server["url"], "ws://127.0.0.1:9001");
        assert_eq!(server["cases"], json!(["1.1.1", "2.2"]));
        let client = spec(OtherEnd::Server("ws", "ws://127.0.0.1:1"), &cases);
        assert_eq!(client["servers"], json!([{ "agent": "ws", "url": "ws://127.0.0.1:1" }]));
    }
}
