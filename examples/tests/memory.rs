//! How much memory does a connection hold through each adapter?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

#[path = "../../ws-client/tests/allocator/mod.rs"]
mod allocator;
#[path = "self_signed/mod.rs"]
mod self_signed;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use axum::Router;
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio_rustls::server::TlsStream;
use warp::Filter;
use ws_core::{Acceptor, Compression};
use ws_events::Hub;
use ws_events_socketio::SocketIo;
use ws_server_hyper::{AcceptOptions, Config, Conn, Error, Limits};

const KIB: usize = 1024;

/// The length of the messages of [`Handler::Flood`].
const WRITTEN: usize = 8 * KIB;

/// Serves WebSockets on a listener, in a task of the current thread.
type Serve = fn(TcpListener, AcceptOptions, Handler);

/// What a connection does.
#[derive(Clone, Copy)]
enum Handler {
    Echo,
    /// Reads and writes messages, both without end.
    Flood,
    /// Writes one message, and reads nothing.
    Push,
    /// Writes one message, and waits for the end, which reads ahead.
    Watch,
}

impl Handler {
    async fn run(self, conn: Conn) -> Result<(), Error> {
        match self {
            Self::Echo => loop {
                let message = conn.read().await?;
                conn.write(message).await?;
            },
            Self::Push => {
                conn.write("hi").await?;
                std::future::pending().await
            }
            Self::Watch => {
                conn.write("hi").await?;
                conn.closed().await;
                Ok(())
            }
            Self::Flood => loop {
                tokio::select! {
                    read = conn.read() => drop(read?),
                    written = conn.write(vec![0; WRITTEN]) => written?,
                }
            },
        }
    }
}

fn serve_bare(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let acceptor = Acceptor::new(&options);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(acceptor.serve(stream, move |conn| handler.run(conn)));
        }
    });
}

macro_rules! hyper_service {
    ($options:ident, $handler:ident) => {
        service_fn(move |mut request: Request<Incoming>| {
            let response = match ws_server_hyper::accept(&mut request, &$options) {
                Ok((response, upgrade)) => {
                    tokio::spawn(upgrade.serve(move |conn| $handler.run(conn)));
                    response
                }
                Err(rejection) => rejection.into_response().map(Full::<Bytes>::from),
            };
            async { Ok::<Response<_>, Infallible>(response) }
        })
    };
}

fn serve_hyper(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    tokio::spawn(ws_server_hyper::serve(listener, hyper_service!(options, handler)));
}

fn axum_app(options: AcceptOptions, handler: Handler) -> Router {
    let route = ws_server_axum::websocket(options, move |conn| handler.run(conn));
    Router::new().route("/rooms/{room}", route)
}

fn serve_axum(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    tokio::spawn(ws_server_axum::serve(listener, axum_app(options, handler)));
}

fn warp_route(
    options: AcceptOptions,
    handler: Handler,
) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let route = warp::path!("rooms" / String).and(ws_server_warp::ws(options));
    let route =
        route.map(move |_, ws: ws_server_warp::Ws| ws.on_upgrade(move |conn| handler.run(conn)));
    route.recover(ws_server_warp::recover)
}

fn serve_warp(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let service = warp::service(warp_route(options, handler));
    tokio::spawn(ws_server_warp::serve(listener, service));
}

/// A server and a client with a certificate of their own.
fn tls() -> &'static (TlsAcceptor, Arc<ClientConfig>) {
    static MADE: OnceLock<(TlsAcceptor, Arc<ClientConfig>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let (server, roots) = self_signed::server(HOST);
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        (server, Arc::new(client))
    })
}

/// Serves each connection over TLS.
fn over_tls<F>(
    listener: TcpListener,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let acceptor = &tls().0;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = serve.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                // On the heap, as the connections of the servers are.
                Box::pin(serve(stream)).await;
            });
        }
    });
}

/// TLS alone: answers like the others, and waits in a read without a buffer.
fn serve_tls_alone(listener: TcpListener, _: AcceptOptions, _: Handler) {
    over_tls(listener, async |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        drop(head);
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi").await.unwrap();
        stream.read_exact(&mut [0; 8]).await.unwrap();
        let _ = stream.read_u8().await;
    });
}

fn serve_bare_tls(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let acceptor = Acceptor::new(&options);
    over_tls(listener, move |stream| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.serve(stream, move |conn| handler.run(conn)).await) }
    });
}

fn serve_hyper_tls(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let service = hyper_service!(options, handler);
    over_tls(listener, move |stream| {
        let service = service.clone();
        async move { drop(ws_server_hyper::serve_stream(stream, None, service).await) }
    });
}

