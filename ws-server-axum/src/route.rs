//! How does a handler of connections become an axum route, for WebSockets only or beside a page?

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tower_layer::Layer;
use tower_service::Service;
use ws_core::handler::HandlerOutput;
use ws_core::{AcceptOptions, Conn};

use crate::upgrade::OtherRequests;
use crate::{UpgradeRejection, WebSocketUpgrade};

/// A route for WebSockets only, over HTTP/1.1 and HTTP/2. Other requests are rejected: an ordinary
/// GET with the reason for which a handshake would be, such as 429, or else with 426. So a page can
/// ask why its handshake fails.
///
/// The handler runs once for each connection. Capture application state in the closure;
/// [`Conn::request`] has the data of the request.
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
#[doc(alias = "on_upgrade")]
pub fn websocket<S, H, Fut>(options: AcceptOptions, handler: H) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    any(async move |request: Request| {
        let (mut parts, _) = request.into_parts();
        let others = OtherRequests::Explained;
        match WebSocketUpgrade::extract(&mut parts, &(), Some(options), others).await {
            Ok(upgrade) => upgrade.on_upgrade(handler),
            Err(rejection) => rejection.into_response(),
        }
    })
}

/// A layer that handles the WebSocket requests of a route. It passes all other requests to the
/// inner service, and also WebSocket requests that [`AcceptOptions::filter`] does not accept.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use ws_server_axum::{AcceptOptions, Conn, WebSocketLayer};
///
/// async fn echo(conn: Conn) {
///     while let Ok(message) = conn.read().await {
///         let _ = conn.write(message).await;
///     }
/// }
///
/// let options = AcceptOptions::new().filter(|request| request.uri().query().is_none());
/// let page = get(async || "a page").layer(WebSocketLayer::new(options, echo));
/// let app: Router = Router::new().route("/", page);
/// ```
#[derive(Clone)]
pub struct WebSocketLayer<H> {
    options: AcceptOptions,
    handler: H,
}

impl<H> WebSocketLayer<H> {
    /// Creates the layer. The handler runs once for each connection.
    pub const fn new(options: AcceptOptions, handler: H) -> Self {
        Self { options, handler }
    }
}

impl<H: Clone, S> Layer<S> for WebSocketLayer<H> {
    type Service = WebSocketService<H, S>;

    fn layer(&self, inner: S) -> Self::Service {
        WebSocketService { layer: self.clone(), inner }
    }
}

impl<H> fmt::Debug for WebSocketLayer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLayer").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The service of a [`WebSocketLayer`].
#[derive(Clone, Debug)]
pub struct WebSocketService<H, S> {
    layer: WebSocketLayer<H>,
    inner: S,
}

impl<H, S, Fut> Service<Request> for WebSocketService<H, S>
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
    S: Service<Request, Response: IntoResponse, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let WebSocketLayer { options, handler } = self.layer.clone();
        // Call the service that was polled to readiness, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let others = OtherRequests::PassedOn;
            match WebSocketUpgrade::extract(&mut parts, &(), Some(options), others).await {
                Ok(upgrade) => Ok(upgrade.on_upgrade(handler)),
                Err(UpgradeRejection(rejection)) if rejection.falls_through() => {
                    let request = Request::from_parts(parts, body);
                    inner.call(request).await.map(IntoResponse::into_response)
                }
                Err(rejection) => Ok(rejection.into_response()),
            }
        })
    }
}
