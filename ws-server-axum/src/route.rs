//! How is a WebSocket a whole route?

use std::future::Future;

use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, any};
use ws_core::{AcceptOptions, Conn, Outcome};

use crate::WebSocketUpgrade;

/// A route for WebSockets alone, over HTTP/1.1 and HTTP/2: other requests are refused.
///
/// The handler runs once for each connection. What it needs of the application it
/// captures; what the request said is in [`Conn::request`].
///
/// ```
/// use axum::Router;
/// use ws_server_axum::{AcceptOptions, websocket};
///
/// let options = AcceptOptions::new().subprotocols(["time"]);
/// let app: Router = Router::new().route("/greet/{name}", websocket(options, async |conn| {
///     let request = conn.request();
///     let name = request.as_deref().and_then(|request| request.param("name"));
///     conn.write(format!("Hello, {}!", name.unwrap_or("you"))).await
/// }));
/// ```
pub fn websocket<S, H, Fut>(options: AcceptOptions, handler: H) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    any(async move |request: Request| {
        let (mut head, _) = request.into_parts();
        match WebSocketUpgrade::take(&mut head, &(), Some(options)).await {
            Ok(upgrade) => upgrade.on_upgrade(handler),
            Err(refused) => refused.into_response(),
        }
    })
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
pub fn test_client(app: axum::Router) -> crate::TestClient {
    crate::TestClient::new(hyper_util::service::TowerToHyperService::new(app))
}
