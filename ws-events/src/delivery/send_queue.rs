//! Where do the messages and events of one socket wait, and how does its task learn of them?
//!
//! One lock, held for some tens of nanoseconds, guards a bounded queue of messages to send, a queue
//! of events for the handlers, and the command to close. After the lock is released, the caller
//! wakes the [`Wakeup`] that it gets, and drops what was removed.
//!
//! Longer than 400 lines because the states and the storage of the queue are read with it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;
use ws_core::StatusCode;

use crate::delivery::overflow::{OverflowAction, SendQueueLimits};
use crate::delivery::socket_state::{SocketEvent, SocketState};
use crate::delivery::stats::{Backlog, SocketStats};
use crate::delivery::wire_format::WireFormat;
use crate::sync::Mutex;

/// The largest number of messages that are taken at once.
pub(crate) const MAX_BATCH: usize = 16;

/// The largest number of events that wait for the handlers of a socket. Events that must not be
/// lost are not bounded.
pub(crate) const MAX_EVENTS: usize = 1024;

/// The size of a queued message.
pub(crate) trait ByteSize {
    /// In bytes of payload.
    fn byte_size(&self) -> usize;
}

/// The command to close a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseCommand {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    /// For a slow consumer: what was queued.
    pub(crate) slow_consumer: Option<Backlog>,
}

impl CloseCommand {
    pub(crate) fn new(code: StatusCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), slow_consumer: None }
    }
}

/// What the writer of a socket does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextAction {
    Write,
    /// The transport has not taken all of what a batch writer wrote.
    Flush,
    Close(Box<CloseCommand>),
}

/// How a message is queued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PushOptions {
    /// Only if the peer keeps up.
    pub(crate) volatile: bool,
    /// To be written by a batch writer if the socket's task sleeps.
    pub(crate) batched: bool,
}

/// Who must be woken after something was queued.
#[derive(Debug)]
#[must_use]
pub(crate) enum Wakeup {
    /// The task is awake or waits for its transport, or a batch writer is scheduled.
    Nobody,
    /// The socket's task, which sleeps.
    Task(Waker),
    /// A batch writer must be scheduled.
    BatchWriter,
}

/// What happened to a message for one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnqueueResult {
    /// It is queued, with this size. `dropped` older messages were removed for it. `over_half`:
    /// half of the queue's limit is reached, and the transport is not stalled.
    Queued { size: usize, dropped: usize, over_half: bool },
    /// It was dropped.
    Dropped,
    /// The socket is closed as a slow consumer, and `discarded` queued messages with it.
    SlowConsumer { discarded: usize },
    /// The socket accepts no more messages.
    Closed,
}

/// Messages that were taken to be written.
pub(crate) type BatchItems<T> = SmallVec<[T; MAX_BATCH]>;

/// A batch of messages, taken to be written.
pub(crate) struct TakenBatch<T> {
    pub(crate) items: BatchItems<T>,
    /// Their size.
    pub(crate) bytes: usize,
    /// Whether the queue is empty now. If so, no batch writer is scheduled any more.
    pub(crate) is_last: bool,
}

impl<T> TakenBatch<T> {
    pub(crate) fn empty() -> Self {
        Self { items: BatchItems::new(), bytes: 0, is_last: true }
    }
}

/// The queues of one socket: messages `T` to send, and events `E` to handle. It allocates only
/// for more than sixteen messages.
pub(crate) struct SendQueue<T, E>(Mutex<QueueInner<T, E>>);

/// The fields that each broadcast touches come first, to share as few cache lines as possible.
#[repr(C)]
struct QueueInner<T, E> {
    state: SocketState,
    write_state: WriteState,
    format: WireFormat,
    /// The size of all outgoing messages.
    bytes: usize,
    /// Wakes the writer, if it sleeps.
    writer: Option<Waker>,
    outgoing: InlineQueue<T>,
    /// Until the writer takes it.
    close: Option<Box<CloseCommand>>,
    events: VecDeque<E>,
    /// Wakes the event loop, if it sleeps.
    handler: Option<Waker>,
    dropped: u64,
    /// Boxed, since senders rarely wait.
    waiters: Option<Box<Waiters>>,
}

