//! What does a thread keep for the runtime that it works for?

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;

use tokio::runtime::{Handle, Id};

/// Something of a thread, with the runtime that it is for: a thread can serve several
/// in turn.
pub(crate) struct Here<T>(RefCell<Option<(Id, Arc<T>)>>);

impl<T: Default> Here<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// What this thread keeps for its runtime, if it has one; made when it is first
    /// asked for.
    pub(crate) fn get(kept: &'static LocalKey<Self>) -> Option<(Handle, Arc<T>)> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let here = kept.try_with(|kept| {
            let mut slot = kept.0.try_borrow_mut().ok()?;
            if slot.as_ref().is_none_or(|(of, _)| *of != id) {
                *slot = Some((id, Arc::default()));
            }
            slot.as_ref().map(|(_, here)| Arc::clone(here))
        });
        Some((runtime, here.ok()??))
    }
}
