//! How is one application served by each adapter?

use std::convert::Infallible;
use std::future::Future;

use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use warp::Filter as _;
use ws_server_hyper::{AcceptOptions, Conn, Outcome, TestClient};

/// A client of each adapter, under which this handler serves every path.
pub(crate) fn each<H, Fut>(options: &AcceptOptions, handler: H) -> [(&'static str, TestClient); 3]
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let axum = ws_server_axum::websocket(options.clone(), handler.clone());
    let warp = ws_server_warp::websocket(options.clone(), handler.clone());
    [
        ("hyper", on_hyper(options.clone(), handler)),
        ("axum", ws_server_axum::test_client(Router::new().route("/{path}", axum))),
        ("warp", ws_server_warp::test_client(warp::service(warp.recover(ws_server_warp::recover)))),
    ]
}

fn on_hyper<H, Fut>(options: AcceptOptions, handler: H) -> TestClient
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    TestClient::new(service_fn(move |mut request: Request<Incoming>| {
        let answer: Response<Full<Bytes>> = match ws_server_hyper::accept(&mut request, &options) {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(handler.clone()));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        async { Ok::<_, Infallible>(answer) }
    }))
}
