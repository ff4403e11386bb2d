//! Does the server of each adapter shut down gracefully with open WebSockets and requests?

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode as Status};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use warp::Filter as _;
use ws_server_hyper::{
    AcceptOptions, Compression, Conn, ConnectionTracker, DrainConfig, DrainCounts, Error,
    StatusCode,
};

use crate::adapters;

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// A page whose response is delayed until `done`.
#[derive(Clone, Default)]
struct Page {
    requested: Arc<Notify>,
    done: Arc<Notify>,
}

impl Page {
    async fn get(self) -> &'static str {
        self.requested.notify_one();
        self.done.notified().await;
        "a page"
    }
}

/// Serves an echo and a page until the shutdown signal.
type Serve = fn(TcpListener, AcceptOptions, Page, Signal) -> JoinHandle<()>;

fn hyper(
    listener: TcpListener,
    options: AcceptOptions,
    page: Page,
    stop: Signal,
) -> JoinHandle<()> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (options, page) = (options.clone(), page.clone());
        async move {
            Ok::<_, Infallible>(match ws_server_hyper::accept_optional(&mut request, &options) {
                Ok(Some((response, upgrade))) => {
                    tokio::spawn(upgrade.serve(echo));
                    response
                }
                Ok(None) => Response::new(Full::<Bytes>::from(page.get().await)),
                Err(rejection) => rejection.into_response().map(Full::from),
            })
        }
    });
    tokio::spawn(async { ws_server_hyper::serve_until(listener, service, stop).await.unwrap() })
}

fn app(options: AcceptOptions, page: Page) -> Router {
    Router::new()
        .route("/", ws_server_axum::websocket(options, echo))
        .route("/page", get(move || page.get()))
}

fn axum(listener: TcpListener, options: AcceptOptions, page: Page, stop: Signal) -> JoinHandle<()> {
    let app = app(options, page);
    tokio::spawn(async { ws_server_axum::serve_until(listener, app, stop).await.unwrap() })
}

fn axum_serve(
    listener: TcpListener,
    options: AcceptOptions,
    page: Page,
    stop: Signal,
) -> JoinHandle<()> {
    let server = axum::serve(listener, app(options, page)).with_graceful_shutdown(stop);
    tokio::spawn(async { server.await.unwrap() })
}

fn warp(listener: TcpListener, options: AcceptOptions, page: Page, stop: Signal) -> JoinHandle<()> {
    let page = warp::path!("page").then(move || page.clone().get());
    let socket = warp::path::end().and(ws_server_warp::websocket(options, echo));
    let routes = warp::service(page.or(socket).recover(ws_server_warp::recover));
    tokio::spawn(async { ws_server_warp::serve_until(listener, routes, stop).await.unwrap() })
}

const ALL: [Serve; 4] = [hyper, axum, axum_serve, warp];

/// A WebSocket over HTTP/1.1 and one over HTTP/2.
async fn sockets(addr: SocketAddr) -> [Conn; 2] {
    let http1 = ws_client::dial(format!("ws://{addr}")).await.unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let client = adapters::http2(Box::new(stream)).await;
    [http1, adapters::connect(client, "/", Compression::off()).await]
}

async fn check_echo(conn: &Conn) {
    conn.write("hello").await.unwrap();
    assert_eq!(conn.read().await.unwrap().as_text(), Some("hello"));
}

/// Requests the page over a keep-alive connection.
async fn request_page(addr: SocketAddr) -> (http1::SendRequest<Empty<Bytes>>, JoinHandle<String>) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, conn) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(conn);
    let request = Request::get("/page").header("host", "a").body(Empty::new()).unwrap();
    let response = client.send_request(request);
    let page = tokio::spawn(async {
        let body = response.await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    });
    (client, page)
}

#[tokio::test]
async fn a_drain_at_the_signal_closes_websockets_of_both_http_versions() {
    for serve in ALL {
        in_time(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (tracker, page) = (ConnectionTracker::new(), Page::default());
            let options = AcceptOptions::new().tracker(&tracker);
            let (stop, stopped) = oneshot::channel::<()>();
            let (counted, mut counts) = mpsc::unbounded_channel::<DrainCounts>();
            let signal = async move {
                stopped.await.unwrap();
                let drain = DrainConfig::timeout(Duration::from_secs(20));
                counted.send(tracker.drain(drain).await).unwrap();
            };
            let server = serve(listener, options, page.clone(), Box::pin(signal));
            let conns = sockets(addr).await;
            let (_client, requested) = request_page(addr).await;
            page.requested.notified().await;
            for conn in &conns {
                check_echo(conn).await;
            }
            stop.send(()).unwrap();
            for conn in &conns {
                let error = conn.read().await.unwrap_err();
                assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
            }
            let counts = counts.recv().await.unwrap();
            assert_eq!((counts.open, counts.notified, counts.aborted), (0, 2, 0));
            // The request in progress still gets its response.
            page.done.notify_one();
            assert_eq!(requested.await.unwrap(), "a page");
            server.await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_dropped_server_finishes_requests_and_keeps_websockets_open() {
    // Not for `axum::serve`, whose behavior is its own.
    for serve in [hyper, axum, warp] as [Serve; 3] {
        in_time(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let page = Page::default();
            let never = Box::pin(std::future::pending());
            let server = serve(listener, AcceptOptions::new(), page.clone(), never);
            let conns = sockets(addr).await;
            let (mut client, requested) = request_page(addr).await;
            page.requested.notified().await;
            server.abort();
            assert!(server.await.unwrap_err().is_cancelled());
            for conn in &conns {
                check_echo(conn).await;
            }
            page.done.notify_one();
            assert_eq!(requested.await.unwrap(), "a page");
            // Then its connection closes.
            while client.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
            for conn in &conns {
                check_echo(conn).await;
            }
        })
        .await;
    }
}

/// The setup of `docs/src/deploy/kubernetes.md`.
#[tokio::test]
async fn during_a_drain_the_readiness_probe_and_new_handshakes_get_503() {
    in_time(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tracker = ConnectionTracker::new();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&is_stopping);
        let ready = get(async move || match stops.load(Relaxed) {
            true => Status::SERVICE_UNAVAILABLE,
            false => Status::OK,
        });
        let options = AcceptOptions::new().tracker(&tracker);
        let app = Router::new()
            .route("/ws", ws_server_axum::websocket(options, echo))
            .route("/ready", ready);
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async move {
            stopped.await.unwrap();
            is_stopping.store(true, Relaxed);
            tracker.drain(DrainConfig::timeout(Duration::from_secs(20))).await;
        };
        let server = tokio::spawn(ws_server_axum::serve_until(listener, app, signal));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let status =
            async || client.get(format!("http://{addr}/ready")).send().await.unwrap().status();
        // A client that answers the close frame at the end of the test.
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "GET /ws HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(socket.read_u8().await.unwrap());
        }
        assert_eq!(status().await, Status::OK);
        stop.send(()).unwrap();
        let mut close = [0; 4];
        socket.read_exact(&mut close).await.unwrap();
        assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
        assert_eq!(status().await, Status::SERVICE_UNAVAILABLE);
        let refused = ws_client::dial(format!("ws://{addr}/ws")).await.unwrap_err();
        assert_eq!(refused.refused_response().unwrap().status, Status::SERVICE_UNAVAILABLE);
        // Masked, with a key of zeroes.
        socket.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await.unwrap();
        drop(client);
        server.await.unwrap().unwrap();
    })
    .await;
}
