//! Does the client for browsers build, does it work in Chromium, and how large is it?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{process, workspace};

/// What is done after the build.
#[derive(Debug, Args)]
pub(crate) struct WasmArgs {
    /// Only build and measure.
    #[arg(long)]
    no_test: bool,
}

/// Builds the programs for browsers, checks their sizes, and runs the tests in Chromium and in node.
pub(crate) fn run(args: &WasmArgs) -> Result<()> {
    build()?;
    if args.no_test {
        return Ok(());
    }
    let mut test = workspace::cargo();
    test.args(["test", "--workspace", "--all-features", "--test", "browser"]);
    process::run(&mut test)
}

/// Builds the programs for browsers, for the tests, and checks their sizes. Checks the component of
/// the book.
pub(crate) fn build() -> Result<()> {
    check_dependencies()?;
    let target = workspace::target_dir()?;
    let mut cargo = toolchain("build")?;
    cargo.args(["--package", PACKAGE, "--examples"]);
    process::run(&mut cargo)?;
    let mut page = toolchain("check")?;
    page.args(["--locked", "--manifest-path", "xtask/wasm/Cargo.toml", "--package", "page"]);
    process::run(page.arg("--target-dir").arg(&target))?;
    let bindgen = build_bindgen(&target)?;
    let pages = target.join("wasm-pages");
    fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
    for program in programs()? {
        let module = target.join(TARGET).join("wasm/examples").join(format!("{program}.wasm"));
        process::run(Command::new(&bindgen).arg(module).arg(&pages))?;
    }
    check_sizes(&pages)
}

/// An application that depends on the client for both targets, with its default features, compiles
/// here, and depends on sockets on Linux, but not in a browser.
fn check_dependencies() -> Result<()> {
    let mut check = workspace::cargo();
    process::run(check.args(["check", "--package", PACKAGE]))?;
    let linux = tree(LINUX)?;
    ensure!(sockets(&linux).count() > 0, "the check for sockets does not find those of Linux");
    let browser = tree(TARGET)?;
    let found: Vec<_> = sockets(&browser).collect();
    ensure!(found.is_empty(), "in a browser, the client depends on {found:?}");
    Ok(())
}

/// A line for each crate that the application depends on: its name, and its features.
fn tree(target: &str) -> Result<String> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--package", PACKAGE, "--target", target, "--edges", "normal"]);
    let output = tree.args(["--prefix", "none", "--format", "{lib} {f}"]).output();
    let output = output.context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", output.status);
    String::from_utf8(output.stdout).context("cargo tree prints no text")
}

/// The crates that open sockets.
fn sockets(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter(|line| {
        let (name, features) = line.split_once(' ').unwrap_or((line, ""));
        SOCKETS.contains(&name) || name == "tokio" && features.split(',').any(|it| it == "net")
    })
}

/// A subcommand of cargo with a compiler for browsers: that of rustup, or that of Debian, which has
/// the source of the standard library.
fn toolchain(subcommand: &str) -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.args([subcommand, "--target", TARGET, "--profile", "wasm"]);
    if has_standard_library()? {
        return Ok(cargo);
    }
    ensure!(
        Path::new(DEBIAN_SOURCE).exists(),
        "no compiler for browsers: `rustup target add {TARGET}`, or Debian's `rustc-web`, \
         `rust-web-src` and `lld-19`"
    );
    cargo.arg("-Zbuild-std=std,panic_abort").envs([
        ("RUSTC", "/usr/bin/rustc"),
        // `-Z` needs it. No code uses unstable features.
        ("RUSTC_BOOTSTRAP", "1"),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19"),
    ]);
    Ok(cargo)
}

fn has_standard_library() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc.output().context("cannot run rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

/// Builds the program that writes the JavaScript of a module.
fn build_bindgen(target: &Path) -> Result<PathBuf> {
    let folder = target.join("wasm-bindgen");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--locked", "--manifest-path", "xtask/wasm/Cargo.toml", "--target-dir"]);
    process::run(cargo.arg(&folder).env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
    Ok(folder.join("debug/bindgen"))
}

/// The size of each program, and what the client adds to an empty one, is as it was.
fn check_sizes(pages: &Path) -> Result<()> {
    let empty = gzipped(pages, "size_empty")?;
    for (program, kept, limit) in SIZES {
        let added = gzipped(pages, program)?.saturating_sub(empty);
        println!("{program}: {added} bytes gzipped more than an empty program of {empty}");
        ensure!(added <= limit, "{program} has more than {limit} bytes");
        ensure!(
            added.abs_diff(kept) <= kept / 20,
            "{program} differs from {kept} bytes by more than 5 %: change `SIZES` in xtask/src/wasm.rs"
        );
    }
    Ok(())
}

/// The length of a module after `wasm-opt` and `gzip`.
fn gzipped(pages: &Path, program: &str) -> Result<usize> {
    let module = pages.join(format!("{program}_bg.wasm"));
    let small = pages.join(format!("{program}_small.wasm"));
    let mut optimise = Command::new("wasm-opt");
    optimise.args(["-Oz", "--all-features", "--strip-debug", "--strip-producers"]);
    process::run(optimise.arg(module).arg("-o").arg(&small))?;
    let mut gzip = Command::new("gzip");
    let output = gzip.args(["-9", "-n", "-c"]).arg(&small).output().context("cannot run gzip")?;
    ensure!(output.status.success(), "gzip failed: {}", output.status);
    Ok(output.stdout.len())
}

/// The names of the programs.
fn programs() -> Result<Vec<String>> {
    let metadata = workspace::metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let mut packages = packages.context("cargo metadata names no packages")?.iter();
    let Some(package) = packages.find(|it| it.get("name") == Some(&PACKAGE.into())) else {
        bail!("there is no package {PACKAGE}");
    };
    let targets = package.get("targets").and_then(Value::as_array);
    let targets = targets.context("cargo metadata names no targets")?.iter();
    let examples = targets.filter(|it| it.pointer("/kind/0") == Some(&"example".into()));
    let names = examples.filter_map(|it| it.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

const TARGET: &str = "wasm32-unknown-unknown";

const LINUX: &str = "x86_64-unknown-linux-gnu";

const PACKAGE: &str = "ws-client-wasm";

/// The crates that open sockets or use them.
const SOCKETS: [&str; 7] =
    ["mio", "socket2", "rustls", "tokio_rustls", "hyper", "hyper_util", "h2"];

const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std";

/// A program, the bytes that it has more than an empty one, and how many it may have. Measured with
/// the rustc 1.96 and the wasm-opt 108 of Debian 12.
const SIZES: [(&str, usize, usize); 2] =
    [("size_dial", 29_000, 60_000), ("size_reconnect", 44_500, 60_000)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found() {
        let check = |tree, expected: &[&str]| {
            assert_eq!(sockets(tree).collect::<Vec<_>>(), expected);
        };
        check("ws_client default\ntokio sync\ntokio default,sync\nmioco\n\n", &[]);
        check(
            "tokio io-util,net,rt\nmio net\nsocket2 ",
            &["tokio io-util,net,rt", "mio net", "socket2 "],
        );
    }
}
