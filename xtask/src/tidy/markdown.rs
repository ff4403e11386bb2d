//! Do the documents link to files and functions that exist, and keep to their form?

use std::collections::BTreeSet;

use super::syntax::Source;
use super::tree::{self, Complaint, File, Tree};

/// A link, `[text](target)`, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link<'a> {
    text: &'a str,
    pub(super) target: &'a str,
    pub(super) line: usize,
}

/// A section of a document, down to the next heading of its level.
#[derive(Debug)]
struct Section<'a> {
    title: &'a str,
    /// The line of the heading.
    line: usize,
    lines: Vec<(usize, &'a str)>,
}

/// Each relative link leads to a file or a folder, its anchor to a heading, and each link of the
/// form `` [`name`](path.rs) `` to a file that declares the name.
pub(super) fn links(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut paths = BTreeSet::new();
    for file in tree.files {
        let mut path = file.path.as_str();
        while paths.insert(path)
            && let Some((folder, _)) = path.rsplit_once('/')
        {
            path = folder;
        }
    }
    let mut found = Vec::new();
    for file in documents(tree) {
        for link in links_of(&lines(&file.text)) {
            let Some(path) = resolve(&file.path, link.target) else { continue };
            let wrong = if !path.is_empty() && !paths.contains(path.as_str()) {
                format!("there is no `{path}`")
            } else if let Some(name) = function(&link)
                && let Some(source) = tree.source(&path)
                && !declares(source, name)
            {
                format!("`{path}` does not declare `{name}`")
            } else if let Some((_, anchor)) = link.target.split_once('#')
                && let Some(text) = text_of(tree, if path.is_empty() { &file.path } else { &path })
                && !anchors(text).contains(anchor)
            {
                format!("there is no heading `#{anchor}`")
            } else {
                continue;
            };
            found.push(file.complaint(link.line, &wrong));
        }
    }
    found
}

/// `ARCHITECTURE.md` has its walkthroughs, a glossary and invariants, within their bounds.
pub(super) fn architecture(tree: &Tree<'_>) -> Vec<Complaint> {
    let Some(file) = tree.files.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return Vec::new();
    };
    let sections = sections(&file.text);
    let walkthrough = |section: &Section<'_>, most: usize| {
        let links = links_of(&section.lines);
        let paths = links.iter().filter_map(|link| resolve(&file.path, link.target));
        let files: BTreeSet<_> = paths.filter(|path| path.ends_with(".rs")).collect();
        let too_many = (files.len() > most).then(|| {
            let names = files.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("{} files; at most {most}: {names}", files.len())
        });
        let no_function = !links.iter().any(|link| function(link).is_some());
        let no_function =
            no_function.then(|| "link to the functions: [`name`](path.rs)".to_owned());
        too_many.into_iter().chain(no_function).map(|it| (section.line, it)).collect()
    };
    let glossary = |section: &Section<'_>| {
        // The head and the line below it are no entries.
        let rows = section.lines.iter().filter(|(_, line)| line.starts_with('|')).count();
        let entries = rows.saturating_sub(2);
        let message = format!("{entries} entries in the table; 1 to {MAX_GLOSSARY}");
        if (1..=MAX_GLOSSARY).contains(&entries) { vec![] } else { vec![(section.line, message)] }
    };
    let invariants = |section: &Section<'_>| {
        let items = numbered(&section.lines);
        if items.is_empty() {
            return vec![(section.line, "there is no numbered invariant".to_owned())];
        }
        let untested = items
            .iter()
            .filter(|item| !links_of(item).iter().any(|link| is_test(tree, &file.path, link)));
        let lines = untested.filter_map(|item| item.first());
        lines.map(|(line, _)| (*line, "link to a test: [`name`](path.rs)".to_owned())).collect()
    };
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut check = |title: &str, word: &str, of: &dyn Fn(&Section<'_>) -> Vec<(usize, String)>| {
        let is_it = |it: &&Section<'_>| it.title.starts_with(title) && it.title.contains(word);
        match sections.iter().find(is_it) {
            Some(section) => found.extend(of(section)),
            None => found.push((1, format!("there is no section `{title}{word}`"))),
        }
    };
    for (word, most) in WALKTHROUGHS {
        check("Walkthrough", word, &|section| walkthrough(section, *most));
    }
    check("Glossary", "", &glossary);
    check("Invariants", "", &invariants);
    found.into_iter().map(|(line, message)| file.complaint(line, &message)).collect()
}

/// The text of a document.
fn text_of<'a>(tree: &Tree<'a>, path: &str) -> Option<&'a str> {
    let mut found = documents(tree).filter(|file| file.path == path);
    found.next().map(|file| file.text.as_str())
}

