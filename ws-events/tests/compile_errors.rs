//! Does the compiler say what is wrong with a handler, and what would be right?
//!
//! The compiler of the tests compiles wrong handlers against the library that cargo has built for the
//! tests. That takes a second: another cargo project would build all dependencies again.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A handler that compiles.
const RIGHT: &str = "hub.on(\"say\", async |Json(_): Json<String>, _: Socket| {});";

/// A wrong handler, and what the message of the compiler has to contain.
const ROWS: &[(&str, &[&str])] = &[
    // The `Json` of a web framework, among right arguments.
    (
        "async fn say(_: Socket, _: axum::Json<String>, _: Json<u8>) {} hub.on(\"say\", say);",
        &[
            "`axum::Json<String>` cannot be extracted from an event",
            "not an argument of a handler",
            "`Json` and `State` are those of `ws_events`, not of a web framework",
        ],
    ),
    (
        "hub.on(\"say\", async |_: axum::Json<String>| {});",
        &[
            "`axum::Json<String>` cannot be extracted from an event",
            "`Json` and `State` are those of `ws_events`, not of a web framework",
        ],
    ),
    // A type that is not extracted.
    (
        "hub.on(\"say\", async |_: Socket, _: u16| {});",
        &[
            "`u16` cannot be extracted from an event",
            "a handler's arguments are `Socket`, `Json<T>`, `State<T>`",
        ],
    ),
    // Not async.
    (
        "hub.on(\"say\", |_: Json<String>| {});",
        &["a handler is an async function or closure with at most six arguments"],
    ),
    // It moves what it captures, and can be called only once.
    (
        "let text = String::new(); hub.on(\"say\", move |_: Socket| async { drop(text) });",
        &["this closure implements `FnOnce`, not `Fn`", "`text` out of its environment"],
    ),
    // The result.
    (
        "hub.on(\"say\", async |_: Socket| 1);",
        &["which returns `()`, a `Json<T>`, or a `Result<T, E>`"],
    ),
    (
        "async fn count() -> u8 { 1 } hub.on(\"say\", count);",
        &[
            "this is not a handler of an event",
            "which returns `()`, a `Json<T>`, or a `Result<T, E>`",
        ],
    ),
];

/// The builds of this library for tests, the newest first. Cargo may have built it several times, with
/// other features.
fn built() -> Vec<PathBuf> {
    let deps = std::env::current_exe().unwrap();
    let files = fs::read_dir(deps.parent().unwrap()).unwrap();
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.starts_with("libws_events-") && file.ends_with(".rlib")
    };
    let mut found: Vec<_> =
        files.filter_map(|file| Some(file.ok()?.path())).filter(is_it).collect();
    let built_at = |path: &PathBuf| path.metadata().and_then(|it| it.modified()).ok();
    found.sort_by_key(|path| std::cmp::Reverse(built_at(path).unwrap_or(SystemTime::UNIX_EPOCH)));
    found
}

/// What the compiler says to a function with these statements.
fn compile(library: &Path, statements: &str) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("handler.rs");
    let text = format!(
        "#![allow(unused)]\nuse ws_events::{{Hub, Json, Socket}};\n\
         mod axum {{\n    pub struct Json<T>(pub T);\n}}\n\
         pub fn register(hub: &Hub) {{\n    {statements}\n}}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"]);
    command.arg(&folder).arg("-L").arg(library.parent().unwrap());
    command.arg("--extern").arg(format!("ws_events={}", library.display()));
    let output = command.arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn the_compiler_names_what_is_wrong_with_a_handler() {
    let mut said = "cargo has not built the library".to_owned();
    let fits = |library: &PathBuf| compile(library, RIGHT).map_err(|error| said = error).is_ok();
    let found = built().into_iter().find(fits);
    let library = found.unwrap_or_else(|| panic!("a right handler does not compile: {said}"));
    for (statements, parts) in ROWS {
        let said = compile(&library, statements).expect_err(statements);
        for part in *parts {
            assert!(said.contains(part), "{statements}\n{part} is not in:\n{said}");
        }
    }
}
