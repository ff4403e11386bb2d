//! Does each crate depend only on the crates that it may, and is its manifest complete?

use std::path::Path;

use serde_json::Value;

use super::tree::Complaint;

/// Complains about the members of a workspace, as cargo's metadata shows them.
pub(super) fn complaints(metadata: &Value, read: impl Fn(&Path) -> String) -> Vec<Complaint> {
    let root = Path::new(metadata["workspace_root"].as_str().unwrap_or_default());
    let mut found = Vec::new();
    for package in list(metadata, "packages") {
        let manifest = Path::new(text(package, "manifest_path"));
        let path =
            manifest.strip_prefix(root).unwrap_or(manifest).to_string_lossy().replace('\\', "/");
        let mut complain = |message: String| found.push(Complaint::new(&path, 1, message));
        if text(package, "description").is_empty() {
            complain("`description` is missing".to_owned());
        }
        if !has_workspace_lints(&read(manifest)) {
            complain("the workspace's lints are missing: `[lints] workspace = true`".to_owned());
        }
        let name = text(package, "name");
        if is_published(package) {
            if text(package, "readme") != "README.md" {
                complain("a README of its own is missing: `readme = \"README.md\"`".to_owned());
            }
            if has_library(package)
                && package.pointer("/metadata/docs/rs/all-features") != Some(&Value::Bool(true))
            {
                complain("`[package.metadata.docs.rs] all-features = true` is missing".to_owned());
            }
        }
        for dependency in list(package, "dependencies") {
            let has_version = text(dependency, "req") != "*";
            if is_published(package)
                && text(dependency, "kind") == "dev"
                && dependency["path"].is_string()
                && has_version
            {
                let target = text(dependency, "name");
                complain(format!(
                    "name `{target}` by path alone: `cargo package` needs its version"
                ));
            }
            // Tests may depend on any crate.
            if text(dependency, "kind") != "dev"
                && let Some(why) = refusal(name, &path, dependency)
            {
                complain(why);
            }
        }
    }
    found
}

/// Why a crate must not depend on another, if it must not.
fn refusal(name: &str, manifest: &str, dependency: &Value) -> Option<String> {
    let target = text(dependency, "name");
    if name == "ws-core" && HTTP.contains(&target) {
        return Some(format!("`ws-core` does not depend on an HTTP server or client: `{target}`"));
    }
    let optional = dependency["optional"].as_bool().unwrap_or_default();
    if name == "ws-core" && TUNGSTENITE.contains(&target) && !optional {
        return Some(format!("`{target}` must be optional: it is for the compat layer"));
    }
    let is_ours = dependency["path"].is_string();
    let allowed = is_allowed(name, manifest, target)
        || NESTED.iter().any(|(folder, on)| {
            manifest.strip_suffix("/Cargo.toml") == Some(folder) && target == *on
        });
    (is_ours && !allowed).then(|| format!("`{name}` must not depend on `{target}`"))
}

fn is_allowed(name: &str, manifest: &str, target: &str) -> bool {
    let mut folders = manifest.split('/');
    let (top, nested) = (folders.next().unwrap_or_default(), folders.count() > 1);
    match ARROWS.iter().find(|(from, _)| *from == top) {
        // A nested crate may depend on the one around it, and on the dependencies of that.
        Some((_, to)) if nested => top == "xtask" || target == top || to.contains(&target),
        Some((_, to)) => to.contains(&target),
        None => name == EXAMPLES,
    }
}

fn has_workspace_lints(manifest: &str) -> bool {
    let after = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]");
    after.skip(1).take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true")
}

/// Whether the crate can be published: it has no `publish = false`.
fn is_published(package: &Value) -> bool {
    package["publish"].is_null()
}

fn has_library(package: &Value) -> bool {
    list(package, "targets").iter().any(|target| target.pointer("/kind/0") == Some(&"lib".into()))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The crates of the workspace on which each may depend. `examples` may depend on all.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("ws-core", &[]),
    ("ws-server-hyper", &["ws-core"]),
    ("ws-server-axum", &["ws-core", "ws-server-hyper"]),
    ("ws-server-warp", &["ws-core", "ws-server-hyper"]),
    ("ws-client", &["ws-core"]),
    ("ws-events", &["ws-core"]),
    ("docs", &[]),
    ("xtask", &[]),
];

/// The crate that may depend on all others.
pub(super) const EXAMPLES: &str = "examples";

/// A nested crate, and one more crate on which it may depend: `ws listen` and the service of
/// Socket.IO are servers, and brokers share a driver.
const NESTED: &[(&str, &str)] = &[
    ("ws-client/cli", "ws-server-hyper"),
    ("ws-events/nats", "ws-events-broker"),
    ("ws-events/redis", "ws-events-broker"),
    ("ws-events/socketio", "ws-server-hyper"),
];

