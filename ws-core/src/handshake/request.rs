//! Does a request ask for a WebSocket, and is it well-formed?

use std::fmt;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{Extensions, Method, Request, Uri, Version};

use super::head_limit::HeadLimit;
use super::{Rejection, headers, key, origin, subprotocol_choice};
use crate::redact::Redacted;

/// The head of a request, by reference.
///
/// Converts from `&Request` and `&Parts`. Over HTTP/2, the adapter adds the pseudo-header
/// [`:protocol`](Self::protocol), which each HTTP library stores in its own way.
#[derive(Clone, Copy)]
#[must_use]
pub struct HandshakeRequest<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    protocol: Option<&'a str>,
}

impl<'a> HandshakeRequest<'a> {
    /// Sets the pseudo-header `:protocol` ([RFC 8441 §4]). Default: none.
    ///
    /// [RFC 8441 §4]: https://www.rfc-editor.org/rfc/rfc8441#section-4
    pub const fn protocol(mut self, protocol: Option<&'a str>) -> Self {
        self.protocol = protocol;
        self
    }

    /// The method.
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The target.
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The version of HTTP.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The authority of the target, or else `Host`.
    pub(super) fn host(&self) -> Option<&'a str> {
        let authority = self.uri.authority().map(Authority::as_str);
        authority.or_else(|| self.headers.get(HOST)?.to_str().ok())
    }

    /// The subprotocols that the client offers, in order. Empty if the header is malformed.
    pub fn subprotocols(&self) -> Vec<&'a str> {
        subprotocol_choice::offered(self.headers).unwrap_or_default()
    }

    /// The extensions of the request, as set by middleware. With warp, those of middleware are here
    /// only by `with_extensions` of `ws-server-warp`.
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Checks that the request asks for a WebSocket, by the rules of its HTTP version.
    pub(super) fn check_upgrade(&self) -> Result<(), Rejection> {
        let has = |name, token| headers::has_token(self.headers, name, token);
        match self.version {
            Version::HTTP_09 | Version::HTTP_10 => Err(Rejection::HttpTooOld),
            Version::HTTP_11 if has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") => Ok(()),
            Version::HTTP_11 => Err(Rejection::NotUpgrade),
            Version::HTTP_2 if self.method != Method::CONNECT => Err(Rejection::NotConnect),
            Version::HTTP_2 if self.protocol == Some("websocket") => Ok(()),
            Version::HTTP_2 => Err(Rejection::ProtocolUnknown),
            _ => Err(Rejection::HttpTooNew),
        }
    }

    /// Checks the size of the head: the length that it has over HTTP/1.1 without optional
    /// whitespace, so that the limit is the same for each version.
    pub(super) fn check_head(&self, limit: HeadLimit) -> Result<(), Rejection> {
        const VERSION: usize = "  HTTP/1.1\r\n\r\n".len();
        let uri = self.uri;
        let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
        let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
        let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
        let line = self.method.as_str().len() + scheme + authority + path + VERSION;
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + ": \r\n".len() + value.len()
        };
        let bytes = line + self.headers.iter().map(field).sum::<usize>();
        let fits = bytes <= limit.bytes && self.headers.len() <= limit.headers;
        if fits { Ok(()) } else { Err(Rejection::HeadTooLarge) }
    }

    /// Checks the parts that do not depend on options (RFC 6455 §4.2.1). Returns the key, which a
    /// request over HTTP/2 does not have (RFC 8441 §5).
    pub(super) fn check(&self) -> Result<Option<&'a [u8]>, Rejection> {
        if self.version == Version::HTTP_2 {
            self.check_version(Rejection::ConnectVersionUnsupported)?;
            self.check_target()?;
            self.check_host()?;
            self.check_body()?;
            return Ok(None);
        }
        if self.method != Method::GET {
            return Err(Rejection::Method);
        }
        self.check_version(Rejection::VersionUnsupported)?;
        let key = self.once(SEC_WEBSOCKET_KEY, Rejection::KeyRepeated)?;
        let key = key.ok_or(Rejection::KeyMissing)?;
        if !key::is_valid(key) {
            return Err(Rejection::KeyInvalid);
        }
        self.check_target()?;
        self.check_host()?;
        self.check_body()?;
        Ok(Some(key))
    }

    fn check_version(&self, unsupported: Rejection) -> Result<(), Rejection> {
        match self.once(SEC_WEBSOCKET_VERSION, Rejection::VersionRepeated)? {
            Some(b"13") => Ok(()),
            Some(_) => Err(unsupported),
            None => Err(Rejection::VersionMissing),
        }
    }

    /// The target has a path: it is neither an authority nor `*` (RFC 9112 §3.2).
    pub(super) fn check_target(&self) -> Result<(), Rejection> {
        match self.uri.path().starts_with('/') {
            true => Ok(()),
            false => Err(Rejection::TargetInvalid),
        }
    }

    /// Over HTTP/2, `:authority` replaces `Host`. It is a part of the URI here.
    pub(super) fn check_host(&self) -> Result<(), Rejection> {
        let host = self.once(HOST, Rejection::HostRepeated)?;
        let authority = self.uri.authority().map(|authority| authority.as_str().as_bytes());
        if host.is_none() && (authority.is_none() || self.version != Version::HTTP_2) {
            return Err(Rejection::HostMissing);
        }
        let is_host = |host| str::from_utf8(host).ok().and_then(origin::host_and_port).is_some();
        let valid = host.into_iter().chain(authority).all(is_host);
        if valid { Ok(()) } else { Err(Rejection::HostInvalid) }
    }

    fn check_body(&self) -> Result<(), Rejection> {
        let mut lengths = self.headers.get_all(CONTENT_LENGTH).into_iter();
        if lengths.any(|length| length != "0") || self.headers.contains_key(TRANSFER_ENCODING) {
            return Err(Rejection::Body);
        }
        Ok(())
    }

    fn once(&self, name: HeaderName, repeated: Rejection) -> Result<Option<&'a [u8]>, Rejection> {
        headers::at_most_once(self.headers, name, repeated)
    }
}

/// Masks secrets.
impl fmt::Debug for HandshakeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeRequest")
            .field("method", self.method)
            .field("uri", &Redacted(self.uri))
            .field("version", &self.version)
            .field("headers", &Redacted(self.headers))
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl<'a, B> From<&'a Request<B>> for HandshakeRequest<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
            protocol: None,
        }
    }
}

impl<'a> From<&'a Parts> for HandshakeRequest<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
            protocol: None,
        }
    }
}

/// Whether the request asks for a WebSocket: by an upgrade over HTTP/1.1, or by an extended
/// CONNECT over HTTP/2. Such a request may still be rejected.
pub fn is_upgrade<'a>(request: impl Into<HandshakeRequest<'a>>) -> bool {
    request.into().check_upgrade().is_ok()
}
