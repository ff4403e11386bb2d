//! How many crates does `ws-client` take, and how long does a minimal program take to build?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::workspace;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct CratesArgs {
    /// Also build minimal programs from scratch, this many times in turns, and compare their processor
    /// time with that of tokio-tungstenite.
    #[arg(long, value_name = "ROUNDS")]
    cpu: Option<usize>,
}

/// Features of `ws-client` without its defaults, and the most crates that they may take.
///
/// A minimal program that depends on `ws-client` has one crate more: its own. tokio-tungstenite takes 38
/// without TLS, and 50 with `rustls-tls-native-roots`.
const CAPS: &[(&str, usize)] = &[
    ("", 34),
    ("blocking", 34),
    ("rustls-tls", 47),
    ("rustls-tls-webpki-roots,ring", 45),
    ("native-tls", 48),
    ("http2", 41),
    ("proxy", 45),
    ("idn", 63),
    ("json", 39),
    ("reqwest", 86),
    ("default", 103),
];

/// Runs the task.
pub(crate) fn run(args: &CratesArgs) -> Result<()> {
    check()?;
    args.cpu.map_or(Ok(()), compare)
}

/// Prints the counts, and checks them.
pub(crate) fn check() -> Result<()> {
    let mut over = Vec::new();
    for (features, most) in CAPS {
        let count = count(features)?;
        let name = if features.is_empty() { "no feature" } else { features };
        println!("{name:<30} {count:>3} crates, at most {most}");
        if count > *most {
            over.push(format!("{name}: {count} crates, at most {most}"));
        }
    }
    ensure!(over.is_empty(), "ws-client takes more crates than it may: {}", over.join("; "));
    Ok(())
}

/// The crates that are compiled for `ws-client` on Linux, itself included. Runs without network.
fn count(features: &str) -> Result<usize> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--offline", "--package", "ws-client", "--edges", "normal"]);
    tree.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--no-dedupe"]);
    tree.args(["--no-default-features", "--features", features]);
    let output = tree.output().context("cannot run cargo tree")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree failed: {}", error.trim());
    let crates = String::from_utf8(output.stdout).context("cargo tree prints no text")?;
    // A line is a name, a version, and perhaps remarks.
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(crates.lines().map(name).collect::<BTreeSet<_>>().len())
}

/// Two minimal programs with the same TLS, and how much longer ours may take to build.
struct Pair {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    most: f64,
}

const PAIRS: &[Pair] = &[
    Pair {
        name: "without TLS",
        ours: "ws-client = { path = \"ROOT/ws-client\", default-features = false }",
        theirs: "tokio-tungstenite = \"0.30\"\nfutures-util = { version = \"0.3\", default-features = false }",
        most: 0.9,
    },
    Pair {
        name: "rustls, ring, native roots",
        ours: "ws-client = { path = \"ROOT/ws-client\", default-features = false, features = [\"rustls-tls-native-roots\", \"ring\"] }",
        theirs: "tokio-tungstenite = { version = \"0.30\", features = [\"rustls-tls-native-roots\"] }\nfutures-util = { version = \"0.3\", default-features = false }\nrustls = { version = \"0.23\", default-features = false, features = [\"logging\", \"ring\", \"std\", \"tls12\"] }",
        most: 1.2,
    },
];

const OUR_PROGRAM: &str = r#"
async fn talk() -> Result<(), Box<dyn std::error::Error>> {
    let conn = ws_client::dial("ws://127.0.0.1:9000").await?;
    conn.write("hello").await?;
    println!("{:?}", conn.read().await?);
    Ok(())
}
"#;

const THEIR_PROGRAM: &str = r#"
use futures_util::{SinkExt, StreamExt};

async fn talk() -> Result<(), Box<dyn std::error::Error>> {
    let (mut conn, _) = tokio_tungstenite::connect_async("ws://127.0.0.1:9000").await?;
    conn.send("hello".into()).await?;
    println!("{:?}", conn.next().await);
    Ok(())
}
"#;

/// Builds each pair of programs in turns, and compares the least processor times.
fn compare(rounds: usize) -> Result<()> {
    let dir = workspace::target_dir()?.join("crates");
    let mut over = Vec::new();
    for pair in PAIRS {
        let ours = pair.ours.replace("ROOT", &workspace::root().to_string_lossy());
        let programs = [("ours", &*ours, OUR_PROGRAM), ("theirs", pair.theirs, THEIR_PROGRAM)];
        let mut least = [f64::INFINITY; 2];
        for _ in 0..rounds {
            for ((name, dependencies, program), least) in programs.iter().zip(&mut least) {
                *least = least.min(build(&dir.join(name), dependencies, program)?);
            }
        }
        let [ours, theirs] = least;
        let (ratio, most) = (ours / theirs, pair.most);
        println!(
            "{:<28} ours {ours:.1} s, tokio-tungstenite {theirs:.1} s: {ratio:.2}, at most {most}",
            pair.name
        );
        if ratio > most {
            over.push(pair.name);
        }
    }
    ensure!(over.is_empty(), "a minimal program takes longer to build: {}", over.join(", "));
    Ok(())
}

/// Runs the program. Without the macros of tokio, which would add the same crates to both.
const MAIN: &str = "
fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(talk())
}
";

/// Builds a program from scratch, and returns the seconds of processor time.
fn build(dir: &Path, dependencies: &str, program: &str) -> Result<f64> {
    let target = dir.join("target");
    // There is none the first time.
    let _ = fs::remove_dir_all(&target);
    fs::create_dir_all(dir.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"minimal\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependencies}\n\
         tokio = {{ version = \"1\", features = [\"rt\"] }}\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest)?;
    fs::write(dir.join("src/main.rs"), format!("{program}{MAIN}"))?;
    // Both with the versions of the workspace.
    fs::copy(workspace::root().join("Cargo.lock"), dir.join("Cargo.lock"))?;
    // The second line of `times` is that of the children.
    let output = Command::new("bash")
        .args(["-ec", "cargo build --quiet --offline; times"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_PROFILE_DEV_DEBUG")
        // As crates of a registry are built.
        .env("CARGO_INCREMENTAL", "0")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run bash")?;
    ensure!(output.status.success(), "the minimal program does not build");
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(children) = said.lines().nth(1) else { bail!("`times` printed {said:?}") };
    children.split_whitespace().map(seconds).sum()
}

/// Parses minutes and seconds, such as `1m2.345s`.
fn seconds(text: &str) -> Result<f64> {
    let parts = text.strip_suffix('s').and_then(|text| text.split_once('m'));
    let (minutes, seconds) = parts.with_context(|| format!("`times` printed {text:?}"))?;
    Ok(minutes.parse::<f64>()? * 60.0 + seconds.parse::<f64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed() {
        assert_eq!(seconds("1m2.5s").unwrap(), 62.5);
        assert!(seconds("2.5").is_err());
    }
}
