//! Where do the buffers of an empty queue wait for the next one?

use std::cell::RefCell;

use super::queue::{BATCH, Waiting};
use crate::config::BufferPool;

/// How much a thread keeps, in bytes.
const MOST: usize = 1024 * 1024;

/// What is not worth keeping: more than one full batch and some room for chunks.
const TOO_MUCH: usize = 2 * BATCH;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { kept: Vec::new(), weight: 0 }) };
}

/// What the queues of one thread gave back when they were empty. There are as many
/// as had something to send at the same time, and seldom more than one.
#[expect(clippy::vec_box, reason = "they come and go as boxes")]
struct Spare {
    kept: Vec<Box<Waiting>>,
    weight: usize,
}

/// What an empty queue needs to hold something, with a buffer of its pool or its thread.
#[inline]
pub(super) fn take(pool: Option<&BufferPool>) -> Box<Waiting> {
    match pool {
        None => take_of_thread(),
        Some(pool) => take_of_pool(pool),
    }
}

/// Takes back what an empty queue does not need any more.
#[inline]
pub(super) fn give(pool: Option<&BufferPool>, waiting: Box<Waiting>) {
    match pool {
        None => give_to_thread(waiting),
        Some(pool) => pool.give(waiting.batch),
    }
}

#[cold]
fn take_of_pool(pool: &BufferPool) -> Box<Waiting> {
    let mut waiting = Box::<Waiting>::default();
    waiting.batch = pool.take();
    waiting
}

#[inline]
fn take_of_thread() -> Box<Waiting> {
    SPARE
        .try_with(|spare| {
            let mut spare = spare.try_borrow_mut().ok()?;
            let waiting = spare.kept.pop()?;
            spare.weight = spare.weight.saturating_sub(waiting.weight());
            Some(waiting)
        })
        .ok()
        .flatten()
        .unwrap_or_default()
}

#[inline]
fn give_to_thread(waiting: Box<Waiting>) {
    let weight = waiting.weight();
    // A thread that ends takes nothing any more.
    let _ = SPARE.try_with(|spare| {
        let Ok(mut spare) = spare.try_borrow_mut() else { return };
        if weight <= TOO_MUCH && spare.weight + weight <= MOST {
            spare.weight += weight;
            spare.kept.push(waiting);
        }
    });
}
