//! Is text of a peer escaped in each log call and in each error of this workspace?
//!
//! The tests read the sources, so a new log call or a new `Display` has to get a row here.
#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Deserialize;
use support::{TIMEOUT, enter, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id as SpanId, Record};
use tracing::{Event as LogEvent, Metadata, Subscriber};
use ws_client::http::{self, HeaderMap, HeaderName, HeaderValue, Request, Uri};
use ws_client::reconnect::{ConnectionFailure, ReconnectError};
use ws_client::{Dial, DialError, InvalidHeader, InvalidUrl, ProxyError, Reconnect, RedirectError};
use ws_core::adapter::{report_refusal, set_request};
use ws_core::codec::CodecError;
use ws_core::handler::{ConnectionTracker, DrainConfig};
use ws_core::handshake::{Offer, TrustedProxies};
use ws_core::redact::Redacted;
use ws_core::{
    AcceptError, AcceptOptions, Acceptor, CloseError, CloseInfo, CloseInitiator, Compression, Conn,
    Error, Escaped, Rejection, RequestInfo, StatusCode, TryWriteError, pair,
};
use ws_events::broker::{
    Broker, BrokerCapabilities, BrokerSink, BrokerStatus, LoopbackBroker, LoopbackBus,
    PublishError, Subject,
};
use ws_events::cluster::ClusterConfig;
use ws_events::engine::{EngineConfig, EngineError, EnginePacketError, EngineSessions};
use ws_events::socketio::PacketError;
use ws_events::{
    AckError, Bytes, ConnectRejection, DisconnectReason, EmitError, EncodeError, Event, EventError,
    HistoryError, Hub, Id, Json, PresenceError, Protocol, Recovery, SendQueueLimits,
    SessionStoreError, Socket,
};

/// A line break, a terminal's escape sequences in seven and in eight bits, an override of the
/// direction of text, and a line separator.
const HOSTILE: &str = "evil\nERROR \u{1b}[31m \u{9b}2J \u{202e}gpj \u{2028}";

/// The longest text that may be written, in bytes.
const MAX_LEN: usize = 4096;

/// Is nothing of the text able to imitate other output?
#[track_caller]
fn check(what: &str, text: &str) {
    let is_unsafe = |c: char| c.is_control() || HOSTILE.contains(c) && !c.is_ascii();
    assert!(!text.contains(is_unsafe), "{what}: {text:?}");
    assert!(text.len() <= MAX_LEN, "{what}: {} bytes", text.len());
}

/// The sources of the libraries without their tests, by their paths from the root.
fn sources() -> BTreeMap<String, String> {
    fn collect(dir: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, code);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    for krate in [
        "ws-client",
        "ws-client/cli",
        "ws-core",
        "ws-events",
        "ws-events/broker",
        "ws-events/nats",
        "ws-events/redis",
        "ws-events/socketio",
        "ws-server-axum",
        "ws-server-hyper",
        "ws-server-warp",
    ] {
        collect(&root.join(krate).join("src"), root, &mut found);
    }
    found
}

/// The types in the sources that have a `Display`.
fn displayed_types() -> BTreeSet<String> {
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
    let mut found = BTreeSet::new();
    for code in sources().values() {
        let mut derived = false;
        for line in code.lines().map(str::trim_start) {
            let shown = line.split_once("Display for ").filter(|_| line.starts_with("impl"));
            // Except in the declaration of the macro.
            let shown = shown.filter(|(_, name)| !name.starts_with('$'));
            found.extend(shown.map(|(_, name)| word(name)));
            found.extend(line.strip_prefix("impl_error!(").map(word));
            derived |= line.starts_with("#[derive(") && line.contains("thiserror::Error");
            let declared = ["enum ", "struct "].iter().find_map(|kind| line.split_once(kind));
            if derived && !line.starts_with(['#', '/']) && declared.is_some() {
                found.extend(declared.map(|(_, name)| word(name)));
                derived = false;
            }
        }
    }
    found
}

