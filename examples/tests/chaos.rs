//! Are the outcomes of a broken network those that the documentation names?
//!
//! A proxy stands between our client and each server. It delays and divides a conversation, and
//! breaks it at a byte. Without `WS_SOAK`, the conversations break at every 29th byte, and each
//! kind of conversation begins at another byte. `WS_SOAK=1` breaks them at every byte, and takes
//! some minutes.
#![cfg(test)]

#[path = "chaos/proxy.rs"]
mod proxy;
mod self_signed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use proxy::{Fault, Proxy, Way};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use warp::Filter as _;
use ws_client::reconnect::{Backoff, ReconnectState, SendQueueConfig};
use ws_client::{Dial, DialError, Dialer, Reconnect};
use ws_core::{Acceptor, Deadline};
use ws_server_hyper::{
    AcceptOptions, CloseInfo, Compression, Config, Conn, Error, Keepalive, Message, StatusCode,
};

/// More than all deadlines of a conversation together, on a slow machine.
const TOO_LONG: Duration = Duration::from_secs(60);

/// How many conversations run at the same time. Most of them wait.
const CONCURRENT: usize = 150;

/// The distance of the bytes at which conversations break.
fn step() -> usize {
    if std::env::var_os("WS_SOAK").is_some() { 1 } else { 29 }
}

/// Which server, and how the client reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Bare,
    Hyper,
    Axum,
    Warp,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    server: Server,
    http2: bool,
    tls: bool,
    compressed: bool,
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for server in [Server::Bare, Server::Hyper, Server::Axum, Server::Warp] {
        for http2 in [false, true] {
            for compressed in [false, true] {
                kinds.push(Kind { server, http2, tls: false, compressed });
            }
            // TLS is the same for all adapters.
            kinds.push(Kind { server, http2, tls: true, compressed: false });
        }
    }
    kinds.retain(|kind| match kind.server {
        Server::Bare => !kind.http2,
        Server::Hyper => true,
        Server::Axum | Server::Warp => !kind.tls,
    });
    kinds
}

/// What the handlers of all servers report.
#[derive(Default)]
struct Book {
    ends: Mutex<HashMap<String, ServerEnd>>,
    running: watch::Sender<usize>,
}

/// How a conversation ended for the server.
struct ServerEnd {
    received: Vec<Message>,
    ending: CloseInfo,
}

/// Greets, and echoes until the end.
async fn echo(conn: Conn, book: Arc<Book>) {
    book.running.send_modify(|running| *running += 1);
    let id = conn.request().unwrap().uri.path().to_owned();
    let mut received = Vec::new();
    // A failed write says nothing about what has arrived.
    let _ = conn.write("hello").await;
    while let Ok(message) = conn.read().await {
        received.push(message.clone());
        let _ = conn.write(message).await;
    }
    let ending = conn.closed().await;
    let end = ServerEnd { received, ending };
    assert!(book.ends.lock().unwrap().insert(id, end).is_none());
    book.running.send_modify(|running| *running -= 1);
}

/// A server that runs as long as the runtime.
async fn serve(
    server: Server,
    tls: Option<TlsAcceptor>,
    options: AcceptOptions,
    book: &Arc<Book>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let book = Arc::clone(book);
    let handler = move |conn: Conn| echo(conn, Arc::clone(&book));
    match (server, tls) {
        (Server::Bare, tls) => {
            let acceptor = Acceptor::new(&options);
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, tls, handler) = (acceptor.clone(), tls.clone(), handler.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => drop(acceptor.serve(stream, handler).await),
                            Some(tls) => {
                                let Ok(stream) = tls.accept(stream).await else { return };
                                drop(acceptor.serve(stream, handler).await);
                            }
                        }
                    });
                }
            });
        }
        (Server::Hyper, tls) => {
            let service = service_fn(move |mut request: Request<Incoming>| {
                let response: Response<Full<Bytes>> =
                    match ws_server_hyper::accept(&mut request, &options) {
                        Ok((response, upgrade)) => {
                            tokio::spawn(upgrade.serve(handler.clone()));
                            response
                        }
                        Err(rejection) => rejection.into_response().map(Full::from),
                    };
                async { Ok::<_, Infallible>(response) }
            });
            match tls {
                None => drop(tokio::spawn(ws_server_hyper::serve(listener, service))),
                Some(tls) => drop(tokio::spawn(async move {
                    loop {
                        let (stream, peer) = listener.accept().await.unwrap();
                        let (tls, service) = (tls.clone(), service.clone());
                        tokio::spawn(async move {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            drop(ws_server_hyper::serve_stream(stream, Some(peer), service).await);
                        });
                    }
                })),
            }
        }
        (Server::Axum, _) => {
            let app = Router::new().route("/{id}", ws_server_axum::websocket(options, handler));
            tokio::spawn(ws_server_axum::serve(listener, app));
        }
        (Server::Warp, _) => {
            let route = warp::path::param().and(ws_server_warp::websocket(options, handler));
            let service = warp::service(route.map(|_: String, response| response));
            tokio::spawn(ws_server_warp::serve(listener, service));
        }
    }
    addr
}

