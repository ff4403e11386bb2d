//! Which settings does a connection to Redis have?

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use ws_events_broker::DriverConfig;

/// The settings of a [`RedisBroker`](crate::RedisBroker).
#[derive(Clone)]
#[must_use = "settings do nothing before `RedisBroker::new`"]
pub struct RedisConfig {
    urls: Vec<String>,
    pub(crate) is_sharded: bool,
    pub(crate) driver: DriverConfig,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl RedisConfig {
    /// Settings with defaults, for a URL: `redis://user:password@host:6379`. User, password and
    /// port may be absent. The scheme `rediss` has TLS, and `redis+unix:///path` is a Unix socket.
    /// A number of a database has no effect, because pub/sub has none.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            is_sharded: false,
            driver: DriverConfig::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Adds another server, which is tried when the one before fails. All processes must reach the
    /// same server or cluster: others do not get their messages.
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Uses sharded pub/sub over all masters of a Redis Cluster, version 7 or later. The URLs are
    /// those of any of its servers. By default, it is ordinary pub/sub of one server.
    pub const fn sharded(mut self) -> Self {
        self.is_sharded = true;
        self
    }

    /// The settings of TLS, for URLs with the scheme `rediss`. By default, the roots of the
    /// operating system are trusted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<tokio_rustls::rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The timeouts and the bounds of the pipeline.
    pub fn driver(mut self, config: DriverConfig) -> Self {
        self.driver = config;
        self
    }

    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, InvalidRedisUrl> {
        self.urls.iter().map(|url| Endpoint::parse(url)).collect()
    }
}

/// Without URLs, since they contain passwords.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("is_sharded", &self.is_sharded)
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

/// A URL that does not name a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL of Redis is not valid: use redis://, rediss:// or redis+unix://, and a host")]
#[non_exhaustive]
pub struct InvalidRedisUrl;

/// A server, and how to authenticate.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) settings: RedisConnectionInfo,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    #[cfg(feature = "tls")]
    Tls {
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self, InvalidRedisUrl> {
        // The crate `redis` refuses TLS without its own TLS.
        let plain = ["rediss://", "valkeys://"].iter().find_map(|it| url.strip_prefix(it));
        if plain.is_some() && cfg!(not(feature = "tls")) {
            return Err(InvalidRedisUrl);
        }
        let parsed = match plain {
            Some(rest) => format!("redis://{rest}").parse::<ConnectionInfo>(),
            None => url.parse(),
        };
        let info = parsed.map_err(|_| InvalidRedisUrl)?;
        let address = match (info.addr(), plain) {
            (ConnectionAddr::Tcp(host, port), None) => {
                Address::Tcp { host: host.clone(), port: *port }
            }
            #[cfg(feature = "tls")]
            (ConnectionAddr::Tcp(host, port), Some(_)) => {
                Address::Tls { host: host.clone(), port: *port }
            }
            #[cfg(unix)]
            (ConnectionAddr::Unix(path), None) => Address::Unix(path.clone()),
            _ => return Err(InvalidRedisUrl),
        };
        let settings = info.redis_settings().clone();
        let settings =
            settings.set_db(0).set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        Ok(Self { address, settings })
    }

    /// Another server of the same cluster. A server that does not know its own address announces an
    /// empty host.
    pub(crate) fn with_address(&self, host: &str, port: u16) -> Self {
        let host = |own: &String| if host.is_empty() { own.clone() } else { host.to_owned() };
        let address = match &self.address {
            Address::Tcp { host: own, .. } => Address::Tcp { host: host(own), port },
            #[cfg(feature = "tls")]
            Address::Tls { host: own, .. } => Address::Tls { host: host(own), port },
            #[cfg(unix)]
            Address::Unix(_) => Address::Tcp { host: host(&"localhost".to_owned()), port },
        };
        Self { address, settings: self.settings.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<Address>) {
        assert_eq!(Endpoint::parse(url).ok().map(|endpoint| endpoint.address), expected, "{url}");
    }

    #[test]
    fn a_url_names_a_server() {
        let tcp = |host: &str, port| Some(Address::Tcp { host: host.to_owned(), port });
        check("redis://redis.example", tcp("redis.example", 6379));
        check("valkey://127.0.0.1:7000/3", tcp("127.0.0.1", 7000));
        check("redis://user:secret@[::1]:1", tcp("::1", 1));
        #[cfg(feature = "tls")]
        check("rediss://:secret@a:1", Some(Address::Tls { host: "a".to_owned(), port: 1 }));
        #[cfg(not(feature = "tls"))]
        check("rediss://:secret@a:1", None);
        #[cfg(unix)]
        check("redis+unix:///run/redis.sock", Some(Address::Unix("/run/redis.sock".into())));
        for url in ["", "redis://", "http://a", "rediss+unix:///a", "redis://a:99999", "nonsense"] {
            check(url, None);
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let config = RedisConfig::new("redis://user:secret@a");
        assert!(!format!("{config:?}").contains("secret"));
        let broker = crate::RedisBroker::new(config).unwrap();
        assert!(!format!("{broker:?}").contains("secret"));
    }
}
