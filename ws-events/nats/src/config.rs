//! Which settings does a connection to NATS have?

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};
use ws_events_broker::DriverConfig;

/// The settings of a [`NatsBroker`](crate::NatsBroker).
#[derive(Clone)]
#[must_use = "settings do nothing before `NatsBroker::new`"]
pub struct NatsConfig {
    urls: Vec<String>,
    pub(crate) options: ConnectOptions,
    pub(crate) driver: DriverConfig,
}

impl NatsConfig {
    /// Settings with defaults, for a URL: `nats://user:password@host:4222`, or
    /// `nats://token@host:4222`. Credentials and port may be absent. The scheme `tls` has TLS.
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], options: ConnectOptions::new(), driver: DriverConfig::new() }
    }

    /// Adds another server of the same cluster, which is tried when the one before fails.
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// The options of `async-nats`: authentication, TLS, the name of the connection. Those for
    /// reconnects, events, capacities and timeouts have no effect.
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The timeouts and the bounds of the pipeline.
    pub fn driver(mut self, config: DriverConfig) -> Self {
        self.driver = config;
        self
    }

    pub(crate) fn servers(&self) -> Result<Vec<ServerAddr>, InvalidNatsUrl> {
        let parse = |url: &String| url.parse().ok().filter(|it: &ServerAddr| !it.host().is_empty());
        self.urls.iter().map(|url| parse(url).ok_or(InvalidNatsUrl)).collect()
    }
}

/// Without URLs, since they contain passwords.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig").field("driver", &self.driver).finish_non_exhaustive()
    }
}

/// A URL that does not name a NATS server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL of NATS is not valid: use nats:// or tls://, and a host")]
#[non_exhaustive]
pub struct InvalidNatsUrl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_its_password_is_not_printed() {
        let config = NatsConfig::new("nats://user:secret@a").fallback("tls://b:1").fallback("c");
        assert_eq!(config.servers().unwrap().len(), 3);
        assert!(!format!("{config:?}").contains("secret"));
        let broker = crate::NatsBroker::new(config).unwrap();
        assert!(!format!("{broker:?}").contains("secret"));
        for url in ["", "http://a", "nats://"] {
            assert!(NatsConfig::new(url).servers().is_err(), "{url}");
        }
    }
}
