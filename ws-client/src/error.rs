//! Which step of an opening handshake failed, and how can it be fixed?

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, Response, StatusCode};
#[cfg(feature = "rustls-tls-manual-roots")]
use tokio_rustls::rustls;
use ws_core::Escaped;
use ws_core::handshake::{HandshakeError, InvalidSubprotocol};

use crate::RefusedResponse;
use crate::body::MAX_BODY;

/// An error of another library.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why dialling failed, by the step that failed.
///
/// The first four are mistakes in the settings. Nothing was sent then.
///
/// The text is one line that says it all: the step, the cause, and where there is one, the setting to
/// change. So the cause is in the variant, and is not the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The URL is not a valid WebSocket URL.
    #[error("the URL is invalid: {0}")]
    Url(InvalidUrl),
    /// A header cannot be sent.
    #[error("a header cannot be sent (`Dial::header`): {0}")]
    Header(InvalidHeader),
    /// A subprotocol cannot be offered.
    #[error("a subprotocol cannot be offered (`Dial::subprotocols`): {0}")]
    Subprotocol(InvalidSubprotocol),
    /// The URL or a setting needs a Cargo feature of this crate that is not enabled.
    #[error("{0}")]
    MissingFeature(MissingFeature),
    /// The DNS lookup of the server failed.
    #[error("the DNS lookup of the server failed: {}", Causes(&**.0))]
    Dns(BoxError),
    /// The TCP connection to the server failed. With `Dial::client`, this may also be the connection
    /// to its proxy.
    #[error("the TCP connection to the server failed: {}", Causes(&**.0))]
    Tcp(BoxError),
    /// The proxy did not connect to the server.
    #[error("the proxy did not connect to the server (`Dialer::proxy`, or the environment): {0}")]
    Proxy(ProxyError),
    /// The TLS handshake with the server failed: its certificate is not trusted, it rejects
    /// the client certificate, or no protocol version or cipher suite is shared.
    #[error("the TLS handshake with the server failed: {}{}", Causes(&**.0), tls_hint(&**.0))]
    Tls(BoxError),
    /// The stream failed, or ended before the response.
    #[error("the stream failed during the opening handshake: {}", Causes(.0))]
    Io(io::Error),
    /// The HTTP exchange failed: an HTTP/2 error, or an error of the client of `Dial::client`. It
    /// does not contain the URL, which may hold secrets.
    #[error("the HTTP exchange failed: {}", Causes(&**.0))]
    Http(BoxError),
    /// The opening handshake took longer than
    /// [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    #[error("the opening handshake took longer than {0:?} (`Dial::connect_timeout`)")]
    Timeout(Duration),
    /// The server redirected the request to a URL that is not followed.
    #[error("the redirect was not followed: {0}")]
    Redirect(RedirectError),
    /// The server refused: its response is not the start of a WebSocket.
    #[error("the server refused with {0}")]
    Refused(Box<RefusedResponse>),
    /// The server accepted, but its response does not match the request
    /// ([RFC 6455 §4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)).
    #[error("the server's response does not match the handshake request: {0}")]
    Handshake(HandshakeError),
    /// The client of `Dial::client` and the server negotiated HTTP/2, which has no upgrade.
    #[error("the given client chose HTTP/2: build it with `ClientBuilder::http1_only`")]
    Http2,
    /// The server does not support WebSockets over HTTP/2
    /// ([RFC 8441 §3](https://www.rfc-editor.org/rfc/rfc8441#section-3)), and HTTP/1.1 is
    /// not allowed.
    #[error("the server does not support WebSockets over HTTP/2 (`Dialer::http2_only`)")]
    NoHttp2,
    /// A call of `blocking` in async code, where it would stop other tasks. Nothing was sent.
    #[error("a blocking call in async code: use the async API, or `tokio::task::spawn_blocking`")]
    InAsyncCode,
}

/// Implements `From` for each type, by a variant. The type is not the `source` of the error, because
/// its text is in that of the error.
macro_rules! impl_from {
    ($target:ty { $($source:ty => $variant:expr),+ $(,)? }) => {
        $(impl From<$source> for $target {
            fn from(source: $source) -> Self {
                $variant(source)
            }
        })+
    };
}

impl_from!(DialError {
    InvalidUrl => Self::Url,
    InvalidHeader => Self::Header,
    InvalidSubprotocol => Self::Subprotocol,
    MissingFeature => Self::MissingFeature,
    ProxyError => Self::Proxy,
    RedirectError => Self::Redirect,
    HandshakeError => Self::Handshake,
});

impl DialError {
    /// The response, if the server refused.
    #[doc(alias = "response")]
    pub fn refused_response(&self) -> Option<&RefusedResponse> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }

    pub(crate) fn refused(response: Response<()>, mut body: BytesMut) -> Self {
        let (head, ()) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        body.truncate(MAX_BODY);
        let body = body.freeze();
        Self::Refused(Box::new(RefusedResponse { status, headers, body }))
    }

    /// Finds the step at which a `reqwest::Client` failed.
    #[cfg(feature = "reqwest")]
    pub(crate) fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_dns() {
            Self::Dns(error.into())
        } else if !error.is_connect() || error.is_timeout() {
            Self::Http(error.into())
        } else if has_cause(&error, &is_tls_error) {
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
        let inner = error.get_ref().map(|inner| -> &(dyn Error + 'static) { inner });
        match inner.is_some_and(is_tls_error) {
            true => Self::Tls(error.into()),
            false => Self::Io(error),
        }
    }
}

/// The error of a TLS handshake with a host.
#[cfg(any(feature = "native-tls", feature = "rustls-tls-manual-roots"))]
pub(crate) fn tls_failed(host: &str, error: impl Into<BoxError>) -> DialError {
    DialError::Tls(Box::new(TlsFailed { host: host.to_owned(), cause: error.into() }))
}

/// The error of a TLS library, and the host that it is about.
#[cfg(any(feature = "native-tls", feature = "rustls-tls-manual-roots"))]
#[derive(Debug, thiserror::Error)]
#[error("{host}")]
struct TlsFailed {
    host: String,
    #[source]
    cause: BoxError,
}

/// The texts of an error and its causes, in one line, without what the peer could do to a terminal.
/// A text that is the end of the one before it is left out: some errors repeat their cause.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.ends_with(&said) {
                text = format!("{text}: {said}");
            }
            next = cause.source();
        }
        Escaped::new(&text).uncut().fmt(f)
    }
}