fn serve_axum_tls(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let app = axum_app(options, handler);
    over_tls(listener, move |stream| {
        let app = app.clone();
        async move { drop(ws_server_axum::serve_stream(stream, None, app).await) }
    });
}

fn serve_warp_tls(listener: TcpListener, options: AcceptOptions, handler: Handler) {
    let service = warp::service(warp_route(options, handler));
    over_tls(listener, move |stream| {
        let service = service.clone();
        async move { drop(ws_server_warp::serve_stream(stream, None, service).await) }
    });
}

/// Sessions of Socket.IO that poll. There is no WebSocket, and no handler.
fn serve_polling(listener: TcpListener, options: AcceptOptions, _handler: Handler) {
    let service = SocketIo::new(&Hub::builder().build()).options(options);
    let app = Router::new().nest_service("/socket.io/", service);
    tokio::spawn(ws_server_axum::serve(listener, app));
}

/// The headers of a browser's request, about 700 bytes with those of the handshake.
const BROWSER: &[(&str, &str)] = &[
    ("pragma", "no-cache"),
    ("cache-control", "no-cache"),
    (
        "user-agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/140.0.0.0 Safari/537.36",
    ),
    ("origin", "https://chat.example.com"),
    ("sec-websocket-version", "13"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; visits=31"),
    ("x-forwarded-for", "203.0.113.195"),
    ("x-forwarded-proto", "https"),
    ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
];

const HOST: &str = "chat.example.com";
const TARGET: &str = "/rooms/lobby?page=1&theme=dark";

/// A request over HTTP/1.1, with a header that makes its head `len` bytes long.
fn request(len: usize) -> String {
    head(
        &format!(
            "GET {TARGET} HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ),
        len,
    )
}

/// A head of `len` bytes that begins with this, and has the headers of a browser.
fn head(begin: &str, len: usize) -> String {
    let mut head = begin.to_owned();
    for (name, value) in BROWSER {
        head += &format!("{name}: {value}\r\n");
    }
    let rest = len.saturating_sub(head.len() + "x: \r\n\r\n".len());
    if rest > 0 {
        head += &format!("x: {}\r\n", "a".repeat(rest));
    }
    head + "\r\n"
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// What the client of a test does with each connection.
#[derive(Clone, Copy)]
struct Client {
    version: Version,
    tls: bool,
    /// The length of the head, if it is longer than a browser's.
    head: usize,
    /// The bytes to send after the opening handshake, and how many to read then.
    send: &'static [u8],
    read: usize,
    /// Over HTTP/2, how many frames of one byte follow.
    tiny: usize,
}

impl Client {
    /// Opens this many connections in a thread of its own, and keeps them until the sender is
    /// dropped.
    fn open(self, addr: SocketAddr, count: usize) -> (oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (opened, is_open) = oneshot::channel();
        let (keep, kept) = mpsc::channel();
        thread::spawn(move || match self.version {
            Version::HTTP_2 => {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let streams = runtime.block_on(self.open_http2(addr, count));
                opened.send(()).unwrap();
                let _ = kept.recv();
                drop(streams);
            }
            _ => {
                let streams: Vec<_> = (0..count).map(|_| self.open_http1(addr)).collect();
                opened.send(()).unwrap();
                let _ = kept.recv();
                drop(streams);
            }
        });
        (is_open, keep)
    }

    fn open_http1(self, addr: SocketAddr) -> Box<dyn Stream> {
        let stream = std::net::TcpStream::connect(addr).unwrap();
        let mut stream: Box<dyn Stream> = if self.tls {
            let name = ServerName::try_from(HOST).unwrap();
            let client = ClientConnection::new(Arc::clone(&tls().1), name).unwrap();
            Box::new(StreamOwned::new(client, stream))
        } else {
            Box::new(stream)
        };
        stream.write_all(request(self.head).as_bytes()).unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            response.extend(byte);
        }
        assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
        stream.write_all(self.send).unwrap();
        stream.read_exact(&mut vec![0; self.read]).unwrap();
        stream
    }

    async fn open_http2(self, addr: SocketAddr, count: usize) -> Vec<TokioIo<Upgraded>> {
        let tcp = TcpStream::connect(addr).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let io = TokioIo::new(tcp);
        // A stream that is not read does not hold up the next one.
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024);
        let (mut client, conn) = builder.handshake(io).await.unwrap();
        while !conn.is_extended_connect_protocol_enabled() {
            yield_now().await;
        }
        tokio::spawn(conn);
        let mut streams = Vec::new();
        for _ in 0..count {
            let mut request = Request::connect(format!("https://{HOST}{TARGET}"));
            for (name, value) in BROWSER {
                request = request.header(*name, *value);
            }
            let rest = self.head.saturating_sub(self::request(0).len());
            if rest > 0 {
                request = request.header("x", "a".repeat(rest));
            }
            let request = request.extension(Protocol::from_static("websocket"));
            let request = request.version(Version::HTTP_2).body(Empty::<Bytes>::new()).unwrap();
            let mut response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
            io.write_all(self.send).await.unwrap();
            io.read_exact(&mut vec![0; self.read]).await.unwrap();
            for _ in 0..self.tiny {
                io.write_all(b"\0").await.unwrap();
            }
            streams.push(io);
        }
        streams
    }
}

/// Where connections are: through which adapter, over which version of HTTP, and whether over TLS.
struct Place {
    by: &'static str,
    serve: Serve,
    version: Version,
    tls: bool,
}

/// Each adapter and version of HTTP.
fn places() -> impl Iterator<Item = Place> {
    let rows: [(_, Serve, _, _); 11] = [
        ("bare", serve_bare, Version::HTTP_11, false),
        ("hyper", serve_hyper, Version::HTTP_11, false),
        ("axum", serve_axum, Version::HTTP_11, false),
        ("warp", serve_warp, Version::HTTP_11, false),
        ("bare over TLS", serve_bare_tls, Version::HTTP_11, true),
        ("hyper over TLS", serve_hyper_tls, Version::HTTP_11, true),
        ("axum over TLS", serve_axum_tls, Version::HTTP_11, true),
        ("warp over TLS", serve_warp_tls, Version::HTTP_11, true),
        ("hyper over HTTP/2", serve_hyper, Version::HTTP_2, false),
        ("axum over HTTP/2", serve_axum, Version::HTTP_2, false),
        ("warp over HTTP/2", serve_warp, Version::HTTP_2, false),
    ];
    rows.into_iter().map(|(by, serve, version, tls)| Place { by, serve, version, tls })
}

impl Place {
    /// What a connection without a request costs, with its task.
    const fn idle(&self) -> usize {
        let bare = match self.version {
            // hyper has a task for each stream.
            Version::HTTP_2 => 4 * KIB,
            _ => 3 * KIB / 2,
        };
        bare + METRICS + if self.tls { IDLE_TLS } else { 0 }
    }

    /// What the transport adds to the formula.
    const fn transport(&self) -> usize {
        match self.version {
            Version::HTTP_2 => (64 + 160 + 16) * KIB,
            _ if self.tls => TLS,
            _ => 0,
        }
    }

    fn client(&self, client: Client) -> Client {
        Client { version: self.version, tls: self.tls, ..client }
    }

    fn measure(&self, options: &AcceptOptions, handler: Handler, client: Client) -> usize {
        measure(self.serve, options, handler, self.client(client))
    }
}

/// What rustls keeps of a connection that is idle.
const IDLE_TLS: usize = 10 * KIB;

/// The records that rustls keeps at most: one that arrives, its text, and 64 KiB to send.
const TLS: usize = (18 + 16 + 64) * KIB;

/// The bytes that the server holds for each connection of such a client. In a thread of its own, so
/// that connections of an earlier measurement, which end meanwhile, do not count.
fn measure(serve: Serve, options: &AcceptOptions, handler: Handler, client: Client) -> usize {
    let options = options.clone();
    let measuring = thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(measure_here(serve, &options, handler, client))
    });
    measuring.join().unwrap()
}