/// The messages that the client sends and the server returns.
fn script() -> Vec<Message> {
    vec![
        Message::from("one"),
        Message::from("the same, over and over. ".repeat(8)),
        Message::from(""),
        Message::binary((0..=150).map(|byte: u8| byte.wrapping_mul(71)).collect::<Vec<_>>()),
    ]
}

/// How a conversation ended for the client.
enum ClientEnd {
    NotConnected(DialError),
    Ended { received: Vec<Message>, closed: Result<(), Error>, ending: CloseInfo },
}

/// The conversation, as the client has it.
async fn converse(dial: Dial) -> ClientEnd {
    let conn = match dial.connect().await {
        Ok(conn) => conn,
        Err(error) => return ClientEnd::NotConnected(error),
    };
    let mut received = Vec::new();
    for message in script() {
        let _ = conn.write(message).await;
    }
    while received.len() < 1 + script().len()
        && let Ok(message) = conn.read().await
    {
        received.push(message);
    }
    // Once nothing is unread.
    let _ = conn.ping().await;
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "bye").await;
    ClientEnd::Ended { received, closed, ending: conn.closed().await }
}

/// Keepalive of a conversation that meets a black hole. All others have the defaults.
fn config(kind: Kind, fault: Fault) -> Config {
    let compression =
        if kind.compressed { Compression::context_takeover() } else { Compression::off() };
    let config = Config::new().compression(compression.threshold(0)).fragment_size(64);
    match fault {
        Fault::BlackHole(_) => config
            .keepalive(
                Keepalive::every(Duration::from_millis(200))
                    .pong_timeout(Duration::from_millis(300)),
            )
            .close_timeout(Duration::from_millis(400)),
        _ => config.close_timeout(Duration::from_secs(30)),
    }
}

/// The servers of a test, with and without short deadlines, and the client's trust in them.
struct Servers {
    addrs: HashMap<String, SocketAddr>,
    roots: RootCertStore,
    book: Arc<Book>,
}

impl Servers {
    async fn start() -> Self {
        let (acceptor, roots) = self_signed::server("127.0.0.1");
        let (mut addrs, book) = (HashMap::new(), Arc::default());
        for kind in kinds() {
            for fault in [Fault::Nothing, Fault::BlackHole(0)] {
                let options = AcceptOptions::new().config(config(kind, fault));
                let seconds = if fault == Fault::Nothing { 60 } else { 2 };
                let options = options.handshake_timeout(Duration::from_secs(seconds));
                let tls = kind.tls.then(|| acceptor.clone());
                let addr = serve(kind.server, tls, options, &book).await;
                addrs.insert(Self::key(kind, fault), addr);
            }
        }
        Self { addrs, roots, book }
    }

    fn key(kind: Kind, fault: Fault) -> String {
        format!("{kind:?} {}", matches!(fault, Fault::BlackHole(_)))
    }

    fn addr(&self, kind: Kind, fault: Fault) -> SocketAddr {
        self.addrs[&Self::key(kind, fault)]
    }

    fn dial(&self, kind: Kind, fault: Fault, proxy: &Proxy, id: &str) -> Dial {
        let mut dialer = Dialer::new().no_proxy();
        if kind.http2 {
            dialer = dialer.http2_only();
        }
        if kind.tls {
            let client = ClientConfig::builder().with_root_certificates(self.roots.clone());
            dialer = dialer.tls(client.with_no_client_auth());
        }
        let scheme = if kind.tls { "wss" } else { "ws" };
        let timeout = match fault {
            Fault::BlackHole(_) => Duration::from_secs(1),
            _ => Duration::from_secs(30),
        };
        Dial::new(format!("{scheme}://{}{id}", proxy.addr))
            .dialer(&dialer)
            .connect_timeout(timeout)
            .config(config(kind, fault))
    }
}

