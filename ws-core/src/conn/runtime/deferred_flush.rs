//! What leaves on the next turn of the scheduler?
//!
//! Bytes that were left for a moment. Each thread has one list of the connections that
//! have some, and one task that goes through it; both are made when the first
//! connection asks, so a thread on which nothing is left for later has neither.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use parking_lot::Mutex;

use crate::conn::driver::connection::Shared;
use crate::conn::runtime::per_runtime::Here;

thread_local! {
    static TURN: Here<Turn> = const { Here::new() };
}

/// The connections that have bytes to send. While there are any, a task is on its way.
#[derive(Default)]
struct Turn(Mutex<Vec<Weak<Shared>>>);

/// Sends what was left for a moment on the next turn. To be called without any lock: a
/// runtime that ends may run the task in this very call.
pub(crate) fn flush_later(shared: &Shared) {
    let Some((runtime, turn)) = Here::get(&TURN) else { return shared.flush() };
    let is_first = {
        let mut waiting = turn.0.lock();
        waiting.push(Weak::clone(&shared.this));
        waiting.len() == 1
    };
    if is_first {
        drop(runtime.spawn(Flusher(turn)));
    }
}

impl Turn {
    fn flush(&self) {
        let mut waiting = std::mem::take(&mut *self.0.lock());
        for shared in waiting.drain(..) {
            if let Some(shared) = shared.upgrade() {
                shared.flush_deferred();
            }
        }
        // Its room serves the next turn, if that has not begun yet.
        let mut next = self.0.lock();
        if next.is_empty() {
            *next = waiting;
        }
    }
}

/// The task. It does its work also when its runtime ends before it ran.
struct Flusher(Arc<Turn>);

impl Future for Flusher {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.flush();
        Poll::Ready(())
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.0.flush();
    }
}
