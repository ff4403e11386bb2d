//! Who waits for room in an outbox?

use std::task::Waker;

/// Those that wait, each by its number.
#[derive(Default)]
pub(crate) struct Waiting {
    last: u64,
    wakers: Vec<(u64, Waker)>,
}

/// A place among them.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<u64>);

impl Waiting {
    /// Waits in this place, from now on by this waker.
    pub(crate) fn wait(&mut self, place: &mut Place, waker: &Waker) {
        let number = *place.0.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        match self.wakers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, own)) => own.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }

    /// Gives a place up. The waker is to be dropped without any lock.
    pub(crate) fn leave(&mut self, place: &mut Place) -> Option<Waker> {
        let number = place.0.take()?;
        let at = self.wakers.iter().position(|(other, _)| *other == number)?;
        Some(self.wakers.swap_remove(at).1)
    }

    /// Those that wait now, to be woken; who has no luck waits again.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_iter().map(|(_, waker)| waker).collect()
    }
}