fn is_tls_error(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "rustls-tls-manual-roots")]
    if error.is::<rustls::Error>() {
        return true;
    }
    #[cfg(feature = "native-tls")]
    if error.is::<native_tls::Error>() {
        return true;
    }
    let _ = error;
    false
}

/// What to do about a failed TLS handshake.
fn tls_hint(error: &(dyn Error + 'static)) -> &'static str {
    let text = Causes(error).to_string().to_ascii_lowercase();
    match () {
        // The texts of rustls and of OpenSSL for an answer that is not TLS, and for none.
        () if text.contains("received corrupt message")
            || text.contains("wrong version number")
            || text.contains("eof") =>
        {
            " (is it ws:// rather than wss://?)"
        }
        () if text.contains("certificate") => " (`Dialer::tls` sets the trusted roots)",
        () => "",
    }
}

/// Does the error or one of its causes match? `source` skips the error inside an `io::Error`,
/// so that is searched too.
#[cfg(feature = "reqwest")]
fn has_cause(error: &(dyn Error + 'static), is: &dyn Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let inner = error.downcast_ref().and_then(io::Error::get_ref);
    is(error)
        || inner.is_some_and(|inner| has_cause(inner, is))
        || error.source().is_some_and(|source| has_cause(source, is))
}

#[cfg(feature = "reqwest")]
/// The proxy errors of hyper-util are private types, so their text is matched.
fn is_proxy_error(error: &(dyn Error + 'static)) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.starts_with("tunnel error") || text.starts_with("socks") || text.contains(" socks ")
}

#[cfg(feature = "reqwest")]
/// The only status that a proxy error of hyper-util reports.
fn is_proxy_auth_required(error: &(dyn Error + 'static)) -> bool {
    is_proxy_error(error) && error.to_string().ends_with("proxy authorization required")
}

/// A Cargo feature of this crate that is not enabled, and what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissingFeature {
    /// A `wss` URL, or a proxy with TLS.
    #[error("a `wss` URL needs TLS: enable a TLS feature of ws-client, such as `rustls-tls`")]
    Tls,
    /// TLS by rustls without a configuration of [`Dialer::tls`](crate::Dialer).
    #[error(
        "rustls has no trusted roots: use `Dialer::tls`, or enable `rustls-tls-platform-verifier`, \
         `rustls-tls-native-roots` or `rustls-tls-webpki-roots` of ws-client"
    )]
    TlsRoots,
    /// TLS by rustls without a `CryptoProvider` of the process.
    #[error(
        "rustls has no cryptography: enable `aws-lc-rs` or `ring` of ws-client, or install a \
         `CryptoProvider`"
    )]
    TlsCrypto,
    /// [`Dialer::http2`](crate::Dialer::http2) or [`Dialer::http2_only`](crate::Dialer::http2_only).
    #[error("`Dialer::http2` needs the feature `http2` of ws-client")]
    Http2,
    /// [`Dialer::proxy`](crate::Dialer::proxy).
    #[error("`Dialer::proxy` needs the feature `proxy` of ws-client")]
    Proxy,
}

/// Why a URL is invalid. The text does not repeat the URL, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is not an absolute URL.
    #[error("it is not an absolute URL, such as wss://example.com/chat")]
    Relative,
    /// Its host is missing, or neither a name nor an address.
    #[error("its host is invalid")]
    Host,
    /// Its host has other characters than ASCII, and the feature `idn` is not enabled.
    #[error("its host is not ASCII: enable the feature `idn` of ws-client, or write it as xn--…")]
    NotAscii,
    /// Its port is not a number up to 65535.
    #[error("its port is not a number from 0 to 65535")]
    Port,
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
    pub(crate) fn scheme(scheme: &str, rest: &str) -> Self {
        match !rest.starts_with('/') && rest.contains('@') {
            true => Self::Relative,
            false => Self::Scheme(scheme.to_ascii_lowercase().into()),
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
    #[error("its URL is invalid: {0}")]
    Url(InvalidUrl),
    /// The connection to the proxy failed.
    #[error("the proxy cannot be reached: {0}")]
    Unreachable(Box<DialError>),
    /// The response to `CONNECT` has a status other than 2xx, such as 407 if the proxy
    /// requires a user and a password.
    #[error("it refused with {}{}", .0, proxy_hint(*.0))]
    Refused(StatusCode),
    /// The proxy refused in another way, closed the connection, or is not a proxy.
    #[error("it did not open a tunnel: {}", Causes(&**.0))]
    Failed(BoxError),
}

/// What to do about a status of a proxy.
fn proxy_hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => " (its URL may contain a user and a password)",
        _ => "",
    }
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
    #[error("the URL of the redirect is invalid: {0}")]
    Url(InvalidUrl),
}

impl_from!(RedirectError { InvalidUrl => Self::Url });

#[cfg(test)]
mod tests {
    use super::*;

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
