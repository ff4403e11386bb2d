//! Which module of a crate imports which, and where do imports form cycles?

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::graph::{Crate, Target};
use super::syntax::Visibility;

/// One import of a module by another of the same crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: usize,
}

/// The first import of each module by each other, in files. Inline modules belong to their file.
pub(super) fn edges(krate: &Crate<'_>) -> Vec<Edge> {
    let mut found: Vec<Edge> = Vec::new();
    for (index, module) in krate.modules.iter().enumerate() {
        let mut edge = |target: Option<Target>, line| {
            if let Some(Target::Item(to)) = target
                && let Some(to) = krate.modules.get(to).map(|to| to.file)
                && to != module.file
            {
                found.push(Edge { from: module.file, to, line });
            }
        };
        for (import, how) in &module.imports {
            // A re-export is an import where the module itself uses the name.
            if *how == Visibility::Private || module.uses(import.name) {
                edge(krate.resolve(index, &import.path), import.line);
            }
        }
        for range in module.code() {
            paths(krate, index, range, &mut edge);
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|edge| (edge.from, edge.to));
    found
}

/// The paths in a body: `crate::a::b`, `super::c`, `a_module::d`, and names from globs.
fn paths(
    krate: &Crate<'_>,
    index: usize,
    range: Range<usize>,
    edge: &mut dyn FnMut(Option<Target>, usize),
) {
    let Some(module) = krate.modules.get(index) else { return };
    let source = module.source;
    let has_globs = module.imports.iter().any(|(import, _)| import.name == "*");
    let mut at = range.start;
    while at < range.end {
        let [before, earlier] =
            [1, 2].map(|back| at.checked_sub(back).map_or("", |at| source.text(at)));
        if !source.is_word(at) || matches!(before, "::" | "." | "'") {
            at += 1;
        } else if source.text(at) == "use" && source.text(at + 1) != "<" {
            for import in source.imports(at) {
                edge(krate.resolve(index, &import.path), import.line);
            }
            while source.text(at) != ";" && at < range.end {
                at += 1;
            }
        } else if source.text(at + 1) == "::" && source.is_word(at + 2) {
            let start = at;
            let mut path = vec![source.text(at)];
            while source.text(at + 1) == "::" && source.is_word(at + 2) {
                at += 2;
                path.push(source.text(at));
            }
            let first = krate.resolve(index, path.get(..1).unwrap_or_default());
            if (earlier, before) != ("(", "in") && matches!(first, Some(Target::Module(_))) {
                edge(krate.resolve(index, &path), source.line(start));
            } else if has_globs {
                edge(first, source.line(start));
            }
            at += 1;
        } else {
            if has_globs && !module.declares(source.text(at)) {
                edge(krate.resolve(index, &[source.text(at)]), source.line(at));
            }
            at += 1;
        }
    }
}

/// The groups of nodes that reach each other by edges.
pub(super) fn cycles<N: Copy + Ord>(edges: impl IntoIterator<Item = (N, N)>) -> Vec<Vec<N>> {
    let mut reached: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    for (from, to) in edges {
        reached.entry(from).or_default().insert(to);
    }
    for (via, _) in reached.clone() {
        let beyond = reached.get(&via).cloned().unwrap_or_default();
        reached.values_mut().filter(|to| to.contains(&via)).for_each(|to| to.extend(&beyond));
    }
    let cycles = reached.iter().map(|(from, to)| {
        let back = |to: &&N| reached.get(to).is_some_and(|it| it.contains(from));
        to.iter().filter(back).copied().collect::<Vec<_>>()
    });
    let cycles: BTreeSet<_> = cycles.filter(|cycle| cycle.len() > 1).collect();
    cycles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// The files of a crate `a` → its imports, as `from > to`.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("a/src/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        plant(&files, |tree| {
            let it = tree.library("a").unwrap();
            let name = |edge: &Edge| format!("{} > {}", it.name_of(edge.from), it.name_of(edge.to));
            let mut found: Vec<_> = edges(it).iter().map(name).collect();
            found.sort();
            assert_eq!(found, expected);
        });
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod b; mod c; mod d;\npub use c::C;");
    const FOLDER: (&str, &str) = ("c/mod.rs", "mod e; pub(crate) mod f;\npub use e::C;");
    const LEAF: (&str, &str) = ("c/e.rs", "pub struct C;");
    const OTHER: (&str, &str) = ("c/f.rs", "pub(crate) fn f() {}");

    #[test]
    fn imports_are_followed_to_the_module_that_declares() {
        let with = |b| [ROOT, FOLDER, LEAF, OTHER, ("b.rs", b), ("d.rs", "")];
        check(&with("use crate::C;"), &["b > c/e"]);
        check(&with("use crate::c::{f, C as D};"), &["b > c/e"]);
        check(&with("use crate::c::f;\nfn x() { f::f() }"), &["b > c/f"]);
        check(&with("use super::c::{self, f::f};"), &["b > c/f"]);
        check(&with("fn x() { y!(crate::c::C::new()) }"), &["b > c/e"]);
        check(&with("fn x(c: super::c::f::G) {}"), &["b > c/f"]);
        check(&with("fn x() { use crate::{c::{C}}; }"), &["b > c/e"]);
        check(&with("use crate::c::*;\nfn x(c: C) { f::f() }"), &["b > c/e", "b > c/f"]);
        check(&with("#[cfg(unix)]\nuse crate::c::C;"), &["b > c/e"]);
        check(&with("fn x() { for y in crate::c::C {} }"), &["b > c/e"]);
        check(&with("impl super::C { fn a() -> impl Fn() + use<> {} }"), &["b > c/e"]);
    }

    #[test]
    fn other_crates_tests_comments_and_strings_are_no_imports() {
        let with = |b| [ROOT, FOLDER, LEAF, OTHER, ("b.rs", b), ("d.rs", "")];
        check(&with("use c::C;\nuse ::d::D;\nfn x() { std::c::e() }"), &[]);
        check(&with("/// [`crate::C`]\nconst X: &str = \"crate::C\";"), &[]);
        check(&with("#[cfg(test)]\nmod tests { use crate::C; fn x(c: crate::C) {} }"), &[]);
        check(&with("pub(in crate::c) fn x(c: x::c::C) { self.c::<C>() }"), &[]);
        check(
            &[
                ("lib.rs", "#[cfg(test)]\nmod b; mod c;"),
                ("b.rs", "use crate::c::C;"),
                ("c.rs", "pub struct C;"),
            ],
            &[],
        );
    }

    #[test]
    fn a_reexport_is_an_import_where_its_name_is_used() {
        let with = |c| [("lib.rs", "mod c;"), ("c/mod.rs", c), ("c/e.rs", "pub struct C;")];
        check(&with("mod e;\npub use e::C;"), &[]);
        check(&with("mod e;\npub use e::C;\nfn x(c: C) {}"), &["c > c/e"]);
    }

    #[test]
    fn inline_modules_belong_to_their_file() {
        let with = |b| [("lib.rs", "mod b; mod c;"), ("b.rs", b), ("c.rs", "pub struct C;")];
        check(&with("mod x { use super::super::c::C; use super::Y; }\nstruct Y;"), &["b > c"]);
        check(&with("mod x { pub use crate::c::C; }\nfn y(c: x::C) {}"), &["b > c"]);
    }

    #[test]
    fn cycles_are_groups_of_modules() {
        let of = |edges: &[(usize, usize)]| cycles(edges.iter().copied());
        assert!(of(&[(1, 2), (2, 3), (1, 3)]).is_empty());
        assert_eq!(
            of(&[(1, 2), (2, 1), (2, 3), (4, 5), (5, 6), (6, 4)]),
            [vec![1, 2], vec![4, 5, 6]]
        );
    }
}
