//! Why is there no connection, and is another attempt made?

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode as HttpStatus;
use http::header::RETRY_AFTER;

use crate::error::Causes;
use crate::{CloseInfo, CodecError, DialError, Error, ProxyError, StatusCode};

/// Why an attempt to connect has failed, or why the connection was lost.
///
/// Its text includes that of the cause. The cause is the source, too, so that
/// [`Error::close_status_in`](crate::Error::close_status_in) finds the close code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionFailure {
    /// Dialling failed.
    Dial(Arc<DialError>),
    /// A hook of the application failed: [`on_attempt`](crate::Reconnect::on_attempt) or
    /// [`on_connect`](crate::Reconnect::on_connect).
    Hook(Arc<dyn StdError + Send + Sync>),
    /// The connection ended.
    Ended(CloseInfo),
}

/// Whether another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Another attempt may succeed.
    Retry,
    /// Another attempt would fail in the same way, or no further connection is needed.
    GiveUp,
}

/// Why there are no more connections, or why a message was not queued or decoded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectError {
    /// This side has closed the connection.
    Closed,
    /// The [`RetryDecision`] was to give up, or [`Reconnect::max_attempts`] was reached.
    ///
    /// [`Reconnect::max_attempts`]: crate::Reconnect::max_attempts
    GaveUp(ConnectionFailure),
    /// The task of the connection has stopped: its runtime was dropped, or a hook panicked.
    Stopped,
    /// The send queue is full. The message was not queued.
    SendQueueFull,
    /// A message could not be decoded, or a value could not be encoded. The connection stays open.
    Codec(CodecError),
}

impl fmt::Display for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "this side has closed the connection"),
            Self::GaveUp(why) => write!(f, "no more attempts to connect: {why}"),
            Self::Stopped => write!(f, "the task that connects has stopped"),
            Self::SendQueueFull => {
                write!(f, "the send queue is full (`SendQueueConfig::capacity`)")
            }
            Self::Codec(why) => write!(f, "{why}"),
        }
    }
}

impl StdError for ReconnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::GaveUp(failure) => failure.source(),
            Self::Closed | Self::Stopped | Self::SendQueueFull | Self::Codec(_) => None,
        }
    }
}

impl_from!(ReconnectError {
    CodecError => Self::Codec,
});

impl ConnectionFailure {
    /// The default decision. The table is in the documentation of the [module](super).
    pub fn retry_decision(&self) -> RetryDecision {
        match self {
            Self::Dial(error) => of_dial(error),
            Self::Hook(_) => RetryDecision::Retry,
            Self::Ended(ending) => of_end(&ending.error),
        }
    }

    /// The close code, if the connection was closed with one.
    pub fn close_status(&self) -> Option<StatusCode> {
        Error::close_status_in(self)
    }

    /// The `Retry-After` header of a refused response, a number of seconds or a date
    /// ([RFC 9110 §10.2.3]). A date that has passed is zero.
    ///
    /// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Dial(error) = self else { return None };
        let after = error.refused_response()?.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        match after.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let date = httpdate::parse_http_date(after).ok()?;
                Some(date.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    }
}

fn of_dial(error: &DialError) -> RetryDecision {
    match error {
        DialError::Refused(response) => of_status(response.status),
        DialError::Proxy(ProxyError::Refused(status)) => of_status(*status),
        DialError::Proxy(ProxyError::Unreachable(step)) => of_dial(step),
        // Invalid settings, or not a WebSocket server.
        DialError::Proxy(ProxyError::Url(_))
        | DialError::Url(_)
        | DialError::Header(_)
        | DialError::MissingFeature(_)
        | DialError::Subprotocol(_)
        | DialError::Redirect(_)
        | DialError::Handshake(_)
        | DialError::NoHttp2
        | DialError::InAsyncCode
        | DialError::Http2 => RetryDecision::GiveUp,
        // The network, which may recover.
        DialError::Dns(_)
        | DialError::Tcp(_)
        | DialError::Proxy(_)
        | DialError::Tls(_)
        | DialError::Http(_)
        | DialError::Io(_)
        | DialError::Timeout(_) => RetryDecision::Retry,
    }
}

fn of_status(status: HttpStatus) -> RetryDecision {
    match status.as_u16() {
        // Request timeout, too early, too many requests.
        408 | 425 | 429 => RetryDecision::Retry,
        // Not implemented, HTTP version not supported.
        501 | 505 => RetryDecision::GiveUp,
        500..=599 => RetryDecision::Retry,
        _ => RetryDecision::GiveUp,
    }
}

fn of_end(error: &Error) -> RetryDecision {
    match error {
        Error::Closed(close) => of_code(close.code),
        Error::Timeout(_) | Error::Io(_) => RetryDecision::Retry,
        // The peer would send the same again, or this side has caused the error.
        _ => RetryDecision::GiveUp,
    }
}

fn of_code(code: StatusCode) -> RetryDecision {
    match code.as_u16() {
        // Normal closure, or an error of this side, which it would repeat.
        1000 | 1002 | 1003 | 1007..=1010 => RetryDecision::GiveUp,
        // Registered at IANA: unauthorized and forbidden.
        3000 | 3003 => RetryDecision::GiveUp,
        _ => RetryDecision::Retry,
    }
}

