//! How does a message reach the tasks of all other connections?

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// All who want what is published. A clone is the same hub.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<Vec<UnboundedSender<Bytes>>>>);

/// One connection's part in a hub.
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
    /// Gives `payload` to all others.
    pub fn publish(&self, payload: &Bytes) {
        let subscribers = self.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter().filter(|it| !it.same_channel(&self.sender)) {
            // Who is gone wants no more.
            let _ = subscriber.send(payload.clone());
        }
    }

    /// The next payload that another published.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }

    /// The next payload, if there is one already.
    pub fn ready(&mut self) -> Option<Bytes> {
        self.receiver.try_recv().ok()
    }
}
