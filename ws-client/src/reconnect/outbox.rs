//! Which messages have still to be sent, or sent again?

use std::collections::VecDeque;

use crate::Message;

/// What becomes of messages when the connection is lost, and how many may wait.
///
/// Every message goes through the outbox, in order. It leaves the outbox
///
/// - [at most once](Self::at_most_once): when a connection has taken it. A message that a
///   connection took before it was lost may never have arrived, and is not sent again.
/// - [at least once](Self::at_least_once): when the peer has answered a ping that was sent
///   behind it. When the connection is lost before that, it is sent again on the next one,
///   in the same order, and so it may arrive twice.
///
/// An answered ping says that the peer has read the bytes before it (a WebSocket is in
/// order). What its application did with the message, only an answer of the application can
/// say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outbox {
    at_least_once: bool,
    capacity: usize,
    when_full: WhenFull,
}

impl Outbox {
    /// Each message is sent on one connection: it may be lost with that, and never comes
    /// twice.
    pub const fn at_most_once() -> Self {
        Self { at_least_once: false, capacity: 1024 * 1024, when_full: WhenFull::Wait }
    }

    /// Each message is sent until the peer has it: it is never lost while the outbox lives,
    /// and may come twice.
    ///
    /// It costs a ping for each round trip on which messages were sent. Pongs are read
    /// behind whatever else the peer sends, so somebody has to [`read`] what comes.
    ///
    /// [`read`]: super::ReconnectingConn::read
    pub const fn at_least_once() -> Self {
        Self { at_least_once: true, ..Self::at_most_once() }
    }

    /// How many bytes may wait, each message counted with 64 bytes of its own.
    /// Default: 1 MiB.
    ///
    /// A message is never refused for its size: one that comes while there is less is taken
    /// whole.
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// What a `write` does when there is no room. Default: it waits.
    pub const fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }
}

impl Default for Outbox {
    /// [`at_most_once`](Self::at_most_once).
    fn default() -> Self {
        Self::at_most_once()
    }
}

/// What to do with a message when the outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Wait for room, which may be until there is a connection again.
    Wait,
    /// Refuse it with [`ReconnectError::OutboxFull`](super::ReconnectError::OutboxFull).
    Refuse,
    /// Take it, and drop the oldest: for values that are soon out of date. What is dropped
    /// is lost, with [`at_least_once`](Outbox::at_least_once) too.
    DropOldest,
}

/// The messages themselves. Each has a number, counted from zero.
#[derive(Debug)]
pub(super) struct Queue {
    outbox: Outbox,
    messages: VecDeque<Message>,
    /// The number of the first message that is kept.
    first: u64,
    /// The number of the first message that was not given to the present connection.
    unsent: u64,
    bytes: usize,
}

impl Queue {
    pub(super) const fn new(outbox: Outbox) -> Self {
        Self { outbox, messages: VecDeque::new(), first: 0, unsent: 0, bytes: 0 }
    }

    /// Takes a message, unless it has to wait or is refused.
    pub(super) fn push(&mut self, message: &Message) -> Result<(), WhenFull> {
        if self.is_full() {
            match self.outbox.when_full {
                WhenFull::Wait | WhenFull::Refuse => return Err(self.outbox.when_full),
                WhenFull::DropOldest => {
                    while self.is_full() {
                        self.drop_first();
                    }
                }
            }
        }
        self.bytes += cost(message);
        self.messages.push_back(message.clone());
        Ok(())
    }

    /// The next message for the present connection, and its number.
    pub(super) fn next(&self) -> Option<(u64, Message)> {
        let index = usize::try_from(self.unsent - self.first).ok()?;
        Some((self.unsent, self.messages.get(index)?.clone()))
    }

    /// The connection has taken this message.
    pub(super) fn sent(&mut self, number: u64) {
        if !self.outbox.at_least_once {
            self.forget_before(number + 1);
        }
        // It may have been dropped meanwhile.
        self.unsent = self.unsent.max(number + 1);
    }

