//! Do `delivery` and `registry` hold under every interleaving of threads?
//!
//! Both folders of the hub, and its ready flag, run here without a hub, on locks of shuttle,
//! which chooses the thread that runs next: two thousand interleavings for each test. A wait
//! that never ends fails the test.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "parts of the hub, without the code that uses them")]

#[path = "../src/delivery/mod.rs"]
mod delivery;
#[path = "../src/history/mod.rs"]
mod history;
#[path = "../src/session/ready_flag.rs"]
mod ready_flag;
#[path = "../src/recovery/mod.rs"]
mod recovery;
#[path = "../src/registry/mod.rs"]
mod registry;

/// The `sync` module of the hub, with types of shuttle, and a connection in memory.
mod sync {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::task::{Poll, Waker};
    use std::time::Duration;

    use shuttle::future::JoinHandle;
    use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    use shuttle::thread;
    use ws_core::{Error, PreparedMessage, StatusCode};

    pub(crate) use std::sync::Arc;

    pub(crate) const SEGMENT: usize = 2;

    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        pub(crate) fn is_locked(&self) -> bool {
            self.0.try_lock().is_err()
        }
    }

    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }

    pub(crate) type RuntimeId = u8;

    /// A runtime that keeps the handles of its tasks.
    #[derive(Clone)]
    pub(crate) struct Runtime(pub(crate) Arc<Mutex<VecDeque<JoinHandle<()>>>>);

    impl Runtime {
        pub(crate) const fn id(&self) -> RuntimeId {
            0
        }

        pub(crate) fn spawn(
            &self,
            task: impl Future<Output = ()> + Send + 'static,
        ) -> Arc<Mutex<VecDeque<JoinHandle<()>>>> {
            let handle = shuttle::future::spawn(task);
            self.0.lock().push_back(handle);
            Arc::clone(&self.0)
        }
    }

    pub(crate) struct Batch {
        pub(crate) messages: usize,
        pub(crate) flushed: bool,
    }

    /// A connection in memory. Its lock is held while a batch is taken, as in `ws_core`.
    #[derive(Clone)]
    pub(crate) struct Link(Arc<Mutex<Transport>>);

    #[derive(Default)]
    pub(crate) struct Transport {
        pub(crate) written: Vec<String>,
        pub(crate) closed: Option<StatusCode>,
        /// How many of the next batches it does not take at once.
        stalls: usize,
        stalled: bool,
        writers: Vec<Waker>,
    }

    impl Link {
        pub(crate) fn new(stalls: usize) -> Self {
            Self(Arc::new(Mutex::new(Transport { stalls, ..Transport::default() })))
        }

        pub(crate) fn transport(&self) -> MutexGuard<'_, Transport> {
            self.0.lock()
        }

        fn poll_write<I: IntoIterator<Item = PreparedMessage>>(
            &self,
            take: &mut impl FnMut(usize) -> I,
            waker: Option<&Waker>,
        ) -> Poll<Batch> {
            let mut transport = self.0.lock();
            if transport.stalled {
                transport.writers.extend(waker.cloned());
                return Poll::Pending;
            }
            let before = transport.written.len();
            loop {
                let items: Vec<_> = take(0).into_iter().collect();
                if items.is_empty() {
                    break;
                }
                let text = |item: &PreparedMessage| item.message().as_text().unwrap().to_owned();
                transport.written.extend(items.iter().map(text));
            }
            let messages = transport.written.len() - before;
            if messages > 0 && transport.stalls > 0 {
                transport.stalls -= 1;
                self.stall(&mut transport);
            }
            Poll::Ready(Batch { messages, flushed: !transport.stalled })
        }

        /// Fills the transport, until a thread has taken all.
        pub(crate) fn stall(&self, transport: &mut Transport) {
            transport.stalled = true;
            let conn = self.clone();
            thread::spawn(move || {
                let mut transport = conn.0.lock();
                transport.stalled = false;
                let writers = std::mem::take(&mut transport.writers);
                drop(transport);
                writers.into_iter().for_each(Waker::wake);
            });
        }

        pub(crate) async fn flush(&self) -> Result<(), Error> {
            poll_fn(|cx| {
                let mut transport = self.0.lock();
                if transport.stalled {
                    transport.writers.push(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(()))
            })
            .await
        }

        pub(crate) async fn close(&self, code: StatusCode, _: &str) -> Result<(), Error> {
            self.0.lock().closed.get_or_insert(code);
            Ok(())
        }

        pub(crate) fn close_now(&self) {
            unreachable!("the transport never fails");
        }
    }

    /// `Err` if the transport is full.
    pub(crate) fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        conn: &Link,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, ()> {
        match conn.poll_write(&mut take, None) {
            Poll::Ready(batch) => Ok(batch),
            Poll::Pending => Err(()),
        }
    }

    pub(crate) async fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        conn: &Link,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, Error> {
        Ok(poll_fn(|cx| conn.poll_write(&mut take, Some(cx.waker()))).await)
    }

    pub(crate) const fn close_timeout(_: &Link) -> Duration {
        Duration::from_secs(1)
    }
}

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;
use ws_core::{PreparedMessage, StatusCode};

