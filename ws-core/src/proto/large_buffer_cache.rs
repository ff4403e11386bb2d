//! Where are the buffers of large messages kept for reuse?
//!
//! An allocator returns a large buffer to the system when it is freed. The next message of that
//! size then needs system calls, and a page fault for each page.

use std::cell::RefCell;

use bytes::Bytes;

/// Smaller buffers are freed: allocators keep these themselves.
const MIN_REUSED: usize = 128 * 1024;

/// The maximum size of the buffers that a thread keeps, in bytes.
const MAX_KEPT: usize = 8 * 1024 * 1024;

thread_local! {
    static KEPT: RefCell<KeptBuffers> =
        const { RefCell::new(KeptBuffers { buffers: Vec::new(), bytes: 0 }) };
}

/// The buffers of one thread, the latest last.
struct KeptBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// Reserves room for `additional` bytes in a buffer, as `Vec::reserve_exact` does. A kept buffer
/// may be larger by up to a quarter.
pub(super) fn reserve(buffer: &mut Vec<u8>, additional: usize) {
    let needed = buffer.len().saturating_add(additional);
    if needed < MIN_REUSED || needed <= buffer.capacity() {
        return buffer.reserve_exact(additional);
    }
    let Some(mut kept) = take(needed) else { return buffer.reserve_exact(additional) };
    kept.extend_from_slice(buffer);
    give(std::mem::replace(buffer, kept));
}

/// The payload of a message. Its buffer is kept by the thread that drops it.
pub(super) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < MIN_REUSED {
        return buffer.into();
    }
    Bytes::from_owner(LargePayload(buffer))
}

struct LargePayload(Vec<u8>);

impl AsRef<[u8]> for LargePayload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for LargePayload {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

fn take(needed: usize) -> Option<Vec<u8>> {
    let max = needed.saturating_add(needed / 4);
    // A thread that is exiting has no buffers any more.
    KEPT.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let fits = |buffer: &Vec<u8>| (needed..=max).contains(&buffer.capacity());
        let buffer = kept.buffers.iter().rposition(fits).map(|index| kept.buffers.remove(index))?;
        kept.bytes = kept.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    })
    .ok()
    .flatten()
}

/// Keeps a buffer, in place of the oldest ones. Frees it if it is too small or too large.
fn give(mut buffer: Vec<u8>) {
    if !(MIN_REUSED..=MAX_KEPT).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    let _ = KEPT.try_with(|kept| {
        let Ok(mut kept) = kept.try_borrow_mut() else { return };
        let room = MAX_KEPT - buffer.capacity();
        while kept.bytes > room && !kept.buffers.is_empty() {
            let oldest = kept.buffers.remove(0);
            kept.bytes = kept.bytes.saturating_sub(oldest.capacity());
        }
        kept.bytes += buffer.capacity();
        kept.buffers.push(buffer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<usize> {
        KEPT.with_borrow(|kept| {
            let sizes: Vec<_> = kept.buffers.iter().map(Vec::capacity).collect();
            assert_eq!(kept.bytes, sizes.iter().sum::<usize>());
            assert!(kept.bytes <= MAX_KEPT);
            sizes
        })
    }

    #[test]
    fn the_buffer_of_a_large_payload_is_reused() {
        let (size, mut buffer) = (2 * MIN_REUSED, b"start".to_vec());
        reserve(&mut buffer, size);
        let place = buffer.as_ptr();
        let payload = into_bytes(buffer);
        assert_eq!(payload, b"start"[..]);
        let clone = payload.slice(1..);
        drop(payload);
        assert!(kept().is_empty(), "a clone uses the buffer");
        drop(clone);
        assert_eq!(kept(), [size + 5]);
        let mut next = b"x".to_vec();
        reserve(&mut next, size);
        assert_eq!((next.as_ptr(), &*next), (place, &b"x"[..]));
        assert!(kept().is_empty());
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        drop(into_bytes(Vec::with_capacity(MIN_REUSED - 1)));
        drop(into_bytes(Vec::with_capacity(MAX_KEPT + 1)));
        assert!(kept().is_empty());
        drop(into_bytes(Vec::with_capacity(MIN_REUSED)));
        for _ in 0..20 {
            drop(into_bytes(Vec::with_capacity(MAX_KEPT / 8)));
        }
        assert_eq!(kept(), [MAX_KEPT / 8; 8], "the oldest is freed");
    }

    #[test]
    fn a_buffer_that_is_much_too_large_is_not_used() {
        drop(into_bytes(Vec::with_capacity(4 * MIN_REUSED)));
        let mut buffer = Vec::new();
        reserve(&mut buffer, MIN_REUSED);
        assert_eq!((buffer.capacity(), kept()), (MIN_REUSED, vec![4 * MIN_REUSED]));
    }
}
