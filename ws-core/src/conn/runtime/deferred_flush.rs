//! How are deferred bytes flushed on the next turn of the scheduler?
//!
//! Each thread has one list of connections to flush, and one task that flushes them. Both are made
//! on first use.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::conn::runtime::per_runtime::PerRuntime;

/// What can be flushed later.
pub(crate) trait Flush: Send + Sync {
    /// Sends the bytes that are still deferred.
    fn flush_deferred(&self);
}

thread_local! {
    static FLUSH_LIST: PerRuntime<FlushList> = const { PerRuntime::new() };
}

/// What is to be flushed. A task is scheduled while the list is not empty.
#[derive(Default)]
struct FlushList(Mutex<Vec<Weak<dyn Flush>>>);

/// Schedules a flush for the next turn of the scheduler. Returns `false` without a runtime.
///
/// The caller must hold no lock: a runtime that shuts down may run the task in this call.
pub(crate) fn schedule(target: Weak<dyn Flush>) -> bool {
    let Some((runtime, list)) = PerRuntime::get(&FLUSH_LIST) else { return false };
    let is_first = {
        let mut waiting = list.0.lock();
        waiting.push(target);
        waiting.len() == 1
    };
    if is_first {
        let flush = FlushOnDrop(list);
        drop(runtime.spawn(async move { drop(flush) }));
    }
    true
}

impl FlushList {
    fn flush_all(&self) {
        let mut waiting = std::mem::take(&mut *self.0.lock());
        for target in waiting.drain(..) {
            if let Some(target) = target.upgrade() {
                // A transport that panics must not keep the others waiting.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| target.flush_deferred()));
            }
        }
        // Reuse the allocation, unless a new list has begun.
        let mut next = self.0.lock();
        if next.is_empty() {
            *next = waiting;
        }
    }
}

/// Held by the task, which drops it when it runs, and when its runtime shuts down before.
struct FlushOnDrop(Arc<FlushList>);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.flush_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Flush for Counter {
        fn flush_deferred(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    struct Panics;

    impl Flush for Panics {
        fn flush_deferred(&self) {
            panic!("the transport panics");
        }
    }

    #[test]
    fn a_target_that_panics_does_not_keep_the_others_waiting() {
        let counter = Arc::new(Counter::default());
        Builder::new_current_thread().build().unwrap().block_on(async {
            let panics = Arc::new(Panics);
            let target: Weak<Panics> = Arc::downgrade(&panics);
            assert!(schedule(target) && scheduled(&counter));
            yield_now().await;
            assert_eq!(counter.0.load(Relaxed), 1);
        });
    }

    fn scheduled(counter: &Arc<Counter>) -> bool {
        let target: Weak<Counter> = Arc::downgrade(counter);
        schedule(target)
    }

    #[test]
    fn all_targets_are_flushed_by_one_task_on_the_next_turn() {
        let counter = Arc::new(Counter::default());
        assert!(!scheduled(&counter), "there is no runtime");
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert!(scheduled(&counter) && scheduled(&counter));
            let tasks = runtime.metrics().num_alive_tasks();
            assert_eq!((tasks, counter.0.load(Relaxed)), (1, 0));
            yield_now().await;
            assert_eq!(counter.0.load(Relaxed), 2);
            let gone = Arc::new(Counter::default());
            assert!(scheduled(&gone));
            drop(gone);
            yield_now().await;
            assert!(scheduled(&counter));
        });
        drop(runtime);
        assert_eq!(counter.0.load(Relaxed), 3, "a runtime that shuts down flushes");
    }
}
