//! Do WebSockets share HTTP/2 connections, and how do streams and connections end?
#![cfg(feature = "http2")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use h2::Reason;
use http::header::LOCATION;
use http::{HeaderValue, Method, Request, Response, StatusCode as Status, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use ws_client::{
    CloseError, CloseInitiator, Compression, Conn, Dial, DialError, Dialer, Error, HandshakeError,
    Message, RedirectError, StatusCode,
};
use ws_core::handshake::Offer;
use ws_core::handshake::head::encode_request;
use ws_core::{AcceptOptions, Origin};

use crate::raw_http2::Raw;
use crate::support;
use crate::support::{Authority, Stream, echo, hear, listen, say_hello};

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), run).await.unwrap()
}

/// A server that counts its TCP connections. It echoes, or hands out its WebSockets.
struct Server {
    addr: SocketAddr,
    /// The number of all TCP connections, and of the open ones.
    tcp: watch::Receiver<(usize, usize)>,
    conns: mpsc::UnboundedReceiver<Conn>,
}

impl Server {
    async fn start(builder: Builder<TokioExecutor>, tls: Option<TlsAcceptor>) -> Self {
        let listener = listen().await;
        let addr = listener.local_addr().unwrap();
        let (count, tcp) = watch::channel((0, 0));
        let (hand, conns) = mpsc::unbounded_channel();
        let (builder, count) = (Arc::new(builder), Arc::new(count));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                let (builder, count) = (Arc::clone(&builder), Arc::clone(&count));
                let (tls, hand) = (tls.clone(), hand.clone());
                count.send_modify(|(were, are)| (*were += 1, *are += 1).0);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = answer(request, &hand);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let io: Box<dyn Stream> = match tls {
                        None => Box::new(tcp),
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(io) => Box::new(io),
                            Err(_) => return count.send_modify(|(_, are)| *are -= 1),
                        },
                    };
                    let io = TokioIo::new(io);
                    let _ = builder.serve_connection_with_upgrades(io, service).await;
                    count.send_modify(|(_, are)| *are -= 1);
                });
            }
        });
        Self { addr, tcp, conns }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.addr)
    }

    /// The number of all TCP connections.
    fn connections(&self) -> usize {
        self.tcp.borrow().0
    }

    async fn all_have_gone(&mut self) {
        self.tcp.wait_for(|(_, are)| *are == 0).await.unwrap();
    }
}

fn answer(
    mut request: Request<Incoming>,
    hand: &mpsc::UnboundedSender<Conn>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if let Some(left) = path.strip_prefix("/redirect/") {
        let left: usize = left.parse().unwrap();
        let next = if left == 0 { "/echo".to_owned() } else { format!("/redirect/{}", left - 1) };
        return Response::builder()
            .status(307)
            .header(LOCATION, next)
            .body(Full::default())
            .unwrap();
    }
    if let Some(status) = path.strip_prefix("/get-only/")
        && request.method() != Method::GET
    {
        let status: u16 = status.parse().unwrap();
        return Response::builder().status(status).body(Full::default()).unwrap();
    }
    if path == "/forbidden" {
        let body = Full::from("x".repeat(5000));
        return Response::builder().status(403).header("x-why", "so").body(body).unwrap();
    }
    let options = AcceptOptions::new()
        .subprotocols(["chat.v1"])
        .origin(Origin::any())
        .compression(Compression::no_context_takeover());
    match ws_server_hyper::accept(&mut request, &options) {
        Ok((response, upgrade)) => {
            let hand = hand.clone();
            tokio::spawn(async move {
                let conn = upgrade.await.unwrap();
                match &*path {
                    "/echo" | "/get-only/405" | "/get-only/501" => drop(echo(conn).await),
                    _ => drop(hand.send(conn)),
                }
            });
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    }
}

/// A TLS server with HTTP/1.1 and HTTP/2, and a dialer that trusts it.
async fn both() -> (Server, Dialer) {
    let authority = Authority::new();
    let tls = authority.server(false, &["h2", "http/1.1"]);
    let server = Server::start(ws_server_hyper::http_builder(), Some(tls)).await;
    (server, Dialer::new().no_proxy().tls(authority.client()).http2())
}

/// A TCP server, and a dialer with prior knowledge of HTTP/2.
async fn plain() -> (Server, Dialer) {
    let server = Server::start(ws_server_hyper::http_builder(), None).await;
    (server, Dialer::new().no_proxy().http2_only())
}

/// The same by the TLS library of the system.
#[cfg(feature = "native-tls")]
#[tokio::test]
async fn the_tls_library_of_the_system_verifies_certificates_and_selects_the_protocol() {
    let connector = support::system_dialer;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let tls = authority.server(false, &["h2", "http/1.1"]);
    let server = Server::start(ws_server_hyper::http_builder(), Some(tls)).await;
    let dial = Dial::new(server.url("wss", "/echo"));
    in_time(async {
        for (dialer, expected) in [
            (connector(&authority, &[]), Version::HTTP_11),
            (connector(&authority, &["h2", "http/1.1"]).http2(), Version::HTTP_2),
            (connector(&authority, &["http/1.1"]).http2(), Version::HTTP_11),
        ] {
            let conn = dial.clone().dialer(&dialer).connect().await.unwrap();
            hear(&conn, "hello").await;
            assert_eq!(version(&conn), expected);
        }
        // The settings cannot be changed, so this server chooses HTTP/2 again.
        let either = connector(&authority, &["h2", "http/1.1"]);
        let get_only = Dial::new(server.url("wss", "/get-only/405"));
        for dial in [dial.clone().dialer(&either), get_only.dialer(&either.clone().http2())] {
            let error = dial.connect().await.unwrap_err();
            assert!(matches!(error, DialError::Tls(_)), "{error:?}");
            assert!(error.to_string().contains("`Dialer::native_tls`"), "{error}");
        }
        let only = connector(&authority, &["http/1.1"]).http2_only();
        let error = dial.clone().dialer(&only).connect().await.unwrap_err();
        assert!(matches!(error, DialError::NoHttp2), "{error:?}");
        let error = dial.dialer(&connector(&stranger, &[])).connect().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DialError::Tls(_)), "{error:?}");
        assert!(text.ends_with(" (`Dialer::tls` sets the trusted roots)"), "{text}");
    })
    .await;
}

