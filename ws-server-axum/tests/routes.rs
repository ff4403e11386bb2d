//! Do the axum extractor, route, layer and server work in an application?
#![cfg(test)]

use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::connect_info::MockConnectInfo;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
#[cfg(unix)]
use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, StatusCode as Status, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::InspectWriter;
use tower_layer::Layer as _;
use ws_server_axum::{
    AcceptOptions, BufferPool, Compression, Config, Conn, ConnectionTracker, DrainConfig, Error,
    Limits, Message, MessageType, Origin, PreparedMessage, Rejection, StatusCode, SubprotocolOrder,
    TestClient, TestError, UpgradeRejection, WebSocketLayer, WebSocketUpgrade, test_client,
    websocket,
};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

/// Clients of one application, for HTTP/1.1 and HTTP/2.
fn clients(app: Router) -> [TestClient; 2] {
    [test_client(app.clone()), test_client(app).http2()]
}

/// The first message at a path, or the status of its rejection.
async fn first(client: &TestClient, path: &str) -> Result<String, u16> {
    match in_time(client.websocket(path).connect()).await {
        Ok(conn) => Ok(in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()),
        Err(TestError::Refused(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_extractor_combines_with_other_extractors() {
    async fn handler(
        State(state): State<&'static str>,
        Path(room): Path<String>,
        ws: WebSocketUpgrade,
    ) -> Response {
        ws.on_upgrade(async move |conn| conn.write(format!("{state} {room}")).await)
    }
    let app = Router::new()
        .nest("/chat", Router::new().route("/{room}", any(handler)))
        .route("/get/{room}", get(handler))
        .with_state("room");
    let [http1, http2] = clients(app);
    assert_eq!(first(&http1, "/chat/7").await, Ok("room 7".into()));
    assert_eq!(first(&http2, "/chat/8").await, Ok("room 8".into()));
    assert_eq!(first(&http1, "/get/9").await, Ok("room 9".into()));
    // Over HTTP/2, the method is CONNECT.
    assert_eq!(first(&http2, "/get/9").await, Err(405));
}

#[tokio::test]
async fn the_handler_has_the_request_data() {
    async fn handler(conn: Conn) -> Result<(), Error> {
        let request = conn.request().unwrap();
        let extension: &&str = request.extension().unwrap();
        conn.write(format!(
            "{} {} {} {} {} {extension}",
            request.uri.path(),
            request.param("room").unwrap(),
            request.query("page").unwrap(),
            request.cookie("who").unwrap(),
            request.peer_addr.unwrap(),
        ))
        .await
    }
    let inner = Router::new().route("/{room}", websocket(AcceptOptions::new(), handler));
    let app = Router::new()
        .nest("/chat", inner)
        .layer(from_fn(async |mut request: Request, next: Next| {
            request.extensions_mut().insert("local");
            next.run(request).await
        }))
        .layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 7], 80))));
    for client in clients(app) {
        let request = client.websocket("/chat/a%20b?page=2").header("cookie", "who=ann");
        let conn = in_time(request.connect()).await.unwrap();
        let message = in_time(conn.read()).await.unwrap();
        assert_eq!(message.as_text(), Some("/chat/a%20b a b 2 ann 192.0.2.7:80 local"));
    }
}

#[tokio::test]
async fn the_extractor_has_the_methods_of_axums_own() {
    let (failed, mut failures) = mpsc::unbounded_channel::<Error>();
    let handler = async move |ws: WebSocketUpgrade| {
        assert_eq!(ws.requested_protocols().count(), 1);
        ws.protocols(["v2", "v1"])
            .max_message_size(10)
            .max_frame_size(8)
            .read_buffer_size(1024)
            .write_buffer_size(1024)
            .write_buffer_pool(&BufferPool::new(64 * 1024))
            .max_write_buffer_size(4096)
            .compression(Compression::no_context_takeover())
            .origin(Origin::patterns(["friend.example"]))
            .on_failed_upgrade(move |error| failed.send(error).unwrap())
            .on_upgrade(echo)
    };
    let app = Router::new().route("/", any(handler));
    for client in clients(app) {
        let request = client.websocket("/").header("origin", "https://friend.example");
        let request = request.subprotocols(["v1"]).compression(Compression::no_context_takeover());
        let conn = in_time(request.connect()).await.unwrap();
        assert_eq!(conn.subprotocol(), Some("v1"));
        assert!(conn.is_compressed());
        conn.write("12345678").await.unwrap();
        assert_eq!(in_time(conn.read()).await.unwrap(), Message::from("12345678"));
        conn.write("123456789").await.unwrap();
        let error = in_time(conn.read()).await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
        let foreign = client.websocket("/").header("origin", "https://foe.example");
        let refused = in_time(foreign.subprotocols(["v1"]).connect()).await.unwrap_err();
        assert!(matches!(refused, TestError::Refused(response) if response.status() == 403));
    }
    assert!(failures.try_recv().is_err());
}

