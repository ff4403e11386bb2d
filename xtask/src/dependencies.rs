//! Do the dependencies keep the rules of `deny.toml` on licences, sources and wildcards, and do the
//! oldest versions that the manifests allow fit together?
//!
//! `cargo deny check` checks the same and more, but takes longer to build than the workspace to check.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::{process, workspace};

/// Prints the violations, and fails if there are any.
pub(crate) fn check() -> Result<()> {
    let rules = fs::read_to_string(workspace::root().join("deny.toml"));
    let rules = rules.context("cannot read deny.toml")?;
    let allowed =
        Allowed { licences: list(&rules, "allow"), sources: list(&rules, "allow-registry") };
    ensure!(
        !allowed.licences.is_empty() && !allowed.sources.is_empty(),
        "deny.toml allows nothing"
    );
    let mut count = 0;
    let mut violations = Vec::new();
    let metadata = workspace::metadata_with_dependencies()?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    for package in packages.context("cargo metadata names no packages")? {
        count += 1;
        let name = |what| format!("{}: {what}", name_of(package));
        violations.extend(allowed.violations(package).map(name));
    }
    for violation in &violations {
        println!("{violation}");
    }
    ensure!(
        violations.is_empty(),
        "{} dependencies break the rules of deny.toml",
        violations.len()
    );
    println!("{count} crates keep the rules of deny.toml");
    resolve_oldest_versions()
}

/// Fails if a version in `[workspace.dependencies]` is older than another dependency allows: the
/// libraries were then never compiled with it.
fn resolve_oldest_versions() -> Result<()> {
    let mut update = workspace::cargo();
    // An option of nightly toolchains.
    update.env("RUSTC_BOOTSTRAP", "1");
    update.args(["update", "--quiet", "--dry-run", "-Zdirect-minimal-versions"]);
    process::run(&mut update).context("raise the versions of `[workspace.dependencies]`")?;
    println!("the oldest versions that the manifests allow fit together");
    Ok(())
}

/// The name of a package or a dependency.
fn name_of(it: &Value) -> &str {
    it.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// What `deny.toml` allows.
struct Allowed {
    licences: Vec<String>,
    sources: Vec<String>,
}

impl Allowed {
    /// What is wrong with a package.
    fn violations(&self, package: &Value) -> impl Iterator<Item = String> {
        let text = |field| package.get(field).and_then(Value::as_str);
        let source = text("source");
        let licence = text("license").unwrap_or("none");
        let foreign = source.filter(|source| !self.has_source(source));
        let foreign = foreign.map(|source| format!("its source is {source}"));
        let unlicensed = (!self.has_licence(licence)).then(|| format!("its licence is {licence}"));
        // What others depend on is not ours to change.
        let ours =
            package.get("dependencies").and_then(Value::as_array).filter(|_| source.is_none());
        let is_wildcard = |it: &&Value| {
            it.get("req").is_some_and(|it| it == "*") && it.get("path").is_none_or(Value::is_null)
        };
        let wildcards = ours.into_iter().flatten().filter(is_wildcard);
        let wildcards = wildcards.map(|it| format!("it depends on any version of {}", name_of(it)));
        foreign.into_iter().chain(unlicensed).chain(wildcards.collect::<Vec<_>>())
    }

    fn has_source(&self, source: &str) -> bool {
        let registry = source.strip_prefix("registry+");
        registry.is_some_and(|registry| self.sources.iter().any(|allowed| allowed == registry))
    }

    fn has_licence(&self, licence: &str) -> bool {
        // Some crates write `MIT/Apache-2.0`.
        let expression = Expression::parse_mode(licence, ParseMode::LAX);
        let allows = |it: &LicenseReq| {
            it.license.id().is_some_and(|id| self.licences.iter().any(|allowed| allowed == id.name))
        };
        expression.is_ok_and(|expression| expression.evaluate(allows))
    }
}

/// The strings of a list in a TOML file, which has one string per line or all on one.
fn list(toml: &str, key: &str) -> Vec<String> {
    let (key, mut strings) = (format!("{key} = ["), Vec::new());
    let lines = toml.lines().map(str::trim).skip_while(|line| !line.starts_with(&key));
    for line in lines {
        if !line.starts_with('#') {
            strings.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        if line.ends_with(']') {
            break;
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_violation_is_found() {
        let rules = "[licenses]\nallow = [\n  \"MIT\",\n  # \"GPL-3.0\" is not.\n  \"ISC\",\n]\n\
                     allow-registry = [\"https://index\"]\n";
        let allowed =
            Allowed { licences: list(rules, "allow"), sources: list(rules, "allow-registry") };
        let check = |source: Value, licence: Value, requirement: &str, expected: &[&str]| {
            let dependency = json!({"name": "b", "req": requirement});
            let package =
                json!({"source": source, "license": licence, "dependencies": [dependency]});
            assert_eq!(allowed.violations(&package).collect::<Vec<_>>(), expected);
        };
        let registry = || json!("registry+https://index");
        check(registry(), json!("MIT"), "*", &[]);
        check(registry(), json!("Apache-2.0/ISC"), "1", &[]);
        check(registry(), json!("MIT AND GPL-3.0"), "1", &["its licence is MIT AND GPL-3.0"]);
        check(registry(), json!(null), "1", &["its licence is none"]);
        check(json!("git+https://index"), json!("MIT"), "1", &["its source is git+https://index"]);
        check(json!(null), json!("MIT"), "*", &["it depends on any version of b"]);
    }
}
