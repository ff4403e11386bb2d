//! Are the promises kept that the compiler cannot keep?

mod engine;
mod lexer;
mod lists;
mod manifests;
mod source;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    path: String,
    line: usize,
    message: String,
}

impl Complaint {
    fn new(path: &str, line: usize, message: String) -> Self {
        Self { path: path.to_owned(), line, message }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A file of the repository, by its path from the root.
#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    fn complaint(&self, line: usize, message: &str) -> Complaint {
        Complaint::new(&self.path, line, message.to_owned())
    }
}

pub(crate) fn run() -> Result<()> {
    let complaints = complaints()?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    ensure!(complaints.is_empty(), "{} complaints", complaints.len());
    println!("tidy");
    Ok(())
}

/// Everything that is wrong with the repository, sorted by file.
fn complaints() -> Result<Vec<Complaint>> {
    let root = workspace::root();
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    let metadata = workspace::metadata()?;
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let mut found: Vec<Complaint> = rust
        .flat_map(|file| [source::complaints(file), engine::complaints(file)].concat())
        .chain(files.iter().flat_map(words::complaints))
        .chain(manifests::complaints(&metadata, |path| {
            fs::read_to_string(path).unwrap_or_default()
        }))
        .chain(lists::violations(&files))
        .chain(lists::cancel_safety(&files))
        .chain(lists::examples(&files))
        .chain(folders(&files))
        .collect();
    found.sort();
    Ok(found)
}

/// The folders at the top are fixed: what must be a crate of its own nests inside
/// the one that it serves.
fn folders(files: &[File]) -> Vec<Complaint> {
    let mut tops: Vec<&str> =
        files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    tops.sort_unstable();
    tops.dedup();
    tops.into_iter()
        .filter(|top| !top.starts_with('.') && !FOLDERS.contains(top))
        .map(|top| Complaint::new(top, 1, "no new folder at the top: nest it".to_owned()))
        .collect()
}

/// Reads the text files under `dir`, which is `prefix` from the root.
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
        } else if kind.is_file()
            // What is not text is not ours to judge.
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File::new(path, text));
        }
    }
    Ok(())
}

const FOLDERS: &[&str] = &[
    "ws-core",
    "ws-server-hyper",
    "ws-server-axum",
    "ws-server-warp",
    "ws-client",
    "ws-events",
    "examples",
    "xtask",
];

const HIDDEN_BUT_OURS: &[&str] = &[".cargo", ".ci", ".github"];

/// Folders that git ignores.
const GENERATED: &[&str] = &["target", "node_modules", "__pycache__", "corpus", "artifacts"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let complaints = complaints().unwrap();
        let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{} complaints:\n{}", lines.len(), lines.join("\n"));
    }

    #[test]
    fn the_folders_at_the_top_are_fixed() {
        let of = |path: &str| folders(&[File::new(path, "")]).len();
        assert_eq!(of("README.md"), 0);
        assert_eq!(of("ws-core/src/lib.rs"), 0);
        assert_eq!(of(".ci/run"), 0);
        assert_eq!(of("ws-surprise/src/lib.rs"), 1);
    }
}
