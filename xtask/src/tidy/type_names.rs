//! Is each type name declared once per crate, and each public one once in the workspace?

use std::collections::BTreeMap;

use super::graph::{Crate, TYPES, Target};
use super::tree::{Complaint, Tree};

/// A crate declares a type name once.
pub(super) fn in_crates(tree: &Tree<'_>) -> Vec<Complaint> {
    tree.crates.iter().flat_map(in_crate).collect()
}

fn in_crate(krate: &Crate<'_>) -> Vec<Complaint> {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for module in &krate.modules {
        for item in module.types() {
            let own = module.source.join(item.attributes.clone());
            if is_twin(&(module.attributes.clone() + &own), &module.path) {
                continue;
            }
            let here = format!("{}:{}", module.source.file.path, item.line);
            if let Some(first) = seen.get(item.name)
                && !is_exception(krate.name, item.name)
            {
                let message = format!("`{}` is declared in {first}, too", item.name);
                found.push(module.source.file.complaint(item.line, &message));
            }
            seen.entry(item.name).or_insert(here);
        }
    }
    found
}

/// The libraries that are published export a type name once, whatever declares it.
pub(super) fn in_public(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut seen: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    let mut found = Vec::new();
    for krate in tree.crates.iter().filter(|krate| is_published(krate)) {
        for (_, module) in krate.public_modules() {
            for (name, target) in krate.exports(module) {
                let Some(Target::Item(declared)) = target else { continue };
                let Some(module) = krate.modules.get(declared) else { continue };
                let Some(item) = module
                    .items
                    .iter()
                    .find(|item| item.name == name && TYPES.contains(&item.kind))
                else {
                    continue;
                };
                let first = *seen.entry(name).or_insert((krate.name, declared));
                if first != (krate.name, declared)
                    && !is_twin(&module.attributes, &module.path)
                    && !is_exception(krate.name, name)
                {
                    let message = format!("`{name}` is a public type of `{}`, too", first.0);
                    let complaint = module.source.file.complaint(item.line, &message);
                    if !found.contains(&complaint) {
                        found.push(complaint);
                    }
                }
            }
        }
    }
    found
}

fn is_published(krate: &Crate<'_>) -> bool {
    krate.is_library && krate.name.starts_with("ws-") && !krate.name.ends_with("/fuzz")
}

/// Whether a type may have the name of another: it replaces the other on another processor, or
/// does the same in a module for callers that block.
fn is_twin(attributes: &str, path: &[&str]) -> bool {
    attributes.contains("target_arch") || path.contains(&"blocking")
}

fn is_exception(krate: &str, name: &str) -> bool {
    EXCEPTIONS.iter().any(|(of, which, _)| *of == krate && *which == name)
}

/// A crate, a type name that it may declare once more, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("ws-core", "ConnMetrics", "one for each state of the feature `metrics`"),
    ("ws-core", "Deflater", "one for each state of the feature `deflate`"),
    ("ws-core", "Inflater", "one for each state of the feature `deflate`"),
    ("ws-core", "KeptRequest", "one for each state of the feature `server`"),
];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// Files → the complaints about them.
    #[track_caller]
    fn check(check: fn(&Tree<'_>) -> Vec<Complaint>, files: &[(&str, &str)], expected: &[&str]) {
        let found: Vec<_> = plant(files, check).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_crate_declares_a_type_name_once() {
        let of = |text, expected: &[&str]| {
            let files = [("a/src/lib.rs", "mod b;\nstruct Taken;"), ("a/src/b.rs", text)];
            check(in_crates, &files, expected);
        };
        let wrong = &["a/src/b.rs:1: `Taken` is declared in a/src/lib.rs:2, too"];
        of("struct Free;", &[]);
        of("enum Taken {}", wrong);
        of("pub(crate) trait Taken {}", wrong);
        of("type Taken = u8;", wrong);
        of("mod inner { struct Taken; }", wrong);
        of("impl Iterator for X { type Taken = u8; }", &[]);
        of("#[cfg(test)]\nmod tests { struct Taken; }", &[]);
        of("fn a() { struct Taken; }", &[]);
        of("#[cfg(target_arch = \"x86_64\")]\nstruct Taken;", &[]);
        of("pub mod blocking { pub struct Taken; }", &[]);
    }

    #[test]
    fn programs_and_examples_are_crates_of_their_own() {
        let files = [
            ("a/src/lib.rs", "struct A;"),
            ("a/src/main.rs", "struct A;"),
            ("a/src/bin/b.rs", "struct A;"),
            ("examples/c.rs", "struct A;"),
            ("a/tests/d.rs", "struct A; struct A;"),
        ];
        check(in_crates, &files, &[]);
    }

    #[test]
    fn a_public_type_name_is_of_one_crate() {
        let of = |text, expected: &[&str]| {
            let files = [
                ("ws-a/src/lib.rs", "mod b;\npub use b::B;\npub struct A;"),
                ("ws-a/src/b.rs", "pub struct B;\npub struct Hidden;"),
                ("ws-c/src/lib.rs", text),
                ("ws-c/src/d.rs", "pub struct B;"),
            ];
            check(in_public, &files, expected);
        };
        of("mod d;\nstruct A;\npub struct Hidden;", &[]);
        of("pub use ws_a::{A, B};", &[]);
        of("pub struct A;", &["ws-c/src/lib.rs:1: `A` is a public type of `ws-a`, too"]);
        of("mod d;\npub use d::B;", &["ws-c/src/d.rs:1: `B` is a public type of `ws-a`, too"]);
        of("pub mod d;", &["ws-c/src/d.rs:1: `B` is a public type of `ws-a`, too"]);
        of("mod d;\npub use d::*;", &["ws-c/src/d.rs:1: `B` is a public type of `ws-a`, too"]);
        of("mod blocking { pub struct A; }\npub use blocking::A;", &[]);
    }
}