async fn measure_here(
    serve: Serve,
    options: &AcceptOptions,
    handler: Handler,
    client: Client,
) -> usize {
    let open = async |addr, count| client.open(addr, count);
    measure_opened(serve, options, handler, open).await
}

/// The same, of what this function opens.
async fn measure_opened(
    serve: Serve,
    options: &AcceptOptions,
    handler: Handler,
    open: impl AsyncFn(SocketAddr, usize) -> (oneshot::Receiver<()>, mpsc::Sender<()>),
) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    serve(listener, options.clone(), handler);
    let open = async |count| {
        let (opened, keep) = open(addr, count).await;
        timeout(Duration::from_secs(60), opened).await.unwrap().unwrap();
        // The server handles what has arrived.
        for _ in 0..1000 {
            yield_now().await;
        }
        keep
    };
    // Allocates what connections share.
    let _some = open(64).await;
    let before = allocator::live();
    // Over HTTP/2, they share one more connection.
    let _more = open(32).await;
    allocator::live().wrapping_sub(before) / 32
}

fn options() -> AcceptOptions {
    AcceptOptions::new().origin(ws_server_hyper::Origin::any())
}

/// All but the last byte of a message of 256 KiB.
static UNFINISHED: &[u8] = &{
    let mut message = [b'a'; 256 * KIB + 13];
    let header = [0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0];
    let mut at = 0;
    while at < header.len() {
        message[at] = header[at];
        at += 1;
    }
    message
};