/// One conversation. Returns how it ended for the client, and how many bytes passed.
async fn run(
    servers: &Servers,
    kind: Kind,
    way: Way,
    fault: Fault,
    id: &str,
) -> (ClientEnd, (usize, usize)) {
    let proxy = Proxy::start(servers.addr(kind, fault), move |_| (way, fault)).await;
    let conversation = converse(servers.dial(kind, fault, &proxy, id));
    let ended = tokio::time::timeout(TOO_LONG, conversation).await;
    let end = ended.unwrap_or_else(|_| panic!("{kind:?} hangs: {way:?}, {fault:?}"));
    (end, proxy.passed())
}

/// Whether the documentation of `DialError` names this outcome.
fn check_dial_error(kind: Kind, fault: Fault, error: &DialError, context: &str) {
    let named = match (fault, error) {
        (Fault::BlackHole(_), DialError::Timeout(_)) => true,
        // `AcceptOptions::handshake_timeout`.
        (Fault::BlackHole(_), DialError::Refused(refused)) => refused.status == 408,
        (Fault::Cut(_) | Fault::Reset(_) | Fault::HalfClose(_), error) => match error {
            DialError::Io(_) => true,
            // The reset may come before the client knows of its connection.
            DialError::Tcp(_) => fault == Fault::Reset(0),
            DialError::Tls(_) => kind.tls,
            DialError::Http(_) => kind.http2,
            _ => false,
        },
        _ => false,
    };
    assert!(named, "{context}: {error:?}");
}

/// Whether the documentation of `Error` names this outcome of a conversation.
fn check_ending(fault: Fault, ending: &CloseInfo, context: &str) {
    let named = match (&ending.error, fault) {
        (Error::Closed(close), _) if close.code == StatusCode::NORMAL_CLOSURE => ending.is_clean(),
        (_, Fault::Nothing | Fault::Delay(_) | Fault::OneByte) => false,
        // The transport ended.
        (Error::Closed(close), _) if close.code == StatusCode::ABNORMAL_CLOSURE => true,
        (Error::Timeout(Deadline::Keepalive | Deadline::Close), Fault::BlackHole(_)) => true,
        // The peer received no pong.
        (Error::Closed(close), Fault::BlackHole(_)) => close.code == StatusCode::INTERNAL_ERROR,
        _ => false,
    };
    assert!(named, "{context}: {ending:?}");
}

