//! How is a filter served so that WebSockets work over HTTP/2, too?

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;

use http::{Extensions, Request, Uri, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use warp::reply::Response;
use ws_core::PeerAddr;

/// What warp does not show of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) extensions: Extensions,
}

/// Serves a filter, as the service that [`warp::service`] makes of it, over HTTP/1.1 and
/// HTTP/2 (with prior knowledge), for ever.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections; those that are there go on.
pub async fn serve<S: Filtered>(listener: TcpListener, service: S) -> io::Result<()> {
    serve_until(listener, service, pending()).await
}

/// As [`serve`], until a signal is given. Requests that are under way are then answered;
/// connections that were upgraded are a [`Tracker`](crate::Tracker)'s.
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
    ws_server_hyper::serve_until(listener, telling(service, None), signal).await
}

/// Serves one connection over any stream, such as one of TLS.
///
/// # Errors
///
/// When the peer speaks no HTTP, or is gone in the middle of it.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, unless it was upgraded.
pub async fn serve_stream<S: Filtered>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    service: S,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = ws_server_hyper::server();
    server.serve_connection_with_upgrades(TokioIo::new(io), telling(service, peer)).await
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
    crate::TestClient::new(telling(service, None))
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
    peer: Option<SocketAddr>,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone
{
    service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().get_or_insert_with(|| PeerAddr(peer));
        }
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
