//! Where is the workspace, and how is cargo run in it?

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The folder that holds the workspace's manifest.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs this program, or the one in `PATH`, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Cargo's metadata about the members of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    metadata_by(&["--no-deps"])
}

/// Cargo's metadata about the members of the workspace and all their dependencies.
pub(crate) fn metadata_with_dependencies() -> Result<Value> {
    metadata_by(&["--all-features", "--locked"])
}

fn metadata_by(args: &[&str]) -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .output()
        .context("cannot run cargo metadata")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed: {}", error.trim());
    serde_json::from_slice(&output.stdout).context("cannot parse cargo metadata")
}

/// The folder of builds and reports.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    let dir = metadata.get("target_directory").and_then(Value::as_str);
    Ok(dir.context("cargo metadata names no target directory")?.into())
}

/// The paths of built examples, by name.
#[derive(Debug)]
pub(crate) struct Examples(HashMap<String, PathBuf>);

impl Examples {
    /// Builds examples with optimization.
    pub(crate) fn build(examples: &[&str]) -> Result<Self> {
        let mut build = cargo();
        build.args(["build", "--profile", "quick", "--package", "examples"]);
        build.args(examples.iter().flat_map(|example| ["--example", example]));
        build.args(["--message-format", "json-render-diagnostics"]);
        let output = build.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        ensure!(output.status.success(), "one of {} does not build", examples.join(", "));
        let messages = String::from_utf8_lossy(&output.stdout);
        let built = |line| {
            let message = serde_json::from_str::<Value>(line).ok()?;
            let example = message.pointer("/target/name")?.as_str()?.to_owned();
            Some((example, PathBuf::from(message.get("executable")?.as_str()?)))
        };
        Ok(Self(messages.lines().filter_map(built).collect()))
    }

    /// The path of an example.
    pub(crate) fn path(&self, example: &str) -> Result<&Path> {
        let path = self.0.get(example).map(PathBuf::as_path);
        path.with_context(|| format!("cargo did not report the path of example `{example}`"))
    }
}
