//! Where are our ends of the test?

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace;

/// Examples that are built, by their names.
#[derive(Debug)]
pub(super) struct Programs(HashMap<String, PathBuf>);

impl Programs {
    /// Builds examples for release, side by side.
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

    /// Where an example is.
    pub(super) fn path(&self, example: &str) -> Result<&Path> {
        let path = self.0.get(example).map(PathBuf::as_path);
        path.with_context(|| format!("cargo does not say where it put example `{example}`"))
    }
}
