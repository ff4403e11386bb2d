//! Which messages wait until what the client has missed is sent?

use std::collections::VecDeque;

use crate::recovery::offset::SentMessage;

/// The messages that a log holds back, in their order.
#[derive(Debug)]
pub(crate) struct HeldMessages<T> {
    messages: VecDeque<HeldMessage<T>>,
    bytes: usize,
}

/// A message that is held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldMessage<T> {
    /// For the log.
    pub(crate) sent: Option<SentMessage>,
    pub(crate) message: T,
    /// In bytes of payload.
    pub(crate) size: usize,
    /// Whether it was sent to the new connection before that had the session.
    pub(crate) is_own: bool,
}

impl<T> HeldMessages<T> {
    pub(crate) const fn new() -> Self {
        Self { messages: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The size of all of them.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, held: HeldMessage<T>) {
        self.bytes += held.size;
        self.messages.push_back(held);
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<HeldMessage<T>> {
        let oldest = self.messages.pop_front()?;
        self.bytes -= oldest.size;
        Some(oldest)
    }

    pub(crate) fn into_messages(self) -> VecDeque<HeldMessage<T>> {
        self.messages
    }
}
