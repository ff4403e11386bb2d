//! How do hubs and servers of Node.js share a Redis, by the channels of Socket.IO's adapter?

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;
use ws_events::broker::{
    BrokerCapabilities, ChannelBroker, ChannelName, ChannelSink, PublishError,
};
use ws_events_broker::{BoxFuture, BrokerDriver};

use crate::config::{InvalidRedisUrl, RedisConfig};
use crate::connector::RedisConnector;
use crate::name::RedisChannel;

/// Puts a hub into a cluster of Socket.IO servers in Node.js that have `@socket.io/redis-adapter`,
/// version 8, with its default parser.
///
/// ```no_run
/// use ws_events::Hub;
/// use ws_events::cluster::ClusterConfig;
/// use ws_events_redis::{RedisConfig, SocketIoAdapter};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let adapter = SocketIoAdapter::new(RedisConfig::new("redis://127.0.0.1:6379"))?;
/// let hub = Hub::builder().build_clustered(ClusterConfig::socketio(adapter))?;
/// # drop(hub);
/// # Ok(()) }
/// ```
///
/// [`ClusterConfig::socketio`] says what works. The sharded adapter and `createShardedAdapter` have
/// another protocol: [`RedisConfig::sharded`] has no effect here.
///
/// [`ClusterConfig::socketio`]: ws_events::cluster::ClusterConfig::socketio
pub struct SocketIoAdapter {
    driver: BrokerDriver<RedisConnector<RedisChannel>>,
    sink: Arc<OnceLock<Arc<dyn ChannelSink>>>,
}

impl SocketIoAdapter {
    /// An adapter that connects when the hub is built.
    ///
    /// # Errors
    ///
    /// If a URL is not valid. Whether the server can be reached is known later, from the status.
    pub fn new(mut config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        config.is_sharded = false;
        let driver = config.driver.clone();
        let sink: Arc<OnceLock<Arc<dyn ChannelSink>>> = Arc::default();
        let on_receipt = {
            let sink = Arc::clone(&sink);
            move |receipt, subscribers| {
                if let Some(sink) = sink.get() {
                    sink.received_by(receipt, subscribers);
                }
            }
        };
        let connector = RedisConnector::new(config)?.on_receipt(on_receipt);
        Ok(Self { driver: BrokerDriver::new(connector, driver), sink })
    }
}

impl ChannelBroker for SocketIoAdapter {
    fn capabilities(&self) -> BrokerCapabilities {
        let max_payload = self.driver.max_payload();
        BrokerCapabilities { name: "redis", total_order: true, max_payload }
    }

    fn start(&self, sink: Arc<dyn ChannelSink>) {
        // It is started once.
        let _ = self.sink.set(Arc::clone(&sink));
        self.driver.start(sink);
    }

    fn subscribe(&self, channels: &[ChannelName]) {
        self.driver.subscribe(&names(channels));
    }

    fn unsubscribe(&self, channels: &[ChannelName]) {
        self.driver.unsubscribe(&names(channels));
    }

    fn publish(
        &self,
        channel: &str,
        message: Bytes,
        receipt: Option<u64>,
    ) -> Result<(), PublishError> {
        self.driver.publish(&RedisChannel::Exact(channel.into(), receipt), message)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.driver.shutdown(deadline)
    }
}

impl fmt::Debug for SocketIoAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoAdapter").field("driver", &self.driver).finish_non_exhaustive()
    }
}

fn names(channels: &[ChannelName]) -> Vec<RedisChannel> {
    let name = |channel: &ChannelName| match channel {
        ChannelName::Exact(name) => RedisChannel::Exact(Arc::clone(name), None),
        ChannelName::Prefix(prefix) => RedisChannel::starting_with(prefix),
    };
    channels.iter().map(name).collect()
}
