//! Is each chapter of the book in its table of contents, is its code compiled, and do the methods
//! and tests exist that it names?

use std::collections::{BTreeMap, BTreeSet};

use super::markdown;
use super::tree::{Complaint, File, Tree, relative};

/// Complains about chapters that are not in `SUMMARY.md` or not in `lib.rs`, about links that
/// leave the book, and about code that is neither compiled nor marked as that of others.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    let text = |path: &str| tree.files.iter().find(|file| file.path == path).map(|it| &*it.text);
    let summary = text(SUMMARY).unwrap_or_default();
    let compiled = text(COMPILED).unwrap_or_default();
    let links = markdown::links_of(&markdown::lines(summary));
    let listed: Vec<_> =
        links.iter().filter_map(|link| markdown::resolve(SUMMARY, link.target)).collect();
    let chapters = tree.files.iter().filter(|file| is_chapter(&file.path));
    let of_chapter = |chapter: &File| {
        let mut found = Vec::new();
        if !listed.contains(&chapter.path) {
            found.push(chapter.complaint(1, "this chapter is not in SUMMARY.md"));
        }
        let name = chapter.path.strip_prefix("docs/").unwrap_or(&chapter.path);
        if !compiled.contains(&format!("\"{name}\"")) {
            found.push(chapter.complaint(1, "docs/lib.rs does not compile this chapter"));
        }
        for link in markdown::links_of(&markdown::lines(&chapter.text)) {
            let path = markdown::resolve(&chapter.path, link.target);
            if path.is_some_and(|path| !path.is_empty() && !path.starts_with(SOURCE)) {
                found.push(chapter.complaint(link.line, "this link leaves the book"));
            }
        }
        found.extend(fences(chapter));
        found.extend(includes(tree, chapter));
        found
    };
    chapters.flat_map(of_chapter).collect()
}

/// Complains about code blocks with a language that is not in [`FENCES`].
fn fences(chapter: &File) -> Vec<Complaint> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (at, line) in chapter.text.lines().enumerate() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        in_code ^= true;
        if in_code && !FENCES.contains(&language) {
            let message = format!("`{language}` is not a language of the book: {FENCES:?}");
            found.push(chapter.complaint(at + 1, &message));
        }
    }
    found
}

/// Complains about included files or anchors that do not exist, for which mdBook only prints a
/// warning, and about code with our crates that is marked `rs`, and included from no file.
fn includes(tree: &Tree<'_>, chapter: &File) -> Vec<Complaint> {
    let mut is_foreign = false;
    let mut found = Vec::new();
    for (at, line) in chapter.text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_foreign = language == "rs";
        } else if is_foreign && OURS.iter().any(|name| line.contains(name)) {
            found.push(chapter.complaint(at + 1, "include this code from a file, or compile it"));
        }
        let Some(included) = line.strip_prefix("{{#include ") else { continue };
        let included = included.trim_end_matches('}');
        let (path, anchor) = match included.split_once(':') {
            Some((path, anchor)) => (path, format!("ANCHOR: {anchor}")),
            None => (included, String::new()),
        };
        let path = relative(&chapter.path, path);
        let mut files = tree.files.iter().filter(|file| file.path == path);
        if !files.any(|file| file.text.lines().any(|line| line.ends_with(&anchor))) {
            found.push(chapter.complaint(at + 1, &format!("there is no `{included}`")));
        }
    }
    found
}

/// Each `Type::name` of one of our types in the book, in a guide or in the README of a crate is a
/// method, a variant or a field in the snapshot of the API.
pub(super) fn names(tree: &Tree<'_>) -> Vec<Complaint> {
    let members = members(tree);
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| is_guide(&file.path) || is_about_us(&file.path)) {
        for (number, line) in markdown::lines(&file.text) {
            // The first column of a guide names the calls of another library.
            let is_row = is_guide(&file.path) && line.starts_with('|');
            let ours = if is_row { line.splitn(3, '|').nth(2).unwrap_or_default() } else { line };
            for code in ours.split('`').skip(1).step_by(2) {
                let Some((of, name)) = member(code) else { continue };
                let is_constant = !name.contains(char::is_lowercase);
                let Some(names) = members.get(of).filter(|_| !is_constant) else {
                    continue;
                };
                // `derive` makes that one.
                if name != "clone" && !names.contains(name) {
                    found.push(file.complaint(number, &format!("there is no `{of}::{name}`")));
                }
            }
        }
    }
    found
}

