//! Is each chapter of the book in its table of contents, and is its code compiled?

use super::markdown;
use super::tree::{Complaint, File, Tree};

/// Complains about chapters that are not in `SUMMARY.md` or not in `lib.rs`, about links that
/// leave the book, and about code that is neither compiled nor marked as that of others.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    let text = |path: &str| tree.files.iter().find(|file| file.path == path).map(|it| &*it.text);
    let summary = text(SUMMARY).unwrap_or_default();
    let compiled = text(COMPILED).unwrap_or_default();
    let links = markdown::links_of(&markdown::lines(summary));
    let listed: Vec<_> =
        links.iter().filter_map(|link| markdown::resolve(SUMMARY, link.target)).collect();
    let chapters = tree.files.iter().filter(|file| {
        file.path.starts_with(SOURCE) && file.path.ends_with(".md") && file.path != SUMMARY
    });
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

const SOURCE: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";
const COMPILED: &str = "docs/lib.rs";

/// What a code block may be. `rs` is Rust code that shows another library: rustdoc does not know
/// this name, and mdBook does.
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
    fn code_is_compiled_or_of_another_language() {
        check("docs/src/a.md", "```rust,no_run\nlet a;\n```\n```rs\n```\n", &[]);
        check("docs/src/a.md", "```rust,should_panic\n```\n```\ntext\n```\n", &["should", "``"]);
    }
}
