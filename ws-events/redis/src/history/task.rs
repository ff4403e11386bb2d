//! What does the task of a history do with what Redis publishes?

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use ws_events::broker::PublishError;
use ws_events::{HistoryError, HistoryPage, HistorySink, Position};
use ws_events_broker::BrokerDriver;

use crate::connector::RedisConnector;
use crate::history::inbox::{HistoryInbox, HistoryItem};
use crate::history::name::{HistoryName, Published, RoomKey};
use crate::history::read;
use crate::history::tracker::{RoomTracker, TrackerStep};
use crate::reader::ReaderSlot;

/// Items that are handled before other tasks run.
const TURN: usize = 64;

/// How many histories are read at once, and how much of each.
const READS: usize = 16;
const PAGE: usize = 256;

/// How often the positions of all rooms are compared with Redis. It also keeps the positions of rooms
/// that get no message.
const COMPARE: Duration = Duration::from_secs(600);

/// When a question is asked again that the pipeline had no room for.
const AGAIN: Duration = Duration::from_millis(10);

/// Passes on what Redis publishes.
pub(super) struct HistoryTask {
    driver: Arc<BrokerDriver<RedisConnector<HistoryName>>>,
    inbox: Arc<HistoryInbox>,
    readers: Arc<ReaderSlot>,
    channels: Arc<[Arc<str>]>,
    sink: Arc<dyn HistorySink>,
    tracker: RoomTracker,
    /// The rooms whose histories are to be read.
    fills: VecDeque<(Arc<str>, Position)>,
    reads: FuturesUnordered<BoxFuture<'static, FinishedRead>>,
    /// The rooms whose positions are to be asked for.
    unasked: BTreeSet<Arc<str>>,
    next_compare: Instant,
    /// Whether the driver was ever connected.
    was_up: bool,
}

type FinishedRead = (Arc<str>, Position, Result<HistoryPage, HistoryError>);

impl HistoryTask {
    pub(super) fn new(
        driver: Arc<BrokerDriver<RedisConnector<HistoryName>>>,
        inbox: Arc<HistoryInbox>,
        readers: Arc<ReaderSlot>,
        channels: Arc<[Arc<str>]>,
        sink: Arc<dyn HistorySink>,
    ) -> Self {
        Self {
            driver,
            inbox,
            readers,
            channels,
            sink,
            tracker: RoomTracker::default(),
            fills: VecDeque::new(),
            reads: FuturesUnordered::new(),
            unasked: BTreeSet::new(),
            next_compare: Instant::now() + COMPARE,
            was_up: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let mut handled = 0;
            while handled < TURN
                && let Some(item) = self.inbox.take()
            {
                self.handle(item);
                handled += 1;
            }
            self.ask();
            self.fill();
            if handled >= TURN {
                // Reads go on meanwhile: nothing else polls them.
                while let Some(Some((key, from, page))) = self.reads.next().now_or_never() {
                    let steps = self.tracker.read(&key, from, page);
                    self.carry_out(&key, steps);
                }
                tokio::task::yield_now().await;
                continue;
            }
            let again = Instant::now() + AGAIN;
            let wait_until = if self.unasked.is_empty() {
                self.next_compare
            } else {
                again.min(self.next_compare)
            };
            let inbox = Arc::clone(&self.inbox);
            tokio::select! {
                () = inbox.wake.notified() => {}
                Some((key, from, page)) = self.reads.next(), if !self.reads.is_empty() => {
                    let steps = self.tracker.read(&key, from, page);
                    self.carry_out(&key, steps);
                }
                () = sleep_until(wait_until) => {}
            }
            if Instant::now() >= self.next_compare {
                self.next_compare = Instant::now() + COMPARE;
                self.unasked.extend(self.tracker.keys());
            }
        }
    }

    fn handle(&mut self, item: HistoryItem) {
        match item {
            HistoryItem::Watch(key) => {
                let steps = self.tracker.watch(Arc::clone(&key));
                self.carry_out(&key, steps);
            }
            HistoryItem::Unwatch(key) => self.tracker.unwatch(&key),
            HistoryItem::Message(message) => {
                // Something else on our channel is of another version, or of nobody we know. If a
                // record was meant, the next one shows a gap.
                if let Some(published) = Published::parse(&message) {
                    let key = Arc::clone(&published.key);
                    let steps = self.tracker.arrived(published);
                    self.carry_out(&key, steps);
                }
            }
            HistoryItem::Up => {
                self.was_up = true;
                self.unasked.extend(self.tracker.keys());
            }
            HistoryItem::Dropped => self.unasked.extend(self.tracker.keys()),
            HistoryItem::Down if self.was_up => {
                self.tracker.disconnected().iter().for_each(|key| self.sink.lost(key));
            }
            // Nobody could read anything so far.
            HistoryItem::Down => {}
            HistoryItem::NotSent(requests) => self.sink.not_stored(requests),
        }
    }

    fn carry_out(&mut self, key: &Arc<str>, steps: Vec<TrackerStep>) {
        for step in steps {
            match step {
                TrackerStep::Deliver(position, record) => {
                    self.sink.stored(key, position, &record);
                }
                TrackerStep::Reached(position) => self.sink.reached(key, position),
                TrackerStep::Lost => self.sink.lost(key),
                TrackerStep::Ask => _ = self.unasked.insert(Arc::clone(key)),
                TrackerStep::Fill(from) => self.fills.push_back((Arc::clone(key), from)),
            }
        }
    }

    /// Asks for positions, as far as the pipeline has room.
    fn ask(&mut self) {
        while let Some(key) = self.unasked.pop_first() {
            if !self.tracker.is_watched(&key) {
                continue;
            }
            let name = HistoryName::Position(RoomKey::new(&self.channels, Arc::clone(&key)));
            match self.driver.publish(&name, Bytes::new()) {
                Ok(()) => {}
                Err(PublishError::Full) => {
                    self.unasked.insert(key);
                    return;
                }
                // All are asked for when Redis is connected.
                Err(PublishError::Down | PublishError::TooLarge) => self.unasked.clear(),
            }
        }
    }

    fn fill(&mut self) {
        while self.reads.len() < READS
            && let Some((key, from)) = self.fills.pop_front()
        {
            let room = RoomKey::new(&self.channels, Arc::clone(&key));
            let reading = read(Arc::clone(&self.readers), room, Some(from), PAGE);
            self.reads.push(Box::pin(async move { (key, from, reading.await) }));
        }
    }
}