use delivery::enqueue::{Enqueuer, enqueue, enqueue_wait};
use delivery::overflow::{Overflow, SendQueueLimits};
use delivery::recipient::{DeliveryShared, Recipient};
use delivery::send_queue::{
    ByteSize, CloseCommand, EnqueueResult, NextAction, PushOptions, SendQueue, WaiterId, Wakeup,
};
use delivery::wire_format::Encodings;
use delivery::writer::run_writer;
use ready_flag::ReadyFlag;
use recovery::offset::SentMessage;
use recovery::sent_log::SentLog;
use registry::ids::{IdRegistry, OwnId, RegisterError};
use registry::rooms::RoomRegistry;
use sync::{AtomicUsize, Link, Ordering, Runtime};

const INTERLEAVINGS: usize = 1000;

impl ByteSize for u32 {
    fn byte_size(&self) -> usize {
        1
    }
}

type TestQueue = SendQueue<u32, u32>;

fn close_command() -> CloseCommand {
    CloseCommand::new(StatusCode::NORMAL_CLOSURE, "")
}

const QUEUED: EnqueueResult = EnqueueResult::Queued { size: 1, dropped: 0, over_half: false };

fn push(queue: &TestQueue, n: u32, limits: &SendQueueLimits) -> (EnqueueResult, Option<Waker>) {
    let pushed = queue.push(|_| Some(n), limits, PushOptions::default(), &mut Vec::new());
    let (result, wakeup) = pushed.unwrap();
    (result, task(wakeup))
}