impl<T: ByteSize, E> SendQueue<T, E> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(QueueInner {
            state: SocketState::Connecting,
            write_state: WriteState::Idle,
            format: WireFormat::default(),
            bytes: 0,
            writer: None,
            outgoing: InlineQueue::default(),
            close: None,
            events: VecDeque::new(),
            handler: None,
            dropped: 0,
            waiters: None,
        }))
    }

    /// The format of its messages, before the first of them.
    pub(crate) fn set_format(&self, format: WireFormat) {
        self.0.lock().format = format;
    }

    /// Queues a message, and never waits. `select` gives it in the format of the socket; if it
    /// has none, the format is returned. Messages that are removed for it go to `removed`, to be
    /// dropped without the lock.
    #[inline]
    pub(crate) fn push(
        &self,
        select: impl FnOnce(WireFormat) -> Option<T>,
        limits: &SendQueueLimits,
        options: PushOptions,
        removed: &mut Vec<T>,
    ) -> Result<(EnqueueResult, Wakeup), WireFormat> {
        let mut inner = self.0.lock();
        let Some(item) = select(inner.format) else { return Err(inner.format) };
        let size = item.byte_size();
        let keeps_up = !(options.volatile && inner.write_state.is_stalled());
        if inner.state.accepts_messages() && keeps_up && inner.has_room(limits, size) {
            let over_half = inner.push(item, size, limits);
            return Ok((
                EnqueueResult::Queued { size, dropped: 0, over_half },
                inner.wakeup(options.batched),
            ));
        }
        Ok(inner.push_without_room(item, limits, options, removed))
    }

    /// [`push`](Self::push) that waits for room. The caller
    /// [cancels the wait](Self::cancel_wait) when it is done.
    pub(crate) fn poll_push(
        &self,
        item: &T,
        limits: &SendQueueLimits,
        waiter: &mut WaiterId,
        cx: &Context<'_>,
    ) -> Poll<(EnqueueResult, Wakeup)>
    where
        T: Clone,
    {
        let size = item.byte_size();
        let mut inner = self.0.lock();
        if !inner.state.accepts_messages() {
            return Poll::Ready((EnqueueResult::Closed, Wakeup::Nobody));
        }
        if inner.has_room(limits, size) {
            let over_half = inner.push(item.clone(), size, limits);
            let result = EnqueueResult::Queued { size, dropped: 0, over_half };
            return Poll::Ready((result, inner.wakeup(false)));
        }
        inner.waiters.get_or_insert_default().register(waiter, cx.waker());
        Poll::Pending
    }

    /// Waits for room for a message of this size besides `held`, without one, or for the end of the queue.
    /// The caller [cancels the wait](Self::cancel_wait) when it is done.
    pub(crate) fn poll_room(
        &self,
        size: usize,
        held: Backlog,
        limits: &SendQueueLimits,
        waiter: &mut WaiterId,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let mut inner = self.0.lock();
        if !inner.state.accepts_messages() || inner.has_room_besides(held, limits, size) {
            return Poll::Ready(());
        }
        inner.waiters.get_or_insert_default().register(waiter, cx.waker());
        Poll::Pending
    }

    /// Closes the socket as a slow consumer, for which `held` was held back besides.
    pub(crate) fn close_slow_consumer(
        &self,
        code: StatusCode,
        held: Backlog,
        removed: &mut Vec<T>,
    ) -> (EnqueueResult, Wakeup) {
        let mut inner = self.0.lock();
        if !inner.state.accepts_messages() {
            return (EnqueueResult::Closed, Wakeup::Nobody);
        }
        inner.close_slow_consumer(code, held, removed)
    }

    /// Removes a sender that waits for room.
    pub(crate) fn cancel_wait(&self, waiter: &mut WaiterId) {
        let mut inner = self.0.lock();
        let waker = inner.waiters.as_mut().and_then(|waiters| waiters.remove(waiter));
        drop((inner, waker));
    }

    /// Counts a message as dropped after its sender has waited for room until the timeout.
    pub(crate) fn count_dropped(&self) {
        self.0.lock().dropped += 1;
    }

    /// The senders that wait for room, to be woken without the lock. Called after messages were
    /// taken.
    pub(crate) fn take_waiters(&self) -> Vec<Waker> {
        self.0.lock().take_waiters()
    }

    /// Queues an event for the handlers, and wakes the event loop. Returns `false` if the queue
    /// is full, or the socket is disconnected.
    pub(crate) fn push_event(&self, event: E) -> bool {
        let mut inner = self.0.lock();
        if inner.events.len() >= MAX_EVENTS || inner.state == SocketState::Disconnected {
            return false;
        }
        inner.events.push_back(event);
        let task = inner.handler.take();
        drop(inner);
        task.into_iter().for_each(Waker::wake);
        true
    }

    /// Queues an event that must not be lost. The waker must be woken without any lock.
    pub(crate) fn push_event_unbounded(&self, event: E) -> Option<Waker> {
        let mut inner = self.0.lock();
        inner.events.push_back(event);
        inner.handler.take()
    }

    /// The socket is accepted by the hub.
    pub(crate) fn admit(&self) {
        let mut inner = self.0.lock();
        inner.state = inner.state.on(SocketEvent::Admit);
    }

    /// Commands the writer to close, and wakes it. Returns `false` if the socket is closing
    /// already: only the first command counts.
    pub(crate) fn close(&self, command: CloseCommand) -> bool {
        let mut inner = self.0.lock();
        if !inner.state.accepts_messages() {
            return false;
        }
        inner.state = inner.state.on(SocketEvent::Close);
        inner.close = Some(Box::new(command));
        let waiters = inner.take_waiters();
        let task = inner.writer.take();
        drop(inner);
        waiters.into_iter().chain(task).for_each(Waker::wake);
        true
    }

    /// Accepts no more messages, and discards the queued ones. A close command stays. Returns
    /// what was discarded.
    pub(crate) fn stop_sending(&self) -> Backlog {
        self.discard(SocketEvent::StopSending)
    }

    /// The socket is disconnected: discards the messages, the close command and the wakers,
    /// which keep the memory of the task. Returns what was discarded.
    pub(crate) fn disconnect(&self) -> Backlog {
        self.discard(SocketEvent::End)
    }

    fn discard(&self, event: SocketEvent) -> Backlog {
        let mut inner = self.0.lock();
        inner.state = inner.state.on(event);
        let bytes = std::mem::take(&mut inner.bytes);
        let outgoing = std::mem::take(&mut inner.outgoing);
        let waiters = inner.take_waiters();
        let removed = (inner.state == SocketState::Disconnected)
            .then(|| (inner.close.take(), inner.writer.take(), inner.handler.take()));
        drop((inner, removed));
        waiters.into_iter().for_each(Waker::wake);
        Backlog { messages: outgoing.len(), bytes }
    }

    /// The queued events, in order. Dropping them may run code of the application that uses
    /// this queue.
    pub(crate) fn take_events(&self) -> VecDeque<E> {
        std::mem::take(&mut self.0.lock().events)
    }

    /// Removes some of the queued events, to be dropped without any lock.
    pub(crate) fn remove_events(&self, is_removed: impl Fn(&E) -> bool) -> VecDeque<E> {
        let mut inner = self.0.lock();
        let events = std::mem::take(&mut inner.events).into_iter();
        let (removed, kept) = events.partition(is_removed);
        inner.events = kept;
        removed
    }

    /// Loads the cache line that [`push`](Self::push) needs.
    pub(crate) fn prefetch(&self) {
        std::hint::black_box(self.0.is_locked());
    }

    /// The state of the socket.
    pub(crate) fn state(&self) -> SocketState {
        self.0.lock().state
    }

    pub(crate) fn stats(&self) -> SocketStats {
        let inner = self.0.lock();
        SocketStats { messages: inner.outgoing.len(), bytes: inner.bytes, dropped: inner.dropped }
    }

    /// For the writer: waits for messages or the command to close, which comes first.
    pub(crate) fn poll_next_action(&self, cx: &Context<'_>) -> Poll<NextAction> {
        let mut inner = self.0.lock();
        if let Some(command) = inner.close.take() {
            return Poll::Ready(NextAction::Close(command));
        }
        if inner.write_state.is_stalled() {
            return Poll::Ready(NextAction::Flush);
        }
        if !inner.outgoing.is_empty() {
            return Poll::Ready(NextAction::Write);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the writer, while the transport is full: waits only for the command to close.
    pub(crate) fn poll_close(&self, cx: &Context<'_>) -> Poll<Box<CloseCommand>> {
        let mut inner = self.0.lock();
        if let Some(command) = inner.close.take() {
            return Poll::Ready(command);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the event loop, while a handler runs: wakes it for the next event, or for
    /// [`wake_event_loop`](Self::wake_event_loop).
    pub(crate) fn register_event_loop(&self, cx: &Context<'_>) {
        let _: Poll<()> = sleep(&mut self.0.lock().handler, cx);
    }

    /// Wakes the event loop, if it sleeps.
    pub(crate) fn wake_event_loop(&self) {
        let task = self.0.lock().handler.take();
        task.into_iter().for_each(Waker::wake);
    }

    /// For the event loop: waits for an event. Returns it with the number of events behind it.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<(E, u32)> {
        let mut inner = self.0.lock();
        if let Some(event) = inner.events.pop_front() {
            if inner.events.is_empty() {
                inner.events = VecDeque::new();
            }
            return Poll::Ready((event, u32::try_from(inner.events.len()).unwrap_or(u32::MAX)));
        }
        sleep(&mut inner.handler, cx)
    }

    /// For the writer: the next messages, of about `room` bytes. Senders that wait for room are
    /// [woken](Self::take_waiters) afterwards.
    pub(crate) fn take_batch(&self, room: usize) -> TakenBatch<T> {
        self.0.lock().take_batch(room)
    }

    /// For a batch writer: [`take_batch`](Self::take_batch), or nothing if the transport is
    /// stalled, since the socket's task continues then.
    pub(crate) fn take_batch_unless_stalled(&self, room: usize) -> TakenBatch<T> {
        let mut inner = self.0.lock();
        if inner.write_state.is_stalled() {
            inner.write_state = inner.write_state.on(WriteEvent::Unschedule);
            return TakenBatch::empty();
        }
        inner.take_batch(room)
    }

    /// For a batch writer: leaves the queue to the socket's task, and wakes it.
    pub(crate) fn hand_to_task(&self, stalled: bool) {
        let mut inner = self.0.lock();
        inner.write_state = inner.write_state.on(WriteEvent::Unschedule);
        if stalled {
            inner.write_state = inner.write_state.on(WriteEvent::Stall);
        }
        let task = inner.writer.take();
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }

    /// For the writer: whether the transport has yet to take a part of the last batch.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let mut inner = self.0.lock();
        let event = if stalled { WriteEvent::Stall } else { WriteEvent::Resume };
        inner.write_state = inner.write_state.on(event);
    }
}

impl<T: ByteSize, E> QueueInner<T, E> {
    fn has_room(&self, limits: &SendQueueLimits, size: usize) -> bool {
        self.has_room_besides(Backlog::default(), limits, size)
    }

    #[inline(always)]
    fn has_room_besides(&self, held: Backlog, limits: &SendQueueLimits, size: usize) -> bool {
        let bytes = self.bytes.saturating_add(held.bytes);
        limits.have_room(self.outgoing.len() + held.messages, bytes, size)
    }

    /// The message does not fit, or must not be queued. The caller still has it as well.
    #[cold]
    fn push_without_room(
        &mut self,
        item: T,
        limits: &SendQueueLimits,
        options: PushOptions,
        removed: &mut Vec<T>,
    ) -> (EnqueueResult, Wakeup) {
        if !self.state.accepts_messages() {
            return (EnqueueResult::Closed, Wakeup::Nobody);
        }
        match limits.overflow_action(options.volatile) {
            OverflowAction::Disconnect(code) => {
                self.close_slow_consumer(code, Backlog::default(), removed)
            }
            OverflowAction::DropOldest => {
                let size = item.byte_size();
                let dropped = self.drop_oldest(limits, size, removed);
                let over_half = self.push(item, size, limits);
                let result = EnqueueResult::Queued { size, dropped, over_half };
                (result, self.wakeup(options.batched))
            }
            OverflowAction::DropMessage => {
                self.dropped += 1;
                (EnqueueResult::Dropped, Wakeup::Nobody)
            }
        }
    }

    /// Appends a message. Returns whether half of the limit is reached, unless the transport is
    /// stalled.
    #[inline(always)]
    fn push(&mut self, item: T, size: usize, limits: &SendQueueLimits) -> bool {
        self.bytes += size;
        self.outgoing.push_back(item);
        !self.write_state.is_stalled() && limits.are_half_reached(self.outgoing.len(), self.bytes)
    }

    fn wakeup(&mut self, batched: bool) -> Wakeup {
        // A task that waits for its transport cannot write yet.
        if self.write_state != WriteState::Idle {
            return Wakeup::Nobody;
        }
        if batched && self.writer.is_some() {
            self.write_state = self.write_state.on(WriteEvent::Schedule);
            return Wakeup::BatchWriter;
        }
        self.wake_task()
    }

    fn wake_task(&mut self) -> Wakeup {
        self.writer.take().map_or(Wakeup::Nobody, Wakeup::Task)
    }

    fn take_batch(&mut self, room: usize) -> TakenBatch<T> {
        let mut taken = TakenBatch::empty();
        let before = self.bytes;
        if self.bytes <= room && self.outgoing.len() <= MAX_BATCH {
            self.bytes = 0;
            taken.items.extend(&mut self.outgoing);
        } else {
            while before - self.bytes <= room
                && taken.items.len() < MAX_BATCH
                && let Some(item) = self.outgoing.pop_front()
            {
                self.bytes = self.bytes.saturating_sub(item.byte_size());
                taken.items.push(item);
            }
        }
        taken.bytes = before - self.bytes;
        taken.is_last = self.outgoing.is_empty();
        if taken.is_last {
            self.write_state = self.write_state.on(WriteEvent::Unschedule);
        }
        taken
    }

    fn take_waiters(&mut self) -> Vec<Waker> {
        // A sender that still finds no room registers again.
        let wakers = self.waiters.as_mut().map(|waiters| std::mem::take(&mut waiters.wakers));
        wakers.into_iter().flatten().map(|(_, waker)| waker).collect()
    }

    #[cold]
    fn close_slow_consumer(
        &mut self,
        code: StatusCode,
        held: Backlog,
        removed: &mut Vec<T>,
    ) -> (EnqueueResult, Wakeup) {
        let discarded = self.outgoing.len() + held.messages;
        let bytes = std::mem::take(&mut self.bytes).saturating_add(held.bytes);
        let backlog = Backlog { messages: discarded, bytes };
        let slow_consumer = Some(backlog);
        let command = CloseCommand { code, reason: "slow consumer".to_owned(), slow_consumer };
        self.state = self.state.on(SocketEvent::Close);
        self.close = Some(Box::new(command));
        removed.extend(std::mem::take(&mut self.outgoing));
        (EnqueueResult::SlowConsumer { discarded }, self.wake_task())
    }

    /// Drops the oldest messages until there is room. Returns how many.
    fn drop_oldest(
        &mut self,
        limits: &SendQueueLimits,
        size: usize,
        removed: &mut Vec<T>,
    ) -> usize {
        let before = self.outgoing.len();
        while !self.has_room(limits, size)
            && let Some(oldest) = self.outgoing.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.byte_size());
            removed.push(oldest);
        }
        let dropped = before - self.outgoing.len();
        self.dropped += dropped as u64;
        dropped
    }
}

