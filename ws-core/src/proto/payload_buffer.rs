//! Where does the payload of a message arrive, and where are the buffers of large ones kept for reuse?
//!
//! An allocator returns a large buffer to the system when it is freed. The next message of that
//! size then needs system calls, and a page fault for each page.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

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

/// The payload of a message that arrives.
///
/// A large one does not begin where glibc's large allocations do, 16 bytes behind the start of a
/// page: AMD processors copy from there at a quarter of the speed (`rep movsb`), and the kernel
/// copies each payload that is sent.
#[derive(Debug, Default)]
pub(super) struct PayloadBuffer {
    bytes: Vec<u8>,
    /// Where the payload begins.
    start: usize,
}

const PAGE: usize = 4096;

/// The offset of glibc's large allocations in a page.
const SLOW_OFFSET: usize = 16;

/// The largest [`PayloadBuffer::start`]: the payload then begins at a line of the cache.
const MAX_START: usize = 64 - SLOW_OFFSET;

impl PayloadBuffer {
    /// Moves the payload if it begins at the slow offset. There is room for [`MAX_START`] bytes more.
    fn place(&mut self) {
        if self.as_ptr().addr() % PAGE == SLOW_OFFSET {
            self.bytes.splice(..0, [0; MAX_START]);
            self.start += MAX_START;
        }
    }

    /// The number of bytes that it can hold without an allocation.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity().saturating_sub(self.start)
    }

    /// Where more of the payload is appended.
    pub(super) const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn extend_from_slice(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start.saturating_add(len));
    }

    pub(super) fn clear(&mut self) {
        self.truncate(0);
    }

    /// Reserves room for `additional` bytes, as `Vec::reserve_exact` does. A large buffer may be
    /// larger: a kept one by up to a quarter, a new one by [`MAX_START`].
    pub(super) fn reserve_exact(&mut self, additional: usize) {
        let needed = self.len().saturating_add(additional);
        if needed < MIN_REUSED || needed <= self.capacity() {
            return self.bytes.reserve_exact(additional);
        }
        match take(needed.saturating_add(MAX_START)) {
            Some(bytes) => {
                let mut kept = Self { bytes, start: 0 };
                kept.place();
                kept.extend_from_slice(self);
                give(std::mem::replace(self, kept).bytes);
            }
            None => {
                self.bytes.reserve_exact(additional.saturating_add(MAX_START));
                self.place();
            }
        }
    }

    /// The payload of a message. Its buffer is kept by the thread that drops it.
    pub(super) fn into_bytes(self) -> Bytes {
        if self.bytes.capacity() < MIN_REUSED {
            return self.into_vec().into();
        }
        Bytes::from_owner(LargePayload(self))
    }

    pub(super) fn into_vec(mut self) -> Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start.min(self.bytes.len()));
        }
        self.bytes
    }
}

impl Deref for PayloadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl DerefMut for PayloadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }
}

struct LargePayload(PayloadBuffer);

impl AsRef<[u8]> for LargePayload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for LargePayload {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0.bytes));
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

    fn buffer(capacity: usize) -> PayloadBuffer {
        PayloadBuffer { bytes: Vec::with_capacity(capacity), start: 0 }
    }

    #[test]
    fn the_buffer_of_a_large_payload_is_reused() {
        let (size, mut buffer) = (2 * MIN_REUSED, PayloadBuffer::default());
        buffer.extend_from_slice(b"start");
        buffer.reserve_exact(size);
        let place = buffer.as_ptr();
        let payload = buffer.into_bytes();
        assert_eq!(payload, b"start"[..]);
        let clone = payload.slice(1..);
        drop(payload);
        assert!(kept().is_empty(), "a clone uses the buffer");
        drop(clone);
        assert_eq!(kept(), [size + 5 + MAX_START]);
        let mut next = PayloadBuffer::default();
        next.extend_from_slice(b"x");
        next.reserve_exact(size);
        assert_eq!((next.as_ptr(), &*next), (place, &b"x"[..]));
        assert!(kept().is_empty());
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        drop(buffer(MIN_REUSED - 1).into_bytes());
        drop(buffer(MAX_KEPT + 1).into_bytes());
        assert!(kept().is_empty());
        drop(buffer(MIN_REUSED).into_bytes());
        for _ in 0..20 {
            drop(buffer(MAX_KEPT / 8).into_bytes());
        }
        assert_eq!(kept(), [MAX_KEPT / 8; 8], "the oldest is freed");
    }

    #[test]
    fn a_buffer_that_is_much_too_large_is_not_used() {
        drop(buffer(4 * MIN_REUSED).into_bytes());
        let mut buffer = PayloadBuffer::default();
        buffer.reserve_exact(MIN_REUSED);
        assert!((MIN_REUSED..=MIN_REUSED + MAX_START).contains(&buffer.capacity()));
        assert_eq!(kept(), [4 * MIN_REUSED]);
    }

    #[test]
    fn a_large_payload_does_not_begin_where_copying_is_slow() {
        // With the allocator of glibc, some of these are at the offset in question.
        let buffers: Vec<_> = (0..64)
            .map(|index| {
                let mut buffer = PayloadBuffer::default();
                buffer.reserve_exact(MIN_REUSED << (index % 5));
                buffer.extend_from_slice(b"payload");
                buffer
            })
            .collect();
        for mut buffer in buffers {
            assert_ne!(buffer.as_ptr().addr() % PAGE, SLOW_OFFSET);
            buffer.truncate(3);
            assert_eq!(&*buffer, b"pay");
            let place = buffer.as_ptr();
            buffer.clear();
            assert!(buffer.is_empty());
            buffer.extend_from_slice(b"load");
            assert_eq!((buffer.as_ptr(), &*buffer), (place, &b"load"[..]));
            assert_eq!(buffer.into_vec(), b"load");
        }
    }
}