#[tokio::test]
async fn the_debug_output_of_the_extractor_has_no_secret() {
    let (shown, mut texts) = mpsc::unbounded_channel();
    let handler = async move |ws: WebSocketUpgrade| {
        let cookie = HeaderValue::from_static("sid=s3cr3t");
        let options = AcceptOptions::new().response_header(SET_COOKIE, cookie.clone());
        let ws = ws.options(options).response_header(SET_COOKIE, cookie);
        shown.send(format!("{ws:?} {ws:#?}")).unwrap();
        ws.on_upgrade(echo)
    };
    for client in clients(Router::new().route("/chat", any(handler))) {
        let request = client.websocket("/chat?token=s3cr3t").header("authorization", "s3cr3t");
        in_time(request.connect()).await.unwrap();
        let text = texts.recv().await.unwrap();
        assert!(text.contains("/chat?token=***") && !text.contains("s3cr3t"), "{text}");
    }
}

/// One setting at a time, with defaults for the others.
#[tokio::test]
async fn each_setting_has_its_effect() {
    type Change = fn(WebSocketUpgrade, &BufferPool) -> WebSocketUpgrade;
    let pool = BufferPool::new(64 * 1024);
    let app = |change: Change| {
        let pool = pool.clone();
        let handler = async move |ws: WebSocketUpgrade| {
            change(ws, &pool).on_upgrade(async |conn: Conn| {
                // The flush of a prepared message is deferred, so it is buffered.
                conn.write_prepared(&PreparedMessage::new("welcome")).await?;
                echo(conn).await
            })
        };
        clients(Router::new().route("/", any(handler)))
    };
    async fn connect(client: &TestClient) -> Conn {
        let conn = in_time(client.websocket("/").connect()).await.unwrap();
        assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("welcome"));
        conn
    }
    async fn too_big(conn: &Conn) {
        let error = in_time(conn.read()).await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
    }
    for client in app(|ws, _| ws.max_message_size(10)) {
        let conn = connect(&client).await;
        conn.write("1234567890").await.unwrap();
        assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("1234567890"));
        // Each frame is within the limit, their sum exceeds it.
        let mut writer = conn.writer(MessageType::Text).await.unwrap();
        writer.write_all(b"123456").await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(b"78901").await.unwrap();
        writer.finish().await.unwrap();
        too_big(&conn).await;
    }
    for client in app(|ws, _| ws.max_frame_size(8)) {
        let conn = connect(&client).await;
        conn.write("123456789").await.unwrap();
        too_big(&conn).await;
    }
    assert_eq!((pool.cached(), pool.misses()), (0, 0));
    for client in app(|ws, pool| ws.write_buffer_pool(pool)) {
        let conns = [connect(&client).await, connect(&client).await];
        // Two connections share one buffer, in both versions of HTTP.
        assert_eq!((pool.cached() > 0, pool.misses()), (true, 1));
        drop(conns);
    }
    let add_header: Change = |ws, _| {
        ws.response_header(HeaderName::from_static("x-told"), HeaderValue::from_static("yes"))
    };
    for (version, client) in app(add_header).into_iter().enumerate() {
        let request = match version {
            0 => upgrade("/").header("host", "a"),
            _ => http::Request::connect("http://a/")
                .version(http::Version::HTTP_2)
                .extension(hyper::ext::Protocol::from_static("websocket")),
        };
        let request = request.header("sec-websocket-version", "13").body("".into()).unwrap();
        let response = in_time(client.send(request)).await.unwrap();
        assert_eq!(response.headers()["x-told"], "yes", "{response:?}");
    }
}

