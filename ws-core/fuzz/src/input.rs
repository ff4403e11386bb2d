//! How is a fuzz input parsed into settings and data?

/// Input bytes, followed by endless zeros.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// One of these values.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number that is small more often than large.
    pub fn size(&mut self) -> usize {
        size(self.byte())
    }

    /// Up to `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// `count` bytes of a short repeated pattern.
    pub fn pattern(&mut self, len: usize) -> Vec<u8> {
        let period = self.size();
        let pattern = self.take(period);
        let mut bytes = pattern.repeat(len / pattern.len().max(1) + 1);
        bytes.truncate(len);
        bytes
    }

    /// A position to split at.
    pub fn cuts(&mut self) -> Cuts {
        Cuts { sizes: [(); 4].map(|()| self.size().max(1)), next: 0 }
    }

    /// The rest.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A repeated sequence of piece lengths.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    sizes: [usize; 4],
    next: usize,
}

impl Cuts {
    /// No splits.
    pub const NONE: Self = Self { sizes: [usize::MAX; 4], next: 0 };

    /// The length of the next piece, at least one.
    pub const fn next(&mut self) -> usize {
        self.next = (self.next + 1) % self.sizes.len();
        self.sizes[self.next]
    }

    /// Splits the next piece off the front of `bytes`.
    pub fn split<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let (piece, rest) = bytes.split_at(self.next().min(bytes.len()));
        *bytes = rest;
        piece
    }
}

fn size(byte: u8) -> usize {
    match byte {
        0..=191 => byte.into(),
        // From 256 bytes to 17 KiB, past every buffer and batch.
        192.. => (usize::from(byte) - 191).pow(2) * 4 + 252,
    }
}
