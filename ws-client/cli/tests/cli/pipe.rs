//! Does `ws connect` work in a pipe, and `ws listen` with its modes?

use std::io::{BufRead as _, BufReader, Write as _};

use crate::program::{Program, Server, run, run_bytes};

#[test]
fn lines_are_messages_both_ways() {
    let server = Server::start(&["-q"]);
    let check = |args: &[&str], input: &[u8], out: &str| {
        let args = [&["connect", "-q", &server.url], args].concat();
        run(&args, input).check(0, out, "");
    };
    check(&[], b"", "");
    check(&[], b"hello\n\nw\xc3\xb6rld\r\n{\"a\":1}", "hello\n\nw\u{f6}rld\n{\"a\":1}\n");
    check(&["-m", "first", "-m", "second"], b"third\n", "first\nsecond\nthird\n");
    check(&["-0"], b"a\nb\0c\0", "a\nb\0c\0");
    check(&["--pretty", "always"], b"{\"a\":[1,{}]}\n", "{\"a\": [1, {}]}\n");
    check(&["--compress"], b"a line\n", "a line\n");
    let many: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    check(&[], many.as_bytes(), &many);
}

#[test]
fn binary_mode_keeps_all_bytes() {
    let server = Server::start(&["-q"]);
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let output = run_bytes(&["connect", "-q", "--binary", &server.url], &bytes);
    assert!(output.status.success());
    assert!(output.stdout == bytes);
}

#[test]
fn binary_messages_are_printed_in_hex_or_as_bytes() {
    let server = Server::start(&["-q", "--", "printf", r"\377\000"]);
    run(&["connect", "-q", &server.url], b"").check(0, "ff00\n", "");
    let output = run_bytes(&["connect", "-q", "-b", &server.url], b"");
    assert_eq!(output.stdout, b"\xff\0");
}

#[test]
fn the_exit_code_is_derived_from_the_close_code() {
    let check = |close: &str, code: i32, text: &str| {
        let server = Server::start(&["-q", "--close", close]);
        run(&["connect", "--stay", &server.url], b"").check(code, "", text);
    };
    check("1000", 0, "closed with 1000 normal closure");
    check("1001 so long", 11, "closed with 1001 going away: so long");
    check("1013", 23, "1013");
    check("3000", 30, "3000");
    check("4001 see you", 40, "closed with 4001: see you");
    // Control characters of the server are escaped.
    check("4001 \x1b[2J", 40, r"closed with 4001: \u{1b}[2J");
}

#[test]
fn a_killed_server_gives_exit_code_16() {
    let mut server = Server::start(&["-q"]);
    let mut child = Program::start(&["connect", "-q", &server.url]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    server.child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(16));
}

#[test]
fn errors_name_the_option_to_change() {
    let check = |args: &[&str], code: i32, text: &str| {
        run(&[&["connect"], args].concat(), b"").check(code, "", text);
    };
    check(&["127.0.0.1:1"], 1, "Connection refused");
    check(&["ftp://localhost"], 1, "not one of ws, wss, http, https");
    check(&["-H", "no colon", "x"], 2, "write it as 'Name: value'");
    check(&["-H", "upgrade: x", "x"], 1, "cannot be sent (--header)");
    check(&["-s", "a b", "x"], 1, "(--subprotocol)");
    check(&["--cacert", "/does/not/exist", "x"], 1, "cannot read /does/not/exist (--cacert)");
    check(&["--key", "key.pem", "x"], 2, "--cert");
    let server = Server::start(&["-q", "-s", "chat"]);
    let encrypted = format!("wss://{}", server.address());
    check(&[&encrypted], 1, "is it ws:// rather than wss://?");
    check(&["-x", "ftp://localhost", &server.url], 1, "(--proxy, or the environment)");
    check(&["--origin", "https://example.com", &server.url], 1, "403 Forbidden");
    let line = run(&["connect", &server.url], b"\xff\n");
    line.check(1, "", "line 1 of the input is not UTF-8 (--binary sends bytes)");
}