fn task(wakeup: Wakeup) -> Option<Waker> {
    match wakeup {
        Wakeup::Task(task) => Some(task),
        Wakeup::Nobody => None,
        Wakeup::BatchWriter => panic!("no batch writer was asked for"),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Runs a test under random interleavings, and under some with few switches at bad places.
fn check(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    shuttle::check_random(move || test(), INTERLEAVINGS);
    shuttle::check_pct(move || again(), INTERLEAVINGS, 3);
}

/// A socket, as delivery sees it.
struct TestSocket {
    queue: SendQueue<PreparedMessage, ()>,
    shared: Arc<DeliveryShared>,
    conn: Link,
    runtime: Runtime,
    log: Option<sync::Mutex<SentLog<PreparedMessage>>>,
    /// How often a message was encoded with the offsets of its rooms.
    encoded: std::sync::atomic::AtomicUsize,
}

impl TestSocket {
    fn new(shared: &Arc<DeliveryShared>, runtime: &Runtime, stalls: usize) -> Self {
        Self {
            queue: SendQueue::new(),
            shared: Arc::clone(shared),
            conn: Link::new(stalls),
            runtime: runtime.clone(),
            log: None,
            encoded: std::sync::atomic::AtomicUsize::new(0),
        }
    }
}

impl Recipient for TestSocket {
    type Event = ();

    fn queue(&self) -> &SendQueue<PreparedMessage, ()> {
        &self.queue
    }

    fn delivery(&self) -> &DeliveryShared {
        &self.shared
    }

    fn runtime(&self) -> Option<&Runtime> {
        Some(&self.runtime)
    }

    fn with_link<T>(&self, use_link: impl FnOnce(&Link) -> T) -> Option<T> {
        Some(use_link(&self.conn))
    }

    fn sent_log(&self) -> Option<&sync::Mutex<SentLog<PreparedMessage>>> {
        self.log.as_ref()
    }

    fn with_offsets(
        &self,
        _: &SentLog<PreparedMessage>,
        message: PreparedMessage,
        _: Option<&SentMessage>,
    ) -> PreparedMessage {
        self.encoded.fetch_add(1, Relaxed);
        message
    }

    fn prefetch_link(&self) {}
}

/// Sends to all sockets, as a broadcast does.
fn broadcast(sockets: &[Arc<TestSocket>], text: String) {
    let message = PreparedMessage::new(text);
    let options = PushOptions { volatile: false, batched: true };
    let mut enqueuer = Enqueuer::new(Encodings::One(&message), &sockets[0].shared, options);
    for socket in sockets {
        enqueuer.push(&socket.queue, socket);
    }
    enqueuer.finish();
}

/// Two senders call `send` with two sockets and a name; the transports stall `stalls` times.
/// Then the sockets are closed. Returns what is shared, and the sockets.
fn deliver(
    limits: SendQueueLimits,
    stalls: usize,
    send: impl Fn(&[Arc<TestSocket>], u32) + Send + Sync + Copy + 'static,
) -> Vec<Arc<TestSocket>> {
    let shared = Arc::new(DeliveryShared { limits, ..DeliveryShared::default() });
    let runtime = Runtime(Arc::new(sync::Mutex::new(Default::default())));
    let sockets: Vec<_> =
        (0..2).map(|_| Arc::new(TestSocket::new(&shared, &runtime, stalls))).collect();
    let writers: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let socket = Arc::clone(socket);
            shuttle::future::spawn(async move { run_writer(&*socket, &socket.conn).await })
        })
        .collect();
    if stalls > 0 {
        // The application has written to one connection directly.
        sockets[0].conn.stall(&mut sockets[0].conn.transport());
    }
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let sockets = sockets.clone();
            thread::spawn(move || send(&sockets, sender))
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    while shared.counters.stats(2, 0).waiting() > 0 {
        thread::yield_now();
    }
    for (socket, writer) in sockets.iter().zip(writers) {
        socket.queue.close(close_command());
        assert!(block_on(writer).unwrap().is_some());
        assert!(socket.conn.transport().closed.is_some());
    }
    loop {
        // Batch writers count what they wrote after they have released the connection.
        let next = runtime.0.lock().pop_front();
        let Some(batch_writer) = next else { break };
        block_on(batch_writer).unwrap();
    }
    let stats = shared.counters.stats(2, 0);
    assert_eq!((stats.queued, stats.waiting()), (stats.written + stats.discarded, 0), "{stats:?}");
    sockets
}

fn assert_each_sender_in_order(written: &[String]) {
    for sender in ["0 ", "1 "] {
        assert!(written.iter().filter(|text| text.starts_with(sender)).is_sorted(), "{written:?}");
    }
}

#[test]
fn messages_to_one_and_to_many_are_each_written_once_and_in_order() {
    for stalls in [0, 2] {
        check(move || {
            let sockets = deliver(SendQueueLimits::new(), stalls, |sockets, sender| {
                broadcast(sockets, format!("{sender} 0"));
                let result = enqueue(&sockets[0], &PreparedMessage::new(format!("{sender} 1")));
                let is_queued = matches!(
                    result,
                    EnqueueResult::Queued { size: 3, dropped: 0, over_half: false }
                );
                assert!(is_queued, "{result:?}");
                broadcast(sockets, format!("{sender} 2"));
            });
            assert_eq!(sockets[0].shared.counters.written.load(Relaxed), 10);
            for (socket, count) in sockets.iter().zip([6, 4]) {
                let written = socket.conn.transport().written.clone();
                assert_eq!(written.len(), count, "{written:?}");
                assert_each_sender_in_order(&written);
                assert_eq!(socket.conn.transport().closed, Some(StatusCode::NORMAL_CLOSURE));
            }
        });
    }
}

