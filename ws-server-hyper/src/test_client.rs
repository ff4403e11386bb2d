//! How do tests connect to a service in memory?

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper::service::Service;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Mutex;
use ws_core::handshake::HandshakeError;
use ws_core::handshake::Offer;
use ws_core::{Compression, Config, Conn, Role};

/// The buffer of each direction of an in-memory connection, in bytes.
const PIPE_CAPACITY: usize = 64 * 1024;

/// An in-memory client for tests of a service: sends HTTP requests and opens WebSockets.
///
/// Each HTTP/1.1 request has its own connection; HTTP/2 requests share one. The service runs
/// under [`http_builder`](crate::http_builder) in spawned tasks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http_body_util::Full;
/// use hyper::Response;
/// use hyper::body::Bytes;
/// use hyper::service::service_fn;
/// use ws_server_hyper::{AcceptOptions, TestClient};
///
/// let service = service_fn(async |mut request| {
///     let response: Response<Full<Bytes>> = match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
///         Ok((response, upgrade)) => {
///             tokio::spawn(upgrade.serve(async |conn| conn.write("hello").await));
///             response
///         }
///         Err(rejection) => rejection.into_response().map(Full::from),
///     };
///     Ok(response)
/// });
/// for client in [TestClient::new(service), TestClient::new(service).http2()] {
///     let conn = client.websocket("/chat").connect().await?;
///     assert_eq!(conn.read().await?.as_text(), Some("hello"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClient {
    serve: Arc<dyn Fn(DuplexStream) + Send + Sync>,
    /// `Some` for HTTP/2: the shared connection, opened by the first request.
    http2: Option<Arc<Mutex<Option<Http2Sender>>>>,
}

type Http2Sender = http2::SendRequest<Full<Bytes>>;

impl TestClient {
    /// A client that sends HTTP/1.1 requests to this service.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
        B::Data: Send,
    {
        let serve = Arc::new(move |io| {
            let service = service.clone();
            // The client sees the error as a closed connection.
            tokio::spawn(async move {
                let builder = crate::http_builder();
                let served = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
                drop(served.await);
            });
        });
        Self { serve, http2: None }
    }

    /// Switches to HTTP/2, with one connection for the client and its clones.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = Some(Arc::default());
        self
    }

    /// A request for a WebSocket at a path, which may have a query.
    pub fn websocket(&self, path: &str) -> TestRequest<'_> {
        TestRequest {
            client: self,
            request: Request::get(path),
            subprotocols: Vec::new(),
            config: Config::new(),
            compression: None,
        }
    }

    /// Sends a request unchanged, and reads the whole response. A response that switches
    /// protocols has an empty body here.
    ///
    /// Over HTTP/2 the URI needs scheme and host. CONNECT with a [`Protocol`] among the
    /// extensions is an extended CONNECT (RFC 8441 §4).
    ///
    /// # Errors
    ///
    /// If the service closes the connection or sends invalid HTTP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the request.
    pub async fn send(&self, request: Request<Bytes>) -> hyper::Result<Response<Bytes>> {
        let connects = request.method() == Method::CONNECT;
        let response = self.send_request(request).await?;
        let is_tunnel = connects && response.status().is_success();
        if is_tunnel || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|_| Bytes::new()));
        }
        collect_body(response).await
    }

    async fn send_request(&self, request: Request<Bytes>) -> hyper::Result<Response<Incoming>> {
        let request = request.map(Full::new);
        let Some(http2) = &self.http2 else {
            let (mut sender, conn) = http1::handshake(TokioIo::new(self.open())).await?;
            tokio::spawn(conn.with_upgrades());
            return sender.send_request(request).await;
        };
        let mut http2 = http2.lock().await;
        let sender = match &mut *http2 {
            Some(sender) if !sender.is_closed() => sender,
            none_or_closed => none_or_closed.insert(self.open_http2().await?),
        };
        let mut sender = sender.clone();
        drop(http2);
        sender.send_request(request).await
    }

    async fn open_http2(&self) -> hyper::Result<Http2Sender> {
        let io = TokioIo::new(self.open());
        let (sender, conn) = http2::handshake(TokioExecutor::new(), io).await?;
        // The server's first SETTINGS frame enables extended CONNECT. hyper has no future for
        // its arrival; over an in-memory pipe, a few yields are enough.
        while !conn.is_extended_connect_protocol_enabled() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        tokio::spawn(conn);
        Ok(sender)
    }

    fn open(&self) -> DuplexStream {
        let (client_io, server_io) = duplex(PIPE_CAPACITY);
        (self.serve)(server_io);
        client_io
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("http2", &self.http2.is_some()).finish_non_exhaustive()
    }
}

