//! Which URL does a redirect lead to, may it be followed, and which credentials are sent there?

use http::header::{HOST, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderName, StatusCode};

use super::error::RedirectError;
use super::url::HttpUrl;

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
    let mut next = from.join(location)?;
    if from.is_encrypted() && !next.is_encrypted() {
        return Err(RedirectError::NotEncrypted);
    }
    if allows_credentials(&next, from) {
        next.inherit_credentials(from);
    }
    Ok(Some(next))
}

/// Removes the headers of the application from a request to `next`, unless `next` is the server
/// that they were set for, that of `first`. Keeps `Origin` and the headers in `allowed`, but never
/// `Host`.
pub(crate) fn withhold_headers(
    headers: &mut HeaderMap,
    allowed: &[HeaderName],
    next: &HttpUrl,
    first: &HttpUrl,
) {
    let may_send = |name: &&HeaderName| may_send(name, allowed, next, first);
    let withheld: Vec<_> = headers.keys().filter(|name| !may_send(name)).cloned().collect();
    for name in withheld {
        headers.remove(name);
    }
}

/// Whether a header for `first` may be sent to `next`.
pub(crate) fn may_send(
    name: &HeaderName,
    allowed: &[HeaderName],
    next: &HttpUrl,
    first: &HttpUrl,
) -> bool {
    let is_allowed = || *name == ORIGIN || (*name != HOST && allowed.contains(name));
    allows_credentials(next, first) || is_allowed()
}

/// Whether credentials for `first` may be sent to `next`: only if it has the same origin, or the
/// same host behind TLS, both on the default port.
fn allows_credentials(next: &HttpUrl, first: &HttpUrl) -> bool {
    let (next, first) = (next.authority(), first.authority());
    let is_upgraded = next.is_encrypted && next.has_default_port() && first.has_default_port();
    next == first || (next.has_host_of(first) && is_upgraded)
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
            assert_eq!(
                next.as_ref().map(|next| next.uri().to_string()).as_deref(),
                expected,
                "{status}"
            );
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

    #[test]
    fn locations_are_resolved_and_keep_credentials_on_the_same_server() {
        let from = HttpUrl::parse("ws://user@example.com/a/b?x=1").unwrap();
        let follow = |from: &HttpUrl, location: &'static str| {
            let headers = [(LOCATION, HeaderValue::from_static(location))].into_iter().collect();
            next(from, StatusCode::FOUND, &headers).map(|next| next.unwrap())
        };
        let check = |location: &'static str, expected: &str, keeps_credentials: bool| {
            let next = follow(&from, location).unwrap();
            assert_eq!(next.uri(), expected, "{location}");
            assert_eq!(allows_credentials(&next, &from), keeps_credentials, "{location}");
            assert_eq!(next.authorization().is_some(), keeps_credentials, "{location}");
        };
        check("/c", "http://example.com/c", true);
        check("c#top", "http://example.com/a/c", true);
        check("?y=2", "http://example.com/a/b?y=2", true);
        check("ws://example.com:80/c", "http://example.com/c", true);
        check("wss://example.com/c", "https://example.com/c", true);
        check("https://example.com:8443/c", "https://example.com:8443/c", false);
        check("ws://example.com:8080/c", "http://example.com:8080/c", false);
        check("//evil.example/c", "http://evil.example/c", false);
        check("ws://www.example.com/c", "http://www.example.com/c", false);

        let secure = HttpUrl::parse("wss://example.com").unwrap();
        assert!(!allows_credentials(&secure.join("ws://example.com").unwrap(), &secure));
        assert!(follow(&from, "mailto:someone@example.com").is_err());
        let own = follow(&from, "//other@evil.example").unwrap();
        assert_eq!(own.authorization().unwrap(), "Basic b3RoZXI6");
    }
}
