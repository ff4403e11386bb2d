//! How do the hubs of several processes find the sessions of their clients by Redis?

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use ws_events::broker::{BrokerSink, BrokerStatus, InvalidSubject, Subject};
use ws_events::{Bytes, SessionStore, SessionStoreError};
use ws_events_broker::{BoxFuture, BrokerDriver};

use crate::config::{InvalidRedisUrl, RedisConfig};
use crate::connector::RedisConnector;
use crate::name::{RedisName, ServerState};
use crate::reader::{ReaderSlot, Unanswered};

/// How long a request may take, with the connection that it waits for. The hub waits as long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps in Redis or Valkey which process holds a session, so that a client gets it back on any of
/// them.
///
/// ```no_run
/// use ws_events::cluster::ClusterConfig;
/// use ws_events::{History, Hub, Recovery};
/// use ws_events_redis::{RedisBroker, RedisConfig, RedisHistory, RedisSessions};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RedisConfig::new("redis://127.0.0.1:6379");
/// let sessions = RedisSessions::new(config.clone())?;
/// let hub = Hub::builder()
///     .envelope()
///     .history("chat:*", History::new())
///     .history_store(RedisHistory::new(config.clone())?)
///     .recovery(Recovery::new().store(sessions))
///     .build_clustered(ClusterConfig::new(RedisBroker::new(config)?))?;
/// # drop(hub);
/// # Ok(()) }
/// ```
///
/// A session is one key with a short value, which Redis removes by itself: of a process that has
/// died, too, and two minutes after the session has ended. The names of the keys begin with a prefix,
/// `ws` by default, and have a digest of the token: who reads them gets no session. While Redis cannot be
/// reached, sessions are recovered on their own nodes only. If the connection is lost before the answer to
/// a claim, nobody knows whether Redis has carried it out, and the client gets a new session. Use a
/// `maxmemory-policy` of `noeviction`: a session whose key is evicted is a new one on other nodes.
///
/// With [`RedisConfig::sharded`], the keys are divided among the masters of a Redis Cluster. It
/// needs Redis 6.2 or later. An ACL user needs `+hello +info +ping +script|load +evalsha +get +getrange
/// +set` and the keys `~ws:*`.
pub struct RedisSessions {
    driver: BrokerDriver<RedisConnector<NoChannel>>,
    readers: Arc<ReaderSlot>,
    prefix: String,
}

/// Nothing is published or subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum NoChannel {}

/// The scripts, in the order of `SCRIPTS`.
const PUT: usize = 0;
const REPLACE: usize = 1;

impl RedisName for NoChannel {
    const SCRIPTS: &'static [&'static str] =
        &[include_str!("put.lua"), include_str!("replace.lua")];

    fn channel(&self) -> &str {
        match *self {}
    }
}

impl RedisSessions {
    /// A store that connects when the hub is built, which needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a URL is not valid. Whether the server can be reached is known later.
    pub fn new(config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        let (driver, readers) = (config.driver.clone(), Arc::new(ReaderSlot::default()));
        let connector = RedisConnector::new(config)?.readers(&readers);
        let driver = BrokerDriver::new(connector, driver);
        Ok(Self { driver, readers, prefix: "ws".to_owned() })
    }

    /// What the keys begin with. Default: `ws`.
    ///
    /// # Errors
    ///
    /// If the prefix is no [`Subject`].
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        self.prefix = Subject::new(prefix)?.as_str().to_owned();
        Ok(self)
    }

    /// Calls a script with a key, a generation if it takes one, a record, and its time.
    ///
    /// A record with its generation may be put twice. A second replacement would return the record of the
    /// first.
    fn call(
        &self,
        script: usize,
        key: &str,
        generation: Option<u64>,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Value, SessionStoreError>> {
        let (readers, key) = (Arc::clone(&self.readers), format!("{}:session:{key}", self.prefix));
        let unanswered = if generation.is_some() { Unanswered::Repeat } else { Unanswered::Fail };
        let request = move |key: &str, server: &ServerState| {
            let mut call = redis::cmd("EVALSHA");
            call.arg(server.scripts.get(script).map_or("", String::as_str)).arg(1).arg(key);
            // The server compares texts. The order of letters depends on its locale, that of digits does not.
            generation.iter().for_each(|it| _ = call.arg(format!("{it:020}")));
            call.arg(&record[..]).arg(millis(ttl));
            call
        };
        Box::pin(async move {
            let request = |server: &_| request(&key, server);
            let answer = readers.ask(&key, REQUEST_TIMEOUT, unanswered, request).await;
            answer.map_err(|cause| SessionStoreError(cause.into()))
        })
    }
}

/// A time as Redis takes it: not 0, and not without end, but a hundred years.
fn millis(ttl: Duration) -> u64 {
    let millis = ttl.as_millis().clamp(1, 100 * 365 * 24 * 60 * 60 * 1000);
    u64::try_from(millis).unwrap_or(1)
}

impl SessionStore for RedisSessions {
    fn start(&self) {
        self.driver.start(Arc::new(StatusSink(Arc::clone(&self.readers))));
    }

    fn put(
        &self,
        key: &str,
        generation: u64,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<(), SessionStoreError>> {
        let asking = self.call(PUT, key, Some(generation), record, ttl);
        Box::pin(async move { asking.await.map(drop) })
    }

    fn replace(
        &self,
        key: &str,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, SessionStoreError>> {
        let asking = self.call(REPLACE, key, None, record, ttl);
        Box::pin(async move {
            match asking.await? {
                Value::BulkString(record) => Ok(Some(record.into())),
                Value::Nil => Ok(None),
                _ => Err(SessionStoreError("Redis has answered something else".into())),
            }
        })
    }

    fn shutdown(&self, deadline: tokio::time::Instant) -> BoxFuture<'_, ()> {
        self.driver.shutdown(deadline)
    }
}

/// Ends the requests of a connection that is lost.
struct StatusSink(Arc<ReaderSlot>);

impl BrokerSink for StatusSink {
    fn message(&self, _: &str, _: Bytes) {}

    fn status(&self, status: BrokerStatus) {
        if let BrokerStatus::Down { .. } = status {
            self.0.clear();
        }
    }
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions").field("driver", &self.driver).finish_non_exhaustive()
    }
}
