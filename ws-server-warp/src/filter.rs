//! How does a warp filter extract a WebSocket request and upgrade it?

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, Uri, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use warp::{Filter, Reply as _, ext, reject};
use ws_core::adapter::report_refusal;
use ws_core::handler::HandlerOutput;
use ws_core::handshake::Encrypted;
use ws_core::{AcceptOptions, Acceptor, Conn, Error, PeerAddr, Rejection};
use ws_server_hyper::{Upgrade, accept_parts, handshake_request};

use crate::HandshakeRejected;
use crate::server::OriginalHead;

/// Filter that extracts a WebSocket request with a valid opening handshake, over HTTP/1.1 or
/// HTTP/2. It rejects other requests with [`HandshakeRejected`].
///
/// ```
/// use warp::Filter as _;
/// use ws_server_warp::{AcceptOptions, Ws, ws};
///
/// let route = warp::path!("room" / u32)
///     .and(warp::header::<String>("authorization"))
///     .and(ws(AcceptOptions::new()))
///     .map(|room: u32, _key: String, ws: Ws| {
///         ws.on_upgrade(async move |conn| conn.write(format!("This is {room}.")).await)
///     });
/// # let _ = route;
/// ```
#[doc(alias = "upgrade")]
pub fn ws(
    options: AcceptOptions,
) -> impl Filter<Extract = (Ws,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let host = warp::host::optional().or(warp::any().map(|| None)).unify();
    let head = warp::method().and(full_path()).and(query).map(origin_form_parts);
    let head = head.and(host).and(warp::header::headers_cloned()).and(warp::addr::remote());
    let head = head.and(ext::optional()).and(ext::optional()).and(ext::optional());
    let head = head.and(ext::optional()).and(ext::optional());
    head.and_then(
        move |mut parts: Parts, host, headers, addr, peer, tls, on_upgrade, protocol, original| {
            parts.headers = headers;
            restore_head(&mut parts, host, protocol, original);
            insert_conn_info(&mut parts, addr, peer, tls, on_upgrade);
            let accepted = accept_parts(&mut parts, &options, Instant::now());
            ready(match accepted {
                Ok((response, upgrade)) => {
                    let (request, options) = (Box::new(parts), options.clone());
                    Ok(Ws { response, upgrade, request, options })
                }
                Err(rejection) => {
                    let acceptor = Acceptor::new(&options);
                    let reason = acceptor.explain(handshake_request(&parts), rejection.clone());
                    Err(reject::custom(HandshakeRejected::explained(rejection, reason)))
                }
            })
        },
    )
}

