//! How is a request for a WebSocket validated, and answered with a response and an `Upgrade`?

use http::request::Parts;
use http::{Extensions, Request, Response, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use ws_core::Acceptor;
use ws_core::adapter::report_refusal;
use ws_core::handler::ConnectionGuard;
use ws_core::handshake::{self, HandshakeRequest};
use ws_core::{AcceptOptions, PeerAddr, Rejection, RequestInfo};

use crate::upgrade::{PendingRequest, PendingUpgrade, Upgrade};

/// Accepts a WebSocket request over HTTP/1.1 (RFC 6455 §4.2) or HTTP/2 (RFC 8441).
///
/// Return the response from the service, and run the [`Upgrade`] in another task: hyper hands
/// over the transport only after it has sent the response. The body of the response is
/// `R::default()`, which has to be empty.
///
/// The `OnUpgrade` extension is taken from the request. The rest of the request stays usable,
/// and a copy of it becomes [`Conn::request`](ws_core::Conn::request).
///
/// # Errors
///
/// A [`Rejection`] if the opening handshake is invalid or the options refuse it. Send
/// [`Rejection::into_response`] to the client. An ordinary GET is refused for the reason for which a
/// handshake would be: see [`Acceptor::explain`].
#[doc(alias = "websocket")]
#[doc(alias = "handshake")]
pub fn accept<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let accepted = try_accept(request, options).map_err(|rejection| {
        Acceptor::new(options).explain(handshake_request(&*request), rejection)
    });
    report(handshake_request(&*request), options, accepted.as_ref().err());
    accepted
}

/// [`accept`] without a log.
fn try_accept<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let received_at = Instant::now();
    let answer = Answer::new(handshake_request(&*request), options)?;
    let on_upgrade = answer.take(request.extensions_mut(), received_at)?;
    let kept = options.keeps_request().then(|| {
        let rest = answer.rest_of_request(request.extensions());
        // The slices of hyper's buffer are not cloned first.
        match rest.peer_addr {
            Some(_) => PendingRequest::copied(request.uri(), request.headers(), rest),
            // The connection adds it.
            None => PendingRequest::cloned(request.uri(), request.headers(), rest),
        }
    });
    Ok(answer.upgrade(on_upgrade, request.version(), received_at, kept))
}

/// Like [`accept`], for the head of a request that was received at `received_at`.
///
/// For adapters to other frameworks. [`AcceptOptions::handshake_timeout`] counts from
/// `received_at`.
///
/// # Errors
///
/// Like `accept`, and [`Rejection::Timeout`] if the handshake timeout has passed.
pub fn accept_parts<R: Default>(
    parts: &mut Parts,
    options: &AcceptOptions,
    received_at: Instant,
) -> Result<(Response<R>, Upgrade), Rejection> {
    let accepted = Answer::new(handshake_request(&*parts), options).and_then(|answer| {
        let on_upgrade = answer.take(&mut parts.extensions, received_at)?;
        let kept = options.keeps_request().then(|| {
            let rest = answer.rest_of_request(&parts.extensions);
            // A framework adds its parameters.
            PendingRequest::cloned(&parts.uri, &parts.headers, rest)
        });
        Ok(answer.upgrade(on_upgrade, parts.version, received_at, kept))
    });
    // Another route may serve a request that asks for no WebSocket.
    let refused = accepted.as_ref().err().filter(|rejection| !rejection.falls_through());
    report(handshake_request(&*parts), options, refused);
    accepted
}

/// Like [`accept`], for a service that also serves other requests.
///
/// Returns `None` if the request does not ask for a WebSocket, or if [`AcceptOptions::filter`] does
/// not accept it.
///
/// # Errors
///
/// A [`Rejection`] if the request asks for a WebSocket and is refused.
pub fn accept_optional<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<Option<(Response<R>, Upgrade)>, Rejection> {
    match try_accept(request, options) {
        Ok(accepted) => Ok(Some(accepted)),
        Err(rejection) if rejection.falls_through() => Ok(None),
        Err(rejection) => {
            report(handshake_request(&*request), options, Some(&rejection));
            Err(rejection)
        }
    }
}

