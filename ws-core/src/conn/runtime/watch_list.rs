//! Which connections does no operation read, and when is each looked at?
//!
//! Each thread has one list of such connections, and one task that looks at all of them once per
//! second while there are any. With metrics, another list has all connections, to hand over their
//! counts.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::{coop, yield_now};
use tokio::time::sleep;

use crate::conn::runtime::per_runtime::PerRuntime;

/// How often the watch looks at a connection.
const PERIOD: Duration = Duration::from_secs(1);

/// How often a connection hands over its counts.
const METRICS_PERIOD: Duration = Duration::from_secs(5);

/// How many connections are looked at before other tasks run.
const BATCH: usize = 32;

/// What is looked at.
pub(crate) trait Watched: Send + Sync {
    /// Reads, and checks the deadlines. Returns whether to look again.
    fn look(&self, last: &mut LastLook) -> bool;

    /// The list has forgotten it: its runtime has ended.
    fn forget(&self);

    /// Hands over what was counted. Returns whether to come again.
    fn hand_over(&self) -> bool;
}

/// Why connections are in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// No operation reads them.
    #[default]
    Unread,
    /// They have metrics.
    Metrics,
}

impl Purpose {
    const fn period(self) -> Duration {
        match self {
            Self::Unread => PERIOD,
            Self::Metrics => METRICS_PERIOD,
        }
    }
}

/// What was found at the last look. Small, since thousands of connections may be in a list.
#[derive(Default)]
pub(crate) struct LastLook {
    pub(crate) progress: u32,
    /// How many looks in a row have found that nothing more is read ahead, and nothing is taken.
    pub(crate) full: u32,
}

thread_local! {
    static WATCH_LIST: PerRuntime<WatchList> = const { PerRuntime::new() };
    static METRICS_LIST: PerRuntime<WatchList> = const { PerRuntime::new() };
}

/// A list of a thread. Its lock is taken last and held for moments.
#[derive(Default)]
struct WatchList {
    purpose: Purpose,
    watched: Mutex<WatchEntries>,
}

#[derive(Default)]
struct WatchEntries {
    entries: Vec<WatchEntry>,
    task: WatchState,
}

struct WatchEntry {
    target: Weak<dyn Watched>,
    last: LastLook,
}

/// What the task of a list does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum WatchState {
    /// There is none, and the list is empty.
    #[default]
    None,
    /// It is being spawned, by the only entry.
    Spawning,
    Running,
    /// It has panicked, as it does in a runtime without a clock.
    Failed,
}

/// Adds a connection, which must not be in the list. Returns whether it is looked at: it is not
/// without a runtime, or with one that shuts down.
///
/// The caller may hold the lock that `look` and `forget` take.
pub(crate) fn enter(target: Weak<dyn Watched>) -> bool {
    PerRuntime::get(&WATCH_LIST).is_some_and(|(runtime, list)| enter_list(target, &runtime, list))
}

/// Adds a connection that has metrics. Without a runtime, or if it shuts down, the connection hands
/// over its counts only at its end.
pub(crate) fn enter_metrics(target: Weak<dyn Watched>) {
    let make = |_| Arc::new(WatchList { purpose: Purpose::Metrics, ..WatchList::default() });
    if let Some((runtime, list)) = PerRuntime::get_or(&METRICS_LIST, make) {
        enter_list(target, &runtime, list);
    }
}

fn enter_list(target: Weak<dyn Watched>, runtime: &Handle, list: Arc<WatchList>) -> bool {
    let mut watched = list.watched.lock();
    if watched.task == WatchState::Failed {
        return true;
    }
    watched.entries.push(WatchEntry { target, last: LastLook::default() });
    if watched.task != WatchState::None {
        return true;
    }
    watched.task = WatchState::Spawning;
    drop(watched);
    let task = WatchTask { list: Arc::clone(&list), looking: Vec::new(), has_ended: false };
    drop(runtime.spawn(task.run()));
    // A runtime that shuts down has dropped the task by now.
    let mut watched = list.watched.lock();
    if watched.task == WatchState::Spawning {
        watched.task = WatchState::Running;
    }
    watched.task != WatchState::None
}

/// The task. It ends when the list is empty.
struct WatchTask {
    list: Arc<WatchList>,
    /// The entries that were taken out of the list, to be looked at.
    looking: Vec<WatchEntry>,
    /// Another task may have begun before this one is dropped.
    has_ended: bool,
}

impl WatchTask {
    async fn run(mut self) {
        loop {
            sleep(self.list.purpose.period()).await;
            self.look().await;
            let mut watched = self.list.watched.lock();
            watched.entries.append(&mut self.looking);
            if watched.entries.is_empty() {
                // Frees what many connections took.
                *watched = WatchEntries::default();
                self.has_ended = true;
                return;
            }
        }
    }

