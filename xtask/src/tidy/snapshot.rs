//! What is the public API of each library, as text, and is it the one in the repository?
//!
//! `cargo xtask api --write` writes a file for each library, so a change of the API shows in the
//! diff. It is read from the sources: for what a macro generates, the call of the macro is shown.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use anyhow::{Context, Result};

use super::graph::{Crate, Module, Target};
use super::syntax::{Item, Source, Visibility};
use super::tree::{Complaint, Tree};
use crate::workspace;

/// The folder of the files.
const FOLDER: &str = "xtask/api";

/// The libraries that are not published have no API.
const UNPUBLISHED: [&str; 2] = ["ws-client/wasm", "ws-core/fuzz"];

/// The file of each library has the present API.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    let stored = |path: &str| tree.files.iter().find(|file| file.path == path);
    let changed = |(path, text): (String, String)| {
        let old = stored(&path).map_or("", |file| &file.text);
        if old == text {
            return None;
        }
        let line = old.lines().zip(text.lines()).take_while(|(old, new)| old == new).count() + 1;
        let new = text.lines().nth(line - 1).unwrap_or("its end");
        let message = format!("the API differs: `{new}`; review it by `cargo xtask api --write`");
        Some(Complaint::new(&path, line, message))
    };
    snapshots(tree).filter_map(changed).collect()
}

