//! How is a message put into the send queue of one socket or of many?
//!
//! Longer than 400 lines because each way to put one keeps the same counters and the same log.

use std::future::poll_fn;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use serde::Serialize;
use ws_core::PreparedMessage;

use crate::delivery::batch_writer::BatchWriters;
use crate::delivery::overflow::{OverflowAction, SendQueueLimits};
use crate::delivery::recipient::{DeliveryShared, Recipient};
use crate::delivery::send_queue::{
    ByteSize, EnqueueResult, PushOptions, SendQueue, WaiterId, Wakeup,
};
use crate::delivery::stats::{Backlog, add};
use crate::delivery::wire_format::{Encodings, WireFormat};
use crate::delivery::writer::timeout;
use crate::history::position::Position;
use crate::recovery::held::HeldMessage;
use crate::recovery::offset::SentMessage;
use crate::recovery::sent_log::SentLog;
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
        let pushed = loop {
            let select = |format| self.encodings.get(format).cloned();
            match queue.push(select, &self.shared.limits, self.options, &mut self.removed) {
                Ok(pushed) => break pushed,
                Err(format) if format.is_resumable() => {
                    break match self.encodings.resumable(format) {
                        Some((message, sent)) => {
                            self.push_logged(queue, recipient, message, sent.as_ref())
                        }
                        None => (EnqueueResult::Closed, Wakeup::Nobody),
                    };
                }
                Err(format) => self.encodings.encode(format),
            }
        };
        self.count(recipient, pushed)
    }

    /// Counts the result for one socket, and notes whom to wake.
    #[inline(always)]
    fn count(
        &mut self,
        recipient: &Arc<R>,
        (result, wakeup): (EnqueueResult, Wakeup),
    ) -> EnqueueResult {
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

    /// Puts a message into the queue of a socket whose session can be recovered, and into its log.
    #[cold]
    fn push_logged(
        &mut self,
        queue: &SendQueue<PreparedMessage, R::Event>,
        recipient: &Arc<R>,
        message: PreparedMessage,
        sent: Option<&SentMessage>,
    ) -> (EnqueueResult, Wakeup) {
        let closed = (EnqueueResult::Closed, Wakeup::Nobody);
        let Some(log) = recipient.sent_log() else { return closed };
        let mut log = log.lock();
        if sent.is_some_and(|sent| log.has(sent)) {
            return closed;
        }
        if log.is_holding() && self.options.volatile {
            return (EnqueueResult::Dropped, Wakeup::Nobody);
        }
        if log.is_holding() {
            return hold(&**recipient, &mut log, message, sent, &mut self.removed);
        }
        let message = recipient.with_offsets(&log, message, sent);
        let select = |_| Some(message);
        let pushed = queue.push(select, &self.shared.limits, self.options, &mut self.removed);
        let Ok((result, wakeup)) = pushed else { return closed };
        note_result(&**recipient, &mut log, result, sent, self.options.volatile);
        (result, wakeup)
    }

    /// The message for the logs of recipients: see [`Encodings::set_sent`].
    pub(crate) fn set_sent(&mut self, message: Option<SentMessage>) {
        self.encodings.set_sent(message);
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

/// Holds a message back while a session is being recovered. What is held back counts as queued: the limits
/// of the send queue are those of both together.
fn hold<R: Recipient>(
    recipient: &R,
    log: &mut SentLog<PreparedMessage>,
    message: PreparedMessage,
    sent: Option<&SentMessage>,
    removed: &mut Vec<PreparedMessage>,
) -> (EnqueueResult, Wakeup) {
    let (queue, limits) = (recipient.queue(), &recipient.delivery().limits);
    let size = message.byte_size();
    let mut dropped = 0;
    let (result, wakeup, is_lost) = loop {
        if !queue.state().accepts_messages() {
            let is_lost = sent.is_some_and(|sent| !sent.is_stored());
            break (EnqueueResult::Closed, Wakeup::Nobody, is_lost);
        }
        let (held, queued) = (held_backlog(log), queue.stats());
        let bytes = queued.bytes.saturating_add(held.bytes);
        if limits.have_room(queued.messages + held.messages, bytes, size) {
            log.hold(sent, message, size);
            let result = EnqueueResult::Queued { size, dropped, over_half: false };
            break (result, Wakeup::Nobody, dropped > 0);
        }
        match limits.overflow_action(false) {
            OverflowAction::DropOldest if held.messages > 0 => {
                removed.extend(log.drop_oldest_held().map(|oldest| oldest.message));
                queue.count_dropped();
                dropped += 1;
            }
            OverflowAction::DropOldest | OverflowAction::DropMessage => {
                queue.count_dropped();
                break (EnqueueResult::Dropped, Wakeup::Nobody, true);
            }
            OverflowAction::Disconnect(code) => {
                // The histories have the others.
                let mut is_lost = sent.is_some_and(|sent| !sent.is_stored());
                let (result, wakeup) = queue.close_slow_consumer(code, held, removed);
                // Otherwise it was closed meanwhile, and what is held is discarded at the release.
                if let EnqueueResult::SlowConsumer { .. } = result {
                    while let Some(oldest) = log.drop_oldest_held() {
                        is_lost |= oldest.sent.is_some_and(|sent| !sent.is_stored());
                        removed.push(oldest.message);
                    }
                }
                break (result, wakeup, is_lost);
            }
        }
    };
    if is_lost && log.lose() {
        recipient.lost();
    }
    (result, wakeup)
}

fn held_backlog(log: &SentLog<PreparedMessage>) -> Backlog {
    let (messages, bytes) = log.held();
    Backlog { messages, bytes }
}

/// Notes what happened to a message. One that was not queued is missed by the client, too.
fn note_result<R: Recipient>(
    recipient: &R,
    log: &mut SentLog<PreparedMessage>,
    result: EnqueueResult,
    sent: Option<&SentMessage>,
    volatile: bool,
) {
    let was_dropped = match result {
        EnqueueResult::Queued { dropped, .. } => dropped > 0,
        EnqueueResult::Dropped => !volatile,
        EnqueueResult::SlowConsumer { .. } | EnqueueResult::Closed => false,
    };
    if was_dropped && log.lose() {
        recipient.lost();
    }
    if let Some(sent) = sent {
        log.note(sent);
    }
}

/// Queues the messages that a log has held back, except for those of histories that were `read`. They
/// are counted already, and were within the limits of the queue when they were held back, so all of them
/// are queued behind what it has now.
pub(crate) fn release_held<R: Recipient>(
    recipient: &R,
    log: &mut SentLog<PreparedMessage>,
    read: &[(Arc<str>, Position)],
) {
    const UNLIMITED: SendQueueLimits =
        SendQueueLimits::new().bytes(usize::MAX).messages(usize::MAX);
    let counters = &recipient.delivery().counters;
    for HeldMessage { sent, message, size, .. } in log.release() {
        let mut result = EnqueueResult::Closed;
        let is_known = sent.as_ref().is_some_and(|sent| log.has_among(read, sent));
        if !is_known {
            let message = recipient.with_offsets(log, message, sent.as_ref());
            // It was counted without the offsets of other rooms.
            let more = message.byte_size().saturating_sub(size);
            let (select, options) = (|_| Some(message), PushOptions::default());
            let pushed = recipient.queue().push(select, &UNLIMITED, options, &mut Vec::new());
            // The writer of the socket has not started, so there is nobody to wake.
            if let Ok((EnqueueResult::Queued { .. }, _)) = pushed {
                counters.change_queued_bytes(more, 0);
            }
            result = pushed.map_or(result, |(result, _)| result);
            note_result(recipient, log, result, sent.as_ref(), false);
        }
        if result == EnqueueResult::Closed {
            counters.discard(Backlog { messages: 1, bytes: size });
        }
    }
}

/// Puts a message, in the format of the socket, into the queue of one socket, and never waits.
pub(crate) fn enqueue<R: Recipient>(
    recipient: &Arc<R>,
    message: &PreparedMessage,
) -> EnqueueResult {
    enqueue_with(recipient, message, PushOptions::default())
}

/// As [`enqueue`], for a message that may be encoded already for another socket.
pub(crate) fn enqueue_encoded<R: Recipient>(
    recipient: &Arc<R>,
    format: WireFormat,
    message: &mut Encodings<'_>,
) -> EnqueueResult {
    if !format.is_resumable() {
        if message.get(format).is_none() {
            message.encode(format);
        }
        return message.get(format).map_or(EnqueueResult::Closed, |it| enqueue(recipient, it));
    }
    let Some((message, sent)) = message.resumable(format) else { return EnqueueResult::Closed };
    let encodings = Encodings::One(&message);
    let mut enqueuer = Enqueuer::new(encodings, recipient.delivery(), PushOptions::default());
    let pushed = enqueuer.push_logged(recipient.queue(), recipient, message.clone(), sent.as_ref());
    let result = enqueuer.count(recipient, pushed);
    enqueuer.finish();
    result
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
/// `sent` is for the log of a socket whose session can be recovered.
pub(crate) async fn enqueue_wait<R: Recipient>(
    recipient: &R,
    message: &PreparedMessage,
    sent: Option<&SentMessage>,
    limit: Duration,
) -> EnqueueResult {
    let DeliveryShared { limits, counters, handler_yield } = recipient.delivery();
    let queue = recipient.queue();
    let mut waiter = WaitGuard { queue, id: WaiterId::default() };
    let pushing = poll_fn(|cx| {
        let Some(log) = recipient.sent_log() else {
            return queue.poll_push(message, limits, &mut waiter.id, cx);
        };
        let mut log = log.lock();
        // The offsets of other rooms are those of the moment in which it is queued, so they cannot be
        // encoded before. They make it longer: if there is no room without them, there is none with them.
        let held = held_backlog(&log);
        ready!(queue.poll_room(message.byte_size(), held, limits, &mut waiter.id, cx));
        if log.is_holding() {
            // It has room, so nothing is removed for it.
            return Poll::Ready(hold(recipient, &mut log, message.clone(), sent, &mut Vec::new()));
        }
        let message = recipient.with_offsets(&log, message.clone(), sent);
        let pushed = queue.poll_push(&message, limits, &mut waiter.id, cx);
        if let Poll::Ready((result, _)) = &pushed {
            note_result(recipient, &mut log, *result, sent, false);
        }
        pushed
    });
    let Some((result, wakeup)) = timeout(limit, pushing).await else {
        queue.count_dropped();
        // Its sender gets an error, so it is not lost silently.
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
