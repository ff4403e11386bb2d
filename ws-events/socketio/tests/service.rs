//! Which requests does the service refuse, and which headers does it send?

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use crate::support::{FOREVER, FRAMEWORKS, Framework, Server, echo, read, within, write};
use axum::Router;
use futures::stream::{self, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_service::Service as _;
use ws_client::Dial;
use ws_core::handler::ConnectionLimits;
use ws_core::handshake::{Encrypted, TrustedProxies};
use ws_core::{Message, PeerAddr};
use ws_events::Hub;
use ws_events_socketio::{AcceptOptions, EngineConfig, Origin, SocketIo};
use ws_server_axum::nested;

const OPEN: &str = "EIO=4&transport=polling";
const PAGE: &str = "https://page.example";

fn socketio() -> SocketIo {
    SocketIo::engine(echo)
}

async fn hyper(socketio: SocketIo) -> Server {
    Server::start(Framework::Hyper, socketio).await
}

/// The code of a refusal.
fn code(body: &str) -> u64 {
    let refused: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(!refused["message"].as_str().unwrap().is_empty());
    refused["code"].as_u64().unwrap()
}

#[tokio::test]
async fn each_refusal_has_a_status_and_a_code_with_each_framework() {
    for framework in FRAMEWORKS {
        let server = Server::start(framework, socketio()).await;
        let check = async |method: Method, query: &str, body: &str, status: u16, expected: u64| {
            let request = server.builder(method.clone(), query).body(body.to_owned().into());
            let answer = server.request(request.unwrap()).await;
            let row = format!("{method} {query} {body:?} {framework:?}: {}", answer.body);
            assert_eq!((answer.status.as_u16(), code(&answer.body)), (status, expected), "{row}");
            assert_eq!(answer.headers["content-type"], "application/json", "{row}");
        };
        let sid = "EIO=4&transport=polling&sid=unknown";
        check(Method::GET, "", "", 400, 0).await;
        check(Method::GET, "EIO=4&transport=webtransport", "", 400, 0).await;
        check(Method::GET, sid, "", 400, 1).await;
        check(Method::POST, sid, "4a", 400, 1).await;
        check(Method::POST, OPEN, "", 400, 2).await;
        check(Method::POST, "EIO=4&transport=websocket", "", 400, 2).await;
        check(Method::GET, "EIO=4&transport=websocket", "", 400, 3).await;
        check(Method::GET, "EIO=3&transport=polling", "", 400, 5).await;
        check(Method::DELETE, &server.open_polling().await, "", 400, 3).await;
        check(Method::POST, &server.open_polling().await, "", 400, 3).await;
        check(Method::POST, &server.open_polling().await, "2", 400, 3).await;
        let websocket = server.open_polling().await.replace("polling", "websocket");
        check(Method::GET, &websocket, "", 400, 3).await;
        // A WebSocket for another transport, of another version, and of an unknown session.
        for query in [OPEN, "EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=unknown"] {
            let dial = Dial::new(format!("ws://{}/engine.io/?{query}", server.addr));
            let refused = within(dial.connect()).await.unwrap_err();
            let response = refused.refused_response().map(|response| response.status);
            assert_eq!(response, Some(StatusCode::BAD_REQUEST), "{query}");
        }
    }
}

#[tokio::test]
async fn the_origin_policy_holds_for_polling_and_websockets() {
    let options = AcceptOptions::new().origin(Origin::patterns(["page.example"]));
    let server = hyper(socketio().options(options)).await;
    let get = async |origin: &str, query: &str| {
        let request = server.builder(Method::GET, query).header("origin", origin);
        server.request(request.body("".into()).unwrap()).await
    };
    let answer = get(PAGE, OPEN).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["access-control-allow-origin"], PAGE);
    assert_eq!(answer.headers["vary"], "origin");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));

    // A page can read why it is refused, if it may connect at all.
    let answer = get(PAGE, "EIO=3&transport=polling").await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::BAD_REQUEST, 5));
    assert_eq!(answer.headers["access-control-allow-origin"], PAGE);

    let answer = get("https://evil.example", OPEN).await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::FORBIDDEN, 4));
    assert!(!answer.headers.contains_key("access-control-allow-origin"));

    let dial = |origin: &str| {
        let url = format!("ws://{}/engine.io/?EIO=4&transport=websocket", server.addr);
        Dial::new(url).origin(origin.to_owned()).connect()
    };
    assert!(within(dial(PAGE)).await.is_ok());
    assert!(within(dial("https://evil.example")).await.is_err());

    // Programs other than browsers send no origin.
    let answer = server.get(OPEN).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

