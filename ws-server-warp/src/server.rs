//! How is a warp filter served over HTTP/1.1 and HTTP/2 with settings for WebSockets?

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::{Extensions, Request, Uri, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use warp::Reply as _;
use warp::reply::Response;
use ws_core::{AcceptOptions, Acceptor, Rejection};
use ws_server_hyper::handshake_request;

use crate::HandshakeRejected;

/// The parts of a request that warp has no filters for. The servers of this crate add it as an
/// extension.
#[derive(Clone)]
pub(crate) struct OriginalHead {
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) extensions: Extensions,
}

/// Serves a filter, as a [`warp::service`], over HTTP/1.1 and HTTP/2 with prior knowledge.
///
/// See [`ws_server_hyper::serve`] for the settings: timeouts, keepalive and `TCP_NODELAY`.
///
/// # Errors
///
/// If the listener fails permanently.
///
/// # Cancel safety
///
/// Dropping the future stops accepting connections. Open connections finish the requests in
/// progress and then close; WebSockets stay open.
pub async fn serve<S: ServeFilter>(listener: TcpListener, service: S) -> io::Result<()> {
    serve_until(listener, service, pending()).await
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
/// # use ws_server_warp::{
/// #     AcceptOptions, Conn, ConnectionTracker, DrainConfig, serve_until, shutdown_signal, websocket,
/// # };
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// # let handler = async |_: Conn| ();
/// let tracker = ConnectionTracker::new();
/// let route = websocket(AcceptOptions::new().tracker(&tracker), handler);
/// serve_until(listener, warp::service(route), async {
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
#[doc(alias = "graceful")]
#[doc(alias = "graceful_shutdown")]
#[doc(alias = "serve_with_shutdown")]
pub async fn serve_until<S: ServeFilter>(
    listener: TcpListener,
    service: S,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    ws_server_hyper::serve_until(listener, to_hyper_service(service), signal).await
}

/// Serves one connection over any stream, such as TLS, see [`ws_server_hyper::serve_stream`].
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
pub async fn serve_stream<S: ServeFilter>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    service: S,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ws_server_hyper::serve_stream(io, peer, to_hyper_service(service)).await
}

/// An in-memory client for tests of a filter. It sends HTTP/1.1 requests, or HTTP/2 after
/// [`TestClient::http2`](crate::TestClient::http2).
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
pub fn test_client<S: ServeFilter>(service: S) -> crate::TestClient {
    crate::TestClient::new(to_hyper_service(service))
}

/// What [`warp::service`] returns, or a `tower` service of the same requests and responses that is
/// cloned for each request, such as a `warp::service` with layers around it.
///
/// It is implemented for all such services.
pub trait ServeFilter:
    tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ServeFilter for S
where
    S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
}

/// Lets the handshake see the extensions that middleware adds to a request, as
/// [`HandshakeRequest::extensions`](ws_core::handshake::HandshakeRequest::extensions) and
/// [`RequestInfo::extensions`](ws_core::RequestInfo::extensions).
///
/// warp shows a filter only an extension whose type the filter knows, so [`ws`](crate::ws) sees those
/// that the request had before the middleware. With this around the [`warp::service`], inside of the
/// middleware, it sees all:
///
/// ```
/// use http::Request;
/// use hyper::body::Incoming;
/// use tower::ServiceExt as _;
/// use ws_server_warp::{
///     AcceptOptions, ConnectionLimits, ServeFilter, websocket, with_extensions,
/// };
///
/// /// The user, whom middleware has found.
/// #[derive(Clone)]
/// struct User(String);
///
/// fn app() -> impl ServeFilter {
///     let limits = ConnectionLimits::new()
///         .per_key(5, |request| request.extensions().get().map(|User(name)| name.clone()));
///     let route = websocket(AcceptOptions::new().limits(&limits), async |conn| {
///         let request = conn.request();
///         let user = request.as_ref().and_then(|request| request.extension::<User>());
///         conn.write(format!("Hello, {}!", user.map_or("you", |user| &user.0))).await
///     });
///     with_extensions(warp::service(route)).map_request(|mut request: Request<Incoming>| {
///         request.extensions_mut().insert(User("ann".to_owned()));
///         request
///     })
/// }
/// # let _ = app();
/// ```
pub const fn with_extensions<S>(service: S) -> WithExtensions<S> {
    WithExtensions(service)
}

/// A service whose handshakes see the extensions of middleware. Made by [`with_extensions`].
#[derive(Clone, Debug)]
pub struct WithExtensions<S>(S);

impl<S, B> tower_service::Service<Request<B>> for WithExtensions<S>
where
    S: tower_service::Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if ws_server_hyper::is_upgrade(&request) {
            let mut extensions = request.extensions().clone();
            let original = extensions.remove().map(|head: OriginalHead| (head.version, head.uri));
            let (version, uri) =
                original.unwrap_or_else(|| (request.version(), request.uri().clone()));
            request.extensions_mut().insert(OriginalHead { version, uri, extensions });
        }
        self.0.call(request)
    }
}

/// Adapts a filter to hyper, and adds [`OriginalHead`] to its requests.
///
/// Filters of warp panic if the target has no path, as that of a CONNECT without `:protocol`. Such
/// a request is answered here.
fn to_hyper_service<S: ServeFilter>(
    service: S,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone
{
    let service = TowerToHyperService::new(service);
    service_fn(move |mut request: Request<Incoming>| {
        let extensions = match ws_server_hyper::is_upgrade(&request) {
            true => request.extensions().clone(),
            false => Extensions::new(),
        };
        let (version, uri) = (request.version(), request.uri().clone());
        let answer = match uri.path_and_query() {
            Some(_) => {
                request.extensions_mut().insert(OriginalHead { version, uri, extensions });
                Ok(service.call(request))
            }
            None => Err(without_path(&request)),
        };
        async {
            match answer {
                Ok(response) => response.await,
                Err(rejection) => Ok(HandshakeRejected::from(rejection).into_response()),
            }
        }
    })
}

/// Why a request whose target has no path opens no WebSocket.
fn without_path(request: &Request<Incoming>) -> Rejection {
    let checked = Acceptor::new(&AcceptOptions::new()).check(handshake_request(request));
    checked.err().unwrap_or(Rejection::TargetInvalid)
}
