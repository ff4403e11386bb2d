//! What are the median and the confidence interval of a few samples?

use serde::Serialize;

/// The median of some numbers, with a confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// The 95 % confidence interval of the median, if there are enough numbers; else the least and
    /// the greatest.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether `low` and `high` are a confidence interval.
    pub(crate) confident: bool,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

impl Summary {
    /// The summary of some numbers; `None` without a number.
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

/// The median of sorted numbers.
fn median(numbers: &[f64]) -> f64 {
    let half = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => (numbers[half - 1] + numbers[half]) / 2.0,
        _ => numbers[half],
    }
}

/// How many of `count` numbers can be left out at each end so that the median of the distribution
/// still lies between the rest with 95 % probability, whatever the distribution.
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
    fn the_cut_is_that_of_the_sign_test() {
        // The critical values of the two-sided sign test, less one.
        for (count, expected) in
            [(5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (15, Some(3)), (25, Some(7))]
        {
            assert_eq!(cut(count), expected, "{count}");
        }
    }

    #[test]
    fn few_numbers_have_their_full_range() {
        let summary = Summary::of(vec![3.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((summary.median, summary.low, summary.high), (2.5, 1.0, 4.0));
        assert!(!summary.confident);
        assert!(Summary::of(vec![f64::NAN]).is_none());
    }

    #[test]
    fn many_numbers_have_a_confidence_interval() {
        let summary = Summary::of((1..=15).map(f64::from).collect()).unwrap();
        assert_eq!((summary.low, summary.median, summary.high), (4.0, 8.0, 12.0));
        assert!(summary.confident);
    }
}