#[test]
fn what_was_negotiated_is_printed() {
    let server = Server::start(&["-q", "-s", "chat.v2", "--compress"]);
    let told = |args: &[&str]| run(&[&["connect", &server.url], args].concat(), b"");
    told(&[]).check(0, "", "connected (");
    told(&["-s", "chat.v1,chat.v2", "-c"]).check(0, "", "subprotocol chat.v2, compressed");
    told(&["-v"]).check(0, "", "HTTP/1.1 101 Switching Protocols\n");
    let timed = run(&["connect", "-q", "-t", &server.url], b"hello\n");
    let (time, text) = timed.out.split_once(' ').unwrap();
    assert_eq!((time.len(), text), ("12:34:56.789".len(), "hello\n"));
}

#[test]
fn count_closes_after_n_messages() {
    let server = Server::start(&["-q", "--", "seq", "100000"]);
    run(&["connect", "-q", "-n", "3", &server.url], b"").check(0, "1\n2\n3\n", "");
}

#[test]
fn a_closed_output_ends_the_program() {
    let server = Server::start(&["-q", "--", "sh", "-c", "while sleep 0.01; do echo y; done"]);
    let mut child = Program::start(&["connect", "-q", "--stay", &server.url]);
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert_eq!((child.wait().unwrap().code(), &*line), (Some(0), "y\n"));
}

#[test]
fn a_listener_pipes_to_a_command() {
    let server =
        Server::start(&["--", "sh", "-c", "read name; echo \"hello $name at $REQUEST_URI\""]);
    let url = format!("{}/door?knock=1", server.url);
    run(&["connect", "-q", "--stay", &url], b"ann\n").check(0, "hello ann at /door?knock=1\n", "");
    let said = server.interrupt();
    assert!(said.contains("connected, /door?knock=***"), "{said}");
    let failing = Server::start(&["-q", "--", "false"]);
    run(&["connect", "--stay", &failing.url], b"").check(21, "", "1011");
    let missing = Server::start(&["-q", "--", "/does/not/exist"]);
    run(&["connect", "--stay", &missing.url], b"").check(21, "", "1011");
}

#[test]
fn a_listener_broadcasts_and_prints() {
    let mut server = Server::start(&["--broadcast", "--print"]);
    let mut hearer = Program::start(&["connect", "-q", "--stay", &server.url]);
    // The speaker repeats its message until the hearer is connected.
    let mut heard = BufReader::new(hearer.stdout.take().unwrap());
    let mut speaker = Program::start(&["connect", "-q", &server.url]);
    let mut stdin = speaker.stdin.take().unwrap();
    let speaking = std::thread::spawn(move || while stdin.write_all(b"hello\n").is_ok() {});
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    let mut printed = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut printed).unwrap();
    assert_eq!(printed, "hello\n");
    drop(server);
    assert_eq!(speaker.wait().unwrap().code(), Some(16));
    assert_eq!(hearer.wait().unwrap().code(), Some(16));
    speaking.join().unwrap();
}

#[test]
fn an_interrupted_listener_closes_with_1001() {
    let server = Server::start(&[]);
    let mut child = Program::start(&["connect", "-q", "--stay", "-m", "hello", &server.url]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said = server.interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(11));
    assert!(said.contains("after 1 messages"), "{said}");
}

#[test]
fn reconnect_connects_again() {
    let mut server = Server::start(&["-q"]);
    let address = server.address().to_owned();
    let mut child = Program::start(&["connect", "--reconnect", &server.url]);
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    // A message that was unconfirmed when the connection was lost arrives twice.
    let mut hear = |expected: &str| {
        let mut line = String::new();
        while line != expected {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "no {expected}");
        }
    };
    for hello in ["hello\n", "hello again\n"] {
        stdin.write_all(hello.as_bytes()).unwrap();
        hear(hello);
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        server = Server::start_at(&address, &["-q"]);
    }
    stdin.write_all(b"goodbye\n").unwrap();
    drop(stdin);
    hear("goodbye\n");
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut err, &mut said).unwrap();
    assert_eq!(said.matches("reconnected").count(), 2, "{said}");
    let refused = run(&["connect", "--reconnect", "--max-attempts", "1", "127.0.0.1:1"], b"");
    refused.check(1, "", "Connection refused");
}