fn sleep<R>(task: &mut Option<Waker>, cx: &Context<'_>) -> Poll<R> {
    match task {
        Some(task) if task.will_wake(cx.waker()) => {}
        _ => *task = Some(cx.waker().clone()),
    }
    Poll::Pending
}

/// Who writes the queued messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum WriteState {
    /// Nobody: the next message wakes the socket's task or schedules a batch writer.
    Idle,
    /// A batch writer is scheduled.
    Scheduled,
    /// The socket's task, which waits until the transport has taken the last batch.
    Stalled,
    /// As `Stalled`, and a batch writer that was scheduled before has yet to run.
    StalledScheduled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteEvent {
    /// A batch writer is scheduled.
    Schedule,
    /// The batch writer is done with this queue, or the queue is empty.
    Unschedule,
    /// The transport has left a part of a batch.
    Stall,
    /// The transport has taken all of it.
    Resume,
}

impl WriteState {
    const fn on(self, event: WriteEvent) -> Self {
        use WriteEvent::{Resume, Schedule, Stall, Unschedule};
        use WriteState::{Idle, Scheduled, Stalled, StalledScheduled};
        match (self, event) {
            (Idle | Scheduled, Unschedule) | (Idle | Stalled, Resume) => Idle,
            (Idle | Scheduled, Schedule) | (Scheduled | StalledScheduled, Resume) => Scheduled,
            (Stalled | StalledScheduled, Unschedule) | (Idle | Stalled, Stall) => Stalled,
            (Stalled | StalledScheduled, Schedule) | (Scheduled | StalledScheduled, Stall) => {
                StalledScheduled
            }
        }
    }

