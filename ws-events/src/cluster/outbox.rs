//! How are envelopes numbered and published, and what happens to them while the broker is down?

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::config::OutagePolicy;
use super::head::set_number;
use super::sequence::{Claim, Numbering};
use crate::broker::{Broker, PublishError, Subject};

/// What was published so long before an outage is published again after it.
const AGAIN: Duration = Duration::from_secs(1);

/// Numbers envelopes, and publishes them in order.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The bytes of what may be held, with what may be published again, and its age, if the policy is to
    /// hold it.
    limits: Option<(usize, Duration)>,
    /// Held while a broker takes an envelope, which does not wait for a network. So the order of the
    /// numbers is that of the envelopes.
    state: Mutex<OutboxState>,
}

#[derive(Debug, Default)]
struct OutboxState {
    numbering: Numbering,
    flow: Flow,
    /// What was published during the last second. It makes room for what is published later.
    recent: VecDeque<Held>,
    recent_bytes: usize,
    /// What is published later.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Envelopes that were held, and that were too long or too old for the broker since the last
    /// report.
    unsent: u64,
}

/// Whether envelopes are published, or why they are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    #[default]
    Open,
    /// The pipeline of the broker is full.
    Full,
    /// The broker is down, or the other nodes may not have subscribed again.
    Down,
    /// The node has left: nothing is published or held any more.
    Ended,
}

#[derive(Debug)]
struct Held {
    subject: Subject,
    number: u64,
    envelope: Bytes,
    since: Instant,
    /// When the broker has taken it last.
    published: Option<Instant>,
}

/// What happened to an envelope that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Published,
    Held,
}

impl Outbox {
    pub(crate) fn new(policy: OutagePolicy) -> Self {
        let limits = match policy {
            OutagePolicy::Buffer { bytes, age } => Some((bytes, age)),
            OutagePolicy::FailFast | OutagePolicy::LocalOnly => None,
        };
        Self { limits, state: Mutex::default() }
    }

    /// Publishes an envelope with the next number of the subject, or holds it.
    pub(crate) fn publish(
        &self,
        broker: &dyn Broker,
        subject: &Subject,
        mut envelope: BytesMut,
        now: Instant,
    ) -> Result<Taken, PublishError> {
        let mut state = self.state.lock();
        let number = state.numbering.next(subject, now);
        set_number(&mut envelope, number);
        let (number, since, envelope) = (number.this, now, envelope.freeze());
        let held = |published| Held {
            subject: subject.clone(),
            number,
            envelope: envelope.clone(),
            since,
            published,
        };
        let result = match state.flow {
            Flow::Open => broker.publish(subject, envelope.clone()),
            Flow::Full => Err(PublishError::Full),
            Flow::Down | Flow::Ended => Err(PublishError::Down),
        };
        let result = match (result, self.limits) {
            (Ok(()), limits) => {
                state.numbering.published(subject, number);
                if let Some((bytes, _)) = limits {
                    state.remember(held(Some(now)), bytes, now);
                }
                return Ok(Taken::Published);
            }
            (Err(error @ (PublishError::Full | PublishError::Down)), Some((bytes, _)))
                if state.flow != Flow::Ended =>
            {
                if state.flow == Flow::Open {
                    state.close(error, now);
                }
                if envelope.len() > broker.capabilities().max_payload {
                    // The broker would refuse it later, when nobody learns it.
                    Err(PublishError::TooLarge)
                } else if state.make_room(envelope.len(), bytes) {
                    state.held_bytes += envelope.len();
                    state.held.push_back(held(None));
                    return Ok(Taken::Held);
                } else {
                    Err(error)
                }
            }
            (Err(error), _) => Err(error),
        };
        state.numbering.take_back(subject);
        result
    }

    /// The broker has reported that it is down.
    pub(crate) fn broker_down(&self, now: Instant) {
        let mut state = self.state.lock();
        if self.limits.is_some() && state.flow != Flow::Ended {
            state.close(PublishError::Down, now);
        }
    }

