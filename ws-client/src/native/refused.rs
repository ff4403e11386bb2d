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
        write!(f, "{}{}", self.status, refused_hint(self.status))?;
        let body = self.body_text();
        let words: Vec<_> = body.split_whitespace().collect();
        match words.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", Escaped::new(&words.join(" "))),
        }
    }
}

/// What to do about a status.
fn refused_hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => " (`Dial::header` sends credentials, as does a user in the URL)",
        403 => " (it may require `Dial::origin`, or credentials by `Dial::header`)",
        300..=399 => " (a redirect that is not followed)",
        200..=299 | 404 | 405 => " (no WebSocket at this path)",
        400 | 426 => " (it may require `Dial::subprotocols`)",
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
