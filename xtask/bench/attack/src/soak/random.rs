//! How does a load choose what it does?

/// A generator of random numbers (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub(super) fn payload(&mut self) -> Vec<u8> {
        let len = match self.below(10) {
            0..6 => self.below(200),
            6..9 => self.below(20_000),
            _ => self.below(300_000),
        };
        let start = self.next();
        (0..len).map(|at| (start.wrapping_add(at as u64 / 3)) as u8).collect()
    }
}