#[test]
fn a_slow_consumer_is_closed_and_each_of_its_messages_is_counted() {
    let code = StatusCode::TRY_AGAIN_LATER;
    check(move || {
        let limits = SendQueueLimits::new().messages(1).overflow(Overflow::Disconnect(code));
        let sockets = deliver(limits, 1, |sockets, sender| {
            for n in 0..2 {
                broadcast(sockets, format!("{sender} {n}"));
            }
        });
        let closed = |socket: &&Arc<TestSocket>| socket.conn.transport().closed == Some(code);
        let stats = sockets[0].shared.counters.stats(2, 0);
        assert_eq!(stats.slow_consumers, sockets.iter().filter(closed).count() as u64);
        assert_eq!(stats.refused, stats.slow_consumers);
    });
}

#[test]
fn senders_that_wait_for_room_get_it_when_messages_are_written() {
    check(|| {
        let overflow = Overflow::Block(Duration::from_secs(1));
        let limits = SendQueueLimits::new().messages(1).overflow(overflow);
        let sockets = deliver(limits, 1, |sockets, sender| {
            for n in 0..2 {
                let message = PreparedMessage::new(format!("{sender} {n}"));
                let result = block_on(enqueue_wait(&*sockets[0], &message, None, Duration::MAX));
                assert!(matches!(result, EnqueueResult::Queued { dropped: 0, .. }), "{result:?}");
            }
        });
        let written = sockets[0].conn.transport().written.clone();
        assert_eq!(written.len(), 4);
        assert_each_sender_in_order(&written);
    });
}

#[test]
fn a_message_that_waits_for_room_is_encoded_with_its_offsets_once_there_is_some() {
    let test = || {
        let limits = SendQueueLimits::new().messages(1).overflow(Overflow::Block(Duration::MAX));
        let shared = Arc::new(DeliveryShared { limits, ..DeliveryShared::default() });
        let runtime = Runtime(Arc::new(sync::Mutex::new(Default::default())));
        let log = Some(sync::Mutex::new(SentLog::new()));
        let socket = Arc::new(TestSocket { log, ..TestSocket::new(&shared, &runtime, 0) });
        let _ = enqueue(&socket, &PreparedMessage::new("first"));
        let message = PreparedMessage::new("second");
        let mut waiting = pin!(enqueue_wait(&*socket, &message, None, Duration::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            // Others wait as well, and take the room.
            socket.queue.take_waiters().into_iter().for_each(Waker::wake);
        }
        assert_eq!(socket.encoded.load(Relaxed), 0);
        socket.queue.take_batch(usize::MAX);
        let done = waiting.as_mut().poll(&mut cx);
        assert!(matches!(done, Poll::Ready(EnqueueResult::Queued { dropped: 0, .. })), "{done:?}");
        assert_eq!(socket.encoded.load(Relaxed), 1);
    };
    // No other thread is needed.
    shuttle::check_random(test, 1);
}

#[test]
fn a_task_that_sleeps_is_woken_for_all_messages_and_events() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        let pushing: Vec<_> = [1, 2]
            .into_iter()
            .map(|sender| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    for n in 0..2 {
                        let (result, waker) =
                            push(&queue, sender * 10 + n, &SendQueueLimits::new());
                        assert_eq!(result, QUEUED);
                        wake(waker);
                        assert!(queue.push_event(sender * 10 + n));
                    }
                })
            })
            .collect();
        let (mut written, mut handled) = (Vec::new(), Vec::new());
        block_on(poll_fn(|cx| {
            while let Poll::Ready((event, _)) = queue.poll_event(cx) {
                handled.push(event);
            }
            while queue.poll_next_action(cx).is_ready() {
                written.extend(queue.take_batch(0).items);
            }
            if written.len() == 4 && handled.len() == 4 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        for got in [written, handled] {
            for sender in [1, 2] {
                assert!(got.iter().filter(|n| **n / 10 == sender).is_sorted(), "{got:?}");
            }
        }
        pushing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_task_that_was_stalled_writes_what_was_queued_meanwhile() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        queue.set_stalled(true);
        let pushing = thread::spawn({
            let queue = Arc::clone(&queue);
            move || wake(push(&queue, 1, &SendQueueLimits::new()).1)
        });
        // The transport has taken the batch.
        assert_eq!(block_on(poll_fn(|cx| queue.poll_next_action(cx))), NextAction::Flush);
        queue.set_stalled(false);
        assert_eq!(block_on(poll_fn(|cx| queue.poll_next_action(cx))), NextAction::Write);
        pushing.join().unwrap();
    });
}