/// Types whose texts are fixed, with numbers at most.
const FIXED: &[&str] = &[
    // Addresses, and errors of the operating system.
    "AllFailed",
    // Of a URL that is parsed, like `Host`.
    "Authority",
    // Numbers, and the name of a broker.
    "ClusterConfigError",
    "Corrupt",
    "Deadline",
    "DeflateError",
    // Of a URL that is parsed, like `Host`.
    "DialTimeout",
    "Failure",
    "HandshakeError",
    "HandshakeRejected",
    "HeadError",
    // Of a URL that is parsed: no control characters. It goes to DNS and into a request.
    "Host",
    "InvalidNatsUrl",
    "InvalidRedisUrl",
    "InvalidStatusCode",
    "InvalidSubject",
    "MessageType",
    "MissingFeature",
    "NodeId",
    "NotAMessage",
    "NotConnected",
    "ProtocolError",
    "Position",
    "PositionParseError",
    "PublishError",
    "SendError",
    "SentOffset",
    "SetIdError",
    "StatusCode",
    "StreamReset",
    // ASCII letters, digits, dots, `-` and `_`.
    "Subject",
    "Terms",
    // Of a client that only tests use.
    "TestError",
    "UpgradeRejection",
];

#[derive(Debug, Deserialize)]
enum Known {
    Value,
}

/// A decoder's error quotes what it got.
fn decoding() -> serde_json::Error {
    let error = serde_json::from_str::<Known>(&serde_json::to_string(HOSTILE).unwrap());
    assert!(matches!(serde_json::from_str("\"Value\""), Ok(Known::Value)));
    error.unwrap_err()
}

/// The error of dialling a server that gives this response.
async fn refused() -> DialError {
    let (near, mut far) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let mut request = [0; 4096];
        let read = far.read(&mut request).await.unwrap();
        assert!(read > 0);
        let head = "HTTP/1.1 403 \u{202e}\u{9b}31m\r\nx-evil: \u{202e}\u{9b}\r\n";
        let response = format!("{head}content-length: {}\r\n\r\n{HOSTILE}", HOSTILE.len());
        far.write_all(response.as_bytes()).await.unwrap();
    });
    let dialled = timeout(TIMEOUT, Dial::new("ws://server.example/").connect_over(near)).await;
    serving.await.unwrap();
    dialled.unwrap().unwrap_err()
}

/// A hub that cannot send events, with a handler of one.
fn unusable_hub() -> Hub {
    let hub = Hub::new();
    hub.on(HOSTILE, async || {});
    hub
}

/// The refusal of a page with this origin. The request is logged.
fn refused_origin(origin: &HeaderValue) -> Rejection {
    let acceptor = Acceptor::new(&AcceptOptions::new());
    let offer = Offer::new([""; 0], Compression::off()).unwrap();
    let mut request = Request::get(hostile_uri()).body(()).unwrap();
    request.headers_mut().extend(offer.headers());
    request.headers_mut().insert("host", HeaderValue::from_static("here.example"));
    request.headers_mut().insert("origin", origin.clone());
    let rejection = acceptor.answer(&request).unwrap_err();
    report_refusal(&acceptor, &request, &rejection);
    request.headers_mut().insert("host", origin.clone());
    report_refusal(&acceptor, &request, &acceptor.answer(&request).unwrap_err());
    rejection
}

fn hostile_uri() -> Uri {
    "/evil\u{202e}\u{9b}31m\u{2028}".parse().unwrap()
}

/// Characters of more than one byte are allowed in a header.
fn hostile_headers() -> HeaderMap {
    let value = HeaderValue::from_bytes("/evil\u{202e}\u{9b}31m\u{2028}".as_bytes()).unwrap();
    let names = ["location", "referer", "x-any", "cookie"];
    names.map(|name| (HeaderName::from_static(name), value.clone())).into_iter().collect()
}