/// A limit of the handler must not depend on whether the options come before it or after it.
#[tokio::test]
async fn settings_give_the_same_result_in_any_order() {
    type Change = fn(WebSocketUpgrade) -> WebSocketUpgrade;
    fn options() -> AcceptOptions {
        let limits = Limits::new().message_size(1000).frame_size(8);
        let options = AcceptOptions::new().subprotocols(["v1"]).origin(Origin::same_host());
        let options = options.compression(Compression::off()).config(Config::new().limits(limits));
        options.response_header(HeaderName::from_static("x-options"), HeaderValue::from_static("a"))
    }
    fn set(ws: WebSocketUpgrade) -> WebSocketUpgrade {
        ws.protocols(["v2"])
            .require_subprotocol()
            .max_message_size(10)
            .compression(Compression::no_context_takeover())
            .origin(Origin::patterns(["friend.example"]))
            .response_header(HeaderName::from_static("x-set"), HeaderValue::from_static("b"))
    }
    async fn connect(client: &TestClient) -> Conn {
        let request = client.websocket("/").header("origin", "https://friend.example");
        let request = request.subprotocols(["v1", "v2"]);
        in_time(request.compression(Compression::no_context_takeover()).connect()).await.unwrap()
    }
    async fn too_big(conn: &Conn) {
        let error = in_time(conn.read()).await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::MESSAGE_TOO_BIG));
    }
    let before: Change = |ws| set(ws.options(options()));
    let after: Change = |ws| set(ws).options(options());
    for change in [before, after] {
        let handler = async move |ws: WebSocketUpgrade| {
            let ws = change(ws);
            assert!(format!("{ws:?}").contains("message_size: 10"), "{ws:?}");
            ws.on_upgrade(echo)
        };
        let app = Router::new().route("/", any(handler));
        for client in clients(app.clone()) {
            let conn = connect(&client).await;
            assert_eq!((conn.subprotocol(), conn.is_compressed()), (Some("v2"), true));
            // Each frame is within the limit of the options, and their sum exceeds the handler's.
            let mut writer = conn.writer(MessageType::Text).await.unwrap();
            writer.write_all(b"123456").await.unwrap();
            writer.flush().await.unwrap();
            writer.write_all(b"78901").await.unwrap();
            writer.finish().await.unwrap();
            too_big(&conn).await;
            let conn = connect(&client).await;
            conn.write("123456789").await.unwrap();
            too_big(&conn).await;
            let unknown = client.websocket("/").subprotocols(["v1"]);
            let refused = in_time(unknown.connect()).await.unwrap_err();
            assert!(matches!(refused, TestError::Refused(response) if response.status() == 400));
        }
        let [http1, _] = clients(app);
        let request = upgrade("/").header("host", "a").header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-protocol", "v2").body(Default::default());
        let response = in_time(http1.send(request.unwrap())).await.unwrap();
        let header = |name: &str| response.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!((header("x-options"), header("x-set")), (Some(&b"a"[..]), Some(&b"b"[..])));
    }
}

#[tokio::test]
async fn a_test_request_offers_its_compression_before_or_after_its_configuration() {
    let options = AcceptOptions::new().compression(Compression::no_context_takeover());
    for client in clients(Router::new().route("/", websocket(options, echo))) {
        let compression = Compression::no_context_takeover();
        let before = client.websocket("/").compression(compression).config(Config::new());
        let after = client.websocket("/").config(Config::new()).compression(compression);
        for request in [before, after] {
            assert!(in_time(request.connect()).await.unwrap().is_compressed());
        }
    }
}