/// A page without an origin of its own, such as a file or a sandboxed frame, has the origin `null`.
#[tokio::test]
async fn a_page_without_an_origin_is_allowed_by_name_alone() {
    for (pattern, with_credentials) in
        [("null", false), ("null", true), ("*", true), ("*.null", true), ("page.example", true)]
    {
        let options = AcceptOptions::new().origin(Origin::patterns([pattern]));
        let socketio = socketio().options(options);
        let socketio = if with_credentials { socketio.credentials() } else { socketio };
        let server = hyper(socketio).await;
        let send = async |method: Method, query: &str, origin: &str, body: &'static str| {
            let request = server.builder(method, query).header("origin", origin);
            server.request(request.body(body.into()).unwrap()).await
        };
        let row = format!("{pattern}, credentials: {with_credentials}");
        let url = format!("ws://{}/engine.io/?EIO=4&transport=websocket", server.addr);
        let dialled = within(Dial::new(url).origin("null").connect()).await;
        assert_eq!(dialled.is_ok(), pattern == "null", "{row}");
        let opened = send(Method::GET, OPEN, "null", "").await;
        let asked = send(Method::OPTIONS, OPEN, "null", "").await;
        if pattern != "null" {
            for answer in [opened, asked] {
                assert_eq!(
                    (answer.status, code(&answer.body)),
                    (StatusCode::FORBIDDEN, 4),
                    "{row}"
                );
                let allows = |name: &str| answer.headers.contains_key(name);
                assert!(!allows("access-control-allow-origin"), "{row}");
                assert!(!allows("access-control-allow-credentials"), "{row}");
            }
            continue;
        }
        let open: serde_json::Value = serde_json::from_str(&opened.body[1..]).unwrap();
        let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
        let posted = send(Method::POST, &query, "null", "4a").await;
        for answer in [opened, asked, posted] {
            assert!(answer.status.is_success(), "{row}");
            assert_eq!(answer.headers["access-control-allow-origin"], "null", "{row}");
            let credentials = answer.headers.get("access-control-allow-credentials");
            assert_eq!(credentials.is_some_and(|it| it == "true"), with_credentials, "{row}");
        }
        // Another page may neither connect nor use the session.
        for query in [OPEN, &query] {
            let other = send(Method::GET, query, PAGE, "").await;
            assert_eq!((other.status, code(&other.body)), (StatusCode::FORBIDDEN, 4), "{row}");
        }
    }
}

