//! Does any output contain a secret: a password, a query value, a header, a cookie, a token?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::program::{Server, run};

/// A server that answers each request with this text.
fn answer(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            // A client of TLS gets the answer at once.
            while !head.ends_with(b"\r\n\r\n")
                && head.first() != Some(&22)
                && stream.read_exact(&mut byte).is_ok()
            {
                head.extend(byte);
            }
            // The client may have gone.
            let _ = stream.write_all(text.as_bytes());
        }
    });
    address.to_string()
}

/// Runs `ws`, and returns its output. It contains no `s3cret`.
#[track_caller]
fn check(args: &[&str], text: &str) {
    let ran = run(args, b"");
    let all = format!("{}{}", ran.out, ran.err);
    assert!(!all.contains("s3cret"), "{args:?}: {all}");
    assert!(all.contains(text), "{args:?}, {text}: {all}");
}

/// JSON as the value of a query.
const QUOTED: &str = "{\"a\":\"s3cret\"}";

#[test]
fn no_output_contains_a_secret() {
    let echo = Server::start(&["-q", "-s", "chat", "--any-origin"]);
    let refusing = answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let redirecting = answer(
        "HTTP/1.1 302 Found\r\nLocation: ws://a:s3cret@127.0.0.1:1/?b=s3cret\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let broken = answer("what?\r\n\r\n");
    let addresses = ["127.0.0.1:1", echo.address(), &refusing, &redirecting, &broken, "[::"];
    // A URL without a scheme is completed, and one with an unknown scheme is repeated.
    let schemes = ["ws://", "wss://", "", "ftp://"];
    for (address, scheme) in addresses.iter().flat_map(|address| schemes.map(|it| (address, it))) {
        for token in ["s3cret", QUOTED] {
            let url = format!("{scheme}ann:s3cret@{address}/room?token={token}&s3cret");
            check(&["connect", "-v", &url], "");
        }
    }
    for args in [
        &["connect", "-r", "--max-attempts", "1"][..],
        &["ping", "-n", "1"],
        &["bench", "-d", "0.1", "--warmup", "0"],
        &["check", "-s", "s3cret", "-H", "cookie: s3cret"],
    ] {
        for address in [echo.address(), &refusing] {
            for token in ["s3cret", QUOTED] {
                let url = format!("ws://ann:s3cret@{address}/room?token={token}&s3cret");
                check(&[args, &[&url]].concat(), "");
            }
        }
    }
    let url = format!("ws://ann:s3cret@{refusing}/room?token=s3cret");
    check(&["connect", &url], &format!("@{refusing}/room?token="));
    check(&["connect", "-x", "http://ann:s3cret@127.0.0.1:1", &echo.url], "--proxy");
    check(&["connect", "-x", "ftp://ann:s3cret@127.0.0.1:1", &echo.url], "--proxy");
    // Arguments that are rejected.
    check(&["connect", "-H", "authorization s3cret", &echo.url], "'Name: value'");
    check(&["connect", "-H", "authorization: s3cret\u{7f}", &echo.url], "--header");
    check(&["connect", &echo.url, "ws://ann:s3cret@localhost/?a=s3cret"], "unexpected argument");
    let quoted = format!("ws://ann:s3cret@localhost/?a={QUOTED}");
    check(&["connect", &echo.url, &quoted], "unexpected argument");
    check(&["connect", "-s", "chat,s3cret s3cret", &echo.url], "--subprotocol");
    check(&["check", "-s", "s3cret", &echo.url], "none");
}

#[test]
fn no_response_header_with_a_secret_is_printed() {
    let cookie = answer(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Set-Cookie: s3cret\r\nServer: a-server\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
    );
    check(&["connect", "-v", &cookie], "");
}

#[test]
fn the_log_of_a_listener_contains_no_secret() {
    let server = Server::start(&["-s", "chat"]);
    let url = format!("ws://ann:s3cret@{}/room?token=s3cret&s3cret", server.address());
    let args = ["connect", "-s", "s3cret,chat", "-H", "cookie: s3cret", &url];
    assert_eq!(run(&args, b"hello\n").code, 0);
    let refused = ["connect", "-o", "https://ann:s3cret@example.com/?a=s3cret", &url];
    assert_eq!(run(&refused, b"hello\n").code, 1);
    let said = server.interrupt();
    assert!(said.contains("connected, /room?token="), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
