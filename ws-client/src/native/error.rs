//! Which step of an opening handshake failed, and how can it be fixed?

use std::error::Error;
use std::io;

#[cfg(feature = "reqwest")]
use bytes::Bytes;
use bytes::BytesMut;
use http::{HeaderName, Response, StatusCode};
#[cfg(feature = "rustls-tls-manual-roots")]
use tokio_rustls::rustls;
use ws_core::handshake::{HandshakeError, InvalidSubprotocol};

use super::body::MAX_BODY;
use crate::causes::Causes;
use crate::{DialTimeout, InvalidUrl, RefusedResponse};

/// An error of another library.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why dialling failed, by the step that failed.
///
/// The first four variants are errors in the settings: nothing was sent.
///
/// The text is one line: the step, the text of the cause, and the setting to change, if any. The
/// variant holds the cause, or an error that names the server and has the cause as its `source()`. The
/// `source()` of this error is `None`, so that the cause is not printed twice.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The URL is not a valid WebSocket URL.
    Url(InvalidUrl),
    /// A header cannot be sent.
    Header(InvalidHeader),
    /// A subprotocol cannot be offered.
    Subprotocol(InvalidSubprotocol),
    /// The URL or a setting needs a Cargo feature of this crate that is not enabled.
    MissingFeature(MissingFeature),
    /// The DNS lookup of the server failed.
    Dns(BoxError),
    /// The TCP connection to the server failed. With `Dial::client`, this may also be the
    /// connection to its proxy.
    Tcp(BoxError),
    /// The proxy did not connect to the server.
    Proxy(ProxyError),
    /// The TLS handshake with the server failed: its certificate is not trusted, it rejects the
    /// client certificate, or both sides have no protocol version or cipher suite in common.
    Tls(BoxError),
    /// The stream failed, or ended before the response. The text of the error begins with the host
    /// and the port of the server.
    Io(io::Error),
    /// The HTTP exchange failed: an HTTP/2 error, or an error of the client of `Dial::client`. It
    /// does not contain the URL, which may hold secrets.
    Http(BoxError),
    /// The opening handshake took longer than
    /// [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    Timeout(DialTimeout),
    /// The server redirected the request to a URL that is not followed.
    Redirect(RedirectError),
    /// The server refused: its response is not the start of a WebSocket.
    Refused(Box<RefusedResponse>),
    /// The server accepted, but its response does not match the request
    /// ([RFC 6455 §4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)).
    Handshake(HandshakeError),
    /// The client of `Dial::client` and the server negotiated HTTP/2, which has no upgrade.
    Http2,
    /// The server does not support WebSockets over HTTP/2
    /// ([RFC 8441 §3](https://www.rfc-editor.org/rfc/rfc8441#section-3)), and HTTP/1.1 is
    /// not allowed.
    NoHttp2,
    /// A call of `blocking` in async code, where it would block other tasks. Nothing was sent.
    InAsyncCode,
}

impl_error!(DialError {
    Self::Url(why) => "the URL is invalid: {why}";
    Self::Header(why) => "a header cannot be sent (`Dial::header`): {why}";
    Self::Subprotocol(why) => "a subprotocol cannot be offered (`Dial::subprotocols`): {why}";
    Self::MissingFeature(why) => "{why}";
    Self::Dns(why) => "the DNS lookup of the server failed: {}", Causes(&**why);
    Self::Tcp(why) => "the TCP connection to the server failed: {}", Causes(&**why);
    Self::Proxy(why) => "the proxy did not connect to the server (`Dialer::proxy`, or the environment): {why}";
    Self::Tls(why) => "the TLS handshake with the server failed: {}{}", Causes(&**why), tls_hint(&**why);
    Self::Io(why) => "the stream failed during the opening handshake: {}", Causes(why);
    Self::Http(why) => "the HTTP exchange failed: {}", Causes(&**why);
    Self::Timeout(why) => "{why}";
    Self::Redirect(why) => "the redirect was not followed: {why}";
    Self::Refused(why) => "the server refused with {why}";
    Self::Handshake(why) => "the server's response does not match the handshake request: {why}";
    Self::Http2 => "the given client chose HTTP/2: build it with `ClientBuilder::http1_only`";
    Self::NoHttp2 => "the server does not support WebSockets over HTTP/2 (`Dialer::http2_only`)";
    Self::InAsyncCode => "a blocking call in async code: use the async API, or `tokio::task::spawn_blocking`";
});

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
        body.truncate(MAX_BODY);
        Self::Refused(RefusedResponse::new(response, body.freeze()))
    }

    /// Names the server in an error of its stream.
    pub(crate) fn of_server(self, host_and_port: &str) -> Self {
        let server = host_and_port.to_owned();
        match self {
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), failed_at(server, error))),
            Self::Tls(error) => Self::Tls(failed_at(server, error)),
            Self::Http(error) => Self::Http(failed_at(server, error)),
            other => other,
        }
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
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
            Self::Proxy(ProxyError::Refused(RefusedResponse::new(response, Bytes::new())))
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
    DialError::Tls(failed_at(host.to_owned(), error))
}

