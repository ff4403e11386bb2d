//! How is a refused opening handshake logged, and how often at most?

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use http::header::ORIGIN;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{Level, field};

use crate::Escaped;
use crate::handshake::{Acceptor, HandshakeRequest, Rejection};
use crate::redact::Redacted;

/// A kind of refusal in the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalKind {
    /// The reason, in snake case. Each is a time series of a metric.
    pub reason: &'static str,
    /// The status of the response.
    pub status: StatusCode,
    /// Whether a setting or the state of the server refuses a well-formed request: then it is a
    /// warning.
    pub is_policy: bool,
}

impl RefusalKind {
    pub(crate) const fn of(rejection: &Rejection) -> Self {
        Self {
            reason: rejection.name(),
            status: rejection.status(),
            is_policy: rejection.is_policy(),
        }
    }
}

/// Logs a refusal; without a request if that has not completely arrived.
pub(crate) fn log(
    peer: Option<SocketAddr>,
    request: Option<(&Acceptor, &HandshakeRequest<'_>)>,
    kind: RefusalKind,
    text: &dyn Display,
) {
    static WARNINGS: LogLimit = LogLimit::new();
    static DETAILS: LogLimit = LogLimit::new();
    let is_enabled = match kind.is_policy {
        true => tracing::enabled!(Level::WARN),
        false => tracing::enabled!(Level::DEBUG),
    };
    if !is_enabled {
        return;
    }
    let limit = if kind.is_policy { &WARNINGS } else { &DETAILS };
    let Some(suppressed) = limit.allow(Instant::now()) else { return };
    let (reason, status) = (kind.reason, kind.status.as_u16());
    let peer = peer.map(field::display);
    let shown = |bytes: &[u8]| {
        let masked = Redacted(&*String::from_utf8_lossy(bytes)).to_string();
        field::display(Escaped::new(&masked).to_string())
    };
    let origin = request.and_then(|(_, request)| request.headers().get(ORIGIN));
    let origin = origin.map(|origin| shown(origin.as_bytes()));
    let host = request.and_then(|(acceptor, request)| acceptor.host(request));
    let host = host.map(|host| shown(host.as_bytes()));
    let path = request.map(|(_, request)| field::display(Escaped::new(request.uri().path())));
    if kind.is_policy {
        tracing::warn!(
            reason,
            status,
            origin,
            host,
            path,
            peer,
            suppressed,
            "opening handshake refused: {text}"
        );
    } else {
        tracing::debug!(
            reason,
            status,
            origin,
            host,
            path,
            peer,
            suppressed,
            "opening handshake refused: {text}"
        );
    }
}

/// At most [`MAX_PER_SECOND`] log lines in a second.
struct LogLimit(Mutex<LogWindow>);

const MAX_PER_SECOND: u32 = 10;

struct LogWindow {
    began: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

impl LogLimit {
    const fn new() -> Self {
        Self(Mutex::new(LogWindow { began: None, logged: 0, suppressed: 0 }))
    }

    /// Whether to log one more line: `Some` with the number of refusals that were not logged since
    /// the last one.
    fn allow(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock();
        // Instants of several runtimes with a paused clock are in no order.
        let is_over = window.began.is_none_or(|began| {
            began > now || now.saturating_duration_since(began) >= Duration::from_secs(1)
        });
        if is_over {
            (window.began, window.logged) = (Some(now), 0);
        }
        if window.logged >= MAX_PER_SECOND {
            window.suppressed += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_ten_times_in_a_second_and_the_rest_is_counted() {
        let (limit, began) = (LogLimit::new(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let flood = |now| (0..100).filter_map(|_| limit.allow(now)).collect::<Vec<_>>();
        assert_eq!(flood(at(5)), [0; 10]);
        assert_eq!(flood(at(1004)), [0; 0]);
        assert_eq!(flood(at(1005)), [&[190][..], &[0; 9]].concat());
        assert_eq!(flood(at(0)), [&[90][..], &[0; 9]].concat(), "another clock");
    }
}