const HTTP: &[&str] =
    &["actix-web", "axum", "hyper", "hyper-util", "reqwest", "tonic", "tower-http", "warp"];

const TUNGSTENITE: &[&str] = &["tokio-tungstenite", "tungstenite"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINTS: &str = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";

    /// A crate and one dependency → the complaint.
    #[track_caller]
    fn check(folder: &str, dependency: &Value, expected: Option<&str>) {
        let name = folder.replace('/', "-");
        let metadata = json!({ "workspace_root": "/w", "packages": [{
            "name": name,
            "description": "a crate",
            "manifest_path": format!("/w/{folder}/Cargo.toml"),
            "publish": [],
            "dependencies": [dependency],
        }]});
        let found = complaints(&metadata, |_| LINTS.to_owned());
        match (found.as_slice(), expected) {
            ([], None) => {}
            ([complaint], Some(word)) => assert!(complaint.message.contains(word), "{complaint}"),
            _ => panic!("{folder}, {dependency}: {found:?}"),
        }
    }

    fn ours(name: &str) -> Value {
        json!({ "name": name, "path": "/w/x", "kind": null })
    }

    fn foreign(name: &str, kind: Option<&str>, optional: bool) -> Value {
        json!({ "name": name, "kind": kind, "optional": optional })
    }

    #[test]
    fn crates_depend_on_those_that_they_may() {
        let wrong = Some("must not depend");
        check("ws-server-hyper", &ours("ws-core"), None);
        check("ws-server-hyper", &ours("ws-client"), wrong);
        check("ws-server-axum", &ours("ws-server-hyper"), None);
        check("ws-server-axum", &ours("ws-server-warp"), wrong);
        check("ws-client", &ours("ws-server-hyper"), wrong);
        check("ws-client/cli", &ours("ws-client"), None);
        check("ws-client/cli", &ours("ws-server-hyper"), None);
        check("ws-client/cli", &ours("ws-server-axum"), wrong);
        check("ws-core", &ours("ws-client"), wrong);
        check("ws-events", &ours("ws-core"), None);
        check("ws-events", &ours("ws-server-hyper"), wrong);
        check("ws-events/redis", &ours("ws-events"), None);
        check("ws-events/redis", &ours("ws-events-broker"), None);
        check("ws-events/socketio", &ours("ws-events-broker"), wrong);
        check("ws-events/redis", &ours("ws-client"), wrong);
        check("xtask", &ours("ws-core"), wrong);
        check("xtask/bench", &ours("ws-core"), None);
        check("examples", &ours("ws-client"), None);
        check("ws-surprise", &ours("ws-core"), wrong);
    }

    #[test]
    fn the_core_depends_on_no_http_server_or_client() {
        check("ws-core", &foreign("hyper", None, false), Some("HTTP"));
        check("ws-core", &foreign("reqwest", None, true), Some("HTTP"));
        check("ws-core", &foreign("axum", Some("build"), false), Some("HTTP"));
        check("ws-core", &foreign("hyper", Some("dev"), false), None);
        check("ws-core", &foreign("tokio-tungstenite", None, false), Some("compat"));
        check("ws-core", &foreign("tokio-tungstenite", None, true), None);
        check("ws-core", &foreign("http", None, false), None);
        check("ws-server-hyper", &foreign("hyper", None, false), None);
    }

    #[test]
    fn a_published_crate_can_be_packaged() {
        let of = |readme: &str, all: bool, kind: &str, req: &str| {
            let docs = json!({ "docs": { "rs": { "all-features": all } } });
            let dependency = json!({ "name": "ws-core", "path": "/w/x", "kind": kind, "req": req });
            let metadata = json!({ "workspace_root": "/w", "packages": [{
                "name": "ws-events", "manifest_path": "/w/ws-events/Cargo.toml",
                "description": "a crate", "readme": readme, "metadata": docs, "publish": null,
                "targets": [{ "kind": ["lib"] }], "dependencies": [dependency],
            }]});
            complaints(&metadata, |_| LINTS.to_owned()).len()
        };
        assert_eq!(of("README.md", true, "dev", "*"), 0);
        assert_eq!(of("README.md", true, "normal", "^0.1"), 0);
        assert_eq!(of("../README.md", true, "dev", "*"), 1);
        assert_eq!(of("README.md", false, "dev", "*"), 1);
        assert_eq!(of("README.md", true, "dev", "^0.1"), 1);
    }

    #[test]
    fn a_manifest_has_a_description_and_the_lints() {
        let metadata = json!({ "workspace_root": "/w", "packages": [{
            "name": "ws-core", "manifest_path": "/w/ws-core/Cargo.toml", "dependencies": [],
            "publish": [],
        }]});
        let none = "[lints]\n[dependencies]\nworkspace = true\n";
        assert_eq!(complaints(&metadata, |_| none.to_owned()).len(), 2);
        assert_eq!(complaints(&metadata, |_| LINTS.to_owned()).len(), 1);
    }
}
