//! How is a hub set up?

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::RwLock;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::delivery::backpressure::Turns;
use crate::delivery::queue_pool::Stock;
use crate::delivery::send_queue::Mailbox;
use crate::delivery::stats::Counters;
use crate::events::listeners::Listeners;
use crate::events::protocol::{Envelope, Plain, Protocol};
use crate::hub::Inner;
use crate::hub::broker::{Broker, Here, InProcess};
use crate::registry::ids::Directory;
use crate::registry::rooms::{Room, Rooms};
use crate::{Hub, Outbox};

/// Into how many pieces ids and rooms are divided, each with a lock of its own.
const SHARDS: usize = 64;

/// Settings of a hub. Made by [`Hub::builder`].
#[derive(Default)]
#[must_use = "nothing is done before `build`"]
pub struct HubBuilder {
    outbox: Outbox,
    envelope: bool,
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl HubBuilder {
    /// What may wait for a slow peer, and what happens beyond. Default: 1 MiB, 1,024
    /// messages, and then it is disconnected with 1013.
    pub const fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// Text messages are events, as `{"event":"name","data":…}` in both directions: so
    /// `emit` sends them, and `on("name", …)` hears of them. Binary messages stay messages.
    ///
    /// A name has up to 256 bytes. Without `data` it is `null`, and what else there is in the object
    /// is ignored. A text that is no such object, or one with the name of one of the hub's
    /// [own events](crate::Event), becomes an `error` event with
    /// [`Fault::Malformed`](crate::Fault::Malformed); the socket stays.
    ///
    /// Default: all messages are messages, and `emit` is an error.
    pub const fn envelope(mut self) -> Self {
        self.envelope = true;
        self
    }

    /// Something for handlers to ask for, by its type, as
    /// [`State<T>`](crate::State): one of each type. What changes needs a lock or an atomic.
    /// Default: nothing.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// The hub.
    #[must_use = "a hub without a socket does nothing"]
    pub fn build(self) -> Hub {
        self.broker(Box::new(InProcess))
    }

    /// The hub, with others behind a broker.
    pub(crate) fn broker(self, broker: Box<dyn Broker>) -> Hub {
        let protocol: Box<dyn Protocol> =
            if self.envelope { Box::new(Envelope) } else { Box::new(Plain) };
        self.of(protocol, broker)
    }

    /// The hub, speaking another protocol.
    #[cfg(test)]
    pub(crate) fn speaking(self, protocol: Box<dyn Protocol>) -> Hub {
        self.of(protocol, Box::new(InProcess))
    }

    fn of(self, protocol: Box<dyn Protocol>, broker: Box<dyn Broker>) -> Hub {
        let hub = Arc::new(Inner {
            everyone: Room::new(Arc::from("")),
            rooms: Rooms::new(SHARDS),
            mailboxes: Stock::new(Mailbox::new),
            directory: Directory::new(SHARDS),
            listeners: Listeners::default(),
            middleware: RwLock::default(),
            outbox: self.outbox,
            protocol,
            broker,
            origin: Uuid::new_v4().as_u64_pair().0,
            states: self.states,
            counters: Counters::default(),
            draining: AtomicBool::new(false),
            stopping: Notify::new(),
            turns: Turns::default(),
            served: AtomicUsize::new(0),
            left: Notify::new(),
        });
        hub.broker.start(Arc::new(Here(Arc::downgrade(&hub))));
        Hub(hub)
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("outbox", &self.outbox)
            .field("envelope", &self.envelope)
            .field("states", &self.states.len())
            .finish()
    }
}
