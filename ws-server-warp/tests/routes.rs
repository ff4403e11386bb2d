//! Do the warp filter, rejections and server work with other filters?
#![cfg(test)]

use std::convert::Infallible;
use std::time::Duration;

use http::StatusCode as Status;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use warp::{Filter as _, Rejection, Reply};
use ws_server_warp::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, HandshakeRejected, StatusCode,
    TestClient, TestError, Ws, recover, serve_stream, serve_until, test_client, websocket, ws,
};

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

/// Clients of the same routes, for HTTP/1.1 and HTTP/2.
macro_rules! clients {
    ($routes:expr) => {{
        let routes = $routes;
        [test_client(warp::service(routes.clone())), test_client(warp::service(routes)).http2()]
    }};
}

/// The first message at a path, or the status of its rejection.
async fn first(client: &TestClient, path: &str) -> Result<String, u16> {
    match in_time(client.websocket(path).header("x-key", "k").connect()).await {
        Ok(conn) => Ok(in_time(conn.read()).await.unwrap().as_text().unwrap().to_owned()),
        Err(TestError::Refused(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_filter_composes_with_others() {
    #[derive(Debug)]
    struct Forbidden;
    impl warp::reject::Reject for Forbidden {}
    async fn check(room: u32, key: String) -> Result<u32, Rejection> {
        if key == "k" { Ok(room) } else { Err(warp::reject::custom(Forbidden)) }
    }
    let handler = async |conn: Conn| {
        let request = conn.request().unwrap();
        let (room, page) = (request.param("room").unwrap(), request.query("page").unwrap());
        conn.write(format!("{} {room} {page} {:?}", request.uri.path(), request.extension::<u8>()))
            .await
    };
    let route = warp::path!("room" / u32)
        .and(warp::header::<String>("x-key"))
        .and_then(check)
        .and(ws(AcceptOptions::new()))
        .map(move |room: u32, ws: Ws| {
            ws.param("room", room.to_string()).extension(5_u8).on_upgrade(handler)
        });
    for client in clients!(route.recover(recover)) {
        assert_eq!(first(&client, "/room/7?page=2").await, Ok("/room/7 7 2 Some(5)".into()));
        assert_eq!(first(&client, "/room/x").await, Err(404));
    }
}

#[tokio::test]
async fn a_rejection_is_typed_and_or_tries_the_next_filter() {
    /// A recover function that handles every rejection.
    async fn recover_all(rejection: Rejection) -> Result<impl Reply, Infallible> {
        Ok(match rejection.find::<HandshakeRejected>() {
            Some(rejected) => rejected.clone().into_response(),
            None => warp::reply::with_status("none", Status::NOT_FOUND).into_response(),
        })
    }
    let options = AcceptOptions::new().filter(|request| request.uri().query() != Some("skip"));
    let socket = websocket(options, async |conn: Conn| conn.write("a socket").await);
    let page = warp::get().map(|| "a page");
    let routes =
        warp::path!("both").and(socket.clone().or(page)).or(warp::path!("only").and(socket));
    for client in clients!(routes.recover(recover_all)) {
        for path in ["/both", "/only"] {
            assert_eq!(first(&client, path).await, Ok("a socket".into()));
            let foreign = client.websocket(path).header("origin", "https://foe.example");
            let Err(TestError::Refused(response)) = in_time(foreign.connect()).await else {
                panic!("not refused")
            };
            assert_eq!(response.status(), Status::FORBIDDEN);
        }
        assert_eq!(first(&client, "/only?skip").await, Err(404));
        let get = |path: &str| {
            let request = http::Request::get(format!("http://a{path}")).header("host", "a");
            client.send(request.body("".into()).unwrap())
        };
        let plain = in_time(get("/both")).await.unwrap();
        assert_eq!((plain.status(), &plain.body()[..]), (Status::OK, &b"a page"[..]));
        let status = in_time(get("/only")).await.unwrap().status();
        assert!([Status::UPGRADE_REQUIRED, Status::METHOD_NOT_ALLOWED].contains(&status));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_408_and_a_failed_upgrade_is_reported() {
    for (seconds, status) in [(2, 101), (4, 408)] {
        let (failed, mut failures) = mpsc::unbounded_channel();
        let options = AcceptOptions::new().handshake_timeout(Duration::from_secs(3));
        let route = ws(options).then(move |ws: Ws| {
            let failed = failed.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await; // tidy: sleep is the subject
                let echo = async |conn: Conn| conn.write(conn.read().await?).await;
                ws.on_upgrade_or(echo, move |error| failed.send(error).unwrap())
            }
        });
        for client in clients!(route.clone()) {
            match in_time(client.websocket("/").connect()).await {
                Ok(conn) => {
                    assert_eq!(status, 101);
                    conn.write("hi").await.unwrap();
                    assert_eq!(in_time(conn.read()).await.unwrap().as_text(), Some("hi"));
                }
                Err(TestError::Refused(response)) => {
                    assert_eq!(response.status(), status);
                    assert!(matches!(in_time(failures.recv()).await, Some(Error::Io(_))));
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(failures.try_recv().is_err());

        // The client does not read, and the pipe is smaller than the reply.
        let (mut client_io, server_io) = duplex(64);
        tokio::spawn(async {
            serve_stream(server_io, None, warp::service(route)).await.map_err(drop)
        });
        let began = Instant::now();
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client_io.write_all(request.as_bytes()).await.unwrap();
        let Error::Io(error) = in_time(failures.recv()).await.unwrap() else {
            panic!("another error")
        };
        if seconds == 2 {
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            // Counted from the request, not from the reply.
            assert_eq!(began.elapsed().as_secs(), 3);
        }
    }
}

#[tokio::test]
async fn param_and_extension_have_no_effect_without_a_kept_request() {
    let route = ws(AcceptOptions::new().keep_request(false)).map(|ws: Ws| {
        ws.param("a", "b").extension(5_u8).on_upgrade(async |conn: Conn| {
            conn.write(format!("{:?}", conn.request().is_some())).await
        })
    });
    for client in clients!(route) {
        assert_eq!(first(&client, "/").await, Ok("false".into()));
    }
}

#[tokio::test]
async fn warp_serve_works_over_http1() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let route = warp::path!("a").and(websocket(options, async move |conn: Conn| {
        let request = conn.request().unwrap();
        sender.send((conn.peer_addr(), request.peer_addr, request.uri.to_string())).unwrap();
        while conn.read().await.is_ok() {}
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = warp::serve(route).incoming(listener).graceful(async { stopped.await.unwrap() });
    let server = tokio::spawn(server.run());
    in_time(async {
        let client = ws_client::Dial::new(format!("ws://{addr}/a?b=1")).connect().await.unwrap();
        // The connection has taken over the TCP stream.
        let (transport, request, uri) = seen.recv().await.unwrap();
        assert!(transport.is_some());
        assert_eq!((request, uri.as_str()), (transport, "/a?b=1"));
        stop.send(()).unwrap();
        let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(20)));
        let (counts, read) = tokio::join!(drain, client.read());
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::GOING_AWAY));
        assert_eq!((counts.open, counts.ended, counts.aborted), (0, 1, 0));
        server.await.unwrap();
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn nodelay_is_set_on_a_tcp_stream() {
    use std::os::fd::AsFd as _;
    let route = websocket(AcceptOptions::new(), async |conn: Conn| conn.write("hi").await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let client = tokio::spawn(ws_client::dial(url));
    let (stream, peer) = in_time(listener.accept()).await.unwrap();
    let same = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned().unwrap());
    assert!(!same.nodelay().unwrap());
    tokio::spawn(async move {
        serve_stream(stream, Some(peer), warp::service(route)).await.map_err(drop)
    });
    let client = in_time(client).await.unwrap().unwrap();
    assert_eq!(in_time(client.read()).await.unwrap().as_text(), Some("hi"));
    assert!(same.nodelay().unwrap());
}

#[tokio::test]
async fn serve_until_shuts_down_at_the_signal() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let route = websocket(options, async move |conn: Conn| {
        sender.send((conn.peer_addr(), conn.request().unwrap().peer_addr)).unwrap();
        while conn.read().await.is_ok() {}
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let signal = async { stopped.await.unwrap() };
    let server = tokio::spawn(serve_until(listener, warp::service(route), signal));
    in_time(async {
        let client = ws_client::Dial::new(format!("ws://{addr}")).connect().await.unwrap();
        let (transport, request) = seen.recv().await.unwrap();
        assert!(transport.is_some());
        assert_eq!(request, transport);
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        // It accepts no more connections. The tracker drains the open ones.
        assert!(ws_client::Dial::new(format!("ws://{addr}")).connect().await.is_err());
        let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(20)));
        let (counts, read) = tokio::join!(drain, client.read());
        assert_eq!(read.unwrap_err().close_status(), Some(StatusCode::GOING_AWAY));
        assert_eq!((counts.open, counts.aborted), (0, 0));
    })
    .await;
}
