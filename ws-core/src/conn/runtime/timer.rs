//! Who wakes a connection when something is due?
//!
//! Each thread has one ticker for all connections that are polled on it, with one task
//! that sleeps until the first of them is due. A connection has one alarm with it, which
//! may ring early but never late: what moves to a later instant leaves the alarm as it
//! is. The connection then looks, and sets it anew.

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

use crate::conn::driver::connection::Shared;
use crate::conn::runtime::per_runtime::Here;

/// How many bits of a key tell the alarms of one tick apart. The others count ticks, for
/// 34 years.
const NUMBER_BITS: u32 = 24;

thread_local! {
    static TICKER: Here<Ticker> = const { Here::new() };
}

/// What a connection has with a ticker until that rings, or the alarm is dropped.
pub(crate) struct Alarm {
    ticker: Arc<Ticker>,
    key: u64,
}

impl Alarm {
    /// Has the connection looked at by then, soon after. `None` without a runtime, or
    /// with one that ends: there, nothing is ever due.
    ///
    /// The lock of the connection's reader may be held.
    pub(crate) fn set(at: Instant, shared: &Shared) -> Option<Self> {
        let (runtime, ticker) = Here::get(&TICKER)?;
        let key = ticker.enter(at, &shared.this, &runtime)?;
        Some(Self { ticker, key })
    }

    /// Does it ring by then?
    pub(crate) fn is_by(&self, at: Instant) -> bool {
        tick_of(self.key) <= self.ticker.tick(at)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.ticker.leave(self.key);
    }
}

/// The alarms of a thread.
///
/// Its lock is taken last and held for moments; whoever is woken, is woken without it.
struct Ticker {
    began: Instant,
    alarms: Mutex<Alarms>,
}

#[derive(Default)]
struct Alarms {
    /// By the tick at which they ring, a millisecond since the ticker began, and a number
    /// that tells those of one tick apart.
    waiting: BTreeMap<u64, Weak<Shared>>,
    last: u64,
    task: Task,
}

/// What the task does.
#[derive(Default)]
enum Task {
    /// There is none, and no alarm.
    #[default]
    None,
    /// It is being spawned, and the only alarm is of the connection that does it.
    Spawning,
    /// It will look at all alarms.
    Awake,
    /// It sleeps until this one rings.
    Asleep(u64, Waker),
}

impl Default for Ticker {
    fn default() -> Self {
        Self { began: Instant::now(), alarms: Mutex::default() }
    }
}

impl Ticker {
    /// Sets an alarm.
    fn enter(
        self: &Arc<Self>,
        at: Instant,
        shared: &Weak<Shared>,
        runtime: &Handle,
    ) -> Option<u64> {
        let mut alarms = self.alarms.lock();
        // A runtime without a clock panics here, in the call of the application.
        let task = matches!(alarms.task, Task::None).then(|| Ticking::new(self, at));
        let key = alarms.add(self.tick(at), Weak::clone(shared));
        let Some(task) = task else {
            let asleep = alarms.wake_before(key);
            drop(alarms);
            asleep.into_iter().for_each(Waker::wake);
            return Some(key);
        };
        alarms.task = Task::Spawning;
        drop(alarms);
        drop(runtime.spawn(task));
        let mut alarms = self.alarms.lock();
        if matches!(alarms.task, Task::Spawning) {
            alarms.task = Task::Awake;
        }
        // A runtime that ends has dropped the task by now.
        alarms.waiting.contains_key(&key).then_some(key)
    }