/// The text of an error with its causes, and as it is debugged.
fn both(error: &(impl std::error::Error + 'static)) -> Vec<String> {
    let mut texts = vec![format!("{error:?}"), error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

fn shown(value: &(impl Debug + Display)) -> Vec<String> {
    vec![format!("{value:?}"), value.to_string()]
}

#[tokio::test]
async fn each_error_and_name_is_shown_escaped() {
    let code = StatusCode::GOING_AWAY;
    let close = || CloseError::new(code, HOSTILE);
    let long = || "x".repeat(100_000);
    let transport = io::Error::other(HOSTILE);
    let lost = Error::Io(Arc::new(io::Error::from(Error::from(close()))));
    let codec = || CodecError::Decode(Arc::new(decoding()));
    let event = || Event::from(HOSTILE);
    let failed = |text: &str| Arc::<str>::from(text);
    let offered = Dial::new("ws://server.example/").subprotocols([HOSTILE]);
    let DialError::Subprotocol(subprotocol) = offered.connect_over(duplex(1).0).await.unwrap_err()
    else {
        panic!("a line break in a subprotocol")
    };
    // Which type, and its texts with a hostile value.
    let rows: Vec<(&str, Vec<String>)> = vec![
        ("Escaped", shown(&Escaped::new(HOSTILE))),
        ("Escaped", shown(&Escaped::new(&long()))),
        ("Redacted", shown(&Redacted(HOSTILE))),
        ("Redacted", shown(&Redacted(&hostile_uri()))),
        ("Redacted", vec![format!("{:?}", Redacted(&hostile_headers()))]),
        ("CloseError", both(&close())),
        ("CloseInfo", shown(&CloseInfo::new(CloseInitiator::Peer, close().into()))),
        ("CloseInfo", shown(&CloseInfo::new(CloseInitiator::Transport, lost.clone()))),
        ("Error", both(&Error::from(close()))),
        ("Error", both(&lost)),
        ("Error", both(&Error::from(codec()))),
        ("Error", both(&io::Error::from(Error::from(close())))),
        ("AcceptError", both(&AcceptError::from(io::Error::other(HOSTILE)))),
        ("TryWriteError", both(&TryWriteError::Conn(close().into()))),
        ("CodecError", both(&codec())),
        ("InvalidSubprotocol", both(&subprotocol)),
        ("DialError", both(&refused().await)),
        ("RefusedResponse", shown(refused().await.refused_response().unwrap())),
        ("Causes", both(&DialError::Tls(Box::new(io::Error::other(HOSTILE))))),
        ("ServerFailed", both(&DialError::Tls(HOSTILE.into()))),
        ("InvalidUrl", both(&InvalidUrl::Scheme(HOSTILE.into()))),
        ("InvalidUrl", vec![InvalidUrl::Scheme(long().into()).to_string()]),
        ("InvalidHeader", both(&InvalidHeader::Value(HeaderName::from_static("x-a")))),
        ("ProxyError", both(&ProxyError::Url(InvalidUrl::Scheme(HOSTILE.into())))),
        ("RedirectError", both(&RedirectError::Url(InvalidUrl::Scheme(HOSTILE.into())))),
        ("ReconnectError", both(&ReconnectError::Codec(codec()))),
        ("ConnectionFailure", both(&ConnectionFailure::from(refused().await))),
        ("InvalidNetwork", both(&TrustedProxies::new([HOSTILE]).unwrap_err())),
        ("Rejection", both(&refused_origin(&hostile_headers()["x-any"]))),
        ("Rejection", vec![refused_origin(&long().parse().unwrap()).to_string()]),
        ("CheckError", both(&unusable_hub().check().unwrap_err())),
        ("EventError", both(&EventError::from(Error::from(close())))),
        ("EventError", both(&EventError::Malformed(failed(HOSTILE)))),
        ("EventError", vec![EventError::Malformed(failed(&long())).to_string()]),
        ("EventError", both(&EventError::NoSuchId(Id::from(HOSTILE)))),
        ("EmitError", both(&EmitError::NoSuchId(Id::from(HOSTILE)))),
        ("EmitError", vec![EmitError::NoSuchId(Id::from(long())).to_string()]),
        ("EncodeError", both(&EncodeError::BadName(failed(HOSTILE)))),
        ("EncodeError", vec![EncodeError::BadName(failed(&long())).to_string()]),
        ("EncodeError", vec![EncodeError::Json(Arc::new(decoding())).to_string()]),
        ("AckError", both(&AckError::Emit(EmitError::NoSuchId(Id::from(HOSTILE))))),
        ("AckError", both(&AckError::Decode(Arc::new(decoding())))),
        ("EnginePacketError", both(&EnginePacketError::UnknownType('\u{202e}'))),
        ("HistoryError", both(&HistoryError::Unavailable(HOSTILE.into()))),
        ("SessionStoreError", both(&SessionStoreError(HOSTILE.into()))),
        ("PresenceError", both(&PresenceError::Json(Arc::new(decoding())))),
        ("EngineError", both(&EngineError::Malformed(EnginePacketError::UnknownType('\u{9b}')))),
        ("PacketError", both(&PacketError::ReservedName(HOSTILE.to_owned()))),
        ("PacketError", both(&PacketError::Payload(HOSTILE.to_owned()))),
        ("DisconnectReason", shown(&DisconnectReason::Peer(close()))),
        ("DisconnectReason", shown(&DisconnectReason::Closed(close()))),
        ("DisconnectReason", shown(&DisconnectReason::Lost(Error::Io(Arc::new(transport))))),
        ("DisconnectReason", shown(&DisconnectReason::Lost(close().into()))),
        ("Event", shown(&event())),
        ("Id", shown(&Id::from(HOSTILE))),
    ];
    for (name, texts) in &rows {
        texts.iter().for_each(|text| check(name, text));
    }
    let mut known: BTreeSet<_> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.extend(FIXED.iter().map(|name| (*name).to_owned()));
    assert_eq!(displayed_types(), known, "each type with a `Display` has a row, or a fixed text");
}

/// A log call in the sources: file and line.
type Site = (String, u32);

/// The log calls in the sources, but for those that cannot be reached from here.
fn log_calls() -> BTreeSet<Site> {
    let sources = sources();
    let is_reached = |site: &Site| {
        let message = message_of(&sources[&site.0], site.1);
        !UNREACHED.iter().any(|it| it.starts_with(&message))
    };
    all_log_calls().into_iter().filter(is_reached).collect()
}

/// The log calls in the sources. Spans are none.
fn all_log_calls() -> BTreeSet<Site> {
    let macros = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "event!("];
    let mut found = BTreeSet::new();
    for (path, code) in sources() {
        let lines: Vec<_> = code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let call = line.split_once("tracing::").map(|(_, call)| call).unwrap_or_default();
            let is_call = call.split_once('(').is_some_and(|(name, _)| {
                macros.iter().any(|known| format!("{name}(").ends_with(known))
            });
            let is_comment = line.trim_start().starts_with("//");
            if is_call && !is_comment {
                found.insert((path.clone(), u32::try_from(at + 1).unwrap()));
            }
        }
        // So that no call is missed: they have to be written with the path.
        for import in ["use tracing::{", "use tracing::"] {
            let names = code.split(import).skip(1).filter_map(|it| it.split_once(';'));
            for (names, _) in names {
                let has_macro = ["error", "warn", "info", "debug", "trace", "instrument"];
                let mut names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(!names.any(|name| has_macro.contains(&name)), "{path}: {import}{names:?}");
            }
        }
    }
    found
}

/// The message of the log call in this line, up to its first placeholder.
fn message_of(code: &str, line: u32) -> String {
    let rest: String = code.lines().skip(line as usize - 1).collect();
    let (_, rest) = rest.split_once("tracing::").unwrap();
    // The text is the last one before the end of the call.
    let (mut depth, mut in_text, mut text) = (0, false, "");
    for (at, c) in rest.char_indices() {
        match c {
            '"' if in_text => in_text = false,
            '"' => (in_text, text) = (true, &rest[at + 1..]),
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if c == ')' && depth == 0 {
            break;
        }
    }
    let text = text.split('"').next().unwrap();
    let text = if text == "{text}" { "an error without a handler" } else { text };
    text.split([':', '{']).next().unwrap().replace('`', "").trim().to_owned()
}

#[test]
fn each_log_call_is_in_the_table_of_events() {
    let sources = sources();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = std::fs::read_to_string(root.join("ws-core/OBSERVABILITY.md")).unwrap();
    for (path, line) in all_log_calls() {
        let message = message_of(&sources[&path], line);
        assert!(table.contains(&format!("`{message}")), "{path}:{line}: {message:?}");
    }
}

/// The messages of log calls that cannot be reached from here, and have no text of a peer.
const UNREACHED: &[&str] = &[
    // A store of `tests/history.rs`: a `HistoryError`, which is in the table below, and a length.
    "a broadcast was not stored, so it was not delivered",
    "an unreadable record of a history",
    // Stores of `ws-events-redis`: a `SessionStoreError`, which is in the table below.
    "the store of sessions fails",
    // An address, and errors of the operating system.
    "listening",
    "server stopped",
    "shutting down: no more connections are accepted",
    "connections cannot be accepted; trying again",
];

/// Collects the fields of log calls, as they are written.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(Site, String, String)>>>);

/// The fields of one log call.
struct Fields<'a>(&'a Collector, &'static Metadata<'static>);

impl Fields<'_> {
    fn record(&self, name: &str, value: &str) {
        let site = (self.1.file().unwrap().to_owned(), self.1.line().unwrap());
        self.0.0.lock().unwrap().push((site, name.to_owned(), value.to_owned()));
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field.name(), value);
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ws_")
    }

    fn new_span(&self, span: &Attributes<'_>) -> SpanId {
        span.record(&mut Fields(self, span.metadata()));
        SpanId::from_u64(1)
    }

    fn event(&self, event: &LogEvent<'_>) {
        let mut fields = Fields(self, event.metadata());
        fields.record("level", event.metadata().level().as_str());
        event.record(&mut fields);
    }

    fn record(&self, _: &SpanId, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &SpanId, _: &SpanId) {}
    fn enter(&self, _: &SpanId) {}
    fn exit(&self, _: &SpanId) {}
}