/// Queues three messages. For those that are pushed while the task sleeps, a batch writer takes
/// what it can and calls `hand_over`. Nothing is lost or reordered, and no wait is endless.
fn check_batched(hand_over: impl Fn(&TestQueue) + Send + Sync + Copy + 'static) {
    check(move || {
        let queue = Arc::new(TestQueue::new());
        // A connection, whose lock is held while a batch is taken.
        let written = Arc::new(sync::Mutex::new(Vec::new()));
        let pushing = thread::spawn({
            let (queue, written) = (Arc::clone(&queue), Arc::clone(&written));
            move || {
                let options = |n| PushOptions { volatile: false, batched: n != 1 };
                let mut batch_writers = Vec::new();
                for n in 0..3 {
                    let limits = SendQueueLimits::new();
                    let pushed = queue.push(|_| Some(n), &limits, options(n), &mut Vec::new());
                    let (result, wakeup) = pushed.unwrap();
                    assert_eq!(result, QUEUED);
                    match wakeup {
                        Wakeup::Nobody => {}
                        Wakeup::Task(task) => task.wake(),
                        Wakeup::BatchWriter => {
                            let (queue, written) = (Arc::clone(&queue), Arc::clone(&written));
                            batch_writers.push(thread::spawn(move || {
                                written.lock().extend(queue.take_batch_unless_stalled(0).items);
                                hand_over(&queue);
                            }));
                        }
                    }
                }
                batch_writers.into_iter().for_each(|writer| writer.join().unwrap());
            }
        });
        block_on(poll_fn(|cx| {
            loop {
                match queue.poll_next_action(cx) {
                    Poll::Ready(NextAction::Write) => {
                        written.lock().extend(queue.take_batch(0).items);
                    }
                    Poll::Ready(NextAction::Flush) => queue.set_stalled(false),
                    Poll::Ready(NextAction::Close(command)) => panic!("{command:?}"),
                    Poll::Pending => break,
                }
            }
            if written.lock().len() == 3 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        pushing.join().unwrap();
        assert_eq!(*written.lock(), [0, 1, 2]);
    });
}

#[test]
fn what_a_batch_writer_hands_over_is_written_by_the_task_in_order() {
    check_batched(|queue| queue.hand_to_task(false));
    check_batched(|queue| queue.hand_to_task(true));
}

#[test]
fn a_batch_writer_that_empties_a_queue_is_scheduled_again_for_later_messages() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        let written = Arc::new(sync::Mutex::new(Vec::new()));
        // The task sleeps throughout.
        let mut asleep = Box::pin(poll_fn(|cx| queue.poll_next_action(cx)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(asleep.as_mut().poll(&mut cx).is_pending());
        let mut batch_writers = Vec::new();
        for n in 0..3 {
            let options = PushOptions { volatile: false, batched: true };
            let limits = SendQueueLimits::new();
            let pushed = queue.push(|_| Some(n), &limits, options, &mut Vec::new());
            let (_, wakeup) = pushed.unwrap();
            if let Wakeup::BatchWriter = wakeup {
                let (queue, written) = (Arc::clone(&queue), Arc::clone(&written));
                batch_writers.push(thread::spawn(move || {
                    // The lock of the connection.
                    let mut written = written.lock();
                    loop {
                        let taken = queue.take_batch_unless_stalled(1);
                        written.extend(taken.items);
                        if taken.is_last {
                            break;
                        }
                    }
                }));
            }
        }
        batch_writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(*written.lock(), [0, 1, 2]);
    });
}

#[test]
fn a_close_command_is_taken_once_and_concurrent_messages_are_counted() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        let pushing = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut queued = 0;
                for n in 0..3 {
                    match push(&queue, n, &SendQueueLimits::new()) {
                        (EnqueueResult::Queued { .. }, waker) => {
                            queued += 1;
                            wake(waker);
                        }
                        (result, _) => assert_eq!(result, EnqueueResult::Closed),
                    }
                }
                queued
            }
        });
        let closing: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.close(close_command()))
            })
            .collect();
        let mut written = 0;
        while block_on(poll_fn(|cx| queue.poll_next_action(cx))) == NextAction::Write {
            written += queue.take_batch(0).items.len();
        }
        let discarded = queue.disconnect().messages;
        let firsts = closing.into_iter().map(|it| it.join().unwrap());
        assert_eq!(firsts.filter(|first| *first).count(), 1);
        assert_eq!(pushing.join().unwrap(), written + discarded);
    });
}

