//! Are the requests that the service refuses logged and counted?
#![cfg(test)]

#[path = "../../tests/support/log_lines.rs"]
mod log_lines;
mod support;

use std::cell::RefCell;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use log_lines::LogLines;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::{Answer, FOREVER, Server, echo};
use tower_service::Service as _;
use ws_core::handler::ConnectionLimits;
use ws_core::{Origin, PeerAddr};
use ws_events::Hub;
use ws_events_socketio::{AcceptOptions, EngineConfig, SocketIo};

thread_local! {
    /// The refusals that were logged on this thread, on which all tasks of a test are.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

const OPEN: &str = "EIO=4&transport=polling";

/// How many refusals for this reason, with this status, were counted.
fn counted(metrics: &PrometheusHandle, reason: &str, status: u16) -> u32 {
    let text = metrics.render();
    let start = format!("websocket_handshakes_refused{{reason=\"{reason}\",status=\"{status}\"}} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.map_or(0, |count| count.parse().unwrap())
}

/// A service with these options.
fn with(options: AcceptOptions) -> SocketIo {
    SocketIo::engine(echo).options(options)
}

async fn get(server: &Server, query: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.builder(Method::GET, query);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.request(request.body("".into()).unwrap()).await
}

/// A request that asks for a WebSocket.
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

#[tokio::test]
async fn each_refusal_is_logged_once_and_counted_once() {
    let keep = |line: String| {
        if line.contains("opening handshake refused") {
            LINES.with_borrow_mut(|lines| lines.push(line));
        }
    };
    let log = LogLines { enabled: |event| event.target().starts_with("ws_core"), write: keep };
    tracing::subscriber::set_global_default(log).unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let check = |answer: &Answer, reason: &str, status: u16, level: &str| {
        assert_eq!(answer.status, status, "{reason}: {answer:?}");
        let lines = LINES.take();
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        let reason_field = format!("reason=\"{reason}\"");
        for part in [level, &reason_field, &format!("status={status}"), "path=/", "peer=127.0.0.1"]
        {
            assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
        }
        counted(&metrics, reason, status)
    };

    for framework in support::FRAMEWORKS {
        let server = Server::start(framework, with(AcceptOptions::new())).await;
        let stop = Hub::new();
        let stopping = Server::start(framework, SocketIo::new(&stop)).await;
        stop.drain(FOREVER).await;
        let limits = ConnectionLimits::new().per_address(1);
        let limited = with(AcceptOptions::new().limits(&limits));
        let limited = Server::start(framework, limited).await;
        limited.open_polling().await;
        let full = SocketIo::engine(echo).config(EngineConfig::new().max_sessions(1));
        let full = Server::start(framework, full).await;
        full.open_polling().await;
        let pages = with(AcceptOptions::new().origin(Origin::patterns(["*.example"])));
        let pages = Server::start(framework, pages).await;
        let page = ("origin", "https://page.example");
        let opened = get(&pages, OPEN, &[page]).await;
        let open: serde_json::Value = serde_json::from_str(&opened.body[1..]).unwrap();
        let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
        let unknown = format!("{OPEN}&sid=unknown");
        let websocket = "EIO=4&transport=websocket";
        let filtered = with(AcceptOptions::new().filter(|_| false));
        let filtered = Server::start(framework, filtered).await;
        let other = [("origin", "https://other.example")];
        let evil = [("origin", "https://evil.test")];
        let stolen = [&UPGRADE[..], &other].concat();
        let stolen_query = query.replace("polling", "websocket");
        // The server, the query, the headers, the reason, the status, the level.
        type Row<'a> = (&'a Server, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);
        let rows: [Row<'_>; _] = [
            (&server, "", &[], "transport_unknown", 400, "DEBUG"),
            (&server, "EIO=3&transport=polling", &[], "engine_version_unsupported", 400, "DEBUG"),
            (&server, websocket, &[], "transport_mismatch", 400, "DEBUG"),
            (&server, &unknown, &[], "session_unknown", 400, "DEBUG"),
            (
                &server,
                "EIO=3&transport=websocket",
                &UPGRADE,
                "engine_version_unsupported",
                400,
                "DEBUG",
            ),
            (&server, websocket, &UPGRADE[..3], "key_missing", 400, "DEBUG"),
            (&pages, OPEN, &evil, "origin_refused", 403, "WARN"),
            (&pages, &query, &other, "session_of_other_page", 403, "WARN"),
            (&pages, &stolen_query, &stolen, "session_of_other_page", 403, "WARN"),
            (&limited, OPEN, &[], "too_many_from_address", 429, "WARN"),
            (&limited, websocket, &UPGRADE, "too_many_from_address", 429, "WARN"),
            (&full, OPEN, &[], "too_many_sessions", 503, "WARN"),
            (&stopping, OPEN, &[], "shutting_down", 503, "DEBUG"),
            (&stopping, websocket, &UPGRADE, "shutting_down", 503, "DEBUG"),
            (&filtered, OPEN, &[], "filtered", 404, "DEBUG"),
            (&filtered, websocket, &UPGRADE, "filtered", 404, "DEBUG"),
        ];
        assert_eq!(LINES.take(), [""; 0], "what is accepted is not logged");
        for (server, query, headers, reason, status, level) in rows {
            // At most ten refusals are logged in a second.
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
            let before = counted(&metrics, reason, status);
            let answer = get(server, query, headers).await;
            let after = check(&answer, reason, status, level);
            assert_eq!(after, before + 1, "{framework:?}: {reason}");
        }
    }
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Calls the service without a server, so that no time passes.
async fn call(
    socketio: &mut SocketIo,
    request: http::request::Builder,
    body: &str,
) -> (u16, String) {
    let mut request = request.header("host", "a").body(body.to_owned()).unwrap();
    request.extensions_mut().insert(PeerAddr(([192, 0, 2, 1], 5).into()));
    let answer = socketio.call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_are_refused_count_for_the_rate() {
    let evil = [("origin", "https://evil.test")];
    let upgrade = [&UPGRADE[..], &evil].concat();
    let floods: [(&str, Headers<'_>, u16); _] = [
        (OPEN, &evil, 403),
        ("EIO=3&transport=polling", &[], 400),
        ("", &[], 400),
        ("EIO=4&transport=websocket", &upgrade, 403),
        ("EIO=3&transport=websocket", &UPGRADE, 400),
    ];
    for (query, headers, status) in floods {
        let limits = ConnectionLimits::new().handshakes_per_second(3);
        let mut socketio = with(AcceptOptions::new().limits(&limits));
        let socketio = &mut socketio;
        let get = |query: &str| Request::get(format!("/?{query}"));
        let (_, opened) = call(socketio, get(OPEN), "").await;
        let open: serde_json::Value = serde_json::from_str(&opened[1..]).unwrap();
        let session = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
        let flood = || {
            let add = |request: http::request::Builder, header: &(&str, &str)| {
                request.header(header.0, header.1)
            };
            headers.iter().fold(get(query), add)
        };
        for _ in 0..2 {
            assert_eq!(call(socketio, flood(), "").await.0, status, "{query}");
        }
        assert_eq!(call(socketio, flood(), "").await.0, 429, "{query}");
        assert_eq!(call(socketio, get(OPEN), "").await.0, 429, "{query}");
        // The requests of a session are no handshakes.
        for _ in 0..4 {
            let post = Request::post(format!("/?{session}"));
            assert_eq!(call(socketio, post, "4a").await.0, 200, "{query}");
            assert_eq!(call(socketio, get(&session), "").await, (200, "4a".to_owned()), "{query}");
        }
    }
}
