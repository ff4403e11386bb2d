//! How large is the public API of each crate, and is it within its caps?

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Crate;
use super::syntax::Visibility;
use super::tree::{Complaint, Tree};

/// The names at the root of a library and the public methods of its types, under all features.
///
/// All inherent `pub fn` are counted, also hidden ones. Trait methods and methods that a macro
/// generates are not.
pub(super) struct Api<'a> {
    pub(super) root: BTreeSet<&'a str>,
    pub(super) methods: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

pub(super) fn of<'a>(krate: &Crate<'a>) -> Api<'a> {
    let root: BTreeSet<&str> = krate.exports(0).into_iter().map(|(name, _)| name).collect();
    let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in &krate.modules {
        for item in module.items.iter().filter(|item| item.kind == "impl") {
            let (name, of_trait) = module.source.impl_of(item);
            if of_trait.is_none() {
                let items = module.source.items_in(item.body.clone());
                let public = items
                    .iter()
                    .filter(|it| it.kind == "fn" && it.visibility == Visibility::Public);
                methods.entry(name).or_default().extend(public.map(|it| it.name));
            }
        }
    }
    Api { root, methods }
}

/// No count is above its cap in [`CAPS`].
pub(super) fn caps(tree: &Tree<'_>) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (name, of_type, most, _) in CAPS {
        let Some(krate) = tree.library(name) else { continue };
        let api = of(krate);
        let count = match of_type {
            None => api.root.len(),
            Some(of_type) => api.counted(name, of_type).count(),
        };
        if count > *most {
            let what = match of_type {
                None => format!("`{name}` has {count} names at its root"),
                Some(of_type) => format!("`{of_type}` has {count} public methods"),
            };
            let message = format!("{what}; at most {most}");
            found.push(Complaint::new(&format!("{name}/src/lib.rs"), 1, message));
        }
    }
    found
}

impl<'a> Api<'a> {
    /// The public methods of a type, but for those that are bound.
    fn counted(&self, krate: &str, of_type: &str) -> impl Iterator<Item = &'a str> {
        let is_free = krate != "ws-events";
        let methods = self.methods.get(of_type).into_iter().flatten();
        methods.copied().filter(move |name| is_free || !BOUND.contains(name))
    }
}

/// Prints the API of each library.
pub(super) fn print(tree: &Tree<'_>) {
    for krate in tree.crates.iter().filter(|it| it.is_library && it.name.starts_with("ws-")) {
        let api = of(krate);
        let names: Vec<_> = api.root.iter().copied().collect();
        println!("{}: {} names at the root: {}", krate.name, names.len(), names.join(", "));
        for (name, methods) in api
            .methods
            .iter()
            .filter(|(name, methods)| !methods.is_empty() && api.root.contains(*name))
        {
            let cap = CAPS.iter().find(|cap| cap.0 == krate.name && cap.1 == Some(name));
            let counted = api.counted(krate.name, name).count();
            let cap = cap.map_or_else(String::new, |cap| {
                format!(" ({counted} of at most {} counted)", cap.2)
            });
            let names: Vec<_> = methods.iter().copied().collect();
            println!("  {name}: {} methods{cap}: {}", methods.len(), names.join(", "));
        }
    }
}

/// A library, one of its types or its root, how many methods or names it may have, and why.
const CAPS: &[(&str, Option<&str>, usize, &str)] = &[
    ("ws-core", None, 45, "a reader of the index has to see all of it at once"),
    ("ws-core", Some("Conn"), 40, "single frames and the tap are behind one accessor"),
    (
        "ws-events",
        Some("Hub"),
        34,
        "beside the bound names; four calls are about the nodes of a cluster",
    ),
    ("ws-events", Some("Socket"), 29, "beside the bound names"),
];

/// The calls that the hub has from gofiber's socketio. They are not counted.
const BOUND: &[&str] = &[
    "on",
    "emit",
    "emit_to",
    "emit_to_list",
    "broadcast",
    "fire",
    "close",
    "attributes",
    "id",
    "set_id",
];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    #[test]
    fn names_and_methods_are_counted() {
        let files = [
            (
                "ws-core/src/lib.rs",
                "pub mod m;\nmod b;\npub use b::{Conn, f as g};\npub use bytes::*;\npub fn h() {}",
            ),
            (
                "ws-core/src/b.rs",
                "pub struct Conn;\nimpl Conn { pub fn a() {} fn b() {} pub(crate) fn c() {}\n#[doc(hidden)] pub async fn d() {} }\nimpl Clone for Conn { fn e() {} }",
            ),
            (
                "ws-core/src/m.rs",
                "impl<T> super::Conn { pub const fn f() {} }\n#[cfg(test)]\nimpl Conn { pub fn g() {} }",
            ),
        ];
        plant(&files, |tree| {
            let api = of(tree.library("ws-core").unwrap());
            assert_eq!(api.root.iter().copied().collect::<Vec<_>>(), ["*", "Conn", "g", "h"]);
            assert_eq!(api.methods["Conn"], BTreeSet::from(["a", "d", "f"]));
        });
    }

    #[test]
    fn a_count_above_its_cap_is_found() {
        let of = |krate: &str, name: &str, count: usize, bound: &str| {
            let methods: String = (0..count).map(|at| format!("pub fn m{at}() {{}}\n")).collect();
            let text = format!("pub struct {name};\nimpl {name} {{ {methods} {bound} }}");
            plant(&[(&format!("{krate}/src/lib.rs"), &text)], |tree| caps(tree).len())
        };
        assert_eq!(of("ws-core", "Conn", 40, ""), 0);
        assert_eq!(of("ws-core", "Conn", 41, ""), 1);
        assert_eq!(of("ws-core", "Conn", 40, "pub fn close() {}"), 1);
        assert_eq!(of("ws-events", "Hub", 29, "pub fn on() {} pub fn emit_to() {}"), 0);
        assert_eq!(of("ws-events", "Socket", 30, ""), 1);
        let root = |count: usize| {
            let text: String = (0..count).map(|at| format!("pub struct T{at};\n")).collect();
            plant(&[("ws-core/src/lib.rs", &text)], |tree| caps(tree).len())
        };
        assert_eq!(root(45), 0);
        assert_eq!(root(46), 1);
    }
}
