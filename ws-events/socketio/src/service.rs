//! How is an HTTP request of a Socket.IO client served?
//!
//! Longer than 400 lines because the settings and the requests that they apply to are read together.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, timeout};
use ws_core::adapter::{report_other_refusal, report_refusal};
use ws_core::handshake::is_upgrade;
use ws_core::{AcceptOptions, Acceptor, Rejection, RequestInfo, StatusCode};
use ws_events::Hub;
use ws_events::engine::{EngineConfig, EngineError, EngineSession, EngineSessions};
use ws_server_hyper::{accept_parts, handshake_request};

use crate::cors;
use crate::query::{EngineQuery, TransportName};
use crate::refusal::Refusal;
use crate::session::{SessionHandler, run, run_polling};

/// A service for the HTTP requests of Socket.IO clients. A clone shares the sessions.
///
/// It implements the `Service` of tower and that of hyper. The path of the request does not matter:
/// the server decides which requests reach it.
///
/// # Refusals
///
/// Each has an HTTP status, and a body such as `{"code":1,"message":"Session ID unknown"}`.
///
/// | status | code | reason |
/// | --- | --- | --- |
/// | 400 | 0 | `transport` is neither `polling` nor `websocket` |
/// | 400 | 1 | there is no session with this `sid` |
/// | 400 | 2 | a handshake is not a GET |
/// | 400 | 3 | a session that uses a WebSocket now, a malformed body, a second GET or POST while one is in progress, a request that does not fit the transport |
/// | 408, 413 | 3 | the body took longer than [`body_timeout`](Self::body_timeout), or exceeds [`EngineConfig::max_payload`] |
/// | 403 | 4 | the origin policy does not allow the page, or the session belongs to another page |
/// | 429, 503 | 4 | a limit of the [options](Self::options), or [`EngineConfig::max_sessions`]; a handshake while the hub [drains](Hub::drain) |
/// | 400 | 5 | `EIO` is not 4 |
/// | the one of the [`Rejection`](ws_core::Rejection) | 3 | the opening handshake of a WebSocket is not valid |
///
/// A POST whose body is refused ends its session, since its messages are lost: also one that has changed
/// to a WebSocket meanwhile. So does a second GET or POST while one is in progress. Other requests that are
/// refused end no session.
///
/// Refused handshakes, and requests for a session that is unknown or of another page, are logged and
/// counted as by the adapters. Handshakes that are refused count for
/// [`ConnectionLimits::handshakes_per_second`](ws_core::handler::ConnectionLimits::handshakes_per_second).
#[derive(Clone)]
#[must_use]
pub struct SocketIo(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    handler: SessionHandler,
    /// Refuses handshakes while it drains.
    hub: Option<Hub>,
    sessions: EngineSessions,
    options: AcceptOptions,
    /// For a WebSocket of a session that has been admitted.
    upgrade_options: AcceptOptions,
    cookie: Option<Arc<str>>,
    with_credentials: bool,
    body_timeout: Duration,
}

impl Settings {
    /// Sets the options, with the bound of the sessions on a message. So the connections share one
    /// configuration, and a session does not need a copy with its own bound.
    fn set_options(&mut self, options: AcceptOptions) {
        let config = (*options.shared_config()).clone();
        let limits = config.limits_setting().message_size(self.sessions.config().payload_limit());
        self.options = options.config(config.limits(limits));
        self.upgrade_options = self.options.clone().no_limits();
    }
}

impl SocketIo {
    /// A service of the Socket.IO clients of a hub and of its [namespaces](Hub::of).
    pub fn new(hub: &Hub) -> Self {
        hub.accept_socketio();
        let served = hub.clone();
        let service = Self::engine(move |session| served.serve_engine(session));
        let hub = hub.clone();
        service.change(|settings| settings.hub = Some(hub))
    }

