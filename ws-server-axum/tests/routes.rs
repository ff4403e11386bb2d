//! How do WebSockets fit into an application of axum?
#![cfg(test)]

use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsFd as _;
use std::time::Duration;

use axum::extract::connect_info::MockConnectInfo;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
#[cfg(unix)]
use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use http::{HeaderValue, StatusCode as Status, Uri};
use tokio::sync::{mpsc, oneshot};
use ws_server_axum::{
    AcceptOptions, BufferPool, Compression, Conn, Drain, Error, Message, Origin, Refused,
    Rejection, StatusCode, TestClient, TestError, Tracker, WebSocketLayer, WebSocketUpgrade,
    test_client, websocket,
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

/// The same application over both versions of HTTP.
fn clients(app: Router) -> [TestClient; 2] {
    [test_client(app.clone()), test_client(app).http2()]
}

/// The first message on a path, or the status of its refusal.
async fn first(client: &TestClient, path: &str) -> Result<String, u16> {
    match in_time(client.websocket(path).connect()).await {
        Ok(conn) => Ok(in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()),
        Err(TestError::Refused(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_extractor_stands_beside_others() {
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
    // CONNECT is not GET.
    assert_eq!(first(&http2, "/get/9").await, Err(405));
}

#[tokio::test]
async fn what_the_request_said_is_known_to_the_handler() {
    async fn handler(conn: Conn) -> Result<(), Error> {
        let request = conn.request().unwrap();
        let local: &&str = request.local().unwrap();
        conn.write(format!(
            "{} {} {} {} {} {local}",
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
        let told = in_time(conn.read()).await.unwrap();
        assert_eq!(told.as_text(), Some("/chat/a%20b a b 2 ann 192.0.2.7:80 local"));
    }
}

#[tokio::test]
async fn the_builder_reads_like_axums_own() {
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
        assert!(matches!(refused, TestError::Refused(answer) if answer.status() == 403));
    }
    assert!(failures.try_recv().is_err());
}

#[tokio::test]
async fn a_handler_may_choose_the_subprotocol() {
    // The last of those that are offered, or one that is not.
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

#[tokio::test]
async fn a_rejection_is_typed_and_an_answer() {
    async fn handler(ws: Result<WebSocketUpgrade, Refused>) -> Response {
        match ws {
            Ok(ws) => ws.on_upgrade(echo),
            Err(Refused(Rejection::NotUpgrade)) => "a page".into_response(),
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
    let upgrade =
        || http::Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let old = send(upgrade().header("sec-websocket-version", "8")).await;
    assert_eq!(old.status(), Status::UPGRADE_REQUIRED);
    assert_eq!(old.headers()["sec-websocket-version"], "13");
}

#[tokio::test]
async fn requests_that_are_none_of_ours_fall_through() {
    async fn maybe(ws: Option<WebSocketUpgrade>) -> Response {
        match ws {
            Some(ws) => ws.on_upgrade(async |conn| conn.write("a socket").await),
            None => "a page".into_response(),
        }
    }
    let options = || {
        let takes = |request: &ws_server_axum::Opening<'_>| request.uri().query() != Some("skip");
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
            // Over HTTP/2, any success of a CONNECT begins a tunnel.
            assert_eq!(skipped.is_ok(), version == 1, "{version} {path}");
            let plain = http::Request::get(format!("http://a{path}")).header("host", "a");
            let plain = in_time(client.send(plain.body("".into()).unwrap())).await.unwrap();
            assert_eq!((plain.status(), &plain.body()[..]), (Status::OK, &b"a page"[..]));
            // What wants to be a WebSocket and is not a good one is told so.
            let foreign = client.websocket(path).header("origin", "https://foe.example");
            assert!(matches!(
                in_time(foreign.connect()).await.unwrap_err(),
                TestError::Refused(answer) if answer.status() == 403
            ));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn axum_serves_it_and_stops_gracefully() {
    let tracker = Tracker::new();
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
        // The TCP stream was taken over as such.
        let (transport, request) = addrs.recv().await.unwrap();
        assert!(transport.is_some());
        // And told not to delay.
        let stream = std::net::TcpStream::from(streams.recv().await.unwrap());
        assert!(stream.nodelay().unwrap());
        assert_eq!(request, transport);
        stop.send(()).unwrap();
        let drain = tracker.drain(Drain::within(Duration::from_secs(20)));
        let (counts, read) = tokio::join!(drain, client.read());
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::GOING_AWAY));
        assert_eq!((counts.open, counts.ended, counts.cut), (0, 1, 0));
        server.await.unwrap().unwrap();
    })
    .await;
}