#[tokio::test]
async fn a_browser_may_ask_before_a_request() {
    let server =
        hyper(socketio().options(AcceptOptions::new().origin(Origin::any())).credentials()).await;
    let request = server
        .builder(Method::OPTIONS, OPEN)
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-token");
    let answer = server.request(request.body("".into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.headers["access-control-allow-origin"], PAGE);
    assert_eq!(answer.headers["access-control-allow-methods"], "GET, POST");
    assert_eq!(answer.headers["access-control-allow-headers"], "x-token");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");

    let server = hyper(socketio()).await;
    let request = server.builder(Method::OPTIONS, OPEN).header("origin", PAGE);
    let answer = server.request(request.body("".into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_session_belongs_to_the_page_that_has_opened_it() {
    let options = AcceptOptions::new().origin(Origin::any());
    let server = hyper(socketio().options(options)).await;
    let send = async |method: Method, query: &str, origin: Option<&str>| {
        let mut request = server.builder(method, query);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        server.request(request.body("4a".into()).unwrap()).await
    };
    let opened = send(Method::GET, OPEN, Some(PAGE)).await;
    let open: serde_json::Value = serde_json::from_str(&opened.body[1..]).unwrap();
    let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
    let stolen = send(Method::POST, &query, Some("https://evil.example")).await;
    assert_eq!((stolen.status, code(&stolen.body)), (StatusCode::FORBIDDEN, 4));
    assert_eq!(send(Method::POST, &query, Some(PAGE)).await.status, StatusCode::OK);
    assert_eq!(send(Method::GET, &query, None).await.body, "4a");
}

#[tokio::test]
async fn a_cookie_names_the_session_if_it_is_configured() {
    let server = hyper(socketio().cookie("io")).await;
    let answer = server.get(OPEN).await;
    let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).unwrap();
    let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax", open["sid"].as_str().unwrap());
    assert_eq!(answer.headers["set-cookie"], expected);
    assert_eq!(answer.headers["cache-control"], "no-store");

    for socketio in [socketio(), socketio().cookie("not a token")] {
        assert!(!hyper(socketio).await.get(OPEN).await.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_ends_the_session() {
    let server = hyper(socketio().config(EngineConfig::new().max_payload(1000))).await;
    let query = server.open_polling().await;
    let fits = "x".repeat(999);
    assert_eq!(server.post(&query, &format!("4{fits}")).await.status, StatusCode::OK);
    assert_eq!(server.get(&query).await.body, format!("4{fits}"));
    let answer = server.post(&query, &format!("4{fits}x")).await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::PAYLOAD_TOO_LARGE, 3));
    assert_eq!(server.post(&query, "4a").await.status, StatusCode::BAD_REQUEST);

    // A WebSocket has the same limit, also after an upgrade.
    let upgraded = server.upgrading(&server.open_polling().await).await;
    write(&upgraded, "2probe").await;
    assert_eq!(read(&upgraded).await, Message::text("3probe"));
    write(&upgraded, "5").await;
    let opened = server.websocket("EIO=4&transport=websocket").await;
    read(&opened).await;
    for conn in [upgraded, opened] {
        write(&conn, &format!("4{fits}")).await;
        assert_eq!(read(&conn).await.len(), 1000);
        write(&conn, &format!("4{fits}x")).await;
        let closed = within(conn.closed()).await;
        assert_eq!(closed.received.map(|close| u16::from(close.code)), Some(1009));
    }
}

/// Without a declared length, and with an end that does not come.
#[tokio::test(start_paused = true)]
async fn a_body_in_pieces_is_bounded_in_size_and_time() {
    let mut socketio = socketio().config(EngineConfig::new().max_payload(1000));
    let mut send = async |method: Method, query: &str, pieces: usize, is_whole: bool| {
        let piece = || Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[b'4'; 100])));
        let body = stream::iter((0..pieces).map(move |_| piece()));
        let rest = stream::pending().take(usize::from(!is_whole));
        let request = Request::builder().method(method).uri(format!("/?{query}"));
        let request = request.header("host", "a").body(StreamBody::new(body.chain(rest))).unwrap();
        let response = within(socketio.call(request)).await.unwrap();
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        (status.as_u16(), String::from_utf8(body.to_bytes().to_vec()).unwrap())
    };
    let mut check = async |pieces, is_whole, status| {
        let (_, open) = send(Method::GET, OPEN, 0, true).await;
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
        let began = tokio::time::Instant::now();
        let (posted, body) = send(Method::POST, &query, pieces, is_whole).await;
        assert_eq!(posted, status, "{pieces} {is_whole}: {body}");
        // A POST that is refused has ended the session.
        let again = if status == 200 { 200 } else { 400 };
        assert_eq!(send(Method::POST, &query, 1, true).await.0, again, "{pieces} {is_whole}");
        began.elapsed()
    };
    assert_eq!(check(10, true, 200).await, Duration::ZERO);
    assert_eq!(check(11, true, 413).await, Duration::ZERO);
    assert_eq!(check(11, false, 413).await, Duration::ZERO);
    assert_eq!(check(1, false, 408).await, Duration::from_secs(30));
}

/// A buffer of an HTTP server, of which a body has one byte. Counts those that are still in memory.
struct ServerBuffer(Arc<AtomicUsize>);

impl AsRef<[u8]> for ServerBuffer {
    fn as_ref(&self) -> &[u8] {
        b"4"
    }
}

impl Drop for ServerBuffer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test]
async fn a_body_in_many_pieces_keeps_no_buffer_of_the_server() {
    let mut socketio = socketio();
    let live = Arc::new(AtomicUsize::new(0));
    let buffers = Arc::clone(&live);
    let piece = move || {
        let before = buffers.fetch_add(1, SeqCst);
        assert!(before <= 2, "{before} buffers");
        Ok::<_, Infallible>(Frame::data(Bytes::from_owner(ServerBuffer(Arc::clone(&buffers)))))
    };
    let mut send = async |method: Method, query: &str, pieces: usize| {
        let piece = piece.clone();
        let body = StreamBody::new(stream::iter((0..pieces).map(move |_| piece())));
        let request = Request::builder().method(method).uri(format!("/?{query}"));
        let request = request.header("host", "a").body(body).unwrap();
        let response = within(socketio.call(request)).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    };
    let open = send(Method::GET, OPEN, 0).await;
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(send(Method::POST, &query, 10_000).await, "ok");
    assert_eq!(live.load(SeqCst), 0);
}

