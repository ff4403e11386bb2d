//! When do handlers give way to those that have yet to write?
//!
//! What is sent waits in outboxes until whoever writes it has its turn. On one thread that is
//! when all have had theirs that were woken before, and these may be many: so who finds half
//! of an outbox used asks for a turn, and no handler goes on before there was one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;

use tokio::task::yield_now;

/// So many turns a handler gives away at a time: some that are asked for do no good, where a
/// thread stands still.
const MOST: u8 = 64;

/// Whether a turn was asked for: a number that is odd then, and grows.
#[derive(Default)]
pub(crate) struct Turns(AtomicU32);

impl Turns {
    /// Asks for a turn: half of somebody's outbox is used.
    pub(crate) fn ask(&self) {
        let now = self.0.load(Relaxed);
        if !is_asked(now) {
            self.next(now);
        }
    }

    /// Polls a handler whenever no turn is asked for that it has not given away.
    pub(crate) async fn give_way<T>(&self, handling: impl Future<Output = T>) -> T {
        let mut handling = pin!(handling);
        let (mut given, mut count) = (0, 0);
        loop {
            let handled = poll_fn(|cx| {
                let now = self.0.load(Relaxed);
                if is_asked(now) {
                    if now != given && count < MOST {
                        (given, count) = (now, count + 1);
                        return Poll::Ready(None);
                    }
                    // There was one.
                    self.next(now);
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

    fn next(&self, now: u32) {
        // Or somebody else does.
        let _ = self.0.compare_exchange(now, now.wrapping_add(1), Relaxed, Relaxed);
    }
}

const fn is_asked(number: u32) -> bool {
    number % 2 == 1
}
