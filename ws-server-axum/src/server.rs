//! How is an axum application served over HTTP/1.1 and HTTP/2 with settings for WebSockets?

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use ws_core::PeerAddr;

/// Serves an application over HTTP/1.1 and HTTP/2 with prior knowledge, like `axum::serve`.
///
/// Differences from `axum::serve`: `TCP_NODELAY` is set, a handler that reads slowly does not stall
/// other WebSockets of its HTTP/2 connection, and clients that send no request have a timeout of 30
/// s; see [`ws_server_hyper::serve`]. Handlers may extract `ConnectInfo<SocketAddr>`: pass the
/// `Router` itself, without `into_make_service_with_connect_info`. For `with_graceful_shutdown`,
/// use [`serve_until`].
///
/// # Errors
///
/// If the listener fails permanently.
///
/// # Cancel safety
///
/// Dropping the future stops accepting connections. Open connections finish the requests in
/// progress and then close; WebSockets stay open.
pub async fn serve<A: ServeApp>(listener: TcpListener, app: A) -> io::Result<()> {
    serve_until(listener, app, pending()).await
}

/// Like [`serve`], with graceful shutdown: when `signal` resolves, the server stops accepting
/// connections. `serve_until` returns when the requests in progress are finished, after at most
/// 10 s: see [`ws_server_hyper::serve_until`].
///
/// An open WebSocket counts as a request in progress over HTTP/2, and does not count over HTTP/1.1.
/// To close both kinds, pass a [`ConnectionTracker`](crate::ConnectionTracker) to the options and
/// drain it as the last step of `signal`:
///
/// ```no_run
/// # use std::time::Duration;
/// # use axum::Router;
/// # use ws_server_axum::{
/// #     AcceptOptions, Conn, ConnectionTracker, DrainConfig, serve_until, shutdown_signal, websocket,
/// # };
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// # let handler = async |_: Conn| ();
/// let tracker = ConnectionTracker::new();
/// let options = AcceptOptions::new().tracker(&tracker);
/// let app = Router::new().route("/", websocket(options, handler));
/// serve_until(listener, app, async {
///     shutdown_signal().await;
///     tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
/// })
/// .await
/// # }
/// ```
///
/// During the drain, new WebSockets are rejected with 503 and other requests are still served.
///
/// # Errors
///
/// Like `serve`.
///
/// # Cancel safety
///
/// Like `serve`.
#[doc(alias = "with_graceful_shutdown")]
#[doc(alias = "graceful_shutdown")]
#[doc(alias = "serve_with_shutdown")]
pub async fn serve_until<A: ServeApp>(
    listener: TcpListener,
    app: A,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    ws_server_hyper::serve_until(listener, to_hyper_service(app), signal).await
}

/// Serves one connection over any stream, such as TLS, see [`ws_server_hyper::serve_stream`].
///
/// Handlers may extract `ConnectInfo<SocketAddr>` if `peer` is given.
///
/// # Errors
///
/// If the peer does not speak HTTP, sends no request in time, or disconnects during a request.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, except a WebSocket over HTTP/1.1, which has its
/// own stream.
#[doc(alias = "serve_connection")]
pub async fn serve_stream<A: ServeApp>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    app: A,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ws_server_hyper::serve_stream(io, peer, to_hyper_service(app)).await
}

/// An in-memory client for tests of an application. It sends HTTP/1.1 requests, or HTTP/2 after
/// [`TestClient::http2`](crate::TestClient::http2).
///
/// Its `ConnectInfo<SocketAddr>` is `127.0.0.1:0`, unless the application has a layer of
/// `MockConnectInfo`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use ws_server_axum::{AcceptOptions, test_client, websocket};
///
/// let hello = websocket(AcceptOptions::new(), async |conn| conn.write("hello").await);
/// let client = test_client(Router::new().route("/", hello));
/// let conn = client.websocket("/").connect().await?;
/// assert_eq!(conn.read().await?.as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "test-client")]
pub fn test_client<A: ServeApp + Sync>(app: A) -> crate::TestClient {
    let service = to_hyper_service(app);
    crate::TestClient::new(service_fn(move |mut request: hyper::Request<Incoming>| {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mock = axum::extract::connect_info::MockConnectInfo(addr);
        request.extensions_mut().insert(mock);
        service.call(request)
    }))
}

/// What `axum::serve` serves: a [`Router`](axum::Router), or a `tower` service of axum requests
/// that is cloned for each request, such as a router with layers around it.
///
/// It is implemented for all such services.
pub trait ServeApp:
    tower_service::Service<Request, Response: IntoResponse, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<A> ServeApp for A
where
    A: tower_service::Service<Request, Response: IntoResponse, Error = Infallible, Future: Send>,
    A: Clone + Send + 'static,
{
}

/// Adapts an application to hyper, and adds `ConnectInfo` to its requests.
fn to_hyper_service<A: ServeApp>(
    app: A,
) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone
{
    let app = TowerToHyperService::new(app);
    service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(&PeerAddr(peer)) = request.extensions().get() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let response = app.call(request);
        async { Ok(response.await?.into_response()) }
    })
}
