//! Why does a server refuse to open a WebSocket, or a proxy a tunnel, and what may help?

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use ws_core::Escaped;
use ws_core::redact::Redacted;

/// The response of a server that refused to open a WebSocket, or of a proxy that refused to open a
/// tunnel.
///
/// Its text has the status, a hint what may help, and the start of the body. `Debug` masks secrets
/// in the headers, as [`Redacted`] does.
#[derive(Clone)]
#[non_exhaustive]
pub struct RefusedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers. Some explain how to succeed: `www-authenticate`, `retry-after`, `location`.
    pub headers: HeaderMap,
    /// The first 1024 bytes of the body. Fewer if the rest did not arrive within three seconds, or
    /// before [`Dial::connect_timeout`](crate::Dial::connect_timeout) passed.
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

impl fmt::Display for RefusedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body_text();
        let words: Vec<_> = body.split_whitespace().collect();
        write!(f, "{}{}", self.status, refused_hint(self.status, words.is_empty()))?;
        match words.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", Escaped::new(&words.join(" "))),
        }
    }
}

/// What to do about a status, which may come without a text that says it.
fn refused_hint(status: StatusCode, is_bare: bool) -> &'static str {
    match status.as_u16() {
        401 => " (`Dial::header` sends credentials, as does a user in the URL)",
        403 => " (it may require `Dial::origin`, or credentials by `Dial::header`)",
        300..=399 => " (a redirect that is not followed)",
        200..=299 | 404 | 405 => " (no WebSocket at this path)",
        400 if is_bare => " (it may require `Dial::subprotocols`)",
        // This client has asked for an upgrade, by a version that each server has.
        426 => " (a proxy may not pass on `Upgrade`)",
        _ => "",
    }
}

impl RefusedResponse {
    pub(crate) fn new(response: Response<()>, body: Bytes) -> Box<Self> {
        let (head, ()) = response.into_parts();
        Box::new(Self { status: head.status, headers: head.headers, body })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_hint_that_fits_the_status_and_the_body() {
        let check = |status: u16, body: &'static str, expected: &str| {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            let response = RefusedResponse { status, headers, body: body.into() };
            assert_eq!(response.to_string(), expected);
        };
        check(400, "", "400 Bad Request (it may require `Dial::subprotocols`)");
        check(400, " \n", "400 Bad Request (it may require `Dial::subprotocols`)");
        let https = "<h1>The plain HTTP request\nwas sent to HTTPS port</h1>";
        let words = "<h1>The plain HTTP request was sent to HTTPS port</h1>";
        check(400, https, &format!("400 Bad Request: {words}"));
        let upgrade = "426 Upgrade Required (a proxy may not pass on `Upgrade`)";
        check(426, "", upgrade);
        check(426, "only WebSockets here", &format!("{upgrade}: only WebSockets here"));
        check(404, "gone", "404 Not Found (no WebSocket at this path): gone");
        check(502, "", "502 Bad Gateway");
    }

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
}