/// Counts the transport writes of the echoes of a burst.
#[tokio::test]
async fn a_burst_is_flushed_at_the_write_buffer_size() {
    const MESSAGES: usize = 50;
    let count = async |change: fn(WebSocketUpgrade) -> WebSocketUpgrade| {
        let app = Router::new();
        let app =
            app.route("/", any(async move |ws: WebSocketUpgrade| change(ws).on_upgrade(echo)));
        let (mut client_io, server_io) = tokio::io::duplex(64 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&writes);
        let server_io = InspectWriter::new(server_io, move |_| {
            counted.fetch_add(1, Relaxed);
        });
        tokio::spawn(async {
            ws_server_axum::serve_stream(server_io, None, app).await.map_err(drop)
        });
        client_io.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client_io.read_u8().await.unwrap());
        }
        let before = writes.load(Relaxed);
        client_io.write_all(&b"\x82\x8a\0\0\0\0ten bytes.".repeat(MESSAGES)).await.unwrap();
        client_io.read_exact(&mut [0; 12 * MESSAGES]).await.unwrap();
        writes.load(Relaxed) - before
    };
    in_time(async {
        assert_eq!(count(|ws| ws).await, 1);
        // 300 bytes are 25 messages.
        assert_eq!(count(|ws| ws.write_buffer_size(300)).await, 2);
        assert_eq!(count(|ws| ws.write_buffer_size(0)).await, MESSAGES);
    })
    .await;
}