impl fmt::Display for ConnectionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => write!(f, "no connection could be opened: {error}"),
            Self::Hook(error) => {
                write!(f, "a hook of the application failed: {}", Causes(&**error))
            }
            Self::Ended(ending) => write!(f, "the connection was lost: {}", ending.error),
        }
    }
}

impl StdError for ConnectionFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Dial(error) => Some(&**error),
            Self::Hook(error) => Some(&**error),
            Self::Ended(ending) => Some(&ending.error),
        }
    }
}

impl From<DialError> for ConnectionFailure {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::error::BoxError;
    use crate::{
        CloseError, Deadline, HandshakeError, InvalidHeader, InvalidUrl, ProtocolError,
        RedirectError, RefusedResponse,
    };

    fn refused(status: u16, headers: &[(&'static str, &'static str)]) -> DialError {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        DialError::Refused(Box::new(RefusedResponse {
            status: HttpStatus::from_u16(status).unwrap(),
            headers: headers.collect::<HeaderMap>(),
            body: Bytes::new(),
        }))
    }

    /// The table in the documentation of the module, row by row.
    #[test]
    fn temporary_failures_are_retried() {
        let check = |error: DialError, expected| {
            let text = format!("{error:?}");
            assert_eq!(ConnectionFailure::from(error).retry_decision(), expected, "{text}");
        };
        let by_proxy = |status| ProxyError::Refused(HttpStatus::from_u16(status).unwrap());
        for status in [408, 425, 429, 500, 502, 503, 504, 520, 530, 599] {
            check(refused(status, &[]), RetryDecision::Retry);
            check(by_proxy(status).into(), RetryDecision::Retry);
        }
        for status in [200, 204, 300, 302, 400, 401, 403, 404, 405, 410, 426, 451, 501, 505] {
            check(refused(status, &[]), RetryDecision::GiveUp);
            check(by_proxy(status).into(), RetryDecision::GiveUp);
        }
        check(by_proxy(407).into(), RetryDecision::GiveUp);
        let cause = || BoxError::from("a cause");
        check(DialError::Dns(cause()), RetryDecision::Retry);
        check(DialError::Tcp(cause()), RetryDecision::Retry);
        check(DialError::Tls(cause()), RetryDecision::Retry);
        check(DialError::Http(cause()), RetryDecision::Retry);
        check(ProxyError::Failed(cause()).into(), RetryDecision::Retry);
        check(
            ProxyError::Unreachable(Box::new(DialError::Tcp(cause()))).into(),
            RetryDecision::Retry,
        );
        check(ProxyError::Url(InvalidUrl::Fragment).into(), RetryDecision::GiveUp);
        check(DialError::NoHttp2, RetryDecision::GiveUp);
        assert_eq!(
            ConnectionFailure::Hook(Arc::from(cause())).retry_decision(),
            RetryDecision::Retry
        );
        check(io::Error::from(io::ErrorKind::ConnectionRefused).into(), RetryDecision::Retry);
        check(DialError::Timeout(Duration::from_secs(1)), RetryDecision::Retry);
        check(InvalidUrl::Fragment.into(), RetryDecision::GiveUp);
        check(InvalidHeader::Name.into(), RetryDecision::GiveUp);
        check(RedirectError::NotEncrypted.into(), RetryDecision::GiveUp);
        check(HandshakeError::AcceptWrong.into(), RetryDecision::GiveUp);
        check(DialError::Http2, RetryDecision::GiveUp);
    }

    #[test]
    fn close_codes_decide_about_a_retry() {
        let check = |error: Error, expected| assert_eq!(of_end(&error), expected, "{error:?}");
        let closed = |code| Error::from(CloseError::new(StatusCode::from_u16(code).unwrap(), ""));
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3001, 3002, 3004, 3008, 3999] {
            check(closed(code), RetryDecision::Retry);
        }
        for code in [1004, 1015, 1016, 1999, 2000, 2999, 4000, 4999] {
            check(closed(code), RetryDecision::Retry);
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003] {
            check(closed(code), RetryDecision::GiveUp);
        }
        check(Error::Timeout(Deadline::Keepalive), RetryDecision::Retry);
        check(Error::Io(Arc::new(io::ErrorKind::PermissionDenied.into())), RetryDecision::Retry);
        check(ProtocolError::Masked.into(), RetryDecision::GiveUp);
        check(Error::CloseSent, RetryDecision::GiveUp);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let check = |headers: &[(&'static str, &'static str)], seconds: Option<u64>| {
            let failure = ConnectionFailure::from(refused(503, headers));
            assert_eq!(failure.retry_after(), seconds.map(Duration::from_secs), "{headers:?}");
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
        let headers: HeaderMap = [(RETRY_AFTER, date.parse().unwrap())].into_iter().collect();
        let response = RefusedResponse {
            status: HttpStatus::SERVICE_UNAVAILABLE,
            headers,
            body: Bytes::new(),
        };
        let failure = ConnectionFailure::from(DialError::Refused(Box::new(response)));
        let after = failure.retry_after().unwrap().as_secs();
        assert!((900..=1000).contains(&after), "{after}");
    }

    #[test]
    fn the_close_code_is_found_in_the_causes() {
        let code = StatusCode::TRY_AGAIN_LATER;
        let failure = ConnectionFailure::Hook(Arc::new(Error::from(CloseError::new(code, ""))));
        assert_eq!(failure.close_status(), Some(code));
    }
}