/// Runs a handler of `ws-core` with a request whose path is hostile.
async fn handle<F>(handler: impl FnOnce(Conn) -> F, close_first: bool)
where
    F: Future<Output = Result<(), String>>,
{
    let (client, server) = pair();
    let mut request = RequestInfo::default();
    request.uri = hostile_uri();
    set_request(&server, request);
    if close_first {
        let (closed, read) =
            tokio::join!(client.close(StatusCode::GOING_AWAY, HOSTILE), server.read());
        closed.unwrap();
        read.unwrap_err();
    }
    let guard = Acceptor::new(&AcceptOptions::new()).admit().unwrap();
    timeout(TIMEOUT, guard.run(server, handler)).await.unwrap();
}

/// Has a hub log all that it can, with hostile ids, names, data and texts of errors.
async fn run_hub(collector: &Collector) {
    let hub = Hub::builder().envelope().build();
    hub.on(HOSTILE, async || Err::<(), _>(HOSTILE));
    hub.on("typed", async |Json(_): Json<Known>| {});
    let (socket, client) = enter(&hub, "a").await;
    socket.set_id(HOSTILE).unwrap();
    let envelope =
        |name: &str, data: &str| format!(r#"{{"event":{},"data":{}}}"#, quoted(name), quoted(data));
    for message in [
        // A handler has failed, with an error that nothing handles.
        envelope(HOSTILE, ""),
        // The data of a peer is not what a handler takes.
        envelope("typed", HOSTILE),
        // An event without a handler.
        envelope(&format!("{HOSTILE} unknown"), ""),
        // Not an event.
        HOSTILE.to_owned(),
    ] {
        client.write(message).await.unwrap();
    }
    wait_until(|| collector.has("expected")).await;
    hub.on_error(async || Err::<(), _>(HOSTILE));
    client.write(envelope(HOSTILE, "")).await.unwrap();
    wait_until(|| collector.has("a handler of `error` has failed")).await;
    client.close(StatusCode::GOING_AWAY, HOSTILE).await.unwrap();
    let unusable = unusable_hub();
    let (_, other) = enter(&unusable, "b").await;
    let limits = SendQueueLimits::new().messages(1);
    let small = Hub::builder().send_queue(limits).build();
    let (slow, slow_client) = enter(&small, "c").await;
    slow.set_id(format!("slow {HOSTILE}")).unwrap();
    while slow.send("more").is_ok() {}
    while slow_client.read().await.is_ok() {}
    wait_until(|| collector.has("a slow consumer")).await;
    small.drain(TIMEOUT).await;
    drop(other);
    let (client, server) = pair();
    let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
    // The error of the decoder quotes the packet.
    client.write(format!("40{}", quoted(HOSTILE))).await.unwrap();
    tokio::join!(session.drive(), hub.serve_engine(session.clone()));
    hub.middleware(async |_: Socket| -> Result<(), ConnectRejection> { panic!("{HOSTILE}") });
    let (client, server) = pair();
    hub.serve(server).await;
    client.read().await.unwrap_err();
}

/// A broker on a bus in memory, that is down for a reason of the network.
struct HostileBroker(LoopbackBroker);

impl Broker for HostileBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        self.0.capabilities()
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        sink.status(BrokerStatus::Down { cause: HOSTILE.to_owned() });
        self.0.start(sink);
    }

    fn subscribe(&self, subjects: &[Subject]) {
        // Deaf, but for the first subscriptions.
        if subjects.iter().any(|subject| subject.as_str() == "ws.all") {
            self.0.subscribe(subjects);
        }
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.0.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        self.0.publish(subject, envelope)
    }

    fn shutdown(&self, deadline: tokio::time::Instant) -> BoxFuture<'_, ()> {
        self.0.shutdown(deadline)
    }
}

