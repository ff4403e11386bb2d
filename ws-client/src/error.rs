//! Which step of an opening handshake failed, and what can be done about it?

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio_rustls::rustls;
use ws_core::handshake::HandshakeError;
use ws_core::handshake::InvalidSubprotocol;

use crate::{InvalidUrl, ProxyError, RedirectError};

/// What a library says went wrong.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why there is no connection, by the step that failed.
///
/// The first three are mistakes in the settings, and nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The URL cannot be dialled.
    #[error("the URL cannot be dialled")]
    Url(#[from] InvalidUrl),
    /// A header cannot be sent.
    #[error("a header cannot be sent")]
    Header(#[from] InvalidHeader),
    /// A subprotocol cannot be offered.
    #[error("a subprotocol cannot be offered (`Dial::subprotocols`)")]
    Subprotocol(#[from] InvalidSubprotocol),
    /// The name of the server cannot be looked up.
    #[error("the name of the server cannot be looked up")]
    Dns(#[source] Cause),
    /// No TCP connection to the server, or, with a [given client](crate::Dial::client), to
    /// its proxy.
    #[error("the server cannot be connected to")]
    Tcp(#[source] Cause),
    /// The proxy did not let us through.
    #[error("the proxy did not let us through")]
    Proxy(#[from] ProxyError),
    /// No TLS with the server: its certificate is not trusted, ours is not, or there is
    /// nothing in common.
    #[error("TLS with the server failed")]
    Tls(#[source] Cause),
    /// The stream failed, or ended before there was an answer.
    #[error("the stream failed during the opening handshake")]
    Io(#[source] io::Error),
    /// The exchange of request and answer failed otherwise: HTTP/2 was broken, or a
    /// [given client](crate::Dial::client) gave up. Its error is the source, without the
    /// URL, which may hold secrets.
    #[error("the HTTP exchange failed")]
    Http(#[source] Cause),
    /// The opening handshake took longer than it may.
    #[error("the opening handshake took longer than {0:?} (`Dial::connect_timeout`)")]
    Timeout(Duration),
    /// The server redirected the request to where it must not follow.
    #[error("a redirect was not followed")]
    Redirect(#[from] RedirectError),
    /// The server did answer, but refused.
    #[error("the server refused with {}", .0.status)]
    Refused(Box<Refusal>),
    /// The server accepted, but not what was offered (RFC 6455 §4.1).
    #[error("the server's answer does not belong to the offer")]
    Handshake(#[from] HandshakeError),
    /// The given client and the server agreed on HTTP/2, where a WebSocket cannot begin
    /// by an upgrade.
    #[error("the given client chose HTTP/2: build it with `ClientBuilder::http1_only`")]
    Http2,
    /// The server allows no WebSockets over HTTP/2 (RFC 8441 §3), and HTTP/1.1 was not
    /// wanted.
    #[error("the server allows no WebSockets over HTTP/2 (`Dialer::http2_only`)")]
    NoHttp2,
}

impl DialError {
    /// The answer of a server that refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What a given client says, by the step at which it says so.
    pub(crate) fn of_client(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_dns() {
            Self::Dns(error.into())
        } else if !error.is_connect() || error.is_timeout() {
            Self::Http(error.into())
        } else if is_caused(&error, &|cause| cause.is::<rustls::Error>()) {
            Self::Tls(error.into())
        } else if is_caused(&error, &wants_authorization) {
            Self::Proxy(ProxyError::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED))
        } else if is_caused(&error, &is_of_proxy) {
            Self::Proxy(ProxyError::Failed(error.into()))
        } else {
            Self::Tcp(error.into())
        }
    }
}

/// A server may refuse a certificate when TLS is long under way (RFC 8446 §4.4.2.4).
impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>) {
            true => Self::Tls(error.into()),
            false => Self::Io(error),
        }
    }
}

/// Is there such an error among the causes? An error of I/O shows what is in it only if it
/// is asked.
fn is_caused(error: &(dyn Error + 'static), is: &dyn Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let inner = error.downcast_ref().and_then(io::Error::get_ref);
    is(error)
        || inner.is_some_and(|inner| is_caused(inner, is))
        || error.source().is_some_and(|source| is_caused(source, is))
}

/// Its type has no name out here, so it is known by what it says.
fn is_of_proxy(error: &(dyn Error + 'static)) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.starts_with("tunnel error") || text.starts_with("socks") || text.contains(" socks ")
}

/// The one status that such a proxy's error tells.
fn wants_authorization(error: &(dyn Error + 'static)) -> bool {
    is_of_proxy(error) && error.to_string().ends_with("proxy authorization required")
}

/// What a server answered that opened no WebSocket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, which may say how to do better: `www-authenticate`, `retry-after`,
    /// `location`.
    pub headers: HeaderMap,
    /// The first 1024 bytes of its body, or as many as arrived within three seconds and
    /// [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    pub body: Bytes,
}

impl Refusal {
    /// The body as text. What is not UTF-8 is replaced; a character that is cut at the end
    /// is left out.
    pub fn body_text(&self) -> Cow<'_, str> {
        let whole = match str::from_utf8(&self.body) {
            Ok(text) => return text.into(),
            // Nothing is wrong but the end.
            Err(error) if error.error_len().is_none() => self.body.get(..error.valid_up_to()),
            Err(_) => None,
        };
        String::from_utf8_lossy(whole.unwrap_or(&self.body))
    }
}

/// Why a header cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// Its name is not a token (RFC 9110 §5.1).
    #[error("its name is not a token")]
    Name,
    /// Its value has bytes that no header may have (RFC 9110 §5.5).
    #[error("the value of `{0}` has control characters")]
    Value(HeaderName),
    /// It belongs to the opening handshake, or announces a body.
    #[error("`{0}` is set by the opening handshake: {hint}", hint = hint(.0))]
    Reserved(HeaderName),
}

/// The setting to use in place of a header.
fn hint(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "sec-websocket-protocol" => "use `Dial::subprotocols`",
        "sec-websocket-extensions" => "use `Dial::compression`",
        _ => "leave it out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_up_to_the_character_that_is_cut() {
        let check = |body: &'static [u8], expected: &str| {
            let body = Bytes::from_static(body);
            let refusal =
                Refusal { status: StatusCode::FORBIDDEN, headers: HeaderMap::new(), body };
            assert_eq!(refusal.body_text(), expected);
        };
        check(b"", "");
        check("no entry, sor\u{fc}".as_bytes(), "no entry, sor\u{fc}");
        check(b"5 \xe2\x82", "5 ");
        check(b"a\xffb", "a\u{fffd}b");
    }

    #[test]
    fn a_reserved_header_names_the_setting() {
        let check = |name, expected: &str| {
            let text = InvalidHeader::Reserved(HeaderName::from_static(name)).to_string();
            assert!(text.contains(name) && text.ends_with(expected), "{text}");
        };
        check("sec-websocket-protocol", "use `Dial::subprotocols`");
        check("sec-websocket-extensions", "use `Dial::compression`");
        check("upgrade", "leave it out");
    }
}
