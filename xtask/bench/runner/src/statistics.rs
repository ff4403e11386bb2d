//! What do a few noisy numbers say?

use serde::Serialize;

/// The middle of some numbers, and how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// Where the median of all that could be measured is, with 95 % confidence, if there are
    /// enough numbers to say so; else from the least to the greatest.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Is it known with that confidence?
    pub(crate) confident: bool,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

impl Summary {
    /// Sums numbers up, if there are any.
    pub(crate) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.retain(|number| number.is_finite());
        numbers.sort_by(f64::total_cmp);
        let (&min, &max) = (numbers.first()?, numbers.last()?);
        let count = numbers.len();
        let cut = cut(count);
        let (low, high) = cut.map_or((min, max), |cut| (numbers[cut], numbers[count - 1 - cut]));
        let confident = cut.is_some();
        Some(Self { median: median(&numbers), low, high, confident, min, max, count })
    }
}

/// The middle of numbers that are in order.
fn median(numbers: &[f64]) -> f64 {
    let half = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => (numbers[half - 1] + numbers[half]) / 2.0,
        _ => numbers[half],
    }
}

/// How many of so many numbers can be cut off at each end so that the median of the whole
/// distribution still lies between the rest with 95 % probability, whatever its shape.
fn cut(count: usize) -> Option<usize> {
    // Each number lies below the median with probability 1/2.
    let mut chance = 0.5f64.powi(count as i32);
    let mut below = 0.0;
    let mut cut = None;
    for at in 0..count / 2 {
        below += chance;
        if below > 0.025 {
            break;
        }
        cut = Some(at);
        chance *= (count - at) as f64 / (at + 1) as f64;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_cut_off_as_in_the_tables() {
        // The critical values of the two-sided sign test, less one.
        for (count, expected) in
            [(5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (15, Some(3)), (25, Some(7))]
        {
            assert_eq!(cut(count), expected, "{count}");
        }
    }

    #[test]
    fn few_numbers_are_shown_from_end_to_end() {
        let summary = Summary::of(vec![3.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((summary.median, summary.low, summary.high), (2.5, 1.0, 4.0));
        assert!(!summary.confident);
        assert!(Summary::of(vec![f64::NAN]).is_none());
    }

    #[test]
    fn many_numbers_leave_their_ends_out() {
        let summary = Summary::of((1..=15).map(f64::from).collect()).unwrap();
        assert_eq!((summary.low, summary.median, summary.high), (4.0, 8.0, 12.0));
        assert!(summary.confident);
    }
}
