//! Which step of an opening handshake failed, and what can be done about it?

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use ws_core::HandshakeError;
use ws_core::handshake::InvalidSubprotocol;

use crate::InvalidUrl;

/// Why there is no connection.
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
    /// HTTP failed before there was an answer.
    ///
    /// The error of `reqwest` knows whether that was while looking up the name
    /// ([`is_dns`](reqwest::Error::is_dns)), while connecting, TLS included
    /// ([`is_connect`](reqwest::Error::is_connect)), or by a timeout of a given client
    /// ([`is_timeout`](reqwest::Error::is_timeout)). The URL, which may hold secrets, is
    /// not in it.
    #[error("{}", http_step(.0))]
    Http(#[source] reqwest::Error),
    /// The given stream failed, or ended before there was an answer.
    #[error("the given stream failed during the opening handshake")]
    Io(#[from] io::Error),
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
}

impl DialError {
    /// The answer of a server that refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn http(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// Which step was it?
fn http_step(error: &reqwest::Error) -> &'static str {
    if error.is_builder() {
        "the HTTP client cannot be set up"
    } else if error.is_timeout() {
        "a timeout of the HTTP client ran out before the answer came"
    } else if error.is_dns() {
        "the name of the server, or of the proxy, cannot be looked up"
    } else if error.is_connect() {
        "the server, or the proxy, cannot be connected to"
    } else if error.is_redirect() {
        "the given client did not follow a redirect"
    } else {
        "the HTTP exchange failed"
    }
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

/// Why a redirect was not followed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more than allowed.
    #[error("there were more than {0} redirects (`Dial::max_redirects`)")]
    TooMany(usize),
    /// It leads from an encrypted to an unencrypted connection.
    #[error("it leads from TLS to an unencrypted connection")]
    NotEncrypted,
    /// It leads to a URL that cannot be dialled.
    #[error("its URL cannot be dialled")]
    Url(#[from] InvalidUrl),
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
