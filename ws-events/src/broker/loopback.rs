//! How are the hubs of one process joined, for tests, by a bus whose faults a test chooses?
//!
//! Longer than 400 lines because the bus and its members are read together.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Broker, BrokerCapabilities, BrokerSink, BrokerStatus, PublishError, Subject};

/// The envelopes on their way to one member. Beyond that, envelopes for it are dropped.
const IN_FLIGHT: usize = 64 * 1024;

/// Envelopes that a member delivers before other tasks run.
const TURN: usize = 64;

/// Joins the hubs of one process, for tests: a broker in memory.
///
/// By default, each envelope arrives at once and in order. A test can choose
/// [faults](LoopbackFaults), cut members off from each other, and take the bus down. Which
/// envelopes the faults hit depends on the seed alone, as long as they are published in one order.
/// Delays are those of tokio's clock, so a test with paused time does not wait.
///
/// ```
/// use ws_events::Hub;
/// use ws_events::broker::LoopbackBus;
/// use ws_events::cluster::ClusterConfig;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = LoopbackBus::new(1);
/// let one = Hub::builder().build_clustered(ClusterConfig::new(bus.join()))?;
/// let two = Hub::builder().build_clustered(ClusterConfig::new(bus.join()))?;
/// // To the sockets of both.
/// one.to("red").send("hello");
/// # drop(two);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LoopbackBus(Arc<Mutex<BusState>>);

struct BusState {
    members: Vec<Weak<Member>>,
    faults: LoopbackFaults,
    /// The state of a splitmix64 generator.
    random: u64,
    is_up: bool,
    total_order: bool,
    max_payload: usize,
    /// Numbers what is on its way, so that equal times keep their order.
    last: u64,
    dropped: u64,
}

/// What goes wrong on a [`LoopbackBus`]. By default, nothing does.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "faults do nothing before `LoopbackBus::set_faults`"]
pub struct LoopbackFaults {
    loss: f64,
    duplication: f64,
    delay: Option<RangeInclusive<Duration>>,
    reorders: bool,
}

impl LoopbackFaults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The probability that an envelope does not reach a member: 0 to 1. Default: 0.
    pub const fn loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// The probability that an envelope reaches a member twice: 0 to 1. Default: 0.
    pub const fn duplication(mut self, probability: f64) -> Self {
        self.duplication = probability;
        self
    }

    /// How long an envelope takes, at random in this range. Default: no time.
    pub const fn delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.delay = Some(range);
        self
    }

    /// Lets envelopes with a short delay overtake others. Default: the order is kept.
    pub const fn reorders(mut self, reorders: bool) -> Self {
        self.reorders = reorders;
        self
    }
}

impl LoopbackBus {
    /// A bus without members and faults. The seed selects the random numbers of the faults.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(BusState {
            members: Vec::new(),
            faults: LoopbackFaults::new(),
            random: seed,
            is_up: true,
            total_order: true,
            max_payload: 1024 * 1024,
            last: 0,
            dropped: 0,
        })))
    }

    /// A new member, for one hub.
    pub fn join(&self) -> LoopbackBroker {
        let member = Arc::new(Member {
            state: Mutex::new(MemberState {
                sink: None,
                subjects: HashSet::new(),
                statuses: VecDeque::new(),
                waiting: BTreeMap::new(),
                last_due: None,
                group: 0,
                is_up: true,
                is_ended: false,
            }),
            changed: Notify::new(),
        });
        self.0.lock().members.push(Arc::downgrade(&member));
        LoopbackBroker { bus: Self(Arc::clone(&self.0)), member }
    }

    /// Changes the faults, for envelopes that are published from now on.
    pub fn set_faults(&self, faults: LoopbackFaults) {
        self.0.lock().faults = faults;
    }

    /// Whether the bus says that it has a total order: see
    /// [`BrokerCapabilities::total_order`]. Default: `true`. Faults that reorder break it anyway.
    pub fn set_total_order(&self, total_order: bool) {
        self.0.lock().total_order = total_order;
    }

    /// The longest envelope in bytes. Default: 1 MiB.
    pub fn set_max_payload(&self, bytes: usize) {
        self.0.lock().max_payload = bytes;
    }

    /// Takes the bus down, or up again. While it is down, publishing fails, and what is on its way
    /// is lost.
    pub fn set_up(&self, is_up: bool) {
        let members = {
            let mut bus = self.0.lock();
            if bus.is_up == is_up {
                return;
            }
            bus.is_up = is_up;
            bus.members()
        };
        for member in members.iter().filter(|member| member.is_connected()) {
            self.count_dropped(member.report_up(is_up));
        }
    }

    /// Envelopes that the faults, a cut or an outage have kept from a member so far.
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    fn count_dropped(&self, envelopes: usize) {
        self.0.lock().dropped += envelopes as u64;
    }
}

