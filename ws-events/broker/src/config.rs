//! Which settings does the connection of a broker have, and what does each bound?

use std::time::Duration;

/// The settings of a [`BrokerDriver`](crate::BrokerDriver).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) max_envelopes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_payload: usize,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(4),
            ping_interval: Duration::from_secs(3),
            max_backoff: Duration::from_millis(500),
            max_envelopes: 8192,
            max_bytes: 8 * 1024 * 1024,
            max_payload: 1024 * 1024,
        }
    }
}

impl DriverConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a connection may take, with TLS and authentication. The default is 3 seconds.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to confirm a batch of envelopes, a batch of subscriptions, or a
    /// ping. Then the connection is given up. The default is 4 seconds.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The time between two pings. A connection on which nothing arrives any more is noticed after
    /// at most the sum of this and `request_timeout`. The default is 3 seconds.
    #[must_use]
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// The longest delay between two attempts to connect. The first delay is at most 50
    /// milliseconds, and each is at most twice the one before. The default is 500 milliseconds.
    #[must_use]
    pub const fn max_backoff(mut self, delay: Duration) -> Self {
        self.max_backoff = delay;
        self
    }

    /// How many envelopes may be queued and on their way; more are refused as `Full`. The default
    /// is 8,192.
    #[must_use]
    pub const fn max_envelopes(mut self, envelopes: usize) -> Self {
        self.max_envelopes = envelopes;
        self
    }

    /// How many bytes the envelopes may have that are queued and on their way; more are refused as
    /// `Full`. A single envelope that is longer is refused as `TooLarge`. The default is 8 MiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many bytes an envelope may have; a longer one is refused as `TooLarge`. A server may
    /// have a lower bound. The default is 1 MiB.
    #[must_use]
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }
}
