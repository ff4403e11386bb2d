//! How do the hubs of several processes exchange messages?
//!
//! A [`Broker`] carries opaque envelopes between processes, on [`Subject`]s. It knows nothing of
//! sockets and rooms: hubs put all of that above it. A crate for Redis or NATS implements this trait; [`LoopbackBus`] joins the hubs of one process, for tests.
//!
//! # Contract
//!
//! * No call waits for a network, and none blocks. What a broker holds is bounded.
//! * Envelopes of one publisher on one subject arrive in the order in which they were published,
//!   each at most once. Those that do not arrive leave a gap, which the hub detects.
//! * A subscription survives reconnects. [`BrokerStatus::Up`] is reported when all recorded
//!   subscriptions are confirmed, not when the connection is.
//! * An envelope that [`publish`](Broker::publish) has accepted and that is not sent is reported by
//!   [`BrokerStatus::Lost`].
//!
//! All that may publish are trusted: an envelope can do what a hub can do. With the feature `hmac`,
//! only those are that have [a key](crate::cluster::ClusterConfig::keys).

#[cfg(feature = "socketio-adapter")]
mod channels;
mod hash;
mod loopback;
#[cfg(feature = "hmac")]
pub(crate) mod signed;
mod subject;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::time::Instant;

#[cfg(feature = "socketio-adapter")]
pub use channels::{ChannelBroker, ChannelName, ChannelSink};
pub use hash::stable_hash;
pub use loopback::{LoopbackBroker, LoopbackBus, LoopbackFaults};
pub use subject::{InvalidSubject, Subject};

/// Carries envelopes between the hubs of several processes: see the [module](self).
pub trait Broker: Send + Sync + 'static {
    /// What the broker can do. It does not change.
    fn capabilities(&self) -> BrokerCapabilities;

    /// Starts the task of the connection, in the current tokio runtime. Called once, before any
    /// other call but [`capabilities`](Self::capabilities).
    fn start(&self, sink: Arc<dyn BrokerSink>);

    /// Records subscriptions, and subscribes to them now, or when the connection is up. A subject
    /// that is subscribed to already is no error, and subscribed to once.
    fn subscribe(&self, subjects: &[Subject]);

    /// Removes subscriptions. An unknown subject is no error. Envelopes that are on their way may
    /// still be passed to the sink.
    fn unsubscribe(&self, subjects: &[Subject]);

    /// Queues an envelope in a bounded pipeline, or refuses it at once. If this process subscribes
    /// to the subject, it gets the envelope, too.
    ///
    /// # Errors
    ///
    /// If the envelope was not queued. It is not sent then.
    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError>;

    /// Sends what is queued, until `deadline`, and then ends the connection and its task. What was
    /// not sent by then is reported by [`BrokerStatus::Lost`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown may be incomplete. Another call continues it.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()>;
}

/// Where a [`Broker`] puts what it receives. No call blocks.
pub trait BrokerSink: Send + Sync {
    /// An envelope has arrived. Called in the order of arrival.
    fn message(&self, subject: &str, envelope: Bytes);

    /// The state of the broker has changed.
    fn status(&self, status: BrokerStatus);
}

/// A change that a [`Broker`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerStatus {
    /// The connection is up, and all recorded subscriptions are confirmed.
    Up,
    /// The connection is lost, and the broker connects again.
    Down {
        /// What has happened, for a log. Its text may come from the network.
        cause: String,
    },
    /// Envelopes that were accepted were not sent, or envelopes that have arrived were dropped.
    Lost {
        /// Their number.
        envelopes: u64,
    },
}

/// What a [`Broker`] can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerCapabilities {
    /// Its name, for logs: `redis`, `nats`.
    pub name: &'static str,
    /// Whether all subscribers of a subject get its envelopes in the same order, also those of
    /// several publishers.
    pub total_order: bool,
    /// The longest envelope that it takes, in bytes.
    pub max_payload: usize,
}

/// Why a [`Broker`] has not taken an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum PublishError {
    /// The pipeline is full: the network or the broker does not keep up.
    #[error("the pipeline to the broker is full")]
    Full,
    /// The broker cannot be reached now.
    #[error("the broker cannot be reached")]
    Down,
    /// The envelope is longer than [`BrokerCapabilities::max_payload`].
    #[error("the envelope is longer than the broker takes")]
    TooLarge,
}