/// The anchors of the headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for section in sections(text) {
        let kept = section.title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let anchor = anchor.to_lowercase();
        // A repeated heading gets a number.
        let mut numbered = (1..).map(|number| format!("{anchor}-{number}"));
        if !found.insert(anchor.clone()) {
            found.extend(numbered.find(|it| !found.contains(it)));
        }
    }
    found
}

fn documents<'a>(tree: &Tree<'a>) -> impl Iterator<Item = &'a File> {
    tree.files.iter().filter(|file| file.path.ends_with(".md"))
}

/// The lines outside of code blocks, with their numbers.
pub(super) fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered
        .filter(|(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            in_code ^= is_fence;
            !in_code && !is_fence
        })
        .collect()
}

pub(super) fn links_of<'a>(lines: &[(usize, &'a str)]) -> Vec<Link<'a>> {
    let mut found = Vec::new();
    for (line, text) in lines {
        let mut rest = *text;
        while let Some((before, after)) = rest.split_once("](") {
            let target = after.split([')', ' ']).next().unwrap_or_default();
            let text = before.rsplit_once('[').map_or(before, |(_, text)| text);
            found.push(Link { text, target, line: *line });
            rest = after;
        }
        // `[text]: target`
        if let Some((text, target)) = text.strip_prefix('[').and_then(|it| it.split_once("]: ")) {
            found.push(Link { text, target: target.trim(), line: *line });
        }
    }
    found
}

/// The path from the root that a relative link leads to; empty for the file itself.
pub(super) fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    if target.contains(':') {
        return None;
    }
    if target.is_empty() {
        return Some(String::new());
    }
    Some(tree::relative(from, target))
}

/// The name that a link to a Rust file is for: `` [`Reader::poll()`](path.rs) ``.
fn function<'a>(link: &Link<'a>) -> Option<&'a str> {
    let name = link.text.strip_prefix('`')?.strip_suffix('`')?;
    let name = name.strip_suffix("()").unwrap_or(name);
    let is_name = name
        .split("::")
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_'));
    let path = link.target.split('#').next().unwrap_or_default();
    (is_name && path.ends_with(".rs")).then_some(name)
}

/// Whether a file declares an item of this name; of `A::b`, it declares `b` and names `A`.
fn declares(source: &Source<'_>, name: &str) -> bool {
    let mut parts = name.rsplit("::");
    let last = parts.next().unwrap_or(name);
    let mut enums = 0..0;
    let declared = (0..source.tokens.len()).any(|at| {
        let is_variant = enums.contains(&at) && source.text(at) == last;
        if source.text(at) == "enum" {
            let open = (at..source.tokens.len()).find(|at| source.text(*at) == "{");
            enums = open.map_or(0..0, |open| open..source.close(open));
        }
        let next = at + if source.text(at + 1) == "!" { 2 } else { 1 };
        is_variant || DECLARE.contains(&source.text(at)) && source.text(next) == last
    });
    declared && parts.all(|part| source.has_word(part))
}

fn is_test(tree: &Tree<'_>, from: &str, link: &Link<'_>) -> bool {
    let Some((path, name)) = resolve(from, link.target).zip(function(link)) else { return false };
    let Some(source) = tree.source(&path) else { return false };
    let mut found = source.find(&["fn", name]).into_iter();
    found.any(|line| path.contains("/tests/") || source.is_test(line))
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let lines = lines(text);
    let level = |line: &str| {
        let level = line.chars().take_while(|c| *c == '#').count();
        if line.get(level..).is_some_and(|rest| rest.starts_with(' ')) { level } else { 0 }
    };
    let headings = lines.iter().enumerate().filter(|(_, (_, line))| level(line) > 0);
    headings
        .map(|(at, (number, heading))| {
            let own = level(heading);
            let below = lines.iter().skip(at + 1);
            let below = below.take_while(|(_, line)| level(line) == 0 || level(line) > own);
            Section {
                title: heading.trim_start_matches('#').trim(),
                line: *number,
                lines: below.copied().collect(),
            }
        })
        .collect()
}

/// The items of a numbered list, each with the lines that go on with it.
fn numbered<'a>(lines: &[(usize, &'a str)]) -> Vec<Vec<(usize, &'a str)>> {
    let mut items: Vec<Vec<_>> = Vec::new();
    for (number, line) in lines {
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        if digits.len() < line.len() && digits.starts_with(". ") {
            items.push(Vec::new());
        } else if !line.starts_with(' ') {
            continue;
        }
        if let Some(item) = items.last_mut() {
            item.push((*number, *line));
        }
    }
    items
}