const ECHO: Client = Client {
    version: Version::HTTP_11,
    tls: false,
    head: 0,
    send: b"\x81\x82\0\0\0\0hi",
    read: 4,
    tiny: 0,
};

/// What the kept request of a browser costs: its text, and the bookkeeping. The extensions of axum
/// are the most.
const BROWSER_REQUEST: usize = 1100;

/// What the feature `metrics` costs, which this package has: the counts that were handed over, and an
/// entry of the list of those to hand over.
const METRICS: usize = 300;

#[test]
fn an_idle_connection_keeps_its_request_in_little_memory() {
    for place in places() {
        let by = place.by;
        // Measures again if it is more: all counts that the thread allocates meanwhile, also for the 64
        // connections before.
        let measure = |options: &AcceptOptions, most| {
            let mut least = usize::MAX;
            for _ in 0..3 {
                least = least.min(place.measure(options, Handler::Echo, ECHO));
                if least <= most {
                    break;
                }
            }
            least
        };
        let without = measure(&options().keep_request(false), place.idle());
        let browser = measure(&options(), without + BROWSER_REQUEST);
        println!("{by}: {browser} bytes, {without} without the request");
        assert!(without <= place.idle(), "{by}: {without}");
        assert!(browser <= without + BROWSER_REQUEST, "{by}: {browser}, {without} without it");
    }
}

/// Beside what rustls holds for the same stream, which has no plain text that nobody reads.
#[test]
fn a_connection_over_tls_pins_no_buffer_of_the_session() {
    let client = Client { tls: true, ..ECHO };
    let alone = measure(serve_tls_alone, &options(), Handler::Echo, client);
    for place in places().filter(|place| place.tls) {
        let by = place.by;
        let browser = place.measure(&options(), Handler::Echo, ECHO);
        let long = place.measure(&options(), Handler::Echo, Client { head: 15 * KIB, ..ECHO });
        println!("{by}: {browser} bytes, {long} with a long head, {alone} of TLS");
        assert!(browser <= alone + place.idle() - IDLE_TLS, "{by}: {browser}, {alone} of TLS");
        assert!(long <= browser + 15 * KIB, "{by}: {long}, {browser} with a short head");
    }
}

/// Opens sessions that poll, and closes the connections of their requests.
fn open_polling(
    addr: SocketAddr,
    len: usize,
    count: usize,
) -> (oneshot::Receiver<()>, mpsc::Sender<()>) {
    let (opened, is_open) = oneshot::channel();
    let (keep, _) = mpsc::channel();
    thread::spawn(move || {
        let target = "/socket.io/?EIO=4&transport=polling";
        let begin = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n");
        for _ in 0..count {
            let mut stream = std::net::TcpStream::connect(addr).unwrap();
            stream.write_all(head(&begin, len).as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
        opened.send(()).unwrap();
    });
    (is_open, keep)
}

/// A session that polls outlives the connection of its handshake, and keeps none of its buffers: a
/// longer head costs its own length.
#[test]
fn a_session_that_polls_keeps_its_request_in_little_memory() {
    let measure = |len| {
        let options = options();
        let measuring = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let open = async |addr, count| open_polling(addr, len, count);
            runtime.block_on(measure_opened(serve_polling, &options, Handler::Echo, open))
        });
        measuring.join().unwrap()
    };
    let (browser, long) = (measure(0), measure(15 * KIB));
    println!("polling: {browser} bytes, {long} with a head of 15 KiB");
    // Less than a buffer of hyper, which has 8 KiB and more.
    assert!(browser <= 6 * KIB, "{browser}");
    assert!(long <= browser + 15 * KIB, "{long}, {browser} with a short head");
}

/// A handler that only writes does not keep the buffers of the server either.
#[test]
fn a_connection_that_was_never_read_keeps_no_buffer() {
    for place in places() {
        let held = place.measure(&options(), Handler::Push, Client { send: b"", ..ECHO });
        // The waker in the stream keeps the task that has served the request. Ours is small; that of
        // `over_tls` is less than a buffer.
        let task = if place.tls { 4 * KIB } else { 0 };
        assert!(held <= place.idle() + task + BROWSER_REQUEST, "{}: {held}", place.by);
    }
}

