//! What waits for the task of a history, and how is that bounded?

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use ws_events::broker::{BrokerSink, BrokerStatus};

use crate::reader::ReaderSlot;

/// The most bytes of messages that wait. What is beyond that is read again.
const MOST: usize = 16 * 1024 * 1024;

/// What a message counts beside its bytes.
const OVERHEAD: usize = 128;

/// Puts what the driver receives, and what the hub says, in one order.
pub(crate) struct HistoryInbox {
    state: Mutex<InboxState>,
    pub(crate) wake: Notify,
    readers: Arc<ReaderSlot>,
    /// Why the driver is not connected.
    cause: Mutex<String>,
}

#[derive(Default)]
struct InboxState {
    items: VecDeque<HistoryItem>,
    bytes: usize,
    /// Messages were dropped since the last item.
    is_over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HistoryItem {
    Watch(Arc<str>),
    Unwatch(Arc<str>),
    /// What a script has published.
    Message(Bytes),
    /// The driver is connected, or not any more.
    Up,
    Down,
    /// Requests of the driver may not have been carried out.
    NotSent(u64),
    /// Messages were dropped.
    Dropped,
}

impl HistoryInbox {
    pub(crate) fn new(readers: Arc<ReaderSlot>) -> Self {
        let cause = Mutex::new("it is not connected yet".to_owned());
        Self { state: Mutex::default(), wake: Notify::new(), readers, cause }
    }

    /// What is from the hub is not bounded: it has its rooms anyway.
    pub(crate) fn put(&self, item: HistoryItem) {
        self.state.lock().items.push_back(item);
        self.wake.notify_one();
    }

    pub(crate) fn cause(&self) -> String {
        self.cause.lock().clone()
    }

    pub(crate) fn take(&self) -> Option<HistoryItem> {
        let mut state = self.state.lock();
        let item = state.items.pop_front();
        if let Some(HistoryItem::Message(message)) = &item {
            state.bytes -= message.len() + OVERHEAD;
        }
        if item.is_none() && std::mem::take(&mut state.is_over) {
            return Some(HistoryItem::Dropped);
        }
        item
    }
}

impl BrokerSink for HistoryInbox {
    fn message(&self, _: &str, message: Bytes) {
        let size = message.len() + OVERHEAD;
        let mut state = self.state.lock();
        if state.bytes.saturating_add(size) > MOST {
            state.is_over = true;
        } else {
            state.bytes += size;
            state.items.push_back(HistoryItem::Message(message));
        }
        drop(state);
        self.wake.notify_one();
    }

    fn status(&self, status: BrokerStatus) {
        match status {
            BrokerStatus::Up => self.put(HistoryItem::Up),
            BrokerStatus::Down { cause } => {
                self.readers.clear();
                *self.cause.lock() = cause;
                self.put(HistoryItem::Down);
            }
            BrokerStatus::Lost { envelopes } => self.put(HistoryItem::NotSent(envelopes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_beyond_the_bound_are_dropped_and_that_is_known() {
        let inbox = HistoryInbox::new(Arc::default());
        inbox.put(HistoryItem::Up);
        let message = Bytes::from(vec![0; 1024 * 1024]);
        (0..16).for_each(|_| inbox.message("", message.clone()));
        inbox.put(HistoryItem::NotSent(1));
        let mut taken = Vec::new();
        while let Some(item) = inbox.take() {
            taken.push(item);
        }
        assert_eq!(taken.len(), 1 + 15 + 1 + 1);
        assert_eq!(taken[16..], [HistoryItem::NotSent(1), HistoryItem::Dropped]);
        inbox.message("", message.clone());
        assert_eq!(inbox.take(), Some(HistoryItem::Message(message)));
        assert_eq!((inbox.take(), inbox.state.lock().bytes), (None, 0));
    }
}
