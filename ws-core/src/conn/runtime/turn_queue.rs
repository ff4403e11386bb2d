//! In which order do connections continue that have more input than one turn handles?
//!
//! Such connections wait in one queue of the runtime, and so does what handles their messages apart
//! from them. The task of the queue wakes the first one for each worker in each round of the
//! scheduler: after the other tasks that are awake, and after a look for events. So another task waits
//! for few long turns, however many peers send without a pause, and few long messages are in memory at
//! the same time.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::runtime::Id;
use tokio::task::yield_now;

use crate::conn::runtime::per_runtime::PerRuntime;

/// Beyond this, connections go on without waiting. The queue may hold one several times: it is
/// polled for another reason while it waits.
const MAX_WAITING: usize = 1024;

/// Where a connection waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before all others: it is in the middle of a long message.
    First,
    Last,
}

thread_local! {
    static TURN_QUEUE: PerRuntime<TurnQueue> = const { PerRuntime::new() };
}

/// The queues of all runtimes: the threads of one runtime share theirs.
static QUEUES: Mutex<Vec<(Id, Weak<TurnQueue>)>> = Mutex::new(Vec::new());

#[derive(Default)]
struct TurnQueue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: VecDeque<Waker>,
    has_task: bool,
}

/// Wakes a connection when its next turn begins, or when the runtime ends; at once without a runtime.
pub(crate) fn wait(place: Place, waker: &Waker) {
    let Some((runtime, queue)) = PerRuntime::get_or(&TURN_QUEUE, queue_of) else {
        return waker.wake_by_ref();
    };
    let mut waiting = queue.0.lock();
    if waiting.wakers.len() >= MAX_WAITING {
        drop(waiting);
        return waker.wake_by_ref();
    }
    match place {
        Place::First => waiting.wakers.push_front(waker.clone()),
        Place::Last => waiting.wakers.push_back(waker.clone()),
    }
    if !std::mem::replace(&mut waiting.has_task, true) {
        drop(waiting);
        let task = TurnTask { queue: Some(queue), workers: runtime.metrics().num_workers() };
        // A runtime that shuts down drops the task in this call.
        drop(runtime.spawn(task.run()));
    }
}

fn queue_of(runtime: Id) -> Arc<TurnQueue> {
    let mut queues = QUEUES.lock();
    queues.retain(|(_, queue)| queue.strong_count() > 0);
    let known = queues.iter().find(|(id, _)| *id == runtime);
    known.and_then(|(_, queue)| queue.upgrade()).unwrap_or_else(|| {
        let queue = Arc::default();
        queues.push((runtime, Arc::downgrade(&queue)));
        queue
    })
}

/// The task of a queue, which it no longer has when it is empty.
struct TurnTask {
    queue: Option<Arc<TurnQueue>>,
    /// How many tasks the runtime polls at the same time.
    workers: usize,
}

impl TurnTask {
    async fn run(mut self) {
        loop {
            // The runtime looks for events before it wakes this task. While a task is awake, it does so
            // every 61 polls, and the neighbours of a flood would wait for as many turns.
            //
            // A connection must not yield for itself: `block_in_place` may wake it within an operation
            // that holds the locks of a connection.
            yield_now().await;
            if !self.begin_round() {
                return;
            }
        }
    }

    /// Begins a turn for each worker. Returns whether there are more.
    fn begin_round(&mut self) -> bool {
        let Some(queue) = &self.queue else { return false };
        let count = self.workers.min(queue.0.lock().wakers.len());
        for _ in 0..count {
            // One at a time: if a waker panics, the others are woken when this is dropped.
            let next = queue.0.lock().wakers.pop_front();
            next.into_iter().for_each(Waker::wake);
        }
        let mut waiting = queue.0.lock();
        let goes_on = !waiting.wakers.is_empty();
        waiting.has_task = goes_on;
        drop(waiting);
        if !goes_on {
            self.queue = None;
        }
        goes_on
    }
}

