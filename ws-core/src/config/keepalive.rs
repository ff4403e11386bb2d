//! How is a peer found out that is gone without a word?

use std::time::Duration;

/// When to ping a silent peer, and when to give it up.
///
/// Judged while the connection is being read: an application that is busy with a
/// message never takes its peer for dead, since what already lies in the socket
/// is read first, and a peer that could not be heard is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) patience: Duration,
}

/// What was said about keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepaliveChoice {
    Unset,
    Off,
    On(Keepalive),
}

impl KeepaliveChoice {
    pub(crate) const fn get(self) -> Option<Keepalive> {
        match self {
            Self::Unset | Self::Off => None,
            Self::On(keepalive) => Some(keepalive),
        }
    }
}

impl Keepalive {
    /// Looks every `interval` whether the peer has sent anything since the last look,
    /// and pings it if not. A ping that brings no sign of life for as long again ends
    /// the connection.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, patience: interval }
    }

    /// How long to wait for a sign of life after a ping; any byte is one. Default: as
    /// long as the interval.
    pub const fn pong_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Default for Keepalive {
    /// A look every 30 s, and 30 s to answer.
    fn default() -> Self {
        Self::every(Duration::from_secs(30))
    }
}