fn version(conn: &Conn) -> Version {
    conn.response().unwrap().version()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_websockets_share_a_connection_which_closes_with_the_last() {
    for (mut server, dialer, scheme) in
        [both().await, plain().await].into_iter().zip(["wss", "ws"]).map(|((a, b), c)| (a, b, c))
    {
        in_time(async {
            let url = server.url(scheme, "/echo");
            let dial = Dial::new(url).dialer(&dialer);
            // All at once, before the server was probed.
            let dialled = join_all((0..100).map(|_| dial.clone().connect())).await;
            let conns: Vec<_> = dialled.into_iter().map(Result::unwrap).collect();
            assert_eq!(server.connections(), 1);
            join_all(conns.iter().enumerate().map(async |(i, conn)| {
                assert_eq!((version(conn), conn.peer_addr()), (Version::HTTP_2, Some(server.addr)));
                hear(conn, &format!("this is {i}")).await;
                hear(conn, &"long ".repeat(20_000)).await;
            }))
            .await;
            assert_eq!(server.connections(), 1);
            join_all(conns.iter().map(|conn| conn.close(StatusCode::NORMAL_CLOSURE, ""))).await;
            drop(conns);
            server.all_have_gone().await;
            // The next one makes a new connection.
            say_hello(dial).await;
            assert_eq!(server.connections(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn headers_and_host_are_sent() {
    let (mut server, dialer) = both().await;
    in_time(async {
        let url = format!("wss://user:p%40ss@{}/hand?room=1", server.addr);
        let dial = Dial::new(url).dialer(&dialer).header("x-key", "a").header("cookie", "one=1");
        let dial = dial.header("host", "chat.example:8080").origin("https://example.com");
        let dial = dial.subprotocols(["chat.v2", "chat.v1"]);
        let dial = dial.compression(Compression::no_context_takeover()).read_limit(10);
        let conn = dial.connect().await.unwrap();
        assert_eq!((conn.subprotocol(), conn.is_compressed()), (Some("chat.v1"), true));
        assert_eq!(conn.response().unwrap().status(), Status::OK);
        let there = server.conns.recv().await.unwrap();
        let request = there.request().unwrap();
        assert_eq!(request.uri, "https://chat.example:8080/hand?room=1");
        assert_eq!(request.header("authorization"), Some("Basic dXNlcjpwQHNz"));
        assert_eq!((request.header("x-key"), request.cookie("one")), (Some("a"), Some("1")));
        assert_eq!(request.header("origin"), Some("https://example.com"));
        for absent in ["host", "connection", "upgrade", "sec-websocket-key"] {
            assert_eq!(request.header(absent), None);
        }
        there.write("11 bytes...").await.unwrap();
        let error = conn.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
    })
    .await;
}

#[tokio::test]
async fn a_refused_response_is_reported_and_a_redirect_is_followed() {
    let (server, dialer) = both().await;
    in_time(async {
        let dial = |path: &str| Dial::new(server.url("wss", path)).dialer(&dialer);
        // The connection is kept.
        let _open = dial("/echo").connect().await.unwrap();
        let error = dial("/forbidden").connect().await.unwrap_err();
        let response = error.refused_response().unwrap();
        assert_eq!(
            (response.status, &response.headers["x-why"]),
            (Status::FORBIDDEN, &HeaderValue::from_static("so"))
        );
        assert_eq!(response.body, "x".repeat(1024));
        say_hello(dial("/redirect/9")).await;
        let error = dial("/redirect/10").connect().await.unwrap_err();
        assert!(matches!(error, DialError::Redirect(RedirectError::TooMany(10))), "{error:?}");
        assert_eq!(server.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_path_without_connect_falls_back_to_http1_and_is_not_remembered() {
    let (server, dialer) = both().await;
    in_time(async {
        let dial = |path: &str| Dial::new(server.url("wss", path)).dialer(&dialer);
        let open = dial("/echo").connect().await.unwrap();
        for (path, connections) in [("/get-only/405", 2), ("/get-only/501", 3)] {
            let conn = dial(path).connect().await.unwrap();
            assert_eq!((version(&conn), server.connections()), (Version::HTTP_11, connections));
            hear(&conn, "hello").await;
        }
        let error = dial("/get-only/404").connect().await.unwrap_err();
        assert_eq!(error.refused_response().unwrap().status, Status::NOT_FOUND);
        let other = dial("/echo").connect().await.unwrap();
        assert_eq!((version(&open), version(&other)), (Version::HTTP_2, Version::HTTP_2));
        assert_eq!(server.connections(), 3);
        // `http2_only` does not fall back.
        let must = dial("/get-only/405").dialer(&dialer.http2_only());
        let error = must.connect().await.unwrap_err();
        assert_eq!(error.refused_response().unwrap().status, Status::METHOD_NOT_ALLOWED);
    })
    .await;
}

/// An HTTP/2 server without extended CONNECT.
fn unwilling() -> Builder<TokioExecutor> {
    Builder::new(TokioExecutor::new())
}

#[tokio::test]
async fn a_server_without_extended_connect_is_probed_once() {
    let check = async |protocols: &[&str], first: usize| {
        let authority = Authority::new();
        let tls = authority.server(false, protocols);
        let server = Server::start(unwilling(), Some(tls)).await;
        let dialer = Dialer::new().no_proxy().tls(authority.client()).http2();
        let dial = Dial::new(server.url("wss", "/echo")).dialer(&dialer);
        let conn = dial.clone().connect().await.unwrap();
        assert_eq!((version(&conn), server.connections()), (Version::HTTP_11, first));
        hear(&conn, "hello").await;
        // Clones share this knowledge.
        for more in 1..4 {
            say_hello(dial.clone().dialer(&dialer.clone())).await;
            assert_eq!(server.connections(), first + more, "{protocols:?}");
        }
        // A dialer with other settings does not.
        say_hello(dial.dialer(&dialer.local_address([127, 0, 0, 3].into()))).await;
        assert_eq!(server.connections(), 2 * first + 3, "{protocols:?}");
    };
    in_time(async {
        check(&["h2", "http/1.1"], 2).await;
        // The probing connection is used for HTTP/1.1.
        check(&["http/1.1"], 1).await;
        check(&[], 1).await;
    })
    .await;
}

#[tokio::test]
async fn concurrent_dials_probe_once() {
    let authority = Authority::new();
    let tls = authority.server(false, &["h2", "http/1.1"]);
    let server = Server::start(unwilling(), Some(tls)).await;
    let dialer = Dialer::new().no_proxy().tls(authority.client()).http2();
    let dial = Dial::new(server.url("wss", "/echo")).dialer(&dialer);
    in_time(join_all((0..10).map(|_| say_hello(dial.clone())))).await;
    assert_eq!(server.connections(), 11);
}

#[tokio::test]
async fn http2_only_has_no_fallback() {
    let check = async |builder: Builder<TokioExecutor>, protocols: Option<&[&str]>| {
        let authority = Authority::new();
        let tls = protocols.map(|protocols| authority.server(false, protocols));
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let server = Server::start(builder, tls).await;
        let dialer = Dialer::new().no_proxy().tls(authority.client()).http2_only();
        for _ in 0..2 {
            let dial = Dial::new(server.url(scheme, "/echo")).dialer(&dialer);
            let error = dial.connect().await.unwrap_err();
            assert!(matches!(error, DialError::NoHttp2), "{error:?}");
        }
    };
    in_time(async {
        check(unwilling(), Some(&["h2", "http/1.1"])).await;
        check(unwilling(), Some(&["h2"])).await;
        check(unwilling(), Some(&["http/1.1"])).await;
        check(unwilling(), Some(&[])).await;
        check(unwilling(), None).await;
    })
    .await;
}

#[tokio::test]
async fn ws_urls_use_http1_unless_http2_only() {
    let (server, dialer) = plain().await;
    let conn = Dial::new(server.url("ws", "/echo")).dialer(&dialer.http2()).connect().await;
    assert_eq!(version(&conn.unwrap()), Version::HTTP_11);
}

#[tokio::test]
async fn a_slow_websocket_does_not_stall_the_others() {
    let (mut server, dialer) = plain().await;
    let (hand, echo) = (server.url("ws", "/hand"), server.url("ws", "/echo"));
    let dial = |url: &str| Dial::new(url).dialer(&dialer).connect();
    in_time(async {
        let mut slow = Vec::new();
        let (slow_ones, quick) = (30, 30);
        for _ in 0..slow_ones {
            let here = dial(&hand).await.unwrap();
            let there = server.conns.recv().await.unwrap();
            // More than the window of a stream, in both directions: it waits.
            for (writer, size) in [(there.clone(), 900_000), (here.clone(), 800_000)] {
                tokio::spawn(async move { writer.write(vec![0; size]).await });
            }
            slow.push((here, there));
        }
        for _ in 0..quick {
            let conn = dial(&echo).await.unwrap();
            hear(&conn, &"quick ".repeat(30_000)).await;
        }
        // They were slow, not broken.
        for (here, there) in slow {
            let (here, there) = tokio::join!(here.read(), there.read());
            assert_eq!((here.unwrap().len(), there.unwrap().len()), (900_000, 800_000));
        }
        assert_eq!(server.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_full_connection_is_followed_by_a_second_one() {
    let check = async |max: u32, sockets: usize, expected: usize| {
        let mut builder = ws_server_hyper::http_builder();
        builder.http2().max_concurrent_streams(max);
        let server = Server::start(builder, None).await;
        let dial = Dial::new(server.url("ws", "/echo")).dialer(&Dialer::new().http2_only());
        let mut conns = Vec::new();
        for _ in 0..sockets {
            conns.push(dial.clone().connect().await.unwrap());
        }
        assert_eq!(server.connections(), expected, "{max}");
        // A closed stream frees its place.
        conns.remove(0).close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        loop {
            let before = server.connections();
            hear(&dial.clone().connect().await.unwrap(), "hello").await;
            if server.connections() == before {
                return;
            }
        }
    };
    in_time(async {
        check(2, 2, 1).await;
        check(2, 5, 3).await;
        // The limit of the client.
        check(1000, 257, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_accepts_no_streams_for_now_is_tried_again() {
    let authority = Authority::new();
    let mut builder = ws_server_hyper::http_builder();
    builder.http2().max_concurrent_streams(0);
    let tls = authority.server(false, &["h2", "http/1.1"]);
    let mut server = Server::start(builder, Some(tls)).await;
    let dial = Dial::new(server.url("wss", "/echo"));
    let dialer = Dialer::new().no_proxy().tls(authority.client());
    in_time(async {
        let either = dialer.clone().http2();
        for connections in [2, 4] {
            let conn = dial.clone().dialer(&either).connect().await.unwrap();
            assert_eq!(version(&conn), Version::HTTP_11);
            assert_eq!(server.connections(), connections, "HTTP/2 was not tried first");
        }
        let error = dial.dialer(&dialer.http2_only()).connect().await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
        server.all_have_gone().await;
    })
    .await;
}

/// What a raw server does with each stream, by the numbers of the connection and the stream.
type Script = fn(usize, usize) -> Step;

enum Step {
    Accept,
    /// Accepts, and resets the stream after a read.
    Reset(Reason),
    Refuse(Reason),
    /// Accepts, and sends GOAWAY.
    GoAway,
    /// Accepts, and closes the connection after a read.
    HangUp,
    /// Accepts, and sends a window of short messages.
    Chat,
    /// Accepts after so many interim responses.
    Interim(usize),
    /// Accepts with a `content-length`.
    Length,
    /// Accepts with so many headers.
    Headers(usize),
    /// Accepts with a head of this length.
    Head(usize),
    /// Accepts, says `a`, and ends the stream when the client has sent a text.
    SayAndEnd(End),
}

/// How a server ends a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// A close frame.
    Close,
    /// END_STREAM, without a close frame.
    WithoutClose,
    Reset(Reason),
    /// The end of the connection.
    HangUp,
}

/// An HTTP/2 server with a script, and the number of its TCP connections.
async fn raw(script: Script) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let (count, connections) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            count.send_modify(|count| *count += 1);
            tokio::spawn(perform(tcp, *count.borrow(), script));
        }
    });
    (addr, connections)
}

async fn perform(io: impl Stream, connection: usize, script: Script) {
    let mut builder = h2::server::Builder::new();
    let mut server = builder.enable_connect_protocol().handshake::<_, Bytes>(io).await.unwrap();
    let (hang_up, mut wants_to) = mpsc::unbounded_channel();
    let mut streams = 0;
    loop {
        let accepted = tokio::select! {
            accepted = server.accept() => accepted,
            _ = wants_to.recv() => return,
        };
        let Some(Ok((request, mut respond))) = accepted else { return };
        streams += 1;
        let step = script(connection, streams);
        if let Step::Refuse(reason) = step {
            respond.send_reset(reason);
            continue;
        }
        if let Step::Interim(count) = step {
            for _ in 0..count {
                let wait = Response::builder().status(102).body(()).unwrap();
                respond.send_informational(wait).unwrap();
            }
        }
        let mut response = Response::new(());
        if matches!(step, Step::Length) {
            response.headers_mut().insert("content-length", 5.into());
        }
        if let Step::Headers(count) = step {
            for number in 0..count {
                response.headers_mut().append("x", number.into());
            }
        }
        if let Step::Head(len) = step {
            let value = "v".repeat(len - "x: \r\n".len());
            response.headers_mut().insert("x", value.parse().unwrap());
        }
        let mut send = respond.send_response(response, false).unwrap();
        if matches!(step, Step::SayAndEnd(_)) {
            send.send_data(Bytes::from_static(b"\x81\x01a"), false).unwrap();
        }
        if matches!(step, Step::GoAway) {
            server.graceful_shutdown();
        }
        for _ in 0..if matches!(step, Step::Chat) { SHORT_MESSAGES } else { 0 } {
            send.send_data(Bytes::from_static(SHORT), false).unwrap();
        }
        let (mut receive, hang_up) = (request.into_body(), hang_up.clone());
        tokio::spawn(async move {
            // Echoes bytes, so the frames are still masked: a client rejects them.
            while let Some(Ok(data)) = receive.data().await {
                receive.flow_control().release_capacity(data.len()).unwrap();
                match step {
                    Step::Reset(reason) => return send.send_reset(reason),
                    Step::HangUp | Step::SayAndEnd(End::HangUp) if is_text(&data) => {
                        let _ = hang_up.send(());
                        return;
                    }
                    Step::SayAndEnd(_) if !is_text(&data) => {}
                    Step::SayAndEnd(End::Reset(reason)) => return send.send_reset(reason),
                    Step::SayAndEnd(End::Close) => {
                        send.send_data(Bytes::from_static(CLOSE), true).unwrap();
                    }
                    Step::SayAndEnd(_) => send.send_data(Bytes::new(), true).unwrap(),
                    _ => send.send_data(Bytes::from_static(b"\x81\x02hi"), false).unwrap(),
                }
            }
        });
    }
}

fn is_text(data: &[u8]) -> bool {
    data.first() == Some(&0x81)
}

/// A message of twenty bytes in its own DATA frame, and how many fit into a window.
const SHORT: &[u8] = b"\x81\x14a score of bytes ...";
const SHORT_MESSAGES: usize = 64 * 1024 / SHORT.len();

#[tokio::test]
async fn unread_short_messages_do_not_close_the_connection() {
    let (addr, connections) = raw(|_, stream| match stream {
        21.. => Step::Accept,
        _ => Step::Chat,
    })
    .await;
    in_time(async {
        let dial = dialing(addr);
        let mut slow = Vec::new();
        for _ in 0..20 {
            slow.push(dial.clone().connect().await.unwrap());
        }
        hi(&dial.connect().await.unwrap()).await;
        for conn in slow {
            for _ in 0..SHORT_MESSAGES {
                assert_eq!(conn.read().await.unwrap().as_bytes(), &SHORT[2..]);
            }
        }
        assert_eq!(*connections.borrow(), 1);
    })
    .await;
}

/// Writes a message, and expects an echo.
async fn hi(conn: &Conn) {
    conn.write("hi").await.unwrap();
    assert_eq!(conn.read().await.unwrap(), Message::from("hi"));
}

fn dialing(addr: SocketAddr) -> Dial {
    Dial::new(format!("ws://{addr}/")).dialer(&Dialer::new().no_proxy().http2_only())
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_with_1006_and_its_cause() {
    let check = async |script: Script, cause: &str| {
        let (addr, _) = raw(script).await;
        let conn = dialing(addr).connect().await.unwrap();
        conn.write("hi").await.unwrap();
        let Error::Closed(CloseError { code, reason, .. }) = conn.read().await.unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(code, StatusCode::ABNORMAL_CLOSURE);
        assert!(reason.contains(cause), "{reason:?}");
        assert_eq!(conn.close_info().unwrap().by, CloseInitiator::Transport);
        let error = conn.write("more").await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    };
    in_time(async {
        check(|_, _| Step::Reset(Reason::INTERNAL_ERROR), "unexpected internal error").await;
        check(|_, _| Step::Reset(Reason::ENHANCE_YOUR_CALM), "excessive load").await;
        check(|_, _| Step::Reset(Reason::CANCEL), "no longer needed").await;
        check(|_, _| Step::HangUp, "").await;
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    Closed,
    Ping,
    /// A handler that pushes what a feed brings, and never reads.
    PushFeed,
}

async fn wait_for_end(conn: &Conn, wait: Wait) {
    match wait {
        Wait::Closed => drop(conn.closed().await),
        Wait::Ping => while conn.ping().await.is_ok() {},
        Wait::PushFeed => {
            let (_feed, mut fed) = mpsc::channel::<Message>(1);
            tokio::select! {
                _ = conn.closed() => {}
                message = fed.recv() => conn.write(message.unwrap()).await.unwrap(),
            }
        }
    }
}

/// What waits for the end does not wait for the message before it to be read.
#[tokio::test]
async fn what_waits_for_the_end_resolves_behind_an_unread_message() {
    let check = async |end: End, script: Script| {
        for wait in [Wait::Closed, Wait::Ping, Wait::PushFeed] {
            let (addr, _) = raw(script).await;
            let conn = dialing(addr).connect().await.unwrap();
            let waiting = tokio::spawn({
                let conn = conn.clone();
                async move { wait_for_end(&conn, wait).await }
            });
            // A reset drops what its side has not sent yet.
            while conn.stats().messages_in == 0 {
                tokio::task::yield_now().await;
            }
            conn.write("now").await.unwrap();
            waiting.await.unwrap();
            let code = match end {
                End::Close => StatusCode::NORMAL_CLOSURE,
                _ => StatusCode::ABNORMAL_CLOSURE,
            };
            assert_eq!(conn.closed().await.error.close_status(), Some(code), "{end:?}, {wait:?}");
            assert_eq!(conn.read().await.unwrap(), Message::from("a"), "{end:?}, {wait:?}");
            assert_eq!(conn.read().await.unwrap_err().close_status(), Some(code));
        }
    };
    in_time(async {
        check(End::Close, |_, _| Step::SayAndEnd(End::Close)).await;
        check(End::WithoutClose, |_, _| Step::SayAndEnd(End::WithoutClose)).await;
        let cancel = |_, _| Step::SayAndEnd(End::Reset(Reason::CANCEL));
        check(End::Reset(Reason::CANCEL), cancel).await;
        let internal = |_, _| Step::SayAndEnd(End::Reset(Reason::INTERNAL_ERROR));
        check(End::Reset(Reason::INTERNAL_ERROR), internal).await;
        check(End::HangUp, |_, _| Step::SayAndEnd(End::HangUp)).await;
    })
    .await;
}

/// Only a write shows that the peer has gone behind more than is read ahead: over TLS, and over HTTP/2.
/// It is tried after a minute.
#[tokio::test]
async fn a_peer_that_has_gone_is_seen_behind_more_than_is_read_ahead() {
    const MANY: usize = 80;
    let authority = Authority::new();
    let tls = authority.server(false, &["h2", "http/1.1"]);
    let server = Server::start(ws_server_hyper::http_builder(), Some(tls)).await;
    let dialer = Dialer::new().no_proxy().tls(authority.client());
    let (without_tls, plain_dialer) = plain().await;
    let over_tls = Dial::new(server.url("wss", "/hand"));
    let http1 = over_tls.clone().dialer(&dialer);
    let http2 = over_tls.dialer(&dialer.http2());
    let plain = Dial::new(without_tls.url("ws", "/hand")).dialer(&plain_dialer);
    let mut conns = [server.conns, without_tls.conns];
    for (dial, server, expected) in
        [(http1, 0, Version::HTTP_11), (http2, 0, Version::HTTP_2), (plain, 1, Version::HTTP_2)]
    {
        let (conn, there) = in_time(async {
            let conn = dial.connect().await.unwrap();
            assert_eq!(version(&conn), expected);
            let there = conns[server].recv().await.unwrap();
            for _ in 0..MANY {
                there.write(vec![0; 1024]).await.unwrap();
            }
            there.flush().await.unwrap();
            (conn, there)
        })
        .await;
        let waiting = tokio::spawn({
            let conn = conn.clone();
            async move { conn.closed().await }
        });
        tokio::time::pause();
        // The watch has looked, and everything has arrived.
        sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
        assert!(!waiting.is_finished() && conn.stats().messages_in < MANY as u64);
        there.close_now();
        let ending = timeout(Duration::from_secs(90), waiting).await.unwrap().unwrap();
        tokio::time::resume();
        assert_eq!(ending.by, CloseInitiator::Transport, "{expected:?}");
        for _ in 0..MANY {
            assert_eq!(in_time(conn.read()).await.unwrap().len(), 1024, "{expected:?}");
        }
        let error = in_time(conn.read()).await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
    }
}

#[tokio::test]
async fn a_reset_does_not_affect_other_streams() {
    let (addr, connections) = raw(|_, stream| match stream {
        2 => Step::Reset(Reason::CANCEL),
        _ => Step::Accept,
    })
    .await;
    in_time(async {
        let dial = dialing(addr);
        let (first, second) =
            (dial.clone().connect().await.unwrap(), dial.clone().connect().await.unwrap());
        second.write("hi").await.unwrap();
        second.read().await.unwrap_err();
        hi(&first).await;
        hi(&dial.connect().await.unwrap()).await;
        assert_eq!(*connections.borrow(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_connection_is_made_after_goaway() {
    let check = async |script: Script| {
        let (addr, connections) = raw(script).await;
        let dial = dialing(addr);
        let first = dial.clone().connect().await.unwrap();
        hi(&first).await;
        let second = dial.clone().connect().await.unwrap();
        assert_eq!(*connections.borrow(), 2);
        // Open streams go on.
        hi(&first).await;
        hi(&second).await;
        // The new connection is used from now on.
        hi(&dial.connect().await.unwrap()).await;
        assert_eq!(*connections.borrow(), 2);
    };
    in_time(async {
        check(|connection, _| if connection == 1 { Step::GoAway } else { Step::Accept }).await;
        check(|connection, stream| match (connection, stream) {
            (1, 2) => Step::Refuse(Reason::REFUSED_STREAM),
            _ => Step::Accept,
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_a_new_connection_refuses_is_tried_once_more() {
    let check = async |script: Script, succeeds: bool| {
        let (addr, connections) = raw(script).await;
        let dialled = dialing(addr).connect().await;
        assert_eq!(*connections.borrow(), 2);
        match dialled {
            Ok(conn) => {
                assert!(succeeds);
                hi(&conn).await;
            }
            Err(error) => assert!(!succeeds && matches!(error, DialError::Http(_)), "{error:?}"),
        }
    };
    let once: Script = |connection, _| match connection {
        1 => Step::Refuse(Reason::REFUSED_STREAM),
        _ => Step::Accept,
    };
    in_time(async {
        check(once, true).await;
        check(|_, _| Step::Refuse(Reason::REFUSED_STREAM), false).await;
    })
    .await;
}

/// SETTINGS with extended CONNECT, and GOAWAY without an error that names no stream.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01";
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Serves HTTP/2 until a frame of this type, PING or HEADERS, and answers that with GOAWAY.
async fn go_away_at(mut io: TcpStream, frame: u8) {
    io.read_exact(&mut [0; 24]).await.unwrap();
    io.write_all(SETTINGS).await.unwrap();
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let mut payload = vec![0; length];
        io.read_exact(&mut payload).await.unwrap();
        if head[3] == frame {
            break;
        }
        if head[3] == 6 {
            io.write_all(&[b"\0\0\x08\x06\x01\0\0\0\0".as_slice(), &payload].concat())
                .await
                .unwrap();
        }
    }
    io.write_all(GOAWAY).await.unwrap();
    io.shutdown().await.unwrap();
    let _ = io.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn goaway_on_a_new_connection_is_followed_by_one_more_attempt() {
    let check = async |frame: u8, refusals: usize| {
        let listener = listen().await;
        let dial = dialing(listener.local_addr().unwrap());
        let serve = async {
            for _ in 0..refusals {
                tokio::spawn(go_away_at(listener.accept().await.unwrap().0, frame));
            }
            perform_once(&listener).await;
        };
        let dialled = tokio::select! {
            biased;
            dialled = dial.connect() => dialled,
            () = async { serve.await; std::future::pending().await } => unreachable!(),
        };
        match dialled {
            Ok(conn) => {
                assert_eq!(refusals, 1, "{frame}");
                hi(&conn).await;
            }
            Err(error) => {
                assert!(refusals == 2 && matches!(error, DialError::Http(_)), "{frame}: {error:?}");
            }
        }
    };
    const PING: u8 = 6;
    const HEADERS: u8 = 1;
    in_time(async {
        for refusals in [1, 2] {
            check(PING, refusals).await;
            check(HEADERS, refusals).await;
        }
    })
    .await;
}

#[tokio::test]
async fn eight_interim_responses_are_accepted() {
    let check = async |script: Script, expected: Option<HandshakeError>| {
        let (addr, _) = raw(script).await;
        match (dialing(addr).connect().await, expected) {
            (Ok(conn), None) => hi(&conn).await,
            (Err(DialError::Handshake(error)), Some(expected)) => assert_eq!(error, expected),
            (other, _) => panic!("{other:?}"),
        }
    };
    in_time(async {
        check(|_, _| Step::Interim(8), None).await;
        check(|_, _| Step::Interim(9), Some(HandshakeError::TooManyInterim)).await;
    })
    .await;
}

/// The limits of a response: 256 headers, and 16 KiB.
#[tokio::test]
async fn the_head_of_a_response_is_bounded() {
    let check = async |script: Script, is_accepted: bool| {
        let (addr, _) = raw(script).await;
        match dialing(addr).connect().await {
            Ok(conn) => {
                assert!(is_accepted);
                hi(&conn).await;
            }
            Err(DialError::Handshake(error)) => {
                assert!(!is_accepted);
                assert_eq!(error, HandshakeError::HeadTooLarge);
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    in_time(async {
        check(|_, _| Step::Headers(150), true).await;
        check(|_, _| Step::Headers(256), true).await;
        check(|_, _| Step::Headers(257), false).await;
        check(|_, _| Step::Head(16 * 1024), true).await;
        check(|_, _| Step::Head(16 * 1024 + 1), false).await;
        // h2 has a limit of its own, and resets the stream.
        let (addr, _) = raw(|_, _| Step::Head(60 * 1024)).await;
        let error = dialing(addr).connect().await.unwrap_err();
        assert!(matches!(error, DialError::Http(_)), "{error:?}");
    })
    .await;
}

/// A TLS server that follows a script over HTTP/2, and echoes over HTTP/1.1.
#[tokio::test]
async fn a_request_that_needs_http1_is_sent_over_http1() {
    let check = async |script: Script, expected: fn(&DialError) -> bool| {
        let (listener, authority) = (listen().await, Authority::new());
        let url = format!("wss://{}/", listener.local_addr().unwrap());
        let tls = authority.server(false, &["h2", "http/1.1"]);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let io = tls.accept(tcp).await.unwrap();
                if io.get_ref().1.alpn_protocol() == Some(b"h2") {
                    tokio::spawn(perform(io, 1, script));
                } else {
                    let acceptor = ws_core::Acceptor::new(&AcceptOptions::new());
                    tokio::spawn(async move { drop(acceptor.serve(io, echo).await) });
                }
            }
        });
        let dialer = Dialer::new().no_proxy().tls(authority.client());
        let conn = Dial::new(&url).dialer(&dialer.clone().http2()).connect().await.unwrap();
        assert_eq!(version(&conn), Version::HTTP_11);
        hi(&conn).await;
        let error = Dial::new(&url).dialer(&dialer.http2_only()).connect().await.unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    in_time(async {
        check(
            |_, _| Step::Refuse(Reason::HTTP_1_1_REQUIRED),
            |error| matches!(error, DialError::NoHttp2),
        )
        .await;
        // h2 resets a stream after as many bytes (RFC 9110 §9.3.6).
        check(|_, _| Step::Length, |error| matches!(error, DialError::Http(_))).await;
    })
    .await;
}

/// `max_redirects(0)`.
#[tokio::test]
async fn a_redirect_that_is_not_to_be_followed_is_a_refusal() {
    let (server, dialer) = both().await;
    in_time(async {
        let dial = Dial::new(server.url("wss", "/redirect/0")).dialer(&dialer).max_redirects(0);
        let error = dial.connect().await.unwrap_err();
        let response = error.refused_response().unwrap();
        assert_eq!(response.status, 307);
        assert_eq!(response.headers[LOCATION], "/echo");
    })
    .await;
}

#[tokio::test]
async fn a_processed_request_is_not_repeated() {
    let (addr, connections) = raw(|_, stream| match stream {
        1 => Step::Accept,
        _ => Step::Refuse(Reason::INTERNAL_ERROR),
    })
    .await;
    in_time(async {
        let dial = dialing(addr);
        let _first = dial.clone().connect().await.unwrap();
        let error = dial.connect().await.unwrap_err();
        assert!(matches!(error, DialError::Http(_)), "{error:?}");
        assert_eq!(*connections.borrow(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let (addr, connections) = raw(|connection, _| match connection {
        1 => Step::HangUp,
        _ => Step::Accept,
    })
    .await;
    in_time(async {
        let dial = dialing(addr);
        let (first, other) =
            (dial.clone().connect().await.unwrap(), dial.clone().connect().await.unwrap());
        first.write("hi").await.unwrap();
        for conn in [&first, &other] {
            let error = conn.read().await.unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::ABNORMAL_CLOSURE));
        }
        // Both `Conn`s are still held.
        hi(&dial.connect().await.unwrap()).await;
        assert_eq!(*connections.borrow(), 2);
    })
    .await;
}

/// A proxy that can stop forwarding, like an unplugged cable.
async fn cable(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let (pull, mut pulled) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let mut there = TcpStream::connect(to).await.unwrap();
            // Affects only the connections that are open at that time.
            pulled.mark_unchanged();
            let mut pulled = pulled.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut here, &mut there) => {}
                    _ = pulled.changed() => std::future::pending().await,
                }
            });
        }
    });
    (addr, pull)
}

/// The clock is paused only briefly: paused time advances whenever the runtime waits for I/O.
#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let (addr, connections) = raw(|_, _| Step::Accept).await;
    let (addr, pull) = cable(addr).await;
    let dial = dialing(addr);
    let first = dial.clone().connect().await.unwrap();
    hi(&first).await;
    pull.send(true).unwrap();
    let mut second = Box::pin(dial.clone().connect());
    assert!(futures::poll!(&mut second).is_pending());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    hi(&in_time(second).await.unwrap()).await;
    hi(&dial.connect().await.unwrap()).await;
    assert_eq!(*connections.borrow(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out() {
    let listener = listen().await;
    let dial = dialing(listener.local_addr().unwrap()).connect_timeout(Duration::from_secs(7));
    let started = Instant::now();
    // Each dial has its own deadline, while one of them probes the server.
    let dialled = join_all([dial.clone().connect(), dial.connect()]).await;
    for dialled in dialled {
        let error = dialled.unwrap_err();
        assert!(matches!(error, DialError::Timeout(_)), "{error:?}");
    }
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn invalid_http2_is_an_error() {
    let check = async |said: &'static [u8], expected: fn(&DialError) -> bool| {
        let listener = listen().await;
        let dial = dialing(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut io = listener.accept().await.unwrap().0;
            io.read_exact(&mut [0; 24]).await.unwrap();
            io.write_all(said).await.unwrap();
            io.shutdown().await.unwrap();
            // Unread bytes would reset the connection.
            let _ = io.read_to_end(&mut Vec::new()).await;
        });
        let error = dial.connect().await.unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    in_time(async {
        let http = |error: &DialError| matches!(error, DialError::Http(_));
        let io = |error: &DialError| matches!(error, DialError::Io(_));
        check(b"", io).await;
        check(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n", http).await;
    })
    .await;
}

/// The dial that probes the server is dropped, and another one continues.
#[tokio::test]
async fn a_dropped_dial_does_not_block_others() {
    let listener = listen().await;
    let dial = dialing(listener.local_addr().unwrap());
    in_time(async {
        let mut first = Box::pin(dial.clone().connect());
        let _silent = accept_during(&listener, &mut first).await;
        let second = tokio::spawn(dial.connect());
        drop(first);
        perform_once(&listener).await;
        hi(&second.await.unwrap().unwrap()).await;
    })
    .await;
}

/// The dial that probes the server goes on, and the others do not wait for it any longer.
#[tokio::test]
async fn a_silent_server_keeps_no_other_dial_waiting_for_long() {
    let listener = listen().await;
    let dial = dialing(listener.local_addr().unwrap());
    in_time(async {
        let mut first = Box::pin(dial.clone().connect());
        let _silent = accept_during(&listener, &mut first).await;
        let mut others = Box::pin(join_all((0..10).map(|_| dial.clone().connect())));
        assert!(futures::poll!(&mut others).is_pending());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        // One of them probes the server again, and its connection serves all.
        let (others, ()) = tokio::join!(others, perform_once(&listener));
        let others: Vec<_> = others.into_iter().map(Result::unwrap).collect();
        for conn in others.iter().chain([&dial.connect().await.unwrap()]) {
            hi(conn).await;
        }
        assert!(futures::poll!(&mut first).is_pending());
    })
    .await;
}

/// Accepts the connection of a dial, which is not answered.
async fn accept_during<D>(listener: &tokio::net::TcpListener, dialling: &mut D) -> TcpStream
where
    D: Future<Output: std::fmt::Debug> + Unpin,
{
    tokio::select! {
        accepted = listener.accept() => accepted.unwrap().0,
        dialled = dialling => panic!("{dialled:?}"),
    }
}

async fn perform_once(listener: &tokio::net::TcpListener) {
    let tcp = listener.accept().await.unwrap().0;
    tokio::spawn(perform(tcp, 1, |_, _| Step::Accept));
}

/// The first frames of the server arrive together with the response of the proxy. Such a stream ends
/// orderly, too.
#[tokio::test]
async fn bytes_after_the_response_of_a_proxy_are_kept() {
    for scheme in ["http", "https"] {
        check_bytes_of_a_proxy(scheme).await;
    }
}

async fn check_bytes_of_a_proxy(scheme: &str) {
    let (addr, connections) = raw(|_, _| Step::Accept).await;
    let (listener, authority) = (listen().await, Authority::new());
    let proxy = format!("{scheme}://{}", listener.local_addr().unwrap());
    let tls = (scheme == "https").then(|| authority.server(false, &[]));
    let tunnel = tokio::spawn(async move {
        let mut here = support::accept(&listener, tls.as_ref()).await;
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(here.read_u8().await.unwrap());
        }
        let mut there = TcpStream::connect(addr).await.unwrap();
        let mut said = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        there.read_buf(&mut said).await.unwrap();
        here.write_all(&said).await.unwrap();
        support::tunnel(here, there).await
    });
    in_time(async {
        let dialer = Dialer::new().tls(authority.client()).proxy(&proxy).http2_only();
        let dial = Dial::new(format!("ws://{addr}/")).dialer(&dialer);
        let conns = [dial.clone().connect().await.unwrap(), dial.connect().await.unwrap()];
        hi(&conns[0]).await;
        hi(&conns[1]).await;
        assert_eq!(*connections.borrow(), 1);
        drop(conns);
        let tunnelled = tunnel.await.unwrap();
        assert!(tunnelled.is_ok(), "{scheme}: {tunnelled:?}");
    })
    .await;
}

#[test]
fn dialling_can_be_spawned() {
    fn check(_: impl Send + 'static) {}
    check(Dial::new("ws://example.com").dialer(&Dialer::new().http2()).connect());
}

const CLOSE: &[u8] = b"\x88\x02\x03\xe8";

/// Serves one stream on raw HTTP/2, and returns how the client has ended it: `None` by
/// END_STREAM.
async fn end_of_stream(listener: tokio::net::TcpListener, ending: Ending) -> Option<Reason> {
    let tcp = listener.accept().await.unwrap().0;
    let mut builder = h2::server::Builder::new();
    let mut server = builder.enable_connect_protocol().handshake::<_, Bytes>(tcp).await.unwrap();
    let (request, mut respond) = server.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let mut receive = request.into_body();
    if ending == Ending::Refused {
        let refused = Response::builder().status(403).body(()).unwrap();
        respond.send_response(refused, true).unwrap();
    } else {
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        match ending {
            Ending::CloseOfServer => send.send_data(Bytes::from_static(CLOSE), true).unwrap(),
            Ending::EndOfServer => send.send_data(Bytes::new(), true).unwrap(),
            Ending::Close | Ending::Drop => {
                assert_eq!(receive.data().await.unwrap().unwrap()[0], CLOSE[0]);
                send.send_data(Bytes::from_static(CLOSE), true).unwrap();
            }
            Ending::Refused | Ending::Abort => {}
        }
        if ending == Ending::Abort {
            return receive.data().await.unwrap().unwrap_err().reason();
        }
    }
    while let Some(data) = receive.data().await {
        if let Err(error) = data {
            return Some(error.reason().unwrap());
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Close,
    Drop,
    CloseOfServer,
    /// The server ends the stream without a close frame.
    EndOfServer,
    Refused,
    Abort,
}

/// RFC 8441 §5.
#[tokio::test]
async fn a_client_ends_its_stream_by_end_stream_unless_it_aborts() {
    let check = async |ending: Ending, expected: Option<Reason>| {
        let listener = listen().await;
        let dial = dialing(listener.local_addr().unwrap());
        let server = tokio::spawn(end_of_stream(listener, ending));
        let dialled = dial.connect().await;
        if ending == Ending::Refused {
            drop(dialled.unwrap_err());
        } else {
            let conn = dialled.unwrap();
            match ending {
                Ending::Drop => drop(conn),
                Ending::Abort => conn.close_now(),
                Ending::Close => conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap(),
                _ => drop(conn.read().await.unwrap_err()),
            }
        }
        assert_eq!(server.await.unwrap(), expected, "{ending:?}");
    };
    in_time(async {
        check(Ending::Close, None).await;
        check(Ending::Drop, None).await;
        check(Ending::CloseOfServer, None).await;
        check(Ending::EndOfServer, None).await;
        check(Ending::Refused, None).await;
        check(Ending::Abort, Some(Reason::CANCEL)).await;
    })
    .await;
}

/// The connection ends with its last WebSocket, by GOAWAY and `close_notify`.
#[tokio::test]
async fn an_http2_connection_over_tls_ends_by_close_notify() {
    let authority = Authority::new();
    let dialers = [
        Dialer::new().no_proxy().tls(authority.client()),
        #[cfg(feature = "native-tls")]
        support::system_dialer(&authority, &["h2"]),
    ];
    for dialer in dialers {
        check_close_notify(&authority, dialer.http2()).await;
    }
}

async fn check_close_notify(authority: &Authority, dialer: Dialer) {
    let listener = listen().await;
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    let tls = authority.server(false, &["h2"]);
    let server = tokio::spawn(async move {
        let io = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut builder = h2::server::Builder::new();
        let mut server = builder.enable_connect_protocol().handshake::<_, Bytes>(io).await.unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move {
            let mut receive = request.into_body();
            assert_eq!(receive.data().await.unwrap().unwrap()[0], CLOSE[0]);
            send.send_data(Bytes::from_static(CLOSE), true).unwrap();
            while receive.data().await.is_some_and(|data| data.is_ok()) {}
        });
        // rustls reports an end without `close_notify` as an error.
        server.accept().await.map(|next| next.map(drop))
    });
    in_time(async {
        let conn = Dial::new(url).dialer(&dialer).connect().await.unwrap();
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        drop(conn);
        let ended = server.await.unwrap();
        assert!(ended.is_none(), "{ended:?}");
    })
    .await;
}

/// The server is hyper, and the client is raw HTTP/2.
#[tokio::test]
async fn a_server_ends_its_stream_by_end_stream() {
    let (mut server, _) = plain().await;
    let mut check = async |is_closed_by_server: bool| {
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let mut raw = Raw::connect(tcp, "/hand").await;
        let conn = server.conns.recv().await.unwrap();
        let masked: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
        let serve = tokio::spawn(async move {
            match is_closed_by_server {
                true => drop(conn.close(StatusCode::NORMAL_CLOSURE, "").await),
                false => drop(conn.read().await),
            }
        });
        if !is_closed_by_server {
            raw.send.send_data(Bytes::from_static(masked), false).unwrap();
        }
        let mut frame = raw.receive.data().await.unwrap().unwrap();
        while frame.len() < CLOSE.len() {
            frame = [frame, raw.receive.data().await.unwrap().unwrap()].concat().into();
        }
        assert_eq!(frame, CLOSE);
        if is_closed_by_server {
            raw.send.send_data(Bytes::from_static(masked), false).unwrap();
        }
        // An error would be a reset.
        assert!(raw.receive.data().await.is_none_or(|data| data.unwrap().is_empty()));
        raw.send.send_data(Bytes::new(), true).unwrap();
        serve.await.unwrap();
        raw.ended().await;
    };
    in_time(async {
        check(true).await;
        check(false).await;
    })
    .await;
}

/// Over HTTP/1.1 and TLS, the server or the client closes first (RFC 8446 §6.1).
#[tokio::test]
async fn a_server_ends_tls_by_close_notify() {
    let authority = Authority::new();
    let tls = authority.server(false, &["http/1.1"]);
    let mut server = Server::start(ws_server_hyper::http_builder(), Some(tls)).await;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(authority.client()));
    let mut check = async |is_closed_by_server: bool| {
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let mut io = connector.connect(server.addr.ip().into(), tcp).await.unwrap();
        let offer = Offer::new([""; 0], Compression::off()).unwrap();
        let mut request = Request::get("/hand").header("host", "a").body(()).unwrap();
        request.headers_mut().extend(offer.headers());
        io.write_all(&encode_request(&request)).await.unwrap();
        let conn = server.conns.recv().await.unwrap();
        let masked = b"\x88\x82\0\0\0\0\x03\xe8";
        if is_closed_by_server {
            let closing = conn.close(StatusCode::NORMAL_CLOSURE, "");
            let (closed, written) = tokio::join!(closing, io.write_all(masked));
            closed.unwrap();
            written.unwrap();
        } else {
            io.write_all(masked).await.unwrap();
            conn.read().await.unwrap_err();
        }
        let mut said = Vec::new();
        // rustls reports an end without `close_notify` as an error.
        io.read_to_end(&mut said).await.unwrap();
        assert!(said.ends_with(CLOSE), "{is_closed_by_server}");
    };
    in_time(async {
        check(true).await;
        check(false).await;
    })
    .await;
}
