//! How much of the peer's input is handled before other tasks run?

/// The part of a turn that is left. A turn bounds frames and bytes together, whatever they are:
/// each frame costs [`FRAME`](Self::FRAME), and each byte that is read or inflated costs one.
///
/// A count below zero, since what has begun is not interrupted: one read, one frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(i32);

impl Turn {
    /// What a turn may cost: 64 KiB, or 256 empty frames.
    const WHOLE: i32 = 64 * 1024;

    /// What a frame costs.
    const FRAME: i32 = Self::WHOLE / 256;

    /// A turn that begins.
    pub(crate) const fn new() -> Self {
        Self(Self::WHOLE)
    }

    /// A frame is handled.
    #[inline]
    pub(crate) const fn frame(&mut self) {
        self.0 = self.0.wrapping_sub(Self::FRAME);
    }

    /// A ping is answered: the pong may take a system call.
    #[cfg(feature = "conn")]
    #[inline]
    pub(crate) const fn answer(&mut self) {
        self.0 = self.0.wrapping_sub(7 * Self::FRAME);
    }

    /// This many bytes are read or inflated.
    #[inline]
    pub(crate) const fn bytes(&mut self, count: usize) {
        self.0 = self.0.wrapping_sub(count as i32);
    }

    /// Whether other tasks have to run.
    #[inline]
    pub(crate) const fn is_over(self) -> bool {
        self.0 <= 0
    }
}
