//! How do the send queues of many sockets get adjacent memory?
//!
//! They are allocated in chunks. A broadcast then visits neighbours in memory, rather than
//! queues that lie beside whatever was allocated with each connection.

use std::sync::Arc;

use parking_lot::Mutex;

/// The largest chunk.
const MAX_CHUNK: usize = 64;

/// Allocates values in chunks.
pub(crate) struct QueuePool<T> {
    make: fn() -> T,
    chunk: Mutex<Chunk<T>>,
}

struct Chunk<T> {
    /// How many values were allocated so far.
    allocated: usize,
    unused: Vec<Arc<T>>,
}

impl<T> QueuePool<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { make, chunk: Mutex::new(Chunk { allocated: 0, unused: Vec::new() }) }
    }

    /// A value that is not shared.
    pub(crate) fn take(&self) -> Arc<T> {
        let mut chunk = self.chunk.lock();
        if let Some(value) = chunk.unused.pop() {
            return value;
        }
        // The chunks grow with the number of values.
        let size = chunk.allocated.clamp(1, MAX_CHUNK);
        chunk.allocated += size;
        let value = Arc::new((self.make)());
        chunk.unused.extend((1..size).map(|_| Arc::new((self.make)())));
        chunk.unused.reverse();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_double_up_to_the_largest() {
        let pool = QueuePool::new(|| 0);
        let mut taken = Vec::new();
        for (count, unused) in [(1, 0), (2, 0), (3, 1), (4, 0), (5, 3), (65, 63), (129, 63)] {
            taken.resize_with(count, || pool.take());
            assert_eq!(pool.chunk.lock().unused.len(), unused, "{count}");
        }
        assert!(taken.iter().all(|value| Arc::strong_count(value) == 1));
    }
}
