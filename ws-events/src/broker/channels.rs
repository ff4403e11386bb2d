//! How are messages of servers in another language carried, whose protocol names the channels?

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{BrokerCapabilities, BrokerSink, PublishError};

/// Carries messages on channels whose names are those of another protocol:
/// `ws_events_redis::SocketIoAdapter`.
///
/// Its contract is that of a [`Broker`](super::Broker), with channels in place of subjects. The
/// messages of one publisher arrive in order, also those on several channels.
pub trait ChannelBroker: Send + Sync + 'static {
    /// What it can do. It does not change.
    fn capabilities(&self) -> BrokerCapabilities;

    /// Starts the task of the connection, in the current tokio runtime. Called once, before any
    /// other call but [`capabilities`](Self::capabilities).
    fn start(&self, sink: Arc<dyn ChannelSink>);

    /// Records subscriptions, and subscribes to them now, or when the connection is up.
    fn subscribe(&self, channels: &[ChannelName]);

    /// Removes subscriptions.
    fn unsubscribe(&self, channels: &[ChannelName]);

    /// Queues a message in a bounded pipeline, or refuses it at once. With a `receipt`,
    /// [`ChannelSink::received_by`] is called when the server has passed it on.
    ///
    /// # Errors
    ///
    /// If the message was not queued. It is not sent then.
    fn publish(
        &self,
        channel: &str,
        message: Bytes,
        receipt: Option<u64>,
    ) -> Result<(), PublishError>;

    /// Sends what is queued, until `deadline`, and then ends the connection and its task.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown may be incomplete. Another call continues it.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()>;
}

/// Where a [`ChannelBroker`] puts what it receives. No call blocks.
pub trait ChannelSink: BrokerSink {
    /// A message with this receipt was passed on to so many subscribers, this one included if it
    /// has subscribed.
    fn received_by(&self, receipt: u64, subscribers: u64);
}

/// What a [`ChannelBroker`] subscribes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelName {
    /// The channel with this name.
    Exact(Arc<str>),
    /// All channels whose names begin with this text.
    Prefix(Arc<str>),
}
