//! Which futures wait for a side of the connection, and how are they woken?

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Futures that wait for the same lock-protected state, oldest first.
///
/// The first future that is polled continues. No future must be polled for the others to
/// continue: its task may hold it without polling it.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    last: u32,
    /// Nearly always the only one. Its waker is kept when it leaves, since it mostly returns.
    first: Waiter,
    #[expect(clippy::box_collection, reason = "rarely present, and then it is one word")]
    others: Option<Box<Vec<Waiter>>>,
}

/// As [`Waiters`], but takes memory only while a future waits.
#[derive(Debug, Default)]
pub(crate) struct LazyWaiters(Option<Box<Waiters>>);

impl LazyWaiters {
    pub(crate) fn wait(&mut self, op: &mut Operation<'_, '_>) {
        self.0.get_or_insert_default().wait(op);
    }

    #[inline]
    pub(crate) fn leave(&mut self, id: &mut WaiterId) {
        if let Some(waiters) = &mut self.0 {
            waiters.leave(id);
            if waiters.is_empty() {
                self.0 = None;
            }
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waiters) = &self.0 {
            waiters.wake();
        }
    }

    pub(crate) fn wake_others(&self, id: &WaiterId) {
        if let Some(waiters) = &self.0 {
            waiters.wake_others(id);
        }
    }

    pub(crate) fn combined(&self, id: &WaiterId, own: &Waker) -> Option<Waker> {
        self.0.as_ref()?.combined(id, own)
    }
}

#[derive(Debug, Default)]
struct Waiter {
    /// Zero for a free slot.
    id: u32,
    reads: bool,
    waker: Option<Waker>,
}

impl Waiter {
    #[inline]
    fn wakes(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|own| own.will_wake(waker))
    }

    #[inline]
    fn set_waker(&mut self, waker: &Waker) {
        if !self.wakes(waker) {
            self.waker = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// The slot of a future in a wait queue; zero, apart from [`HELD_BIT`], while it has none.
#[derive(Debug, Default)]
pub(crate) struct WaiterId(u32);

/// Marks the slots of values that may be kept for long without being polled, such as a `Stream`.
const HELD_BIT: u32 = 1 << 31;

impl WaiterId {
    /// Of a future. It is taken for one that is polled.
    pub(crate) const NONE: Self = Self(0);
    /// Of a value that keeps its slot when the future that polls it is dropped.
    pub(crate) const NONE_HELD: Self = Self(HELD_BIT);

    #[inline]
    pub(crate) const fn is_waiting(&self) -> bool {
        self.0 & !HELD_BIT != 0
    }
}

/// An operation that is polled: its slot in the wait queue, and its task.
pub(crate) struct Operation<'a, 'b> {
    pub(crate) id: &'a mut WaiterId,
    pub(crate) cx: &'a mut Context<'b>,
    /// Whether it takes messages. Others only drive the connection.
    pub(crate) reads: bool,
    /// Whether it waits for other tasks to run, and not for the peer.
    pub(crate) yields: bool,
}

impl<'a, 'b> Operation<'a, 'b> {
    #[inline]
    pub(crate) const fn new(id: &'a mut WaiterId, cx: &'a mut Context<'b>) -> Self {
        Self { id, cx, reads: true, yields: false }
    }
}

impl Waiters {
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.id == 0
    }

    /// Whether no other future waits than this one.
    #[inline]
    pub(crate) const fn is_alone(&self, id: &WaiterId) -> bool {
        // The first slot is never free while there are others.
        self.first.id == 0 || (self.first.id == id.0 && self.others.is_none())
    }

    /// Adds the future of an operation, or replaces its waker.
    #[inline]
    pub(crate) fn wait(&mut self, op: &mut Operation<'_, '_>) {
        self.add(op.id, op.reads, op.cx.waker());
    }

    #[inline]
    fn add(&mut self, id: &mut WaiterId, reads: bool, waker: &Waker) {
        if id.is_waiting()
            && let Some(waiter) = self.iter_mut().find(|waiter| waiter.id == id.0)
        {
            return waiter.set_waker(waker);
        }
        // Zero is a free slot.
        self.last = (self.last + 1) % HELD_BIT;
        self.last = self.last.max(1);
        id.0 = self.last | (id.0 & HELD_BIT);
        if self.is_empty() {
            self.first.id = id.0;
            self.first.reads = reads;
            self.first.set_waker(waker);
        } else {
            let waiter = Waiter { id: id.0, reads, waker: Some(waker.clone()) };
            self.others.get_or_insert_default().push(waiter);
        }
    }

    /// Removes a future.
    #[inline]
    pub(crate) fn leave(&mut self, id: &mut WaiterId) {
        if !id.is_waiting() {
            return;
        }
        let number = id.0;
        id.0 &= HELD_BIT;
        if self.first.id == number {
            self.first.id = 0;
            if self.others.is_none() {
                return;
            }
        }
        self.remove_gaps(number);
    }

    #[cold]
    fn remove_gaps(&mut self, left: u32) {
        let Some(others) = &mut self.others else { return };
        others.retain(|waiter| waiter.id != left);
        if self.first.id == 0 && !others.is_empty() {
            self.first = others.remove(0);
        }
        if others.is_empty() {
            self.others = None;
        }
    }

    /// Whether a future waits that takes messages.
    pub(crate) fn has_reader(&self) -> bool {
        self.iter().any(|waiter| waiter.reads)
    }

    /// Whether a future waits that is taken for polled.
    pub(crate) fn has_future(&self) -> bool {
        self.iter().any(|waiter| waiter.id & HELD_BIT == 0)
    }

    /// Wakes all futures.
    #[inline]
    pub(crate) fn wake(&self) {
        if !self.is_empty() {
            self.iter().for_each(Waiter::wake);
        }
    }

    /// Wakes all futures but this one.
    pub(crate) fn wake_others(&self, id: &WaiterId) {
        self.iter().filter(|waiter| waiter.id != id.0).for_each(Waiter::wake);
    }

    /// One waker for the caller and all futures that wait, to be registered with the
    /// transport. `None` when there are no others to wake.
    pub(crate) fn combined(&self, id: &WaiterId, own: &Waker) -> Option<Waker> {
        let mut wakers: Vec<Waker> = Vec::new();
        for waiter in self.iter().filter(|waiter| waiter.id != id.0) {
            if !waiter.wakes(own) && !wakers.iter().any(|waker| waiter.wakes(waker)) {
                wakers.extend(waiter.waker.clone());
            }
        }
        if wakers.is_empty() {
            return None;
        }
        wakers.push(own.clone());
        Some(Waker::from(Arc::new(WakeAll(wakers))))
    }

    fn iter(&self) -> impl Iterator<Item = &Waiter> {
        let first = (!self.is_empty()).then_some(&self.first);
        first.into_iter().chain(self.others.iter().flat_map(|others| &**others))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiter> {
        let first = (!self.is_empty()).then_some(&mut self.first);
        first.into_iter().chain(self.others.iter_mut().flat_map(|others| &mut **others))
    }
}

/// Wakes several tasks at once.
struct WakeAll(Vec<Waker>);

impl Wake for WakeAll {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for waker in &self.0 {
            waker.wake_by_ref();
        }
    }
}
