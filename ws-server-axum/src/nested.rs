//! How does a service that is mounted at a path get the whole request?

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{ConnectInfo, FromRequestParts as _, OriginalUri, RawPathParams};
use http::Request;
use http::request::Parts;
use tower_service::Service;
use ws_core::{PathParams, PeerAddr};

/// Lets a service that is mounted by `nest_service` have the request as the client has sent it.
///
/// axum strips the prefix of the path, and keeps path parameters and the address of the client where
/// only its own extractors find them. With this, the request has its whole URI, and the extensions
/// [`PathParams`] and [`PeerAddr`], which become `params` and `peer_addr` of
/// [`RequestInfo`](ws_core::RequestInfo). With `axum::serve`, the address needs
/// `into_make_service_with_connect_info::<SocketAddr>()`.
///
/// For services that take the request as a whole, such as `SocketIo` of `ws-events-socketio`:
/// `Router::new().nest_service("/socket.io/", nested(socketio))`. A router inside would not find its
/// routes.
///
/// ```
/// use axum::Router;
/// use axum::extract::Request;
/// use axum::handler::HandlerWithoutStateExt as _;
/// use ws_server_axum::{PathParams, nested};
///
/// async fn target(request: Request) -> String {
///     let params: Option<&PathParams> = request.extensions().get();
///     format!("{} with {params:?}", request.uri())
/// }
///
/// let service = nested(target.into_service());
/// let app: Router = Router::new().nest_service("/{tenant}/target", service);
/// ```
pub const fn nested<S>(service: S) -> NestedService<S> {
    NestedService(service)
}

/// A service that has the request as the client has sent it. Made by [`nested`].
#[derive(Clone, Debug)]
pub struct NestedService<S>(S);

impl<S, B> Service<Request<B>> for NestedService<S>
where
    S: Service<Request<B>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Call the service that was polled to readiness, not its clone.
        let clone = self.0.clone();
        let mut service = std::mem::replace(&mut self.0, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            add_peer_addr(&mut parts, &()).await;
            if let Some(params) = path_params(&mut parts, &()).await {
                parts.extensions.insert(params);
            }
            restore_uri(&mut parts);
            service.call(Request::from_parts(parts, body)).await
        })
    }
}

/// Adds the address of the client, if axum knows it and the server has not added it.
pub(crate) async fn add_peer_addr<S: Send + Sync>(parts: &mut Parts, state: &S) {
    if parts.extensions.get::<PeerAddr>().is_none()
        && let Ok(ConnectInfo(addr)) =
            ConnectInfo::<SocketAddr>::from_request_parts(parts, state).await
    {
        parts.extensions.insert(PeerAddr(addr));
    }
}

/// The path parameters of the route.
pub(crate) async fn path_params<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Option<PathParams> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    Some(params.iter().collect())
}

/// Undoes that a nested router strips the prefix of the path.
pub(crate) fn restore_uri(parts: &mut Parts) {
    if let Some(OriginalUri(uri)) = parts.extensions.remove() {
        parts.uri = uri;
    }
}
