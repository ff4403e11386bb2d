//! Does every form of a request target get an answer, whatever the method, version and adapter?

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;
use warp::Filter as _;
use ws_server_hyper::{AcceptOptions, Conn};

use crate::adapters;
use crate::adapters::Serve;
use crate::adapters::raw_http2::{Answer, RawHttp2};

async fn handler(_: Conn) {}

/// The forms of RFC 9112 §3.2, and what is none of them.
const TARGETS: &[&str] = &[
    "/x",
    "/x?q",
    "/",
    "//x",
    "/?q",
    "http://a/x",
    "http://a",
    "http://a/",
    "http://a?q",
    "ws://a/x",
    "a:80",
    "a",
    "[::1]:80",
    "user@a:80",
    "*",
    "?q",
    "x/y",
    "*/x",
    "%",
    ":",
    "#",
];

const METHODS: &[&str] = &["GET", "CONNECT", "OPTIONS", "POST", "PRI", "HEAD", "X"];

const VALID_HEADERS: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Filters of warp, all of which want a path, in front of a WebSocket.
fn warp_routes() -> impl warp::Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone
{
    let options = AcceptOptions::new();
    let ws = || ws_server_warp::websocket(options.clone(), handler);
    let full = warp::path("full").and(warp::path::full()).and(ws()).map(|_, reply| reply);
    let tail = warp::path("tail").and(warp::path::tail()).and(ws()).map(|_, reply| reply);
    let routes = full.or(tail).unify().or(warp::path::end().and(ws())).unify();
    routes.or(ws()).unify().recover(ws_server_warp::recover)
}

/// Our adapters, and servers with filters of warp: our own and hyper's.
fn servers() -> Vec<(&'static str, Serve)> {
    let mut servers = adapters::each_and_bare(&AcceptOptions::new(), handler);
    let service = warp::service(warp_routes());
    servers.push((
        "filters of warp",
        Box::new(move |io| {
            let serving = ws_server_warp::serve_stream(io, None, service.clone());
            tokio::spawn(async { serving.await.map_err(drop) });
        }),
    ));
    let route = ws_server_warp::websocket(AcceptOptions::new(), handler);
    let service = warp::service(route.recover(ws_server_warp::recover));
    servers.push((
        "warp on hyper's server",
        Box::new(move |io| {
            let service = TowerToHyperService::new(service.clone());
            let conn = http1::Builder::new().serve_connection(TokioIo::new(io), service);
            tokio::spawn(conn.with_upgrades());
        }),
    ));
    servers
}

/// The status of the answer to a request over HTTP/1.
async fn send(by: &str, serve: &Serve, request: &str) -> u16 {
    let (mut client_io, server_io) = duplex(64 * 1024);
    serve(Box::new(server_io));
    client_io.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    // The server keeps the connection open for another request.
    while !response.ends_with(b"\r\n\r\n") && client_io.read_buf(&mut response).await.unwrap() > 0 {
        let head = response.windows(4).position(|end| end == b"\r\n\r\n");
        response.truncate(head.map_or(usize::MAX, |head| head + 4));
    }
    let status = response.get(9..12).unwrap_or_else(|| panic!("{by}: no answer to {request:?}"));
    std::str::from_utf8(status).unwrap().parse().unwrap()
}

#[tokio::test]
async fn each_target_and_method_is_answered_over_http1() {
    for (by, serve) in servers() {
        for method in METHODS {
            for target in TARGETS {
                for version in ["1.0", "1.1"] {
                    for headers in [VALID_HEADERS, "Host: a\r\n"] {
                        let request = format!("{method} {target} HTTP/{version}\r\n{headers}\r\n");
                        let answer = timeout(Duration::from_secs(20), send(by, &serve, &request));
                        let status = answer.await.unwrap_or_else(|_| panic!("{by}: {request:?}"));
                        let opens =
                            *method == "GET" && version == "1.1" && headers != "Host: a\r\n";
                        if target.contains(['*', '@', '#']) || !target.contains('/') || !opens {
                            assert_ne!(status, 101, "{by}: {request:?}");
                        }
                        assert_ne!(status, 500, "{by}: {request:?}");
                    }
                }
            }
        }
    }
}

/// The same status for what is no path, by each adapter. The router of axum has no route for it.
#[tokio::test]
async fn a_target_without_a_path_is_refused_alike() {
    for (by, serve) in servers() {
        let check = async |line: &str, headers: &str, status: u16| {
            let status = if by == "axum" { 404 } else { status };
            let request = format!("{line} HTTP/1.1\r\n{headers}\r\n");
            assert_eq!(send(by, &serve, &request).await, status, "{by}: {request:?}");
        };
        check("CONNECT a:80", VALID_HEADERS, 405).await;
        check("GET a:80", VALID_HEADERS, 400).await;
        check("GET a", VALID_HEADERS, 400).await;
        check("GET *", VALID_HEADERS, 400).await;
        check("CONNECT a:80", "Host: a\r\n", 426).await;
    }
}

