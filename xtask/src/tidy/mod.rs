//! Does the workspace keep the rules that the compiler does not check?

mod api;
mod book;
mod graph;
mod imports;
mod layers;
mod lists;
mod manifests;
mod markdown;
mod prose;
mod sans_io;
mod snapshot;
mod source;
mod syntax;
mod tree;
mod type_names;
mod words;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::syntax::Source;
use self::tree::{Complaint, File, Tree};
use crate::workspace;

/// A check: its name and its function.
type Check = (&'static str, fn(&Tree<'_>) -> Vec<Complaint>);

/// All checks. Their exceptions are constants in their modules, each with a reason:
/// `layers::EXCEPTIONS`, `type_names::EXCEPTIONS`, `prose::EXEMPT`, `api::CAPS`.
const CHECKS: &[Check] = &[
    ("api", api::caps),
    ("api-snapshot", snapshot::complaints),
    ("architecture", markdown::architecture),
    ("book", book::complaints),
    ("book-names", book::names),
    ("book-tests", book::tests),
    ("cancel-safety", lists::cancel_safety),
    ("crates", crates),
    ("cycles", layers::cycles),
    ("sans-io", sans_io::complaints),
    ("examples", lists::examples),
    ("exceptions", layers::exceptions),
    ("folder-cycles", layers::folder_cycles),
    ("folders", folders),
    ("layers", layers::layers),
    ("lengths", source::lengths),
    ("links", markdown::links),
    ("prose", prose::complaints),
    ("public-types", type_names::in_public),
    ("questions", source::questions),
    ("source", source::complaints),
    ("tests", lists::tests),
    ("types", type_names::in_crates),
    ("violations", lists::violations),
    ("words", words::complaints),
];

/// Runs all checks, and prints their complaints.
pub(crate) fn run() -> Result<()> {
    report(&complaints(CHECKS)?)?;
    println!("tidy");
    Ok(())
}

/// Prints complaints, and fails if there are any.
fn report(complaints: &[(&str, Complaint)]) -> Result<()> {
    for (name, complaint) in complaints {
        println!("{complaint} [{name}]");
    }
    ensure!(complaints.is_empty(), "{} complaints", complaints.len());
    Ok(())
}

/// What to do with the public API of each library.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// Write it to `xtask/api`.
    #[arg(long)]
    write: bool,
    /// Fail if it differs from that in `xtask/api`.
    #[arg(long, conflicts_with = "write")]
    check: bool,
}

/// Prints the public API of each library, as it is counted, or writes or checks its snapshot.
pub(crate) fn api(args: &ApiArgs) -> Result<()> {
    match args {
        ApiArgs { write: true, .. } => with_tree(snapshot::write)?,
        ApiArgs { check: true, .. } => {
            report(&complaints(&[("api-snapshot", snapshot::complaints)])?)
        }
        ApiArgs { .. } => with_tree(|tree| {
            api::print(tree);
            Ok(())
        })?,
    }
}

/// The complaints of these checks, sorted by file.
fn complaints(checks: &[Check]) -> Result<Vec<(&'static str, Complaint)>> {
    let mut found = with_tree(|tree| {
        let of = |(name, check): &Check| check(tree).into_iter().map(|it| (*name, it)).collect();
        checks.iter().flat_map::<Vec<_>, _>(of).collect::<Vec<_>>()
    })?;
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// Reads the workspace.
fn with_tree<T>(look: impl FnOnce(&Tree<'_>) -> T) -> Result<T> {
    let mut files = Vec::new();
    collect(workspace::root(), "", &mut files)?;
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let sources: Vec<_> = rust.map(Source::new).collect();
    Ok(look(&Tree::new(&files, &sources)))
}

/// Checks the manifests, from cargo's metadata.
fn crates(_: &Tree<'_>) -> Vec<Complaint> {
    match workspace::metadata() {
        Ok(metadata) => {
            let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
            manifests::complaints(&metadata, read)
        }
        Err(error) => vec![Complaint::new("Cargo.toml", 1, format!("{error:#}"))],
    }
}

/// The folders at the top are fixed. A crate that serves another is nested in it.
fn folders(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut tops: Vec<&str> =
        tree.files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    tops.sort_unstable();
    tops.dedup();
    tops.into_iter()
        .filter(|top| !top.starts_with('.') && *top != manifests::EXAMPLES)
        .filter(|top| !manifests::ARROWS.iter().any(|(known, _)| known == top))
        .map(|top| Complaint::new(top, 1, "a new folder at the top: nest it in a crate".to_owned()))
        .collect()
}

/// Reads the files under `dir`, which is `prefix` from the root. Binary files have no text.
fn collect(dir: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry.context("cannot list a folder")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().context("cannot tell a file from a folder")?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name.as_str());
            if !hidden && !GENERATED.contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if kind.is_file() {
            files.push(File::new(path, fs::read_to_string(entry.path()).unwrap_or_default()));
        }
    }
    Ok(())
}

const HIDDEN_BUT_OURS: &[&str] = &[".cargo", ".ci", ".github"];

/// Folders that git ignores.
const GENERATED: &[&str] = &["target", "node_modules", "__pycache__", "corpus", "artifacts"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let complaints = complaints(CHECKS).unwrap();
        let lines: Vec<_> = complaints.iter().map(|(name, it)| format!("{it} [{name}]")).collect();
        assert!(lines.is_empty(), "{} complaints:\n{}", lines.len(), lines.join("\n"));
    }

    #[test]
    fn the_folders_at_the_top_are_fixed() {
        let of = |path| tree::plant(&[(path, "")], folders).len();
        assert_eq!(of("README.md"), 0);
        assert_eq!(of("ws-core/src/lib.rs"), 0);
        assert_eq!(of(".ci/run"), 0);
        assert_eq!(of("ws-surprise/src/lib.rs"), 1);
    }
}
