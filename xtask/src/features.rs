//! Does each library compile without warnings with none of its features, and with each alone?

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
}

/// Checks each library with none of its features, and with each of them alone.
pub(crate) fn run(args: &FeaturesArgs) -> Result<()> {
    check_each_of(args.package.as_deref())
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
            ["conn", "deflate", "json", "metrics", "proto", "tungstenite"]
        );
        assert_eq!(of("ws-events").unwrap(), ["hmac", "metrics", "msgpack", "socketio-adapter"]);
        assert_eq!(of("xtask"), None);
        assert_eq!(of("docs"), None);
    }
}
