//! Which half of a socket's task was woken: its event loop or its writer?
//!
//! One task runs both. Most wake-ups are for the writer, so the event loop has its own waker,
//! which sets a flag; the task polls the event loop only if the flag is set.

use std::task::{Context, Wake};

use futures::task::AtomicWaker;

use crate::sync::{Arc, AtomicBool, Ordering::SeqCst};

/// Wakes the task, and records that it is for the event loop.
pub(crate) struct ReadyFlag {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl ReadyFlag {
    /// A flag that is set, for the first poll.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { is_set: AtomicBool::new(true), task: AtomicWaker::new() })
    }

    /// Registers the task, to be woken when the flag is set.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Clears the flag. Returns whether it was set.
    pub(crate) fn take(&self) -> bool {
        self.is_set.swap(false, SeqCst)
    }
}

impl Wake for ReadyFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, SeqCst);
        self.task.wake();
    }
}
