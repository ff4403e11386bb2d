//! Which messages are still to be sent, and how many may be queued?

use std::collections::VecDeque;

use crate::Message;

/// The delivery guarantee and the limits of the send queue of a
/// [`ReconnectingConn`](super::ReconnectingConn).
///
/// Messages are sent in order. The guarantee defines when a message leaves the queue:
///
/// - [at most once](Self::at_most_once): after a connection has taken the message. If the
///   connection is lost after that, the message may be lost too. It is not sent again.
/// - [at least once](Self::at_least_once): after the peer has answered a ping that was sent after
///   the message. If the connection is lost before that, the message is sent again on the next one,
///   in the same order. It may arrive twice.
///
/// A pong confirms that the peer has received all bytes before the ping. It does not confirm that
/// the application of the peer has processed the message; only a reply of that application confirms
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "outbox")]
#[must_use]
pub struct SendQueueConfig {
    guarantee: Guarantee,
    capacity: usize,
    when_full: WhenFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guarantee {
    AtMostOnce,
    AtLeastOnce,
}

impl SendQueueConfig {
    /// Each message is sent on one connection: it may be lost, and never arrives twice.
    pub const fn at_most_once() -> Self {
        Self { guarantee: Guarantee::AtMostOnce, capacity: 1024 * 1024, when_full: WhenFull::Wait }
    }

    /// Each message is sent until the peer confirms it: it is never lost while the queue exists,
    /// and may arrive twice.
    ///
    /// This costs one ping per round trip in which messages were sent. A pong behind more than
    /// 64 KiB of unread messages is not received, so the application must [`read`].
    ///
    /// [`read`]: super::ReconnectingConn::read
    #[cfg(not(target_arch = "wasm32"))]
    pub const fn at_least_once() -> Self {
        Self { guarantee: Guarantee::AtLeastOnce, ..Self::at_most_once() }
    }

    /// Sets the capacity in bytes. Each message counts as its length plus 64. Default: 1 MiB.
    ///
    /// The queue is full when it holds at least this much. A single message may exceed the
    /// capacity.
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Sets what a `write` does when the queue is full. Default: [`WhenFull::Wait`].
    #[doc(alias = "overflow")]
    #[doc(alias = "backpressure")]
    pub const fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }
}

impl Default for SendQueueConfig {
    /// [`at_most_once`](Self::at_most_once).
    fn default() -> Self {
        Self::at_most_once()
    }
}

/// What a `write` does when the send queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Waits for space, possibly until there is a connection.
    Wait,
    /// Fails with [`ReconnectError::SendQueueFull`](super::ReconnectError::SendQueueFull).
    Refuse,
    /// Drops the oldest messages, even with
    /// [`at_least_once`](SendQueueConfig::at_least_once). For values that are soon outdated.
    DropOldest,
}

/// The messages. Each has a number, counted from zero.
#[derive(Debug)]
pub(super) struct SendQueue {
    config: SendQueueConfig,
    messages: VecDeque<Message>,
    /// The number of the first queued message.
    first: u64,
    /// The number of the first message that the current connection has not taken.
    unsent: u64,
    bytes: usize,
}

/// Why a message was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueFull {
    MustWait,
    Refused,
}

impl SendQueue {
    pub(super) const fn new(config: SendQueueConfig) -> Self {
        Self { config, messages: VecDeque::new(), first: 0, unsent: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, message: &Message) -> Result<(), QueueFull> {
        while self.bytes >= self.config.capacity {
            match self.config.when_full {
                WhenFull::Wait => return Err(QueueFull::MustWait),
                WhenFull::Refuse => return Err(QueueFull::Refused),
                WhenFull::DropOldest => self.drop_first(),
            }
        }
        self.bytes += cost(message);
        self.messages.push_back(message.clone());
        Ok(())
    }

    /// The next message for the current connection, and its number.
    pub(super) fn next(&self) -> Option<(u64, Message)> {
        let index = usize::try_from(self.unsent - self.first).ok()?;
        Some((self.unsent, self.messages.get(index)?.clone()))
    }

    /// The current connection has taken this message.
    pub(super) fn mark_sent(&mut self, number: u64) {
        if !self.needs_confirmation() {
            self.confirm_before(number + 1);
        }
        // The message may have been dropped while it was sent.
        self.unsent = self.unsent.max(number + 1);
    }

    /// The messages before this number are sent, but not confirmed. `None` if there are none.
    pub(super) fn unconfirmed(&self) -> Option<u64> {
        (self.first < self.unsent).then_some(self.unsent)
    }

    /// Removes the messages before this number.
    pub(super) fn confirm_before(&mut self, number: u64) {
        while self.first < number && !self.messages.is_empty() {
            self.drop_first();
        }
    }

    /// Sends all queued messages again, on a new connection.
    pub(super) const fn restart(&mut self) {
        self.unsent = self.first;
    }

    /// The number of the next message to be queued.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// The number of the first queued message.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn needs_confirmation(&self) -> bool {
        self.config.guarantee == Guarantee::AtLeastOnce
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        self.messages.iter().cloned().collect()
    }