/// A route for WebSockets. The handler runs once for each connection.
///
/// The reply to an invalid opening handshake has the status of its [`Rejection`]. The filter
/// rejects a request that does not ask for a WebSocket, or that [`AcceptOptions::filter`] does not
/// accept. Then `or` can try the next filter. If no other filter serves the request, the reply of
/// [`recover`](crate::recover) to an ordinary GET is the reason for which a handshake would be
/// refused now, such as 429, or else 426. So a page can ask why its handshake fails.
#[doc(alias = "on_upgrade")]
pub fn websocket<H, Fut>(
    options: AcceptOptions,
    handler: H,
) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection>
+ Clone
+ Send
+ Sync
+ 'static
where
    H: FnOnce(Conn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: HandlerOutput> + Send + 'static,
{
    ws(options).map(move |ws: Ws| ws.on_upgrade(handler.clone())).or_else(
        |rejection: warp::Rejection| {
            ready(match rejection.find::<HandshakeRejected>() {
                Some(rejected) if !rejected.0.falls_through() => {
                    Ok((rejected.clone().into_response(),))
                }
                _ => Err(rejection),
            })
        },
    )
}

/// A valid opening handshake that has no reply yet. Extracted by [`ws`].
#[must_use = "the reply is created by `on_upgrade`"]
pub struct Ws {
    response: Response<()>,
    upgrade: Upgrade,
    /// For the log of a late reply.
    request: Box<Parts>,
    options: AcceptOptions,
}

impl Ws {
    /// Adds a path parameter to [`Conn::request`], because parameters of warp have no names.
    /// Without effect if [`AcceptOptions::keep_request`] is off.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(request) = self.upgrade.request_mut() {
            request.params.push((name.into(), value.into()));
        }
        self
    }

    /// Adds an extension to [`Conn::request`]. Without effect if
    /// [`AcceptOptions::keep_request`] is off.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        if let Some(request) = self.upgrade.request_mut() {
            request.extensions.insert(value);
        }
        self
    }

    /// The negotiated subprotocol.
    pub fn protocol(&self) -> Option<&str> {
        self.upgrade.negotiated().subprotocol.as_deref()
    }

    /// Accepts the request, and returns the reply.
    ///
    /// The handler runs in a spawned task after the reply was sent. The connection closes when the
    /// handler ends: with 1000, or with 1011 after an error or panic. Return the reply within
    /// [`AcceptOptions::handshake_timeout`] after the filter has run. A later reply is 408.
    pub fn on_upgrade<H, Fut>(self, handler: H) -> warp::reply::Response
    where
        H: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
    {
        self.on_upgrade_or(handler, drop)
    }

    /// Like [`on_upgrade`](Self::on_upgrade), with a callback for a failed upgrade: the client
    /// disconnected before the reply was sent, or the handshake timeout passed.
    pub fn on_upgrade_or<H, Fut>(
        self,
        handler: H,
        on_failed: impl FnOnce(Error) + Send + 'static,
    ) -> warp::reply::Response
    where
        H: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
    {
        let Self { response, upgrade, request, options } = self;
        if !upgrade.is_expired() {
            tokio::spawn(upgrade.serve_or(handler, on_failed));
            return response.map(|()| Default::default());
        }
        let (acceptor, late) = (Acceptor::new(&options), Rejection::Timeout);
        report_refusal(&acceptor, handshake_request(&*request), &late);
        let error = io::Error::new(io::ErrorKind::TimedOut, late.to_string());
        tokio::spawn(async { on_failed(Error::Io(Arc::new(error))) });
        HandshakeRejected::from(late).into_response()
    }
}

impl fmt::Debug for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ws").field("negotiated", self.upgrade.negotiated()).finish_non_exhaustive()
    }
}

/// Filter that extracts the path of a request, or an empty text if its target has no path:
/// `warp::path::full` panics on such a target. Both closures run in one poll.
fn full_path()
-> impl Filter<Extract = (String,), Error = Infallible> + Clone + Send + Sync + 'static {
    thread_local! {
        static PATH: Cell<String> = const { Cell::new(String::new()) };
    }
    let log = warp::log::custom(|info| PATH.set(info.path().to_owned()));
    warp::any().map(warp::reply).with(log).map(|_| PATH.take())
}

/// A request head with a target in origin form (RFC 9112 §3.2.1), as over HTTP/1.1.
fn origin_form_parts(method: Method, path: String, query: String) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    let separator = if query.is_empty() { "" } else { "?" };
    parts.method = method;
    // An empty path is none that opens a WebSocket.
    let uri = format!("{path}{separator}{query}").parse();
    parts.uri = uri.unwrap_or_else(|_| Uri::from_static("*"));
    parts
}

/// Restores what warp has no filters for, from the extension that the servers of this crate add, or
/// from the pseudo-headers of HTTP/2.
fn restore_head(
    parts: &mut Parts,
    host: Option<Authority>,
    protocol: Option<Protocol>,
    original: Option<OriginalHead>,
) {
    if let Some(original) = original {
        (parts.version, parts.uri) = (original.version, original.uri);
        parts.extensions = original.extensions;
    } else if protocol.is_some() {
        parts.version = Version::HTTP_2;
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTP), host);
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }
    if let Some(protocol) = protocol {
        parts.extensions.insert(protocol);
    }
}

/// Inserts hyper's upgrade, what middleware knows of the transport, and the client's address: from
/// middleware, else from the server of this crate, else from warp's server.
fn insert_conn_info(
    parts: &mut Parts,
    addr: Option<SocketAddr>,
    peer: Option<PeerAddr>,
    tls: Option<Encrypted>,
    on_upgrade: Option<OnUpgrade>,
) {
    if let Some(peer) = peer {
        parts.extensions.insert(peer);
    } else if let Some(addr) = addr {
        parts.extensions.get_or_insert_with(|| PeerAddr(addr));
    }
    if let Some(encrypted) = tls {
        parts.extensions.insert(encrypted);
    }
    if let Some(on_upgrade) = on_upgrade {
        parts.extensions.insert(on_upgrade);
    }
}
