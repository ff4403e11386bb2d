//! How is a connection woken when a deadline passes?
//!
//! Each thread has one timer queue for all connections that are polled on it, with one task
//! that sleeps until the first timer is due. A connection has at most one timer. The timer may
//! fire early but never late: a deadline that moves to a later instant leaves it as it is. The
//! connection then checks its deadlines, and schedules the next timer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::conn::runtime::per_runtime::PerRuntime;

/// What a timer wakes.
pub(crate) trait Expire: Send + Sync {
    /// The timer has fired. Called without any lock of the timer queue.
    fn expired(&self);
}

/// How many bits of a key tell the timers of one tick apart. The others count ticks, which
/// lasts for 34 years.
const NUMBER_BITS: u32 = 24;

thread_local! {
    static TIMER_QUEUE: PerRuntime<TimerQueue> = const { PerRuntime::new() };
}

/// A timer that is scheduled, until it fires. Dropping it cancels it.
pub(crate) struct Timer {
    queue: Arc<TimerQueue>,
    key: u64,
}

impl Timer {
    /// Schedules a timer. `None` without a runtime, or with one that shuts down: no deadline
    /// passes there.
    ///
    /// The caller may hold the lock that `expired` takes.
    pub(crate) fn schedule(at: Instant, target: Weak<dyn Expire>) -> Option<Self> {
        let (runtime, queue) = PerRuntime::get(&TIMER_QUEUE)?;
        let key = queue.schedule(at, target, &runtime)?;
        Some(Self { queue, key })
    }

    /// Whether it fires at this instant or before.
    pub(crate) fn fires_by(&self, at: Instant) -> bool {
        tick_of(self.key) <= self.queue.tick(at)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.queue.cancel(self.key);
    }
}

/// The timers of a thread.
///
/// Its lock is taken last and held for moments. Wakers are called without it.
struct TimerQueue {
    began: Instant,
    timers: Mutex<TimerSet>,
}

#[derive(Default)]
struct TimerSet {
    /// By the tick at which they fire, in milliseconds since the queue was made, and a number
    /// that tells those of one tick apart.
    scheduled: BTreeMap<u64, Weak<dyn Expire>>,
    last: u64,
    task: TaskState,
}

/// What the task of a timer queue does.
#[derive(Default)]
enum TaskState {
    /// There is no task, and no timer.
    #[default]
    None,
    /// It is being spawned, by the target of the only timer.
    Spawning,
    /// It will look at all timers.
    Awake,
    /// It sleeps until the timer of this key is due.
    Asleep(u64, Waker),
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self { began: Instant::now(), timers: Mutex::default() }
    }
}

impl TimerQueue {
    fn schedule(
        self: &Arc<Self>,
        at: Instant,
        target: Weak<dyn Expire>,
        runtime: &Handle,
    ) -> Option<u64> {
        let mut timers = self.timers.lock();
        // A runtime without a clock panics here, in the call of the application.
        let task = matches!(timers.task, TaskState::None).then(|| TimerTask::new(self, at));
        let key = timers.add(self.tick(at), target);
        let Some(task) = task else {
            let asleep = timers.wake_before(key);
            drop(timers);
            asleep.into_iter().for_each(Waker::wake);
            return Some(key);
        };
        timers.task = TaskState::Spawning;
        drop(timers);
        drop(runtime.spawn(task));
        let mut timers = self.timers.lock();
        if matches!(timers.task, TaskState::Spawning) {
            timers.task = TaskState::Awake;
        }
        // A runtime that shuts down has dropped the task by now.
        timers.scheduled.contains_key(&key).then_some(key)
    }

    /// Cancels a timer, unless it has fired. Keys are reused only after all numbers of a tick
    /// are used, and the owner of a fired timer has dropped it by then.
    fn cancel(&self, key: u64) {
        let mut timers = self.timers.lock();
        timers.scheduled.remove(&key);
        let asleep = timers.scheduled.is_empty().then(|| timers.wake_before(0));
        drop(timers);
        asleep.flatten().into_iter().for_each(Waker::wake);
    }

    /// The first tick that is not before this instant.
    fn tick(&self, at: Instant) -> u64 {
        let tick = at.saturating_duration_since(self.began).as_nanos().div_ceil(1_000_000);
        u64::try_from(tick).unwrap_or(u64::MAX).min(u64::MAX >> NUMBER_BITS)
    }

    fn instant(&self, tick: u64) -> Instant {
        self.began + Duration::from_millis(tick)
    }
}

impl TimerSet {
    fn add(&mut self, tick: u64, target: Weak<dyn Expire>) -> u64 {
        loop {
            self.last = (self.last + 1) % (1 << NUMBER_BITS);
            let key = tick << NUMBER_BITS | self.last;
            if let Entry::Vacant(entry) = self.scheduled.entry(key) {
                entry.insert(target);
                return key;
            }
        }
    }

    /// Takes out the timers of this tick and before.
    fn take_due(&mut self, tick: u64) -> Vec<Weak<dyn Expire>> {
        let mut due = Vec::new();
        while let Some(first) = self.scheduled.first_entry()
            && tick_of(*first.key()) <= tick
        {
            due.push(first.remove());
        }
        due
    }

    /// The waker of the task, if it sleeps longer than until this key.
    fn wake_before(&mut self, key: u64) -> Option<Waker> {
        match std::mem::take(&mut self.task) {
            TaskState::Asleep(until, waker) if key < until => {
                self.task = TaskState::Awake;
                Some(waker)
            }
            task => {
                self.task = task;
                None
            }
        }
    }
}

