//! Are the limits of a server and the headers of trusted proxies applied alike by each adapter?

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::adapters::{Served, Stream};
use axum::middleware::Next;
use axum::routing::any;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use ws_core::Acceptor;
use ws_core::handler::ConnectionLimits;
use ws_server_axum::WebSocketUpgrade;
use ws_server_hyper::{AcceptOptions, Conn, ConnectionTracker, TrustedProxies};

use crate::adapters;

/// The limit of each wait.
const LIMIT: Duration = Duration::from_secs(20);

type Header = (&'static str, &'static str);

/// The status of a response, and its `Retry-After`.
type Answer = (u16, Option<u32>);

const ACCEPTED: Answer = (101, None);

async fn until_closed(conn: Conn) {
    conn.closed().await;
}

/// Makes a handshake. The connection is open until the stream is dropped.
async fn shake_hands<T>(io: T, headers: &[Header]) -> (Answer, T)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (head, io) = head_of(io, headers).await;
    (parse(&head), io)
}

/// Makes a handshake, and returns the head of the response.
async fn head_of<T>(mut io: T, headers: &[Header]) -> (String, T)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut head = "GET /chat HTTP/1.1\r\nhost: inner.example\r\nconnection: upgrade\r\n\
                    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                    sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        .to_owned();
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    io.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    (read_head(&mut io).await, io)
}

async fn read_head(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
    };
    timeout(LIMIT, reading).await.unwrap();
    String::from_utf8(head).unwrap()
}

fn parse(head: &str) -> Answer {
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let retry_after = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    (status, retry_after.map(|seconds| seconds.parse().unwrap()))
}

/// Makes a handshake with an adapter, from this address.
async fn from(served: &Served, peer: &str, headers: &[Header]) -> (Answer, DuplexStream) {
    let (client, server) = duplex(4096);
    served.serve_with_peer(Box::new(server), peer.parse::<SocketAddr>().unwrap());
    shake_hands(client, headers).await
}

fn each(limits: &ConnectionLimits) -> [Served; 3] {
    adapters::each(&AcceptOptions::new().limits(limits), until_closed)
}

