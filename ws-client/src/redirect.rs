//! Which URL does a redirect lead to, and may it be followed?

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use crate::error::RedirectError;
use crate::url::HttpUrl;

/// The `Location` of a response, if it is a redirect.
pub(crate) fn location(status: StatusCode, headers: &HeaderMap) -> Option<&str> {
    match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => str::from_utf8(headers.get(LOCATION)?.as_bytes()).ok(),
        _ => None,
    }
}

/// The URL to dial next; `None` if the response is not a redirect.
pub(crate) fn next(
    from: &HttpUrl,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<HttpUrl>, RedirectError> {
    let Some(location) = location(status, headers) else { return Ok(None) };
    let next = from.join(location)?;
    if from.is_encrypted() && !next.is_encrypted() {
        return Err(RedirectError::NotEncrypted);
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn redirects_are_distinguished_from_refusals() {
        let check = |status: u16, location: Option<&'static str>, expected: Option<&str>| {
            let from = HttpUrl::parse("wss://example.com/a").unwrap();
            let location = location.map(|url| (LOCATION, HeaderValue::from_static(url)));
            let status = StatusCode::from_u16(status).unwrap();
            let next = next(&from, status, &location.into_iter().collect()).unwrap();
            assert_eq!(next.as_ref().map(|next| next.url().as_str()), expected, "{status}");
        };
        for status in [301, 302, 303, 307, 308] {
            check(status, Some("/b"), Some("https://example.com/b"));
            check(status, Some("wss://b.example"), Some("https://b.example/"));
            check(status, None, None);
        }
        for status in [101, 200, 201, 300, 304, 305, 306, 404] {
            check(status, Some("/b"), None);
        }
    }

    #[test]
    fn redirects_never_leave_tls() {
        let from = HttpUrl::parse("wss://example.com/a").unwrap();
        let location = |url| [(LOCATION, HeaderValue::from_static(url))].into_iter().collect();
        let check = |url, text: &str| {
            let error = next(&from, StatusCode::FOUND, &location(url)).unwrap_err();
            assert!(error.to_string().contains(text), "{url}: {error}");
        };
        check("ws://example.com/b", "unencrypted");
        check("http://b.example", "unencrypted");
        check("ftp://example.com", "URL of the redirect is invalid");
    }
}
