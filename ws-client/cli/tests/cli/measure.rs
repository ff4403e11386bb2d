//! Do `ws ping` and `ws bench` report their results?

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use crate::program::{Program, Server, run, signal};

#[test]
fn pings_are_counted_and_summarised() {
    let server = Server::start(&["-q"]);
    let ran = run(&["ping", "-n", "3", "-i", "0", &server.url], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    for text in ["pong 1: ", "pong 3: ", "3 pings, 3 pongs, 0 missing", "p99.9"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    assert_eq!(run(&["ping", "-q", "-n", "9", "-i", "0", &server.url], b"").out.lines().count(), 5);
    run(&["ping", "127.0.0.1:1"], b"").check(1, "", "Connection refused");
    let closing = Server::start(&["-q", "--close", "1013"]);
    let ran = run(&["ping", &closing.url], b"");
    assert!(ran.code == 1 && ran.err.contains("1013"), "{ran:?}");
}

#[test]
fn an_interrupted_ping_prints_its_summary() {
    let server = Server::start(&["-q"]);
    let mut child = Program::start(&["ping", "-i", "0.01", &server.url]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("pong 2") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0);
    }
    signal("INT", child.id());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(" 0 missing"), "{rest}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn echoes_are_counted() {
    let server = Server::start(&["-q"]);
    let short = ["--duration", "1", "--warmup", "0.1"];
    let check = |args: &[&str], texts: &[&str]| {
        let ran = run(&[&["bench"], args, &short].concat(), b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        for text in texts.iter().chain(&["sent ", "echoed ", "p99.9"]) {
            assert!(ran.out.contains(text), "{text}: {}", ran.out);
        }
    };
    check(&[], &["(in this process): 10 connections, 1 messages in flight each, 128 bytes"]);
    check(&[&server.url, "-C", "2", "-p", "8", "--size", "0"], &["2 connections", "0 bytes"]);
    check(
        &[&server.url, "-C", "3", "--rate", "50", "--payload", "hello"],
        &["% of the requested rate"],
    );
    check(&[&server.url, "-b", "--compress"], &[]);
    // More than the buffers of both sides take.
    check(&[&server.url, "-C", "1", "-p", "32", "--size", "1000000"], &["1 connections"]);
}

#[test]
fn fanout_measures_how_a_message_reaches_all_connections() {
    let short = ["--duration", "1", "--warmup", "0.1", "--fanout", "--rate", "100"];
    let check = |args: &[&str], code: i32, texts: &[&str]| {
        let ran = run(&[&["bench"], args, &short].concat(), b"");
        assert_eq!(ran.code, code, "{ran:?}");
        for text in texts {
            assert!(ran.out.contains(text) || ran.err.contains(text), "{text}: {ran:?}");
        }
    };
    let texts = ["100 messages/s from one to all", "received ", "each message reached ", "p99.9"];
    check(&["-C", "5"], 0, &texts);
    check(&["-C", "5", "--binary", "--size", "16"], 0, &texts);
    check(&["-C", "5", "--json"], 0, &[r#""received":"#, r#""received_per_second":"#]);
    check(&["--size", "15"], 1, &["at least 16 bytes"]);
    let server = Server::start(&["-q", "--broadcast"]);
    check(&[&server.url, "-C", "3"], 0, &texts);
    let silent = Server::start(&["-q", "--sink"]);
    check(&[&silent.url], 1, &["does the server send it to all connections?"]);
    let other = Server::start(&["-q", "--", "yes"]);
    check(&[&other.url], 1, &["a message that is not one of the sender"]);
}

#[test]
fn thresholds_decide_the_exit_code() {
    let short = ["--duration", "0.5", "--warmup", "0.1", "--ramp-up", "0.1"];
    let check = |args: &[&str], code: i32, text: &str| {
        let ran = run(&[&["bench"], args, &short].concat(), b"");
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.contains(text), "{text}: {ran:?}");
    };
    check(&["--max-p99", "60", "--min-rate", "1"], 0, "");
    check(&["--max-p99", "0.000000001"], 1, "(--max-p99)");
    check(&["--min-rate", "10000000"], 1, "messages/s echoed, fewer than 10000000 (--min-rate)");
}

#[test]
fn a_ramp_up_opens_the_connections_one_after_the_other() {
    // The second of two connections opens in the middle. A busy machine only takes longer.
    let short = ["-C", "2", "--duration", "0.1", "--warmup", "0.1"];
    let began = Instant::now();
    let ran = run(&[&["bench", "--ramp-up", "2"], &short[..]].concat(), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(began.elapsed() >= Duration::from_millis(1200), "{:?}: {ran:?}", began.elapsed());
}

#[test]
fn completions_and_the_manual_have_all_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell], b"");
        assert!(ran.code == 0 && ran.out.contains("fanout"), "{shell}: {ran:?}");
    }
    let page = run(&["manual"], b"");
    assert_eq!(page.code, 0, "{page:?}");
    for text in [".TH ws 1", "WS CONNECT", "WS BENCH", "fanout", "Exit codes"] {
        assert!(page.out.contains(text), "{text}: {}", page.out);
    }
    run(&["completions", "csh"], b"").check(2, "", "csh");
}

#[test]
fn a_server_that_does_not_echo_is_reported() {
    let check = |server: &[&str], text: &str| {
        let server = Server::start(server);
        let ran = run(&["bench", "-d", "0.3", "--warmup", "0.3", "-C", "2", &server.url], b"");
        assert!(ran.code == 1 && ran.out.contains(text), "{ran:?}");
    };
    check(&["-q", "--sink"], "does the server echo?");
    check(&["-q", "--close", "1013"], "connections: closed with 1013");
    check(&["-q", "--", "yes"], "a message that is not an echo");
}
