//! Who waits here, and how are they woken?

use std::sync::Arc;
use std::task::{Wake, Waker};

/// Futures that wait for the same lock-protected thing, oldest first.
///
/// Whoever is polled first goes on: no future is relied upon to be polled, since one
/// that its task holds but does not poll would stop everybody else.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    last: u32,
    first: Option<Waiter>,
    others: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u32,
    reads: bool,
    waker: Waker,
}

/// The place of a future in a queue; zero while it has none.
#[derive(Debug, Default)]
pub(super) struct Ticket(u32);

impl Ticket {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn is_waiting(&self) -> bool {
        self.0 != 0
    }
}

impl Waiters {
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Waits, or waits on with another waker. `reads` tells those that want a message
    /// from those that only keep things going.
    pub(super) fn wait(&mut self, ticket: &mut Ticket, reads: bool, waker: &Waker) {
        if let Some(waiter) = self.iter_mut().find(|waiter| waiter.ticket == ticket.0) {
            if !waiter.waker.will_wake(waker) {
                waiter.waker.clone_from(waker);
            }
            return;
        }
        // Zero means none.
        self.last = self.last.checked_add(1).unwrap_or(1);
        ticket.0 = self.last;
        let waiter = Waiter { ticket: ticket.0, reads, waker: waker.clone() };
        if self.first.is_none() {
            self.first = Some(waiter);
        } else {
            self.others.push(waiter);
        }
    }

    /// Waits no longer.
    pub(super) fn leave(&mut self, ticket: &mut Ticket) {
        let number = std::mem::take(&mut ticket.0);
        if number == 0 {
            return;
        }
        if self.first.take_if(|first| first.ticket == number).is_some() {
            if !self.others.is_empty() {
                self.first = Some(self.others.remove(0));
            }
        } else {
            self.others.retain(|waiter| waiter.ticket != number);
        }
    }

    /// Does somebody wait for a message?
    pub(super) fn has_reader(&self) -> bool {
        self.first.iter().chain(&self.others).any(|waiter| waiter.reads)
    }

    /// Wakes everybody.
    pub(super) fn wake(&self) {
        for waiter in self.first.iter().chain(&self.others) {
            waiter.waker.wake_by_ref();
        }
    }

    /// Wakes everybody but the one who says so.
    pub(super) fn wake_others(&self, ticket: &Ticket) {
        for waiter in self.first.iter().chain(&self.others) {
            if waiter.ticket != ticket.0 {
                waiter.waker.wake_by_ref();
            }
        }
    }

    /// One waker for all that wait and the caller, which is in the transport's hands
    /// while it has nothing. `None` when the caller is alone.
    pub(super) fn combined(&self, ticket: &Ticket, own: &Waker) -> Option<Waker> {
        let mut wakers: Vec<Waker> = Vec::new();
        for waiter in self.first.iter().chain(&self.others) {
            let known = |waker: &Waker| waker.will_wake(&waiter.waker);
            if waiter.ticket != ticket.0 && !known(own) && !wakers.iter().any(known) {
                wakers.push(waiter.waker.clone());
            }
        }
        if wakers.is_empty() {
            return None;
        }
        wakers.push(own.clone());
        Some(Waker::from(Arc::new(All(wakers))))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiter> {
        self.first.iter_mut().chain(&mut self.others)
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
