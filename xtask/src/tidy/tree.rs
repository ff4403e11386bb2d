//! What do the checks look at, and what is a complaint?

use std::collections::BTreeMap;
use std::fmt;

use super::graph::Crate;
use super::syntax::Source;

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Complaint {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) message: String,
}

impl Complaint {
    pub(super) fn new(path: &str, line: usize, message: String) -> Self {
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
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(super) fn complaint(&self, line: usize, message: &str) -> Complaint {
        Complaint::new(&self.path, line, message.to_owned())
    }
}

/// All that the checks look at.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) files: &'a [File],
    pub(super) sources: &'a [Source<'a>],
    pub(super) crates: Vec<Crate<'a>>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(files: &'a [File], sources: &'a [Source<'a>]) -> Self {
        let by_path: BTreeMap<&str, &Source<'_>> =
            sources.iter().map(|source| (source.file.path.as_str(), source)).collect();
        let crates = sources.iter().filter_map(|source| Crate::new(source, &by_path)).collect();
        Self { files, sources, crates }
    }

    pub(super) fn source(&self, path: &str) -> Option<&'a Source<'a>> {
        self.sources.iter().find(|source| source.file.path == path)
    }

    pub(super) fn library(&self, name: &str) -> Option<&Crate<'a>> {
        self.crates.iter().find(|it| it.is_library && it.name == name)
    }
}

/// The path from the root of `target`, a relative path in the file `from`.
pub(super) fn relative(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Builds a tree of planted files: a path and a text each.
#[cfg(test)]
pub(super) fn plant<T>(files: &[(&str, &str)], test: impl FnOnce(&Tree<'_>) -> T) -> T {
    let files: Vec<_> = files.iter().map(|(path, text)| File::new(*path, *text)).collect();
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let sources: Vec<_> = rust.map(Source::new).collect();
    test(&Tree::new(&files, &sources))
}
