//! How does each adapter respond to unusual and malformed requests?

use std::time::Duration;

use axum::routing::any;
use axum::{Extension, Router};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper::{Request, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use ws_server_axum::WebSocketUpgrade;
use ws_server_hyper::{AcceptOptions, Conn, Error, TestError};

use crate::adapters;
use crate::adapters::raw_http2::{Answer, RawHttp2};
use crate::adapters::{Serve, Served};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// The headers of a valid opening handshake without `Host`.
const VALID_HEADERS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// A request line, headers before `Host` and [`VALID_HEADERS`], and the expected status.
const ROWS: &[(&str, &str, u16)] = &[
    ("GET /x HTTP/1.1\r\n", "", 101),
    // Absolute form, and a query with invalid percent-encoding.
    ("GET http://a/x HTTP/1.1\r\n", "", 101),
    ("GET /x?q=%00%ff&&=%2 HTTP/1.1\r\n", "", 101),
    ("GET /x HTTP/1.1\r\n", "content-length: 0\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Connection: close, , keep-alive\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Upgrade: h2c\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Extensions: ;;\"\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Cookie: =;=\r\nCookie:\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Content-Length: 5\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Transfer-Encoding: chunked\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Protocol: a,a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Sec-WebSocket-Version: 013\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Folded: a\r\n b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Space : a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Nul: \0\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Origin: null\r\n", 403),
    ("GET /x HTTP/1.1\r\n", "Origin: http://a, http://a\r\n", 403),
    ("GET /x HTTP/1.1\r\n", "Origin: \u{fc}\r\n", 403),
    ("HEAD /x HTTP/1.1\r\n", "", 405),
    ("CHAT /x HTTP/1.1\r\n", "", 405),
    ("GET /x HTTP/1.0\r\n", "", 426),
    ("GET /x HTTP/3.0\r\n", "", 400),
    ("GET  /x  HTTP/1.1\r\n", "", 400),
    ("\x16\x03\x01\r\n", "", 400),
];

/// A request line, lines of `Host`, and the expected status (RFC 9112 §3.2).
const HOSTS: &[(&str, &str, u16)] = &[
    ("GET /x HTTP/1.1\r\n", "Host: a\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Host:  A.example \r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Host: a:\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Host: a:80\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Host: [::1]\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "Host: [::1]:80\r\n", 101),
    ("GET /x HTTP/1.1\r\n", "", 400),
    ("GET /x HTTP/1.1\r\n", "Host:\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a\r\nHost: a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a\tb\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a, b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: user@a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: user:key@a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: @a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: :80\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a:x\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a:+80\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a:99999\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a:80:80\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: ::1\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: [::1\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: [a]\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a/b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a?b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: a#b\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: http://a\r\n", 400),
    ("GET /x HTTP/1.1\r\n", "Host: \u{fc}\r\n", 400),
    // The host of an absolute target replaces `Host`, which has to be valid nevertheless.
    ("GET http://a/x HTTP/1.1\r\n", "Host: b\r\n", 101),
    ("GET http://a/x HTTP/1.1\r\n", "Host: a b\r\n", 400),
    ("GET http://a/x HTTP/1.1\r\n", "", 400),
    ("GET http://user@a/x HTTP/1.1\r\n", "Host: a\r\n", 400),
    ("GET http://a:99999/x HTTP/1.1\r\n", "Host: a\r\n", 400),
    ("GET http:///x HTTP/1.1\r\n", "Host: a\r\n", 400),
];

/// Sends a request followed by a message, and returns the status of the response. The message is
/// echoed only if the request was accepted.
async fn send(serve: &Serve, line: &str, headers: &str) -> u16 {
    let (mut client_io, server_io) = duplex(64 * 1024);
    serve(Box::new(server_io));
    let request = [line.as_bytes(), headers.as_bytes(), VALID_HEADERS.as_bytes(), HI].concat();
    client_io.write_all(&request).await.unwrap();
    client_io.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    client_io.shutdown().await.unwrap();
    let mut response = Vec::new();
    client_io.read_to_end(&mut response).await.unwrap();
    let head = response.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = response.split_at(head);
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    match status {
        101 => assert_eq!(body, b"\x81\x02hi\x88\x02\x03\xe8", "{line:?} {headers:?}"),
        _ => assert!(!body.windows(4).any(|bytes| bytes == b"\x81\x02hi"), "{body:?}"),
    }
    status
}

/// Checks the status of each adapter, and that the next connection works.
async fn check(servers: &[(&str, Serve)], line: &str, headers: &str, status: u16) {
    let run = async {
        for (by, serve) in servers {
            assert_eq!(send(serve, line, headers).await, status, "{by}: {line:?} {headers:?}");
            assert_eq!(send(serve, "GET /x HTTP/1.1\r\n", "Host: a\r\n").await, 101, "{by}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}

#[tokio::test]
async fn odd_requests_have_the_same_status_and_the_next_connection_works() {
    let servers = adapters::each_and_bare(&AcceptOptions::new(), echo);
    for (line, headers, status) in ROWS {
        check(&servers, line, &format!("{headers}Host: a\r\n"), *status).await;
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let servers = adapters::each_and_bare(&AcceptOptions::new(), echo);
    for (line, host, status) in HOSTS {
        check(&servers, line, host, *status).await;
    }
}

/// The same values over HTTP/2, as `:authority`, and as `host` with and without it. An invalid one is
/// answered with 400, or resets its stream.
#[tokio::test]
async fn a_host_that_is_none_is_refused_over_http2() {
    /// The connection is open afterwards.
    async fn answer(served: &Served, hosts: &[(&str, &str)]) -> Answer {
        let mut client = RawHttp2::connect(|io| served.serve(io)).await;
        let fixed = [
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":path", "/x"),
            (":protocol", "websocket"),
        ];
        let version = [("sec-websocket-version", "13")];
        client.request(1, &[&fixed[..], hosts, &version[..]].concat()).await;
        let answer = client.answer(1).await.unwrap();
        let valid = [(":authority", "a")];
        client.request(3, &[&fixed[..], &valid[..], &version[..]].concat()).await;
        assert_eq!(client.answer(3).await, Some(Answer::Ok), "after {hosts:?}");
        answer
    }
    let hosts = HOSTS.iter().filter(|(line, ..)| line.starts_with("GET /x"));
    let value = |host: &'static str| host.strip_prefix("Host:")?.strip_suffix("\r\n");
    // HTTP/2 has no space around a value.
    let rows = hosts.filter_map(|(_, host, status)| Some((value(host)?.trim(), *status == 101)));
    let run = async {
        for served in adapters::each(&AcceptOptions::new(), echo) {
            for (host, is_valid) in rows.clone().filter(|(host, _)| !host.contains('\n')) {
                let host = [(":authority", host), ("host", host)];
                let valid = (":authority", "a");
                // A `host` may replace `:authority` (RFC 9113 §8.3.1).
                for hosts in [&host[..1], &[valid, host[1]], &host[1..]] {
                    match answer(&served, hosts).await {
                        Answer::Ok => assert!(is_valid, "{}: {hosts:?}", served.by),
                        Answer::BadRequest | Answer::Reset => {
                            assert!(!is_valid, "{}: {hosts:?}", served.by);
                        }
                        Answer::OtherStatus => panic!("{}: {hosts:?}", served.by),
                    }
                }
            }
            let twice = [(":authority", "a"), ("host", "a"), ("host", "a")];
            assert_eq!(answer(&served, &twice).await, Answer::BadRequest, "{}", served.by);
            assert_ne!(answer(&served, &[]).await, Answer::Ok, "{}", served.by);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}

/// Lines of `Host` and of other headers, so that a head with this request line has this length and
/// this number of headers.
fn headers(line: &str, len: usize, count: usize) -> String {
    let mut headers = String::from("Host: a\r\n");
    // `Host`, the four of `VALID_HEADERS`, and one to fill up.
    headers += &"b: c\r\n".repeat(count - 6);
    let rest = len - line.len() - headers.len() - VALID_HEADERS.len() - "d: \r\n".len();
    headers + &format!("d: {}\r\n", "e".repeat(rest))
}

#[tokio::test]
async fn the_head_of_a_request_is_bounded() {
    let line = "GET /x HTTP/1.1\r\n";
    let target = format!("GET /x?{} HTTP/1.1\r\n", "q".repeat(16 * 1024));
    let servers = adapters::each_and_bare(&AcceptOptions::new(), echo);
    check(&servers, line, &headers(line, 16 * 1024, 100), 101).await;
    check(&servers, line, &headers(line, 16 * 1024 + 1, 100), 431).await;
    check(&servers, line, &headers(line, 16 * 1024, 101), 431).await;
    check(&servers, line, &headers(line, 20 * 1024, 10), 431).await;
    check(&servers, line, &headers(line, 60 * 1024, 10), 431).await;
    check(&servers, &target, "Host: a\r\n", 431).await;
    // The servers have limits of their own, for requests of any kind.
    check(&servers, "POST /x HTTP/1.1\r\n", &headers(line, 60 * 1024, 10), 431).await;

    let smaller = AcceptOptions::new().head_limit(1000, 10);
    let servers = adapters::each_and_bare(&smaller, echo);
    check(&servers, line, &headers(line, 1000, 10), 101).await;
    check(&servers, line, &headers(line, 1001, 10), 431).await;
    check(&servers, line, &headers(line, 1000, 11), 431).await;
}

/// The same with the pseudo-headers of HTTP/2, of which the target has the authority.
#[tokio::test]
async fn the_head_of_an_extended_connect_is_bounded() {
    let check = async |served: &Served, len: usize, count: usize, status: u16| {
        let (client_io, server_io) = duplex(64 * 1024);
        served.serve(Box::new(server_io));
        let mut client = adapters::http2(Box::new(client_io)).await;
        let mut request = Request::connect("https://a/x").version(Version::HTTP_2);
        request = request.header("sec-websocket-version", "13");
        for _ in 0..count - 2 {
            request = request.header("b", "c");
        }
        let head = "CONNECT https://a/x HTTP/1.1\r\nsec-websocket-version: 13\r\nd: \r\n\r\n";
        let rest = len - head.len() - "b: c\r\n".len() * (count - 2);
        let request = request.header("d", "e".repeat(rest));
        let request = request.extension(Protocol::from_static("websocket"));
        let response = client.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{}: {len} bytes, {count} headers", served.by);
    };
    let run = async {
        let smaller = AcceptOptions::new().head_limit(1000, 10);
        for served in adapters::each(&smaller, echo) {
            check(&served, 1000, 10, 200).await;
            check(&served, 1001, 10, 431).await;
            check(&served, 1000, 11, 431).await;
        }
        for served in adapters::each(&AcceptOptions::new(), echo) {
            check(&served, 16 * 1024, 100, 200).await;
            check(&served, 16 * 1024 + 1, 100, 431).await;
            check(&served, 16 * 1024, 101, 431).await;
            check(&served, 16 * 1024 + 1, 10, 431).await;
            check(&served, 60 * 1024, 10, 431).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}

/// A head that is larger than the limit of a layer, and within that of the handler of axum.
#[tokio::test]
async fn the_head_limit_of_a_handler_replaces_that_of_a_layer() {
    let limit = |bytes| AcceptOptions::new().head_limit(bytes, 100);
    let handler = async move |ws: WebSocketUpgrade| ws.options(limit(1000)).on_upgrade(echo);
    let app = Router::new().route("/x", any(handler)).layer(Extension(limit(300)));
    let client = ws_server_axum::test_client(app);
    for client in [client.clone(), client.http2()] {
        let dial = async |len| {
            let request = client.websocket("/x").header("x-long", "x".repeat(len));
            request.connect().await
        };
        dial(500).await.unwrap();
        let Err(TestError::Refused(refused)) = dial(1000).await else { panic!("not refused") };
        assert_eq!(refused.status(), 431);
    }
}
