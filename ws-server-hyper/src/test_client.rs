//! How does one test a service without a network?

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};
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

/// How many bytes each direction of a connection in memory holds.
const PIPE: usize = 64 * 1024;

/// A client in memory, for tests: it speaks HTTP to a service, and makes connections.
///
/// Over HTTP/1.1 each request has a connection of its own, over HTTP/2 all share one. The
/// service runs under [`server`](crate::server), in tasks of its own.
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
///     let answer: Response<Full<Bytes>> = match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
///         Ok((response, upgrade)) => {
///             tokio::spawn(upgrade.serve(async |conn| conn.write("hello").await));
///             response
///         }
///         Err(rejection) => rejection.into_response().map(Full::from),
///     };
///     Ok(answer)
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
    /// Where HTTP/2 is spoken, the connection once there is one.
    shared: Option<Arc<Mutex<Option<Sender>>>>,
}

type Sender = http2::SendRequest<Full<Bytes>>;

impl TestClient {
    /// A client that speaks HTTP/1.1 to this service.
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
            // What goes wrong is seen at the other end.
            tokio::spawn(async move {
                let server = crate::server();
                let served = server.serve_connection_with_upgrades(TokioIo::new(io), service);
                drop(served.await);
            });
        });
        Self { serve, shared: None }
    }

    /// The same, over HTTP/2: with one connection for all requests of it and its clones.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.shared = Some(Arc::default());
        self
    }

    /// Asks for a WebSocket at this path, which may have a query.
    pub fn websocket(&self, path: &str) -> TestRequest<'_> {
        TestRequest {
            client: self,
            request: Request::get(path),
            subprotocols: Vec::new(),
            config: Config::new(),
        }
    }

    /// Sends a request as it is, and reads the answer to its end. An answer that begins
    /// something else than a body, such as a WebSocket, is given without one.
    ///
    /// Over HTTP/2 the target has to name the scheme and the host. A [`Protocol`] among the
    /// extensions makes an extended CONNECT of it.
    ///
    /// # Errors
    ///
    /// When the service hangs up, or speaks no HTTP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the request.
    pub async fn send(&self, request: Request<Bytes>) -> hyper::Result<Response<Bytes>> {
        let connects = request.method() == Method::CONNECT;
        let answer = self.ask(request).await?;
        let begins = connects && answer.status().is_success();
        if begins || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer.map(|_| Bytes::new()));
        }
        whole(answer).await
    }

    async fn ask(&self, request: Request<Bytes>) -> hyper::Result<Response<Incoming>> {
        let request = request.map(Full::new);
        let Some(shared) = &self.shared else {
            let (mut sender, conn) = http1::handshake(TokioIo::new(self.dial())).await?;
            tokio::spawn(conn.with_upgrades());
            return sender.send_request(request).await;
        };
        let mut shared = shared.lock().await;
        let sender = match &mut *shared {
            Some(sender) if !sender.is_closed() => sender,
            gone => gone.insert(self.dial_http2().await?),
        };
        let mut sender = sender.clone();
        drop(shared);
        sender.send_request(request).await
    }

    async fn dial_http2(&self) -> hyper::Result<Sender> {
        let io = TokioIo::new(self.dial());
        let (sender, conn) = http2::handshake(TokioExecutor::new(), io).await?;
        // The server says in its first words that it allows extended CONNECT. They come
        // through memory, and nobody else tells that they have.
        while !conn.is_extended_connect_protocol_enabled() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        tokio::spawn(conn);
        Ok(sender)
    }

    fn dial(&self) -> DuplexStream {
        let (here, there) = duplex(PIPE);
        (self.serve)(there);
        here
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("http2", &self.shared.is_some()).finish_non_exhaustive()
    }
}

/// A request for a WebSocket to come. Made by [`TestClient::websocket`].
#[derive(Debug)]
#[must_use = "nothing is sent before `connect`"]
pub struct TestRequest<'a> {
    client: &'a TestClient,
    request: http::request::Builder,
    subprotocols: Vec<String>,
    config: Config,
}

impl TestRequest<'_> {
    /// One more header, such as a cookie or an origin. The host is `localhost`.
    pub fn header<K, V>(mut self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.request = self.request.header(name, value);
        self
    }

    /// The subprotocols to offer, the preferred one first. Default: none.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether to offer compression. Default: no.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.config = self.config.compression(compression);
        self
    }

    /// The settings of the connection, compression included. Default: [`Config::new`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Makes the opening handshake.
    ///
    /// # Errors
    ///
    /// [`TestError::Refused`] with the whole answer, when it is no WebSocket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn connect(self) -> Result<Conn, TestError> {
        let offer = Offer::new(self.subprotocols, self.config.compression_setting())
            .map_err(|error| TestError::Request(Box::new(error)))?;
        let request = self.request.body(Bytes::new());
        let mut request = request.map_err(|error| TestError::Request(Box::new(error)))?;
        if self.client.shared.is_some() {
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
        let mut answer = self.client.ask(request).await?;
        let agreed = match offer.verify(&answer) {
            Ok(agreed) => agreed,
            Err(HandshakeError::Status(_)) => {
                return Err(TestError::Refused(Box::new(whole(answer).await?)));
            }
            Err(error) => return Err(error.into()),
        };
        let upgraded: Upgraded = hyper::upgrade::on(&mut answer).await?;
        let io = TokioIo::new(upgraded);
        Ok(Conn::from_stream(io, Role::Client, agreed, Bytes::new(), self.config))
    }
}

async fn whole(answer: Response<Incoming>) -> hyper::Result<Response<Bytes>> {
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Why a [`TestClient`] has no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The service gave another answer.
    #[error("the service answered {}", .0.status())]
    Refused(Box<Response<Bytes>>),
    /// The answer does not fit the request.
    #[error("the answer is wrong")]
    Handshake(#[from] HandshakeError),
    /// The service hung up, or speaks no HTTP.
    #[error("the service gave no answer")]
    Http(#[from] hyper::Error),
    /// There is no such request.
    #[error("the request cannot be made")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}
