//! How do the measured servers publish a message to all other connections?

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The subscribers of a fan-out. A clone is the same hub.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<Vec<UnboundedSender<Bytes>>>>);

/// The subscription of one connection.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    sender: UnboundedSender<Bytes>,
    receiver: UnboundedReceiver<Bytes>,
}

impl Hub {
    /// Adds a subscriber.
    pub fn subscribe(&self) -> Subscription {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender.clone());
        Subscription { hub: self.clone(), sender, receiver }
    }
}

impl Subscription {
    /// Sends `payload` to all other subscribers.
    pub fn publish(&self, payload: &Bytes) {
        let subscribers = self.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter().filter(|it| !it.same_channel(&self.sender)) {
            // The subscriber may have ended.
            let _ = subscriber.send(payload.clone());
        }
    }

    /// The next payload of another connection.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }

    /// The next payload, if one is queued.
    pub fn ready(&mut self) -> Option<Bytes> {
        self.receiver.try_recv().ok()
    }
}
