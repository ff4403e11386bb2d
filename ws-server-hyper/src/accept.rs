//! How does a request become an answer and a connection to come?

use http::request::Parts;
use http::{Request, Response, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use ws_core::handshake::{self, HandshakeRequest};
use ws_core::{AcceptOptions, Rejection, RequestInfo};

use crate::Upgrade;

/// Answers a request that asks for a WebSocket, over HTTP/1.1 or HTTP/2.
///
/// The response has to be returned from the service, and the [`Upgrade`] served or awaited
/// in another task: hyper hands the transport over after it has sent the response. The
/// body of the response is empty, whatever its type.
///
/// The request gives up its `OnUpgrade` extension; the rest of it can still be used,
/// and is kept as [`Conn::request`](ws_core::Conn::request).
///
/// # Errors
///
/// When the request is refused. [`Rejection::into_response`] is the answer to it.
pub fn accept<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let arrived = Instant::now();
    let accepted = options.answer(opening(&*request))?;
    let kept = options.keeps_request().then(|| {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        parts.extensions = request.extensions().clone();
        parts
    });
    let version = request.version();
    begin(request.extensions_mut(), version, arrived, accepted, options, kept)
}

/// As [`accept`], of the head of a request alone, which came some time ago: the
/// [deadline](AcceptOptions::handshake_timeout) counts from then. For adapters.
///
/// # Errors
///
/// As `accept`, and [`Rejection::Timeout`] when the deadline is over.
pub fn accept_parts<R: Default>(
    parts: &mut Parts,
    options: &AcceptOptions,
    arrived: Instant,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let accepted = options.answer(opening(&*parts))?;
    let kept = options.keeps_request().then(|| parts.clone());
    begin(&mut parts.extensions, parts.version, arrived, accepted, options, kept)
}

/// As [`accept`], and `None` for a request that is none of ours, because it asks for no
/// WebSocket, or the [filter](AcceptOptions::filter) leaves it to others.
///
/// # Errors
///
/// When the request is a bad opening handshake.
pub fn try_accept<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<Option<(Response<R>, Upgrade)>, Rejection> {
    match accept(request, options) {
        Ok(accepted) => Ok(Some(accepted)),
        Err(rejection) if rejection.falls_through() => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

/// Does the request ask for a WebSocket: for an upgrade over HTTP/1.1, for an extended
/// CONNECT over HTTP/2?
///
/// It may still be refused: this only tells it from other requests.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    handshake::is_upgrade(opening(request))
}

/// What the handshake looks at, with the pseudo-header that hyper keeps apart. For
/// adapters.
pub fn opening<'a>(head: impl Into<HandshakeRequest<'a>>) -> HandshakeRequest<'a> {
    let head = head.into();
    head.protocol(head.extensions().get::<Protocol>().map(Protocol::as_str))
}

fn begin<R: Default>(
    extensions: &mut http::Extensions,
    version: Version,
    arrived: Instant,
    accepted: handshake::Accepted,
    options: &AcceptOptions,
    kept: Option<Parts>,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let deadline = options.timeout().and_then(|patience| arrived.checked_add(patience));
    if deadline.is_some_and(|deadline| deadline < Instant::now()) {
        return Err(Rejection::Timeout);
    }
    let on_upgrade = extensions.remove::<OnUpgrade>().ok_or(Rejection::NotUpgradable)?;
    let request = kept.map(|mut kept| {
        // It would hold on to the transport.
        kept.extensions.remove::<OnUpgrade>();
        RequestInfo::new(kept)
    });
    let admitted = options.admit()?;
    let (agreed, config) = (accepted.negotiated, options.shared_config());
    let upgrade = Upgrade::new(on_upgrade, version, deadline, agreed, admitted, config, request);
    let mut response = accepted.response.map(|()| R::default());
    // hyper answers in the version of the request.
    *response.version_mut() = Version::default();
    Ok((response, upgrade))
}
