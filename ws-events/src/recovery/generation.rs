//! Which of two records of a session is the newer one, whichever arrives first?
//!
//! A node that has given a session away, or ended it, may still have a write on its way to the store,
//! and the store may get it behind the one of the next node. So each record has a number, and a
//! store keeps none in place of one with a higher number.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The numbers that one node gives to the records of a session: each is higher than the one before. They
/// share their upper half, which is one more on the next node of the session: so that node need not know
/// what this one has written last.
///
/// One task makes the records of a node. So one number at most is taken while the session changes hands.
#[derive(Debug, Default)]
pub(crate) struct Generation(AtomicU64);

impl Generation {
    /// For a session that begins.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// For a session that goes on under other names on the same node.
    pub(crate) const fn behind(last: u64) -> Self {
        Self(AtomicU64::new(last))
    }

    /// For a session that was on another node, which has given this number to a record of it.
    pub(crate) const fn of_next_node(last: u64) -> Self {
        Self(AtomicU64::new((last | u32::MAX as u64).saturating_add(1)))
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// The number of a record that is made now.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// A number behind the last record, and behind one that is being made.
    pub(crate) fn beyond(&self) -> u64 {
        self.last().saturating_add(2)
    }

    /// Goes on behind this number.
    pub(crate) fn go_on(&self, last: u64) {
        self.0.store(last, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_newer_than_those_before_on_any_node() {
        let mut generation = Generation::new();
        let mut last = 0;
        for _ in 0..3 {
            for _ in 0..9 {
                let next = generation.next();
                assert!(next > last);
                last = next;
            }
            // One is being made while the session goes on under other names.
            let behind = Generation::behind(generation.beyond());
            assert!(behind.last() > generation.next());
            assert!(generation.next() < generation.beyond());
            // The node does not know yet that another one has the session.
            let moved = Generation::of_next_node(last);
            (0..1_000).for_each(|_| assert!(generation.next() < moved.last()));
            (last, generation) = (moved.last(), moved);
        }
    }

    /// Another process may have written it.
    #[test]
    fn any_number_of_a_record_is_taken() {
        for last in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX - 1, u64::MAX] {
            let moved = Generation::of_next_node(last);
            assert!(moved.last() >= last && moved.beyond() >= last, "{last}");
            let _ = moved.next();
        }
    }
}