/// A word in the title of each walkthrough, and the number of files that it may link to.
const WALKTHROUGHS: &[(&str, usize)] = &[("incoming", 8), ("outgoing", 8), ("emit", 9)];

const MAX_GLOSSARY: usize = 40;

/// The keywords in front of a name that is declared.
const DECLARE: &[&str] =
    &["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod", "macro_rules"];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    const CODE: (&str, &str) = (
        "a/src/b.rs",
        "struct Reader;\nimpl Reader { fn poll() {} }\nenum E { One, Two }\n\
         #[cfg(test)]\nmod tests { #[test]\nfn it_holds() {} }",
    );

    /// A document → a part of each complaint.
    #[track_caller]
    fn check(check: fn(&Tree<'_>) -> Vec<Complaint>, path: &str, text: &str, expected: &[&str]) {
        let found = plant(&[CODE, ("a/tests/c.rs", "fn promise() {}"), (path, text)], check);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (complaint, word) in found.iter().zip(expected) {
            assert!(complaint.message.contains(word), "{complaint}");
        }
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        check(
            links,
            "README.md",
            "# E\n[a](a/src/b.rs#L3), [b](a/src/) [c](https://x.y/z) [d](#e)",
            &[],
        );
        check(links, "a/README.md", "[a](src/b.rs) [b](../a) [c](../README.md)", &["`README.md`"]);
        check(links, "README.md", "[a](a/src/x.rs)\n\n[b]: a/y", &["a/src/x.rs", "a/y"]);
        check(links, "README.md", "```text\n[a](a/src/x.rs)\n```\n", &[]);
    }

    #[test]
    fn anchors_lead_to_headings() {
        let headings = "# `a::b`, and C\n## Twice\n## Twice\n```sh\n# no heading\n```\n";
        let of = |anchor: &str, expected: &[&str]| {
            check(links, "README.md", &format!("{headings}[x](#{anchor})"), expected);
        };
        for good in ["ab-and-c", "twice", "twice-1"] {
            of(good, &[]);
            check(links, "README.md", &format!("{headings}[x](README.md#{good})"), &[]);
        }
        for bad in ["ab", "twice-2", "no-heading"] {
            of(bad, &["no heading"]);
        }
    }

    #[test]
    fn links_to_functions_lead_to_their_declarations() {
        for good in ["Reader::poll", "Reader::poll()", "poll", "E::Two", "Reader", "it_holds"] {
            check(links, "README.md", &format!("[`{good}`](a/src/b.rs#L1)"), &[]);
        }
        for bad in ["Reader::read", "Writer::poll", "E::Three"] {
            check(links, "README.md", &format!("[`{bad}`](a/src/b.rs)"), &["does not declare"]);
        }
        check(links, "README.md", "[`src/b.rs`](a/src/b.rs) [read](a/src/b.rs)", &[]);
    }

    fn document(walkthrough: &str, glossary: usize, invariant: &str) -> String {
        let link = "[`poll`](a/src/b.rs)";
        format!(
            "## Walkthroughs\n### Walkthrough: an incoming message\n{walkthrough}\n\
             ### Walkthrough: an outgoing message\n{link}\n### Walkthrough: an emit\n{link}\n\
             ## Invariants\n1. {invariant}\n2. B,\n   [`promise`](a/tests/c.rs).\n\
             ## Glossary\n\n| term | meaning |\n| --- | --- |\n{}",
            "| a | b |\n".repeat(glossary)
        )
    }

    #[test]
    fn the_architecture_keeps_to_its_form() {
        let link = "[`poll`](a/src/b.rs)";
        let test = "A [`it_holds`](a/src/b.rs)";
        let check = |text: &str, expected: &[&str]| {
            check(architecture, "ARCHITECTURE.md", text, expected);
        };
        let files = |count: usize| {
            (0..count).map(|at| format!("[`f`](a/{at}.rs) [`g`](a/{at}.rs)\n")).collect::<String>()
        };
        check(&document(link, 40, test), &[]);
        check(&document(&files(8), 1, test), &[]);
        check(&document(&files(9), 1, test), &["9 files; at most 8"]);
        check(&document("[file](a/src/b.rs)", 1, test), &["link to the functions"]);
        check(&document(link, 41, test), &["41 entries"]);
        check(&document(link, 1, "A [`poll`](a/src/b.rs)"), &["link to a test"]);
        check(&document(link, 1, "A [`gone`](a/tests/c.rs)"), &["link to a test"]);
        check("# A", &["incoming", "outgoing", "emit", "Glossary", "Invariants"]);
    }
}
