//! How is a message put into the send queue of one socket or of many?

use std::future::poll_fn;
use std::task::Waker;
use std::time::Duration;

use serde::Serialize;
use ws_core::PreparedMessage;

use crate::delivery::batch_writer::BatchWriters;
use crate::delivery::recipient::{DeliveryShared, Recipient};
use crate::delivery::send_queue::{
    ByteSize, EnqueueResult, PushOptions, SendQueue, WaiterId, Wakeup,
};
use crate::delivery::stats::add;
use crate::delivery::wire_format::Encodings;
use crate::delivery::writer::timeout;
use crate::history::position::Position;
use crate::sync::Arc;

/// The result of a broadcast, as numbers of sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Delivery {
    /// The number of recipients.
    pub matched: usize,
    /// Recipients whose send queue has the message.
    pub queued: usize,
    /// Recipients that do not get the message: their send queue is full, or the message is volatile
    /// and they do not keep up.
    pub dropped: usize,
    /// Recipients that are being closed as slow consumers.
    pub disconnected: usize,
    /// Whether the other nodes of the [cluster](crate::cluster) get it. The numbers are those of this
    /// process alone.
    pub cluster: ClusterDelivery,
    /// Whether it is in the history of its room.
    pub stored: Stored,
}

/// What a history did with a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Stored {
    /// Nothing: it is volatile, or it did not go to exactly one room, or that room has no history.
    #[default]
    No,
    /// It is stored under this position.
    At(Position),
    /// The store has taken it, and stores it soon. All members get it then, so the numbers of
    /// recipients are 0.
    Queued,
    /// The store has refused it, so nobody gets it.
    Refused,
}

/// What a cluster did with a broadcast. A receiver may still miss it: see
/// [`HubEvent::Gap`](crate::cluster::HubEvent::Gap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum ClusterDelivery {
    /// It is for this process alone: the hub is in no cluster, the broadcast is
    /// [local](crate::Broadcast::local), all its ids are here, or the broker does not take it and the
    /// policy is [`LocalOnly`](crate::cluster::OutagePolicy::LocalOnly).
    #[default]
    Local,
    /// The broker has taken it.
    Published,
    /// It is published when the broker takes it:
    /// [`OutagePolicy::Buffer`](crate::cluster::OutagePolicy::Buffer).
    Held,
    /// The pipeline to the broker is full. The other nodes do not get it.
    Full,
    /// The broker is down. The other nodes do not get it.
    Down,
    /// It is too long for the broker, or has more than 16,384 fields. The other nodes do not get it.
    TooLarge,
}

/// Puts one message into send queues. Tasks are woken at the end, without any lock.
pub(crate) struct Enqueuer<'a, R> {
    encodings: Encodings<'a>,
    shared: &'a DeliveryShared,
    options: PushOptions,
    delivery: Delivery,
    queued_bytes: usize,
    overwritten: usize,
    discarded: usize,
    over_half: bool,
    wakers: Vec<Waker>,
    batch_writers: BatchWriters<R>,
    /// Messages that were removed from queues. Dropping the last handle may run code of the
    /// application.
    removed: Vec<PreparedMessage>,
}

impl<'a, R: Recipient> Enqueuer<'a, R> {
    pub(crate) fn new(
        encodings: Encodings<'a>,
        shared: &'a DeliveryShared,
        options: PushOptions,
    ) -> Self {
        Self {
            encodings,
            shared,
            options,
            delivery: Delivery::default(),
            queued_bytes: 0,
            overwritten: 0,
            discarded: 0,
            over_half: false,
            wakers: Vec::new(),
            batch_writers: BatchWriters::new(),
            removed: Vec::new(),
        }
    }

