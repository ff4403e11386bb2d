//! How does a filter of warp turn its request into a connection?

use std::fmt;
use std::future::{Future, ready};
use std::net::SocketAddr;

use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, Uri, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use warp::path::FullPath;
use warp::{Filter, Reply as _, ext, reject};
use ws_core::handler::HandlerOutput;
use ws_core::{AcceptOptions, Conn, Error, PeerAddr, Rejection};
use ws_server_hyper::{Upgrade, accept_parts};

use crate::Refused;
use crate::server::Head;

/// Extracts a request for a WebSocket that is found good, over HTTP/1.1 or HTTP/2; rejects
/// any other with [`Refused`].
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
pub fn ws(
    options: AcceptOptions,
) -> impl Filter<Extract = (Ws,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let host = warp::host::optional().or(warp::any().map(|| None)).unify();
    let head = warp::method().and(warp::path::full()).and(query).map(relative);
    let head = head.and(host).and(warp::header::headers_cloned()).and(warp::addr::remote());
    let head = head.and(ext::optional()).and(ext::optional()).and(ext::optional());
    head.and(ext::optional()).and_then(
        move |mut parts: Parts, host, headers, addr, peer, on_upgrade, protocol, told| {
            parts.headers = headers;
            complete(&mut parts, host, protocol, told);
            attach(&mut parts, addr, peer, on_upgrade);
            let accepted = accept_parts(&mut parts, &options, Instant::now());
            let accepted = accepted.map(|(answer, upgrade)| Ws { answer, upgrade });
            ready(accepted.map_err(|rejection| reject::custom(Refused(rejection))))
        },
    )
}

/// A whole route: runs the handler once for each connection.
///
/// A bad opening handshake is answered with its refusal. A request that is none of ours, as
/// it asks for no WebSocket or [`AcceptOptions::filter`] does not want it, is rejected, so
/// that `or` can take it up.
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
            ready(match rejection.find::<Refused>() {
                Some(refused) if !refused.0.falls_through() => {
                    Ok((refused.clone().into_response(),))
                }
                _ => Err(rejection),
            })
        },
    )
}

/// A good opening handshake, still to be answered. Made by [`ws`].
#[must_use = "the reply is made by `on_upgrade`"]
pub struct Ws {
    answer: Response<()>,
    upgrade: Upgrade,
}

impl Ws {
    /// Gives the request a path parameter, for its handler: filters have no names. Where the
    /// request [is not kept](AcceptOptions::keep_request), there is nothing to give it to.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(request) = self.upgrade.request_mut() {
            request.params.push((name.into(), value.into()));
        }
        self
    }

    /// Attaches a value to the request, for its handler, if the request
    /// [is kept](AcceptOptions::keep_request).
    pub fn local<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        if let Some(request) = self.upgrade.request_mut() {
            request.extensions.insert(value);
        }
        self
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.upgrade.agreed().subprotocol.as_deref()
    }

    /// Makes the reply. The handler runs in a task of its own, once that has been sent, and
    /// the connection is closed when it ends.
    ///
    /// It has to come within [`AcceptOptions::handshake_timeout`] of the filter: a reply that
    /// comes later is 408.
    pub fn on_upgrade<H, Fut>(self, handler: H) -> warp::reply::Response
    where
        H: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
    {
        self.on_upgrade_or(handler, drop)
    }

    /// As [`on_upgrade`](Self::on_upgrade), with what to do when there is no connection
    /// after all: the client is gone before it has read the reply, or the reply comes too
    /// late, or cannot be sent in time.
    pub fn on_upgrade_or<H, Fut>(
        self,
        handler: H,
        failed: impl FnOnce(Error) + Send + 'static,
    ) -> warp::reply::Response
    where
        H: FnOnce(Conn) -> Fut + Send + 'static,
        Fut: Future<Output: HandlerOutput> + Send + 'static,
    {
        let Self { answer, upgrade } = self;
        let late = upgrade.is_late();
        tokio::spawn(async move {
            if let Err(error) = upgrade.serve(handler).await {
                failed(error);
            }
        });
        match late {
            true => Refused(Rejection::Timeout).into_response(),
            false => answer.map(|()| Default::default()),
        }
    }
}

impl fmt::Debug for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ws").field("agreed", self.upgrade.agreed()).finish_non_exhaustive()
    }
}

/// The head of the request again, as it begins over HTTP/1.1.
fn relative(method: Method, path: FullPath, query: String) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    let mark = if query.is_empty() { "" } else { "?" };
    parts.method = method;
    parts.uri = format!("{}{mark}{query}", path.as_str()).parse().unwrap_or_default();
    parts
}

/// What warp does not show: told by our server, or else by the pseudo-headers of HTTP/2.
fn complete(
    parts: &mut Parts,
    host: Option<Authority>,
    protocol: Option<Protocol>,
    told: Option<Head>,
) {
    if let Some(told) = told {
        (parts.version, parts.uri) = (told.version, told.uri);
        parts.extensions = told.extensions;
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

/// Who the client is: as middleware says, as the server does, or as warp does.
fn attach(
    parts: &mut Parts,
    addr: Option<SocketAddr>,
    peer: Option<PeerAddr>,
    on_upgrade: Option<OnUpgrade>,
) {
    if let Some(peer) = peer {
        parts.extensions.insert(peer);
    } else if let Some(addr) = addr {
        parts.extensions.get_or_insert_with(|| PeerAddr(addr));
    }
    if let Some(on_upgrade) = on_upgrade {
        parts.extensions.insert(on_upgrade);
    }
}
