//! How is a driver of Redis used as a broker?

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use ws_events::broker::{Broker, BrokerCapabilities, BrokerSink, PublishError, Subject};
use ws_events_broker::{BoxFuture, BrokerDriver};

use crate::config::{InvalidRedisUrl, RedisConfig};
use crate::connector::RedisConnector;

/// A [`Broker`] over Redis or Valkey.
#[derive(Debug)]
pub struct RedisBroker {
    driver: BrokerDriver<RedisConnector<Subject>>,
}

impl RedisBroker {
    /// A broker that connects when it is started.
    ///
    /// # Errors
    ///
    /// If a URL is not valid. Whether the server can be reached is known later, from the status.
    pub fn new(config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        let driver = config.driver.clone();
        Ok(Self { driver: BrokerDriver::new(RedisConnector::new(config)?, driver) })
    }
}

impl Broker for RedisBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        let max_payload = self.driver.max_payload();
        BrokerCapabilities { name: "redis", total_order: true, max_payload }
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        self.driver.start(sink);
    }

    fn subscribe(&self, subjects: &[Subject]) {
        self.driver.subscribe(subjects);
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.driver.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        self.driver.publish(subject, envelope)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.driver.shutdown(deadline)
    }
}