    /// The messages before this number were sent, and wait for the peer to say that it has
    /// them; `None` if none does.
    pub(super) fn unconfirmed(&self) -> Option<u64> {
        (self.first < self.unsent).then_some(self.unsent)
    }

    /// Forgets the messages before this number.
    pub(super) fn forget_before(&mut self, number: u64) {
        while self.first < number && !self.messages.is_empty() {
            self.drop_first();
        }
    }

    /// There is another connection: what is here is sent again.
    pub(super) const fn start_again(&mut self) {
        self.unsent = self.first;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.outbox.capacity
    }

    /// The number of the message that comes next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// The number of the first message that is kept.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) const fn is_at_least_once(&self) -> bool {
        self.outbox.at_least_once
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

/// What a message counts for. The constant bounds how many empty ones there are.
fn cost(message: &Message) -> usize {
    message.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue with room for four messages of one byte, written to and sent from by steps.
    fn check(outbox: Outbox, steps: &str, left: &str) {
        let mut queue = Queue::new(outbox.capacity(4 * 65));
        let mut taken = String::new();
        for step in steps.chars() {
            match step {
                '>' => {
                    if let Some((number, message)) = queue.next() {
                        taken.push_str(message.as_text().unwrap());
                        queue.sent(number);
                    }
                }
                '!' => queue.forget_before(queue.unconfirmed().unwrap_or(0)),
                '~' => queue.start_again(),
                letter => match queue.push(&Message::text(String::from(letter))) {
                    Ok(()) => {}
                    Err(WhenFull::Wait) => taken.push('w'),
                    Err(_) => taken.push('r'),
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
    fn at_most_once_forgets_what_a_connection_took() {
        let check = |steps, left| check(Outbox::at_most_once(), steps, left);
        check("", "|");
        check("ab", "|ab");
        check("ab>", "a|b");
        check("ab>~>>", "ab|");
        check("ab>!c>", "ab|c");
    }

    #[test]
    fn at_least_once_sends_again_what_the_peer_did_not_confirm() {
        let check = |steps, left| check(Outbox::at_least_once(), steps, left);
        check("ab>", "a|ab");
        check("ab>!", "a|b");
        check("abc>>~>>>", "ababc|abc");
        check("abc>>!~>>", "abc|c");
        check("abc>!~>>!d>", "abcd|d");
        check("!~>", "|");
    }

    #[test]
    fn a_full_outbox_does_what_was_said() {
        let most = Outbox::at_most_once();
        check(most, "abcde", "w|abcd");
        check(most, "abcd>e>>>>", "abcde|");
        check(most.when_full(WhenFull::Refuse), "abcde>f", "ra|bcdf");
        check(most.when_full(WhenFull::DropOldest), "abcdef>", "c|def");
        let least = Outbox::at_least_once();
        // What was sent still counts, until it is confirmed.
        check(least, "abcd>>e!ef", "abw|cdef");
        check(least.when_full(WhenFull::DropOldest), "abcd>>ef>~>>>>", "abccdef|cdef");
    }

    #[test]
    fn what_is_dropped_while_it_is_being_sent_is_not_taken_for_another() {
        let mut queue =
            Queue::new(Outbox::at_most_once().capacity(65).when_full(WhenFull::DropOldest));
        queue.push(&"a".into()).unwrap();
        let (number, _) = queue.next().unwrap();
        queue.push(&"b".into()).unwrap();
        queue.sent(number);
        assert_eq!(queue.next().unwrap().1, Message::from("b"));
    }

    #[test]
    fn a_message_longer_than_the_outbox_is_taken_when_there_is_room_at_all() {
        let mut queue = Queue::new(Outbox::at_most_once().capacity(10));
        queue.push(&Message::binary(vec![0; 1000])).unwrap();
        assert_eq!(queue.push(&"a".into()), Err(WhenFull::Wait));
        queue.sent(0);
        queue.push(&"a".into()).unwrap();
        assert_eq!(queue.bytes, 65);
    }
}
