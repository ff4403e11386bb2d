//! How is a handler of connections made a route for WebSockets only?

use std::future::Future;

use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, any};
use ws_core::handler::HandlerOutput;
use ws_core::{AcceptOptions, Conn};

use crate::WebSocketUpgrade;
use crate::upgrade::OtherRequests;

/// A route for WebSockets only, over HTTP/1.1 and HTTP/2. Other requests are rejected.
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
        let others = OtherRequests::Refused;
        match WebSocketUpgrade::extract(&mut parts, &(), Some(options), others).await {
            Ok(upgrade) => upgrade.on_upgrade(handler),
            Err(rejection) => rejection.into_response(),
        }
    })
}
