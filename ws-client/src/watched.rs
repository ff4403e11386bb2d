//! How do tasks wait until a state that they share has changed?

use parking_lot::Mutex;
use tokio::sync::watch;

/// A value under a lock, with one signal for all changes.
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: watch::Sender<()>,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: watch::Sender::new(()) }
    }

    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.lock())
    }

    /// Changes the value, and wakes all waiters.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let changed = change(&mut self.value.lock());
        self.changed.send_replace(());
        changed
    }

    /// Changes what nobody waits for.
    #[cfg(all(feature = "json", feature = "reconnect"))]
    pub(crate) fn change_quietly<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.value.lock())
    }

    /// Calls `look` after each change until it returns a value.
    ///
    /// # Cancel safety
    ///
    /// The call of `look` that returns a value is the last. Dropping the future before that
    /// changes nothing.
    pub(crate) async fn wait<R>(&self, mut look: impl FnMut(&mut T) -> Option<R>) -> R {
        // Without a subscription: often there is nothing to wait for.
        if let Some(seen) = look(&mut self.value.lock()) {
            return seen;
        }
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(seen) = look(&mut self.value.lock()) {
                return seen;
            }
            // `self` owns the sender, so this cannot fail.
            let _ = changed.changed().await;
        }
    }
}
