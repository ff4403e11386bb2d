//! Is every thing of a kind in the list that must name it?

use std::collections::BTreeMap;

use super::lexer::{Kind, Source, Token, lex};
use super::{Complaint, File};

/// Every rule that a peer can break has a row in the table of violations.
pub(super) fn violations(files: &[File]) -> Vec<Complaint> {
    let Some(errors) = file(files, "ws-core/src/error.rs") else { return Vec::new() };
    let Some(table) = file(files, VIOLATIONS) else {
        return vec![Complaint::new(VIOLATIONS, 1, "this table is missing".to_owned())];
    };
    let named = lex(&table.text);
    let missing = variants(&Source::new(&errors.text).code, "ProtocolError")
        .into_iter()
        .filter(|variant| {
            !named.iter().any(|token| token.kind == Kind::Word && token.text == *variant)
        })
        .map(|variant| table.complaint(1, &format!("`ProtocolError::{variant}` has no row")));
    missing.collect()
}

/// Every public future of a connection is in the list of the cancellation test,
/// and the test calls it.
pub(super) fn cancel_safety(files: &[File]) -> Vec<Complaint> {
    let places = ["ws-core/src/conn/", "ws-core/src/handler/accept.rs"];
    let is_conn = |file: &&File| places.iter().any(|place| file.path.starts_with(place));
    let conn: Vec<&File> = files.iter().filter(is_conn).collect();
    if conn.is_empty() {
        return Vec::new();
    }
    let sources: Vec<_> = conn.iter().map(|file| Source::new(&file.text).outside_tests()).collect();
    let types: Vec<&str> = sources.iter().flat_map(|code| future_types(code)).collect();
    let mut futures = BTreeMap::new();
    for (file, code) in conn.iter().zip(&sources) {
        for (name, line) in public_futures(code, &types) {
            futures.insert(name, (*file, line));
        }
    }
    let Some(test) = file(files, CANCEL_SAFETY) else {
        return vec![Complaint::new(CANCEL_SAFETY, 1, "this test is missing".to_owned())];
    };
    let code = Source::new(&test.text).code;
    let Some((line, covered)) = covered(&code) else {
        let message = "the test needs a list `const COVERED: &[&str] = &[…]` of public futures";
        return vec![test.complaint(1, message)];
    };
    let missing =
        futures.iter().filter(|(name, _)| !covered.contains(name)).map(|(name, (file, line))| {
            file.complaint(*line, &format!("`{name}` is not in the list of {CANCEL_SAFETY}"))
        });
    let strange = covered
        .iter()
        .filter(|name| !futures.contains_key(*name))
        .map(|name| test.complaint(line, &format!("`{name}` is listed, and is no public future")));
    let is_called =
        |name: &str| code.iter().any(|token| token.kind == Kind::Word && token.text == name);
    let idle = covered
        .iter()
        .filter(|name| futures.contains_key(*name) && !is_called(name))
        .map(|name| test.complaint(line, &format!("`{name}` is listed, and never called")));
    missing.chain(strange).chain(idle).collect()
}

/// Every example is in the list of examples.
pub(super) fn examples(files: &[File]) -> Vec<Complaint> {
    let readme = file(files, "examples/README.md").map_or("", |file| &file.text);
    let is_listed = |name: &str| {
        [format!("`{name}`"), format!("--example {name}"), format!("{name}.rs")]
            .iter()
            .any(|mention| readme.contains(mention))
    };
    files
        .iter()
        .filter_map(|file| Some((file, example(&file.path)?)))
        .filter(|(_, name)| !is_listed(name))
        .map(|(file, name)| {
            file.complaint(1, &format!("example `{name}` is not in examples/README.md"))
        })
        .collect()
}

fn file<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.iter().find(|file| file.path == path)
}

/// The name of the example that a file is, if it is one.
fn example(path: &str) -> Option<&str> {
    let path = path.strip_prefix("examples/")?;
    let path =
        path.strip_prefix("examples/").or_else(|| path.strip_prefix("src/bin/")).unwrap_or(path);
    let name = path.strip_suffix("/main.rs").or_else(|| path.strip_suffix(".rs"))?;
    (!name.contains('/') && name != "build").then_some(name)
}

/// The variants of an enum.
fn variants<'a>(code: &[Token<'a>], name: &str) -> Vec<&'a str> {
    let tokens = code
        .windows(2)
        .skip_while(|pair| !pair.iter().map(|token| token.text).eq(["enum", name]))
        .filter_map(|pair| pair.first())
        .skip(2);
    let mut variants = Vec::new();
    let mut depth = 0_i32;
    let mut expects_variant = false;
    for token in tokens {
        match token.text {
            "{" | "(" | "[" => {
                depth += 1;
                expects_variant |= depth == 1;
            }
            "}" | ")" | "]" => depth -= 1,
            "," if depth == 1 => expects_variant = true,
            word if depth == 1 && expects_variant && token.kind == Kind::Word => {
                variants.push(word);
                expects_variant = false;
            }
            _ => {}
        }
        if depth == 0 && token.text == "}" {
            break;
        }
    }
    variants
}