/// Each row of a table with the last column `tested by` names tests there, which exist.
pub(super) fn tests(tree: &Tree<'_>) -> Vec<Complaint> {
    let is_declared = |name: &str| {
        let declaration = format!("fn {name}(");
        let mut tests = tree.files.iter().filter(|file| file.path.contains("/tests/"));
        tests.any(|file| file.path.ends_with(".rs") && file.text.contains(&declaration))
    };
    let mut found = Vec::new();
    for chapter in tree.files.iter().filter(|file| is_chapter(&file.path)) {
        let mut is_tested = false;
        for (number, line) in markdown::lines(&chapter.text) {
            let cells = line.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
            let Some(last) = cells.and_then(|row| row.rsplit('|').next()).map(str::trim) else {
                is_tested = false;
                continue;
            };
            if last == "tested by" {
                is_tested = true;
            } else if is_tested && !last.starts_with("---") {
                let names: Vec<_> = last.split('`').skip(1).step_by(2).collect();
                if names.is_empty() {
                    found.push(chapter.complaint(number, "this row names no test"));
                }
                for name in names.into_iter().filter(|name| !is_declared(name)) {
                    found.push(chapter.complaint(number, &format!("there is no test `{name}`")));
                }
            }
        }
    }
    found
}

/// The type and the name of `Type::name(…)`, or of a call by the usual name of a variable.
fn member(code: &str) -> Option<(&str, &str)> {
    let of_variable = VARIABLES.iter().find_map(|(variable, of)| {
        let name = code.strip_prefix(variable)?.strip_prefix('.')?;
        Some((*of, name))
    });
    let (of, name) = of_variable.or_else(|| code.split_once("::"))?;
    Some((of, name.split(|c: char| !c.is_alphanumeric() && c != '_').next()?))
}

/// Variables in the book, and their types.
const VARIABLES: &[(&str, &str)] = &[("conn", "Conn"), ("hub", "Hub"), ("message", "Message")];

fn is_chapter(path: &str) -> bool {
    path.starts_with(SOURCE) && path.ends_with(".md") && path != SUMMARY
}

fn is_guide(path: &str) -> bool {
    path.starts_with("docs/src/moving/") || GUIDES.contains(&path)
}

fn is_about_us(path: &str) -> bool {
    path.starts_with(SOURCE) || path.starts_with("ws-") && path.ends_with("/README.md")
}

/// The methods, variants and fields of each public type, from the snapshots of the API.
fn members<'a>(tree: &Tree<'a>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut of = "";
    let words = |line: &'a str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
    };
    let snapshots = tree.files.iter().filter(|file| file.path.starts_with("xtask/api/"));
    for line in snapshots.flat_map(|file| file.text.lines()) {
        let after = |keywords: &[&str]| {
            let mut words = words(line).skip_while(|word| !keywords.contains(word));
            words.nth(1)
        };
        if line.starts_with("on!") {
            // The macro makes methods of a hub.
            members.entry("Hub").or_default().extend(words(line));
        } else if !line.starts_with(' ') {
            of = after(&["struct", "enum", "trait", "type"]).unwrap_or_default();
        } else {
            let member = after(&["fn"])
                .or_else(|| words(line).find(|word| !["non_exhaustive", "pub"].contains(word)));
            members.entry(of).or_default().extend(member);
        }
    }
    members
}

/// Guides in the folders of crates, which the book includes.
const GUIDES: &[&str] =
    &["ws-core/COMING_FROM_GO.md", "ws-core/FROM_TUNGSTENITE.md", "ws-server-axum/MOVING.md"];

/// The start of the names of our crates.
const OURS: &[&str] = &["ws_client", "ws_core", "ws_events", "ws_server_"];

const SOURCE: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";
const COMPILED: &str = "docs/lib.rs";