/// Omits the request, which may contain secrets.
impl fmt::Debug for TestRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A builder of a WebSocket request. Returned by [`TestClient::websocket`].
#[must_use = "the request is sent by `connect`"]
pub struct TestRequest<'a> {
    client: &'a TestClient,
    request: http::request::Builder,
    subprotocols: Vec<String>,
    config: Config,
    /// Takes precedence over `config`, in whichever order they are set.
    compression: Option<Compression>,
}

impl TestRequest<'_> {
    /// Adds a header, such as `Cookie` or `Origin`. The host is `localhost`. The names in
    /// `Sec-WebSocket-Protocol` are offered after those of [`subprotocols`](Self::subprotocols).
    pub fn header<K, V>(mut self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.request = self.request.header(name, value);
        self
    }

    /// The subprotocols to offer, in order of preference. Default: none.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// The compression to offer. Default: [`Config::compression`], which is off.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The configuration of the connection. [`compression`](Self::compression) takes precedence
    /// over it. Default: [`Config::new`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Performs the opening handshake (RFC 6455 §4.1, RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// [`TestError::Refused`] with the whole response if the service does not accept, and the
    /// other variants of [`TestError`] if there is no valid response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn connect(self) -> Result<Conn, TestError> {
        let request = self.request.body(Bytes::new());
        let mut request = request.map_err(|error| TestError::Request(Box::new(error)))?;
        // Those of the header are offered like the others, so that the response is verified.
        let mut subprotocols = self.subprotocols;
        for offered in request.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
            let names = offered.to_str().map_err(|error| TestError::Request(Box::new(error)))?;
            subprotocols.extend(names.split(',').map(|name| name.trim().to_owned()));
        }
        request.headers_mut().remove(SEC_WEBSOCKET_PROTOCOL);
        let config = match self.compression {
            Some(compression) => self.config.compression(compression),
            None => self.config,
        };
        let offer = Offer::new(subprotocols, config.compression_setting())
            .map_err(|error| TestError::Request(Box::new(error)))?;
        if self.client.http2.is_some() {
            request.headers_mut().extend(offer.connect_headers());
            let target = format!("http://localhost{}", request.uri());
            let target = target.try_into().map_err(|error| TestError::Request(Box::new(error)))?;
            *request.uri_mut() = target;
            *request.method_mut() = Method::CONNECT;
            *request.version_mut() = Version::HTTP_2;
            request.extensions_mut().insert(Protocol::from_static("websocket"));
        } else {
            request.headers_mut().extend(offer.headers());
            let host = request.headers_mut().entry(HOST);
            host.or_insert(HeaderValue::from_static("localhost"));
        }
        let mut response = self.client.send_request(request).await?;
        let negotiated = match offer.verify(&response) {
            Ok(negotiated) => negotiated,
            Err(HandshakeError::Status(_)) => {
                return Err(TestError::Refused(Box::new(collect_body(response).await?)));
            }
            Err(error) => return Err(error.into()),
        };
        let upgraded: Upgraded = hyper::upgrade::on(&mut response).await?;
        let io = TokioIo::new(upgraded);
        Ok(Conn::from_stream(io, Role::Client, negotiated, Bytes::new(), config))
    }
}

async fn collect_body(response: Response<Incoming>) -> hyper::Result<Response<Bytes>> {
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Why a [`TestClient`] could not open a WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The service did not accept. Contains its response.
    #[error("the service responded with {}", .0.status())]
    Refused(Box<Response<Bytes>>),
    /// The response accepts a WebSocket, but does not match the request.
    #[error("invalid handshake response")]
    Handshake(#[from] HandshakeError),
    /// The service closed the connection, or sent invalid HTTP.
    #[error("no response from the service")]
    Http(#[from] hyper::Error),
    /// A header, the path or a subprotocol is invalid.
    #[error("invalid request")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}
