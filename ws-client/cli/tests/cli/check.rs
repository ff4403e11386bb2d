//! Does `ws check` show what a server supports?

use axum::Router;
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Compression, Conn, Error, websocket};

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
            ("subprotocol", "none of chat"),
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
