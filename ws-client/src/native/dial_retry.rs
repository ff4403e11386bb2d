//! May another attempt succeed after a failed dial, and when?

#[cfg(feature = "reconnect")]
use std::time::{Duration, SystemTime};

use http::StatusCode;
#[cfg(feature = "reconnect")]
use http::header::RETRY_AFTER;

use crate::{DialError, ProxyError};

impl DialError {
    /// Whether another attempt may succeed: after a failure of the network, of TLS or of a name
    /// lookup, and a refusal with 408, 425, 429, or 5xx except 501 and 505. `Reconnect` decides by
    /// it; a loop of your own can, too.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(response) => is_temporary(response.status),
            Self::Proxy(ProxyError::Refused(response)) => is_temporary(response.status),
            Self::Proxy(ProxyError::Unreachable(step)) => step.is_temporary(),
            // Invalid settings, or not a WebSocket server.
            Self::Proxy(ProxyError::Url(_))
            | Self::Url(_)
            | Self::Header(_)
            | Self::MissingFeature(_)
            | Self::Subprotocol(_)
            | Self::Redirect(_)
            | Self::Handshake(_)
            | Self::NoHttp2
            | Self::InAsyncCode
            | Self::Http2 => false,
            // The network, which may recover.
            Self::Dns(_)
            | Self::Tcp(_)
            | Self::Proxy(_)
            | Self::Tls(_)
            | Self::Http(_)
            | Self::Io(_)
            | Self::Timeout(_) => true,
        }
    }

    /// The `Retry-After` header of a refused response, of the server or of a proxy: a number of
    /// seconds or a date (RFC 9110 §10.2.3). A date that has passed is zero.
    #[cfg(feature = "reconnect")]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let (Self::Refused(response) | Self::Proxy(ProxyError::Refused(response))) = self else {
            return None;
        };
        let after = response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        match after.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let date = httpdate::parse_http_date(after).ok()?;
                Some(date.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    match status.as_u16() {
        // Request timeout, too early, too many requests.
        408 | 425 | 429 => true,
        // Not implemented, HTTP version not supported.
        501 | 505 => false,
        500..=599 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;

    use super::*;
    use crate::native::error::BoxError;
    use crate::{
        DialTimeout, HandshakeError, InvalidHeader, InvalidUrl, RedirectError, RefusedResponse,
    };

    /// The response of a server, and the same of a proxy.
    fn refused(status: u16, headers: &[(&str, &str)]) -> [DialError; 2] {
        let response = || {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            RefusedResponse::new(response.body(()).unwrap(), Bytes::new())
        };
        [DialError::Refused(response()), ProxyError::Refused(response()).into()]
    }

    /// The table in the documentation of `reconnect`, row by row.
    #[test]
    fn temporary_failures_are_retried() {
        let check = |error: DialError, expected| {
            assert_eq!(error.is_temporary(), expected, "{error:?}");
        };
        for status in [408, 425, 429, 500, 502, 503, 504, 520, 530, 599] {
            for error in refused(status, &[]) {
                check(error, true);
            }
        }
        for status in [200, 204, 300, 302, 400, 401, 403, 404, 405, 407, 410, 426, 451, 501, 505] {
            for error in refused(status, &[]) {
                check(error, false);
            }
        }
        let cause = || BoxError::from("a cause");
        check(DialError::Dns(cause()), true);
        check(DialError::Tcp(cause()), true);
        check(DialError::Tls(cause()), true);
        check(DialError::Http(cause()), true);
        check(ProxyError::Failed(cause()).into(), true);
        check(ProxyError::Unreachable(Box::new(DialError::Tcp(cause()))).into(), true);
        check(ProxyError::Url(InvalidUrl::Fragment).into(), false);
        check(DialError::NoHttp2, false);
        check(io::Error::from(io::ErrorKind::ConnectionRefused).into(), true);
        let (limit, server) = (Duration::from_secs(1), "example.com:80".into());
        check(DialError::Timeout(DialTimeout { limit, server, step: None }), true);
        check(InvalidUrl::Fragment.into(), false);
        check(InvalidHeader::Name.into(), false);
        check(RedirectError::NotEncrypted.into(), false);
        check(HandshakeError::AcceptWrong.into(), false);
        check(DialError::Http2, false);
    }

    #[cfg(feature = "reconnect")]
    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let check = |headers: &[(&str, &str)], seconds: Option<u64>| {
            for error in refused(503, headers) {
                assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{error:?}");
            }
        };
        check(&[], None);
        check(&[("retry-after", "120")], Some(120));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "soon")], None);
        // Dates in the past, in all three formats.
        check(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], Some(0));
        check(&[("retry-after", "Friday, 31-Dec-99 23:59:59 GMT")], Some(0));
        check(&[("retry-after", "Fri Dec 31 23:59:59 1999")], Some(0));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1000));
        for error in refused(503, &[("retry-after", &date)]) {
            let after = error.retry_after().unwrap().as_secs();
            assert!((900..=1000).contains(&after), "{after}");
        }
    }
}