    /// Publishes at most `most` of what is held, in order. Returns whether nothing is held any more.
    /// Called when all nodes have subscribed again.
    pub(crate) fn flush(&self, broker: &dyn Broker, most: usize, now: Instant) -> bool {
        let mut state = self.state.lock();
        let Some((bytes, age)) = self.limits else { return true };
        for _ in 0..most {
            let Some(mut next) = state.held.pop_front() else { break };
            if next.is_older(age, now) {
                state.unsent += state.drop_held(&next);
                continue;
            }
            match broker.publish(&next.subject, next.envelope.clone()) {
                Ok(()) => {}
                Err(PublishError::Full | PublishError::Down) => {
                    state.held.push_front(next);
                    return false;
                }
                // The broker has changed: receivers see a gap.
                Err(PublishError::TooLarge) => {
                    state.unsent += state.drop_held(&next);
                    continue;
                }
            }
            state.held_bytes = state.held_bytes.saturating_sub(next.envelope.len());
            state.numbering.published(&next.subject, next.number);
            next.published = Some(now);
            state.remember(next, bytes, now);
        }
        let is_empty = state.held.is_empty();
        if is_empty {
            state.flow = Flow::Open;
            state.held = VecDeque::new();
        }
        is_empty
    }

    /// Drops what was held for too long. Returns how many envelopes, with those that a flush has dropped
    /// since the last call, were never published.
    pub(crate) fn expire(&self, now: Instant) -> u64 {
        let Some((_, age)) = self.limits else { return 0 };
        let mut state = self.state.lock();
        let mut unsent = std::mem::take(&mut state.unsent);
        // The oldest is the first one.
        while state.held.front().is_some_and(|it| it.is_older(age, now)) {
            let Some(held) = state.held.pop_front() else { break };
            unsent += state.drop_held(&held);
        }
        unsent
    }

    /// Drops what is held, and refuses what comes. Returns how many envelopes were never published.
    /// The claims are those of all envelopes from now on.
    pub(crate) fn end(&self) -> u64 {
        let mut state = self.state.lock();
        let mut unsent = std::mem::take(&mut state.unsent);
        for held in std::mem::take(&mut state.held) {
            unsent += state.drop_held(&held);
        }
        state.flow = Flow::Ended;
        unsent
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.state.lock().held.is_empty()
    }

    pub(crate) fn flow(&self) -> Flow {
        self.state.lock().flow
    }

    /// What a heartbeat claims; `None` while envelopes are held.
    pub(crate) fn claims(&self) -> Option<(Vec<Claim>, bool)> {
        let state = self.state.lock();
        matches!(state.flow, Flow::Open | Flow::Ended).then(|| state.numbering.claims())
    }
}

impl Held {
    fn is_older(&self, age: Duration, now: Instant) -> bool {
        now.duration_since(self.since) > age
    }

    /// Whether it was published too long ago to be published again.
    fn is_forgotten(&self, now: Instant) -> bool {
        self.published.is_some_and(|at| now.duration_since(at) > AGAIN)
    }
}

impl OutboxState {
    /// An envelope that was held is dropped. Returns 1 if it was never published.
    fn drop_held(&mut self, held: &Held) -> u64 {
        self.held_bytes = self.held_bytes.saturating_sub(held.envelope.len());
        // Claimed, so that receivers report it.
        self.numbering.published(&held.subject, held.number);
        u64::from(held.published.is_none())
    }