/// The handshakes of one server, from which address and for whom, and what each is answered. All
/// connections stay open.
async fn check(limits: impl Fn() -> ConnectionLimits, rows: &[(&str, &'static str, Answer)]) {
    for adapter in 0..3 {
        // Clones share the counts, so each adapter has limits of its own.
        let served = &each(&limits())[adapter];
        let mut open = Vec::new();
        for (peer, key, expected) in rows {
            let headers = [("x-user", *key)];
            let (answer, io) = from(served, peer, &headers[usize::from(key.is_empty())..]).await;
            assert_eq!(answer, *expected, "{}: {peer} {key}", served.by);
            open.push(io);
        }
    }
}

#[tokio::test]
async fn the_number_of_connections_is_limited() {
    let full = (503, Some(10));
    let rows =
        [("192.0.2.1:1", "", ACCEPTED), ("192.0.2.2:1", "", ACCEPTED), ("192.0.2.3:1", "", full)];
    check(|| ConnectionLimits::new().connections(2), &rows).await;
}

#[tokio::test]
async fn the_number_of_connections_from_an_address_is_limited() {
    let many = (429, Some(10));
    let rows = [
        ("192.0.2.1:1", "", ACCEPTED),
        ("192.0.2.1:2", "", many),
        ("192.0.2.2:1", "", ACCEPTED),
        ("[2001:db8::1]:1", "", ACCEPTED),
        ("[2001:db8::ffff:2]:1", "", many),
        ("[2001:db8:0:1::1]:1", "", ACCEPTED),
    ];
    check(|| ConnectionLimits::new().per_address(1), &rows).await;
}

#[tokio::test]
async fn the_number_of_connections_of_a_user_is_limited() {
    let rows = [
        ("192.0.2.1:1", "ann", ACCEPTED),
        ("192.0.2.2:1", "ann", (429, Some(10))),
        ("192.0.2.1:1", "bob", ACCEPTED),
        ("192.0.2.1:1", "", ACCEPTED),
        ("192.0.2.1:1", "", ACCEPTED),
    ];
    let key = |request: &ws_server_hyper::HandshakeRequest<'_>| {
        Some(request.headers().get("x-user")?.to_str().ok()?.to_owned())
    };
    check(|| ConnectionLimits::new().per_key(1, key), &rows).await;
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_handshakes_from_an_address_is_limited() {
    let rows = [
        ("192.0.2.1:1", "", ACCEPTED),
        ("192.0.2.1:2", "", ACCEPTED),
        ("192.0.2.1:3", "", (429, Some(2))),
        ("192.0.2.2:1", "", ACCEPTED),
    ];
    check(|| ConnectionLimits::new().handshakes_per_second(2), &rows).await;
}

/// A flood of handshakes that are refused, each for this reason.
struct Flood {
    headers: &'static [Header],
    status: u16,
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_are_refused_count_for_the_rate() {
    let floods = [
        Flood { headers: &[PAGE], status: 403 },
        Flood { headers: &[("sec-websocket-key", "AAAA")], status: 400 },
        Flood { headers: &[("origin", "https://a.example"), ("origin", "b")], status: 403 },
        Flood { headers: &[("sec-websocket-protocol", "a, a")], status: 400 },
        Flood { headers: &[("content-length", "5")], status: 400 },
    ];
    let (one, other) = (("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2"));
    let slow_down = (429, Some(2));
    for number in 0..5 {
        for Flood { headers, status } in &floods {
            let limits = ConnectionLimits::new().handshakes_per_second(3);
            let proxies = TrustedProxies::new(["10.0.0.0/8", "127.0.0.0/8"]).unwrap();
            let options = AcceptOptions::new().limits(&limits).trusted_proxies(proxies);
            let servers = servers(&options).await;
            let (by, open) = &servers[number];
            let ask = async |headers: &[Header]| shake_hands(open().await, headers).await.0;
            let forged = [&[one][..], headers].concat();
            for _ in 0..3 {
                assert_eq!(ask(&forged).await.0, *status, "{by}: {headers:?}");
            }
            for _ in 0..2 {
                assert_eq!(ask(&forged).await, slow_down, "{by}: {headers:?}");
            }
            assert_eq!(ask(&[one]).await, slow_down, "{by}: a handshake after {headers:?}");
            assert_eq!(ask(&[other]).await, ACCEPTED, "{by}: another client");
            // What asks for no WebSocket is no handshake.
            let get = get(open().await, &[other]).await;
            assert_eq!(get, (426, None), "{by}");
        }
    }
}

#[tokio::test]
async fn full_queues_refuse_connections() {
    let queued = Arc::new(AtomicU64::new(0));
    let measured = Arc::clone(&queued);
    let limits = ConnectionLimits::new().queued_bytes(10, move || measured.load(Relaxed));
    for served in each(&limits) {
        queued.store(10, Relaxed);
        assert_eq!(from(&served, "192.0.2.1:1", &[]).await.0, ACCEPTED);
        queued.store(11, Relaxed);
        assert_eq!(from(&served, "192.0.2.1:1", &[]).await.0, (503, Some(10)));
    }
}

#[tokio::test]
async fn a_connection_counts_until_it_ends_across_adapters() {
    let limits = ConnectionLimits::new().connections(1);
    let servers = each(&limits);
    for (at, served) in servers.iter().enumerate() {
        let (answer, io) = from(served, "192.0.2.1:1", &[]).await;
        assert_eq!(answer, ACCEPTED);
        assert_eq!(from(&servers[(at + 1) % 3], "192.0.2.1:1", &[]).await.0.0, 503);
        drop(io);
        let freed = async {
            while !format!("{limits:?}").contains("open: 0") {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, freed).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_on_bare_streams_has_the_same_limits() {
    let limits = ConnectionLimits::new().connections(2).per_address(1);
    let proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let options = AcceptOptions::new().limits(&limits).trusted_proxies(proxies);
    let acceptor = Acceptor::new(&options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, mut peers) = mpsc::unbounded_channel();
    let handler = async move |conn: Conn| {
        sender.send((conn.peer_addr(), conn.request().unwrap().peer_addr)).unwrap();
        conn.closed().await;
    };
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(acceptor.serve(io, handler.clone()));
        }
    });
    let mut open = Vec::new();
    for (client, expected) in [
        ("192.0.2.1", ACCEPTED),
        ("192.0.2.1", (429, Some(10))),
        ("2001:db8::1", ACCEPTED),
        ("192.0.2.3", (503, Some(10))),
    ] {
        let io = TcpStream::connect(addr).await.unwrap();
        let (answer, io) = shake_hands(io, &[("x-forwarded-for", client)]).await;
        assert_eq!(answer, expected, "{client}");
        if answer == ACCEPTED {
            let client = Some(SocketAddr::new(client.parse().unwrap(), 0));
            assert_eq!(timeout(LIMIT, peers.recv()).await.unwrap(), Some((client, client)));
        }
        open.push(io);
    }
}

/// Who connects, with which headers → the status, and the address of the client.
struct Row {
    peer: &'static str,
    headers: Vec<Header>,
    expected: Result<&'static str, u16>,
    /// Whether the proxy says that the client uses TLS.
    secure: bool,
}

const PAGE: Header = ("origin", "https://chat.example");

fn rows() -> Vec<Row> {
    let proxy = "10.0.0.1:5";
    let forwarded = ("x-forwarded-host", "chat.example");
    let client = ("x-forwarded-for", "198.51.100.7, 192.0.2.1");
    let https = ("x-forwarded-proto", "https");
    let row = |peer, headers: &[Header], expected| Row {
        peer,
        headers: headers.to_vec(),
        expected,
        secure: false,
    };
    vec![
        row(proxy, &[client], Ok("192.0.2.1:0")),
        row(proxy, &[], Ok(proxy)),
        row("192.0.2.9:5", &[client], Ok("192.0.2.9:5")),
        row(proxy, &[PAGE, forwarded, client], Ok("192.0.2.1:0")),
        row(proxy, &[PAGE], Err(403)),
        row("192.0.2.9:5", &[PAGE, forwarded], Err(403)),
        Row { secure: true, ..row(proxy, &[https], Ok(proxy)) },
        row(proxy, &[("x-forwarded-proto", "http")], Ok(proxy)),
        row("192.0.2.9:5", &[https], Ok("192.0.2.9:5")),
    ]
}

#[tokio::test]
async fn only_trusted_proxies_name_the_client_the_host_and_the_scheme() {
    let (sender, mut peers) = mpsc::unbounded_channel();
    for keep in [true, false] {
        let sender = sender.clone();
        let handler = async move |conn: Conn| {
            let request = conn.request();
            assert_eq!(request.is_some(), keep);
            let secure = request.as_ref().map(|it| it.secure);
            let in_request = request.map_or_else(|| conn.peer_addr(), |it| it.peer_addr);
            sender.send((conn.peer_addr(), in_request, secure)).unwrap();
        };
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let options = AcceptOptions::new().trusted_proxies(proxies).keep_request(keep);
        for served in adapters::each(&options, handler) {
            for row in rows() {
                let ((status, _), _io) = from(&served, row.peer, &row.headers).await;
                match row.expected {
                    Err(expected) => assert_eq!(status, expected, "{}: {}", served.by, row.peer),
                    Ok(client) => {
                        assert_eq!(status, 101, "{}: {}", served.by, row.peer);
                        let client = Some(client.parse().unwrap());
                        let seen = timeout(LIMIT, peers.recv()).await.unwrap();
                        let secure = keep.then_some(row.secure);
                        assert_eq!(seen, Some((client, client, secure)), "{}", served.by);
                    }
                }
            }
        }
    }
}

/// The status of an ordinary GET, and its `Retry-After`.
async fn get(mut io: Stream, headers: &[Header]) -> Answer {
    let mut head = "GET /chat HTTP/1.1\r\nhost: inner.example\r\n".to_owned();
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    io.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    parse(&read_head(&mut io).await)
}

/// Opens a stream to a server, from a trusted proxy.
type Open = Box<dyn Fn() -> BoxFuture<'static, Stream>>;

/// All ways to serve WebSockets with these options: the adapters, the extractor of axum with the
/// options of a layer, and a stream without an HTTP server.
async fn servers(options: &AcceptOptions) -> Vec<(&'static str, Open)> {
    let proxy = || Some("10.0.0.1:5".parse().unwrap());
    let in_memory = |serve: Box<dyn Fn(Stream)>| -> Open {
        Box::new(move || {
            let (client, server) = duplex(4096);
            serve(Box::new(server));
            Box::pin(ready(Box::new(client) as Stream))
        })
    };
    let mut servers = Vec::new();
    for served in adapters::each(options, until_closed) {
        let by = served.by;
        let serve = move |io| served.serve_with_peer(io, proxy().unwrap());
        servers.push((by, in_memory(Box::new(serve))));
    }
    let app = axum::Router::new()
        .route("/chat", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(until_closed)))
        .layer(axum::Extension(options.clone()));
    let serve = move |io| {
        tokio::spawn(ws_server_axum::serve_stream(io, proxy(), app.clone()));
    };
    servers.push(("the extractor of axum", in_memory(Box::new(serve))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(options);
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(acceptor.serve(io, until_closed));
        }
    });
    let open = move || -> BoxFuture<'static, Stream> {
        Box::pin(async move { Box::new(TcpStream::connect(address).await.unwrap()) as Stream })
    };
    servers.push(("bare", Box::new(open)));
    servers
}