/// Whether the request asks for a WebSocket: by `Upgrade` over HTTP/1.1, by extended CONNECT
/// over HTTP/2.
///
/// It does not validate the handshake: [`accept`] may still reject the request.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    handshake::is_upgrade(handshake_request(request))
}

/// The handshake fields of a request, with the `:protocol` pseudo-header that hyper keeps in
/// an extension. For adapters to other frameworks.
pub fn handshake_request<'a>(head: impl Into<HandshakeRequest<'a>>) -> HandshakeRequest<'a> {
    let head = head.into();
    head.protocol(head.extensions().get::<Protocol>().map(Protocol::as_str))
}

/// Logs a refusal.
fn report(request: HandshakeRequest<'_>, options: &AcceptOptions, refused: Option<&Rejection>) {
    if let Some(rejection) = refused {
        report_refusal(&Acceptor::new(options), request, rejection);
    }
}

/// A request that was accepted.
struct Answer<'a> {
    options: &'a AcceptOptions,
    accepted: handshake::Accepted,
    admitted: ConnectionGuard,
}

impl<'a> Answer<'a> {
    fn new(request: HandshakeRequest<'_>, options: &'a AcceptOptions) -> Result<Self, Rejection> {
        let acceptor = Acceptor::new(options);
        let answered = acceptor.answer(request);
        let accepted = answered.map_err(|rejection| acceptor.refuse(request, rejection))?;
        let admitted = acceptor.admit_request(request)?;
        Ok(Self { options, accepted, admitted })
    }

    /// Takes what becomes the transport out of the request, if the time has not passed.
    fn take(
        &self,
        extensions: &mut Extensions,
        received_at: Instant,
    ) -> Result<OnUpgrade, Rejection> {
        if self.deadline(received_at).is_some_and(|deadline| deadline < Instant::now()) {
            return Err(Rejection::Timeout);
        }
        extensions.remove::<OnUpgrade>().ok_or(Rejection::NotUpgradable)
    }

    fn deadline(&self, received_at: Instant) -> Option<Instant> {
        self.options.timeout().and_then(|timeout| received_at.checked_add(timeout))
    }

    /// The request to keep, without its target and its headers.
    fn rest_of_request(&self, extensions: &Extensions) -> RequestInfo {
        let (mut parts, ()) = Request::new(()).into_parts();
        // The address has a field of its own.
        if extensions.len() > usize::from(extensions.get::<PeerAddr>().is_some()) {
            parts.extensions = extensions.clone();
        }
        if let Some(protocol) = parts.extensions.get_mut::<Protocol>() {
            // hyper's is a slice of the read buffer of HTTP/2.
            *protocol = Protocol::from_static("websocket");
        }
        let mut request = RequestInfo::new(parts);
        (request.peer_addr, request.secure) = (self.accepted.peer_addr, self.accepted.secure);
        request
    }

    fn upgrade<R: Default>(
        self,
        on_upgrade: OnUpgrade,
        version: Version,
        received_at: Instant,
        request: Option<PendingRequest>,
    ) -> (Response<R>, Upgrade) {
        let deadline = self.deadline(received_at);
        let Self { options, accepted, admitted } = self;
        let handshake::Accepted { response, negotiated, peer_addr, .. } = accepted;
        let upgrade = Upgrade::new(PendingUpgrade {
            on_upgrade,
            version,
            received_at,
            deadline,
            sleep: None,
            aborted: None,
            negotiated,
            peer_addr,
            admitted: Some(admitted),
            config: options.shared_config(),
            request,
        });
        let mut response = response.map(|()| R::default());
        // hyper sends the version of the request.
        *response.version_mut() = Version::default();
        (response, upgrade)
    }
}