const fn tick_of(key: u64) -> u64 {
    key >> NUMBER_BITS
}

/// The task. It ends when there are no timers.
struct TimerTask {
    /// `None` when it has ended: another may have begun before this one is dropped.
    queue: Option<Arc<TimerQueue>>,
    sleep: Pin<Box<Sleep>>,
}

impl TimerTask {
    fn new(queue: &Arc<TimerQueue>, first: Instant) -> Self {
        Self { queue: Some(Arc::clone(queue)), sleep: Box::pin(sleep_until(first)) }
    }
}

impl Future for TimerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { queue: slot, sleep } = &mut *self;
        while let Some(queue) = slot {
            let now = queue.began.elapsed().as_millis();
            let mut timers = queue.timers.lock();
            let due = timers.take_due(u64::try_from(now).unwrap_or(u64::MAX));
            if !due.is_empty() {
                timers.task = TaskState::Awake;
                drop(timers);
                fire(due);
                continue;
            }
            let Some((&next, _)) = timers.scheduled.first_key_value() else {
                timers.task = TaskState::None;
                drop(timers);
                *slot = None;
                break;
            };
            timers.task = TaskState::Asleep(next, cx.waker().clone());
            drop(timers);
            sleep.as_mut().reset(queue.instant(tick_of(next)));
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

impl Drop for TimerTask {
    /// A runtime that shuts down drops its tasks. Connections that are still in use then
    /// schedule a timer with another runtime.
    fn drop(&mut self) {
        let Some(queue) = self.queue.take() else { return };
        let (task, scheduled) = {
            let mut timers = queue.timers.lock();
            (std::mem::take(&mut timers.task), std::mem::take(&mut timers.scheduled))
        };
        // The one target that spawns this task holds its lock, and checks after the spawn.
        if !matches!(task, TaskState::Spawning) {
            fire(scheduled.into_values());
        }
    }
}

/// Wakes the targets of timers. Called without any lock.
fn fire(timers: impl IntoIterator<Item = Weak<dyn Expire>>) {
    for target in timers.into_iter().filter_map(|target| target.upgrade()) {
        target.expired();
    }
}

/// The timer queue of this thread, for tests.
#[cfg(test)]
pub(crate) mod probe {
    use super::{PerRuntime, TIMER_QUEUE, TaskState};

    /// How many timers are scheduled?
    pub(crate) fn scheduled() -> usize {
        PerRuntime::get(&TIMER_QUEUE).unwrap().1.timers.lock().scheduled.len()
    }

    /// Is there a task?
    pub(crate) fn has_task() -> bool {
        let queue = PerRuntime::get(&TIMER_QUEUE).unwrap().1;
        let timers = queue.timers.lock();
        !matches!(timers.task, TaskState::None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::runtime::Builder;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    #[derive(Default)]
    struct Target(AtomicUsize);

    impl Expire for Target {
        fn expired(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Target {
        fn fired(&self) -> usize {
            self.0.load(Relaxed)
        }
    }

    fn timer(target: &Arc<Target>, after: Duration) -> Option<Timer> {
        let target: Weak<Target> = Arc::downgrade(target);
        Timer::schedule(Instant::now() + after, target)
    }

    #[test]
    fn a_timer_fires_once_when_it_is_due_unless_it_is_cancelled() {
        const SECOND: Duration = Duration::from_secs(1);
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (late, soon, cancelled) =
                (Arc::<Target>::default(), Arc::<Target>::default(), Arc::<Target>::default());
            let first = timer(&late, 9 * SECOND).unwrap();
            let second = timer(&soon, SECOND).unwrap();
            drop(timer(&cancelled, SECOND));
            assert!(second.fires_by(Instant::now() + SECOND) && !first.fires_by(Instant::now()));
            let pass = async |time| {
                // The task first sees its timers, and then the time that has passed.
                yield_now().await;
                advance(time).await;
                yield_now().await;
            };
            pass(2 * SECOND).await;
            assert_eq!((late.fired(), soon.fired(), cancelled.fired()), (0, 1, 0));
            pass(9 * SECOND).await;
            assert_eq!((late.fired(), soon.fired(), cancelled.fired()), (1, 1, 0));
            assert!(probe::scheduled() == 0 && !probe::has_task());
        });
        assert!(timer(&Arc::default(), SECOND).is_none(), "there is no runtime");
    }

    #[test]
    fn keys_are_told_apart_and_never_before_their_instant() {
        let target = || -> Weak<dyn Expire> { Weak::<Target>::new() };
        let queue = TimerQueue::default();
        let mut timers = queue.timers.lock();
        let at = queue.began + Duration::from_nanos(1);
        let first = timers.add(queue.tick(at), target());
        assert_eq!(tick_of(first), 1);
        // The numbers have come round.
        timers.last -= 1;
        let second = timers.add(queue.tick(at), target());
        assert_ne!(first, second);
        assert_eq!(timers.take_due(0).len(), 0);
        assert_eq!(timers.take_due(1).len(), 2);
        // An instant beyond the last tick fires too early, which does no harm.
        let far = queue.began + Duration::from_secs(1 << 40);
        let far = timers.add(queue.tick(far), target());
        assert_eq!(tick_of(far), u64::MAX >> NUMBER_BITS);
    }
}