impl Drop for TurnTask {
    /// A runtime that shuts down drops its tasks. Another one may poll the connections.
    fn drop(&mut self) {
        let Some(queue) = &self.queue else { return };
        let wakers = {
            let mut waiting = queue.0.lock();
            waiting.has_task = false;
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use tokio::runtime::{Builder, Handle};

    use super::*;

    /// Notes its number when it is woken.
    struct Connection {
        number: u64,
        woken: Arc<Mutex<Vec<u64>>>,
    }

    impl Wake for Connection {
        fn wake(self: Arc<Self>) {
            self.woken.lock().push(self.number);
        }
    }

    #[derive(Clone, Default)]
    struct Woken(Arc<Mutex<Vec<u64>>>);

    impl Woken {
        fn wait(&self, number: u64, place: Place) {
            let woken = Arc::clone(&self.0);
            wait(place, &Waker::from(Arc::new(Connection { number, woken })));
        }

        /// Those woken since the last call.
        fn take(&self) -> Vec<u64> {
            std::mem::take(&mut self.0.lock())
        }
    }

    /// Runs a test as a task.
    fn in_runtime<F>(test: impl FnOnce(Woken) -> F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().build().unwrap();
        let test = runtime.spawn(test(Woken::default()));
        runtime.block_on(test).unwrap()
    }

    fn next_round() {
        begin_round(1);
    }

    /// Begins a round, in place of the task of the queue, which is not polled before the test waits.
    fn begin_round(workers: usize) {
        let (_, queue) = PerRuntime::get_or(&TURN_QUEUE, queue_of).unwrap();
        let mut task = TurnTask { queue: Some(queue), workers };
        task.begin_round();
        task.queue = None;
    }

    /// Waits until no task is left but that of the test.
    async fn is_idle() {
        while Handle::current().metrics().num_alive_tasks() > 1 {
            yield_now().await;
        }
    }

    #[test]
    fn a_connection_goes_on_at_once_without_a_runtime() {
        let woken = Woken::default();
        woken.wait(1, Place::Last);
        assert_eq!(woken.take(), [1]);
    }

    /// Also one that is busy alone.
    #[test]
    fn a_connection_goes_on_when_the_runtime_has_looked_for_events() {
        in_runtime(|woken| async move {
            for _ in 0..3 {
                woken.wait(1, Place::Last);
                assert!(woken.take().is_empty());
                is_idle().await;
                assert_eq!(woken.take(), [1]);
            }
        });
    }

    /// A connection may wait twice: its task, and another one that handles its messages.
    #[test]
    fn a_connection_waits_behind_those_that_wait() {
        in_runtime(|woken| async move {
            for number in [1, 2, 2] {
                woken.wait(number, Place::Last);
            }
            for expected in [&[1][..], &[2], &[2], &[]] {
                assert!(woken.take().is_empty());
                next_round();
                assert_eq!(woken.take(), expected);
            }
        });
    }

    #[test]
    fn one_connection_goes_on_in_each_round() {
        in_runtime(|woken| async move {
            for number in 1..=3 {
                woken.wait(number, Place::Last);
            }
            assert!(woken.take().is_empty());
            for next in 1..=3 {
                next_round();
                assert_eq!(woken.take(), [next]);
                // One in the middle of a message goes on before the others.
                if next == 2 {
                    woken.wait(2, Place::First);
                    next_round();
                    assert_eq!(woken.take(), [2]);
                }
            }
            is_idle().await;
            assert!(woken.take().is_empty());
        });
    }

    #[test]
    fn as_many_connections_go_on_as_there_are_workers() {
        in_runtime(|woken| async move {
            for number in 1..=5 {
                woken.wait(number, Place::Last);
            }
            for expected in [&[1, 2][..], &[3, 4], &[5]] {
                begin_round(2);
                assert_eq!(woken.take(), expected);
            }
        });
    }

    #[test]
    fn the_queue_is_bounded() {
        in_runtime(|woken| async move {
            for turn in 0..2 * MAX_WAITING {
                woken.wait(turn as u64 % 2 + 1, Place::Last);
            }
            assert_eq!(woken.take().len(), MAX_WAITING);
            for _ in 0..MAX_WAITING {
                next_round();
            }
            assert_eq!(woken.take().len(), MAX_WAITING);
        });
    }

    #[test]
    fn a_runtime_that_ends_wakes_all() {
        let woken = in_runtime(|woken| async move {
            for number in 1..=3 {
                woken.wait(number, Place::Last);
            }
            woken
        });
        assert_eq!(woken.take(), [1, 2, 3]);
    }

    #[test]
    fn the_threads_of_a_runtime_share_a_queue() {
        let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let queue = || PerRuntime::get_or(&TURN_QUEUE, queue_of).map(|(_, queue)| queue).unwrap();
        let other = Builder::new_current_thread().build().unwrap();
        let here = runtime.block_on(async { queue() });
        let there = runtime.block_on(async { tokio::spawn(async move { queue() }).await.unwrap() });
        assert!(Arc::ptr_eq(&here, &there));
        assert!(!Arc::ptr_eq(&here, &other.block_on(async { queue() })));
    }
}
