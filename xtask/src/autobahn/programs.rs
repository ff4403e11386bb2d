//! How are the example programs built that Autobahn tests?

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace;

/// The paths of built examples, by name.
#[derive(Debug)]
pub(super) struct Programs(HashMap<String, PathBuf>);

impl Programs {
    /// Builds examples in release mode.
    pub(super) fn build(examples: &[&str]) -> Result<Self> {
        let mut build = workspace::cargo();
        build.args(["build", "--release", "--package", "examples"]);
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
    pub(super) fn path(&self, example: &str) -> Result<&Path> {
        let path = self.0.get(example).map(PathBuf::as_path);
        path.with_context(|| format!("cargo did not report the path of example `{example}`"))
    }
}
