//! Why is there no connection, and is another attempt worth it?

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode as HttpStatus;
use http::header::RETRY_AFTER;

use crate::{CloseInfo, DialError, Error, ProxyError, StatusCode};

/// Why there is no connection: it could not be opened, or it was lost.
///
/// As an error it has the cause as its source, so [`Error::is_close`](crate::Error::is_close) and
/// [`Error::close_status_in`](crate::Error::close_status_in) see through it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// Dialling failed.
    Dial(Arc<DialError>),
    /// A hook of the application failed: [`on_attempt`](crate::Reconnect::on_attempt) or
    /// [`on_connect`](crate::Reconnect::on_connect).
    Hook(Arc<dyn StdError + Send + Sync>),
    /// The connection ended.
    Ended(CloseInfo),
}

/// Is another attempt worth it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be better next time.
    Retry,
    /// It will be the same next time, or is as it should be.
    GiveUp,
}

impl Loss {
    /// The verdict by default. The [module](super) has the table.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Dial(error) => of_dial(error),
            Self::Hook(_) => Verdict::Retry,
            Self::Ended(ending) => of_end(&ending.error),
        }
    }

    /// The code that the connection was closed with, if it was.
    pub fn close_status(&self) -> Option<StatusCode> {
        Error::close_status_in(self)
    }

    /// How long the server asked to be left alone, by a `Retry-After` in seconds
    /// ([RFC 9110 §10.2.3]).
    ///
    /// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Dial(error) = self else { return None };
        let after = error.refusal()?.headers.get(RETRY_AFTER)?.to_str().ok()?;
        Some(Duration::from_secs(after.trim().parse().ok()?))
    }
}

fn of_dial(error: &DialError) -> Verdict {
    match error {
        DialError::Refused(refusal) => of_status(refusal.status),
        DialError::Proxy(ProxyError::Refused(status)) => of_status(*status),
        DialError::Proxy(ProxyError::Unreachable(step)) => of_dial(step),
        // What was asked for cannot be, or the server is not one that speaks WebSocket.
        DialError::Proxy(ProxyError::Url(_))
        | DialError::Url(_)
        | DialError::Header(_)
        | DialError::Subprotocol(_)
        | DialError::Redirect(_)
        | DialError::Handshake(_)
        | DialError::NoHttp2
        | DialError::Http2 => Verdict::GiveUp,
        // The network, which may be back.
        DialError::Dns(_)
        | DialError::Tcp(_)
        | DialError::Proxy(_)
        | DialError::Tls(_)
        | DialError::Http(_)
        | DialError::Io(_)
        | DialError::Timeout(_) => Verdict::Retry,
    }
}

fn of_status(status: HttpStatus) -> Verdict {
    match status {
        HttpStatus::REQUEST_TIMEOUT | HttpStatus::TOO_EARLY | HttpStatus::TOO_MANY_REQUESTS => {
            Verdict::Retry
        }
        HttpStatus::NOT_IMPLEMENTED | HttpStatus::HTTP_VERSION_NOT_SUPPORTED => Verdict::GiveUp,
        _ if status.is_server_error() => Verdict::Retry,
        _ => Verdict::GiveUp,
    }
}

fn of_end(error: &Error) -> Verdict {
    match error {
        Error::Closed(close) => of_code(close.code),
        Error::Timeout(_) | Error::Io(_) => Verdict::Retry,
        // The peer would send the same again. The rest is this side's own doing.
        _ => Verdict::GiveUp,
    }
}

fn of_code(code: StatusCode) -> Verdict {
    match code.as_u16() {
        // Done; or this side was told that it does something wrong, and would do it again.
        1000 | 1002 | 1003 | 1007..=1010 => Verdict::GiveUp,
        // Registered with IANA: unauthorized, and forbidden.
        3000 | 3003 => Verdict::GiveUp,
        _ => Verdict::Retry,
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial(_) => "no connection could be opened",
            Self::Hook(_) => "a hook of the application failed",
            Self::Ended(_) => "the connection was lost",
        })
    }
}

impl StdError for Loss {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Dial(error) => Some(&**error),
            Self::Hook(error) => Some(&**error),
            Self::Ended(ending) => Some(&ending.error),
        }
    }
}

impl From<DialError> for Loss {
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
    use crate::error::Cause;
    use crate::{
        CloseError, Deadline, HandshakeError, InvalidHeader, InvalidUrl, ProtocolError,
        RedirectError, Refusal,
    };