    /// Takes an alarm back, unless it has rung: its key is another's only when all
    /// numbers have come round, and by then it is known that it rang.
    fn leave(&self, key: u64) {
        let mut alarms = self.alarms.lock();
        alarms.waiting.remove(&key);
        let asleep = alarms.waiting.is_empty().then(|| alarms.wake_before(0));
        drop(alarms);
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

impl Alarms {
    fn add(&mut self, tick: u64, shared: Weak<Shared>) -> u64 {
        loop {
            self.last = (self.last + 1) % (1 << NUMBER_BITS);
            let key = tick << NUMBER_BITS | self.last;
            if let Entry::Vacant(place) = self.waiting.entry(key) {
                place.insert(shared);
                return key;
            }
        }
    }

    /// Takes out what rings at this tick or before.
    fn take_due(&mut self, tick: u64) -> Vec<Weak<Shared>> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && tick_of(*first.key()) <= tick
        {
            due.push(first.remove());
        }
        due
    }

    /// Whom to wake, if the task sleeps longer than until then.
    fn wake_before(&mut self, key: u64) -> Option<Waker> {
        match std::mem::take(&mut self.task) {
            Task::Asleep(until, waker) if key < until => {
                self.task = Task::Awake;
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

/// The task. It ends when there are no alarms.
struct Ticking {
    /// Absent when it has ended: another may have begun by the time this one is dropped.
    ticker: Option<Arc<Ticker>>,
    sleep: Pin<Box<Sleep>>,
}

impl Ticking {
    fn new(ticker: &Arc<Ticker>, first: Instant) -> Self {
        Self { ticker: Some(Arc::clone(ticker)), sleep: Box::pin(sleep_until(first)) }
    }
}

impl Future for Ticking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { ticker: slot, sleep } = &mut *self;
        while let Some(ticker) = slot {
            let now = ticker.began.elapsed().as_millis();
            let mut alarms = ticker.alarms.lock();
            let due = alarms.take_due(u64::try_from(now).unwrap_or(u64::MAX));
            if !due.is_empty() {
                alarms.task = Task::Awake;
                drop(alarms);
                ring(due);
                continue;
            }
            let Some((&next, _)) = alarms.waiting.first_key_value() else {
                alarms.task = Task::None;
                drop(alarms);
                *slot = None;
                break;
            };
            alarms.task = Task::Asleep(next, cx.waker().clone());
            drop(alarms);
            sleep.as_mut().reset(ticker.instant(tick_of(next)));
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

impl Drop for Ticking {
    /// A runtime that ends takes its tasks with it: connections that are still in use
    /// look for the ticker of another then.
    fn drop(&mut self) {
        let Some(ticker) = self.ticker.take() else { return };
        let (task, waiting) = {
            let mut alarms = ticker.alarms.lock();
            (std::mem::take(&mut alarms.task), std::mem::take(&mut alarms.waiting))
        };
        // The one connection that is spawning this is locked, and sees for itself.
        if !matches!(task, Task::Spawning) {
            ring(waiting.into_values());
        }
    }
}

/// Has connections looked at. To be called without any lock.
fn ring(alarms: impl IntoIterator<Item = Weak<Shared>>) {
    for shared in alarms.into_iter().filter_map(|shared| shared.upgrade()) {
        let mut reader = shared.reader.lock();
        reader.clock.ring();
        reader.waiters.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread;

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::{join, join_all};
    use tokio::io::{DuplexStream, duplex};
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    use super::*;
    use crate::conn::Conn;
    use crate::handshake::Negotiated;
    use crate::{Config, Deadline, Error, Keepalive, Message, Role, StatusCode};

    const SECOND: Duration = Duration::from_secs(1);

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    fn watchful() -> Config {
        Config::new().keepalive(Keepalive::every(30 * SECOND))
    }

    /// A client's connection, and the peer's end of the stream.
    fn connect(config: Config) -> (Conn, DuplexStream) {
        let (here, there) = duplex(1024);
        (Conn::from_stream(here, Role::Client, Negotiated::default(), Bytes::new(), config), there)
    }

    /// How many alarms has this thread?
    fn alarms() -> usize {
        Here::get(&TICKER).unwrap().1.alarms.lock().waiting.len()
    }

    fn check_deadline(read: Result<Message, Error>, expected: Deadline) {
        assert!(matches!(&read, Err(Error::Timeout(found)) if *found == expected), "{read:?}");
    }

    #[derive(Clone, Copy, Debug)]
    enum End {
        Dropped,
        Cut,
        CutByPeer,
        GivenUp,
        Closed,
        DroppedWhileClosing,
    }

    async fn end(how: End, conn: Conn, peer: DuplexStream) {
        match how {
            End::Dropped => drop(conn),
            End::Cut => conn.close_now(),
            End::CutByPeer => {
                drop(peer);
                conn.read().await.unwrap_err();
            }
            End::GivenUp => check_deadline(conn.read().await, Deadline::Keepalive),
            End::Closed => {
                conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap_err();
                assert_eq!(alarms(), 0);
            }
            End::DroppedWhileClosing => {
                assert!(conn.close(StatusCode::NORMAL_CLOSURE, "").now_or_never().is_none());
                assert_eq!(alarms(), 1);
            }
        }
    }

    #[test]
    fn no_alarm_stays_behind_its_connection() {
        use End::{Closed, Cut, CutByPeer, Dropped, DroppedWhileClosing, GivenUp};
        runtime().block_on(async {
            for how in [Dropped, Cut, CutByPeer, GivenUp, Closed, DroppedWhileClosing] {
                let (conn, peer) = connect(watchful());
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(alarms(), 1, "{how:?}");
                end(how, conn, peer).await;
                assert_eq!(alarms(), 0, "{how:?}");
                // Nor a task that has nothing to do.
                yield_now().await;
                let ticker = Here::get(&TICKER).unwrap().1;
                assert!(matches!(ticker.alarms.lock().task, Task::None), "{how:?}");
            }
        });
    }

    #[test]
    fn a_connection_that_waits_for_nothing_has_no_alarm() {
        runtime().block_on(async {
            let (conn, _peer) = connect(Config::new());
            assert!(conn.read().now_or_never().is_none());
            assert_eq!(alarms(), 0);
        });
    }

    #[test]
    fn one_alarm_serves_until_it_rings() {
        runtime().block_on(async {
            let (conn, _peer) = connect(Config::new().idle_timeout(10 * SECOND));
            for _ in 0..9 {
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(alarms(), 1);
                tokio::time::advance(SECOND).await;
            }
        });
    }

    #[test]
    fn alarms_of_one_instant_all_ring() {
        runtime().block_on(async {
            let all: Vec<_> = (0..1000).map(|_| connect(watchful())).collect();
            let began = Instant::now();
            for read in join_all(all.iter().map(|(conn, _)| conn.read())).await {
                check_deadline(read, Deadline::Keepalive);
            }
            assert_eq!(began.elapsed().as_secs(), 60);
            assert_eq!(alarms(), 0);
        });
    }

    #[test]
    fn what_is_due_sooner_rings_sooner() {
        runtime().block_on(async {
            let (late, _peer) = connect(Config::new().max_age(100 * SECOND));
            let (soon, _other) = connect(Config::new().max_age(10 * SECOND));
            let began = Instant::now();
            let late = async {
                check_deadline(late.read().await, Deadline::Age);
                assert_eq!(began.elapsed().as_secs(), 100);
            };
            let soon = async {
                // By now the task sleeps until the other is due.
                yield_now().await;
                check_deadline(soon.read().await, Deadline::Age);
                assert_eq!(began.elapsed().as_secs(), 10);
            };
            join(late, soon).await;
        });
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn a_connection_outlives_the_runtime_of_its_alarm() {
        // The task has not run yet, or it sleeps.
        for yields in 0..3 {
            let (conn, _peer) = connect(watchful());
            let mut read = pin!(conn.read());
            let woken = Arc::new(Woken::default());
            let first = runtime();
            first.block_on(async {
                let waker = Waker::from(Arc::clone(&woken));
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                assert_eq!(alarms(), 1);
                for _ in 0..yields {
                    yield_now().await;
                }
            });
            assert!(!woken.0.load(Relaxed));
            drop(first);
            assert!(woken.0.load(Relaxed));
            runtime().block_on(async { check_deadline(read.await, Deadline::Keepalive) });
        }
    }

    #[test]
    fn a_runtime_that_has_ended_has_no_alarms() {
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let (conn, _peer) = connect(watchful());
            let ended = runtime().handle().clone();
            for _ in 0..2 {
                let _in_it = ended.enter();
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(alarms(), 0);
            }
            runtime().block_on(async { check_deadline(conn.read().await, Deadline::Keepalive) });
            done.send(()).unwrap();
        });
        wait.recv_timeout(20 * SECOND).unwrap();
    }

    #[test]
    fn keys_are_told_apart_and_never_before_their_instant() {
        let ticker = Ticker::default();
        let mut alarms = ticker.alarms.lock();
        let at = ticker.began + Duration::from_nanos(1);
        let first = alarms.add(ticker.tick(at), Weak::new());
        assert_eq!(tick_of(first), 1);
        // The numbers have come round.
        alarms.last -= 1;
        let second = alarms.add(ticker.tick(at), Weak::new());
        assert_ne!(first, second);
        assert_eq!(alarms.take_due(0).len(), 0);
        assert_eq!(alarms.take_due(1).len(), 2);
        // What is too far away to be told rings too early, which does no harm.
        let far = ticker.began + Duration::from_secs(1 << 40);
        let far = alarms.add(ticker.tick(far), Weak::new());
        assert_eq!(tick_of(far), u64::MAX >> NUMBER_BITS);
    }
}
