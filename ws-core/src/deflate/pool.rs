//! Where does a state wait for the next message that needs one?

use std::cell::RefCell;

/// States of one thread that nobody uses, at most `MOST` of them.
///
/// One thread works on one whole message at a time, so a few are enough; more are
/// in use only while messages are read or written piece by piece.
#[derive(Debug)]
pub(super) struct Pool<T, const MOST: usize>(RefCell<Vec<T>>);

impl<T, const MOST: usize> Pool<T, MOST> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Takes out a state that `fits`, if there is one.
    pub(super) fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut states = self.0.try_borrow_mut().ok()?;
        let found = states.iter().position(fits)?;
        Some(states.swap_remove(found))
    }

    /// Keeps a state, in place of another one if there are enough: that one may be
    /// of a kind that is not in use any more.
    pub(super) fn give(&self, state: T) {
        let Ok(mut states) = self.0.try_borrow_mut() else { return };
        if states.len() >= MOST {
            states.swap_remove(0);
        }
        states.push(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_the_latest_and_gives_only_what_fits() {
        let pool = Pool::<u8, 2>::new();
        assert_eq!(pool.take(|_| true), None);
        for state in [1, 2, 3] {
            pool.give(state);
        }
        assert_eq!(pool.take(|state| *state == 1), None);
        assert_eq!(pool.take(|state| *state == 3), Some(3));
        assert_eq!(pool.take(|state| *state == 3), None);
        assert_eq!(pool.take(|_| true), Some(2));
    }
}
