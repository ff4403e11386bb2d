//! Where are zlib states pooled between messages?

use std::cell::RefCell;

/// The unused states of one thread, at most `MAX` of them.
///
/// A thread processes one whole message at a time, so few are needed. More are in use only while
/// messages are streamed.
#[derive(Debug)]
pub(super) struct StatePool<T, const MAX: usize>(RefCell<Vec<T>>);

impl<T, const MAX: usize> StatePool<T, MAX> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Takes a state for which `fits` holds.
    pub(super) fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut states = self.0.try_borrow_mut().ok()?;
        let found = states.iter().position(fits)?;
        Some(states.swap_remove(found))
    }

    /// Returns a state. A full pool drops another one, which may be of a kind that is no longer in
    /// use.
    pub(super) fn give(&self, state: T) {
        let Ok(mut states) = self.0.try_borrow_mut() else { return };
        if states.len() >= MAX {
            states.swap_remove(0);
        }
        states.push(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_the_latest_states_and_gives_fitting_ones() {
        let pool = StatePool::<u8, 2>::new();
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