    /// A service of Engine.IO without Socket.IO: `handler` runs for each session, which is closed
    /// when it returns. Messages that it has not received are dropped then.
    pub fn engine<F, Fut>(handler: F) -> Self
    where
        F: Fn(EngineSession) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let settings = Settings {
            handler: Arc::new(move |session| Box::pin(handler(session))),
            hub: None,
            sessions: EngineSessions::new(EngineConfig::new()),
            options: AcceptOptions::new(),
            upgrade_options: AcceptOptions::new(),
            cookie: None,
            with_credentials: false,
            body_timeout: Duration::from_secs(30),
        };
        Self(Arc::new(settings)).options(AcceptOptions::new())
    }

    /// The settings of the handshake: the origin policy, limits, trusted proxies. They apply to
    /// polling and to WebSockets. Pages that the policy allows may poll from another origin (CORS).
    /// The session sends pings, so the keepalive of its WebSocket is off. Default:
    /// [`AcceptOptions::new`].
    pub fn options(self, options: AcceptOptions) -> Self {
        let config = (*options.shared_config()).clone().no_keepalive();
        self.change(|settings| settings.set_options(options.config(config)))
    }

    /// The settings of the sessions. Default: [`EngineConfig::new`]. Sessions that were opened
    /// before this call are then unknown to the service.
    pub fn config(self, config: EngineConfig) -> Self {
        self.change(|settings| {
            settings.sessions = EngineSessions::new(config);
            settings.set_options(settings.options.clone());
        })
    }

    /// Sets a cookie with the id of the session in the response to a handshake of polling, for
    /// load balancers that send all requests of a session to one server. Default: none.
    ///
    /// It has `Path=/; HttpOnly; SameSite=Lax`. A name that is not a token is ignored.
    pub fn cookie(self, name: &str) -> Self {
        let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        self.change(|settings| settings.cookie = is_token.then(|| name.into()))
    }

    /// Lets pages of other origins send their cookies (`withCredentials`). The origin policy has to
    /// name these pages: with [`Origin::any`](ws_core::Origin::any), every page can act for its user.
    /// So it can with the pattern `null`, which is the origin of every sandboxed frame. Default: they may
    /// not.
    pub fn credentials(self) -> Self {
        self.change(|settings| settings.with_credentials = true)
    }

    /// The time for the body of a POST to arrive. Default: 30 s.
    pub fn body_timeout(self, timeout: Duration) -> Self {
        self.change(|settings| settings.body_timeout = timeout)
    }

    /// The number of sessions that poll.
    pub fn polling_sessions(&self) -> usize {
        self.0.sessions.polling()
    }

    /// Serves a request. The response to a GET comes when there is a message for the client.
    ///
    /// The body of the response is complete, and has the type of the framework.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future of a GET or a POST ends the session, because the client has left: see
    /// [`EngineSession::get`] and [`EnginePost`](ws_events::engine::EnginePost).
    pub async fn serve<B, R: From<Bytes>>(&self, request: Request<B>) -> Response<R>
    where
        B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        self.respond(request).await.map(R::from)
    }

    async fn respond<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let received_at = Instant::now();
        let (mut parts, body) = request.into_parts();
        if is_upgrade(handshake_request(&parts)) {
            let opened = self.open_websocket(&mut parts, received_at);
            return opened.unwrap_or_else(|refusal| self.refuse(&parts, refusal));
        }
        let acceptor = Acceptor::new(&self.0.options);
        let peer_addr = match acceptor.check_http(handshake_request(&parts)) {
            Ok(peer_addr) => peer_addr,
            Err(mut rejection) => {
                if is_handshake(&parts) {
                    rejection = acceptor.refuse(handshake_request(&parts), rejection);
                }
                report_refusal(&acceptor, handshake_request(&parts), &rejection);
                return Refusal::from(rejection).into_response();
            }
        };
        let page = parts.headers.get(ORIGIN).cloned();
        let served = match parts.method {
            Method::OPTIONS => Ok(cors::preflight(&parts.headers)),
            _ => self.poll(&acceptor, &parts, peer_addr, body).await,
        };
        let mut response = served.unwrap_or_else(|refusal| self.refuse(&parts, refusal));
        cors::allow_page(page.as_ref(), self.0.with_credentials, response.headers_mut());
        response
    }

    /// Serves a request of HTTP long-polling.
    async fn poll<B>(
        &self,
        acceptor: &Acceptor,
        parts: &Parts,
        peer_addr: Option<SocketAddr>,
        body: B,
    ) -> Result<Response<Bytes>, Refusal>
    where
        B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let query = EngineQuery::parse(parts.uri.query().unwrap_or_default())?;
        let Some(sid) = query.sid else {
            return match (&parts.method, query.transport) {
                (&Method::GET, TransportName::Polling) => {
                    self.open_polling(acceptor, parts, peer_addr)
                }
                (&Method::GET, TransportName::WebSocket) => Err(Refusal::TransportMismatch),
                _ => Err(Refusal::HandshakeMethod),
            };
        };
        let session = self.find(&sid, parts)?;
        match (&parts.method, query.transport) {
            (_, TransportName::WebSocket) => Err(Refusal::TransportMismatch),
            (&Method::GET, TransportName::Polling) => Ok(text(session.get().await?)),
            (&Method::POST, TransportName::Polling) => {
                let post = session.begin_post()?;
                let body = self.read_body(parts, body).await?;
                post.finish(body).await?;
                Ok(text(Bytes::from_static(b"ok")))
            }
            _ => Err(Refusal::Method),
        }
    }

    /// Opens a session that polls.
    fn open_polling(
        &self,
        acceptor: &Acceptor,
        parts: &Parts,
        peer_addr: Option<SocketAddr>,
    ) -> Result<Response<Bytes>, Refusal> {
        self.check_draining(acceptor, parts)?;
        let guard = acceptor.admit_request(handshake_request(parts)).inspect_err(|rejection| {
            report_refusal(acceptor, handshake_request(parts), rejection);
        })?;
        let secure = acceptor.is_secure(handshake_request(parts));
        let mut request = RequestInfo::new(parts.clone());
        (request.peer_addr, request.secure) = (peer_addr, secure);
        let sessions = self.0.sessions.clone();
        let (session, open) = sessions.open_polling(Some(request))?;
        let mut response = text(open.into());
        let cookie = self.0.cookie.as_ref().and_then(|name| {
            let sid = session.id();
            HeaderValue::try_from(format!("{name}={sid}; Path=/; HttpOnly; SameSite=Lax")).ok()
        });
        if let Some(cookie) = cookie {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        let handler = Arc::clone(&self.0.handler);
        tokio::spawn(run_polling(session, handler, sessions, guard));
        Ok(response)
    }

    /// Opens a session with a WebSocket, or begins the upgrade of one that polls.
    fn open_websocket(
        &self,
        parts: &mut Parts,
        received_at: Instant,
    ) -> Result<Response<Bytes>, Refusal> {
        let query = EngineQuery::parse(parts.uri.query().unwrap_or_default())?;
        if query.transport != TransportName::WebSocket {
            return Err(Refusal::TransportMismatch);
        }
        let sessions = self.0.sessions.clone();
        let Some(sid) = query.sid else {
            self.check_draining(&Acceptor::new(&self.0.options), parts)?;
            let (response, upgrade) = accept_parts(parts, &self.0.options, received_at)?;
            let handler = Arc::clone(&self.0.handler);
            tokio::spawn(upgrade.serve(move |conn| run(sessions.open_websocket(conn), handler)));
            return Ok(response);
        };
        let session = self.find(&sid, parts)?;
        let (response, upgrade) = accept_parts(parts, &self.0.upgrade_options, received_at)?;
        let begun = session.begin_upgrade();
        tokio::spawn(async move {
            let Ok(conn) = upgrade.await else { return };
            let Some(begun) = begun else {
                let _ = conn.close(StatusCode::POLICY_VIOLATION, "").await;
                return;
            };
            if begun.complete(conn).await {
                sessions.upgraded(&session);
            }
        });
        Ok(response)
    }

    /// Refuses a handshake while the hub drains. Requests of its sessions are served.
    fn check_draining(&self, acceptor: &Acceptor, parts: &Parts) -> Result<(), Refusal> {
        if !self.0.hub.as_ref().is_some_and(Hub::is_draining) {
            return Ok(());
        }
        let rejection = Rejection::ShuttingDown;
        report_refusal(acceptor, handshake_request(parts), &rejection);
        Err(rejection.into())
    }

    /// Counts and logs a refusal, unless that is done where it is decided.
    fn refuse(&self, parts: &Parts, mut refusal: Refusal) -> Response<Bytes> {
        let acceptor = Acceptor::new(&self.0.options);
        let request = handshake_request(parts);
        if let Refusal::Handshake(rejection) = &refusal
            && rejection.falls_through()
        {
            // `accept_parts` leaves it to others, and there are none.
            report_refusal(&acceptor, request, rejection);
        }
        if let Some(kind) = refusal.kind() {
            let is_counted = matches!(refusal, Refusal::Session(_));
            let counted = match is_handshake(parts) && !is_counted {
                true => acceptor.count_refused(request),
                false => Ok(()),
            };
            match counted {
                Ok(()) => report_other_refusal(&acceptor, request, kind, &refusal.message()),
                Err(rejection) => {
                    report_refusal(&acceptor, request, &rejection);
                    refusal = rejection.into();
                }
            }
        }
        refusal.into_response()
    }

    /// Finds a session that has begun with polling, for a page of the origin that has opened it.
    ///
    /// A page of the server's own origin sends no `Origin` with some requests.
    fn find(&self, sid: &str, parts: &Parts) -> Result<EngineSession, Refusal> {
        let session = self.0.sessions.find(sid).ok_or(EngineError::UnknownSession)?;
        let opened_by = session.request();
        let opened_by = opened_by.as_ref().and_then(|request| request.headers.get(ORIGIN));
        match (opened_by, parts.headers.get(ORIGIN)) {
            (Some(page), Some(other)) if page != other => Err(Refusal::OtherOrigin),
            _ => Ok(session),
        }
    }

    /// Reads the body of a POST within its limits.
    async fn read_body<B>(&self, parts: &Parts, body: B) -> Result<Bytes, Refusal>
    where
        B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let limit = self.0.sessions.config().payload_limit();
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length
            .and_then(|length| length.parse().ok())
            .is_some_and(|bytes: u64| bytes > limit as u64)
        {
            return Err(Refusal::BodyTooLarge);
        }
        let reading = async {
            let (mut body, mut bytes) = (pin!(body), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Refusal::BodyLost)?;
                let Ok(data) = frame.into_data() else { continue };
                if data.remaining() > limit - bytes.len() {
                    return Err(Refusal::BodyTooLarge);
                }
                // Copied: a chunk of one byte may keep a whole buffer of the HTTP server.
                bytes.put(data);
            }
            // Without the room for more, which may be as much again.
            Ok(Bytes::from(bytes.into_boxed_slice()))
        };
        timeout(self.0.body_timeout, reading).await.unwrap_or(Err(Refusal::BodyTimeout))
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// Whether a request opens a session, unless it is refused.
fn is_handshake(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    parts.method != Method::OPTIONS && !names.any(|name| name == "sid")
}

/// A response with text that must not be cached, or taken for another type.
fn text(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The future of a response.
type Responding = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

impl<B> tower_service::Service<Request<B>> for SocketIo
where
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

impl<B> hyper::service::Service<Request<B>> for SocketIo
where
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

impl fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIo").field("sessions", &self.0.sessions).finish_non_exhaustive()
    }
}
