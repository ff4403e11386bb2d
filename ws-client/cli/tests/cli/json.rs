//! Is the output of `--json` one JSON object per line, with what the text says?

use serde_json::Value;

use crate::check::named;
use crate::program::{Ran, Server, run};

/// The lines of the output, each an object.
fn objects(ran: &Ran, code: i32) -> Vec<Value> {
    assert_eq!(ran.code, code, "{ran:?}");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    ran.out.lines().map(parse).collect()
}

#[test]
fn pings_and_their_summary_are_objects() {
    let server = Server::start(&["-q"]);
    let lines = objects(&run(&["ping", "--json", "-n", "2", "-i", "0", &server.url], b""), 0);
    let [first, second, summary] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&first["pong"], &second["pong"]), (&1.into(), &2.into()));
    assert!(first["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(summary["url"], server.url);
    assert_eq!((&summary["sent"], &summary["missing"]), (&2.into(), &0.into()));
    assert!(summary["seconds"]["p99"].as_f64().unwrap() > 0.0);
    let quiet = run(&["ping", "--json", "-q", "-n", "2", "-i", "0", &server.url], b"");
    assert_eq!(objects(&quiet, 0).len(), 1);
}

#[test]
fn the_result_of_a_measurement_is_one_object() {
    let arguments = ["bench", "--json", "-C", "2", "--duration", "0.1", "--warmup", "0"];
    let lines = objects(&run(&arguments, b""), 0);
    let [result] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&result["connections"], &result["bytes"]), (&2.into(), &128.into()));
    assert!(result["echoed"].as_u64().unwrap() > 0);
    assert!(result["opened_seconds"]["max"].as_f64().unwrap() > 0.0);
    assert_eq!(result["failures"], serde_json::json!({}));
}

#[test]
fn the_rows_of_a_check_are_one_object() {
    let server = Server::start(&["-q"]);
    let lines = objects(&run(&["check", "--json", &server.url], b""), 0);
    let [checked] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(checked["url"], server.url);
    assert_eq!(checked["rows"]["ping"]["good"], true);
    assert_eq!(checked["rows"]["HTTP/2"]["good"], Value::Null);
    let lines = objects(&run(&["check", "--json", "127.0.0.1:1"], b""), 1);
    assert_eq!(lines[0]["rows"]["HTTP/1.1"]["good"], false);
}

#[test]
fn a_url_may_contain_json() {
    let server = Server::start(&["-q"]);
    let url = format!("{}/?f={{\"a\":\"s3cret\"}}", server.url);
    let check = |args: &[&str]| {
        let lines = objects(&run(&[args, &["--json", &url]].concat(), b""), 0);
        assert_eq!(lines.last().unwrap()["url"], format!("{}/?f=***", server.url), "{args:?}");
    };
    check(&["check"]);
    check(&["ping", "-n", "1"]);
    check(&["bench", "-C", "1", "--duration", "0.1", "--warmup", "0"]);
}

#[test]
fn a_server_cannot_add_to_the_json() {
    const TEXT: &str = r#"x://?","good":false,"text":"injected"#;
    let (url, _runtime) = named(TEXT);
    let lines = objects(&run(&["check", "--json", &url], b""), 0);
    let row = &lines[0]["rows"]["server"];
    assert_eq!((&row["text"], &row["good"]), (&TEXT.into(), &true.into()));
}

#[test]
fn no_character_of_a_message_controls_a_terminal() {
    let text = r"\302\2332J\177\342\200\256gone\n";
    let server = Server::start(&["-q", "--", "printf", text]);
    let ran = run(&["connect", "--json", "-q", "--stay", &server.url], b"");
    assert_eq!(objects(&ran, 0)[0]["data"], "\u{9b}2J\u{7f}\u{202e}gone");
    assert!(ran.out.is_ascii(), "{ran:?}");
}

#[test]
fn messages_notes_and_the_end_are_objects() {
    let server = Server::start(&["-q"]);
    let lines = objects(&run(&["connect", "--json", "-t", &server.url], b"a \"b\"\n"), 0);
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["note", "text", "end"]);
    assert_eq!(lines[1]["data"], "a \"b\"");
    assert!(lines[1]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[2]["text"], "closed with 1000 normal closure");
    let only = run(&["connect", "--json", "-q", &server.url], b"a\n");
    assert_eq!(objects(&only, 0).len(), 1);
}