    /// Looks at all entries, and keeps those to look at again.
    async fn look(&mut self) {
        self.looking = std::mem::take(&mut self.list.watched.lock().entries);
        let purpose = self.list.purpose;
        let (mut next, mut in_batch) = (0, 0);
        while let Some(entry) = self.looking.get_mut(next) {
            if entry.look(purpose) {
                next += 1;
            } else {
                drop(self.looking.swap_remove(next));
            }
            in_batch += 1;
            if in_batch == BATCH || !coop::has_budget_remaining() {
                in_batch = 0;
                yield_now().await;
            }
        }
    }
}

impl WatchEntry {
    fn look(&mut self, purpose: Purpose) -> bool {
        let Some(target) = self.target.upgrade() else { return false };
        // A hook that panics must end neither the watch of the others nor its own.
        let looked = panic::catch_unwind(AssertUnwindSafe(|| {
            let again = match purpose {
                Purpose::Unread => target.look(&mut self.last),
                Purpose::Metrics => target.hand_over(),
            };
            drop(target);
            again
        }));
        looked.unwrap_or(true)
    }
}

impl Drop for WatchTask {
    /// A runtime that shuts down drops its tasks. Connections that are still in use are then
    /// watched by another runtime.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (task, mut entries) = {
            let mut watched = self.list.watched.lock();
            let next = if std::thread::panicking() { WatchState::Failed } else { WatchState::None };
            (std::mem::replace(&mut watched.task, next), std::mem::take(&mut watched.entries))
        };
        // The one target that spawns this task holds its lock, and checks after the spawn.
        if task != WatchState::Spawning && self.list.purpose == Purpose::Unread {
            entries.append(&mut self.looking);
            for target in entries.into_iter().filter_map(|entry| entry.target.upgrade()) {
                target.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::runtime::{Builder, Handle, Runtime};

    use super::*;

    #[derive(Default)]
    struct Target {
        looks: AtomicUsize,
        forgotten: AtomicUsize,
        panics: bool,
    }

    impl Watched for Target {
        fn look(&self, last: &mut LastLook) -> bool {
            assert_eq!(last.progress as usize, self.looks.load(Relaxed));
            last.progress += 1;
            self.looks.fetch_add(1, Relaxed);
            assert!(!self.panics || last.progress == 3, "the hook panics");
            last.progress < 3
        }

        fn forget(&self) {
            self.forgotten.fetch_add(1, Relaxed);
        }

        fn hand_over(&self) -> bool {
            false
        }
    }

    fn watched(target: &Arc<Target>) -> bool {
        let target: Weak<Target> = Arc::downgrade(target);
        enter(target)
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn one_task_looks_at_all_until_none_is_left() {
        let target = || Arc::<Target>::default();
        assert!(!watched(&target()), "there is no runtime");
        runtime().block_on(async {
            let all: Vec<_> = (0..100).map(|_| target()).collect();
            let panics = Arc::new(Target { panics: true, ..Target::default() });
            assert!(watched(&panics) && all.iter().all(watched));
            assert!(watched(&target()), "it is dropped");
            let tasks = || Handle::current().metrics().num_alive_tasks();
            for (looks, alive) in [(0, 1), (1, 1), (2, 1), (3, 0)] {
                assert!(all.iter().all(|one| one.looks.load(Relaxed) == looks));
                assert_eq!((panics.looks.load(Relaxed), tasks()), (looks, alive));
                sleep(PERIOD).await; // tidy: sleep is the subject
                // The task takes a turn for each batch.
                for _ in 0..10 {
                    yield_now().await;
                }
            }
            assert!(watched(&all[0]), "another task begins");
        });
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<WatchEntry>() <= 24);
    }

    #[test]
    fn a_runtime_that_ends_forgets_what_it_watched() {
        let (before, after) = (Arc::<Target>::default(), Arc::<Target>::default());
        let first = runtime();
        let handle = first.handle().clone();
        first.block_on(async { assert!(watched(&before)) });
        drop(first);
        assert_eq!(before.forgotten.load(Relaxed), 1);
        let _in_it = handle.enter();
        assert!(!watched(&after), "it has ended");
        assert_eq!(after.forgotten.load(Relaxed), 0, "the caller holds its lock");
    }

    #[test]
    fn a_runtime_without_a_clock_watches_nothing_and_tries_once() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let target = Arc::<Target>::default();
            for _ in 0..3 {
                assert!(watched(&target));
                yield_now().await;
                assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
            }
            assert_eq!(target.looks.load(Relaxed), 0);
        });
    }
}
