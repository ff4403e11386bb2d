//! How are dead peers detected, by ping and timeout?

use std::time::Duration;

/// When to ping an idle peer, and when to abort the connection without an answer.
///
/// The timeouts are checked while the connection is read, after all received bytes have been
/// processed. So a connection is not aborted because its application was busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) pong_timeout: Duration,
}

/// Whether and how keepalive was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepaliveSetting {
    Unset,
    Off,
    On(Keepalive),
}

impl KeepaliveSetting {
    #[cfg(feature = "conn")]
    pub(crate) const fn get(self) -> Option<Keepalive> {
        match self {
            Self::Unset | Self::Off => None,
            Self::On(keepalive) => Some(keepalive),
        }
    }
}

impl Keepalive {
    /// Sends a ping if nothing was received for `interval`. The connection is aborted if nothing is
    /// received for another `interval` after the ping.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, pong_timeout: interval }
    }

    /// How long to wait after a ping. Any received byte counts as an answer. Default: the
    /// interval.
    pub const fn pong_timeout(self, pong_timeout: Duration) -> Self {
        Self { pong_timeout, ..self }
    }
}

impl Default for Keepalive {
    /// A ping after 30 s, and 30 s to answer it.
    fn default() -> Self {
        Self::every(Duration::from_secs(30))
    }
}
