//! In what do messages wait to be written?
//!
//! The first few where the mailbox itself is: whoever sends to many finds all that it needs
//! of each in one place, and allocates nothing. What is more waits on the heap, behind them.

use std::collections::VecDeque;

/// So many wait in the mailbox itself.
const HERE: u8 = 16;

/// What waits, in order. Its parts are in the order in which they are needed.
#[repr(C)]
pub(crate) struct Outgoing<T> {
    /// Where the first is of those that are here, and how many these are.
    first: u8,
    here: u8,
    /// Those behind them. While there are any, what comes is behind these.
    #[expect(clippy::box_collection, reason = "there are none mostly, and it is smaller so")]
    more: Option<Box<VecDeque<T>>>,
    slots: [Option<T>; HERE as usize],
}

impl<T> Default for Outgoing<T> {
    fn default() -> Self {
        Self { first: 0, here: 0, more: None, slots: std::array::from_fn(|_| None) }
    }
}

impl<T> Outgoing<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.here) + self.more.as_ref().map_or(0, |more| more.len())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.here == 0 && self.more.is_none()
    }

    #[inline(always)]
    pub(crate) fn push_back(&mut self, item: T) {
        let last = (self.first + self.here) % HERE;
        match self.slots.get_mut(usize::from(last)) {
            Some(slot) if self.here < HERE && self.more.is_none() => {
                *slot = Some(item);
                self.here += 1;
            }
            _ => self.more.get_or_insert_default().push_back(item),
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        if self.here == 0 {
            return self.pop_more();
        }
        let first = self.slots.get_mut(usize::from(self.first))?.take();
        self.first = (self.first + 1) % HERE;
        self.here -= 1;
        first
    }

    #[cold]
    fn pop_more(&mut self) -> Option<T> {
        let more = self.more.as_mut()?;
        let first = more.pop_front();
        if more.is_empty() {
            // A socket that keeps up holds no room for them.
            self.more = None;
        }
        first
    }
}

impl<T> Iterator for Outgoing<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_in_order(steps in prop::collection::vec(0..60_usize, 0..40)) {
            let (mut outgoing, mut expected) = (Outgoing::default(), VecDeque::new());
            for count in steps {
                for n in 0..count {
                    if n % 2 == 0 {
                        outgoing.push_back(n);
                        expected.push_back(n);
                    } else {
                        prop_assert_eq!(outgoing.pop_front(), expected.pop_front());
                    }
                    prop_assert_eq!(outgoing.len(), expected.len());
                    prop_assert_eq!(outgoing.is_empty(), expected.is_empty());
                }
            }
            prop_assert_eq!(outgoing.collect::<VecDeque<_>>(), expected);
        }
    }
}