/// What a server does when the client asks.
enum Busy {
    No,
    /// It has a connection of the first client, which is all that this client may have.
    Full,
    Stopping,
}

#[tokio::test]
async fn an_ordinary_get_is_refused_for_the_reason_of_a_handshake() {
    let (one, other) = ("192.0.2.1", "192.0.2.2");
    let page = Some("https://chat.example");
    let rows = [
        (Busy::No, one, None, (426, None), ACCEPTED),
        (Busy::No, one, page, (403, None), (403, None)),
        // An ordinary GET does not count for the limits.
        (Busy::Full, one, None, (429, Some(10)), (429, Some(10))),
        (Busy::Full, one, page, (403, None), (403, None)),
        (Busy::Full, other, None, (426, None), ACCEPTED),
        (Busy::Stopping, other, None, (503, Some(10)), (503, Some(10))),
        (Busy::Stopping, one, page, (403, None), (403, None)),
    ];
    for number in 0..5 {
        for (busy, client, origin, expected, handshake) in &rows {
            let tracker = ConnectionTracker::new();
            let limits = ConnectionLimits::new().per_address(1).handshakes_per_second(3);
            let proxies = TrustedProxies::new(["10.0.0.0/8", "127.0.0.0/8"]).unwrap();
            let options = AcceptOptions::new().limits(&limits).tracker(&tracker);
            let servers = servers(&options.trusted_proxies(proxies)).await;
            let (by, open) = &servers[number];
            let mut kept = None;
            match busy {
                Busy::No => {}
                Busy::Full => {
                    let io = open().await;
                    let (answer, io) = shake_hands(io, &[("x-forwarded-for", one)]).await;
                    assert_eq!(answer, ACCEPTED, "{by}");
                    kept = Some(io);
                }
                Busy::Stopping => tracker.close(),
            }
            let mut headers = vec![("x-forwarded-for", *client)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            for _ in 0..4 {
                let answer = get(open().await, &headers).await;
                assert_eq!(answer, *expected, "{by}: an ordinary GET, {headers:?}");
            }
            let (answer, _io) = shake_hands(open().await, &headers).await;
            assert_eq!(answer, *handshake, "{by}: a handshake, {headers:?}");
            drop(kept);
        }
    }
}

#[tokio::test]
async fn an_ordinary_get_without_an_origin_is_that_of_the_page_in_its_referer() {
    let (here, other) = ("https://inner.example/chat?room=1#top", "https://chat.example/");
    let (link, fetch) = (("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors"));
    let rows: [(&[Header], u16); _] = [
        (&[("referer", here)], 426),
        (&[("referer", "https://inner.example")], 426),
        (&[("referer", other)], 403),
        (&[("referer", "https://chat.example?x")], 403),
        (&[("referer", other), fetch], 403),
        // The user has followed a link: the page there opens no WebSocket.
        (&[("referer", other), link], 426),
        (&[("referer", other), ("origin", "https://inner.example")], 426),
        (&[("referer", here), ("origin", "https://chat.example")], 403),
        // No page on the web.
        (&[("referer", "about:client")], 426),
        (&[("referer", "chat.example")], 426),
        (&[("referer", "android-app://chat.example/")], 426),
        (&[("referer", "https://\u{e9}.example/")], 426),
    ];
    for (by, open) in &servers(&AcceptOptions::new()).await {
        for (headers, expected) in rows {
            let (status, _) = get(open().await, headers).await;
            assert_eq!(status, expected, "{by}: {headers:?}");
        }
        // Only the `Origin` decides who may connect.
        let (answer, _io) = shake_hands(open().await, &[("referer", other)]).await;
        assert_eq!(answer, ACCEPTED, "{by}");
    }
}

#[tokio::test]
async fn the_address_of_the_client_is_known_before_the_upgrade() {
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let options = AcceptOptions::new().trusted_proxies(proxies);
    let acceptor = Acceptor::new(&options);
    let in_middleware = move |request: axum::extract::Request, next: Next| {
        let address = acceptor.peer_addr(&request);
        async move {
            let mut response = next.run(request).await;
            let address = format!("{address:?}").parse().unwrap();
            response.headers_mut().insert("x-in-middleware", address);
            response
        }
    };
    let in_handler = async |upgrade: WebSocketUpgrade| {
        let address = format!("{:?}", upgrade.peer_addr()).parse().unwrap();
        let mut response = upgrade.on_upgrade(until_closed);
        response.headers_mut().insert("x-in-handler", address);
        response
    };
    let app = axum::Router::new()
        .route("/chat", any(in_handler))
        .layer(axum::middleware::from_fn(in_middleware))
        .layer(axum::Extension(options));
    let (client, server) = duplex(4096);
    let peer = Some("10.0.0.1:5".parse().unwrap());
    tokio::spawn(ws_server_axum::serve_stream(server, peer, app));
    let (head, _io) = head_of(client, &[("x-forwarded-for", "192.0.2.1")]).await;
    for name in ["x-in-middleware", "x-in-handler"] {
        assert!(head.contains(&format!("{name}: Some(192.0.2.1:0)\r\n")), "{head}");
    }
}
