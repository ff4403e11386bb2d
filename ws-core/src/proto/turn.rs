//! How much of the peer's input is handled before other tasks run?

/// The part of a turn that is left. A turn bounds frames and bytes together, whatever they are:
/// each frame costs [`FRAME`](Self::FRAME), and each byte that is read or inflated costs one. In a
/// long turn, a byte of a long payload costs a sixteenth, so that a message of 1 MiB fits.
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

    /// A long turn that begins: 1 MiB of a long payload, behind the read that shows its length.
    #[cfg(feature = "conn")]
    pub(crate) const fn long() -> Self {
        Self(2 * Self::WHOLE)
    }

    /// A turn that is over.
    #[cfg(feature = "conn")]
    pub(crate) const fn over() -> Self {
        Self(0)
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

    /// This many bytes of a long payload are read in a long turn: 1 MiB of them in all.
    #[cfg(feature = "conn")]
    pub(crate) fn long_payload(&mut self, count: usize) {
        self.0 = self.0.min(Self::WHOLE);
        self.bytes(count / 16);
    }

    /// Whether so many bytes do not fit in a turn.
    #[cfg(feature = "conn")]
    pub(crate) const fn is_exceeded_by(bytes: u64) -> bool {
        bytes > Self::WHOLE as u64
    }

    /// Whether other tasks have to run.
    #[inline]
    pub(crate) const fn is_over(self) -> bool {
        self.0 <= 0
    }
}
