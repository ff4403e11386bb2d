//! How does the service respond to targets, methods, hosts and heads that clients do not send?

use crate::support::raw_http2::Answer;
use crate::support::{FRAMEWORKS, Server, echo, within};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use ws_events_socketio::{AcceptOptions, SocketIo};

const OPEN: &str = "/engine.io/?EIO=4&transport=polling";

/// Targets with a path of the service, with another one, and with none.
const TARGETS: [&str; 14] = [
    OPEN,
    "/engine.io/?EIO=4&transport=websocket",
    "/engine.io/",
    "http://a/engine.io/?EIO=4&transport=polling",
    "http://a",
    "http://a?q",
    "a:80",
    "a",
    "*",
    "?EIO=4&transport=polling",
    "x/y",
    "/",
    "%",
    ":",
];

const METHODS: [&str; 8] = ["GET", "POST", "CONNECT", "OPTIONS", "DELETE", "HEAD", "PRI", "X"];

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Lines of `Host`, and whether they are valid (RFC 9112 §3.2).
const HOSTS: [(&str, bool); 10] = [
    ("Host: a\r\n", true),
    ("Host: a:80\r\n", true),
    ("Host: [::1]:80\r\n", true),
    ("", false),
    ("Host:\r\n", false),
    ("Host: a b\r\n", false),
    ("Host: user@a\r\n", false),
    ("Host: a:99999\r\n", false),
    ("Host: a/b\r\n", false),
    ("Host: a\r\nHost: a\r\n", false),
];

#[tokio::test]
async fn each_target_and_method_is_answered_over_http1() {
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        for method in METHODS {
            for target in TARGETS {
                for version in ["1.0", "1.1"] {
                    for headers in ["", UPGRADE] {
                        let line = format!("{method} {target} HTTP/{version}");
                        let request = format!("{line}\r\nHost: a\r\n{headers}\r\n");
                        let status = server.status(&request).await;
                        let row = format!("{framework:?}: {line}, {} headers", headers.len());
                        assert!(status < 500, "{row}: {status}");
                        let opens = match status {
                            101 => version == "1.1" && target.contains("=websocket"),
                            // HTTP/1.0 has no upgrade.
                            200 => {
                                target.contains("=polling")
                                    && (headers.is_empty() || version == "1.0")
                            }
                            _ => continue,
                        };
                        assert!(opens && method == "GET", "{row}: {status}");
                    }
                }
            }
        }
        assert_eq!(server.get("EIO=4&transport=polling").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn each_target_and_method_is_answered_over_http2() {
    let paths = [
        None,
        Some(OPEN),
        Some("/"),
        Some("*"),
        Some("?q"),
        Some("x/y"),
        Some("http://a"),
        Some(""),
    ];
    let authorities = [None, Some("a"), Some("user@a"), Some("a b"), Some("")];
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        for method in ["GET", "POST", "CONNECT", "OPTIONS"] {
            for path in paths {
                for authority in authorities {
                    for scheme in [None, Some("https")] {
                        for protocol in [None, Some("websocket")] {
                            let mut headers = vec![(":method", method)];
                            headers.extend(scheme.map(|scheme| (":scheme", scheme)));
                            headers.extend(authority.map(|it| (":authority", it)));
                            headers.extend(path.map(|path| (":path", path)));
                            headers.extend(protocol.map(|protocol| (":protocol", protocol)));
                            headers.push(("sec-websocket-version", "13"));
                            let mut client = server.raw_http2().await;
                            client.request(1, &headers).await;
                            let answer = within(client.answer(1)).await;
                            assert!(answer.is_some(), "{framework:?}: {headers:?}");
                            // The connection still works.
                            let valid = [
                                (":method", "GET"),
                                (":scheme", "http"),
                                (":authority", "a"),
                                (":path", OPEN),
                            ];
                            client.request(3, &valid).await;
                            let next = within(client.answer(3)).await;
                            assert_eq!(next, Some(Answer::Ok), "{framework:?}: after {headers:?}");
                        }
                    }
                }
            }
        }
    }
}

/// A GET that opens a session, and a POST to it: the request line, further headers, and the body.
async fn requests(server: &Server) -> [(String, &'static str, &'static str); 2] {
    let query = server.open_polling().await;
    [
        (format!("GET {OPEN} HTTP/1.1\r\n"), "", ""),
        (format!("POST /engine.io/?{query} HTTP/1.1\r\n"), "Content-Length: 1\r\n", "6"),
    ]
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        for (line, headers, body) in requests(&server).await {
            for (host, is_valid) in HOSTS {
                let request = format!("{line}{host}{headers}\r\n{body}");
                let expected = if is_valid { 200 } else { 400 };
                let status = server.status(&request).await;
                assert_eq!(status, expected, "{framework:?}: {line:?} {host:?}");
            }
        }
        let value = |host: &'static str| host.strip_prefix("Host: ")?.strip_suffix("\r\n");
        let values =
            HOSTS.into_iter().filter_map(|(host, is_valid)| Some((value(host)?, is_valid)));
        for (host, is_valid) in values.filter(|(host, _)| !host.contains('\n')) {
            for method in ["GET", "POST"] {
                let mut client = server.raw_http2().await;
                let fixed = [(":method", method), (":scheme", "http"), (":path", OPEN)];
                // With an authority that is valid, and without one.
                for (stream, hosts) in
                    [(1, &[(":authority", "a"), ("host", host)][..]), (3, &[("host", host)])]
                {
                    client.request(stream, &[&fixed[..], hosts].concat()).await;
                    let answer = within(client.answer(stream)).await.unwrap();
                    let row = format!("{framework:?}: {method} {hosts:?}: {answer:?}");
                    match (method, answer) {
                        // A POST opens no session.
                        ("POST", answer) => assert_ne!(answer, Answer::Ok, "{row}"),
                        (_, Answer::Ok) => assert!(is_valid, "{row}"),
                        (_, Answer::BadRequest | Answer::Reset) => assert!(!is_valid, "{row}"),
                        (_, Answer::OtherStatus) => panic!("{row}"),
                    }
                }
            }
        }
    }
}