impl BusState {
    fn members(&self) -> Vec<Arc<Member>> {
        self.members.iter().filter_map(Weak::upgrade).collect()
    }

    /// A random number from 0 to 1.
    fn chance(&mut self) -> f64 {
        (self.next_random() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn delay(&mut self) -> Duration {
        match self.faults.delay.clone() {
            None => Duration::ZERO,
            Some(range) => {
                let (least, most) = (*range.start(), *range.end());
                least + most.saturating_sub(least).mul_f64(self.chance())
            }
        }
    }

    /// Puts an envelope on its way to each subscriber.
    fn send(&mut self, from: &Member, subject: &Subject, envelope: &Bytes) {
        let now = Instant::now();
        let group = from.state.lock().group;
        self.members.retain(|member| member.strong_count() > 0);
        for member in self.members() {
            if !member.state.lock().subjects.contains(subject) {
                continue;
            }
            let copies = match (self.chance() < self.faults.loss, self.faults.duplication) {
                (true, _) => 0,
                (false, duplication) => 1 + u8::from(self.chance() < duplication),
            };
            let mut dropped = copies == 0;
            for _ in 0..copies {
                let due = now + self.delay();
                self.last += 1;
                let envelope = (subject.clone(), envelope.clone());
                dropped |= !member.put(group, (due, self.last), self.faults.reorders, envelope);
            }
            self.dropped += u64::from(dropped);
        }
    }
}

/// A member of a [`LoopbackBus`]: the [`Broker`] of one hub. A clone is a handle of the same member.
#[derive(Clone)]
pub struct LoopbackBroker {
    bus: LoopbackBus,
    member: Arc<Member>,
}

struct Member {
    state: Mutex<MemberState>,
    /// Something is on its way, or the member has ended.
    changed: Notify,
}

struct MemberState {
    sink: Option<Arc<dyn BrokerSink>>,
    subjects: HashSet<Subject>,
    /// Passed on first.
    statuses: VecDeque<BrokerStatus>,
    /// What is on its way, by when it is due and by its number.
    waiting: BTreeMap<(Instant, u64), (Subject, Bytes)>,
    /// When the latest of those that keep their order is due.
    last_due: Option<Instant>,
    /// It exchanges envelopes with the members of the same group.
    group: usize,
    is_up: bool,
    is_ended: bool,
}

impl LoopbackBroker {
    /// Puts this member into a group. Members of different groups do not get each other's
    /// envelopes, and notice nothing. All begin in group 0.
    pub fn set_group(&self, group: usize) {
        self.member.state.lock().group = group;
    }

    /// Takes the connection of this member down, or up again, as [`LoopbackBus::set_up`] does for
    /// all. Its subscriptions survive.
    pub fn set_up(&self, is_up: bool) {
        let was_up = std::mem::replace(&mut self.member.state.lock().is_up, is_up);
        let bus_is_up = self.bus.0.lock().is_up;
        if was_up != is_up && bus_is_up {
            self.bus.count_dropped(self.member.report_up(is_up));
        }
    }
}

impl Member {
    /// Whether its own connection is up, and it has one.
    fn is_connected(&self) -> bool {
        let state = self.state.lock();
        state.is_up && state.sink.is_some()
    }

    /// Puts an envelope on its way. Returns whether it can arrive.
    fn put(
        &self,
        group: usize,
        (due, number): (Instant, u64),
        reorders: bool,
        envelope: (Subject, Bytes),
    ) -> bool {
        let mut state = self.state.lock();
        if state.group != group || !state.is_up || state.waiting.len() >= IN_FLIGHT {
            return false;
        }
        let due = if reorders { due } else { state.last_due.map_or(due, |last| last.max(due)) };
        if !reorders {
            state.last_due = Some(due);
        }
        state.waiting.insert((due, number), envelope);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Reports that the connection is up or down. What is on its way to a connection that goes
    /// down is lost. Returns how many envelopes that are.
    fn report_up(&self, is_up: bool) -> usize {
        let mut state = self.state.lock();
        let lost = if is_up { 0 } else { std::mem::take(&mut state.waiting).len() };
        state.statuses.push_back(if is_up {
            BrokerStatus::Up
        } else {
            BrokerStatus::Down { cause: "the bus is down".to_owned() }
        });
        drop(state);
        self.changed.notify_one();
        lost
    }

    /// The next status or envelope; if there is none, when one is due.
    fn next(&self) -> Result<Arrival, Option<Instant>> {
        let mut state = self.state.lock();
        let Some(sink) = state.sink.clone() else { return Err(None) };
        if let Some(status) = state.statuses.pop_front() {
            return Ok(Arrival::Status(sink, status));
        }
        let first = state.waiting.first_entry().ok_or(None)?;
        let (due, _) = *first.key();
        if due > Instant::now() {
            return Err(Some(due));
        }
        let (subject, envelope) = first.remove();
        Ok(Arrival::Envelope(sink, subject, envelope))
    }

    /// Passes what is due to the sink, until the member ends.
    async fn run(self: Arc<Self>) {
        let mut passed = 0;
        while !self.state.lock().is_ended {
            match self.next() {
                Ok(arrival) => {
                    arrival.pass();
                    passed += 1;
                    if passed % TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Err(None) => self.changed.notified().await,
                Err(Some(due)) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.changed.notified() => {}
                    }
                }
            }
        }
    }
}

/// What is passed to a sink, without a lock.
enum Arrival {
    Status(Arc<dyn BrokerSink>, BrokerStatus),
    Envelope(Arc<dyn BrokerSink>, Subject, Bytes),
}

impl Arrival {
    fn pass(self) {
        match self {
            Self::Status(sink, status) => sink.status(status),
            Self::Envelope(sink, subject, envelope) => sink.message(subject.as_str(), envelope),
        }
    }
}

impl Broker for LoopbackBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        let bus = self.bus.0.lock();
        let (total_order, max_payload) = (bus.total_order, bus.max_payload);
        BrokerCapabilities { name: "loopback", total_order, max_payload }
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        let is_up = self.bus.0.lock().is_up && self.member.state.lock().is_up;
        self.member.state.lock().sink = Some(sink);
        if is_up {
            // Nothing is on its way yet.
            self.member.report_up(true);
        }
        tokio::spawn(Arc::clone(&self.member).run());
    }

