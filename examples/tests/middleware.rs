//! Does tower middleware work in front of each adapter without affecting WebSockets?

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::service::TowerToHyperService;
use tokio::time::{Instant, sleep};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use warp::Filter as _;
use warp::path::FullPath;
use ws_server_axum::WebSocketLayer;
use ws_server_hyper::{
    AcceptOptions, Compression, Conn, ConnectionLimits, Error, Origin, PeerAddr, TestClient,
    TestError,
};
use ws_server_warp::Ws;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response body that is long enough to be compressed.
const PAGE: &str = "a page, and more of it, and more of it, and more of it, and more of it";

fn options() -> AcceptOptions {
    AcceptOptions::new().origin(Origin::any()).compression(Compression::no_context_takeover())
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Serves other requests: /slow takes 10 s, /panic panics.
async fn page(path: &str) -> &'static str {
    assert!(path != "/panic", "expected by the test");
    if path == "/slow" {
        sleep(Duration::from_secs(10)).await; // tidy: sleep is the subject
    }
    PAGE
}

async fn on_hyper(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match ws_server_hyper::accept_optional(&mut request, &options()) {
        Ok(Some((response, upgrade))) => {
            tokio::spawn(upgrade.serve(echo));
            response
        }
        Ok(None) => Response::new(page(request.uri().path()).await.into()),
        Err(rejection) => rejection.into_response().map(Full::from),
    })
}

fn on_axum() -> Router {
    let pages = get(async |uri: Uri| page(uri.path()).await).connect(async || ());
    Router::new()
        .route("/", pages.clone().layer(WebSocketLayer::new(options(), echo)))
        .fallback_service(pages)
}

/// A macro, because the type of a filter cannot be named.
macro_rules! on_warp {
    () => {{
        let pages = warp::get().and(warp::path::full());
        let pages = pages.then(async |path: FullPath| page(path.as_str()).await);
        let socket = ws_server_warp::websocket(options(), echo);
        warp::service(socket.or(pages).recover(ws_server_warp::recover))
    }};
}

/// Counts traced requests.
static TRACED: AtomicUsize = AtomicUsize::new(0);

