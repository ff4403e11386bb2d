//! What is logged by `tracing` for a connection, and for a handler that panics?
#![cfg(test)]

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use support::{close, connect, run, soon, text};
use tokio::io::AsyncWriteExt as _;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use ws_core::Acceptor;
use ws_core::adapter::set_request;
use ws_core::{
    AcceptOptions, CloseError, Compression, Config, Conn, ConnStats, Error, MessageType,
    RequestInfo, Role, StatusCode, pair,
};

/// Captures the log of this thread. Each test here begins with it.
///
/// The tests run one at a time, in a process of their own. With a single subscriber, `tracing`
/// caches the interest of the first thread at each callsite for all threads. Another test without
/// a subscriber would disable the callsite.
struct Log {
    written: Written,
    _default: DefaultGuard,
    _turn: MutexGuard<'static, ()>,
}

impl Log {
    fn begin() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Written::default();
        let writer = written.clone();
        let default = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_span_events(FmtSpan::CLOSE)
            .set_default();
        Self { written, _default: default, _turn: turn }
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}

/// The captured log.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_a_hook_a_panic_is_logged_with_where_it_was() {
    let log = Log::begin();
    run(async {
        let (client, server) = pair();
        set_request(&server, RequestInfo::default());
        let handler = async |_: Conn| -> () { panic!("the cause") };
        let served = tokio::spawn(
            Acceptor::new(&AcceptOptions::new()).admit().unwrap().run(server, handler),
        );
        let error = soon(client.read()).await.unwrap_err();
        let Error::Closed(CloseError { code, reason, .. }) = error else { panic!("{error}") };
        assert_eq!((code, reason.as_str()), (StatusCode::INTERNAL_ERROR, ""));
        soon(served).await.unwrap();
    });
    let log = log.text();
    for said in ["ERROR", "a handler has panicked", "the cause", "path=/", "logs::"] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
}

#[test]
fn a_span_has_the_connection_and_in_the_end_its_statistics() {
    let log = Log::begin();
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1 << 20);
        let id = conn.id();
        peer.send(&[text("hello"), close(1000, "")]).await;
        let options = AcceptOptions::new();
        let handler = async |conn: Conn| {
            tracing::info!("inside");
            while conn.read().await.is_ok() {}
        };
        soon(Acceptor::new(&options).admit().unwrap().run(conn, handler)).await;
        let text = log.text();
        let inside = text.lines().find(|line| line.ends_with("inside")).unwrap();
        assert!(inside.contains(&format!("websocket{{conn={id} role=\"server\"")), "{text}");
        let close = text.lines().find(|line| line.contains("close_sent=")).unwrap();
        for field in ["messages_in=1", "frames_in=2", "close_sent=1000", "close_received=1000"] {
            assert!(close.contains(field), "{field}: {text}");
        }
        assert!(!close.contains("buffered=0  "), "a field that is absent takes no room: {text}");
    });
}

/// The fields of the statistics by name, as recorded.
fn recorded(stats: &ConnStats) -> Vec<String> {
    let debug = format!("{stats:?}");
    let fields = debug.trim_start_matches("ConnStats { ").trim_end_matches(" }").split(", ");
    let plain = |field: &str| {
        let (name, value) = field.split_once(": ").unwrap();
        let value = value.trim_start_matches("Some(").trim_start_matches("StatusCode(");
        format!("{name}={}", value.trim_end_matches(')'))
    };
    fields.map(plain).collect()
}

#[test]
fn a_span_has_every_field_of_the_statistics_as_they_were_in_the_end() {
    let log = Log::begin();
    let stats = run(async {
        let compression = Compression::context_takeover().threshold(0);
        let config = || Config::new().compression(compression);
        let (here, there) = ws_core::pair_with(config(), config());
        let span = here.span();
        here.attributes().clear();
        assert_eq!(here.span().id(), span.id());
        let words = "words ".repeat(100);
        soon(here.write(words.clone())).await.unwrap();
        soon(there.read()).await.unwrap();
        soon(there.write(words)).await.unwrap();
        soon(here.read()).await.unwrap();
        let reading = tokio::spawn(async move { there.read().await });
        soon(here.ping()).await.unwrap();
        soon(here.close(StatusCode::GOING_AWAY, "")).await.unwrap();
        soon(reading).await.unwrap().unwrap_err();
        here.stats()
    });
    let none = ConnStats::default();
    for (field, none) in recorded(&stats).iter().zip(recorded(&none)) {
        assert!(*field != none || field == "buffered=0", "{field}");
        let text = log.text();
        let close = text.lines().find(|line| line.contains("close_sent=")).unwrap();
        assert!(close.split([' ', '{', '}']).any(|it| it == field), "{field}: {close}");
    }
    assert_eq!(recorded(&stats).len(), 14);
}

/// How a connection ends → the fields of the event.
#[track_caller]
fn check_end(end: impl AsyncFnOnce(Conn, Conn), expected: &[&str]) {
    let log = Log::begin();
    let id = run(async {
        let (here, there) = pair();
        let id = here.id();
        here.write("four").await.unwrap();
        soon(there.read()).await.unwrap();
        tokio::time::advance(std::time::Duration::from_millis(1250)).await;
        soon(end(here, there)).await;
        id
    });
    let text = log.text();
    let conn = format!("conn={id} ");
    let of = |event: &str| {
        let has = |line: &&str| line.contains(event) && line.contains(&conn);
        let lines: Vec<_> = text.lines().filter(has).collect();
        assert_eq!(lines.len(), 1, "{event} of {conn}: {text}");
        lines[0].to_owned()
    };
    assert!(of("connection opened").contains("DEBUG"), "{text}");
    let line = of("connection closed");
    let always = ["DEBUG", "duration_ms=1250", "messages_out=1", "messages_in=0", "bytes_in="];
    for field in always.iter().chain(expected) {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[test]
fn each_connection_has_one_event_when_it_opens_and_one_when_it_ends() {
    let by_here = async |here: Conn, there: Conn| {
        let (closed, read) =
            tokio::join!(here.close(StatusCode::GOING_AWAY, "bye\n"), there.read());
        closed.unwrap();
        read.unwrap_err();
    };
    check_end(by_here, &["by=\"local\"", "code=1001", "reason=bye\\n"]);
    let by_there = async |here: Conn, there: Conn| {
        let (closed, read) =
            tokio::join!(there.close(StatusCode::try_from(4000).unwrap(), "x"), here.read());
        closed.unwrap();
        read.unwrap_err();
    };
    check_end(by_there, &["by=\"peer\"", "code=4000", "reason=x"]);
    let cut = async |here: Conn, there: Conn| {
        there.close_now();
        here.read().await.unwrap_err();
    };
    check_end(cut, &["by=\"transport\"", "code=1006"]);
    check_end(async |here: Conn, _there: Conn| here.close_now(), &["by=\"local\"", "code=1006"]);
    check_end(async |here: Conn, _there: Conn| drop(here), &["by=\"local\"", "code=1001"]);
    // The last handle goes while the peer's close frame is awaited.
    let given_up = async |here: Conn, _there: Conn| {
        let closing = here.close(StatusCode::try_from(4001).unwrap(), "x").now_or_never();
        assert!(closing.is_none());
    };
    check_end(given_up, &["by=\"local\"", "code=4001", "reason=x"]);
    let half_closed = async |here: Conn, _there: Conn| {
        here.into_byte_stream(MessageType::Binary).shutdown().await.unwrap();
    };
    check_end(half_closed, &["by=\"local\"", "code=1000"]);
}
