//! Does `ws check` show what a server supports?

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::SERVER;
use axum::middleware::map_response;
use axum::response::Response;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use ws_core::handshake::head::{decode_request, encode_response};
use ws_server_axum::{AcceptOptions, Acceptor, Compression, Config, Conn, Error, Role, websocket};

use crate::program::{Ran, Server, run};

#[track_caller]
fn check(ran: &Ran, code: i32, rows: &[(&str, &str)]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for (name, text) in rows {
        let row = ran.out.lines().find(|line| line.trim_start().starts_with(name));
        assert!(row.is_some_and(|row| row.contains(text)), "{name}, {text}: {ran:?}");
    }
}

#[test]
fn the_features_of_a_server_are_shown() {
    let server = Server::start(&["-q", "-s", "chat.v2", "--compress"]);
    check(
        &run(&["check", &server.url, "-s", "chat.v1", "-s", "chat.v2"], b""),
        0,
        &[
            ("HTTP/1.1", "101 Switching Protocols"),
            ("extensions", "permessage-deflate"),
            ("subprotocol", "chat.v2"),
            ("ping", "pong after"),
            ("close", "1000"),
            ("origins", "refused with 403"),
            ("HTTP/2", "no"),
        ],
    );
    let plain = Server::start(&["-q", "--any-origin"]);
    check(
        &run(&["check", &plain.url, "-s", "chat"], b""),
        0,
        &[
            ("extensions", "declined"),
            ("subprotocol", "none of those that were offered"),
            ("origins", "every origin may connect"),
        ],
    );
    check(&run(&["check", "127.0.0.1:1"], b""), 1, &[("HTTP/1.1", "refused"), ("HTTP/2", "no")]);
}

#[test]
fn http2_support_is_shown() {
    async fn echo(conn: Conn) -> Result<(), Error> {
        loop {
            let message = conn.read().await?;
            conn.write(message).await?;
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let options = AcceptOptions::new().compression(Compression::context_takeover());
    let app = Router::new().route("/chat", websocket(options, echo));
    runtime.spawn(async { axum::serve(listener, app).await });
    check(
        &run(&["check", &format!("{url}/chat")], b""),
        0,
        &[("HTTP/1.1", "101"), ("HTTP/2", "200 OK to an extended CONNECT")],
    );
    check(
        &run(&["check", &url], b""),
        1,
        &[("HTTP/1.1", "404 Not Found"), ("HTTP/2", "404 Not Found")],
    );
}

/// A server that names itself so in the header `server`.
pub(crate) fn named(name: &'static str) -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let route = websocket(AcceptOptions::new(), async |conn: Conn| conn.read().await.map(drop));
    let app =
        Router::new().route("/", route).layer(map_response(async |mut response: Response| {
            let name = HeaderValue::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().insert(SERVER, name);
            response
        }));
    runtime.spawn(ws_server_axum::serve(listener, app));
    (url, runtime)
}

/// The header is UTF-8 with the control character CSI and a character that reverses text.
#[test]
fn headers_of_the_server_are_escaped() {
    let (url, _runtime) = named("\u{9b}31m\u{202e}gone");
    for args in [&["check", &url][..], &["check", "--json", &url]] {
        let ran = run(args, b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains("u{9b}31m") && ran.out.contains("u{202e}gone"), "{ran:?}");
        assert!(!ran.out.contains(['\u{9b}', '\u{202e}']), "{ran:?}");
    }
}

/// A server whose greeting arrives with its response: an unread message lies before the pong.
fn greet() -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    runtime.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut input = Vec::new();
                let request = loop {
                    stream.read_buf(&mut input).await.unwrap();
                    // `ws check` tries HTTP/2, too.
                    let Ok(decoded) = decode_request(&input) else { return };
                    if let Some((request, _)) = decoded {
                        break request;
                    }
                };
                let Ok(answer) = Acceptor::new(&AcceptOptions::new()).answer(&request) else {
                    return;
                };
                let head = encode_response(&answer.response.map(|()| ""));
                stream.write_all(&[&head, &b"\x81\x05hello"[..]].concat()).await.unwrap();
                let (negotiated, config) = (answer.negotiated, Config::new());
                let conn =
                    Conn::from_stream(stream, Role::Server, negotiated, Bytes::new(), config);
                while conn.read().await.is_ok() {}
            });
        }
    });
    (url, runtime)
}

#[test]
fn a_server_that_greets_answers_the_ping() {
    let (url, _runtime) = greet();
    check(&run(&["check", &url], b""), 0, &[("ping", "pong after"), ("close", "1000")]);
}