/// A request with a head of this length and this number of headers.
fn with_head(line: &str, headers: &str, body: &str, len: usize, count: usize) -> String {
    let fixed = format!("{line}Host: a\r\n{headers}");
    // `Host`, the others, and one to fill up.
    let short = "b: c\r\n".repeat(count - 2 - headers.lines().count());
    let rest = len - fixed.len() - short.len() - "d: \r\n\r\n".len();
    format!("{fixed}{short}d: {}\r\n\r\n{body}", "e".repeat(rest))
}

#[tokio::test]
async fn the_head_of_a_request_is_bounded() {
    // axum counts the target without the path at which a service is nested.
    const OVER: usize = "/engine.io".len() + 1;
    const ROWS: [(usize, usize, u16); 6] = [
        (1000, 10, 200),
        (16 * 1024, 100, 200),
        (16 * 1024 + OVER, 100, 431),
        (16 * 1024, 101, 431),
        (17 * 1024, 10, 431),
        (60 * 1024, 10, 431),
    ];
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        for (line, headers, body) in requests(&server).await {
            for (len, count, expected) in ROWS {
                let request = with_head(&line, headers, body, len, count);
                let status = server.status(&request).await;
                assert_eq!(status, expected, "{framework:?}: {line:?}, {len} B, {count} headers");
            }
        }
        let smaller = AcceptOptions::new().head_limit(1000, 10);
        let smaller = Server::start(framework, SocketIo::engine(echo).options(smaller)).await;
        for (line, headers, body) in requests(&smaller).await {
            for (len, count, expected) in [(1000, 10, 200), (1000 + OVER, 10, 431), (1000, 11, 431)]
            {
                let request = with_head(&line, headers, body, len, count);
                let status = smaller.status(&request).await;
                assert_eq!(status, expected, "{framework:?}: {line:?}, {len} B, {count} headers");
            }
        }
        let query = server.open_polling().await;
        for (method, query, body) in
            [(Method::GET, "EIO=4&transport=polling", ""), (Method::POST, &*query, "6")]
        {
            for (len, count, expected) in ROWS {
                let io = TokioIo::new(within(TcpStream::connect(server.addr)).await.unwrap());
                let executor = TokioExecutor::new();
                let (mut client, conn) = within(http2::handshake(executor, io)).await.unwrap();
                tokio::spawn(conn);
                let uri = format!("http://a/engine.io/?{query}");
                let head = format!("{method} {uri} HTTP/1.1\r\nd: \r\n\r\n");
                // hyper adds `content-length` for a body.
                let (own, own_len) = match body {
                    "" => (0, 0),
                    _ => (1, "content-length: 1\r\n".len()),
                };
                let short = count - 1 - own;
                let rest = len - head.len() - own_len - "b: c\r\n".len() * short;
                let mut request = Request::builder().method(method.clone()).uri(uri);
                for _ in 0..short {
                    request = request.header("b", "c");
                }
                let request = request.header("d", "e".repeat(rest));
                let request = request.body(Full::<Bytes>::from(body)).unwrap();
                let response = within(client.send_request(request)).await.unwrap();
                let status = response.status().as_u16();
                assert_eq!(status, expected, "{framework:?}: {method}, {len} B, {count} headers");
            }
        }
    }
}
