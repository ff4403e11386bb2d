//! Is a request a valid opening handshake, and what is the response?

use core::net::SocketAddr;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Response, StatusCode};

use super::{AcceptOptions, HandshakeRequest, Negotiated, Rejection, compression, headers, key};
use crate::redact::Redacted;

/// Answers opening handshakes according to its [`AcceptOptions`].
///
/// On a bare byte stream, [`accept`](Self::accept) performs the whole handshake, and
/// [`serve`](Self::serve) also runs a handler. Adapters for HTTP servers use
/// [`answer`](Self::answer) and [`admit`](Self::admit). A clone shares the options.
#[derive(Clone, Debug)]
pub struct Acceptor(AcceptOptions);

impl Acceptor {
    /// An acceptor with these options.
    pub fn new(options: &AcceptOptions) -> Self {
        Self(options.clone())
    }

    /// The options.
    pub const fn options(&self) -> &AcceptOptions {
        &self.0
    }

    /// Answers a request: over HTTP/1.1 with 101 and `Sec-WebSocket-Accept` (RFC 6455 §4.2.2),
    /// over HTTP/2 with 200 (RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// The first reason to reject the request, in this order: no upgrade, filter, size, method,
    /// version, key, target, host, body, origin, subprotocol. An invalid offer of compression is
    /// declined; it is not a reason to reject the request. A panic in a function of the
    /// application, such as the filter, gives [`Rejection::Internal`].
    pub fn answer<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
    ) -> Result<Accepted, Rejection> {
        let request = request.into();
        catch_panic(|| self.respond(&request))
    }

    /// Checks a request without its size, origin and subprotocols, for adapters that set these options
    /// later and call [`answer`](Self::answer) then.
    ///
    /// # Errors
    ///
    /// As `answer`, except for the reasons that depend on options other than the
    /// [`filter`](AcceptOptions::filter).
    pub fn check<'a>(&self, request: impl Into<HandshakeRequest<'a>>) -> Result<(), Rejection> {
        let request = request.into();
        catch_panic(|| {
            self.check_asked(&request)?;
            // `answer` checks the size of the head, whose limit may be set later.
            request.check().map(drop)
        })
    }

    /// Checks a request that does not ask for a WebSocket, for adapters of other transports such
    /// as HTTP long-polling: the [`filter`](AcceptOptions::filter), the size of the head, the
    /// target, the host and the origin. Returns the address of the client, as
    /// [`peer_addr`](Self::peer_addr).
    ///
    /// The limits and the tracker are not checked. A refusal is neither logged nor counted: call
    /// [`report_refusal`](crate::adapter::report_refusal) for that.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), in the same order.
    pub fn check_http<'a>(
        &self,
        request: impl Into<HandshakeRequest<'a>>,
    ) -> Result<Option<SocketAddr>, Rejection> {
        let request = request.into();
        let settings = self.0.settings();
        catch_panic(|| {
            if settings.is_filtered(&request) {
                return Err(Rejection::Filtered);
            }
            request.check_head(settings.head)?;
            request.check_target()?;
            request.check_host()?;
            settings.origin.check_headers(request.headers(), settings.host(&request))?;
            Ok(settings.client(&request))
        })
    }

    /// Whether the client has sent the request over TLS, as [`Accepted::secure`]. For adapters of
    /// other transports.
    pub fn is_secure<'a>(&self, request: impl Into<HandshakeRequest<'a>>) -> bool {
        self.0.settings().is_secure(&request.into())
    }

    /// The address of the client of any request, as [`Accepted::peer_addr`]: also before the
    /// handshake, in middleware for example.
    ///
    /// `None` if no [`PeerAddr`](super::PeerAddr) is among the extensions of the request. The servers
    /// of the adapters, such as `serve`, insert it. Under another server, the application does.
    pub fn peer_addr<'a>(&self, request: impl Into<HandshakeRequest<'a>>) -> Option<SocketAddr> {
        self.0.settings().client(&request.into())
    }

    /// Whether the page that makes this ordinary GET may connect. A request that names no page may.
    #[cfg(feature = "conn")]
    pub(crate) fn check_page(&self, request: &HandshakeRequest<'_>) -> Result<(), Rejection> {
        let settings = self.0.settings();
        let fields = request.headers();
        let with_origin = super::origin::with_origin_of_page(fields);
        let fields = with_origin.as_ref().unwrap_or(fields);
        match settings.origin.check_headers(fields, settings.host(request)) {
            Err(Rejection::OriginMissing) => Ok(()),
            checked => checked,
        }
    }

    /// The host that the client has asked for.
    #[cfg(feature = "conn")]
    pub(crate) fn host<'a>(&self, request: &HandshakeRequest<'a>) -> Option<&'a str> {
        self.0.settings().host(request)
    }

    /// Whether the request asks for a WebSocket, and the filter accepts it.
    fn check_asked(&self, request: &HandshakeRequest<'_>) -> Result<(), Rejection> {
        request.check_upgrade()?;
        match self.0.settings().is_filtered(request) {
            true => Err(Rejection::Filtered),
            false => Ok(()),
        }
    }

    fn respond(&self, request: &HandshakeRequest<'_>) -> Result<Accepted, Rejection> {
        self.check_asked(request)?;
        request.check_head(self.0.settings().head)?;
        // HTTP/2 has no key.
        let key = request.check()?;
        let settings = self.0.settings();
        settings.origin.check_headers(request.headers(), settings.host(request))?;
        let subprotocol = settings.subprotocols.choose(request.headers())?;
        let compression = compression::answer(request.headers(), settings.config.compression);

        let mut response = Response::new(());
        *response.version_mut() = request.version();
        let fields = response.headers_mut();
        if !settings.response_headers.0.is_empty() {
            fields.clone_from(&settings.response_headers.0);
        }
        // Those below.
        fields.reserve(5);
        if let Some(subprotocol) = &subprotocol {
            headers::set(fields, SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some((extension, _)) = &compression {
            headers::set(fields, SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        if let Some(key) = key {
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers::set(fields, SEC_WEBSOCKET_ACCEPT, &key::accept(key));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        let compression = compression.map(|(_, params)| params);
        let negotiated = Negotiated { subprotocol, compression };
        let (peer_addr, secure) = (settings.client(request), settings.is_secure(request));
        Ok(Accepted { response, negotiated, peer_addr, secure })
    }
}

/// The response to a valid opening handshake.
#[non_exhaustive]
pub struct Accepted {
    /// The response to send. The WebSocket begins after it.
    pub response: Response<()>,
    /// The result of the negotiation, for the new connection.
    pub negotiated: Negotiated,
    /// The address of the client: that of the [`PeerAddr`](super::PeerAddr) among the extensions of
    /// the request, or the one that [trusted proxies](AcceptOptions::trusted_proxies) name.
    pub peer_addr: Option<SocketAddr>,
    /// Whether the client has sent the request over TLS: as the first of the
    /// [trusted proxies](AcceptOptions::trusted_proxies) says, or else as
    /// [`Encrypted`](super::Encrypted) among the extensions of the request says.
    pub secure: bool,
}

/// Masks secrets.
impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("status", &self.response.status())
            .field("headers", &Redacted(self.response.headers()))
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

/// Calls `respond`, which may call functions of the application that panic.
pub(crate) fn catch_panic<T>(
    respond: impl FnOnce() -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    panic::catch_unwind(AssertUnwindSafe(respond)).unwrap_or(Err(Rejection::Internal))
}
