//! When do handlers yield, so that full send queues are written first?
//!
//! Queued messages wait until their writer runs. On one thread, all tasks that were woken earlier
//! run before it, and these may be many. So a sender that finds a send queue half full requests a
//! yield, and no handler continues before it has yielded once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;

use tokio::task::yield_now;

/// How often a handler yields in a row. Where a thread is blocked, yielding does not help.
const MAX_YIELDS: u8 = 64;

/// A counter that each request and each fulfilled request increments. It is odd while a yield is
/// requested.
#[derive(Default)]
pub(crate) struct HandlerYield(AtomicU32);

impl HandlerYield {
    /// Requests a yield: half of a send queue is used.
    pub(crate) fn request(&self) {
        let now = self.0.load(Relaxed);
        if !is_requested(now) {
            self.advance(now);
        }
    }

    /// Polls a handler, and yields first for each request that it has not yielded for.
    pub(crate) async fn apply<T>(&self, handling: impl Future<Output = T>) -> T {
        let mut handling = pin!(handling);
        let (mut yielded_for, mut count) = (0, 0);
        loop {
            let handled = poll_fn(|cx| {
                let now = self.0.load(Relaxed);
                if is_requested(now) {
                    if now != yielded_for && count < MAX_YIELDS {
                        (yielded_for, count) = (now, count + 1);
                        return Poll::Ready(None);
                    }
                    // The request is fulfilled.
                    self.advance(now);
                }
                count = 0;
                handling.as_mut().poll(cx).map(Some)
            });
            match handled.await {
                Some(handled) => return handled,
                None => yield_now().await,
            }
        }
    }

    fn advance(&self, now: u32) {
        // If it fails, another thread has advanced it.
        let _ = self.0.compare_exchange(now, now.wrapping_add(1), Relaxed, Relaxed);
    }
}

const fn is_requested(number: u32) -> bool {
    number % 2 == 1
}