/// Checks what both ends report about one conversation.
fn check(kind: Kind, way: Way, fault: Fault, client: &ClientEnd, server: Option<&ServerEnd>) {
    let context = format!("{kind:?}, {way:?}, {fault:?}");
    let script = script();
    if let Some(server) = server {
        check_ending(fault, &server.ending, &format!("{context}, server"));
        assert!(script.starts_with(&server.received), "{context}: {:?}", server.received);
    }
    match client {
        ClientEnd::NotConnected(error) => {
            check_dial_error(kind, fault, error, &context);
            let received = server.map_or(0, |server| server.received.len());
            assert_eq!(received, 0, "{context}: messages of a client that has no connection");
        }
        ClientEnd::Ended { received, closed, ending } => {
            check_ending(fault, ending, &format!("{context}, client"));
            let server = server.unwrap_or_else(|| panic!("{context}: there was no server"));
            let expected: Vec<_> =
                std::iter::once(Message::from("hello")).chain(script.clone()).collect();
            assert!(expected.starts_with(received), "{context}: {received:?}");
            assert!(received.len() <= 1 + server.received.len(), "{context}: {received:?}");
            assert_eq!(closed.is_ok(), ending.is_clean(), "{context}: {closed:?}, {ending:?}");
            if closed.is_ok() && ending.received.as_ref().unwrap().code.as_u16() == 1000 {
                // A closing handshake proves that nothing is missing.
                assert_eq!(server.received, script, "{context}");
                let close = server.ending.received.as_ref().unwrap();
                assert_eq!(
                    (close.code.as_u16(), close.reason.as_str()),
                    (1000, "bye"),
                    "{context}"
                );
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// Runs these conversations at the same time, and checks all of them. Returns their number.
async fn check_all(
    servers: Arc<Servers>,
    conversations: impl IntoIterator<Item = (Kind, Way, Fault)>,
    prefix: &str,
) -> usize {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let mut running = JoinSet::new();
    for (number, (kind, way, fault)) in conversations.into_iter().enumerate() {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let (servers, id) = (Arc::clone(&servers), format!("/{prefix}{number}"));
        running.spawn(async move {
            let (client, _) = run(&servers, kind, way, fault, &id).await;
            drop(permit);
            (id, kind, way, fault, client)
        });
    }
    let ended = running.join_all().await;
    // Each client that had a connection had a handler. No handler outlives its client: all see the
    // end of the proxy.
    let missing = || -> Vec<String> {
        let ends = servers.book.ends.lock().unwrap();
        let had_one = |client: &_| matches!(client, ClientEnd::Ended { .. });
        let missing = ended.iter().filter(|(id, .., end)| had_one(end) && !ends.contains_key(id));
        missing
            .map(|(id, kind, way, fault, _)| format!("{id} {kind:?} {way:?} {fault:?}"))
            .collect()
    };
    let mut running = servers.book.running.subscribe();
    let all_ended = running.wait_for(|running| *running == 0 && missing().is_empty());
    let all_ended = tokio::time::timeout(TOO_LONG, all_ended).await.is_ok();
    let missing = missing();
    assert!(all_ended, "{} handlers hang: {missing:?}", *servers.book.running.borrow());
    let ends = servers.book.ends.lock().unwrap();
    for (id, kind, way, fault, client) in &ended {
        check(*kind, *way, *fault, client, ends.get(id));
    }
    ended.len()
}

/// Conversations that break with this fault at bytes of both directions.
async fn broken_at(servers: &Servers, fault: impl Fn(usize) -> Fault) -> Vec<(Kind, Way, Fault)> {
    let mut conversations = Vec::new();
    let mut start = 0;
    for kind in kinds() {
        let id = format!("/whole{:?}{kind:?}", fault(0)).replace([' ', '{', '}', ':', ','], "");
        let (end, (up, down)) = run(servers, kind, Way::Up, Fault::Nothing, &id).await;
        assert!(matches!(end, ClientEnd::Ended { closed: Ok(()), .. }), "{kind:?}");
        for (way, len) in [(Way::Up, up), (Way::Down, down)] {
            start = (start + 17) % step();
            conversations.extend((start..=len).step_by(step()).map(|at| (kind, way, fault(at))));
        }
    }
    conversations
}

fn check_broken(fault: impl Fn(usize) -> Fault, prefix: &str) {
    runtime().block_on(async {
        let servers = Arc::new(Servers::start().await);
        let conversations = broken_at(&servers, fault).await;
        let count = check_all(servers, conversations, prefix).await;
        println!("{prefix}: {count} conversations");
    });
}

#[test]
fn a_cut_at_any_byte_has_a_named_outcome() {
    check_broken(Fault::Cut, "cut");
}

#[test]
fn a_reset_at_any_byte_has_a_named_outcome() {
    check_broken(Fault::Reset, "reset");
}

#[test]
fn a_half_close_at_any_byte_has_a_named_outcome() {
    check_broken(Fault::HalfClose, "half");
}

#[test]
fn silence_after_any_byte_has_a_named_outcome_within_the_deadlines() {
    check_broken(Fault::BlackHole, "hole");
}

#[test]
fn delays_and_one_byte_segments_change_nothing() {
    runtime().block_on(async {
        let servers = Arc::new(Servers::start().await);
        let slow = [Fault::Delay(Duration::from_millis(20)), Fault::OneByte];
        let each = kinds().into_iter().flat_map(|kind| {
            [Way::Up, Way::Down].into_iter().flat_map(move |way| slow.map(|it| (kind, way, it)))
        });
        check_all(servers, each, "slow").await;
    });
}

/// What a server received on each connection of a `Reconnect`, as numbers, in order.
type Received = Arc<Mutex<Vec<Vec<u32>>>>;

async fn note_numbers(listener: TcpListener, received: Received) {
    let acceptor = Acceptor::new(&AcceptOptions::new());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, received) = (acceptor.clone(), Arc::clone(&received));
        tokio::spawn(async move {
            let Ok(conn) = acceptor.accept(stream).await else { return };
            let connection = {
                let mut received = received.lock().unwrap();
                received.push(Vec::new());
                received.len() - 1
            };
            while let Ok(message) = conn.read().await {
                let number = message.as_text().unwrap().parse().unwrap();
                received.lock().unwrap()[connection].push(number);
            }
        });
    }
}

const NUMBERS: u32 = 12;

/// Sends numbers through a `Reconnect` whose first two connections break.
async fn check_reconnect(way: Way, fault: Fault, again: Fault, config: SendQueueConfig) {
    let context = format!("{way:?}, {fault:?}, {again:?}, {config:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let received = Received::default();
    let serving = tokio::spawn(note_numbers(listener, Arc::clone(&received)));
    let plan = move |number| match number {
        0 => (way, fault),
        1 => (way, again),
        _ => (way, Fault::Nothing),
    };
    let proxy = Proxy::start(server, plan).await;
    let keepalive =
        Keepalive::every(Duration::from_millis(300)).pong_timeout(Duration::from_millis(500));
    let dial = Dial::new(format!("ws://{}/", proxy.addr))
        .dialer(&Dialer::new().no_proxy())
        .connect_timeout(Duration::from_secs(1))
        .config(Config::new().keepalive(keepalive));
    let backoff = Backoff::new().first(Duration::from_millis(1)).max(Duration::from_millis(4));
    let conn = Reconnect::new(dial).backoff(backoff).send_queue(config).start();
    let mut events = conn.events();
    let reading = tokio::spawn({
        let conn = conn.clone();
        async move { while conn.read().await.is_ok() {} }
    });
    for number in 0..NUMBERS {
        conn.write(number.to_string()).await.unwrap();
        // Some are sent together, some alone.
        if number % 3 == 0 {
            conn.flush().await.unwrap();
        }
    }
    conn.flush().await.unwrap();
    assert!(conn.undelivered().is_empty(), "{context}");
    // The queue is empty, so a close loses nothing of what the last connection has taken.
    let closed = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
    reading.await.unwrap();
    let mut lost = 0;
    while let Some(state) = futures::StreamExt::next(&mut events).await {
        lost += usize::from(matches!(state, ReconnectState::Waiting { .. }));
    }
    serving.abort();
    let received = received.lock().unwrap().clone();
    let all: Vec<u32> = received.iter().flatten().copied().collect();
    if config == SendQueueConfig::at_least_once() {
        // Each connection continues at, or before, the place where the last one ended.
        let mut next = 0;
        for run in received.iter().filter(|run| !run.is_empty()) {
            assert!(run[0] <= next, "{context}: {received:?}");
            assert!(run.windows(2).all(|two| two[1] == two[0] + 1), "{context}: {received:?}");
            next = next.max(run[run.len() - 1] + 1);
        }
        assert_eq!(next, NUMBERS, "{context}: {received:?}");
    } else {
        assert!(all.windows(2).all(|two| two[0] < two[1]), "{context}: {received:?}");
        let is_missing = all.len() < NUMBERS as usize;
        assert!(!is_missing || lost > 0 || closed.is_err(), "{context}: {received:?}");
    }
}

#[test]
fn reconnect_loses_and_repeats_only_what_its_queue_allows() {
    let faults: [fn(usize) -> Fault; 4] =
        [Fault::Cut, Fault::Reset, Fault::HalfClose, Fault::BlackHole];
    let queues = [SendQueueConfig::at_least_once(), SendQueueConfig::at_most_once()];
    runtime().block_on(async {
        let permits = Arc::new(Semaphore::new(CONCURRENT));
        let mut running = JoinSet::new();
        let mut begin = 0;
        for config in queues {
            for fault in faults {
                for way in [Way::Up, Way::Down] {
                    // The handshake has 230 bytes up and 130 down, each message up to 8.
                    begin = (begin + 5) % step().min(19);
                    for at in (begin..400).step_by(step().min(19)) {
                        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
                        let checked = check_reconnect(way, fault(at), fault(at / 2 + 150), config);
                        running.spawn(async move {
                            let checked = tokio::time::timeout(TOO_LONG, checked).await;
                            drop(permit);
                            checked
                                .unwrap_or_else(|_| panic!("it hangs: {way:?}, {:?}", fault(at)));
                        });
                    }
                }
            }
        }
        println!("{} reconnects", running.join_all().await.len());
    });
}