/// Clients of the service behind each middleware.
fn behind_each<S, B>(service: S) -> Vec<(&'static str, TestClient)>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError> + Display + Send>,
    B: Default + Send + 'static,
{
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let trace = TraceLayer::new_for_http().on_request(|_: &Request<Incoming>, _: &_| {
        TRACED.fetch_add(1, Relaxed);
    });
    vec![
        ("trace", client(trace.layer(service.clone()))),
        ("timeout", client(timeout.layer(service.clone()))),
        ("compression", client(CompressionLayer::new().layer(service.clone()))),
        ("cors", client(CorsLayer::permissive().layer(service.clone()))),
        ("limit", client(ConcurrencyLimitLayer::new(1).layer(service.clone()))),
        ("panic", client(CatchPanicLayer::new().layer(service.clone()))),
        ("cache", client(cached(service))),
    ]
}

fn client<S, B>(service: S) -> TestClient
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError> + Display + Send> + Send + 'static,
{
    TestClient::new(TowerToHyperService::new(service))
}

/// A cache of successful responses to GET.
fn cached<S, B>(
    inner: S,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError> + Display + Send> + Send + 'static,
{
    let kept = Arc::new(Mutex::new(HashMap::new()));
    service_fn(move |request: Request<Incoming>| {
        let (inner, kept) = (inner.clone(), Arc::clone(&kept));
        async move {
            let is_get = request.method() == Method::GET;
            let is_upgrade = ws_server_hyper::is_upgrade(&request);
            let uri = request.uri().clone();
            if let Some(response) = kept.lock().unwrap().get(&uri).filter(|_| is_get && !is_upgrade)
            {
                let mut response = Response::clone(response);
                response.headers_mut().insert("x-cache", HeaderValue::from_static("hit"));
                return Ok(response);
            }
            let (head, body) = inner.oneshot(request).await?.into_parts();
            let Ok(body) = body.collect().await else { panic!("no body") };
            let response = Response::from_parts(head, Full::new(body.to_bytes()));
            if is_get && response.status() == StatusCode::OK {
                kept.lock().unwrap().insert(uri, response.clone());
            }
            Ok(response)
        }
    })
}

async fn get_page(client: &TestClient, path: &str) -> Response<Bytes> {
    let request = Request::get(format!("http://localhost{path}")).header("host", "localhost");
    let request = request.header("accept-encoding", "gzip");
    client.send(request.body(Bytes::new()).unwrap()).await.unwrap()
}

/// Checks that the middleware has its effect on other requests.
async fn check_effect(middleware: &str, client: &TestClient) {
    let (traced, began) = (TRACED.load(Relaxed), Instant::now());
    let page = get_page(client, "/").await;
    let header = |name: &str| page.headers().get(name).map(HeaderValue::as_bytes);
    match middleware {
        "trace" => assert!(TRACED.load(Relaxed) > traced),
        "timeout" => assert_eq!(get_page(client, "/slow").await.status(), 408),
        "compression" => {
            assert_eq!(header("content-encoding"), Some(&b"gzip"[..]));
            assert_ne!(page.body(), PAGE);
        }
        "cors" => assert_eq!(header("access-control-allow-origin"), Some(&b"*"[..])),
        "limit" => {
            // Requests run one after the other.
            tokio::join!(get_page(client, "/slow"), get_page(client, "/slow"));
            assert_eq!(began.elapsed().as_secs(), 20);
        }
        "panic" => assert_eq!(get_page(client, "/panic").await.status(), 500),
        "cache" => {
            let again = get_page(client, "/").await;
            assert_eq!(again.headers()["x-cache"], "hit");
        }
        other => panic!("{other} has no effect"),
    }
}

async fn check(adapter: &str, clients: Vec<(&'static str, TestClient)>) {
    for (middleware, client) in clients {
        for client in [client.clone(), client.http2()] {
            let context = format!("{middleware} before {adapter}");
            let page_before = get_page(&client, "/").await;
            assert_eq!(page_before.status(), 200, "{context}");
            let mut open = Vec::new();
            for _ in 0..2 {
                let request = client.websocket("/").header("origin", "https://a.example");
                let request = request.header("accept-encoding", "gzip");
                let conn = request.compression(Compression::no_context_takeover()).connect();
                let conn = conn.await.expect(&context);
                assert!(conn.is_compressed(), "{context}");
                // Longer than the timeout of the middleware.
                tokio::time::advance(Duration::from_secs(5)).await;
                let text = "hello ".repeat(1000);
                conn.write(text.as_str()).await.expect(&context);
                let echoed = conn.read().await.expect(&context);
                assert_eq!(echoed.as_text(), Some(text.as_str()), "{context}");
                open.push(conn);
            }
            check_effect(middleware, &client).await;
            assert_eq!(get_page(&client, "/").await.body(), page_before.body(), "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_works_behind_middleware() {
    check("hyper", behind_each(service_fn(on_hyper))).await;
}

#[tokio::test(start_paused = true)]
async fn axum_works_behind_middleware() {
    check("axum", behind_each(on_axum())).await;
}

#[tokio::test(start_paused = true)]
async fn warp_works_behind_middleware() {
    check("warp", behind_each(on_warp!())).await;
}

/// Some middleware requires that `poll_ready` is called.
#[tokio::test(start_paused = true)]
async fn warp_calls_poll_ready_of_middleware() {
    let limited = ConcurrencyLimitLayer::new(1).layer(on_warp!());
    check("warp", vec![("limit", ws_server_warp::test_client(limited))]).await;
}

/// The user of a request, whom middleware has found.
#[derive(Clone)]
struct User(&'static str);

fn with_user(mut request: Request<Incoming>) -> Request<Incoming> {
    request.extensions_mut().insert(User("ann"));
    request
}

/// What limits the connections of a user, and then the handler, see in a request.
#[tokio::test]
async fn extensions_of_middleware_are_in_the_handshake_of_each_adapter() {
    let greet = async |conn: Conn| {
        let request = conn.request().unwrap();
        conn.write(request.extension::<User>().unwrap().0).await?;
        conn.closed().await;
        Ok::<_, Error>(())
    };
    let options = || {
        let limits = ConnectionLimits::new()
            .per_key(1, |request| request.extensions().get().map(|User(name)| (*name).to_owned()));
        AcceptOptions::new().limits(&limits)
    };
    let limited = options();
    let on_hyper = service_fn(move |mut request: Request<Incoming>| {
        let accepted = ws_server_hyper::accept(&mut request, &limited);
        let response: Response<Full<Bytes>> = match accepted {
            Ok((response, upgrade)) => {
                tokio::spawn(upgrade.serve(greet));
                response
            }
            Err(rejection) => rejection.into_response().map(Full::from),
        };
        async { Ok::<_, Infallible>(response) }
    });
    let on_axum = Router::new().route("/", ws_server_axum::websocket(options(), greet));
    let on_warp = || {
        let route = ws_server_warp::websocket(options(), greet);
        ws_server_warp::with_extensions(warp::service(route.recover(ws_server_warp::recover)))
    };
    for (by, client) in [
        ("hyper", client(on_hyper.map_request(with_user))),
        ("axum", client(on_axum.layer(axum::Extension(User("ann"))))),
        ("warp", ws_server_warp::test_client(on_warp().map_request(with_user))),
        ("warp on hyper's server", client(on_warp().map_request(with_user))),
    ] {
        let first = client.websocket("/").connect().await.unwrap();
        assert_eq!(first.read().await.unwrap().as_text(), Some("ann"), "{by}");
        for client in [client.clone(), client.http2()] {
            let Err(TestError::Refused(refused)) = client.websocket("/").connect().await else {
                panic!("{by}: not refused")
            };
            assert_eq!(refused.status(), 429, "{by}");
        }
    }
}

/// warp provides an extension only to a filter of its type.
#[tokio::test]
async fn an_extension_of_middleware_is_passed_on_by_a_warp_filter() {
    let report = async |conn: Conn| {
        let request = conn.request().unwrap();
        let extension = request.extension::<u8>().unwrap();
        conn.write(format!("{extension}, {}", request.peer_addr.unwrap())).await
    };
    let route = warp::ext::get().and(ws_server_warp::ws(options()));
    let route = route.map(move |extension: u8, ws: Ws| ws.extension(extension).on_upgrade(report));
    let service = warp::service(route).map_request(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(7_u8);
        // Like the address in the header of a reverse proxy.
        request.extensions_mut().insert(PeerAddr(([192, 0, 2, 7], 4711).into()));
        request
    });
    let client = ws_server_warp::test_client(service);
    for client in [client.clone(), client.http2()] {
        let conn = client.websocket("/").connect().await.unwrap();
        assert_eq!(conn.read().await.unwrap().as_text(), Some("7, 192.0.2.7:4711"));
    }
}