/// Writes the files.
pub(super) fn write(tree: &Tree<'_>) -> Result<()> {
    for (path, text) in snapshots(tree) {
        let file = workspace::root().join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {FOLDER}"))?;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The path and the text of each file.
fn snapshots(tree: &Tree<'_>) -> impl Iterator<Item = (String, String)> {
    let is_ours = |it: &&Crate<'_>| it.is_library && it.name.starts_with("ws-");
    let is_published = |it: &&Crate<'_>| !UNPUBLISHED.contains(&it.name);
    let ours = tree.crates.iter().filter(is_ours).filter(is_published);
    ours.map(|krate| (format!("{FOLDER}/{}.txt", krate.name.replace('/', "-")), text_of(krate)))
}

/// The public paths, and then the items that they name, with their methods.
fn text_of(krate: &Crate<'_>) -> String {
    let mut paths = BTreeSet::new();
    let mut declared = BTreeSet::new();
    for (path, index) in krate.public_modules() {
        let Some(module) = krate.modules.get(index) else { continue };
        let attributes: String = module.attributes.split_inclusive(']').map(kept).collect();
        let path = path.join("::");
        paths.insert(format!("mod {path} {attributes}").trim_end().to_owned());
        for (name, target) in krate.exports(index) {
            paths.insert(format!("{path}::{name}"));
            if let Some(Target::Item(of)) = target {
                declared.insert((name, of));
            }
        }
    }
    let mut lines: Vec<_> = paths.into_iter().collect();
    for (name, of) in &declared {
        let Some(module) = krate.modules.get(*of) else { continue };
        // The next word after `impl` may be the same name.
        let is_it = |item: &&Item<'_>| item.name == *name && item.kind != "impl";
        for item in module.items.iter().filter(is_it) {
            lines.push(String::new());
            lines.extend(lines_of(krate, module, item));
        }
    }
    let mut calls: Vec<_> = krate.modules.iter().flat_map(macro_calls).collect();
    calls.sort();
    lines.push(String::new());
    lines.extend(calls);
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// An item, its parts, and the methods and the traits of a type.
fn lines_of(krate: &Crate<'_>, module: &Module<'_>, item: &Item<'_>) -> Vec<String> {
    let source = module.source;
    let mut lines = vec![signature(source, item)];
    let mut parts = match item.kind {
        "struct" => fields(source, item.body.clone()),
        "enum" => variants(source, item.body.clone()),
        "trait" => {
            source.items_in(item.body.clone()).iter().map(|it| signature(source, it)).collect()
        }
        _ => Vec::new(),
    };
    let mut methods = Vec::new();
    for module in &krate.modules {
        for of_impl in module.items.iter().filter(|it| it.kind == "impl") {
            let (name, of_trait) = module.source.impl_of(of_impl);
            if name != item.name || matches!(item.kind, "fn" | "mod" | "macro_rules") {
                continue;
            }
            if of_trait.is_some() {
                methods.push(signature(module.source, of_impl));
                continue;
            }
            let around = attributes(module.source, of_impl);
            let items = module.source.items_in(of_impl.body.clone());
            let public = items.iter().filter(|it| it.visibility == Visibility::Public);
            methods.extend(public.map(|it| around.clone() + &signature(module.source, it)));
        }
    }
    methods.sort();
    parts.extend(methods);
    lines.extend(parts.iter().map(|part| format!("    {part}")));
    lines
}

/// The calls of macros in a module, which may generate items.
fn macro_calls(module: &Module<'_>) -> Vec<String> {
    let source = module.source;
    let calls = module.items.iter().filter(|it| source.text(it.header.start + 1) == "!");
    calls
        .filter(|it| it.kind != "macro_rules")
        .map(|it| render(source, it.header.start..it.body.end.max(it.header.end)))
        .map(|call| match call.split_once(" {") {
            // The texts of errors are not API.
            Some((name, _)) if name.starts_with("impl_error!") => format!("{name})"),
            _ => call,
        })
        .collect()
}

/// An item without its body.
fn signature(source: &Source<'_>, item: &Item<'_>) -> String {
    let mut header = item.header.clone();
    let mut rest = String::new();
    // The private fields of a tuple are not shown. The value of a constant is not its type.
    if item.kind == "struct"
        && let Some(open) = top_level(source, header.clone()).find(|at| source.text(*at) == "(")
    {
        rest = format!("({})", fields(source, open + 1..source.close(open)).join(", "));
        header.end = open;
    }
    if matches!(item.kind, "const" | "static")
        && let Some(equals) = top_level(source, header.clone()).find(|at| source.text(*at) == "=")
    {
        header.end = equals;
    }
    // From the qualifiers on: `pub const fn`.
    let start = item.attributes.end;
    attributes(source, item) + &render(source, start..header.end) + &rest
}

/// The indices of the tokens outside of brackets.
fn top_level(source: &Source<'_>, range: Range<usize>) -> impl Iterator<Item = usize> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let now = (at < range.end).then_some(at)?;
        at = source.close(at) + 1;
        Some(now)
    })
}

/// The parts of a list, without the commas.
fn parts(source: &Source<'_>, range: Range<usize>) -> Vec<Range<usize>> {
    let (mut found, mut start, mut depth) = (Vec::new(), range.start, 0_i32);
    for at in top_level(source, range.clone()) {
        match source.text(at) {
            "<" => depth += 1,
            ">" => depth -= 1,
            "," if depth == 0 => {
                found.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(start..range.end);
    found.retain(|part| !part.is_empty());
    found
}

/// The public fields, and `..` for the private ones.
fn fields(source: &Source<'_>, range: Range<usize>) -> Vec<String> {
    let mut found = Vec::new();
    let mut has_private = false;
    for part in parts(source, range) {
        let start = after_attributes(source, part.clone());
        match (source.text(start), source.text(start + 1)) {
            ("pub", next) if next != "(" => found.push(render(source, start..part.end)),
            _ => has_private = true,
        }
    }
    found.extend(has_private.then(|| "..".to_owned()));
    found
}

fn variants(source: &Source<'_>, range: Range<usize>) -> Vec<String> {
    let variant = |part: Range<usize>| {
        let start = after_attributes(source, part.clone());
        kept_of(source, part.start..start) + &render(source, start..part.end)
    };
    parts(source, range).into_iter().map(variant).collect()
}

fn after_attributes(source: &Source<'_>, range: Range<usize>) -> usize {
    let mut at = range.start;
    while source.text(at) == "#" && at < range.end {
        at = source.close(at + 1) + 1;
    }
    at
}

/// The attributes of an item that belong to its API.
fn attributes(source: &Source<'_>, item: &Item<'_>) -> String {
    kept_of(source, item.attributes.clone())
}

fn kept_of(source: &Source<'_>, range: Range<usize>) -> String {
    let mut found = String::new();
    let mut at = range.start;
    while at < range.end {
        let end = source.close(at + 1) + 1;
        found += &kept(&render(source, at..end));
        at = end;
    }
    found
}

/// An attribute as text, with a space behind it, if it belongs to the API.
fn kept(attribute: &str) -> String {
    let known = ["#[cfg(", "#[derive(", "#[non_exhaustive", "#[must_use", "#[deprecated"];
    let is_kept = known.iter().any(|start| attribute.starts_with(start));
    if is_kept { format!("{attribute} ") } else { String::new() }
}

/// Tokens as text on one line, independent of how the source is wrapped.
fn render(source: &Source<'_>, range: Range<usize>) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | '#');
    let mut text = String::new();
    let mut at = range.start;
    while at < range.end {
        let token = source.text(at);
        let ends_list = at + 1 == range.end || matches!(source.text(at + 1), ")" | "]" | "}" | ">");
        if token == "," && ends_list {
            at += 1;
            continue;
        }
        let between_words = text.ends_with(is_word)
            && !text.ends_with('\'')
            && token.starts_with(is_word)
            && !text.ends_with("#");
        let is_spaced = |mark: &str| matches!(mark, "->" | "=" | "+" | "|" | "{" | "}" | "where");
        let after = [",", ":", ";", "->", "=", "+", "|", "{"];
        let follows = after.iter().any(|mark| text.ends_with(mark)) && !text.ends_with("::");
        if !text.is_empty() && (between_words || is_spaced(token) || follows) {
            text.push(' ');
        }
        text.push_str(token);
        at += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tree::{File, plant};
    use super::*;

    #[test]
    fn public_items_and_their_parts_are_shown() {
        let text = "#[derive(Debug)]\n#[doc = \"x\"]\npub struct A<'a, T: B> { pub a: &'a T, b: u8 }\n\
                    pub struct C(pub u8, u16);\n#[non_exhaustive] pub enum E { F, G(u8), H { i: u8 } }\n\
                    impl<T: B> A<'_, T> { pub const fn f(\n    &mut self,\n    x: u8,\n) -> u8 { 1 } fn g() {} }\n\
                    impl Clone for C { fn clone(&self) -> Self { C(1, 2) } }\n\
                    #[cfg(feature = \"z\")]\npub const D: &str = \"no\";\nstruct Private;\n\
                    pub trait B { type X; fn y(&self) { } }\nm!(C);";
        plant(&[("ws-core/src/lib.rs", text)], |tree| {
            let (path, text) = snapshots(tree).next().unwrap();
            assert_eq!(path, "xtask/api/ws-core.txt");
            let expected = "::A\n::B\n::C\n::D\n::E\nmod\n\n\
                #[derive(Debug)] pub struct A<'a, T: B>\n    pub a: &'a T\n    ..\n    \
                pub const fn f(&mut self, x: u8) -> u8\n\n\
                pub trait B\n    type X\n    fn y(&self)\n\n\
                pub struct C(pub u8, ..)\n    impl Clone for C\n\n\
                #[cfg(feature = \"z\")] pub const D: &str\n\n\
                #[non_exhaustive] pub enum E\n    F\n    G(u8)\n    H { i: u8 }\n\nm!(C)\n";
            assert_eq!(text, expected);
        });
    }

    #[test]
    fn a_crate_in_the_folder_of_another_has_a_file() {
        let crates = ["ws-events/redis/src/lib.rs", "ws-core/fuzz/src/lib.rs"];
        plant(&crates.map(|path| (path, "pub struct A;")), |tree| {
            let paths: Vec<_> = snapshots(tree).map(|(path, _)| path).collect();
            assert_eq!(paths, ["xtask/api/ws-events-redis.txt"]);
        });
    }

    #[test]
    fn a_change_is_found() {
        let of = |stored: &str| {
            let files =
                [("ws-core/src/lib.rs", "pub struct A;"), ("xtask/api/ws-core.txt", stored)];
            let files: Vec<_> = files.iter().map(|(path, text)| File::new(*path, *text)).collect();
            let sources = [Source::new(files.first().unwrap())];
            complaints(&Tree::new(&files, &sources)).len()
        };
        assert_eq!(of("::A\nmod\n\npub struct A\n"), 0);
        assert_eq!(of("::A\nmod\n\npub struct A(u8)\n"), 1);
        assert_eq!(of(""), 1);
    }
}
