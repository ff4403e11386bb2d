//! Into which buffer does a connection read, and what does it keep between two reads?

use std::cell::Cell;

use crate::Config;

/// How much is read at a time. A little more than 64 KiB: a buffer grows to 16 times of what
/// has arrived, so that two reads take 1 MiB with its header.
const BUFFER_SIZE: usize = Config::MAX_READ_BUFFER;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8; BUFFER_SIZE]>>> = const { Cell::new(None) };
}

/// The buffer of this thread for reads and short writes: a connection that waits has none. A
/// new one while the buffer is lent already, and in a thread that ends.
pub(crate) struct ThreadBuffer {
    buffer: Option<Box<[u8; BUFFER_SIZE]>>,
    size: usize,
}

impl ThreadBuffer {
    /// Lends the first `size` bytes of it.
    #[inline]
    pub(crate) fn lend(size: usize) -> Self {
        Self { buffer: BUFFER.try_with(Cell::take).ok().flatten(), size }
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let buffer = self.buffer.get_or_insert_with(|| Box::new([0; BUFFER_SIZE]));
        buffer.get_mut(..self.size).unwrap_or_default()
    }
}

impl Drop for ThreadBuffer {
    #[inline]
    fn drop(&mut self) {
        let lent = self.buffer.take();
        let _ = BUFFER.try_with(|buffer| buffer.set(lent));
    }
}

/// Received bytes that are not consumed.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    start: usize,
}

impl ReadBuffer {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Consumes all but the last `count` bytes.
    pub(crate) fn keep(&mut self, count: usize) {
        match count {
            0 => *self = Self::default(),
            count => self.start = self.bytes.len().saturating_sub(count),
        }
    }
}
