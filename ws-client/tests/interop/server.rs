//! Does this server work with the client of a peer?

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode as HttpStatus};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::Service as _;
use warp::Filter as _;
use warp::path::FullPath;
use ws_client::{
    CloseInfo, Compression, Config, Conn, ConnStats, Error, Limits, Message, StatusCode,
};
use ws_core::AcceptOptions;
use ws_core::Acceptor;
use ws_server_axum::WebSocketLayer;
use ws_server_warp::ServeFilter;

use crate::rows::{Close, LONGEST, Rows};
use crate::tls::Over;

/// The adapter that does the opening handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Adapter {
    Tcp,
    Hyper,
    Axum,
    Warp,
}

/// A server that acts by the path of the request, and reports each connection.
pub(crate) struct Server {
    pub(crate) address: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// The report of a connection.
#[derive(Debug)]
pub(crate) enum Seen {
    Ended(Box<Ended>),
    Refused(HttpStatus),
}

#[derive(Debug)]
pub(crate) struct Ended {
    path: String,
    subprotocol: Option<String>,
    is_compressed: bool,
    pub(crate) request: Known,
    stats: ConnStats,
    ending: CloseInfo,
}

/// The request of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Over HTTP/2, the protocol of the extended CONNECT.
    pub(crate) protocol: Option<String>,
    /// The cookie of the page.
    pub(crate) cookie: Option<String>,
    /// The number of its TCP connection.
    pub(crate) peer: Option<SocketAddr>,
}

impl Server {
    /// Starts a server in the background of the runtime.
    pub(crate) async fn start(adapter: Adapter, compression: Compression) -> Result<Self> {
        Self::start_over(Over::Tcp, adapter, compression).await
    }

    /// As [`start`](Self::start), over another transport than TCP.
    pub(crate) async fn start_over(
        over: Over,
        adapter: Adapter,
        compression: Compression,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let limits = Limits::new().message_size(LONGEST);
        let options = AcceptOptions::new()
            .config(Config::new().compression(compression).limits(limits))
            .subprotocols(["other", "echo"]);
        let (tell, seen) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { options, tell });
        tokio::spawn(async move {
            match adapter {
                // Stops with the runtime.
                _ if over != Over::Tcp => {
                    let _ = shared.serve_tls(over, adapter, listener).await;
                }
                Adapter::Axum => shared.serve_by_axum(listener).await,
                Adapter::Warp => shared.serve_by_warp(listener).await,
                Adapter::Tcp | Adapter::Hyper => {
                    while let Ok((stream, _)) = listener.accept().await {
                        let shared = Arc::clone(&shared);
                        tokio::spawn(async move {
                            match adapter {
                                Adapter::Tcp => shared.welcome(stream).await,
                                _ => shared.welcome_by_hyper(stream).await,
                            }
                        });
                    }
                }
            }
        });
        Ok(Self { address, seen })
    }

    /// The next connection that was refused or has ended.
    pub(crate) async fn seen(&mut self) -> Result<Seen> {
        self.seen.recv().await.context("the server has gone")
    }

    /// Checks that the client closed the next connection with this code. Returns its request.
    pub(crate) async fn check_end(&mut self, code: u16) -> Result<Known> {
        let Seen::Ended(ended) = self.seen().await? else { return Err(anyhow!("refused")) };
        let received = ended.ending.received.as_ref().map(|close| close.code.as_u16());
        let is_good = ended.ending.is_clean() && received == Some(code);
        ensure!(is_good, "it should have ended with {code}, and did so by {:?}", ended.ending);
        Ok(ended.request)
    }

    /// Checks the connections of a client that has run all rows. Returns their requests.
    pub(crate) async fn check(&mut self, rows: &Rows, is_compressed: bool) -> Result<Vec<Known>> {
        let mut known = Vec::new();
        let mut expected: Vec<_> = rows.closes.iter().chain(&rows.closed).cloned().collect();
        for path in PATHS {
            expected.push(Close { path: path.to_owned(), code: 1000, reason: String::new() });
        }
        while !expected.is_empty() {
            let ended = match self.seen().await? {
                Seen::Ended(ended) => ended,
                Seen::Refused(why) => return Err(anyhow!("refused: {why}")),
            };
            let Ended { path, ending, .. } = &*ended;
            let row = expected.iter().position(|row| row.path == *path);
            let row = expected.swap_remove(row.with_context(|| format!("{path} was not due"))?);
            let code = ending.received.as_ref().map(|close| close.code.as_u16());
            ensure!(
                ending.is_clean() && code == Some(row.code),
                "{path} should have ended with {}, and did so by {ending:?}",
                row.code,
            );
            let begun_by_us = rows.closed.iter().any(|row| row.path == *path);
            let reason = ending.received.as_ref().map(|close| close.reason.as_str());
            ensure!(
                begun_by_us || reason == Some(&row.reason),
                "{path} should have ended by {:?}, and did so by {reason:?}",
                row.reason,
            );
            ensure!(ended.is_compressed == is_compressed, "{path} compressed: {}", !is_compressed);
            let subprotocol = ended.subprotocol.as_deref();
            ensure!(subprotocol == Some("echo"), "{path} with subprotocol {subprotocol:?}");
            if path == "/echo" {
                rows.check_bytes(ended.stats, is_compressed)?;
            }
            known.push(ended.request);
        }
        Ok(known)
    }
}

/// The path of the rows that are not about closing.
const PATHS: [&str; 3] = ["/echo", "/fragments", "/ping"];

