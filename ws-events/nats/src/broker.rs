//! How is a driver of NATS used as a broker?

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use ws_events::broker::{Broker, BrokerCapabilities, BrokerSink, PublishError, Subject};
use ws_events_broker::{BoxFuture, BrokerDriver};

use crate::config::{InvalidNatsUrl, NatsConfig};
use crate::connector::NatsConnector;

/// A [`Broker`] over NATS.
#[derive(Debug)]
pub struct NatsBroker {
    driver: BrokerDriver<NatsConnector>,
}

impl NatsBroker {
    /// A broker that connects when it is started.
    ///
    /// # Errors
    ///
    /// If a URL is not valid. Whether the server can be reached is known later, from the status.
    pub fn new(config: NatsConfig) -> Result<Self, InvalidNatsUrl> {
        let driver = config.driver.clone();
        Ok(Self { driver: BrokerDriver::new(NatsConnector::new(config)?, driver) })
    }
}

impl Broker for NatsBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        let max_payload = self.driver.max_payload();
        BrokerCapabilities { name: "nats", total_order: false, max_payload }
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
