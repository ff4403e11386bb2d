//! What does delivery need to know about a socket?

use ws_core::{Message, PreparedMessage};

use crate::delivery::handler_yield::HandlerYield;
use crate::delivery::overflow::SendQueueLimits;
use crate::delivery::send_queue::{ByteSize, SendQueue};
use crate::delivery::stats::Counters;
use crate::recovery::offset::SentMessage;
use crate::recovery::sent_log::SentLog;
use crate::sync::{Link, Mutex, Runtime};

/// A socket, as delivery sees it.
///
/// A trait rather than a struct, so that the hub keeps the parts inside its sockets, without
/// another pointer for each socket.
pub(crate) trait Recipient: Send + Sync + Sized + 'static {
    /// An event in its queue.
    type Event: Send;

    fn queue(&self) -> &SendQueue<PreparedMessage, Self::Event>;

    /// What it shares with all sockets of its hub.
    fn delivery(&self) -> &DeliveryShared;

    /// Where its task runs.
    fn runtime(&self) -> Option<&Runtime>;

    /// Calls `use_link` with its connection, unless that has ended. The connection stays until
    /// the call returns.
    fn with_link<T>(&self, use_link: impl FnOnce(&Link) -> T) -> Option<T>;

    /// What was sent to it, if its session can be recovered. Locked before its queue.
    fn sent_log(&self) -> Option<&Mutex<SentLog<PreparedMessage>>> {
        None
    }

    /// The message that is sent to it now, with what its client has to remember of its other rooms.
    fn with_offsets(
        &self,
        log: &SentLog<PreparedMessage>,
        message: PreparedMessage,
        sent: Option<&SentMessage>,
    ) -> PreparedMessage {
        let _ = (log, sent);
        message
    }

    /// A message was dropped, so its session cannot be recovered any more. Called under the lock of its
    /// log, once.
    fn lost(&self) {}

    /// Loads the cache line that [`with_link`](Self::with_link) needs.
    fn prefetch_link(&self);

    /// Accepts no more messages, and discards the queued ones.
    fn stop_sending(&self) {
        self.delivery().counters.discard(self.queue().stop_sending());
    }
}

/// What all sockets of a hub share for delivery.
#[derive(Default)]
pub(crate) struct DeliveryShared {
    pub(crate) limits: SendQueueLimits,
    pub(crate) counters: Counters,
    pub(crate) handler_yield: HandlerYield,
}

impl ByteSize for PreparedMessage {
    fn byte_size(&self) -> usize {
        self.messages().map(Message::len).sum()
    }
}
