//! Who waits here, and how are they woken?

use std::sync::Arc;
use std::task::{Wake, Waker};

/// Futures that wait for the same lock-protected thing, oldest first.
///
/// Whoever is polled first goes on: no future is relied upon to be polled, since one
/// that its task holds but does not poll would stop everybody else.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    last: u32,
    /// Nearly always the only one. Its waker stays when it leaves: most often it comes
    /// back.
    first: Waiter,
    #[expect(clippy::box_collection, reason = "seldom there, and then it is one word")]
    others: Option<Box<Vec<Waiter>>>,
}

/// As [`Waiters`], where seldom anybody waits: it takes memory only then.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Box<Waiters>>);

impl Seldom {
    pub(crate) fn wait(&mut self, ticket: &mut Ticket, waker: &Waker) {
        self.0.get_or_insert_default().wait(ticket, false, waker);
    }

    #[inline]
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) {
        if let Some(waiters) = &mut self.0 {
            waiters.leave(ticket);
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
}

#[derive(Debug, Default)]
struct Waiter {
    /// Zero when nobody is here.
    ticket: u32,
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

/// The place of a future in a queue; zero while it has none.
#[derive(Debug, Default)]
pub(crate) struct Ticket(u32);

impl Ticket {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn is_waiting(&self) -> bool {
        self.0 != 0
    }
}

impl Waiters {
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.ticket == 0
    }

    /// Is there nobody but this one, or nobody at all?
    #[inline]
    pub(crate) const fn is_alone(&self, ticket: &Ticket) -> bool {
        // The first place is never empty while there are others.
        self.first.ticket == 0 || (self.first.ticket == ticket.0 && self.others.is_none())
    }

    /// Waits, or waits on with another waker. `reads` tells those that want a message
    /// from those that only keep things going.
    #[inline]
    pub(crate) fn wait(&mut self, ticket: &mut Ticket, reads: bool, waker: &Waker) {
        if ticket.is_waiting()
            && let Some(waiter) = self.iter_mut().find(|waiter| waiter.ticket == ticket.0)
        {
            return waiter.set_waker(waker);
        }
        // Zero means none.
        self.last = self.last.checked_add(1).unwrap_or(1);
        ticket.0 = self.last;
        if self.is_empty() {
            self.first.ticket = ticket.0;
            self.first.reads = reads;
            self.first.set_waker(waker);
        } else {
            let waiter = Waiter { ticket: ticket.0, reads, waker: Some(waker.clone()) };
            self.others.get_or_insert_default().push(waiter);
        }
    }

    /// Waits no longer.
    #[inline]
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) {
        let number = std::mem::take(&mut ticket.0);
        if number == 0 {
            return;
        }
        if self.first.ticket == number {
            self.first.ticket = 0;
            if self.others.is_none() {
                return;
            }
        }
        self.close_ranks(number);
    }

    #[cold]
    fn close_ranks(&mut self, left: u32) {
        let Some(others) = &mut self.others else { return };
        others.retain(|waiter| waiter.ticket != left);
        if self.first.ticket == 0 && !others.is_empty() {
            self.first = others.remove(0);
        }
        if others.is_empty() {
            self.others = None;
        }
    }

    /// Does somebody wait for a message?
    pub(crate) fn has_reader(&self) -> bool {
        self.iter().any(|waiter| waiter.reads)
    }

    /// Wakes everybody.
    #[inline]
    pub(crate) fn wake(&self) {
        if !self.is_empty() {
            self.iter().for_each(Waiter::wake);
        }
    }

    /// Wakes everybody but the one who says so.
    pub(crate) fn wake_others(&self, ticket: &Ticket) {
        self.iter().filter(|waiter| waiter.ticket != ticket.0).for_each(Waiter::wake);
    }

    /// One waker for all that wait and the caller, which is in the transport's hands
    /// while it has nothing. `None` when the caller is alone.
    pub(crate) fn combined(&self, ticket: &Ticket, own: &Waker) -> Option<Waker> {
        let mut wakers: Vec<Waker> = Vec::new();
        for waiter in self.iter().filter(|waiter| waiter.ticket != ticket.0) {
            if !waiter.wakes(own) && !wakers.iter().any(|waker| waiter.wakes(waker)) {
                wakers.extend(waiter.waker.clone());
            }
        }
        if wakers.is_empty() {
            return None;
        }
        wakers.push(own.clone());
        Some(Waker::from(Arc::new(All(wakers))))
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
struct All(Vec<Waker>);

impl Wake for All {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for waker in &self.0 {
            waker.wake_by_ref();
        }
    }
}
