//! A broker behind a pointer, for a configuration that takes a broker by value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use ws_events::broker::{Broker, BrokerCapabilities, BrokerSink, PublishError, Subject};
use ws_events_broker::BoxFuture;

/// Passes all calls on.
pub(crate) struct Pointer {
    broker: Arc<dyn Broker>,
    is_late: bool,
}

impl Pointer {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, is_late: false }
    }

    /// Subscriptions are passed on after a while.
    pub(crate) fn late(broker: Arc<dyn Broker>) -> Self {
        Self { broker, is_late: true }
    }
}

impl Broker for Pointer {
    fn capabilities(&self) -> BrokerCapabilities {
        self.broker.capabilities()
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        self.broker.start(sink);
    }

    fn subscribe(&self, subjects: &[Subject]) {
        if !self.is_late {
            return self.broker.subscribe(subjects);
        }
        let (broker, subjects) = (Arc::clone(&self.broker), subjects.to_vec());
        tokio::spawn(async move {
            sleep(Duration::from_millis(20)).await; // tidy: sleep is the subject
            broker.subscribe(&subjects);
        });
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.broker.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        self.broker.publish(subject, envelope)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.broker.shutdown(deadline)
    }
}
