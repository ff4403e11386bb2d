//! Do all adapters send the same responses to the same requests?
//!
//! One application with hyper, axum and warp, and one table of requests for all of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::middleware::{Next, from_fn};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::ext::Protocol;
use hyper::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use tokio::sync::mpsc;
use warp::Filter as _;
use ws_server_hyper::{AcceptOptions, Compression, Conn, Origin, PathParams, TestClient};

/// An extension that middleware adds.
#[derive(Clone)]
struct User(&'static str);

/// The data that a handler sees.
#[derive(Debug, PartialEq)]
struct HandlerData {
    subprotocol: Option<String>,
    compressed: bool,
    room: Option<String>,
    page: Option<String>,
    who: Option<String>,
    user: Option<&'static str>,
    path: String,
    version_header: Option<String>,
}

type Sender = mpsc::UnboundedSender<HandlerData>;
type Receiver = mpsc::UnboundedReceiver<HandlerData>;

/// Counts the calls of the filter.
type FilterCalls = Arc<AtomicUsize>;

fn options(filter_calls: &FilterCalls) -> AcceptOptions {
    let filter_calls = Arc::clone(filter_calls);
    AcceptOptions::new()
        .subprotocols(["v2", "v1"])
        .compression(Compression::no_context_takeover())
        .origin(Origin::patterns(["*.friend.example"]))
        .response_header(HeaderName::from_static("x-server"), HeaderValue::from_static("ours"))
        .filter(move |request| {
            filter_calls.fetch_add(1, Relaxed);
            request.uri().query() != Some("skip")
        })
}

async fn handler(conn: Conn, sender: Sender) {
    let request = conn.request().unwrap();
    let handler_data = HandlerData {
        subprotocol: conn.subprotocol().map(str::to_owned),
        compressed: conn.is_compressed(),
        room: request.param("room").map(str::to_owned),
        page: request.query("page").map(Into::into),
        who: request.cookie("who").map(str::to_owned),
        user: request.extension::<User>().map(|user| user.0),
        path: request.uri.path().to_owned(),
        version_header: request.header("sec-websocket-version").map(str::to_owned),
    };
    let _ = sender.send(handler_data);
}

/// The application with one of the adapters.
struct Application {
    by: &'static str,
    client: TestClient,
    handler_data: Receiver,
    filter_calls: FilterCalls,
}

fn on_hyper() -> Application {
    let filter_calls = FilterCalls::default();
    let (sender, handler_data) = mpsc::unbounded_channel();
    let options = options(&filter_calls);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let sender = sender.clone();
        let room = request.uri().path().strip_prefix("/chat/").unwrap_or_default().to_owned();
        request.extensions_mut().insert(PathParams::from_iter([("room", room)]));
        request.extensions_mut().insert(User("ann"));
        let response = match ws_server_hyper::accept(&mut request, &options) {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(|conn| handler(conn, sender)));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::<Bytes>::from),
        };
        async { Ok::<Response<_>, Infallible>(response) }
    });
    Application { by: "hyper", client: TestClient::new(service), handler_data, filter_calls }
}

fn on_axum() -> Application {
    let filter_calls = FilterCalls::default();
    let (sender, handler_data) = mpsc::unbounded_channel();
    let route =
        ws_server_axum::websocket(options(&filter_calls), move |conn| handler(conn, sender));
    let app = Router::new().route("/chat/{room}", route).layer(from_fn(
        async |mut request: AxumRequest, next: Next| {
            request.extensions_mut().insert(User("ann"));
            next.run(request).await
        },
    ));
    Application { by: "axum", client: ws_server_axum::test_client(app), handler_data, filter_calls }
}

fn on_warp() -> Application {
    let filter_calls = FilterCalls::default();
    let (sender, handler_data) = mpsc::unbounded_channel();
    let route = warp::path!("chat" / String).and(ws_server_warp::ws(options(&filter_calls))).map(
        move |room: String, ws: ws_server_warp::Ws| {
            let sender = sender.clone();
            ws.param("room", room).extension(User("ann")).on_upgrade(|conn| handler(conn, sender))
        },
    );
    let service = warp::service(route.recover(ws_server_warp::recover));
    Application {
        by: "warp",
        client: ws_server_warp::test_client(service),
        handler_data,
        filter_calls,
    }
}

/// A request and the expected response.
struct Row {
    version: Version,
    method: &'static str,
    protocol: Option<&'static str>,
    target: &'static str,
    body: &'static str,
    without: Vec<&'static str>,
    with: Vec<(&'static str, &'static str)>,
    status: u16,
    /// Headers of the response. An empty value means that the header has to be absent.
    response: Vec<(&'static str, &'static str)>,
    handler_data: Option<HandlerData>,
}

