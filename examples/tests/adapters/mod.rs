//! How do tests serve one handler with each adapter?
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod raw_http2;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use warp::Filter as _;
use ws_core::handshake::Offer;
use ws_core::{Acceptor, Role};
use ws_server_hyper::{AcceptOptions, Compression, Config, Conn, HandlerOutput, TestClient};

/// A handler that is served by one of the adapters.
pub(crate) struct Served {
    pub(crate) by: &'static str,
    /// An in-memory client of it.
    pub(crate) client: TestClient,
    /// Serves one stream, with the address of its client.
    serve_with_peer: Box<dyn Fn(Stream, Option<SocketAddr>)>,
}

impl Served {
    /// Serves one stream.
    pub(crate) fn serve(&self, io: Stream) {
        (self.serve_with_peer)(io, None);
    }

    /// Serves one stream, with the address of its client.
    pub(crate) fn serve_with_peer(&self, io: Stream, peer: SocketAddr) {
        (self.serve_with_peer)(io, Some(peer));
    }
}

/// A stream of any type.
pub(crate) type Stream = Box<dyn Both>;

pub(crate) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// Serves a handler with each adapter, at every path of one segment.
pub(crate) fn each<H, Fut>(options: &AcceptOptions, handler: H) -> [Served; 3]
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    [
        on_hyper(options.clone(), handler.clone()),
        on_axum(options.clone(), handler.clone()),
        on_warp(options.clone(), handler),
    ]
}

fn on_hyper<H, Fut>(options: AcceptOptions, handler: H) -> Served
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let response: Response<Full<Bytes>> = match ws_server_hyper::accept(&mut request, &options)
        {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(handler.clone()));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        async { Ok::<_, Infallible>(response) }
    });
    let client = TestClient::new(service.clone());
    let serve_with_peer = move |io, peer| {
        spawn_conn(ws_server_hyper::serve_stream(io, peer, service.clone()));
    };
    Served { by: "hyper", client, serve_with_peer: Box::new(serve_with_peer) }
}

fn on_axum<H, Fut>(options: AcceptOptions, handler: H) -> Served
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let app = Router::new().route("/{path}", ws_server_axum::websocket(options, handler));
    let client = ws_server_axum::test_client(app.clone());
    let serve_with_peer =
        move |io, peer| spawn_conn(ws_server_axum::serve_stream(io, peer, app.clone()));
    Served { by: "axum", client, serve_with_peer: Box::new(serve_with_peer) }
}

fn on_warp<H, Fut>(options: AcceptOptions, handler: H) -> Served
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let route = warp::path::param().and(ws_server_warp::websocket(options, handler));
    let route = route.map(|_: String, response| response);
    let service = warp::service(route.recover(ws_server_warp::recover));
    let client = ws_server_warp::test_client(service.clone());
    let serve_with_peer = move |io, peer| {
        spawn_conn(ws_server_warp::serve_stream(io, peer, service.clone()));
    };
    Served { by: "warp", client, serve_with_peer: Box::new(serve_with_peer) }
}

/// Serves streams.
pub(crate) type Serve = Box<dyn Fn(Stream)>;

/// Serves a handler with each adapter, and without one on a bare stream.
pub(crate) fn each_and_bare<H, Fut>(
    options: &AcceptOptions,
    handler: H,
) -> Vec<(&'static str, Serve)>
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    let acceptor = Acceptor::new(options);
    let adapters = each(options, handler.clone());
    let bare = move |io: Stream| spawn_conn(acceptor.serve(io, handler.clone()));
    let adapters = adapters.into_iter().map(|served| {
        let by = served.by;
        (by, Box::new(move |io: Stream| served.serve(io)) as Serve)
    });
    std::iter::once(("bare", Box::new(bare) as Serve)).chain(adapters).collect()
}

/// Runs a connection. The client sees an error as a closed connection.
fn spawn_conn<E: Send + 'static>(conn: impl Future<Output = Result<(), E>> + Send + 'static) {
    tokio::spawn(async { conn.await.map_err(drop) });
}

/// An HTTP/2 client, for tests that `TestClient` cannot do.
pub(crate) type Http2 = http2::SendRequest<Empty<Bytes>>;

/// Opens an HTTP/2 connection over a stream.
pub(crate) async fn http2(io: Stream) -> Http2 {
    let io = TokioIo::new(io);
    let (client, conn) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    while !conn.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    tokio::spawn(conn);
    client
}

/// An extended CONNECT (RFC 8441).
pub(crate) fn connect_request(path: &str, offer: &Offer) -> Request<Empty<Bytes>> {
    let request = Request::connect(format!("https://localhost{path}")).version(Version::HTTP_2);
    let request = request.extension(Protocol::from_static("websocket"));
    let mut request = request.body(Empty::new()).unwrap();
    request.headers_mut().extend(offer.connect_headers());
    request
}

/// Opens a WebSocket by an extended CONNECT.
pub(crate) async fn connect(mut client: Http2, path: &str, compression: Compression) -> Conn {
    let offer = Offer::new([""; 0], compression).unwrap();
    let request = connect_request(path, &offer);
    let mut response = client.send_request(request).await.unwrap();
    let negotiated = offer.verify(&response).unwrap();
    let io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let config = Config::new().compression(compression);
    Conn::from_stream(io, Role::Client, negotiated, Bytes::new(), config)
}
