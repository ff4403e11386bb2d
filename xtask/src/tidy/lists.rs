//! Does every list in the tests and documents name all that it must name?

use std::collections::BTreeMap;

use super::graph::{Crate, Module};
use super::syntax::{Item, Source, Visibility};
use super::tree::{Complaint, Tree};

/// Each variant of `ProtocolError` has a row in the table of violations.
pub(super) fn violations(tree: &Tree<'_>) -> Vec<Complaint> {
    let Some((module, errors)) = find(tree.library(CORE), "ProtocolError") else {
        return Vec::new();
    };
    let Some(table) = tree.source(VIOLATIONS) else {
        return vec![Complaint::new(VIOLATIONS, 1, "this table is missing".to_owned())];
    };
    variants(module.source, errors)
        .into_iter()
        .filter(|variant| !table.has_word(variant))
        .map(|variant| table.file.complaint(1, &format!("`ProtocolError::{variant}` has no row")))
        .collect()
}

/// Each public future in the folder of `Conn` is in the list of the cancellation test, and the
/// test calls it.
pub(super) fn cancel_safety(tree: &Tree<'_>) -> Vec<Complaint> {
    let Some(krate) = tree.library(CORE) else { return Vec::new() };
    let Some((conn, _)) = find(Some(krate), "Conn") else { return Vec::new() };
    let modules = || krate.modules.iter().filter(|module| module.path.starts_with(&conn.path));
    let types: Vec<&str> = modules().flat_map(future_types).collect();
    let mut futures = BTreeMap::new();
    for module in modules() {
        for item in public_futures(module, &types) {
            futures.insert(item.name, (module.source.file, item.line));
        }
    }
    let Some(test) = tree.source(CANCEL_SAFETY) else {
        return vec![Complaint::new(CANCEL_SAFETY, 1, "this test is missing".to_owned())];
    };
    let Some((line, covered)) = covered(test) else {
        let message = "the test needs a list `const COVERED: &[&str] = &[…]` of public futures";
        return vec![test.file.complaint(1, message)];
    };
    let missing =
        futures.iter().filter(|(name, _)| !covered.contains(name)).map(|(name, (file, line))| {
            file.complaint(*line, &format!("`{name}` is not in the list of {CANCEL_SAFETY}"))
        });
    let strange = covered.iter().filter(|name| !futures.contains_key(*name)).map(|name| {
        test.file.complaint(line, &format!("`{name}` is listed but is no public future"))
    });
    let idle = covered
        .iter()
        .filter(|name| futures.contains_key(*name) && !test.has_word(name))
        .map(|name| test.file.complaint(line, &format!("`{name}` is listed but never called")));
    missing.chain(strange).chain(idle).collect()
}

/// Each example is in the list of examples.
pub(super) fn examples(tree: &Tree<'_>) -> Vec<Complaint> {
    let readme = tree.files.iter().find(|file| file.path == "examples/README.md");
    let readme = readme.map_or("", |file| &file.text);
    let is_listed = |name: &str| {
        [format!("`{name}`"), format!("--example {name}"), format!("{name}.rs")]
            .iter()
            .any(|mention| readme.contains(mention))
    };
    let examples = tree.crates.iter().filter(|krate| !krate.is_library);
    examples
        .filter_map(|krate| {
            let name = krate.name.strip_prefix("examples/")?.rsplit('/').next()?;
            let file = krate.modules.first()?.source.file;
            let message = format!("example `{name}` is not in examples/README.md");
            (!is_listed(name)).then(|| file.complaint(1, &message))
        })
        .collect()
}

/// Each file of tests belongs to a program: it is a module of `suite.rs`, or a target.
pub(super) fn tests(tree: &Tree<'_>) -> Vec<Complaint> {
    let text = |path: &str| tree.files.iter().find(|file| file.path == path).map(|it| &*it.text);
    let is_lost = |path: &str| {
        let (folder, name) = path.rsplit_once('/')?;
        let (krate, name) = (folder.strip_suffix("/tests")?, name.strip_suffix(".rs")?);
        let suite = text(&format!("{folder}/suite.rs"))?;
        let manifest = text(&format!("{krate}/Cargo.toml")).unwrap_or_default();
        let is_module = suite.contains(&format!("\nmod {name};"));
        Some(!is_module && !manifest.contains(&format!("[[test]]\nname = \"{name}\"\n")))
    };
    let lost = tree.files.iter().filter(|file| is_lost(&file.path) == Some(true));
    let message = "no program runs this file: name it in suite.rs, or as a `[[test]]`";
    lost.map(|file| file.complaint(1, message)).collect()
}