/// The formula of `Config`, after the largest head, with a message that lacks its end and a peer
/// that does not read.
#[test]
fn a_connection_holds_no_more_than_the_formula_says() {
    const MESSAGE: usize = 256 * KIB;
    const READ: usize = 4 * KIB;
    const HIGH: usize = 16 * KIB;
    let config = Config::new().limits(Limits::new().message_size(MESSAGE));
    let options = options().config(config.read_buffer(READ).write_buffer(HIGH / 4, HIGH));
    for place in places() {
        let by = place.by;
        let formula = MESSAGE + 512 + READ + HIGH + WRITTEN + 16 * KIB + place.transport();
        let client = Client { head: 15 * KIB, send: UNFINISHED, read: 1, ..ECHO };
        let held = place.measure(&options, Handler::Flood, client);
        println!("{by}: {held} bytes, at most {formula}");
        // The handler has another message, which waits for room.
        let bound = formula + place.idle() + BROWSER_REQUEST + WRITTEN;
        assert!(held <= bound, "{by}: {held} > {bound}");
        assert!(held > MESSAGE, "{by}: {held} is too good to be true");
    }
}

/// Messages of 1 KiB.
static MESSAGES: &[u8] = &{
    let mut messages = [0; 192 * (KIB + 8)];
    let mut at = 0;
    while at < messages.len() {
        (messages[at], messages[at + 1], messages[at + 2]) = (0x82, 0xfe, 4);
        at += KIB + 8;
    }
    messages
};

/// Another term of the formula: what is read ahead of a handler that does not read.
#[test]
fn what_is_read_ahead_is_in_the_formula() {
    const AHEAD: usize = 64 * KIB;
    let options = options().config(Config::new().limits(Limits::new().message_size(KIB)));
    for place in places() {
        // The window of a stream is 64 KiB.
        let send = if place.version == Version::HTTP_2 { &MESSAGES[..60 * KIB] } else { MESSAGES };
        let held = place.measure(&options, Handler::Watch, Client { send, ..ECHO });
        let formula = KIB + 512 + 65 * KIB + AHEAD + place.transport();
        let bound = formula + place.idle() + BROWSER_REQUEST;
        println!("{}: {held} bytes, at most {bound}", place.by);
        assert!(held <= bound, "{}: {held} > {bound}", place.by);
        assert!(held > send.len().min(AHEAD) / 2, "{}: {held} is too good", place.by);
    }
}

/// Two more terms: the windows in both directions, when a compressed message was read and written.
#[test]
fn the_windows_of_compression_are_in_the_formula() {
    const INFLATE: usize = 47 * KIB;
    const DEFLATE: usize = 372 * KIB;
    let options = options().config(Config::new().compression(Compression::context_takeover()));
    // RFC 7692 §7.2.3.1. The answer is the same, without the mask.
    let send = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0";
    for place in places() {
        let held = place.measure(&options, Handler::Echo, Client { send, read: 7, ..ECHO });
        let bound = INFLATE + DEFLATE + place.idle() + BROWSER_REQUEST;
        println!("{}: {held} bytes, at most {bound}", place.by);
        assert!(held <= bound, "{}: {held} > {bound}", place.by);
        assert!(held > INFLATE / 2, "{}: {held} is too good to be true", place.by);
    }
}

/// The term of short frames that are not read. They are behind what is read ahead.
#[test]
fn unread_frames_of_one_byte_are_in_the_formula() {
    const TINY: usize = 450;
    // h2 ends the connection beyond so many frames, which may take so much.
    const MOST: usize = 8 * KIB * KIB / 256;
    const SHORT_FRAMES: usize = 24 * KIB * KIB;
    const { assert!(64 * TINY < MOST, "all connections stay open") };
    let options = options().config(Config::new().limits(Limits::new().message_size(KIB)));
    for place in places().filter(|place| place.version == Version::HTTP_2) {
        let client = Client { send: &MESSAGES[..100 * KIB], ..ECHO };
        let without = place.measure(&options, Handler::Watch, client);
        let held = place.measure(&options, Handler::Watch, Client { tiny: TINY, ..client });
        let each = held.saturating_sub(without) / TINY;
        println!("{}: {each} bytes for each frame, at most {}", place.by, SHORT_FRAMES / MOST);
        assert!(each <= SHORT_FRAMES / MOST, "{}: {each}", place.by);
        assert!(each > 100, "{}: {each} is too good to be true", place.by);
    }
}