#[test]
fn the_close_of_a_slow_consumer_wakes_its_task_and_empties_its_queue() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        let limits = SendQueueLimits::new()
            .messages(1)
            .overflow(Overflow::Disconnect(StatusCode::TRY_AGAIN_LATER));
        let pushing: Vec<_> = (0..2)
            .map(|n| {
                let (queue, limits) = (Arc::clone(&queue), limits.clone());
                thread::spawn(move || {
                    let (result, waker) = push(&queue, n, &limits);
                    wake(waker);
                    result
                })
            })
            .collect();
        let results: Vec<_> = pushing.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(results.contains(&EnqueueResult::Queued { size: 1, dropped: 0, over_half: true }));
        assert!(results.contains(&EnqueueResult::SlowConsumer { discarded: 1 }));
        let action = block_on(poll_fn(|cx| queue.poll_next_action(cx)));
        let NextAction::Close(command) = action else {
            panic!("nothing to close");
        };
        let bytes = command.slow_consumer.map(|backlog| backlog.bytes);
        assert_eq!((bytes, queue.disconnect().messages), (Some(1), 0));
    });
}

#[test]
fn a_sender_that_waits_for_room_is_woken() {
    check(|| {
        let queue = Arc::new(TestQueue::new());
        let limits =
            SendQueueLimits::new().messages(1).overflow(Overflow::Block(Duration::from_secs(1)));
        push(&queue, 0, &limits);
        let waiting: Vec<_> = [1, 2]
            .map(|n| {
                let (queue, limits) = (Arc::clone(&queue), limits.clone());
                thread::spawn(move || {
                    let mut waiter = WaiterId::default();
                    let (result, wakeup) =
                        block_on(poll_fn(|cx| queue.poll_push(&n, &limits, &mut waiter, cx)));
                    queue.cancel_wait(&mut waiter);
                    wake(task(wakeup));
                    result
                })
            })
            .into();
        // The task takes two messages and stops. A sender that still waits gets an error.
        let mut taken = Vec::new();
        while taken.len() < 2 {
            assert_eq!(block_on(poll_fn(|cx| queue.poll_next_action(cx))), NextAction::Write);
            taken.extend(queue.take_batch(0).items);
            queue.take_waiters().into_iter().for_each(Waker::wake);
        }
        assert_eq!(taken[0], 0);
        let left = queue.stop_sending().messages;
        let results: Vec<_> = waiting.into_iter().map(|it| it.join().unwrap()).collect();
        let is_queued = |result: &&EnqueueResult| matches!(result, EnqueueResult::Queued { .. });
        assert_eq!(results.iter().filter(is_queued).count(), 1 + left, "{results:?}");
    });
}