/// Where a type is declared.
fn find<'t, 'a>(
    krate: Option<&'t Crate<'a>>,
    name: &str,
) -> Option<(&'t Module<'a>, &'t Item<'a>)> {
    krate?
        .modules
        .iter()
        .find_map(|module| Some((module, module.types().find(|item| item.name == name)?)))
}

fn variants<'a>(source: &Source<'a>, item: &Item<'a>) -> Vec<&'a str> {
    let mut variants = Vec::new();
    let mut at = item.body.start;
    while at < item.body.end {
        if source.text(at) == "#" {
            at = source.close(at + 1) + 1;
            continue;
        }
        variants.push(source.text(at));
        while at < item.body.end && source.text(at) != "," {
            at = source.close(at) + 1;
        }
        at += 1;
    }
    variants
}

/// The types with an `impl Future for` or `impl IntoFuture for`.
fn future_types<'a>(module: &Module<'a>) -> Vec<&'a str> {
    let impls = module.items.iter().filter(|item| item.kind == "impl");
    impls
        .filter_map(|item| match module.source.impl_of(item) {
            (name, Some(of)) if of.ends_with("Future") => Some(name),
            _ => None,
        })
        .collect()
}

/// The public functions that are `async` or return a future.
fn public_futures<'a>(module: &Module<'a>, types: &[&str]) -> Vec<Item<'a>> {
    let source = module.source;
    let inner = module.items.iter().filter(|item| item.kind == "impl");
    let inner = inner.flat_map(|item| source.items_in(item.body.clone()));
    let all = module.items.iter().cloned().chain(inner);
    all.filter(|item| item.kind == "fn" && item.visibility == Visibility::Public)
        .filter(|item| {
            let is_async =
                (item.attributes.end..item.header.start).any(|at| source.text(at) == "async");
            let mut returned = returned(source, item);
            is_async
                || returned
                    .any(|text| matches!(text, "Future" | "BoxFuture") || types.contains(&text))
        })
        .collect()
}

/// The tokens of the return type of a function.
fn returned<'s, 'a>(source: &'s Source<'a>, item: &Item<'a>) -> impl Iterator<Item = &'a str> + 's {
    let mut depth = 0_i32;
    let mut at = item.header.start;
    // The arrow of a bound is in angle brackets: `F: Fn() -> u8`.
    while at < item.header.end && !(depth == 0 && matches!(source.text(at), "->" | "where")) {
        depth += match source.text(at) {
            "<" => 1,
            ">" => -1,
            _ => 0,
        };
        at = source.close(at) + 1;
    }
    (at..item.header.end).map(|at| source.text(at)).take_while(|text| *text != "where")
}

/// The strings of `const COVERED: &[&str] = &[…];`, and its line.
fn covered<'a>(source: &Source<'a>) -> Option<(usize, Vec<&'a str>)> {
    let start = source.tokens.iter().position(|token| token.text == "COVERED")?;
    let list = source.tokens.iter().skip(start).take_while(|token| token.text != ";");
    let names = list.filter_map(|token| token.text.strip_prefix('"')?.strip_suffix('"'));
    Some((source.line(start), names.collect()))
}

