//! How are dead peers detected, by ping and timeout?

use std::time::Duration;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// When to ping an idle peer, and how long to wait for its answer.
///
/// The timeouts are checked after all received bytes have been processed, also while the
/// application does not read or waits in a `write`.
///
/// The `shutdown` of a [byte stream](crate::Conn::into_byte_stream) ends keepalive.
///
/// If more has arrived than is [read ahead](crate::Conn#what-drives-the-connection), a pong behind
/// it is not seen. The unread bytes then count as an answer, until the application has read nothing
/// for 60 s. After that, the connection can time out although the peer is alive. Without keepalive,
/// the connection ends only if its stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) pong_timeout: Duration,
}

/// Whether and how keepalive was configured. By default, it is on for servers, and off for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepaliveSetting {
    Unset,
    Off,
    On(Keepalive),
}

impl KeepaliveSetting {
    /// This setting, or `default` if it is unset.
    pub(crate) const fn or(self, default: Keepalive) -> Self {
        match self {
            Self::Unset => Self::On(default),
            Self::Off | Self::On(_) => self,
        }
    }

    /// This setting, or the default of a server: [`Keepalive::default`].
    #[cfg(feature = "server")]
    pub(crate) const fn or_server_default(self) -> Self {
        self.or(Keepalive::every(DEFAULT_INTERVAL))
    }

    #[cfg(feature = "conn")]
    pub(crate) const fn get(self) -> Option<Keepalive> {
        match self {
            Self::Unset | Self::Off => None,
            Self::On(keepalive) => Some(keepalive),
        }
    }
}

impl Keepalive {
    /// Checks once per `interval` whether bytes were received since the last check, and sends a
    /// ping if not. So the ping follows one to two intervals after the last received byte. If
    /// nothing is received within the [`pong_timeout`](Self::pong_timeout), this side tries once to
    /// send a close frame with 1011, and aborts the connection with
    /// [`Error::Timeout`](crate::Error::Timeout).
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
    /// Sends a ping 30 to 60 s after the last received byte, and waits 30 s for an answer.
    fn default() -> Self {
        Self::every(DEFAULT_INTERVAL)
    }
}