/// Has the cluster of a hub log all that it can.
async fn run_cluster(collector: &Collector) {
    let bus = LoopbackBus::new(1);
    let config = || ClusterConfig::new(HostileBroker(bus.join()));
    let build = || Hub::builder().envelope().build_clustered(config()).unwrap();
    let (hub, other) = (build(), build());
    hub.on_server(HOSTILE, async |_| panic!("{HOSTILE}"));
    wait_until(|| collector.has("the broker of a hub is down")).await;
    other.server_emit(HOSTILE, &1).unwrap();
    wait_until(|| collector.has("a handler of a server event has panicked")).await;
    let (socket, client) = enter(&hub, "d").await;
    socket.join("deaf").unwrap();
    // It gets nothing, while time passes.
    let silence = timeout(Duration::from_secs(100), client.read()).await;
    assert!(silence.is_err() && collector.has("no message arrives on a subject"));
}

/// A session that ends at once, with a hook that panics.
async fn expire_session(collector: &Collector) {
    let recovery = Recovery::new().sessions(0).on_expired(|_| panic!("{HOSTILE}"));
    let hub = Hub::builder().envelope().recovery(recovery).build();
    let (client, server) = pair();
    let serving = tokio::spawn(async move { hub.serve_as(server, Protocol::Resumable).await });
    client.write(r#"{"resume":null}"#).await.unwrap();
    client.read().await.unwrap();
    client.close_now();
    serving.await.unwrap();
    assert!(collector.has("the hook of expired sessions has panicked"));
}

/// An upgrade that fails after hyper has the request: it does not hand over the transport, or the
/// connection is cut.
async fn fail_upgrade(is_cut: bool, collector: &Collector) {
    let (mut client, io) = duplex(4096);
    let service = hyper::service::service_fn(move |mut request| {
        let accepted = ws_server_hyper::accept(&mut request, &AcceptOptions::new());
        let (response, upgrade): (http::Response<http_body_util::Empty<Bytes>>, _) =
            accepted.unwrap();
        tokio::spawn(upgrade.serve(async |_| {}));
        async move { if is_cut { Err(io::Error::other("cut")) } else { Ok(response) } }
    });
    let server = hyper::server::conn::http1::Builder::new();
    let server = tokio::spawn(server.serve_connection(hyper_util::rt::TokioIo::new(io), service));
    let offer = Offer::new([""; 0], Compression::off()).unwrap();
    let mut head = format!("GET {} HTTP/1.1\r\nhost: a\r\n", hostile_uri());
    for (name, value) in &offer.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    client.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let text = if is_cut { "the client left" } else { "no transport" };
    wait_until(|| collector.has(text)).await;
    drop(server);
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

impl Collector {
    fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|(_, _, value)| value.contains(text))
    }
}

