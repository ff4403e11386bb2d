//! How is an application served so that WebSockets do well over HTTP/2, too?

use std::future::{Future, pending};
use std::io;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use ws_core::PeerAddr;

/// Serves an application over HTTP/1.1 and HTTP/2 (with prior knowledge), for ever, as
/// `axum::serve` does, with settings for WebSockets: a handler that reads slowly stalls no
/// other WebSocket on its connection of HTTP/2, and `TCP_NODELAY` is set.
///
/// Handlers may extract `ConnectInfo<SocketAddr>`.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections; those that are there go on.
pub async fn serve(listener: TcpListener, app: Router) -> io::Result<()> {
    serve_until(listener, app, pending()).await
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
pub async fn serve_until(
    listener: TcpListener,
    app: Router,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(&PeerAddr(peer)) = request.extensions().get() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        app.call(request)
    });
    ws_server_hyper::serve_until(listener, service, signal).await
}

/// A client in memory that talks to an application, for its tests: over HTTP/1.1, and over
/// HTTP/2 by [`TestClient::http2`](crate::TestClient::http2).
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
pub fn test_client(app: Router) -> crate::TestClient {
    crate::TestClient::new(TowerToHyperService::new(app))
}