const CORE: &str = "ws-core";
const VIOLATIONS: &str = "ws-core/tests/violations.rs";
const CANCEL_SAFETY: &str = "ws-core/tests/cancel_safety.rs";

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    const ERRORS: &str = "
        pub enum Error { Other }
        /// A rule.
        #[derive(Clone, Debug)]
        pub enum ProtocolError {
            /// One, Two.
            #[error(\"a, b\")]
            ReservedBits,
            CloseCode(u16, Vec<u8>),
            #[non_exhaustive]
            Large { limit: usize, setting: Limit },
            Last
        }
        impl ProtocolError { fn a() { Self::Wrong } }
    ";

    #[test]
    fn variants_are_read_from_the_enum_itself() {
        plant(&[("ws-core/src/lib.rs", ERRORS)], |tree| {
            let of = |name| {
                let (module, item) = find(tree.library(CORE), name)?;
                Some(variants(module.source, item))
            };
            assert_eq!(
                of("ProtocolError").unwrap(),
                ["ReservedBits", "CloseCode", "Large", "Last"]
            );
            assert_eq!(of("Error").unwrap(), ["Other"]);
            assert!(of("Absent").is_none());
        });
    }

    #[test]
    fn every_protocol_error_has_a_row() {
        let errors = ("ws-core/src/lib.rs", ERRORS);
        assert_eq!(plant(&[errors], violations).len(), 1, "the table is missing");
        let table = "[(ReservedBits, b\"\"), (CloseCode(5), b\"\"), (Last, b\"Large\")]";
        let found = plant(&[errors, (VIOLATIONS, table)], violations);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("Large"));
    }

    const CONN: &str = "
        pub struct Conn;
        impl Conn {
            pub async fn read(&self) -> Result<Message, Error> {}
            pub(crate) async fn hidden(&self) {}
            async fn private(&self) {}
            pub fn close_read(&self) -> CloseRead {}
            pub fn closed(&self) -> impl Future<Output = ()> + use<> {}
            pub fn id(&self) -> u64 {}
            pub fn hook(&self, f: impl Fn() -> BoxFuture<'static, ()>) {}
            pub fn generic<F: Fn() -> CloseRead>(&self, f: F) where F: Sized {}
            pub fn wrap(&self, future: impl Future) -> u64 {}
        }
        impl Future for CloseRead {}
        #[cfg(test)]
        mod tests { pub async fn test() {} }
    ";

    const ROOT: (&str, &str) = ("ws-core/src/lib.rs", "mod conn;\npub async fn elsewhere() {}");
    const CONN_FILE: (&str, &str) = ("ws-core/src/conn/mod.rs", CONN);

    /// The list of the test → the names that are complained about.
    #[track_caller]
    fn check(test: &str, expected: &[&str]) {
        let found = plant(&[ROOT, CONN_FILE, (CANCEL_SAFETY, test)], cancel_safety);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for name in expected {
            assert!(found.iter().any(|it| it.message.contains(name)), "{name}: {found:?}");
        }
    }

    #[test]
    fn each_file_of_tests_belongs_to_a_program() {
        let files = [
            ("ws-core/Cargo.toml", "[[test]]\nname = \"suite\"\n\n[[test]]\nname = \"alone\"\n"),
            ("ws-core/tests/suite.rs", "mod support;\n\nmod close;\n"),
            ("ws-core/tests/support/mod.rs", ""),
            ("ws-core/tests/close.rs", ""),
            ("ws-core/tests/alone.rs", ""),
            ("ws-core/tests/lost.rs", ""),
            ("ws-server-warp/tests/routes.rs", ""),
        ];
        let found = plant(&files, tests);
        let paths: Vec<_> = found.iter().map(|it| it.to_string()).collect();
        assert!(
            matches!(&paths[..], [lost] if lost.contains("ws-core/tests/lost.rs")),
            "{paths:?}"
        );
    }

    #[test]
    fn the_list_of_cancelled_futures_is_the_public_api() {
        let calls = "fn a() { c.read(); c.close_read(); c.closed(); }";
        let with = |list: &str| format!("const COVERED: &[&str] = &[{list}];\n{calls}");
        check(&with("\"read\", \"close_read\", \"closed\""), &[]);
        check(&with("\"read\", \"close_read\""), &["closed"]);
        check(&with("\"read\", \"close_read\", \"closed\", \"hidden\", \"id\""), &["hidden", "id"]);
        let idle = "const COVERED: &[&str] = &[\"read\", \"close_read\", \"closed\"];\n\
                    fn a() { c.read(); c.closed(); }";
        check(idle, &["close_read"]);
        check("fn a() {}", &["COVERED"]);
    }

    #[test]
    fn the_cancellation_test_must_exist_where_conn_exists() {
        assert!(plant(&[ROOT], cancel_safety).is_empty());
        assert_eq!(plant(&[ROOT, CONN_FILE], cancel_safety).len(), 1);
    }

    #[test]
    fn every_example_is_listed() {
        let readme = ("examples/README.md", "`echo` and `cargo run --example dial`");
        let of = |paths: &[&str]| {
            let files: Vec<_> = paths.iter().map(|path| (*path, "//! What?\n")).collect();
            plant(&[&[readme], files.as_slice()].concat(), examples).len()
        };
        assert_eq!(of(&["examples/echo.rs", "examples/examples/dial.rs"]), 0);
        assert_eq!(of(&["examples/chat.rs", "examples/src/bin/room/main.rs"]), 2);
        assert_eq!(
            of(&["examples/support/mod.rs", "examples/src/lib.rs", "examples/tests/x.rs"]),
            0
        );
    }
}