#[tokio::test]
async fn each_target_and_method_is_answered_over_http2() {
    let paths =
        [None, Some("/x"), Some("/x?q"), Some("*"), Some("?q"), Some("x"), Some("http://a")];
    let authorities = [None, Some("a"), Some("a:80"), Some("user@a"), Some("a b"), Some("")];
    let mut servers = servers();
    // These have no HTTP/2.
    servers.retain(|(by, _)| !["bare", "warp on hyper's server"].contains(by));
    for (by, serve) in servers {
        let mut rows = Vec::new();
        for method in METHODS {
            for path in paths {
                for authority in authorities {
                    for scheme in [None, Some("https")] {
                        for protocol in [None, Some("websocket")] {
                            rows.push((*method, path, authority, scheme, protocol));
                        }
                    }
                }
            }
        }
        for (method, path, authority, scheme, protocol) in rows {
            let mut client = RawHttp2::connect(&serve).await;
            let mut headers = vec![(":method", method)];
            headers.extend(scheme.map(|scheme| (":scheme", scheme)));
            headers.extend(authority.map(|authority| (":authority", authority)));
            headers.extend(path.map(|path| (":path", path)));
            headers.extend(protocol.map(|protocol| (":protocol", protocol)));
            headers.push(("sec-websocket-version", "13"));
            client.request(1, &headers).await;
            let answer = timeout(Duration::from_secs(20), client.answer(1)).await;
            assert!(answer.expect("hangs").is_some(), "{by}: {headers:?}");
            // The connection still works.
            let next =
                [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
            client.request(3, &next).await;
            let next = client.answer(3).await;
            assert!(next.is_some_and(|next| next != Answer::Reset), "{by}: after {headers:?}");
        }
    }
}

/// A limit of hyper 1.12, which ends the whole connection (README.md, "Limits"). If this fails,
/// hyper has learned better, and the limit can go.
#[tokio::test]
async fn an_extended_connect_that_declares_content_ends_the_connection() {
    for served in adapters::each(&AcceptOptions::new(), handler) {
        let mut client = RawHttp2::connect(|io| served.serve(io)).await;
        let mut connect = vec![
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/x"),
            (":protocol", "websocket"),
            ("sec-websocket-version", "13"),
        ];
        client.request(1, &connect).await;
        assert_eq!(client.answer(1).await, Some(Answer::Ok), "{}", served.by);
        connect.push(("content-length", "0"));
        client.request(3, &connect).await;
        assert_eq!(client.answer(3).await, Some(Answer::Ok), "{}", served.by);
        *connect.last_mut().unwrap() = ("content-length", "5");
        client.request(5, &connect).await;
        assert!(matches!(client.answer(5).await, None | Some(Answer::Reset)), "{}", served.by);
        assert!(client.frame().await.is_none(), "{}", served.by);
    }
}

/// Echoes, until a message asks it to stop reading.
async fn echo_or_hold(conn: Conn) {
    while let Ok(message) = conn.read().await {
        if message == "hold".into() {
            std::future::pending::<()>().await;
        }
        conn.write(message).await.unwrap();
    }
}

/// The bound of h2 for short frames that are not read, which hyper sets by the window.
#[tokio::test]
async fn short_frames_that_are_not_read_end_their_connection_only() {
    const DATA: u8 = 0;
    const GOAWAY: u8 = 7;
    const WINDOW_UPDATE: u8 = 8;
    const ENHANCE_YOUR_CALM: u8 = 11;
    /// What is read ahead, and the window of the stream, with frames of one byte.
    const MOST: usize = 2 * 64 * 1024;
    const CONNECT: &[(&str, &str)] = &[
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/x"),
        (":protocol", "websocket"),
        ("sec-websocket-version", "13"),
    ];
    let message = b"\x82\x81\0\0\0\0.";
    for served in adapters::each(&AcceptOptions::new(), echo_or_hold) {
        let by = served.by;
        let mut neighbour = RawHttp2::connect(|io| served.serve(io)).await;
        let mut hostile = RawHttp2::connect(|io| served.serve(io)).await;
        for client in [&mut neighbour, &mut hostile] {
            client.request(1, CONNECT).await;
            assert_eq!(client.answer(1).await, Some(Answer::Ok), "{by}");
        }
        hostile.data(1, [b"\x81\x84\0\0\0\0hold".as_slice()].into_iter()).await;
        let mut bytes = message.chunks(1).cycle();
        let (mut sent, mut window) = (0, 60 * 1024);
        let reason = timeout(Duration::from_secs(60), async {
            loop {
                hostile.data(1, bytes.by_ref().take(window)).await;
                (sent, window) = (sent + window, 0);
                assert!(sent <= MOST, "{by}: {sent} frames are kept");
                match hostile.frame().await.expect("GOAWAY is sent") {
                    (GOAWAY, _, payload) => return payload[7],
                    (WINDOW_UPDATE, 1, payload) => {
                        window = u32::from_be_bytes(payload.try_into().unwrap()) as usize;
                    }
                    _ => {}
                }
            }
        });
        assert_eq!(reason.await.expect("the connection ends"), ENHANCE_YOUR_CALM, "{by}");
        while hostile.frame().await.is_some() {}
        neighbour.data(1, [b"\x81\x82\0\0\0\0hi".as_slice()].into_iter()).await;
        let echo = loop {
            let frame = neighbour.frame().await.expect("the connection of the neighbour goes on");
            if let (DATA, 1, payload) = frame {
                break payload;
            }
        };
        assert_eq!(echo, b"\x81\x02hi", "{by}");
    }
}
