//! How is an application served so that WebSockets do well over HTTP/2, too?

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

/// Serves an application over HTTP/1.1 and HTTP/2 (with prior knowledge), for ever, as
/// `axum::serve` does, with settings for WebSockets: a handler that reads slowly stalls no
/// other WebSocket on its connection of HTTP/2, and `TCP_NODELAY` is set. A client that does
/// not ask for anything in 30 s is let go; over HTTP/1.1, also after an answer.
///
/// The application is a [`Router`](axum::Router), or one with layers around it. Handlers may
/// extract `ConnectInfo<SocketAddr>`.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections. Those that are there end when the requests
/// that are under way have been answered; those that were upgraded go on.
pub async fn serve<A: App>(listener: TcpListener, app: A) -> io::Result<()> {
    serve_until(listener, app, pending()).await
}

/// As [`serve`], until a signal is given. It then takes no more connections, and waits until
/// the requests that are under way have been answered.
///
/// A WebSocket over HTTP/2 is a request that is under way for as long as it is open; one over
/// HTTP/1.1 is waited for by nobody. So give the options a [`ConnectionTracker`](crate::ConnectionTracker), and
/// drain it as the last part of the signal, which serves both:
///
/// ```no_run
/// # use std::time::Duration;
/// # use axum::Router;
/// # use ws_server_axum::{AcceptOptions, Conn, DrainConfig, ConnectionTracker, serve_until, websocket};
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// # let handler = async |_: Conn| ();
/// let tracker = ConnectionTracker::new();
/// let options = AcceptOptions::new().tracker(&tracker);
/// let app = Router::new().route("/", websocket(options, handler));
/// serve_until(listener, app, async {
///     let _ = tokio::signal::ctrl_c().await;
///     tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
/// })
/// .await
/// # }
/// ```
///
/// While it drains, new WebSockets are refused with 503, and other requests still served.
///
/// # Errors
///
/// As `serve`.
///
/// # Cancel safety
///
/// As `serve`.
pub async fn serve_until<A: App>(
    listener: TcpListener,
    app: A,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    ws_server_hyper::serve_until(listener, telling(app), signal).await
}

/// Serves one connection over any stream, such as one of TLS, as [`serve`] does. Of a stream
/// of TCP, `TCP_NODELAY` is yours to set, and the address of the peer yours to tell; without
/// it, there is no `ConnectInfo`.
///
/// # Errors
///
/// When the peer speaks no HTTP, or asks for nothing, or is gone in the middle of it.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, unless it was upgraded over HTTP/1.1.
pub async fn serve_stream<A: App>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    app: A,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ws_server_hyper::serve_stream(io, peer, telling(app)).await
}

/// A client in memory that talks to an application, for its tests: over HTTP/1.1, and over
/// HTTP/2 by [`TestClient::http2`](crate::TestClient::http2).
///
/// To handlers that extract `ConnectInfo<SocketAddr>`, its address is `127.0.0.1:0`, unless
/// the application has a layer of `MockConnectInfo`.
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
pub fn test_client<A: App + Sync>(app: A) -> crate::TestClient {
    let app = telling(app);
    crate::TestClient::new(service_fn(move |mut request: hyper::Request<Incoming>| {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mock = axum::extract::connect_info::MockConnectInfo(addr);
        request.extensions_mut().insert(mock);
        app.call(request)
    }))
}

/// An application: a [`Router`](axum::Router), and `tower` middleware around it. Every `tower`
/// service of the kind that can be cloned for each request.
pub trait App: Clone + Send + 'static {
    /// Answers a request.
    fn answer(self, request: Request) -> impl Future<Output = Response> + Send;
}

impl<A> App for A
where
    A: tower_service::Service<Request, Response: IntoResponse, Error = Infallible>,
    A: Clone + Send + 'static,
    A::Future: Send,
{
    async fn answer(self, request: Request) -> Response {
        let answer = TowerToHyperService::new(self).call(request);
        match answer.await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    }
}

/// Tells each request where it came from, in the way of axum.
fn telling<A: App>(
    app: A,
) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone
{
    service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(&PeerAddr(peer)) = request.extensions().get() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let answer = app.clone().answer(request);
        async { Ok(answer.await) }
    })
}
