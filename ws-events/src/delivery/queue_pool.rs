//! Why do things that are made one at a time lie side by side?
//!
//! Because they are made several at a time. Who goes through many of them comes upon each in
//! memory that the processor has at hand, rather than beside whatever was made just before
//! it.

use std::sync::Arc;

use parking_lot::Mutex;

/// So many are made at a time, once there are as many.
const MOST: usize = 64;

/// Some that are not used yet.
pub(crate) struct Stock<T> {
    make: fn() -> T,
    made: Mutex<Made<T>>,
}

struct Made<T> {
    count: usize,
    spare: Vec<Arc<T>>,
}

impl<T> Stock<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { make, made: Mutex::new(Made { count: 0, spare: Vec::new() }) }
    }

    /// One that nobody else has.
    pub(crate) fn take(&self) -> Arc<T> {
        let mut made = self.made.lock();
        if let Some(one) = made.spare.pop() {
            return one;
        }
        // Where there are few, few are made.
        let more = made.count.clamp(1, MOST);
        made.count += more;
        let one = Arc::new((self.make)());
        made.spare.extend((1..more).map(|_| Arc::new((self.make)())));
        made.spare.reverse();
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_made_as_there_are_up_to_some() {
        let stock = Stock::new(|| 0);
        let mut taken = Vec::new();
        for (count, spare) in [(1, 0), (2, 0), (3, 1), (4, 0), (5, 3), (65, 63), (129, 63)] {
            taken.resize_with(count, || stock.take());
            assert_eq!(stock.made.lock().spare.len(), spare, "{count}");
        }
        assert!(taken.iter().all(|one| Arc::strong_count(one) == 1));
    }
}
