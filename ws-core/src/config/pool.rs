//! How do connections share a pool of write buffers?

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Larger buffers are freed. Connections fill 16 KiB of a buffer.
const MAX_BUFFER: usize = 32 * 1024;

/// A pool of write buffers, shared by the connections that use it as
/// [`Config::buffer_pool`](super::Config::buffer_pool).
///
/// A connection takes a buffer while bytes wait to be written, and returns it afterwards. So the
/// pool needs as many buffers as connections write at the same time. It keeps returned buffers up
/// to a limit in bytes, and frees the rest.
///
/// Without a pool, connections use the cache of their thread, which keeps up to 1 MiB. A pool sets
/// one limit for all threads, or separates the buffers of one listener from the rest.
///
/// A clone is the same pool.
///
/// ```
/// use ws_core::{BufferPool, Config};
///
/// let pool = BufferPool::new(4 * 1024 * 1024);
/// let config = Config::new().buffer_pool(&pool);
/// # let _ = config;
/// assert_eq!(pool.cached(), 0);
/// ```
#[derive(Clone)]
pub struct BufferPool(Arc<PoolShared>);

struct PoolShared {
    max: usize,
    cached: Mutex<CachedBuffers>,
}

#[derive(Default)]
struct CachedBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    misses: u64,
}

impl BufferPool {
    /// A pool that keeps at most `max` bytes of unused buffers. With zero, each buffer is freed
    /// after use.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(PoolShared { max, cached: Mutex::default() }))
    }

    /// The number of bytes in unused buffers.
    pub fn cached(&self) -> usize {
        self.with(|kept| kept.bytes)
    }

    /// How often the pool was empty and a buffer had to be allocated. If the number keeps growing,
    /// the pool is too small for its connections.
    pub fn misses(&self) -> u64 {
        self.with(|kept| kept.misses)
    }

    /// Takes an empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.with(|kept| {
            let buffer = kept.buffers.pop();
            kept.misses += u64::from(buffer.is_none());
            let buffer = buffer.unwrap_or_default();
            kept.bytes -= buffer.capacity();
            buffer
        })
    }

    /// Returns a buffer.
    #[cold]
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        if room == 0 || room > MAX_BUFFER {
            return;
        }
        buffer.clear();
        self.with(|kept| {
            if kept.bytes + room <= self.0.max {
                kept.bytes += room;
                kept.buffers.push(buffer);
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut CachedBuffers) -> T) -> T {
        f(&mut self.0.cached.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Two handles are equal when they are the same pool.
impl PartialEq for BufferPool {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for BufferPool {}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("max", &self.0.max)
            .field("cached", &self.cached())
            .field("misses", &self.misses())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_returned_buffers_up_to_its_limit() {
        let pool = BufferPool::new(3000);
        let given = [1000, 2000, 500, 0, MAX_BUFFER + 1].map(Vec::<u8>::with_capacity);
        for (buffer, held) in given.into_iter().zip([1000, 3000, 3000, 3000, 3000]) {
            pool.give(buffer);
            assert_eq!(pool.cached(), held);
        }
        for (capacity, held, misses) in [(2000, 1000, 0), (1000, 0, 0), (0, 0, 1), (0, 0, 2)] {
            assert_eq!(pool.take().capacity(), capacity);
            assert_eq!((pool.cached(), pool.misses()), (held, misses));
        }
    }

    #[test]
    fn its_buffers_are_empty() {
        let pool = BufferPool::new(100);
        pool.give(b"of somebody else".to_vec());
        assert!(pool.take().is_empty());
    }
}
