//! Which side of a socket's task has something to do?
//!
//! The task handles what comes in and writes what goes out. Whoever is only sent something
//! need not look at what comes in, so that side has a waker of its own.

use std::task::{Context, Wake};

use futures::task::AtomicWaker;

use crate::sync::{Arc, AtomicBool, Ordering::SeqCst};

/// Wakes the task, and notes that it is for what comes in.
pub(crate) struct Bell {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Bell {
    /// One that has rung: the first look is due.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { rang: AtomicBool::new(true), task: AtomicWaker::new() })
    }

    /// For the task: it is to be woken from now on.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Has it rung since the last time that this was asked?
    pub(crate) fn has_rung(&self) -> bool {
        self.rang.swap(false, SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, SeqCst);
        self.task.wake();
    }
}
