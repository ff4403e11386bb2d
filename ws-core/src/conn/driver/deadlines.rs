//! How does a connection keep its deadlines?

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep};

use crate::Config;
use crate::conn::runtime::timer::{Expire, Timer};
use crate::proto::{Due, Timers};

/// The deadlines of a connection, and the timer for the next of them.
#[derive(Default)]
pub(crate) struct Deadlines {
    pub(crate) timers: Timers,
    /// Scheduled while an operation waits; it stays scheduled after that. It never fires
    /// later than a deadline, but may fire earlier.
    timer: Option<Timer>,
}

impl Deadlines {
    /// The deadlines of a connection that opens now.
    pub(crate) fn new(config: &Config) -> Self {
        Self { timers: Timers::new(config, Instant::now().into_std()), timer: None }
    }

    /// No operation waits for a message any more.
    #[inline]
    pub(crate) fn pause(&mut self) {
        if self.timers.has_idle() {
            self.timers.pause(Instant::now().into_std());
        }
    }

    /// The closing handshake begins. Schedules the timer of `target`: the operations that wait may not
    /// be polled.
    pub(crate) fn begin_close(&mut self, config: &Config, target: impl Fn() -> Weak<dyn Expire>) {
        self.timers.close(Instant::now().into_std(), config.close_timeout);
        // Its deadline is the only one from now on.
        self.timer = None;
        self.schedule(target);
    }

    /// The timer has fired, or never will. Returns whether a deadline has passed; if not, the timer is
    /// scheduled again.
    pub(crate) fn timer_fired(&mut self, target: impl Fn() -> Weak<dyn Expire>) -> bool {
        self.timer = None;
        if self.is_overdue() {
            return true;
        }
        self.schedule(target);
        // Without a runtime, the operations have to schedule it.
        self.timer.is_none()
    }

    /// Schedules the timer for the next deadline, unless it fires by then. Without a runtime there are
    /// no timers, and no deadline passes.
    fn schedule(&mut self, target: impl Fn() -> Weak<dyn Expire>) {
        let Some(next) = self.timers.next().map(Instant::from_std) else { return };
        if !self.timer.as_ref().is_some_and(|timer| timer.fires_by(next)) {
            self.timer = Timer::schedule(next, target());
        }
    }

    /// How much longer the closing handshake may take.
    pub(crate) fn close_left(&self, otherwise: Duration) -> Duration {
        self.timers.close_end().map_or(otherwise, |end| {
            Instant::from_std(end).saturating_duration_since(Instant::now())
        })
    }

    /// Whether [`poll`](Self::poll) has nothing to do: the timer is scheduled, or there are no
    /// deadlines.
    #[inline]
    pub(crate) const fn is_scheduled(&self) -> bool {
        match self.timer {
            // The idle timeout starts and stops, which changes what is due next.
            Some(_) => !self.timers.has_idle(),
            None => self.timers.is_off(),
        }
    }

    /// Whether a deadline has passed and no operation has noticed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.timer.is_none()
            && self.timers.next().is_some_and(|next| next <= Instant::now().into_std())
    }

    /// As [`poll_due`](Self::poll_due), for an operation that waits for a message.
    pub(crate) fn poll(
        &mut self,
        config: &Config,
        target: impl Fn() -> Weak<dyn Expire>,
        cx: &Context<'_>,
    ) -> Poll<Due> {
        if self.timers.has_idle() {
            self.timers.resume(Instant::now().into_std());
        }
        self.poll_due(config, target, cx)
    }

    /// Returns a deadline that has passed although more can be read.
    pub(crate) fn poll_busy(&mut self) -> Option<Due> {
        // Without such a deadline, the clock is not read.
        if !self.timers.has_optional() {
            return None;
        }
        self.timers.expire_busy(Instant::now().into_std())
    }

    /// Returns a deadline that has passed, or schedules the timer of `target` for the next.
    ///
    /// Call it only when nothing more can be read: the peer is not at fault for what lies in
    /// the socket.
    pub(crate) fn poll_due(
        &mut self,
        config: &Config,
        target: impl Fn() -> Weak<dyn Expire>,
        cx: &Context<'_>,
    ) -> Poll<Due> {
        // Without a runtime there are no timers, and no deadline passes.
        if self.timer.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let now = Instant::now();
        while let Some(next) = self.timers.next().map(Instant::from_std) {
            if next > now {
                self.schedule(target);
                break;
            }
            // Without coop budget, tokio reports that nothing can be read when something can.
            if !coop::has_budget_remaining() {
                cx.waker().wake_by_ref();
                break;
            }
            if let Some(due) = self.timers.expire(now.into_std(), config) {
                return Poll::Ready(due);
            }
        }
        Poll::Pending
    }
}