/// An error that begins with the server, or the proxy, that it is about.
pub(crate) fn failed_at(server: String, error: impl Into<BoxError>) -> BoxError {
    Box::new(ServerFailed { server, cause: error.into() })
}

/// An error, and the server that it is about: its host, with the port if that matters.
#[derive(Debug)]
struct ServerFailed {
    server: String,
    cause: BoxError,
}

impl std::fmt::Display for ServerFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.server)
    }
}

/// [`Causes`] writes both.
impl Error for ServerFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
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
        // The texts of rustls and of OpenSSL for a certificate of another name.
        () if text.contains("not valid for name") || text.contains("mismatch") => {
            " (the URL needs a name that is in the certificate)"
        }
        // The text of rustls. By default, `openssl req -x509` makes such a certificate.
        () if text.contains("causedasendentity") => {
            " (the server's certificate is that of an authority: make it with \
             `basicConstraints=critical,CA:FALSE`)"
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingFeature {
    /// A `wss` URL, or a proxy with TLS.
    Tls,
    /// TLS by rustls without a configuration of [`Dialer::tls`](crate::Dialer).
    TlsRoots,
    /// TLS by rustls without a `CryptoProvider` of the process.
    TlsCrypto,
    /// [`Dialer::http2`](crate::Dialer::http2), [`http2_only`](crate::Dialer::http2_only).
    Http2,
    /// [`Dialer::proxy`](crate::Dialer::proxy).
    Proxy,
    /// [`Dial::compression`](crate::Dial::compression).
    Deflate,
}

impl_error!(MissingFeature {
    Self::Tls => "a `wss` URL needs TLS: enable a TLS feature of ws-client, such as `rustls-tls`";
    Self::TlsRoots => "rustls has no trusted roots: use `Dialer::tls`, or enable `rustls-tls-platform-verifier`, \
         `rustls-tls-native-roots` or `rustls-tls-webpki-roots` of ws-client";
    Self::TlsCrypto => "rustls has no cryptography: enable `aws-lc-rs` or `ring` of ws-client, or install a \
         `CryptoProvider`";
    Self::Http2 => "`Dialer::http2` needs the feature `http2` of ws-client";
    Self::Proxy => "`Dialer::proxy` needs the feature `proxy` of ws-client";
    Self::Deflate => "`Dial::compression` needs the feature `deflate` of ws-client";
});

/// Why a header cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// Its name is not a token (RFC 9110 §5.1).
    Name,
    /// Its value contains bytes that are not allowed (RFC 9110 §5.5).
    Value(HeaderName),
    /// The opening handshake sets this header, or the header declares a body.
    Reserved(HeaderName),
}

impl_error!(InvalidHeader {
    Self::Name => "its name is not a token";
    Self::Value(why) => "the value of `{why}` has control characters";
    Self::Reserved(why) => "`{why}` is set by the opening handshake: {}", hint(why);
});

/// The setting to use instead of a reserved header.
fn hint(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "sec-websocket-protocol" => "use `Dial::subprotocols`",
        "sec-websocket-extensions" => "use `Dial::compression`",
        _ => "leave it out",
    }
}

/// Why a proxy did not connect to the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// The URL of the proxy is invalid, or its scheme is not one of a proxy. Nothing was sent.
    Url(InvalidUrl),
    /// The connection to the proxy failed.
    Unreachable(Box<DialError>),
    /// The response to `CONNECT` has a status other than 2xx, such as 407 if the proxy
    /// requires a user and a password. Its body is not read. With `Dial::client`, the headers are
    /// not known, and the status is 407.
    Refused(Box<RefusedResponse>),
    /// The proxy refused in another way, closed the connection, or is not a proxy.
    Failed(BoxError),
}

impl_error!(ProxyError {
    Self::Url(why) => "its URL is invalid: {why}";
    Self::Unreachable(why) => "the proxy cannot be reached: {why}";
    Self::Refused(why) => "it refused with {}{}", why.status, proxy_hint(why.status);
    Self::Failed(why) => "it did not open a tunnel: {}", Causes(&**why);
});

/// What to do about a status of a proxy.
fn proxy_hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => " (its URL may contain a user and a password)",
        _ => "",
    }
}

/// Why a redirect was not followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more redirects than [`Dial::max_redirects`](crate::Dial::max_redirects).
    TooMany(usize),
    /// The redirect leads from TLS to an unencrypted connection.
    NotEncrypted,
    /// The URL of the redirect is invalid.
    Url(InvalidUrl),
}

impl_error!(RedirectError {
    Self::TooMany(why) => "there were more than {why} redirects (`Dial::max_redirects`)";
    Self::NotEncrypted => "it leads from TLS to an unencrypted connection";
    Self::Url(why) => "the URL of the redirect is invalid: {why}";
});

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