/// Whether the transport is encrypted, the address of the peer, its headers → what the session knows.
#[tokio::test]
async fn a_session_knows_when_and_how_it_was_opened() {
    let (sender, mut opened) = mpsc::unbounded_channel();
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let socketio = SocketIo::engine(move |session| {
        let sender = sender.clone();
        async move { sender.send(session.request().unwrap()).unwrap() }
    });
    let mut socketio = socketio.options(AcceptOptions::new().trusted_proxies(proxies));
    let mut check = async |encrypted: bool, peer: &str, proto: Option<&str>, expected: bool| {
        let peer: SocketAddr = format!("{peer}:1").parse().unwrap();
        let mut request = Request::get(format!("/?{OPEN}&room=7")).header("host", "a");
        if let Some(proto) = proto {
            request = request.header("x-forwarded-proto", proto);
        }
        let mut request = request.extension(PeerAddr(peer)).body(String::new()).unwrap();
        if encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        let before = SystemTime::now();
        assert_eq!(within(socketio.call(request)).await.unwrap().status(), StatusCode::OK);
        let request = within(opened.recv()).await.unwrap();
        let row = format!("{encrypted} {peer} {proto:?}");
        assert_eq!(request.secure, expected, "{row}");
        let received_at = request.received_at.unwrap();
        assert!(before <= received_at && received_at <= SystemTime::now(), "{row}");
        assert_eq!((request.query("room").as_deref(), request.peer_addr), (Some("7"), Some(peer)));
    };
    check(false, "192.0.2.1", None, false).await;
    check(true, "192.0.2.1", None, true).await;
    // Only a proxy may say it.
    check(false, "192.0.2.1", Some("https"), false).await;
    check(true, "192.0.2.1", Some("http"), true).await;
    check(false, "10.0.0.1", Some("https"), true).await;
    check(true, "10.0.0.1", Some("http"), false).await;
    check(true, "10.0.0.1", None, true).await;
}

/// How a session is served.
#[derive(Clone, Copy, Debug)]
enum Serving {
    By(Framework),
    /// With axum's own server, which keeps the address where only axum finds it.
    AxumServe,
}