/// The bytes of an opening handshake.
const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An opening handshake without `Host` and `Sec-WebSocket-Version`.
fn upgrade(path: &str) -> http::request::Builder {
    let request = http::Request::get(path).header("connection", "upgrade");
    let request = request.header("upgrade", "websocket");
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn a_handler_can_select_the_subprotocol() {
    // Selects the last one that is offered, or one that is not offered.
    let handler = async |uri: Uri, mut ws: WebSocketUpgrade| {
        let last = ws.requested_protocols().last().cloned().unwrap();
        let chosen = if uri.path() == "/" { last } else { HeaderValue::from_static("v9") };
        ws.set_selected_protocol(chosen);
        ws.on_upgrade(echo)
    };
    let app = Router::new().route("/", any(handler)).route("/other", any(handler));
    for client in clients(app) {
        for (path, chosen) in [("/", Some("v3")), ("/other", None)] {
            let request = client.websocket(path).subprotocols(["v1", "v2", "v3"]);
            let conn = in_time(request.connect()).await.unwrap();
            assert_eq!(conn.subprotocol(), chosen);
        }
    }
}

/// The handler overrides a selector of the options.
#[tokio::test]
async fn subprotocols_of_the_handler_replace_those_of_the_options() {
    let chosen = async |mut ws: WebSocketUpgrade| {
        ws.set_selected_protocol(HeaderValue::from_static("v2"));
        ws.on_upgrade(echo)
    };
    let listed = async |ws: WebSocketUpgrade| ws.protocols(["v2"]).on_upgrade(echo);
    let neither = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
    let options = AcceptOptions::new().subprotocol_selector(|_| Some("v1".to_owned()));
    let app = Router::new().route("/chosen", any(chosen)).route("/listed", any(listed));
    let app = app.route("/neither", any(neither)).layer(Extension(options));
    for client in clients(app) {
        for (path, spoken) in [("/chosen", "v2"), ("/listed", "v2"), ("/neither", "v1")] {
            let request = client.websocket(path).subprotocols(["v1", "v2"]);
            let conn = in_time(request.connect()).await.unwrap();
            assert_eq!(conn.subprotocol(), Some(spoken), "{path}");
        }
    }
}

#[tokio::test]
async fn a_test_request_offers_the_subprotocols_of_its_header() {
    let handler = async |ws: WebSocketUpgrade| ws.protocols(["v2"]).on_upgrade(echo);
    for client in clients(Router::new().route("/", any(handler))) {
        for (names, header, spoken) in
            [(&[][..], "v2", Some("v2")), (&["v1"], "v3 , v2", Some("v2")), (&["v1"], "v3", None)]
        {
            let request = client.websocket("/").header("sec-websocket-protocol", header);
            let conn = in_time(request.subprotocols(names.to_vec()).connect()).await.unwrap();
            assert_eq!(conn.subprotocol(), spoken, "{header}");
        }
        let request = client.websocket("/").header("sec-websocket-protocol", "v1, v1");
        let refused = in_time(request.connect()).await.unwrap_err();
        assert!(matches!(refused, TestError::Request(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn the_order_of_the_options_holds_for_the_subprotocols_of_the_handler() {
    let handler = async |ws: WebSocketUpgrade| ws.protocols(["v2", "v1"]).on_upgrade(echo);
    for (order, spoken) in [(SubprotocolOrder::Server, "v2"), (SubprotocolOrder::Client, "v1")] {
        let options = AcceptOptions::new().subprotocol_order(order);
        let app = Router::new().route("/", any(handler)).layer(Extension(options));
        for client in clients(app) {
            let request = client.websocket("/").subprotocols(["v1", "v2"]);
            let conn = in_time(request.connect()).await.unwrap();
            assert_eq!(conn.subprotocol(), Some(spoken), "{order:?}");
        }
    }
}

/// A handler that returns its response after `seconds`, with a handshake timeout of 3 s.
fn slow_handler(seconds: u64) -> (Router, mpsc::UnboundedReceiver<Error>) {
    let (failed, failures) = mpsc::unbounded_channel();
    let handler = async move |ws: WebSocketUpgrade| {
        tokio::time::sleep(Duration::from_secs(seconds)).await; // tidy: sleep is the subject
        ws.on_failed_upgrade(move |error| failed.send(error).unwrap()).on_upgrade(echo)
    };
    let options = AcceptOptions::new().handshake_timeout(Duration::from_secs(3));
    (Router::new().route("/", any(handler)).layer(Extension(options)), failures)
}

#[tokio::test(start_paused = true)]
async fn a_response_after_the_handshake_timeout_is_408() {
    for (seconds, status) in [(2, None), (4, Some(Status::REQUEST_TIMEOUT))] {
        let (app, mut failures) = slow_handler(seconds);
        for client in clients(app) {
            match (in_time(client.websocket("/").connect()).await, status) {
                (Ok(conn), None) => {
                    conn.write("hi").await.unwrap();
                    assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("hi"));
                }
                (Err(TestError::Refused(response)), Some(status)) => {
                    assert_eq!(response.status(), status);
                }
                (other, _) => panic!("{seconds}: {other:?}"),
            }
        }
        assert!(failures.try_recv().is_err());
    }
}

/// The response cannot be written: the client does not read, and the pipe is smaller.
#[tokio::test(start_paused = true)]
async fn a_failed_upgrade_is_reported_after_the_handshake_timeout() {
    let (app, mut failures) = slow_handler(2);
    let (mut client_io, server_io) = tokio::io::duplex(64);
    tokio::spawn(async { ws_server_axum::serve_stream(server_io, None, app).await.map_err(drop) });
    let began = tokio::time::Instant::now();
    client_io.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let Error::Io(error) = in_time(failures.recv()).await.unwrap() else { panic!("another error") };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    // Counted from the request, not from the response.
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn a_test_client_has_a_connect_info_that_can_be_mocked() {
    let handler = async |ConnectInfo(addr): ConnectInfo<SocketAddr>, ws: WebSocketUpgrade| {
        ws.on_upgrade(async move |conn: Conn| conn.write(addr.to_string()).await)
    };
    let app = Router::new().route("/", any(handler));
    let mocked = app.clone().layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 7], 80))));
    for (app, addr) in [(app, "127.0.0.1:0"), (mocked, "192.0.2.7:80")] {
        for client in clients(app) {
            assert_eq!(first(&client, "/").await, Ok(addr.into()));
        }
    }
}

/// `serve_stream` accepts a router with layers around it, like `axum::serve`.
#[tokio::test]
async fn a_router_with_layers_around_it_is_served() {
    let inner = Router::new().route("/", websocket(AcceptOptions::new(), echo));
    let around = from_fn(async |mut request: Request, next: Next| {
        // Layers of a router run after routing, so they cannot change the path.
        *request.uri_mut() = Uri::from_static("/");
        next.run(request).await
    });
    let app = around.layer(inner);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/elsewhere", listener.local_addr().unwrap());
    let server = tokio::spawn(ws_server_axum::serve(listener, app));
    let conn = in_time(ws_client::dial(url)).await.unwrap();
    conn.write("hi").await.unwrap();
    assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("hi"));
    server.abort();
}

