//! What does a server log, with each adapter: refusals, failed upgrades, its life?
#![cfg(test)]

mod adapters;

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::routing::any;
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use warp::Filter as _;
use ws_core::handshake::Offer;
use ws_core::{Acceptor, Compression, Conn};
use ws_server_axum::WebSocketUpgrade;
use ws_server_hyper::{
    AcceptOptions, ConnectionLimits, ConnectionTracker, DrainConfig, Origin, TestError,
    TrustedProxies, serve_until,
};
use ws_server_warp::Ws;

use crate::adapters::Stream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The limit of each wait.
const LIMIT: Duration = Duration::from_secs(20);

/// What all tests of this process have logged. Each looks for its own paths.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let begin = || {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .init();
            log
        };
        LOG.get_or_init(begin).clone()
    }

    fn line(&self, part: &str) -> Option<String> {
        self.lines(part).into_iter().next()
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// Whether a text has these parts.
    #[track_caller]
    fn check(&self, line: &str, expected: &[&str]) {
        for part in expected {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    async fn wait_for(&self, part: &str) -> String {
        let waiting = async {
            loop {
                if let Some(line) = self.line(part) {
                    return line;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{part} is not logged"))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn handler(_: Conn) {}

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

/// A handshake with more headers, without those that are empty.
fn request(path: &str, more: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = Request::get(path).header(HOST, "localhost:81").body(Bytes::new()).unwrap();
    for (name, value) in UPGRADE.iter().chain(more) {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    remove_empty(request.headers_mut());
    request
}

fn remove_empty(headers: &mut HeaderMap) {
    let empty: Vec<_> =
        headers.iter().filter(|it| it.1.is_empty()).map(|it| it.0.clone()).collect();
    for name in empty {
        headers.remove(name);
    }
}

/// Headers, the status, the level and parts of the log line, and parts of the body.
struct Row {
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
    line: Vec<&'static str>,
    body: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            headers: vec![("origin", "https://evil.example"), ("cookie", "key=secret")],
            status: 403,
            line: vec![
                "WARN",
                "reason=\"origin_refused\"",
                "status=403",
                "origin=https://evil.example",
                "host=localhost:81",
                "suppressed=0",
            ],
            body: vec!["https://evil.example", "localhost:81", "`Origin::patterns`"],
        },
        Row {
            headers: vec![("sec-websocket-key", "")],
            status: 400,
            line: vec!["DEBUG", "reason=\"key_missing\"", "status=400", "host=localhost:81"],
            body: vec!["Sec-WebSocket-Key"],
        },
    ]
}

#[tokio::test]
async fn a_refused_handshake_is_logged_and_says_why() {
    let log = Log::begin();
    for served in adapters::each(&AcceptOptions::new(), handler) {
        for (index, row) in rows().into_iter().enumerate() {
            let path = format!("/refused-{}-{index}", served.by);
            let request = request(&format!("{path}?token=secret"), &row.headers);
            let response = served.client.send(request).await.unwrap();
            assert_eq!(response.status(), row.status);
            let body = String::from_utf8(response.into_body().to_vec()).unwrap();
            log.check(&body, &row.body);
            let line = log.wait_for(&path).await;
            log.check(&line, &row.line);
            assert!(!line.contains("secret"), "{line}");
        }
    }
}

/// Serves a stream, whose peer has this address.
type ServeFrom = Box<dyn Fn(Stream, SocketAddr)>;

/// The adapters, and the extractor of axum.
fn ways(options: &AcceptOptions) -> Vec<(&'static str, ServeFrom)> {
    let mut ways = Vec::<(_, ServeFrom)>::new();
    for served in adapters::each(options, handler) {
        let by = served.by;
        ways.push((by, Box::new(move |io, peer| served.serve_with_peer(io, peer))));
    }
    let app = extractor_of_axum(options);
    let serve = move |io, peer| {
        tokio::spawn(ws_server_axum::serve_stream(io, Some(peer), app.clone()));
    };
    ways.push(("extractor", Box::new(serve)));
    ways
}

fn extractor_of_axum(options: &AcceptOptions) -> axum::Router {
    let refuse = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(handler);
    let app = axum::Router::new().route("/{path}", any(refuse));
    app.layer(axum::Extension(options.clone()))
}

/// Records the metrics of a thread: all tasks of a test are on its thread.
fn recorder() -> (impl Drop, PrometheusHandle) {
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    let handle = recorder.handle();
    (metrics::set_default_local_recorder(recorder), handle)
}

/// How many refusals for this reason were counted.
fn counted(metrics: &PrometheusHandle, reason: &str) -> u32 {
    let text = metrics.render();
    let start = format!("websocket_handshakes_refused{{reason=\"{reason}\"");
    let lines = text.lines().filter(|line| line.starts_with(&start));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap()).sum()
}

/// Why a handshake is refused, and how that is logged.
struct Refusal {
    reason: &'static str,
    status: u16,
    level: &'static str,
    options: AcceptOptions,
    headers: &'static [(&'static str, &'static str)],
}

fn refusals() -> Vec<Refusal> {
    let malformed = |reason, headers| Refusal {
        reason,
        status: 400,
        level: "DEBUG",
        options: AcceptOptions::new(),
        headers,
    };
    let refused = |reason, status, level, options| Refusal {
        reason,
        status,
        level,
        options,
        headers: &[("origin", "https://a.example")],
    };
    let limited = |reason, status, limits: ConnectionLimits| {
        let options = AcceptOptions::new().origin(Origin::any()).limits(&limits);
        refused(reason, status, "WARN", options)
    };
    let draining = ConnectionTracker::new();
    draining.close();
    let draining = AcceptOptions::new().origin(Origin::any()).tracker(&draining);
    let limits = ConnectionLimits::new;
    vec![
        refused("origin_refused", 403, "WARN", AcceptOptions::new()),
        malformed("version_missing", &[("sec-websocket-version", "")]),
        malformed("subprotocols_malformed", &[("sec-websocket-protocol", "a, a")]),
        limited("too_many_connections", 503, limits().connections(0)),
        limited("too_many_queued_bytes", 503, limits().queued_bytes(0, || 1)),
        limited("too_many_from_address", 429, limits().per_address(0)),
        limited("too_many_of_key", 429, limits().per_key(0, |_| Some("ann".to_owned()))),
        limited("too_many_handshakes", 429, limits().handshakes_per_second(0)),
        refused("shutting_down", 503, "DEBUG", draining),
    ]
}

#[tokio::test]
async fn each_way_to_refuse_a_handshake_logs_the_peer_and_counts() {
    for row in refusals() {
        check_refusal(&row).await;
    }
}

async fn check_refusal(row: &Refusal) {
    let Refusal { reason, status, options, .. } = row;
    let log = Log::begin();
    let (_recording, metrics) = recorder();
    let (logged, status_field) = (format!("reason=\"{reason}\""), format!("status={status}"));
    let refused = |line: &str, peer: &dyn Display| {
        log.check(line, &[row.level, &logged, &status_field, &format!("peer={peer}")]);
    };
    let mut total = 0;
    let mut check_counted = |by: &str| {
        total += 1;
        assert_eq!(counted(&metrics, reason), total, "{by}: {reason}");
    };
    let peer = SocketAddr::from(([192, 0, 2, 7], 7));
    for (by, serve) in ways(options) {
        let (mut client, io) = duplex(4096);
        next_second().await;
        serve(Box::new(io), peer);
        let path = format!("/{reason}-{by}");
        client.write_all(head(&path, row.headers).as_bytes()).await.unwrap();
        expect(&mut client, &format!("HTTP/1.1 {status}")).await;
        refused(&log.wait_for(&path).await, &peer);
        check_counted(by);
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (io, peer) = listener.accept().await.unwrap();
    let path = format!("/{reason}-bare");
    client.write_all(head(&path, row.headers).as_bytes()).await.unwrap();
    next_second().await;
    timeout(LIMIT, Acceptor::new(options).serve(io, handler)).await.unwrap().unwrap_err();
    refused(&log.wait_for(&path).await, &peer);
    check_counted("bare");

    let offer = Offer::new([""; 0], Compression::off()).unwrap();
    for (index, (by, serve)) in ways(options).into_iter().enumerate() {
        let (client, io) = duplex(1 << 16);
        let peer = SocketAddr::from(([192, 0, 2, 8], u16::try_from(index).unwrap() + 1));
        serve(Box::new(io), peer);
        let mut http2 = adapters::http2(Box::new(client)).await;
        next_second().await;
        let path = format!("/{reason}-http2-{by}");
        let mut request = adapters::connect_request(&path, &offer);
        for (name, value) in row.headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        remove_empty(request.headers_mut());
        let response = timeout(LIMIT, http2.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), *status, "{by}");
        refused(&log.wait_for(&path).await, &peer);
        check_counted(by);
    }
}

async fn late() {
    tokio::time::sleep(Duration::from_secs(4)).await; // tidy: sleep is the subject
}

/// A handler that upgrades later than [`AcceptOptions::handshake_timeout`] allows.
#[tokio::test(start_paused = true)]
async fn a_late_reply_is_logged_and_counted() {
    let log = Log::begin();
    let (_recording, metrics) = recorder();
    let options = AcceptOptions::new().handshake_timeout(Duration::from_secs(3));
    let route = any(async |upgrade: WebSocketUpgrade| {
        late().await;
        upgrade.on_upgrade(handler)
    });
    let app = axum::Router::new().route("/{path}", route).layer(axum::Extension(options.clone()));
    let filter = warp::path::param().and(ws_server_warp::ws(options));
    let filter = filter.then(async |_: String, ws: Ws| {
        late().await;
        ws.on_upgrade(handler)
    });
    let mut total = 0;
    for (by, client) in [
        ("extractor", ws_server_axum::test_client(app)),
        ("warp", ws_server_warp::test_client(warp::service(filter))),
    ] {
        for (version, client) in [("http1", client.clone()), ("http2", client.http2())] {
            let path = format!("/late-{by}-{version}");
            let Err(TestError::Refused(refused)) = client.websocket(&path).connect().await else {
                panic!("{path} is not refused")
            };
            assert_eq!(refused.status(), 408, "{path}");
            let line = log.wait_for(&format!("path={path} ")).await;
            log.check(&line, &["DEBUG", "reason=\"timeout\"", "status=408"]);
            // What the refused upgrade may log has been logged.
            tokio::time::sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
            assert_eq!(log.lines(&path), [line]);
            total += 1;
            assert_eq!(counted(&metrics, "timeout"), total, "{path}");
        }
    }
}

/// How a handler ends when its client has left: with the error of the connection, or with another.
#[tokio::test]
async fn a_handler_that_fails_because_its_client_left_logs_no_warning() {
    let log = Log::begin();
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    for own in [None, Some("the game is over")] {
        let (sender, mut opened) = mpsc::unbounded_channel();
        let plays = async move |conn: Conn| -> Result<(), String> {
            sender.send(conn.id()).unwrap();
            loop {
                let read = conn.read().await;
                read.map_err(|error| own.map_or_else(|| error.to_string(), str::to_owned))?;
            }
        };
        for (by, serve) in adapters::each_and_bare(&options, plays) {
            let (mut client, io) = duplex(4096);
            serve(Box::new(io));
            client.write_all(head("/left", &[]).as_bytes()).await.unwrap();
            expect(&mut client, "HTTP/1.1 101").await;
            let id = timeout(LIMIT, opened.recv()).await.unwrap().unwrap();
            drop(client);
            let handled = async {
                while tracker.counts().open > 0 {
                    tokio::task::yield_now().await;
                }
            };
            timeout(LIMIT, handled).await.unwrap();
            let lines = log.lines(&format!("conn={id} "));
            assert!(lines.iter().any(|line| line.contains("connection closed")), "{by}: {lines:?}");
            let is_said = lines.iter().any(|line| own.is_some_and(|own| line.contains(own)));
            assert_eq!(is_said, own.is_some(), "{by}: {lines:?}");
            let is_loud = |line: &&String| line.contains(" WARN ") || line.contains("ERROR ");
            assert_eq!(lines.iter().find(is_loud), None, "{by}");
        }
    }
}

/// At most ten refusals are logged in a second.
async fn next_second() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
}

/// The head of a handshake, see [`request`].
fn head(path: &str, more: &[(&'static str, &str)]) -> String {
    let mut head = format!("GET {path} HTTP/1.1\r\n");
    for (name, value) in request(path, more).headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    format!("{head}\r\n")
}

/// Reads the start of a response.
async fn expect(io: &mut (impl AsyncRead + Unpin), start: &str) {
    let mut answer = vec![0; start.len()];
    timeout(LIMIT, io.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(str::from_utf8(&answer).unwrap(), start);
}

#[tokio::test]
async fn a_refused_handshake_on_a_bare_stream_is_logged() {
    let log = Log::begin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (io, peer) = listener.accept().await.unwrap();
    client.write_all(b"GET /bare HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let accepted = Acceptor::new(&AcceptOptions::new()).accept(io);
    timeout(LIMIT, accepted).await.unwrap().unwrap_err();
    let line = log.wait_for("path=/bare").await;
    log.check(&line, &["DEBUG", "reason=\"not_upgrade\"", "host=a", &format!("peer={peer}")]);
}

#[tokio::test]
async fn a_new_connection_is_logged_with_the_client_behind_a_trusted_proxy() {
    let log = Log::begin();
    let proxies = TrustedProxies::new(["10.0.0.1", "127.0.0.1"]).unwrap();
    let options = AcceptOptions::new().trusted_proxies(proxies);
    for (index, served) in adapters::each(&options, handler).into_iter().enumerate() {
        let (client, server) = duplex(1024);
        served.serve_with_peer(Box::new(server), ([10, 0, 0, 1], 5).into());
        check_opened(&log, client, &format!("198.51.100.{index}")).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (io, _) = listener.accept().await.unwrap();
    tokio::spawn(Acceptor::new(&options).serve(io, handler));
    check_opened(&log, client, "198.51.100.9").await;
}

/// Makes a handshake as a proxy does for a client with this address, and looks for it in the log.
async fn check_opened(log: &Log, mut io: impl AsyncRead + AsyncWrite + Unpin, client: &str) {
    let mut head = format!("GET /opened HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {client}\r\n");
    for (name, value) in UPGRADE {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    io.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(LIMIT, io.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let peer = format!("peer={client}:0 compressed=false");
    log.check(&log.wait_for(&peer).await, &["DEBUG", "connection opened", "role=\"server\""]);
}

#[tokio::test]
async fn an_upgrade_that_fails_after_the_response_is_logged() {
    let service = service_fn(async |mut request: Request<Incoming>| {
        let accepted = ws_server_hyper::accept(&mut request, &AcceptOptions::new());
        let (response, upgrade): (Response<Empty<Bytes>>, _) = accepted.unwrap();
        tokio::spawn(upgrade.serve(handler));
        Ok::<_, Infallible>(response)
    });
    check_without_upgrades("hyper", service).await;
    let options = AcceptOptions::new();
    let route = ws_server_axum::websocket(options.clone(), handler);
    let app = axum::Router::new().route("/{path}", route);
    check_without_upgrades("axum", TowerToHyperService::new(app)).await;
    let app = extractor_of_axum(&options);
    check_without_upgrades("extractor", TowerToHyperService::new(app)).await;
    let route = warp::path::param().and(ws_server_warp::websocket(options, handler));
    let service = warp::service(route.map(|_: String, response| response));
    check_without_upgrades("warp", TowerToHyperService::new(service)).await;
}

/// Serves a service without `with_upgrades`. The response is 101, and there is no transport.
async fn check_without_upgrades<S, B>(by: &str, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>> + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let log = Log::begin();
    let (mut client, io) = duplex(1024);
    let server = hyper::server::conn::http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(io), service));
    let path = format!("/without-upgrades-{by}");
    client.write_all(head(&path, &[]).as_bytes()).await.unwrap();
    expect(&mut client, "HTTP/1.1 101").await;
    let line = log.wait_for(&format!("path={path}")).await;
    log.check(&line, &["WARN", "no transport for an accepted WebSocket"]);
}

#[tokio::test]
async fn the_life_of_a_server_is_logged() {
    let log = Log::begin();
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let accepted = ws_server_hyper::accept(&mut request, &options);
        let (response, upgrade): (Response<Empty<Bytes>>, _) = accepted.unwrap();
        tokio::spawn(upgrade.serve(async |conn: Conn| _ = conn.read().await));
        async { Ok::<_, Infallible>(response) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let signal = async move {
        let _ = stopped.await;
        tracker.drain(DrainConfig::timeout(LIMIT)).await;
    };
    let server = tokio::spawn(serve_until(listener, service, signal));
    let client = ws_client::dial(&format!("ws://{addr}/")).await.unwrap();
    stop.send(()).unwrap();
    timeout(LIMIT, client.read()).await.unwrap().unwrap_err();
    timeout(LIMIT, server).await.unwrap().unwrap().unwrap();
    let address = format!("address={addr}");
    log.check(&log.wait_for("listening").await, &["INFO", &address]);
    log.check(&log.wait_for("draining connections").await, &["INFO", "open=1"]);
    let drained = ["INFO", "notified=1", "aborted=0", "open=0", "duration_ms="];
    log.check(&log.wait_for("connections drained").await, &drained);
    log.check(&log.wait_for("shutting down").await, &["INFO"]);
    log.check(&log.wait_for("server stopped").await, &["INFO", &address]);
}
