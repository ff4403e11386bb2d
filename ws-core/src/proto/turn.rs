//! How much of the peer's input is handled before other tasks run?

/// The part of a turn that is left. A turn bounds frames and bytes together, whatever they are:
/// each frame costs [`FRAME`](Self::FRAME), and each byte that is read or inflated costs one.
///
/// A count below zero, since what has begun is not interrupted: one read, one frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(i64);

impl Turn {
    /// What a turn may cost: 64 KiB, or 128 empty frames.
    pub(crate) const WHOLE: i64 = 64 * 1024;

    /// What a frame costs.
    const FRAME: i64 = Self::WHOLE / 128;

    /// A turn that begins.
    pub(crate) const fn new() -> Self {
        Self(Self::WHOLE)
    }

    /// A turn without an end, for a caller that has bounds of its own.
    pub(super) const fn unlimited() -> Self {
        Self(i64::MAX)
    }

    /// A frame is handled.
    #[inline]
    pub(crate) const fn frame(&mut self) {
        self.0 -= Self::FRAME;
    }

    /// This many bytes are read or inflated.
    #[inline]
    pub(crate) const fn bytes(&mut self, count: usize) {
        self.0 = self.0.wrapping_sub(count as i64);
    }

    /// Whether other tasks have to run.
    #[inline]
    pub(crate) const fn is_over(self) -> bool {
        self.0 <= 0
    }
}