#[tokio::test]
async fn a_rejection_is_typed_and_a_response() {
    async fn handler(ws: Result<WebSocketUpgrade, UpgradeRejection>) -> Response {
        match ws {
            Ok(ws) => ws.on_upgrade(echo),
            Err(UpgradeRejection(Rejection::NotUpgrade)) => "a page".into_response(),
            Err(refused) => refused.into_response(),
        }
    }
    let client = test_client(Router::new().route("/", any(handler)));
    let send = async |request: http::request::Builder| {
        let request = request.header("host", "a").body("".into()).unwrap();
        in_time(client.send(request)).await.unwrap()
    };
    let plain = send(http::Request::get("/")).await;
    assert_eq!((plain.status(), &plain.body()[..]), (Status::OK, &b"a page"[..]));
    let old = send(upgrade("/").header("sec-websocket-version", "8")).await;
    assert_eq!(old.status(), Status::UPGRADE_REQUIRED);
    assert_eq!(old.headers()["sec-websocket-version"], "13");
}

#[tokio::test]
async fn other_requests_fall_through() {
    async fn maybe(ws: Option<WebSocketUpgrade>) -> Response {
        match ws {
            Some(ws) => ws.on_upgrade(async |conn| conn.write("a socket").await),
            None => "a page".into_response(),
        }
    }
    let options = || {
        let takes =
            |request: &ws_server_axum::HandshakeRequest<'_>| request.uri().query() != Some("skip");
        AcceptOptions::new().filter(takes)
    };
    let socket = async |conn: Conn| conn.write("a socket").await;
    let page = get(async || "a page").connect(async || "a page");
    let app = Router::new()
        .route("/option", any(maybe).layer(Extension(options())))
        .route("/layer", page.layer(WebSocketLayer::new(options(), socket)));
    for (version, client) in clients(app).into_iter().enumerate() {
        for path in ["/option", "/layer"] {
            assert_eq!(first(&client, path).await, Ok("a socket".into()), "{version} {path}");
            let skipped = in_time(client.websocket(&format!("{path}?skip")).connect()).await;
            // Over HTTP/2, every 2xx response to CONNECT starts a tunnel.
            assert_eq!(skipped.is_ok(), version == 1, "{version} {path}");
            let plain = http::Request::get(format!("http://a{path}")).header("host", "a");
            let plain = in_time(client.send(plain.body("".into()).unwrap())).await.unwrap();
            assert_eq!((plain.status(), &plain.body()[..]), (Status::OK, &b"a page"[..]));
            // An invalid WebSocket request does not fall through.
            let foreign = client.websocket(path).header("origin", "https://foe.example");
            assert!(matches!(
                in_time(foreign.connect()).await.unwrap_err(),
                TestError::Refused(response) if response.status() == 403
            ));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn axum_serve_works_and_shuts_down_gracefully() {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let (sender, mut addrs) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        websocket(options, async move |conn: Conn| {
            sender.send((conn.peer_addr(), conn.request().unwrap().peer_addr)).unwrap();
            while conn.read().await.is_ok() {}
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (taken, mut streams) = mpsc::unbounded_channel();
    let listener = listener.tap_io(move |stream| {
        taken.send(stream.as_fd().try_clone_to_owned().unwrap()).unwrap();
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        axum::serve(listener, app).with_graceful_shutdown(async { stopped.await.unwrap() });
    let server = tokio::spawn(server.into_future());
    in_time(async {
        let client = ws_client::Dial::new(&url).connect().await.unwrap();
        // The connection has taken over the TCP stream.
        let (transport, request) = addrs.recv().await.unwrap();
        assert!(transport.is_some());
        // And has set `TCP_NODELAY`.
        let stream = std::net::TcpStream::from(streams.recv().await.unwrap());
        assert!(stream.nodelay().unwrap());
        assert_eq!(request, transport);
        stop.send(()).unwrap();
        let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(20)));
        let (counts, read) = tokio::join!(drain, client.read());
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::GOING_AWAY));
        assert_eq!((counts.open, counts.ended, counts.aborted), (0, 1, 0));
        server.await.unwrap().unwrap();
    })
    .await;
}