/// A client that dials again after a hostile failure.
async fn fail_reconnect() {
    let dial = Dial::new("ws://example.com/");
    let reconnect = Reconnect::new(dial)
        .max_attempts(2)
        .dial_by(|_| async { Err(DialError::from(io::Error::other(HOSTILE))) });
    timeout(TIMEOUT, reconnect.connect()).await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn each_log_call_writes_escaped_text() {
    let collector = Collector::default();
    tracing::subscriber::set_global_default(collector.clone()).unwrap();
    handle(async |_| Err(HOSTILE.to_owned()), false).await;
    handle(async |_| Err(HOSTILE.repeat(1000)), true).await;
    handle(async |_| panic!("{HOSTILE}"), false).await;
    run_hub(&collector).await;
    fail_reconnect().await;
    timeout(10 * TIMEOUT, run_cluster(&collector)).await.unwrap();
    expire_session(&collector).await;
    let refused = refused_origin(&hostile_headers()["x-any"]);
    assert!(matches!(refused, Rejection::OriginRefused { .. }));
    ConnectionTracker::new().drain(DrainConfig::timeout(TIMEOUT)).await;
    for is_cut in [false, true] {
        fail_upgrade(is_cut, &collector).await;
    }
    let collected = collector.0.lock().unwrap();
    for (site, name, value) in collected.iter() {
        // Lines of this program's own.
        if name != "backtrace" {
            check(&format!("{site:?} {name}"), value);
        }
    }
    let reached: BTreeSet<_> = collected.iter().map(|(site, _, _)| site.clone()).collect();
    let calls = log_calls();
    assert!(calls.len() >= 10, "{calls:?}");
    let missed: Vec<_> = calls.difference(&reached).collect();
    assert!(missed.is_empty(), "not reached: {missed:?}; known: {reached:?}");
    // The peer has sent invalid data twice.
    let is_warning = |site: &Site, value: &str| site.0.ends_with("dispatch.rs") && value == "WARN";
    assert_eq!(collected.iter().filter(|it| is_warning(&it.0, &it.2)).count(), 1);
    let hostile = collected.iter().filter(|(_, _, value)| value.contains(r"evil\n")).count();
    assert!(hostile >= 12, "{hostile} hostile values: {collected:#?}");
}
