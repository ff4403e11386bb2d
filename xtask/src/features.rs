//! Does each library compile without warnings with none of its features, and with each alone?

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::{process, workspace};

/// Which libraries are checked.
#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// Check only this library.
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Check with all features, and with the oldest versions that the manifests allow. This compiles
    /// all dependencies again, which takes some minutes.
    #[arg(long)]
    oldest: bool,
}

/// Checks each library with none of its features, and with each of them alone.
pub(crate) fn run(args: &FeaturesArgs) -> Result<()> {
    let only = args.package.as_deref();
    if args.oldest { check_with_oldest(only) } else { check_each_of(only) }
}

/// Checks libraries with the oldest versions, in a copy: the versions are in `Cargo.lock`.
fn check_with_oldest(only: Option<&str>) -> Result<()> {
    let copy = workspace::target_dir()?.join("oldest");
    copy_sources(&copy)?;
    let cargo = || {
        let mut cargo = workspace::cargo();
        cargo.current_dir(&copy).env("CARGO_TARGET_DIR", copy.join("target"));
        cargo
    };
    // An option of nightly toolchains.
    let mut update = cargo();
    update.env("RUSTC_BOOTSTRAP", "1").args(["update", "--quiet", "-Zdirect-minimal-versions"]);
    process::run(&mut update)?;
    let packages = packages(&workspace::metadata()?)?.into_iter().map(|(name, _)| name);
    let wanted: Vec<_> = packages.filter(|name| only.is_none_or(|only| only == name)).collect();
    ensure!(!wanted.is_empty(), "there is no such library");
    let names = wanted.iter().flat_map(|name| ["--package", name]);
    process::run(cargo().args(["check", "--quiet", "--all-features"]).args(names))?;
    println!("{} with the oldest versions of their dependencies", wanted.join(", "));
    Ok(())
}

/// Copies the files that git knows.
fn copy_sources(to: &Path) -> Result<()> {
    let root = workspace::root();
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let listed = listed.context("cannot run git")?;
    ensure!(listed.status.success(), "`git ls-files` failed: {}", listed.status);
    for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (root.join(file), to.join(file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        // A file that was removed is in the index until the next commit.
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}

/// Checks one library.
pub(crate) fn check_each(package: &str) -> Result<()> {
    check_each_of(Some(package))
}

fn check_each_of(only: Option<&str>) -> Result<()> {
    let mut checked = 0;
    for (package, features) in packages(&workspace::metadata()?)? {
        if only.is_some_and(|only| *only != package) {
            continue;
        }
        let alone = features.iter().map(|feature| Some(feature.as_str()));
        for feature in std::iter::once(None).chain(alone) {
            check(&package, feature)?;
            checked += 1;
        }
    }
    ensure!(checked > 0, "there is no such library");
    Ok(())
}

/// Checks one library with one of its features, or with none.
pub(crate) fn check(package: &str, feature: Option<&str>) -> Result<()> {
    let started = Instant::now();
    let mut check = workspace::cargo();
    check.args(["clippy", "--quiet", "--package", package, "--lib", "--no-default-features"]);
    check.args(feature.into_iter().flat_map(|feature| ["--features", feature]));
    check.args(["--", "-D", "warnings"]);
    process::run(&mut check)?;
    let feature = feature.unwrap_or("no feature");
    println!("{package} with {feature}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The libraries of the workspace that are published, with their features.
fn packages(metadata: &Value) -> Result<Vec<(String, Vec<String>)>> {
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.context("cargo metadata names no packages")?;
    let of = |package: &Value| {
        let name = package.get("name")?.as_str()?.to_owned();
        let mut targets = package.get("targets")?.as_array()?.iter();
        let is_library = targets.any(|target| target.pointer("/kind/0") == Some(&"lib".into()));
        let features = package.get("features")?.as_object()?.keys();
        let features = features.filter(|name| *name != "default").cloned().collect();
        let is_published = package.get("publish").is_some_and(Value::is_null);
        (is_library && is_published).then_some((name, features))
    };
    Ok(packages.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_library_has_its_features() {
        let packages = packages(&workspace::metadata().unwrap()).unwrap();
        let of = |name: &str| packages.iter().find(|it| it.0 == name).map(|it| it.1.clone());
        assert_eq!(
            of("ws-core").unwrap(),
            ["conn", "deflate", "json", "metrics", "proto", "server", "tungstenite"]
        );
        assert_eq!(of("ws-events").unwrap(), ["hmac", "metrics", "msgpack", "socketio-adapter"]);
        assert_eq!(of("xtask"), None);
        assert_eq!(of("docs"), None);
    }
}