    #[inline]
    const fn is_stalled(self) -> bool {
        matches!(self, Self::Stalled | Self::StalledScheduled)
    }
}

/// The number of messages that are stored inline.
const INLINE: u8 = 16;

/// A queue whose first sixteen messages are stored inline: a broadcast finds all that it needs
/// of a socket in one place, and allocates nothing. More messages follow on the heap.
#[repr(C)]
struct InlineQueue<T> {
    /// The slot of the first inline message, and the number of inline messages.
    first: u8,
    count: u8,
    /// The messages behind the inline ones. While there are any, new ones are appended here.
    #[expect(clippy::box_collection, reason = "mostly absent, and smaller this way")]
    more: Option<Box<VecDeque<T>>>,
    slots: [Option<T>; INLINE as usize],
}

impl<T> Default for InlineQueue<T> {
    fn default() -> Self {
        Self { first: 0, count: 0, more: None, slots: std::array::from_fn(|_| None) }
    }
}

impl<T> InlineQueue<T> {
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.count) + self.more.as_ref().map_or(0, |more| more.len())
    }

    const fn is_empty(&self) -> bool {
        self.count == 0 && self.more.is_none()
    }

    #[inline(always)]
    fn push_back(&mut self, item: T) {
        let next = (self.first + self.count) % INLINE;
        match self.slots.get_mut(usize::from(next)) {
            Some(slot) if self.count < INLINE && self.more.is_none() => {
                *slot = Some(item);
                self.count += 1;
            }
            _ => self.more.get_or_insert_default().push_back(item),
        }
    }

    #[inline]
    fn pop_front(&mut self) -> Option<T> {
        if self.count == 0 {
            return self.pop_more();
        }
        let first = self.slots.get_mut(usize::from(self.first))?.take();
        self.first = (self.first + 1) % INLINE;
        self.count -= 1;
        first
    }

    #[cold]
    fn pop_more(&mut self) -> Option<T> {
        let more = self.more.as_mut()?;
        let first = more.pop_front();
        if more.is_empty() {
            // A socket that keeps up holds no heap memory.
            self.more = None;
        }
        first
    }
}