async fn serve_at(serving: Serving, socketio: SocketIo, path: &str) -> SocketAddr {
    match serving {
        Serving::By(framework) => Server::start_at(framework, socketio, path).await.addr,
        Serving::AxumServe => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let app = Router::new().nest_service(path, nested(socketio));
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
            addr
        }
    }
}

const SERVINGS: [(Serving, &str, Option<&str>); 4] = [
    (Serving::By(Framework::Hyper), "/t/7/socket.io/", None),
    (Serving::By(Framework::Warp), "/t/7/socket.io/", None),
    (Serving::By(Framework::Axum), "/t/{id}/socket.io/", Some("7")),
    (Serving::AxumServe, "/t/{id}/socket.io/", Some("7")),
];

/// Each row has the path of the service and the path parameter of its clients.
#[tokio::test]
async fn a_session_knows_its_request_with_each_framework_and_transport() {
    for (serving, path, param) in SERVINGS {
        for (transport, proto) in [
            ("polling", "http"),
            ("polling", "https"),
            ("websocket", "http"),
            ("websocket", "https"),
        ] {
            let (sender, mut opened) = mpsc::unbounded_channel();
            let socketio = SocketIo::engine(move |session| {
                let sender = sender.clone();
                async move { sender.send((session.request().unwrap(), session.peer_addr())).unwrap() }
            });
            let proxies = TrustedProxies::new(["127.0.0.0/8"]).unwrap();
            let options = AcceptOptions::new().trusted_proxies(proxies);
            let addr = serve_at(serving, socketio.options(options), path).await;
            let target = format!("/t/7/socket.io/?EIO=4&transport={transport}&room=a%20b");
            if transport == "polling" {
                let server = Server { addr, framework: Framework::Hyper };
                let request = Request::get(&target).header("host", addr.to_string());
                let request = request.header("x-forwarded-proto", proto).body("".into()).unwrap();
                assert_eq!(server.request(request).await.status, StatusCode::OK);
            } else {
                let dial = Dial::new(format!("ws://{addr}{target}"));
                within(dial.header("x-forwarded-proto", proto).connect()).await.unwrap();
            }
            let (request, peer_addr) = within(opened.recv()).await.unwrap();
            let row = format!("{serving:?}, {transport}, {proto}");
            assert_eq!(request.uri.path(), "/t/7/socket.io/", "{row}");
            assert_eq!(request.query("room").as_deref(), Some("a b"), "{row}");
            assert_eq!(request.param("id"), param, "{row}");
            assert_eq!(request.header("x-forwarded-proto"), Some(proto), "{row}");
            assert_eq!(request.secure, proto == "https", "{row}");
            assert_eq!(peer_addr.map(|addr| addr.ip()), Some([127, 0, 0, 1].into()), "{row}");
            assert_eq!(request.peer_addr, peer_addr, "{row}");
        }
    }
}

#[tokio::test]
async fn the_limit_of_an_address_counts_its_sessions_with_each_framework() {
    for (serving, path, _) in SERVINGS {
        let limits = ConnectionLimits::new().per_address(1);
        let socketio = SocketIo::engine(|session| async move { drop(session.closed().await) });
        let socketio = socketio.options(AcceptOptions::new().limits(&limits));
        let addr = serve_at(serving, socketio, path).await;
        let server = Server { addr, framework: Framework::Hyper };
        let open =
            || Request::get(format!("/t/7/socket.io/?{OPEN}")).header("host", addr.to_string());
        for expected in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
            let answer = server.request(open().body("".into()).unwrap()).await;
            assert_eq!(answer.status, expected, "{serving:?}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_limits_of_the_server_count_each_session_once() {
    let limits = ConnectionLimits::new().connections(1);
    let server = hyper(socketio().options(AcceptOptions::new().limits(&limits))).await;
    let query = server.open_polling().await;
    let answer = server.get(OPEN).await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::SERVICE_UNAVAILABLE, 4));
    assert_eq!(answer.headers["retry-after"], "10");
    // The upgrade of a session is not another one.
    let conn = server.upgrading(&query).await;
    write(&conn, "2probe").await;
    assert_eq!(read(&conn).await, Message::text("3probe"));
    write(&conn, "5").await;
    write(&conn, "4a").await;
    assert_eq!(read(&conn).await, Message::text("4a"));
    assert_eq!(server.get(OPEN).await.status, StatusCode::SERVICE_UNAVAILABLE);

    let server = hyper(socketio().config(EngineConfig::new().max_sessions(1))).await;
    let query = server.open_polling().await;
    let answer = server.get(OPEN).await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::SERVICE_UNAVAILABLE, 4));
    // A session that ends gives its place up when its client knows it.
    assert_eq!(server.post(&query, "1").await.status, StatusCode::OK);
    assert_eq!(server.get(OPEN).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get(&query).await.body, "6");
    within(async { while server.get(OPEN).await.status != StatusCode::OK {} }).await;
}

