//! Which step of an opening handshake failed, and how can it be fixed?

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use tokio_rustls::rustls;
use url::{ParseError, Url};
use ws_core::Escaped;
use ws_core::handshake::{HandshakeError, InvalidSubprotocol};
use ws_core::redact::Redacted;

/// An error of another library.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why dialling failed, by the step that failed.
///
/// The first three are mistakes in the settings. Nothing was sent then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The URL is not a valid WebSocket URL.
    #[error("the URL is invalid")]
    Url(#[from] InvalidUrl),
    /// A header cannot be sent.
    #[error("a header cannot be sent")]
    Header(#[from] InvalidHeader),
    /// A subprotocol cannot be offered.
    #[error("a subprotocol cannot be offered (`Dial::subprotocols`)")]
    Subprotocol(#[from] InvalidSubprotocol),
    /// The DNS lookup of the server failed.
    #[error("the DNS lookup of the server failed")]
    Dns(#[source] BoxError),
    /// The TCP connection to the server failed. With [`Dial::client`](crate::Dial::client),
    /// this may also be the connection to its proxy.
    #[error("the TCP connection to the server failed")]
    Tcp(#[source] BoxError),
    /// The proxy did not connect to the server.
    #[error("the proxy did not connect to the server")]
    Proxy(#[from] ProxyError),
    /// The TLS handshake with the server failed: its certificate is not trusted, it rejects
    /// the client certificate, or no protocol version or cipher suite is shared.
    #[error("the TLS handshake with the server failed")]
    Tls(#[source] BoxError),
    /// The stream failed, or ended before the response.
    #[error("the stream failed during the opening handshake")]
    Io(#[source] io::Error),
    /// The HTTP exchange failed: an HTTP/2 error, or an error of the
    /// [client](crate::Dial::client). The source does not contain the URL, which may hold
    /// secrets.
    #[error("the HTTP exchange failed")]
    Http(#[source] BoxError),
    /// The opening handshake took longer than
    /// [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    #[error("the opening handshake took longer than {0:?} (`Dial::connect_timeout`)")]
    Timeout(Duration),
    /// The server redirected the request to a URL that is not followed.
    #[error("the redirect was not followed")]
    Redirect(#[from] RedirectError),
    /// The server refused: its response is not the start of a WebSocket.
    #[error("the server refused with {}", .0.status)]
    Refused(Box<RefusedResponse>),
    /// The server accepted, but its response does not match the request
    /// ([RFC 6455 §4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)).
    #[error("the server's response does not match the handshake request")]
    Handshake(#[from] HandshakeError),
    /// The [client](crate::Dial::client) and the server negotiated HTTP/2, which has no
    /// upgrade.
    #[error("the given client chose HTTP/2: build it with `ClientBuilder::http1_only`")]
    Http2,
    /// The server does not support WebSockets over HTTP/2
    /// ([RFC 8441 §3](https://www.rfc-editor.org/rfc/rfc8441#section-3)), and HTTP/1.1 is
    /// not allowed.
    #[error("the server does not support WebSockets over HTTP/2 (`Dialer::http2_only`)")]
    NoHttp2,
}

impl DialError {
    /// The response, if the server refused.
    #[doc(alias = "response")]
    pub fn refused_response(&self) -> Option<&RefusedResponse> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }

    pub(crate) fn refused(response: Response<()>, body: Bytes) -> Self {
        let (head, ()) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        Self::Refused(Box::new(RefusedResponse { status, headers, body }))
    }

    /// Finds the step at which a `reqwest::Client` failed.
    pub(crate) fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_dns() {
            Self::Dns(error.into())
        } else if !error.is_connect() || error.is_timeout() {
            Self::Http(error.into())
        } else if has_cause(&error, &|cause| cause.is::<rustls::Error>()) {
            Self::Tls(error.into())
        } else if has_cause(&error, &is_proxy_auth_required) {
            Self::Proxy(ProxyError::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED))
        } else if has_cause(&error, &is_proxy_error) {
            Self::Proxy(ProxyError::Failed(error.into()))
        } else {
            Self::Tcp(error.into())
        }
    }
}

/// With TLS 1.3, a server may reject a certificate after the handshake (RFC 8446 §4.4.2.4).
impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>) {
            true => Self::Tls(error.into()),
            false => Self::Io(error),
        }
    }
}

/// Does the error or one of its causes match? `source` skips the error inside an `io::Error`,
/// so that is searched too.
pub(crate) fn has_cause(
    error: &(dyn Error + 'static),
    is: &dyn Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let inner = error.downcast_ref().and_then(io::Error::get_ref);
    is(error)
        || inner.is_some_and(|inner| has_cause(inner, is))
        || error.source().is_some_and(|source| has_cause(source, is))
}

/// The proxy errors of hyper-util are private types, so their text is matched.
fn is_proxy_error(error: &(dyn Error + 'static)) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.starts_with("tunnel error") || text.starts_with("socks") || text.contains(" socks ")
}

/// The only status that a proxy error of hyper-util reports.
fn is_proxy_auth_required(error: &(dyn Error + 'static)) -> bool {
    is_proxy_error(error) && error.to_string().ends_with("proxy authorization required")
}

/// The response of a server that refused to open a WebSocket.
///
/// `Debug` masks secrets in the headers, as [`Redacted`] does.
#[derive(Clone)]
#[non_exhaustive]
pub struct RefusedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers. Some explain how to succeed: `www-authenticate`, `retry-after`, `location`.
    pub headers: HeaderMap,
    /// The first 1024 bytes of the body, or less if it did not arrive within three seconds
    /// and [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    pub body: Bytes,
}

impl fmt::Debug for RefusedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedResponse")
            .field("status", &self.status)
            .field("headers", &Redacted(&self.headers))
            .field("body", &self.body)
            .finish()
    }
}

impl RefusedResponse {
    /// The body as text. Invalid UTF-8 is replaced; an incomplete character at the end is
    /// dropped.
    pub fn body_text(&self) -> Cow<'_, str> {
        let end = match str::from_utf8(&self.body) {
            // Only the last character is incomplete.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.body.len(),
        };
        String::from_utf8_lossy(self.body.get(..end).unwrap_or_default())
    }
}

/// Why a URL is invalid.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is not an absolute URL.
    #[error("it is not an absolute URL")]
    Parse(#[from] ParseError),
    /// It is a URL, but not an HTTP request target: for example, it is longer than 64 KiB.
    #[error("it is not an HTTP request target")]
    Uri,
    /// Its scheme is not `ws`, `wss`, `http` or `https`.
    #[error("its scheme is `{}`, not one of ws, wss, http, https", Escaped::new(&**.0))]
    Scheme(Box<str>),
    /// It has a fragment ([RFC 6455 §3]).
    ///
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    #[error("it has a fragment, which a WebSocket URL must not have: write # as %23")]
    Fragment,
}

impl InvalidUrl {
    /// The error of a URL with another scheme. In `user:password@host`, that is the user.
    pub(crate) fn scheme(url: &Url) -> Self {
        let (scheme, rest) = (url.scheme(), url.as_str().get(url.scheme().len() + 1..));
        match rest.is_some_and(|rest| !rest.starts_with('/') && rest.contains('@')) {
            true => Self::Parse(ParseError::RelativeUrlWithoutBase),
            false => Self::Scheme(scheme.into()),
        }
    }
}

/// Why a header cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// Its name is not a token (RFC 9110 §5.1).
    #[error("its name is not a token")]
    Name,
    /// Its value contains bytes that are not allowed (RFC 9110 §5.5).
    #[error("the value of `{0}` has control characters")]
    Value(HeaderName),
    /// The opening handshake sets this header, or it announces a body.
    #[error("`{0}` is set by the opening handshake: {hint}", hint = hint(.0))]
    Reserved(HeaderName),
}

/// The setting to use instead of a reserved header.
fn hint(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "sec-websocket-protocol" => "use `Dial::subprotocols`",
        "sec-websocket-extensions" => "use `Dial::compression`",
        _ => "leave it out",
    }
}

/// Why a proxy did not connect to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The URL of the proxy is invalid, or its scheme is not one of a proxy. Nothing was sent.
    #[error("its URL is invalid (`Dialer::proxy`)")]
    Url(#[source] InvalidUrl),
    /// The connection to the proxy failed.
    #[error("the connection to the proxy failed")]
    Unreachable(#[source] Box<DialError>),
    /// The response to `CONNECT` has a status other than 2xx, such as 407 if the proxy
    /// requires a user and a password.
    #[error("it refused with {0}")]
    Refused(StatusCode),
    /// The proxy refused in another way, closed the connection, or is not a proxy.
    #[error("it did not open a tunnel")]
    Failed(#[source] BoxError),
}

/// Why a redirect was not followed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more redirects than [`Dial::max_redirects`](crate::Dial::max_redirects).
    #[error("there were more than {0} redirects (`Dial::max_redirects`)")]
    TooMany(usize),
    /// The redirect leads from TLS to an unencrypted connection.
    #[error("it leads from TLS to an unencrypted connection")]
    NotEncrypted,
    /// The URL of the redirect is invalid.
    #[error("the URL of the redirect is invalid")]
    Url(#[from] InvalidUrl),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_text_drops_an_incomplete_last_character() {
        let check = |body: &'static [u8], expected: &str| {
            let body = Bytes::from_static(body);
            let (status, headers) = (StatusCode::FORBIDDEN, HeaderMap::new());
            let response = RefusedResponse { status, headers, body };
            assert_eq!(response.body_text(), expected);
        };
        check(b"", "");
        check("no entry, sor\u{fc}".as_bytes(), "no entry, sor\u{fc}");
        check(b"5 \xe2\x82", "5 ");
        check(b"a\xffb", "a\u{fffd}b");
    }

    #[test]
    fn a_reserved_header_names_the_setting_to_use() {
        let check = |name, expected: &str| {
            let text = InvalidHeader::Reserved(HeaderName::from_static(name)).to_string();
            assert!(text.contains(name) && text.ends_with(expected), "{text}");
        };
        check("sec-websocket-protocol", "use `Dial::subprotocols`");
        check("sec-websocket-extensions", "use `Dial::compression`");
        check("upgrade", "leave it out");
    }
}
