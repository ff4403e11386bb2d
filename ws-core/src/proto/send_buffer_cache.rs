//! Where are the allocations of empty send buffers kept for reuse?

use std::cell::RefCell;

use super::send_buffer::{BATCH, QueuedBytes};
use crate::config::BufferPool;

/// The maximum size of a thread's cache, in bytes.
const MAX_CACHED: usize = 1024 * 1024;

/// Larger allocations are freed: more than a full batch and room for some chunks.
const MAX_ENTRY: usize = 2 * BATCH;

thread_local! {
    static CACHE: RefCell<BufferCache> =
        const { RefCell::new(BufferCache { entries: Vec::new(), bytes: 0 }) };
}

/// The allocations that the send buffers of one thread returned. It has as many entries as
/// buffers were in use at the same time, rarely more than one.
#[expect(clippy::vec_box, reason = "entries are moved as boxes")]
struct BufferCache {
    entries: Vec<Box<QueuedBytes>>,
    bytes: usize,
}

/// Takes an allocation from the pool, or from the thread's cache.
#[inline]
pub(super) fn take(pool: Option<&BufferPool>) -> Box<QueuedBytes> {
    match pool {
        None => take_cached(),
        Some(pool) => take_pooled(pool),
    }
}

/// Returns an allocation to the pool, or to the thread's cache.
#[inline]
pub(super) fn give(pool: Option<&BufferPool>, queued: Box<QueuedBytes>) {
    match pool {
        None => give_to_cache(queued),
        Some(pool) => pool.give(queued.batch),
    }
}

#[cold]
fn take_pooled(pool: &BufferPool) -> Box<QueuedBytes> {
    let mut queued = Box::<QueuedBytes>::default();
    queued.batch = pool.take();
    queued
}

#[inline]
fn take_cached() -> Box<QueuedBytes> {
    CACHE
        .try_with(|cache| {
            let mut cache = cache.try_borrow_mut().ok()?;
            let queued = cache.entries.pop()?;
            cache.bytes = cache.bytes.saturating_sub(queued.allocated());
            Some(queued)
        })
        .ok()
        .flatten()
        .unwrap_or_default()
}

#[inline]
fn give_to_cache(queued: Box<QueuedBytes>) {
    let bytes = queued.allocated();
    // A thread that is exiting has no cache any more.
    let _ = CACHE.try_with(|cache| {
        let Ok(mut cache) = cache.try_borrow_mut() else { return };
        if bytes <= MAX_ENTRY && cache.bytes + bytes <= MAX_CACHED {
            cache.bytes += bytes;
            cache.entries.push(queued);
        }
    });
}