#[test]
fn a_ready_flag_that_is_set_at_any_time_is_seen() {
    check(|| {
        let flag = ReadyFlag::new();
        let count = Arc::new(AtomicUsize::new(0));
        let waking: Vec<_> = (0..2)
            .map(|_| {
                let (waker, count) = (Waker::from(Arc::clone(&flag)), Arc::clone(&count));
                thread::spawn(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    waker.wake();
                })
            })
            .collect();
        // A task that looks only when the flag is set sees both.
        block_on(poll_fn(|cx| {
            flag.register(cx);
            if flag.take() && count.load(Ordering::SeqCst) == 2 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        waking.into_iter().for_each(|it| it.join().unwrap());
    });
}

struct Owner(OwnId);

fn owner(id: &str) -> Arc<Owner> {
    Arc::new(Owner(OwnId::new(Arc::from(id))))
}

#[test]
fn an_owner_is_found_throughout_a_rename_and_an_id_has_one_owner() {
    check(|| {
        let ids = Arc::new(IdRegistry::new(4));
        let (one, two) = (owner("one"), owner("two"));
        ids.register(&one, &one.0).unwrap();
        ids.register(&two, &two.0).unwrap();
        let renaming: Vec<_> = [&one, &two]
            .map(|owner| {
                let (ids, owner) = (Arc::clone(&ids), Arc::clone(owner));
                thread::spawn(move || ids.rename(&owner, &owner.0, Arc::from("new")))
            })
            .into();
        // An owner that the old id does not find has the new id by then.
        for (owner, id) in [(&one, "one"), (&two, "two")] {
            let found = ids.find(id).or_else(|| ids.find("new")).unwrap();
            assert!(Arc::ptr_eq(&found, owner));
        }
        let renamed: Vec<_> = renaming.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(renamed.iter().filter(|it| it.is_ok()).count(), 1);
        assert!(renamed.contains(&Err(RegisterError::Taken)));
        let new = ids.find("new").unwrap();
        assert_eq!(&*new.0.get(), "new");
        let left = if renamed[0].is_ok() { "two" } else { "one" };
        assert!(ids.find(left).is_some());
    });
}

#[test]
fn an_owner_that_is_renamed_and_unregistered_concurrently_has_no_id() {
    check(|| {
        let ids = Arc::new(IdRegistry::new(4));
        let one = owner("one");
        ids.register(&one, &one.0).unwrap();
        let renaming = thread::spawn({
            let (ids, one) = (Arc::clone(&ids), Arc::clone(&one));
            move || ids.rename(&one, &one.0, Arc::from("new"))
        });
        assert!(ids.unregister(&one.0) && !ids.unregister(&one.0));
        let renamed = renaming.join().unwrap();
        assert!(matches!(renamed, Ok(()) | Err(RegisterError::Released)));
        assert!(ids.find("one").is_none() && ids.find("new").is_none());
        assert_eq!(Arc::strong_count(&one), 1);
    });
}

#[test]
fn a_room_is_removed_with_its_last_member_and_loses_none_that_joins_meanwhile() {
    check(|| {
        let rooms = Arc::new(RoomRegistry::new(4, None));
        let joining: Vec<_> = (0..3_u32)
            .map(|n| {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || {
                    let slot = rooms.join("room", &n);
                    let found = rooms.find("room").unwrap().members();
                    assert_eq!(found.iter().filter(|it| **it == n).count(), 1, "{found:?}");
                    rooms.leave(&slot, &n);
                })
            })
            .collect();
        joining.into_iter().for_each(|it| it.join().unwrap());
        assert!(rooms.find("room").is_none());
        assert_eq!(rooms.len(), 0);
    });
}

#[test]
fn a_broadcast_visits_a_member_that_stays_once_while_others_join_and_leave() {
    check(|| {
        let rooms = Arc::new(RoomRegistry::new(1, None));
        let staying: Vec<_> = (0..3_u32).collect();
        let _slots: Vec<_> = staying.iter().map(|it| rooms.join("room", it)).collect();
        let moving: Vec<_> = (10..12_u32)
            .map(|n| {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || {
                    let slot = rooms.join("room", &n);
                    rooms.leave(&slot, &n);
                })
            })
            .collect();
        let room = rooms.find("room").unwrap();
        let mut visited = Vec::new();
        room.with_send_lock(|| room.for_each_segment(|members| visited.extend_from_slice(members)));
        visited.sort_unstable();
        let all = visited.len();
        visited.dedup();
        assert!(visited.len() == all && visited.starts_with(&[0, 1, 2]), "{visited:?}");
        moving.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(room.len(), 3);
    });
}