/// What a code block may be. `rs` is Rust code that shows another library, or that is included from
/// a file that is compiled: rustdoc does not know this name, and mdBook does.
const FENCES: &[&str] = &[
    "rust",
    "rust,no_run",
    "diff",
    "dockerfile",
    "go",
    "html",
    "ini",
    "js",
    "json",
    "nginx",
    "rs",
    "sh",
    "text",
    "toml",
    "yaml",
];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// A chapter in a book of two → a word of each complaint.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let files = [
            (SUMMARY, "# Summary\n- [A](a.md)\n- [B](more/b.md)"),
            (COMPILED, "chapters! { a \"src/a.md\" b \"src/more/b.md\" }"),
            (path, text),
        ];
        let found = plant(&files, complaints);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, word) in found.iter().zip(expected) {
            assert!(complaint.message.contains(word), "{complaint}");
        }
    }

    #[test]
    fn chapters_are_listed_and_compiled_and_link_within_the_book() {
        check("docs/src/a.md", "[b](more/b.md#x) [c](#d) [e](https://f.example)", &[]);
        check("docs/src/more/b.md", "[a](../a.md)", &[]);
        check("docs/src/c.md", "# C", &["SUMMARY.md", "docs/lib.rs"]);
        check("docs/src/a.md", "[readme](../../README.md)", &["leaves"]);
        check("docs/README.md", "[readme](../README.md)", &[]);
    }

    #[test]
    fn included_files_exist_and_code_with_our_crates_is_compiled() {
        check("docs/src/more/b.md", "```rs\n{{#include ../SUMMARY.md}}\n```\nuse ws_client", &[]);
        check("docs/src/a.md", "{{#include more/c.md}}", &["there is no `more/c.md`"]);
        check("docs/src/a.md", "{{#include SUMMARY.md:part}}", &["SUMMARY.md:part"]);
        check("docs/src/a.md", "// ANCHOR: part\n{{#include a.md:part}}", &[]);
        check("docs/src/a.md", "```rs\nuse ws_client::Dial;\n```", &["include this code"]);
    }

    #[test]
    fn methods_that_are_named_exist() {
        let api = "::Config\n\n#[derive(Clone)] pub struct Config\n    ..\n    \
                   pub const fn new() -> Self\n    pub limits: Limits\n\n\
                   pub enum Error\n    Closed(CloseError)\n    #[non_exhaustive] Full { a: u8 }\n\
                   on! { on_open Open }\n";
        let of = |path, text| plant(&[("xtask/api/ws-core.txt", api), (path, text)], names).len();
        assert_eq!(of("docs/src/a.md", "`Config::new()`, `Config::limits`, `Hub::on_open`"), 0);
        assert_eq!(of("docs/src/a.md", "`Error::Closed(close)`, `Other::x`, `Config::MAX`"), 0);
        assert_eq!(of("docs/src/a.md", "`Error::Full`, `hub.on_open(x)`, `other.x()`"), 0);
        assert_eq!(of("docs/src/a.md", "`hub.open(x)`"), 1);
        assert_eq!(of("docs/src/a.md", "`Config::old` and `Error::Open`"), 2);
        assert_eq!(of("ws-core/README.md", "| `Config::old` |"), 1);
        assert_eq!(of("docs/src/moving/x.md", "| `Error::Theirs` | `Config::new` |"), 0);
        assert_eq!(of("docs/src/moving/x.md", "| `theirs` | `Config::old` |"), 1);
    }

    #[test]
    fn tests_that_a_table_names_exist() {
        let code = "async fn it_holds(over: Over) {}";
        let of = |text: &str| {
            let text = format!("| what | tested by |\n| --- | --- |\n{text}\n");
            let files = [("a/tests/b.rs", code), ("a/src/c.rs", "fn other() {}")];
            plant(&[files[0], files[1], ("docs/src/a.md", &text)], tests).len()
        };
        assert_eq!(of("| a | `it_holds` |\n| b | `it_holds`, `it_holds` |"), 0);
        assert_eq!(of("| a | `it_holds`, `it_hold` |\n| b | `other` |\n| c | none |"), 3);
        assert_eq!(of("| `a` | `it_holds` |\n\n| b | c |\n| --- | --- |\n| d | `e` |"), 0);
    }

    #[test]
    fn code_is_compiled_or_of_another_language() {
        check("docs/src/a.md", "```rust,no_run\nlet a;\n```\n```rs\n```\n", &[]);
        check("docs/src/a.md", "```rust,should_panic\n```\n```\ntext\n```\n", &["should", "``"]);
    }
}