impl Row {
    fn request(&self) -> Request<Bytes> {
        let http2 = self.version == Version::HTTP_2;
        let mut request = Request::new(Bytes::from_static(self.body.as_bytes()));
        *request.version_mut() = self.version;
        *request.method_mut() = self.method.parse().unwrap();
        let origin = if http2 { "http://here.example" } else { "" };
        *request.uri_mut() = format!("{origin}{}", self.target).parse().unwrap();
        if let Some(protocol) = self.protocol {
            request.extensions_mut().insert(Protocol::from(protocol));
        }
        let mut headers = vec![("sec-websocket-version", "13"), ("cookie", "who=bob; x=y")];
        if !http2 {
            headers.extend([
                ("host", "here.example"),
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "WebSocket"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ]);
        }
        headers.retain(|(name, _)| !self.without.contains(name));
        for (name, value) in headers.iter().chain(&self.with) {
            let name = HeaderName::from_static(name);
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request
    }
}

/// A valid opening handshake.
fn good(version: Version) -> Row {
    let http2 = version == Version::HTTP_2;
    Row {
        version,
        method: if http2 { "CONNECT" } else { "GET" },
        protocol: http2.then_some("websocket"),
        target: "/chat/7?page=a%20b",
        body: "",
        without: vec![],
        with: vec![],
        status: if http2 { 200 } else { 101 },
        response: if http2 {
            vec![("x-server", "ours"), ("upgrade", ""), ("sec-websocket-accept", "")]
        } else {
            vec![
                ("x-server", "ours"),
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ]
        },
        handler_data: Some(HandlerData {
            subprotocol: None,
            compressed: false,
            room: Some("7".to_owned()),
            page: Some("a b".to_owned()),
            who: Some("bob".to_owned()),
            user: Some("ann"),
            path: "/chat/7".to_owned(),
            version_header: Some("13".to_owned()),
        }),
    }
}

/// A handshake that is rejected with this status.
fn bad(version: Version, status: u16, response: &[(&'static str, &'static str)]) -> Row {
    let response = [response, &[("x-server", ""), ("sec-websocket-accept", "")]].concat();
    Row { status, response, handler_data: None, ..good(version) }
}

const EXTENSIONS: &str = "sec-websocket-extensions";
const KEY: &str = "sec-websocket-key";
const PROTOCOL: &str = "sec-websocket-protocol";
const VERSION: &str = "sec-websocket-version";

/// Rows that are the same for HTTP/1.1 and HTTP/2.
fn rows_of(version: Version) -> Vec<Row> {
    let deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let mut rows = vec![good(version)];
    let mut speaks = |offers: &[&'static str], chosen: Option<&'static str>| {
        let mut row = good(version);
        row.with.extend(offers.iter().map(|offer| (PROTOCOL, *offer)));
        row.response.push((PROTOCOL, chosen.unwrap_or("")));
        row.handler_data.as_mut().unwrap().subprotocol = chosen.map(str::to_owned);
        rows.push(row);
    };
    speaks(&["v1"], Some("v1"));
    speaks(&["v1, v2"], Some("v2"));
    speaks(&["v3", "v1"], Some("v1"));
    speaks(&["V1"], None);
    let mut compresses = |offer, chosen: Option<&'static str>| {
        let mut row = good(version);
        row.with.push((EXTENSIONS, offer));
        row.response.push((EXTENSIONS, chosen.unwrap_or("")));
        row.handler_data.as_mut().unwrap().compressed = chosen.is_some();
        rows.push(row);
    };
    compresses("permessage-deflate", Some(deflate));
    compresses("permessage-deflate; nonsense", None);
    compresses("x-other, permessage-deflate; client_max_window_bits", Some(deflate));
    compresses(";;,", None);
    for origin in ["http://here.example", "https://a.friend.example"] {
        rows.push(Row { with: vec![("origin", origin)], ..good(version) });
    }
    let forbidden = [
        vec![("origin", "https://foe.example")],
        vec![("origin", "null")],
        vec![("origin", "http://here.example"), ("origin", "http://here.example")],
    ];
    for with in forbidden {
        rows.push(Row { with, ..bad(version, 403, &[]) });
    }
    rows.push(Row { with: vec![(PROTOCOL, "v1, v1")], ..bad(version, 400, &[]) });
    rows.push(Row { with: vec![(PROTOCOL, "a b")], ..bad(version, 400, &[]) });
    rows.push(Row { target: "/chat/7?skip", ..bad(version, 404, &[]) });
    rows.push(Row { without: vec![VERSION], ..bad(version, 400, &[(VERSION, "13")]) });
    rows.push(Row { with: vec![(VERSION, "13")], ..bad(version, 400, &[(VERSION, "13")]) });
    rows
}

fn rows() -> Vec<Row> {
    let old = Version::HTTP_10;
    let http1 = || good(Version::HTTP_11);
    let http2 = Version::HTTP_2;
    let refused = |status, response: &[_]| bad(Version::HTTP_11, status, response);
    let upgrade = [("upgrade", "websocket"), ("connection", "Upgrade"), (VERSION, "13")];
    let mut rows = rows_of(Version::HTTP_11);
    rows.extend([
        Row { without: vec!["connection"], with: vec![("connection", "upgrade")], ..http1() },
        Row { without: vec!["upgrade"], with: vec![("upgrade", "h2c, websocket")], ..http1() },
        Row { without: vec!["connection"], ..refused(426, &upgrade) },
        Row { without: vec!["upgrade"], ..refused(426, &upgrade) },
        Row { without: vec!["upgrade"], with: vec![("upgrade", "h2c")], ..refused(426, &upgrade) },
        Row { without: vec![VERSION], with: vec![(VERSION, "8")], ..refused(426, &upgrade) },
        Row { without: vec![VERSION], with: vec![(VERSION, "13, 8")], ..refused(426, &upgrade) },
        Row { method: "POST", ..refused(405, &[("allow", "GET")]) },
        Row { method: "PUT", ..refused(405, &[("allow", "GET")]) },
        Row { method: "OPTIONS", ..refused(405, &[("allow", "GET")]) },
        Row { without: vec![KEY], ..refused(400, &[]) },
        Row { without: vec![KEY], with: vec![(KEY, "c2hvcnQ=")], ..refused(400, &[]) },
        Row { with: vec![(KEY, "dGhlIHNhbXBsZSBub25jZQ==")], ..refused(400, &[]) },
        Row { without: vec!["host"], ..refused(400, &[]) },
        Row { without: vec!["host"], with: vec![("host", "a b")], ..refused(400, &[]) },
        Row { without: vec!["host"], with: vec![("host", "")], ..refused(400, &[]) },
        Row { without: vec!["host"], with: vec![("host", "u@here.example")], ..refused(400, &[]) },
        Row { with: vec![("host", "here.example")], ..refused(400, &[]) },
        Row { body: "12345", ..refused(400, &[]) },
        Row { version: old, ..bad(old, 426, &[(VERSION, "13")]) },
        // The host of an absolute target replaces `Host` (RFC 9112 §3.2.2).
        Row {
            target: "http://there.example/chat/7?page=a%20b",
            with: vec![("origin", "http://there.example")],
            ..http1()
        },
        Row {
            target: "http://there.example/chat/7?page=a%20b",
            with: vec![("origin", "http://here.example")],
            ..refused(403, &[])
        },
        // Not a WebSocket request.
        Row { without: vec!["connection", "upgrade", KEY, VERSION], ..refused(426, &upgrade) },
    ]);
    rows.extend(rows_of(http2));
    rows.extend([
        Row { with: vec![(KEY, "whatever")], ..good(http2) },
        // `:authority` replaces `Host` (RFC 9113 §8.3.1).
        Row {
            with: vec![("host", "other.example"), ("origin", "http://here.example")],
            ..good(http2)
        },
        Row {
            with: vec![("host", "other.example"), ("origin", "http://other.example")],
            ..bad(http2, 403, &[])
        },
        Row {
            without: vec![VERSION],
            with: vec![(VERSION, "8")],
            ..bad(http2, 400, &[(VERSION, "13")])
        },
        Row { with: vec![("host", "a b")], ..bad(http2, 400, &[]) },
        Row { protocol: Some("connect-udp"), ..bad(http2, 501, &[]) },
        Row { method: "GET", protocol: None, ..bad(http2, 405, &[("allow", "CONNECT")]) },
        Row { method: "POST", protocol: None, ..bad(http2, 405, &[("allow", "CONNECT")]) },
    ]);
    rows
}

impl Application {
    /// Sends a request and checks the response. Returns the response without the `Date` header.
    async fn check(&mut self, row: &Row) -> (StatusCode, HeaderMap, Bytes) {
        let request = row.request();
        let context = format!("{}: {request:?}", self.by);
        // The filter is not called for other requests.
        let is_upgrade = ws_server_hyper::is_upgrade(&request);
        self.filter_calls.store(0, Relaxed);
        let run = async {
            let client = match row.version {
                Version::HTTP_2 => self.client.clone().http2(),
                _ => self.client.clone(),
            };
            let response = client.send(request).await.expect(&context);
            assert_eq!(response.status(), row.status, "{context}\n{response:?}");
            for (name, value) in &row.response {
                let found = response.headers().get(*name).map(|value| value.to_str().unwrap());
                assert_eq!(found.unwrap_or(""), *value, "{name} of {context}");
            }
            if row.handler_data.is_some() {
                assert_eq!(self.handler_data.recv().await, row.handler_data, "{context}");
            }
            assert!(self.handler_data.try_recv().is_err(), "{context}");
            response
        };
        let response = tokio::time::timeout(Duration::from_secs(20), run).await.expect(&context);
        assert_eq!(self.filter_calls.load(Relaxed), usize::from(is_upgrade), "{context}");
        let (mut head, body) = response.into_parts();
        head.headers.remove(DATE);
        (head.status, head.headers, body)
    }
}

#[test]
fn the_table_has_enough_rows() {
    assert!(rows().len() >= 40, "{}", rows().len());
}

#[tokio::test]
async fn all_adapters_send_the_expected_response() {
    let mut applications = [on_hyper(), on_axum(), on_warp()];
    for row in rows() {
        let mut responses = Vec::new();
        for application in &mut applications {
            responses.push((application.by, application.check(&row).await));
        }
        let [(_, first), others @ ..] = &responses[..] else { unreachable!() };
        for (by, response) in others {
            assert_eq!(response, first, "{by}: {:?}", row.request());
        }
    }
}
