//! How does a thread keep a value for the runtime it works for?

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;

use tokio::runtime::{Handle, Id};

/// A value of a thread, with the runtime that it belongs to: a thread can serve several
/// runtimes in turn.
pub(crate) struct PerRuntime<T>(RefCell<Option<(Id, Arc<T>)>>);

impl<T: Default> PerRuntime<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// The current runtime and its value, made on first use. `None` without a runtime.
    pub(crate) fn get(local: &'static LocalKey<Self>) -> Option<(Handle, Arc<T>)> {
        Self::get_or(local, |_| Arc::default())
    }

    /// As [`get`](Self::get), with another way to make the value.
    pub(crate) fn get_or(
        local: &'static LocalKey<Self>,
        make: impl FnOnce(Id) -> Arc<T>,
    ) -> Option<(Handle, Arc<T>)> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let value = local.try_with(|local| {
            let mut slot = local.0.try_borrow_mut().ok()?;
            if slot.as_ref().is_none_or(|(owner, _)| *owner != id) {
                *slot = Some((id, make(id)));
            }
            slot.as_ref().map(|(_, value)| Arc::clone(value))
        });
        Some((runtime, value.ok()??))
    }
}