    fn subscribe(&self, subjects: &[Subject]) {
        self.member.state.lock().subjects.extend(subjects.iter().cloned());
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        let mut state = self.member.state.lock();
        for subject in subjects {
            state.subjects.remove(subject);
        }
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        let mut bus = self.bus.0.lock();
        let can_send = {
            let state = self.member.state.lock();
            bus.is_up && state.is_up && !state.is_ended
        };
        if !can_send {
            return Err(PublishError::Down);
        }
        if envelope.len() > bus.max_payload {
            return Err(PublishError::TooLarge);
        }
        bus.send(&self.member, subject, &envelope);
        Ok(())
    }

    fn shutdown(&self, _: Instant) -> BoxFuture<'_, ()> {
        let mut state = self.member.state.lock();
        state.is_ended = true;
        state.subjects.clear();
        state.waiting.clear();
        state.sink = None;
        drop(state);
        self.member.changed.notify_one();
        Box::pin(async {})
    }
}

impl fmt::Debug for LoopbackBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bus = self.0.lock();
        f.debug_struct("LoopbackBus")
            .field("members", &bus.members.len())
            .field("faults", &bus.faults)
            .field("is_up", &bus.is_up)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoopbackBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.member.state.lock();
        f.debug_struct("LoopbackBroker")
            .field("group", &state.group)
            .field("is_up", &state.is_up)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what arrives, as text.
    #[derive(Default)]
    struct TestSink(Mutex<Vec<String>>);

    impl BrokerSink for TestSink {
        fn message(&self, subject: &str, envelope: Bytes) {
            self.0.lock().push(format!("{subject}:{}", String::from_utf8_lossy(&envelope)));
        }

        fn status(&self, status: BrokerStatus) {
            self.0.lock().push(format!("{status:?}"));
        }
    }

    impl TestSink {
        /// What has arrived, after all delays.
        async fn take(&self) -> Vec<String> {
            tokio::time::advance(Duration::from_secs(60)).await;
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            std::mem::take(&mut self.0.lock())
        }
    }

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn join(bus: &LoopbackBus) -> (LoopbackBroker, Arc<TestSink>) {
        let (broker, sink) = (bus.join(), Arc::new(TestSink::default()));
        broker.start(Arc::clone(&sink) as _);
        broker.subscribe(&[subject("a")]);
        (broker, sink)
    }

    fn publish(broker: &LoopbackBroker, texts: impl IntoIterator<Item = usize>) {
        for text in texts {
            broker.publish(&subject("a"), text.to_string().into()).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_get_envelopes_in_order_and_publishers_their_own() {
        let bus = LoopbackBus::new(1);
        let ((one, own), (two, other)) = (join(&bus), join(&bus));
        bus.set_faults(LoopbackFaults::new().delay(Duration::ZERO..=Duration::from_secs(1)));
        publish(&one, 0..100);
        two.publish(&subject("b"), "nobody".into()).unwrap();
        let expected: Vec<_> =
            ["Up".to_owned()].into_iter().chain((0..100).map(|at| format!("a:{at}"))).collect();
        assert_eq!(own.take().await, expected);
        assert_eq!(other.take().await, expected);
        two.unsubscribe(&[subject("a"), subject("b")]);
        publish(&one, [1]);
        assert_eq!((own.take().await, other.take().await), (vec!["a:1".to_owned()], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn faults_lose_double_and_reorder_by_chance() {
        let bus = LoopbackBus::new(7);
        let ((one, _), (_, sink)) = (join(&bus), join(&bus));
        one.unsubscribe(&[subject("a")]);
        sink.take().await;
        bus.set_faults(LoopbackFaults::new().loss(0.5));
        publish(&one, 0..100);
        let arrived = sink.take().await.len() as u64;
        assert!((20..80).contains(&arrived) && arrived + bus.dropped() == 100);
        bus.set_faults(LoopbackFaults::new().duplication(1.0));
        publish(&one, [1]);
        assert_eq!(sink.take().await, ["a:1", "a:1"]);
        let delay = Duration::ZERO..=Duration::from_secs(1);
        bus.set_faults(LoopbackFaults::new().delay(delay).reorders(true));
        publish(&one, 10..60);
        let mut arrived = sink.take().await;
        assert!(!arrived.is_sorted());
        arrived.sort();
        assert_eq!(arrived.len(), 50);
        assert!(arrived.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_not_noticed_and_an_outage_is() {
        let bus = LoopbackBus::new(1);
        let ((one, _), (two, sink)) = (join(&bus), join(&bus));
        two.set_group(1);
        publish(&one, [1]);
        two.set_group(0);
        publish(&one, [2]);
        assert_eq!(sink.take().await, ["Up", "a:2"]);
        bus.set_up(false);
        let sent = one.publish(&subject("a"), Bytes::new());
        assert_eq!(sent, Err(PublishError::Down));
        bus.set_up(true);
        two.set_up(false);
        publish(&one, [3]);
        two.set_up(true);
        publish(&one, [4]);
        let down = "Down { cause: \"the bus is down\" }";
        assert_eq!(sink.take().await, [down, "Up", down, "Up", "a:4"]);
        bus.set_max_payload(3);
        let sent = one.publish(&subject("a"), "long".into());
        assert_eq!(sent, Err(PublishError::TooLarge));
        two.shutdown(Instant::now()).await;
        publish(&one, [5]);
        assert_eq!(sink.take().await, [""; 0]);
    }
}