    fn drop_first(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= cost(&message);
            self.first += 1;
            self.unsent = self.unsent.max(self.first);
        }
    }
}

/// What a message counts. The constant limits the number of empty messages.
fn cost(message: &Message) -> usize {
    message.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with a capacity of four one-byte messages. A letter is written, `>` sends, `!`
    /// confirms, `~` reconnects. `left` is what was sent, and what is queued in the end.
    fn check(config: SendQueueConfig, steps: &str, left: &str) {
        let mut queue = SendQueue::new(config.capacity(4 * 65));
        let mut taken = String::new();
        for step in steps.chars() {
            match step {
                '>' => {
                    if let Some((number, message)) = queue.next() {
                        taken.push_str(message.as_text().unwrap());
                        queue.mark_sent(number);
                    }
                }
                '!' => queue.confirm_before(queue.unconfirmed().unwrap_or(0)),
                '~' => queue.restart(),
                letter => match queue.push(&Message::text(String::from(letter))) {
                    Ok(()) => {}
                    Err(QueueFull::MustWait) => taken.push('w'),
                    Err(QueueFull::Refused) => taken.push('r'),
                },
            }
        }
        let kept: String =
            queue.messages().iter().map(|message| message.as_text().unwrap().to_owned()).collect();
        assert_eq!(format!("{taken}|{kept}"), left, "{steps}");
        assert_eq!(queue.bytes, kept.len() * 65);
        assert_eq!(queue.end(), queue.first() + kept.len() as u64);
    }

    #[test]
    fn at_most_once_removes_what_a_connection_took() {
        let check = |steps, left| check(SendQueueConfig::at_most_once(), steps, left);
        check("", "|");
        check("ab", "|ab");
        check("ab>", "a|b");
        check("ab>~>>", "ab|");
        check("ab>!c>", "ab|c");
    }

    #[test]
    fn at_least_once_resends_what_the_peer_did_not_confirm() {
        let check = |steps, left| check(SendQueueConfig::at_least_once(), steps, left);
        check("ab>", "a|ab");
        check("ab>!", "a|b");
        check("abc>>~>>>", "ababc|abc");
        check("abc>>!~>>", "abc|c");
        check("abc>!~>>!d>", "abcd|d");
        check("!~>", "|");
    }

    #[test]
    fn a_full_queue_follows_its_policy() {
        let most = SendQueueConfig::at_most_once();
        check(most, "abcde", "w|abcd");
        check(most, "abcd>e>>>>", "abcde|");
        check(most.when_full(WhenFull::Refuse), "abcde>f", "ra|bcdf");
        check(most.when_full(WhenFull::DropOldest), "abcdef>", "c|def");
        let least = SendQueueConfig::at_least_once();
        // A sent message counts until it is confirmed.
        check(least, "abcd>>e!ef", "abw|cdef");
        check(least.when_full(WhenFull::DropOldest), "abcd>>ef>~>>>>", "abccdef|cdef");
    }

    #[test]
    fn a_message_dropped_while_it_is_sent_does_not_shift_the_next_one() {
        let mut queue = SendQueue::new(
            SendQueueConfig::at_most_once().capacity(65).when_full(WhenFull::DropOldest),
        );
        queue.push(&"a".into()).unwrap();
        let (number, _) = queue.next().unwrap();
        queue.push(&"b".into()).unwrap();
        queue.mark_sent(number);
        assert_eq!(queue.next().unwrap().1, Message::from("b"));
    }

    #[test]
    fn a_message_longer_than_the_capacity_is_queued_if_the_queue_is_not_full() {
        let mut queue = SendQueue::new(SendQueueConfig::at_most_once().capacity(10));
        queue.push(&Message::binary(vec![0; 1000])).unwrap();
        assert_eq!(queue.push(&"a".into()), Err(QueueFull::MustWait));
        queue.mark_sent(0);
        queue.push(&"a".into()).unwrap();
        assert_eq!(queue.bytes, 65);
    }
}
