//! What has arrived that the application has not read?

use std::collections::VecDeque;

use crate::Message;
use crate::frame::Frame;

/// How much is read ahead: payload bytes, and [`OVERHEAD`] for each message.
pub(crate) const READ_AHEAD: usize = 64 * 1024;

/// What a message counts besides its payload. No less than it takes in the queue.
const OVERHEAD: usize = 128;

/// What was read while only operations waited that take no messages, oldest first.
///
/// Reading goes on until [`is_full`](Self::is_full), so the last item may exceed the bound.
#[derive(Default)]
pub(crate) struct ReadAhead {
    items: VecDeque<AheadItem>,
    bytes: usize,
}

/// What is read ahead.
pub(crate) enum AheadItem {
    /// A whole message. While a `MessageReader` is open, the first is the end of its message.
    Message(Message),
    /// A frame of a message of which other frames were read as such.
    Frame(Frame),
}

impl AheadItem {
    fn cost(&self) -> usize {
        let payload = match self {
            Self::Message(message) => message.len(),
            Self::Frame(frame) => frame.payload().len(),
        };
        payload.saturating_add(OVERHEAD)
    }
}

impl ReadAhead {
    pub(crate) fn push(&mut self, item: AheadItem) {
        self.bytes = self.bytes.saturating_add(item.cost());
        self.items.push_back(item);
    }

    pub(crate) fn pop(&mut self) -> Option<AheadItem> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.cost());
        Some(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether no more is read ahead.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= READ_AHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_at_its_bound_and_keeps_the_order() {
        for (size, items) in [(0, 512), (64 * 1024 - 129, 2), (64 * 1024 - 128, 1), (1 << 20, 1)] {
            let mut ahead = ReadAhead::default();
            let mut pushed = 0_u8;
            while !ahead.is_full() {
                pushed = pushed.wrapping_add(1);
                let mut payload = vec![pushed; size];
                payload.truncate(size);
                ahead.push(AheadItem::Message(Message::binary(payload)));
            }
            assert_eq!(ahead.len(), items, "{size}");
            for _ in 0..items {
                assert!(matches!(ahead.pop(), Some(AheadItem::Message(_))));
            }
            assert!(ahead.is_empty() && !ahead.is_full() && ahead.pop().is_none());
        }
        assert!(size_of::<AheadItem>() <= OVERHEAD);
    }
}
