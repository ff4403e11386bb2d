//! Is the protocol engine of `ws-core` free of I/O, clocks, tasks and `async`?

use super::tree::{Complaint, Tree};

/// Complains about code of the engine's modules. Their tests may read a clock.
pub(super) fn complaints(tree: &Tree<'_>) -> Vec<Complaint> {
    let Some(krate) = tree.library("ws-core") else { return Vec::new() };
    let mut found = Vec::new();
    for module in &krate.modules {
        let in_engine = module.path.first().is_some_and(|name| ENGINE.contains(name));
        if !in_engine {
            continue;
        }
        let source = module.source;
        let allowed: Vec<_> = ALLOWED.iter().flat_map(|tokens| source.find(tokens)).collect();
        for tokens in OUTSIDE {
            for line in source.find(tokens) {
                if !allowed.contains(&line) && !source.is_test(line) {
                    let message = format!("the engine does not use `{}`", tokens.concat());
                    found.push(source.file.complaint(line, &message));
                }
            }
        }
    }
    // `std::io` and `io::` are found on the same line.
    found.sort();
    found.dedup_by_key(|complaint| (complaint.path.clone(), complaint.line));
    found
}

/// The modules at the root of `ws-core` that are the engine.
const ENGINE: &[&str] = &["frame", "utf8", "deflate", "proto", "handshake"];

/// Tokens of code that waits, spawns, reads a clock, or opens a file or a socket.
const OUTSIDE: &[&[&str]] = &[
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

/// A type of `std::io` that only describes bytes, and addresses: `core` has no sockets.
const ALLOWED: &[&[&str]] = &[&["std", "::", "io", "::", "IoSlice"], &["core", "::", "net", "::"]];

#[cfg(test)]
mod tests {
    use super::super::tree::plant;
    use super::*;

    /// A file → the lines that are complained about.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[usize]) {
        let root = "mod proto; mod utf8; mod handshake; mod conn; mod error;";
        let proto = ("ws-core/src/proto/mod.rs", "mod close;");
        let files = [("ws-core/src/lib.rs", root), proto, (path, text)];
        let found = plant(&files, complaints);
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
        check(proto, "use core::net::SocketAddr;", &[]);
        check(proto, "use std::net::SocketAddr;", &[1]);
        check(proto, "use std::{io, net};\nfn a() { net::lookup() }", &[2]);
        check("ws-core/src/utf8.rs", "use std::thread;", &[1]);
        check("ws-core/src/handshake/mod.rs", "use tokio::net::TcpStream;", &[1]);
        check("ws-core/src/conn/mod.rs", "use tokio::net::TcpStream;", &[]);
        check("ws-core/src/error.rs", "use std::io;", &[]);
    }

    #[test]
    fn comments_strings_and_tests_may_name_anything() {
        let proto = "ws-core/src/proto/close.rs";
        check(proto, "//! No `async`, no tokio.\nconst A: &str = \"std::io\";", &[]);
        check(proto, "#[cfg(test)]\nmod tests {\n    fn a() { Instant::now(); }\n}", &[]);
    }
}