/// The write timeout, for a transport that is full.
pub(crate) struct WriteDeadline {
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// How many bytes the transport had taken at the last poll.
    taken: u64,
}

impl WriteDeadline {
    /// The deadline of a write that makes no progress from now on.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, timer: Box::pin(sleep(timeout)), taken: 0 }
    }

    /// Resolves when the transport has taken nothing for the timeout. `taken` is how many bytes it
    /// has taken by now; when that grows, the timeout begins again.
    pub(crate) fn poll(&mut self, taken: u64, cx: &mut Context<'_>) -> Poll<()> {
        if taken != mem::replace(&mut self.taken, taken)
            && let Some(until) = Instant::now().checked_add(self.timeout)
        {
            self.timer.as_mut().reset(until);
        }
        self.timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc;
    use std::task::{Wake, Waker};
    use std::thread;

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::{join, join_all};
    use tokio::io::{DuplexStream, duplex};
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    use super::*;
    use crate::conn::Conn;
    use crate::conn::runtime::timer::probe;
    use crate::handshake::Negotiated;
    use crate::{Deadline, Error, Keepalive, Message, Role, StatusCode};

    /// Every idle connection has one.
    #[test]
    fn the_deadlines_are_small() {
        assert!(size_of::<Deadlines>() <= 48, "{}", size_of::<Deadlines>());
    }

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
                assert_eq!(probe::scheduled(), 0);
            }
            End::DroppedWhileClosing => {
                assert!(conn.close(StatusCode::NORMAL_CLOSURE, "").now_or_never().is_none());
                assert_eq!(probe::scheduled(), 1);
            }
        }
    }

    #[test]
    fn no_timer_outlives_its_connection() {
        use End::{Closed, Cut, CutByPeer, Dropped, DroppedWhileClosing, GivenUp};
        runtime().block_on(async {
            for how in [Dropped, Cut, CutByPeer, GivenUp, Closed, DroppedWhileClosing] {
                let (conn, peer) = connect(watchful());
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(probe::scheduled(), 1, "{how:?}");
                end(how, conn, peer).await;
                assert_eq!(probe::scheduled(), 0, "{how:?}");
                // Nor is there a task that has nothing to do.
                yield_now().await;
                assert!(!probe::has_task(), "{how:?}");
            }
        });
    }

    #[test]
    fn a_connection_without_deadlines_has_no_timer() {
        runtime().block_on(async {
            let (conn, _peer) = connect(Config::new());
            assert!(conn.read().now_or_never().is_none());
            assert_eq!(probe::scheduled(), 0);
        });
    }

    #[test]
    fn one_timer_serves_until_it_fires() {
        runtime().block_on(async {
            let (conn, _peer) = connect(Config::new().idle_timeout(10 * SECOND));
            for _ in 0..9 {
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(probe::scheduled(), 1);
                tokio::time::advance(SECOND).await;
            }
        });
    }

    #[test]
    fn timers_of_one_instant_all_fire() {
        runtime().block_on(async {
            let all: Vec<_> = (0..1000).map(|_| connect(watchful())).collect();
            let began = Instant::now();
            for read in join_all(all.iter().map(|(conn, _)| conn.read())).await {
                check_deadline(read, Deadline::Keepalive);
            }
            assert_eq!(began.elapsed().as_secs(), 60);
            assert_eq!(probe::scheduled(), 0);
        });
    }

    #[test]
    fn an_earlier_deadline_fires_earlier() {
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
    fn a_connection_outlives_the_runtime_of_its_timer() {
        // The task has not run yet, or it sleeps.
        for yields in 0..3 {
            let (conn, _peer) = connect(watchful());
            let mut read = pin!(conn.read());
            let woken = Arc::new(Woken::default());
            let first = runtime();
            first.block_on(async {
                let waker = Waker::from(Arc::clone(&woken));
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                assert_eq!(probe::scheduled(), 1);
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
    fn a_runtime_that_has_ended_has_no_timers() {
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let (conn, _peer) = connect(watchful());
            let ended = runtime().handle().clone();
            for _ in 0..2 {
                let _in_it = ended.enter();
                assert!(conn.read().now_or_never().is_none());
                assert_eq!(probe::scheduled(), 0);
            }
            runtime().block_on(async { check_deadline(conn.read().await, Deadline::Keepalive) });
            done.send(()).unwrap();
        });
        wait.recv_timeout(20 * SECOND).unwrap();
    }
}