    /// Puts the message into the queue of one socket, in the format of that socket.
    pub(crate) fn push(
        &mut self,
        queue: &SendQueue<PreparedMessage, R::Event>,
        recipient: &Arc<R>,
    ) -> EnqueueResult {
        let (result, wakeup) = loop {
            let select = |format| self.encodings.get(format).cloned();
            match queue.push(select, &self.shared.limits, self.options, &mut self.removed) {
                Ok(pushed) => break pushed,
                Err(format) => self.encodings.encode(format),
            }
        };
        match wakeup {
            Wakeup::Nobody => {}
            Wakeup::Task(task) => self.wakers.push(task),
            Wakeup::BatchWriter => self.batch_writers.add(recipient),
        }
        match result {
            EnqueueResult::Queued { size, dropped, over_half } => {
                self.delivery.queued += 1;
                self.queued_bytes = self.queued_bytes.saturating_add(size);
                self.overwritten += dropped;
                self.over_half |= over_half;
            }
            EnqueueResult::Dropped => self.delivery.dropped += 1,
            EnqueueResult::SlowConsumer { discarded } => {
                self.delivery.disconnected += 1;
                self.discarded += discarded;
            }
            EnqueueResult::Closed => return result,
        }
        self.delivery.matched += 1;
        result
    }

    /// Updates the counters, wakes tasks, and schedules batch writers. Called without any lock.
    pub(crate) fn finish(self) -> Delivery {
        let DeliveryShared { counters, handler_yield, .. } = self.shared;
        if self.over_half {
            handler_yield.request();
        }
        let Delivery { queued, dropped, disconnected, .. } = self.delivery;
        add(&counters.queued, queued);
        add(&counters.refused, dropped + disconnected);
        add(&counters.dropped, self.overwritten);
        add(&counters.discarded, self.discarded);
        add(&counters.slow_consumers, disconnected);
        let removed = self.removed.iter().map(ByteSize::byte_size).sum();
        counters.change_queued_bytes(self.queued_bytes, removed);
        self.wakers.into_iter().for_each(Waker::wake);
        self.batch_writers.spawn();
        self.delivery
    }
}

/// Puts a message, in the format of the socket, into the queue of one socket, and never waits.
pub(crate) fn enqueue<R: Recipient>(
    recipient: &Arc<R>,
    message: &PreparedMessage,
) -> EnqueueResult {
    enqueue_with(recipient, message, PushOptions::default())
}

/// As [`enqueue`], for a message that is dropped if the peer does not keep up.
pub(crate) fn enqueue_volatile<R: Recipient>(recipient: &Arc<R>, message: &PreparedMessage) {
    enqueue_with(recipient, message, PushOptions { volatile: true, ..PushOptions::default() });
}

fn enqueue_with<R: Recipient>(
    recipient: &Arc<R>,
    message: &PreparedMessage,
    options: PushOptions,
) -> EnqueueResult {
    let mut enqueuer = Enqueuer::new(Encodings::One(message), recipient.delivery(), options);
    let result = enqueuer.push(recipient.queue(), recipient);
    enqueuer.finish();
    result
}

/// Puts a message into the queue of one socket, and waits for room first, for at most `limit`.
pub(crate) async fn enqueue_wait<R: Recipient>(
    recipient: &R,
    message: &PreparedMessage,
    limit: Duration,
) -> EnqueueResult {
    let DeliveryShared { limits, counters, handler_yield } = recipient.delivery();
    let queue = recipient.queue();
    let mut waiter = WaitGuard { queue, id: WaiterId::default() };
    let pushing = poll_fn(|cx| queue.poll_push(message, limits, &mut waiter.id, cx));
    let Some((result, wakeup)) = timeout(limit, pushing).await else {
        queue.count_dropped();
        add(&counters.refused, 1);
        return EnqueueResult::Dropped;
    };
    if let EnqueueResult::Queued { size, over_half, .. } = result {
        add(&counters.queued, 1);
        counters.change_queued_bytes(size, 0);
        if over_half {
            handler_yield.request();
        }
    }
    if let Wakeup::Task(task) = wakeup {
        task.wake();
    }
    result
}

/// Removes a sender from those that wait for room when it is dropped.
struct WaitGuard<'a, E> {
    queue: &'a SendQueue<PreparedMessage, E>,
    id: WaiterId,
}

impl<E> Drop for WaitGuard<'_, E> {
    fn drop(&mut self) {
        self.queue.cancel_wait(&mut self.id);
    }
}
