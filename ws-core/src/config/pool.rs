//! Whose are the buffers that connections write with, and how much of them is kept?

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer that grew beyond this is not worth keeping: connections fill 16 KiB of one.
const TOO_MUCH: usize = 32 * 1024;

/// Buffers for writing, shared by the connections that name it as their
/// [`Config::buffer_pool`](super::Config::buffer_pool).
///
/// A connection takes a buffer when it has something to send that cannot leave at once, and
/// gives it back when all of it has left, so there need be only as many as connections that
/// write at the same moment. What is given back is kept, up to so many bytes; beyond these,
/// and when the last handle of the pool is gone, it is freed.
///
/// Connections without a pool do the same with buffers of their thread, which keeps up to
/// 1 MiB. A pool of your own puts one bound on them all, whatever the number of threads, or
/// holds those of one listener apart from the rest.
///
/// A cheap handle: a clone is the same pool.
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
pub struct BufferPool(Arc<Inner>);

struct Inner {
    most: usize,
    kept: Mutex<Kept>,
    misses: AtomicU64,
}

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// A pool that keeps no more than `most` bytes of buffers that nobody uses. With zero,
    /// every buffer is freed when it is empty.
    pub fn new(most: usize) -> Self {
        let (kept, misses) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { most, kept, misses }))
    }

    /// How many bytes it keeps just now, in buffers that nobody uses.
    pub fn cached(&self) -> usize {
        self.with(|kept| kept.bytes)
    }

    /// How many times a connection wanted a buffer and none was there, so that it had to be
    /// made. A number that keeps growing says that the pool is too small for its connections.
    pub fn misses(&self) -> u64 {
        self.0.misses.load(Relaxed)
    }

    /// A buffer to write with, which is empty.
    pub(crate) fn take(&self) -> Vec<u8> {
        let taken = self.with(|kept| {
            let buffer = kept.buffers.pop()?;
            kept.bytes -= buffer.capacity();
            Some(buffer)
        });
        taken.unwrap_or_else(|| {
            self.0.misses.fetch_add(1, Relaxed);
            Vec::new()
        })
    }

    /// Takes a buffer back.
    #[cold]
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        if room == 0 || room > TOO_MUCH {
            return;
        }
        buffer.clear();
        self.with(|kept| {
            if kept.bytes + room <= self.0.most {
                kept.bytes += room;
                kept.buffers.push(buffer);
            }
        });
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Kept) -> T) -> T {
        ask(&mut self.0.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Two handles are equal when they are of the same pool.
impl PartialEq for BufferPool {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for BufferPool {}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("most", &self.0.most)
            .field("cached", &self.cached())
            .field("misses", &self.misses())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_given_back_up_to_its_bound() {
        let pool = BufferPool::new(3000);
        let given = [1000, 2000, 500, 0, TOO_MUCH + 1].map(Vec::<u8>::with_capacity);
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
    fn what_it_gives_is_empty() {
        let pool = BufferPool::new(100);
        pool.give(b"of somebody else".to_vec());
        assert!(pool.take().is_empty());
    }
}
