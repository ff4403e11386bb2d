//! How is a filter served so that WebSockets work over HTTP/2, too?

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;

use http::{Extensions, Request, Uri, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use warp::reply::Response;

/// What warp does not show of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) extensions: Extensions,
}

/// Serves a filter, as the service that [`warp::service`] makes of it, over HTTP/1.1 and
/// HTTP/2 (with prior knowledge), for ever. A client that does not ask for anything in 30 s is
/// let go; over HTTP/1.1, also after a reply.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections. Those that are there end when the requests
/// that are under way have been answered; those that were upgraded go on.
pub async fn serve<S: Filtered>(listener: TcpListener, service: S) -> io::Result<()> {
    serve_until(listener, service, pending()).await
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
/// # use ws_server_warp::{AcceptOptions, Conn, DrainConfig, ConnectionTracker, serve_until, websocket};
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// # let handler = async |_: Conn| ();
/// let tracker = ConnectionTracker::new();
/// let route = websocket(AcceptOptions::new().tracker(&tracker), handler);
/// serve_until(listener, warp::service(route), async {
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
pub async fn serve_until<S: Filtered>(
    listener: TcpListener,
    service: S,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    ws_server_hyper::serve_until(listener, telling(service), signal).await
}

/// Serves one connection over any stream, such as one of TLS, as [`serve`] does. Of a stream
/// of TCP, `TCP_NODELAY` is yours to set, and the address of the peer yours to tell.
///
/// # Errors
///
/// When the peer speaks no HTTP, or asks for nothing, or is gone in the middle of it.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, unless it was upgraded over HTTP/1.1.
pub async fn serve_stream<S: Filtered>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    service: S,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ws_server_hyper::serve_stream(io, peer, telling(service)).await
}

/// A client in memory that talks to a filter, for its tests: over HTTP/1.1, and over HTTP/2
/// by [`TestClient::http2`](crate::TestClient::http2).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ws_server_warp::{AcceptOptions, test_client, websocket};
///
/// let hello = websocket(AcceptOptions::new(), async |conn| conn.write("hello").await);
/// let client = test_client(warp::service(hello));
/// let conn = client.websocket("/").connect().await?;
/// assert_eq!(conn.read().await?.as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "test-client")]
pub fn test_client<S: Filtered>(service: S) -> crate::TestClient {
    crate::TestClient::new(telling(service))
}

/// What [`warp::service`] makes of any filter, and `tower` middleware around it: every
/// `tower` service of the kind that can be cloned for each request.
pub trait Filtered: Clone + Send + Sync + 'static {
    /// Answers a request.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

impl<S> Filtered for S
where
    S: Clone + Send + Sync + 'static,
    S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Send,
{
    async fn answer(mut self, request: Request<Incoming>) -> Response {
        let answered = match poll_fn(|cx| self.poll_ready(cx)).await {
            Ok(()) => self.call(request).await,
            Err(never) => match never {},
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Puts among the extensions of each request what warp does not show of it.
fn telling<S: Filtered>(
    filtered: S,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone
{
    service_fn(move |mut request: Request<Incoming>| {
        let extensions = match ws_server_hyper::is_upgrade(&request) {
            true => request.extensions().clone(),
            false => Extensions::new(),
        };
        let (version, uri) = (request.version(), request.uri().clone());
        request.extensions_mut().insert(Head { version, uri, extensions });
        let answer = filtered.clone().answer(request);
        async { Ok(answer.await) }
    })
}