/// The types with an `impl Future for` or `impl IntoFuture for`.
fn future_types<'a>(code: &[Token<'a>]) -> Vec<&'a str> {
    code.windows(3)
        .filter_map(|window| match window {
            [what, of, name] if of.text == "for" && what.text.ends_with("Future") => {
                Some(name.text)
            }
            _ => None,
        })
        .collect()
}

/// The public functions that are `async` or return a future, each with its line.
fn public_futures<'a>(code: &[Token<'a>], types: &[&str]) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let follows = |words: &[&str]| {
            code.iter().skip(at).take(words.len()).map(|token| token.text).eq(words.iter().copied())
        };
        let (is_async, name_at) = if follows(&["pub", "async", "fn"]) {
            (true, at + 3)
        } else if follows(&["pub", "fn"]) {
            (false, at + 2)
        } else {
            continue;
        };
        let Some(name) = code.get(name_at) else { continue };
        let is_future = is_async
            || returned(code, name_at).iter().any(|token| {
                matches!(token.text, "Future" | "BoxFuture") || types.contains(&token.text)
            });
        if is_future {
            found.push((name.text, token.line));
        }
    }
    found
}

/// The return type of the function whose name is at `name_at`.
fn returned<'c, 'a>(code: &'c [Token<'a>], name_at: usize) -> &'c [Token<'a>] {
    let signature = code.get(name_at..).unwrap_or_default();
    let end = signature.iter().position(|token| matches!(token.text, "{" | ";" | "where"));
    let signature = signature.get(..end.unwrap_or(signature.len())).unwrap_or_default();
    // Arrows within brackets are those of parameters: `f: impl Fn() -> u8`.
    let mut depth = 0_i32;
    let arrow = signature.iter().position(|token| {
        depth += match token.text {
            "(" | "<" => 1,
            ")" | ">" => -1,
            _ => 0,
        };
        depth == 0 && token.text == "->"
    });
    arrow.and_then(|arrow| signature.get(arrow..)).unwrap_or_default()
}

/// What stands in `const COVERED: &[&str] = &[…];`, and where.
fn covered<'a>(code: &[Token<'a>]) -> Option<(usize, Vec<&'a str>)> {
    let start = code.iter().position(|token| token.text == "COVERED")?;
    let list = code.iter().skip(start).take_while(|token| token.text != ";");
    let names =
        list.filter(|token| token.kind == Kind::Text).map(|token| token.text.trim_matches('"'));
    Some((code.get(start)?.line, names.collect()))
}

const VIOLATIONS: &str = "ws-core/tests/violations.rs";
const CANCEL_SAFETY: &str = "ws-core/tests/cancel_safety.rs";

#[cfg(test)]
mod tests {
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
        let code = lex(ERRORS);
        let code: Vec<_> = code.into_iter().filter(|token| token.kind != Kind::Comment).collect();
        assert_eq!(
            variants(&code, "ProtocolError"),
            ["ReservedBits", "CloseCode", "Large", "Last"]
        );
        assert_eq!(variants(&code, "Error"), ["Other"]);
        assert!(variants(&code, "Absent").is_empty());
    }

    #[test]
    fn every_protocol_error_has_a_row() {
        let errors = File::new("ws-core/src/error.rs", ERRORS);
        assert_eq!(violations(std::slice::from_ref(&errors)).len(), 1, "the table is missing");
        let table = File::new(
            VIOLATIONS,
            "[(ReservedBits, b\"\"), (CloseCode(5), b\"\"), (Last, b\"Large\")]",
        );
        let found = violations(&[errors, table]);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("Large"));
    }

    const CONN: &str = "
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

    /// The list of the test → the names that are complained about.
    #[track_caller]
    fn check(test: &str, expected: &[&str]) {
        let files = [File::new("ws-core/src/conn/mod.rs", CONN), File::new(CANCEL_SAFETY, test)];
        let found = cancel_safety(&files);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for name in expected {
            assert!(found.iter().any(|it| it.message.contains(name)), "{name}: {found:?}");
        }
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
    fn without_a_connection_there_is_nothing_to_cancel() {
        assert!(cancel_safety(&[]).is_empty());
        assert_eq!(cancel_safety(&[File::new("ws-core/src/conn/mod.rs", CONN)]).len(), 1);
    }

    #[test]
    fn every_example_is_listed() {
        let readme = File::new("examples/README.md", "`echo` and `cargo run --example dial`");
        let of = |paths: &[&str]| {
            let examples = paths.iter().map(|path| File::new(*path, "//! What?\n"));
            let files: Vec<_> = std::iter::once(readme.clone()).chain(examples).collect();
            super::examples(&files).len()
        };
        assert_eq!(of(&["examples/echo.rs", "examples/examples/dial.rs"]), 0);
        assert_eq!(of(&["examples/chat.rs", "examples/src/bin/room/main.rs"]), 2);
        assert_eq!(of(&["examples/support/mod.rs", "examples/src/lib.rs"]), 0);
    }
}