/// On several threads, the GET may be served before the task of the WebSocket runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_get_behind_the_upgrade_packet_is_refused_on_several_threads() {
    let server = hyper(socketio()).await;
    // Keeps the threads busy, as other clients do.
    let busy: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let query = server.open_polling().await;
                loop {
                    server.post(&query, "4a").await;
                    server.get(&query).await;
                }
            })
        })
        .collect();
    let mut refused = 0;
    for _ in 0..60 {
        let query = server.open_polling().await;
        let conn = server.upgrading(&query).await;
        write(&conn, "2probe").await;
        assert_eq!(read(&conn).await, Message::text("3probe"));
        write(&conn, "5").await;
        within(conn.flush()).await.unwrap();
        let answer = server.get(&query).await;
        refused += usize::from(answer.status == StatusCode::BAD_REQUEST);
        write(&conn, "4a").await;
        assert_eq!(read(&conn).await, Message::text("4a"));
    }
    busy.iter().for_each(|task| task.abort());
    assert_eq!(refused, 60);
}

#[tokio::test]
async fn the_limit_of_queued_bytes_counts_what_waits_for_clients_of_a_hub() {
    for framework in FRAMEWORKS {
        let hub = Hub::new();
        let measured = hub.clone();
        let limits =
            ConnectionLimits::new().queued_bytes(100, move || measured.stats().queued_bytes);
        let socketio = SocketIo::new(&hub).options(AcceptOptions::new().limits(&limits));
        let server = Server::start(framework, socketio).await;
        let query = server.open_polling().await;
        assert_eq!(server.post(&query, "40").await.body, "ok");
        assert!(server.get(&query).await.body.starts_with("40{"));
        let is_refused = async |bytes: usize| {
            // No GET waits: it is queued.
            hub.emit("e", &"x".repeat(bytes)).unwrap();
            let queued = hub.stats().queued_bytes;
            assert!((bytes as u64..bytes as u64 + 20).contains(&queued), "{queued}");
            let answer = server.get(OPEN).await;
            assert!(server.get(&query).await.body.starts_with(r#"42["e","x"#), "{framework:?}");
            within(async {
                while hub.stats().queued_bytes > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            if answer.status != StatusCode::OK {
                let refused = (answer.status, code(&answer.body));
                assert_eq!(refused, (StatusCode::SERVICE_UNAVAILABLE, 4), "{framework:?}");
            }
            answer.status != StatusCode::OK
        };
        assert!(!is_refused(50).await, "{framework:?}");
        assert!(is_refused(101).await, "{framework:?}");
        // There is room again.
        assert!(!is_refused(50).await, "{framework:?}");
    }
}

#[tokio::test]
async fn a_drain_refuses_handshakes_and_waits_until_clients_that_poll_know_the_end() {
    for framework in FRAMEWORKS {
        let hub = Hub::new();
        let config = EngineConfig::new().close_timeout(FOREVER);
        let server = Server::start(framework, SocketIo::new(&hub).config(config)).await;
        let (alone, joined) = (server.open_polling().await, server.open_polling().await);
        assert_eq!(server.post(&joined, "40").await.body, "ok");
        assert!(server.get(&joined).await.body.starts_with("40{"));
        hub.emit("last", "words").unwrap();
        let draining = hub.clone();
        let drain = tokio::spawn(async move { draining.drain(FOREVER).await });
        within(async {
            while !hub.is_draining() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let answer = server.get(OPEN).await;
        assert_eq!((answer.status, code(&answer.body)), (StatusCode::SERVICE_UNAVAILABLE, 4));
        let websocket = format!("ws://{}/engine.io/?EIO=4&transport=websocket", server.addr);
        let refused = within(Dial::new(websocket).connect()).await.unwrap_err();
        let status = refused.refused_response().map(|response| response.status);
        assert_eq!(status, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!drain.is_finished(), "{framework:?}");
        assert_eq!(server.get(&joined).await.body, r#"42["last","words"]"#);
        assert_eq!(server.get(&joined).await.body, "1");
        assert!(!drain.is_finished(), "{framework:?}");
        assert_eq!(server.get(&alone).await.body, "1");
        let report = within(drain).await.unwrap();
        assert_eq!((report.notified, report.aborted, report.remaining), (1, 0, 0));
    }
}

#[tokio::test]
async fn a_handler_that_returns_or_panics_closes_its_session() {
    let returns = SocketIo::engine(|session| async move { drop(session.receive().await) });
    let server = hyper(returns).await;
    let query = server.open_polling().await;
    assert_eq!(server.post(&query, "4a").await.status, StatusCode::OK);
    assert_eq!(server.get(&query).await.body, "1");
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    write(&conn, "4a").await;
    let closed = within(conn.closed()).await;
    assert_eq!(closed.received.map(|close| u16::from(close.code)), Some(1000));

    let panics = SocketIo::engine(|session| async move {
        session.receive().await;
        panic!("as the test wants");
    });
    let server = hyper(panics).await;
    let query = server.open_polling().await;
    assert_eq!(server.post(&query, "4a").await.status, StatusCode::OK);
    within(async { while server.get(&query).await.status != StatusCode::BAD_REQUEST {} }).await;
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    write(&conn, "4a").await;
    within(conn.closed()).await;
}

/// The inbox is full, and nobody receives from it any more.
#[tokio::test]
async fn a_session_gives_its_place_up_when_its_handler_returns_without_its_messages() {
    let limits = ConnectionLimits::new().connections(1);
    let socketio = SocketIo::engine(|session| async move { drop(session.closed().await) });
    let server = hyper(socketio.options(AcceptOptions::new().limits(&limits))).await;
    let conn = server.websocket("EIO=4&transport=websocket").await;
    read(&conn).await;
    for _ in 0..100 {
        write(&conn, "4a").await;
    }
    within(conn.flush()).await.unwrap();
    conn.close_now();
    within(async { while server.get(OPEN).await.status != StatusCode::OK {} }).await;
}

#[tokio::test]
async fn a_session_that_has_ended_leaves_the_table_although_its_handler_runs_on() {
    let stuck = SocketIo::engine(|_| std::future::pending());
    let server = hyper(stuck.config(EngineConfig::new().max_sessions(1))).await;
    let query = server.open_polling().await;
    assert_eq!(server.post(&query, "1").await.body, "ok");
    assert_eq!(server.get(&query).await.body, "6");
    within(async { while server.get(OPEN).await.status != StatusCode::OK {} }).await;
}

#[tokio::test]
async fn other_routes_are_served_beside_it() {
    let server = Server::start(Framework::Warp, socketio()).await;
    let hello = Request::get("/hello").header("host", "a").body("".into()).unwrap();
    assert_eq!(server.request(hello).await.body, "hello");
    let other = Request::get("/engine.iox/").header("host", "a").body("".into()).unwrap();
    assert_eq!(server.request(other).await.status, StatusCode::NOT_FOUND);
}