    fn refused(status: u16, headers: &[(&'static str, &'static str)]) -> DialError {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        DialError::Refused(Box::new(Refusal {
            status: HttpStatus::from_u16(status).unwrap(),
            headers: headers.collect::<HeaderMap>(),
            body: Bytes::new(),
        }))
    }

    /// What is in the table in the documentation of the module, row by row.
    #[test]
    fn what_may_be_better_next_time_is_tried_again() {
        let check = |error: DialError, expected| {
            let text = format!("{error:?}");
            assert_eq!(Loss::from(error).verdict(), expected, "{text}");
        };
        let by_proxy = |status| ProxyError::Refused(HttpStatus::from_u16(status).unwrap());
        for status in [408, 425, 429, 500, 502, 503, 504, 520, 530, 599] {
            check(refused(status, &[]), Verdict::Retry);
            check(by_proxy(status).into(), Verdict::Retry);
        }
        for status in [200, 204, 300, 302, 400, 401, 403, 404, 405, 410, 426, 451, 501, 505] {
            check(refused(status, &[]), Verdict::GiveUp);
            check(by_proxy(status).into(), Verdict::GiveUp);
        }
        check(by_proxy(407).into(), Verdict::GiveUp);
        let cause = || Cause::from("a cause");
        check(DialError::Dns(cause()), Verdict::Retry);
        check(DialError::Tcp(cause()), Verdict::Retry);
        check(DialError::Tls(cause()), Verdict::Retry);
        check(DialError::Http(cause()), Verdict::Retry);
        check(ProxyError::Failed(cause()).into(), Verdict::Retry);
        check(ProxyError::Unreachable(Box::new(DialError::Tcp(cause()))).into(), Verdict::Retry);
        check(ProxyError::Url(InvalidUrl::Fragment).into(), Verdict::GiveUp);
        check(DialError::NoHttp2, Verdict::GiveUp);
        assert_eq!(Loss::Hook(Arc::from(cause())).verdict(), Verdict::Retry);
        check(io::Error::from(io::ErrorKind::ConnectionRefused).into(), Verdict::Retry);
        check(DialError::Timeout(Duration::from_secs(1)), Verdict::Retry);
        check(InvalidUrl::Fragment.into(), Verdict::GiveUp);
        check(InvalidHeader::Name.into(), Verdict::GiveUp);
        check(RedirectError::NotEncrypted.into(), Verdict::GiveUp);
        check(HandshakeError::AcceptWrong.into(), Verdict::GiveUp);
        check(DialError::Http2, Verdict::GiveUp);
    }

    #[test]
    fn a_close_code_says_whether_to_come_back() {
        let check = |error: Error, expected| assert_eq!(of_end(&error), expected, "{error:?}");
        let closed = |code| Error::from(CloseError::new(StatusCode::from_u16(code).unwrap(), ""));
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3001, 3002, 3004, 3008, 3999] {
            check(closed(code), Verdict::Retry);
        }
        for code in [1004, 1015, 1016, 1999, 2000, 2999, 4000, 4999] {
            check(closed(code), Verdict::Retry);
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003] {
            check(closed(code), Verdict::GiveUp);
        }
        check(Error::Timeout(Deadline::Keepalive), Verdict::Retry);
        check(Error::Io(Arc::new(io::ErrorKind::PermissionDenied.into())), Verdict::Retry);
        check(ProtocolError::Masked.into(), Verdict::GiveUp);
        check(Error::CloseSent, Verdict::GiveUp);
    }

    #[test]
    fn a_server_says_when_to_come_back() {
        let check = |headers: &[(&'static str, &'static str)], seconds: Option<u64>| {
            let loss = Loss::from(refused(503, headers));
            assert_eq!(loss.retry_after(), seconds.map(Duration::from_secs), "{headers:?}");
        };
        check(&[], None);
        check(&[("retry-after", "120")], Some(120));
        check(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], None);
        check(&[("retry-after", "-1")], None);
    }

    #[test]
    fn codes_are_seen_through_a_loss() {
        let code = StatusCode::TRY_AGAIN_LATER;
        let loss = Loss::Hook(Arc::new(Error::from(CloseError::new(code, ""))));
        assert_eq!(loss.close_status(), Some(code));
    }
}