    /// Holds envelopes from now on, and publishes the latest once more if the broker is down.
    fn close(&mut self, why: PublishError, now: Instant) {
        self.flow = if why == PublishError::Full { Flow::Full } else { Flow::Down };
        if self.flow == Flow::Full {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        self.recent_bytes = 0;
        let again = recent.into_iter().filter(|it| !it.is_forgotten(now));
        // In front of what is held since the pipeline was full, or since the last outage.
        let held = std::mem::take(&mut self.held);
        self.held = again.chain(held).collect();
        self.held_bytes = self.held.iter().map(|it| it.envelope.len()).sum();
    }

    fn remember(&mut self, published: Held, bytes: usize, now: Instant) {
        self.recent_bytes += published.envelope.len();
        self.recent.push_back(published);
        // Half of the bytes, so that there is room for more in an outage.
        self.forget(bytes / 2);
        while self.recent.front().is_some_and(|it| it.is_forgotten(now)) {
            self.forget_first();
        }
    }

    /// Forgets the oldest of what was published, so that an envelope can be held. Returns whether there
    /// is room for it.
    fn make_room(&mut self, len: usize, bytes: usize) -> bool {
        let left = bytes.checked_sub(self.held_bytes.saturating_add(len));
        left.inspect(|left| self.forget(*left)).is_some()
    }

    /// Forgets the oldest of what was published, until it has at most so many bytes.
    fn forget(&mut self, most_bytes: usize) {
        while self.recent_bytes > most_bytes && !self.recent.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.recent.pop_front() {
            self.recent_bytes = self.recent_bytes.saturating_sub(first.envelope.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::{BrokerSink, BrokerStatus, LoopbackBroker, LoopbackBus};
    use crate::cluster::envelope::Body;
    use crate::cluster::head::Head;
    use crate::cluster::node::NodeId;

    /// Keeps the numbers of what arrives.
    #[derive(Default)]
    struct Numbers(Mutex<Vec<u64>>);

    impl BrokerSink for Numbers {
        fn message(&self, _: &str, envelope: Bytes) {
            let (head, _) = Head::decode(&envelope).unwrap();
            self.0.lock().push(head.number.unwrap().this);
        }

        fn status(&self, _: BrokerStatus) {}
    }

    fn start() -> (LoopbackBus, LoopbackBroker, Arc<Numbers>) {
        let (bus, numbers) = (LoopbackBus::new(1), Arc::new(Numbers::default()));
        let broker = bus.join();
        broker.start(Arc::clone(&numbers) as _);
        broker.subscribe(&[subject()]);
        (bus, broker, numbers)
    }

    fn subject() -> Subject {
        Subject::new("a").unwrap()
    }

    fn publish(outbox: &Outbox, broker: &LoopbackBroker) -> Result<Taken, PublishError> {
        let envelope = Body::Goodbye.encode(NodeId(1), 1).unwrap();
        outbox.publish(broker, &subject(), envelope, Instant::now())
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await; // tidy: sleep is the subject
    }

    async fn taken(numbers: &Numbers) -> Vec<u64> {
        pass(Duration::from_millis(1)).await;
        std::mem::take(&mut numbers.0.lock())
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_envelope_leaves_no_gap() {
        let (bus, broker, numbers) = start();
        let outbox = Outbox::new(OutagePolicy::FailFast);
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Published));
        bus.set_max_payload(1);
        assert_eq!(publish(&outbox, &broker), Err(PublishError::TooLarge));
        assert_eq!(taken(&numbers).await, [1]);
        bus.set_up(false);
        assert_eq!(publish(&outbox, &broker), Err(PublishError::Down));
        bus.set_up(true);
        bus.set_max_payload(1000);
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Published));
        assert_eq!(taken(&numbers).await, [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_comes_in_order_after_the_last_second_before_the_outage() {
        let (bus, broker, numbers) = start();
        let outbox = Outbox::new(OutagePolicy::buffer(1000, Duration::from_secs(9)));
        publish(&outbox, &broker).unwrap();
        pass(Duration::from_secs(2)).await;
        publish(&outbox, &broker).unwrap();
        assert_eq!(taken(&numbers).await, [1, 2]);
        bus.set_up(false);
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
        assert!(outbox.flow() == Flow::Down && outbox.claims().is_none());
        bus.set_up(true);
        // Not before the other nodes have subscribed.
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
        assert!(!outbox.flush(&broker, 2, Instant::now()));
        assert!(outbox.flush(&broker, 2, Instant::now()));
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Published));
        assert_eq!(taken(&numbers).await, [2, 3, 4, 5]);
        assert_eq!(outbox.claims().map(|(claims, _)| claims[0].last), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_will_never_take_is_refused_or_reported() {
        for is_up in [true, false] {
            let (bus, broker, numbers) = start();
            let outbox = Outbox::new(OutagePolicy::buffer(1000, Duration::from_secs(9)));
            bus.set_up(false);
            outbox.broker_down(Instant::now());
            assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
            bus.set_max_payload(1);
            assert_eq!(publish(&outbox, &broker), Err(PublishError::TooLarge));
            bus.set_up(is_up);
            // It was held, and is too long by now.
            assert_eq!(outbox.flush(&broker, 9, Instant::now()), is_up);
            assert_eq!(outbox.expire(Instant::now()), u64::from(is_up));
            assert_eq!(outbox.end(), u64::from(!is_up));
            assert_eq!(outbox.claims().map(|(claims, _)| claims[0].last), Some(1));
            bus.set_up(true);
            bus.set_max_payload(1000);
            assert_eq!(publish(&outbox, &broker), Err(PublishError::Down));
            assert_eq!(taken(&numbers).await, [0; 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_bounded_in_bytes_and_age() {
        let (bus, broker, numbers) = start();
        let outbox = Outbox::new(OutagePolicy::buffer(100, Duration::from_secs(9)));
        bus.set_up(false);
        outbox.broker_down(Instant::now());
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
        assert_eq!(publish(&outbox, &broker), Err(PublishError::Down));
        assert_eq!(outbox.expire(Instant::now()), 0);
        pass(Duration::from_secs(10)).await;
        assert_eq!(outbox.expire(Instant::now()), 2);
        assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
        bus.set_up(true);
        assert!(outbox.flush(&broker, 9, Instant::now()));
        assert_eq!(taken(&numbers).await, [3]);
    }

    /// Each row has how many envelopes may be held, how many are published before the pipeline is full and
    /// then before the broker is down, how many of these are held, and what comes after the outage.
    #[tokio::test(start_paused = true)]
    async fn what_is_published_again_counts_among_the_bytes() {
        let len = Body::Goodbye.encode(NodeId(1), 1).unwrap().len();
        for (most, before, then, held, expected) in [
            (4, 2, 2, 2, &[1, 2, 3, 4][..]),
            (4, 3, 1, 1, &[2, 3, 4]),
            (4, 2, 3, 3, &[2, 3, 4, 5]),
            (4, 2, 5, 4, &[3, 4, 5, 6]),
        ] {
            let bytes = most * len;
            let (bus, broker, numbers) = start();
            let outbox = Outbox::new(OutagePolicy::buffer(bytes, Duration::from_secs(9)));
            (0..before).for_each(|_| _ = publish(&outbox, &broker).unwrap());
            outbox.state.lock().close(PublishError::Full, Instant::now());
            let taken_now = (0..then).filter(|_| publish(&outbox, &broker).is_ok()).count();
            assert_eq!(taken_now, held, "{before} {then}");
            outbox.broker_down(Instant::now());
            bus.set_up(false);
            let sum = |state: &OutboxState| state.held_bytes + state.recent_bytes;
            assert!(sum(&outbox.state.lock()) <= bytes, "{before} {then}");
            taken(&numbers).await;
            bus.set_up(true);
            assert!(outbox.flush(&broker, 9, Instant::now()));
            assert_eq!(taken(&numbers).await, expected, "{before} {then}");
        }
    }

    /// The broker is down again before all is published. Each row has how long the outages are, in
    /// seconds, and what comes after them.
    #[tokio::test(start_paused = true)]
    async fn a_second_outage_loses_nothing_and_makes_nothing_older() {
        for (first, second, expected, unsent) in
            [(1, 1, &[1, 2, 3, 4][..], 0), (8, 8, &[4], 1), (8, 2, &[4], 1), (10, 1, &[4], 3)]
        {
            let (bus, broker, numbers) = start();
            let outbox = Outbox::new(OutagePolicy::buffer(1000, Duration::from_secs(9)));
            bus.set_up(false);
            outbox.broker_down(Instant::now());
            (0..3).for_each(|_| _ = publish(&outbox, &broker).unwrap());
            pass(Duration::from_secs(first)).await;
            bus.set_up(true);
            assert!(!outbox.flush(&broker, 2, Instant::now()));
            taken(&numbers).await;
            bus.set_up(false);
            outbox.broker_down(Instant::now());
            assert_eq!(publish(&outbox, &broker), Ok(Taken::Held));
            pass(Duration::from_secs(second)).await;
            bus.set_up(true);
            assert!(outbox.flush(&broker, 9, Instant::now()));
            assert_eq!(taken(&numbers).await, expected, "{first} {second}");
            assert_eq!(outbox.expire(Instant::now()), unsent, "{first} {second}");
        }
    }
}
