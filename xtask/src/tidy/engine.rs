//! Does the engine of `ws-core` stay free of I/O and clocks, and do its arrows point down?

use super::lexer::{Kind, Source, Token, find};
use super::{Complaint, File};

/// Complains about one file of `ws-core`.
pub(super) fn complaints(file: &File) -> Vec<Complaint> {
    let Some(part) = part(&file.path) else { return Vec::new() };
    // Tests of the engine may need an instant to begin with.
    let code = Source::new(&file.text).outside_tests();
    let mut found = Vec::new();
    let harmless: Vec<usize> = find(&code, HARMLESS).collect();
    for words in OUTSIDE_WORLD {
        for line in find(&code, words).filter(|line| !harmless.contains(line)) {
            let message = format!("`{}` does not belong in the engine", words.concat());
            found.push(file.complaint(line, &message));
        }
    }
    let above = ABOVE.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, above)| above);
    for module in above {
        for line in mentions(&code, module) {
            found.push(file.complaint(line, &format!("`{part}` knows nothing of `{module}`")));
        }
    }
    // `std::io` and `io::` are found in the same place.
    found.sort();
    found.dedup_by_key(|complaint| complaint.line);
    found
}

/// The part of the engine that a file belongs to.
fn part(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("ws-core/src/")?;
    let name = path.split_once('/').map_or_else(|| path.strip_suffix(".rs"), |(dir, _)| Some(dir));
    ABOVE.iter().map(|(part, _)| *part).find(|part| name == Some(*part))
}

/// The lines on which a path, or anything that is imported, names `module`.
///
/// A variable or a field of that name is no mention.
fn mentions(code: &[Token<'_>], module: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut in_use = false;
    let around = |at: usize| code.get(at).map_or("", |token| token.text);
    for (at, token) in code.iter().enumerate() {
        match (token.kind, token.text) {
            (Kind::Word, "use") => in_use = true,
            (Kind::Mark, ";") => in_use = false,
            (Kind::Word, name) if name == module => {
                let in_path = around(at + 1) == "::" || (at > 0 && around(at - 1) == "::");
                if in_use || in_path {
                    lines.push(token.line);
                }
            }
            _ => {}
        }
    }
    lines
}

/// The parts of the engine, and what each knows nothing of.
const ABOVE: &[(&str, &[&str])] = &[
    ("frame", &["proto", "handshake", "conn"]),
    ("utf8", &["proto", "handshake", "conn"]),
    ("deflate", &["proto", "handshake", "conn"]),
    ("proto", &["handshake", "conn"]),
    ("handshake", &["proto", "conn"]),
];

/// Words that wait, spawn, read a clock, or reach a file or a socket.
const OUTSIDE_WORLD: &[&[&str]] = &[
    &["async"],
    &["await"],
    &["tokio"],
    &["std", "::", "io"],
    &["io", "::"],
    &["std", "::", "net"],
    &["net", "::"],
    &["std", "::", "fs"],
    &["fs", "::"],
    &["std", "::", "thread"],
    &["thread", "::"],
    &["Instant", "::", "now"],
    &[".", "elapsed"],
    &["SystemTime"],
];

/// Lives among I/O, and only describes bytes.
const HARMLESS: &[&str] = &["std", "::", "io", "::", "IoSlice"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A file → the lines that it is complained about.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[usize]) {
        let found = complaints(&File::new(path, text));
        let lines: Vec<_> = found.iter().map(|complaint| complaint.line).collect();
        assert_eq!(lines, expected, "{found:?}");
    }

    #[test]
    fn the_engine_does_no_io_and_reads_no_clock() {
        let proto = "ws-core/src/proto/close.rs";
        check(proto, "use std::time::Instant;\nfn at(now: Instant) {}", &[]);
        check(proto, "fn a() {\n    Instant::now();\n}", &[2]);
        check(proto, "fn a(t: Instant) {\n    t.elapsed();\n}", &[2]);
        check(proto, "async fn a() {\n    b().await;\n}", &[1, 2]);
        check(proto, "use std::io;\nfn a() -> io::Result<()> {}", &[1, 2]);
        check(proto, "use std::io::IoSlice;", &[]);
        check(proto, "use std::{io, net};\nfn a() { net::lookup() }", &[2]);
        check("ws-core/src/utf8.rs", "use std::thread;", &[1]);
        check("ws-core/src/handshake/mod.rs", "use tokio::net::TcpStream;", &[1]);
        check("ws-core/src/conn/io.rs", "use tokio::net::TcpStream;", &[]);
        check("ws-core/src/error.rs", "use std::io;", &[]);
    }

    #[test]
    fn comments_strings_and_tests_may_name_anything() {
        let proto = "ws-core/src/proto/close.rs";
        check(proto, "//! No `async`, no tokio.\nconst A: &str = \"std::io\";", &[]);
        check(proto, "#[cfg(test)]\nmod tests {\n    fn a() { Instant::now(); }\n}", &[]);
    }

    #[test]
    fn arrows_point_down() {
        check("ws-core/src/handshake/server.rs", "use crate::proto::Role;", &[1]);
        check("ws-core/src/handshake/server.rs", "use crate::{\n    Config,\n    proto,\n};", &[3]);
        check("ws-core/src/handshake/server.rs", "use crate::deflate::Params;", &[]);
        check("ws-core/src/proto/mod.rs", "fn a(b: crate::handshake::Negotiated) {}", &[1]);
        check("ws-core/src/proto/mod.rs", "use super::conn::Conn;", &[1]);
        check("ws-core/src/proto/mod.rs", "fn a(handshake: u8, conn: u8) {}", &[]);
        check("ws-core/src/frame/mod.rs", "use crate::proto::Role;", &[1]);
        check("ws-core/src/utf8.rs", "use crate::conn;", &[1]);
        check("ws-core/src/conn/mod.rs", "use crate::proto::Role;", &[]);
    }
}