impl<T> Iterator for InlineQueue<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

/// The senders that wait for room, each with a number.
#[derive(Default)]
struct Waiters {
    last: u64,
    wakers: Vec<(u64, Waker)>,
}

/// The number of a sender that waits for room, once it has one.
#[derive(Debug, Default)]
pub(crate) struct WaiterId(Option<u64>);

impl Waiters {
    /// Registers a waker, or replaces it.
    fn register(&mut self, id: &mut WaiterId, waker: &Waker) {
        let number = *id.0.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        match self.wakers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, own)) => own.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }

    /// Removes a waker, to be dropped without the lock.
    fn remove(&mut self, id: &mut WaiterId) -> Option<Waker> {
        let number = id.0.take()?;
        let at = self.wakers.iter().position(|(other, _)| *other == number)?;
        Some(self.wakers.swap_remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::WriteEvent::{Resume, Schedule, Stall, Unschedule};
    use super::WriteState::{Idle, Scheduled, Stalled, StalledScheduled};
    use super::*;

    #[test]
    fn each_event_in_each_write_state_leads_to_one_state() {
        for (state, [schedule, unschedule, stall, resume]) in [
            (Idle, [Scheduled, Idle, Stalled, Idle]),
            (Scheduled, [Scheduled, Idle, StalledScheduled, Scheduled]),
            (Stalled, [StalledScheduled, Stalled, Stalled, Idle]),
            (StalledScheduled, [StalledScheduled, Stalled, StalledScheduled, Scheduled]),
        ] {
            for (event, expected) in
                [(Schedule, schedule), (Unschedule, unschedule), (Stall, stall), (Resume, resume)]
            {
                assert_eq!(state.on(event), expected, "{state:?}, {event:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn messages_leave_in_the_order_in_which_they_were_queued(
            steps in prop::collection::vec(0..60_usize, 0..40),
        ) {
            let (mut outgoing, mut expected) = (InlineQueue::default(), VecDeque::new());
            for count in steps {
                for n in 0..count {
                    if n % 2 == 0 {
                        outgoing.push_back(n);
                        expected.push_back(n);
                    } else {
                        prop_assert_eq!(outgoing.pop_front(), expected.pop_front());
                    }
                    prop_assert_eq!(outgoing.len(), expected.len());
                    prop_assert_eq!(outgoing.is_empty(), expected.is_empty());
                }
            }
            prop_assert_eq!(outgoing.collect::<VecDeque<_>>(), expected);
        }
    }
}
