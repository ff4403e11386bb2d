//! Where does an answer lead, if it is a redirect?

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use crate::target::{InvalidUrl, Target};

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

/// What an answer says about where to go, if it does.
pub(crate) fn location(status: StatusCode, headers: &HeaderMap) -> Option<&str> {
    match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => str::from_utf8(headers.get(LOCATION)?.as_bytes()).ok(),
        _ => None,
    }
}

/// Where an answer leads from here, if it does.
pub(crate) fn next(
    from: &Target,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Target>, RedirectError> {
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
    fn redirects_are_told_from_refusals() {
        let check = |status: u16, location: Option<&'static str>, expected: Option<&str>| {
            let from = Target::parse("wss://example.com/a").unwrap();
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
    fn redirects_do_not_leave_tls() {
        let from = Target::parse("wss://example.com/a").unwrap();
        let location = |url| [(LOCATION, HeaderValue::from_static(url))].into_iter().collect();
        let check = |url, text: &str| {
            let error = next(&from, StatusCode::FOUND, &location(url)).unwrap_err();
            assert!(error.to_string().contains(text), "{url}: {error}");
        };
        check("ws://example.com/b", "unencrypted");
        check("http://b.example", "unencrypted");
        check("ftp://example.com", "cannot be dialled");
    }
}