pub(crate) struct Shared {
    options: AcceptOptions,
    tell: mpsc::UnboundedSender<Seen>,
}

impl Shared {
    async fn welcome(&self, stream: TcpStream) {
        match Acceptor::new(&self.options).accept(stream).await {
            Ok(conn) => self.serve(conn).await,
            Err(ws_core::AcceptError::Rejected(rejection)) => {
                self.tell(Seen::Refused(rejection.status()));
            }
            // A connection without a request.
            Err(_) => {}
        }
    }

    async fn welcome_by_hyper(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let shared = Arc::clone(&self);
            async move { hyper::Result::Ok(shared.answer(request)) }
        });
        // The connection reports the loss of the transport.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    }

    async fn serve_by_axum(self: Arc<Self>, listener: TcpListener) {
        // Stops with the runtime.
        let _ = axum::serve(listener, self.axum()).await;
    }

    async fn serve_by_warp(self: Arc<Self>, listener: TcpListener) {
        let _ = ws_server_warp::serve(listener, self.warp()).await;
    }

    pub(crate) fn axum(self: Arc<Self>) -> Router {
        let pages = get(async |uri: Uri| page(uri.path()).map(Body::new));
        let (options, shared) = (self.options.clone(), Arc::clone(&self));
        let sockets = WebSocketLayer::new(options, async move |conn| shared.serve(conn).await);
        let watched = from_fn(move |request: AxumRequest, next: Next| {
            let shared = Arc::clone(&self);
            async move {
                let asks = ws_server_axum::is_upgrade(&request);
                let response = next.run(request).await;
                shared.note(asks, response.status());
                response
            }
        });
        Router::new().fallback(pages).layer(sockets).layer(watched)
    }

    pub(crate) fn warp(self: Arc<Self>) -> impl ServeFilter {
        let (options, shared) = (self.options.clone(), Arc::clone(&self));
        let serve = async move |conn| shared.serve(conn).await;
        let pages = warp::path::full().map(|path: FullPath| page(path.as_str()).map(|_| PAGE));
        let service = warp::service(ws_server_warp::websocket(options, serve).or(pages));
        tower::service_fn(move |request: Request<Incoming>| {
            let (shared, mut service) = (Arc::clone(&self), service.clone());
            async move {
                let asks = ws_server_warp::is_upgrade(&request);
                let response = service.call(request).await?;
                shared.note(asks, response.status());
                Ok(response)
            }
        })
    }

    /// Reports the response to a WebSocket request, if it is a refusal.
    fn note(&self, asks: bool, status: HttpStatus) {
        if asks && (status.is_client_error() || status.is_server_error()) {
            self.tell(Seen::Refused(status));
        }
    }

    pub(crate) fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !ws_server_hyper::is_upgrade(&request) {
            return page(request.uri().path());
        }
        match ws_server_hyper::accept(&mut request, &self.options) {
            Ok((response, upgrade)) => {
                tokio::spawn(async move {
                    if let Ok(conn) = upgrade.await {
                        self.serve(conn).await;
                    }
                });
                response
            }
            Err(rejection) => {
                self.tell(Seen::Refused(rejection.status()));
                rejection.into_response().map(Full::from)
            }
        }
    }

    async fn serve(&self, conn: Conn) {
        // The close information has more details than the error.
        let _ = converse(&conn).await;
        let ending = conn.closed().await;
        let request = conn.request().unwrap_or_default();
        let known = Known {
            protocol: request.extension::<Protocol>().map(|it| it.as_str().to_owned()),
            cookie: request.cookie("page").map(str::to_owned),
            peer: conn.peer_addr(),
        };
        self.tell(Seen::Ended(Box::new(Ended {
            path: request.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            request: known,
            subprotocol: conn.subprotocol().map(str::to_owned),
            is_compressed: conn.is_compressed(),
            stats: conn.stats(),
            ending,
        })));
    }

    fn tell(&self, seen: Seen) {
        // The receiver of a failed test is dropped.
        let _ = self.tell.send(seen);
    }
}

/// Acts by the path, and then echoes until the end.
async fn converse(conn: &Conn) -> Result<()> {
    let request = conn.request().context("no request")?;
    match request.uri.path() {
        "/close" => {
            let code = request.query("code").context("no code")?.parse()?;
            let code = StatusCode::from_u16(code).context("no such code")?;
            return Ok(conn.close(code, &request.query("reason").unwrap_or_default()).await?);
        }
        "/ping" => {
            conn.ping().await?;
            conn.write("pong").await?;
        }
        "/fragments" => loop {
            let message = conn.read().await?;
            write_fragments(conn, &message).await?;
        },
        _ => {}
    }
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Sends a message in at least three fragments, cut without regard to characters.
pub(crate) async fn write_fragments(conn: &Conn, message: &Message) -> Result<(), Error> {
    let mut writer = conn.writer(message.kind()).await?;
    let payload = message.to_bytes();
    let third = payload.len() / 3;
    for piece in
        [payload.slice(..third), payload.slice(third..2 * third), payload.slice(2 * third..)]
    {
        // The error of the connection has more details than that of the writer.
        if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
            break;
        }
    }
    writer.finish().await
}

const PAGE: &str = include_str!("../peers/page.html");

/// The page that runs the rows in a browser.
fn page(path: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(PAGE));
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert("set-cookie", http::HeaderValue::from_static("page=ours; HttpOnly"));
    if path != "/" {
        *response.status_mut() = http::StatusCode::NOT_FOUND;
    }
    response
}
