//! How are the samples of a scenario summarised and compared?

use load::scenario::{Scenario, Shape};
use serde::Serialize;

use crate::implementations::{Entry, Kind};
use crate::rounds::{Sample, Series};

/// The results of a scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Result {
    pub(crate) scenario: Scenario,
    /// The unit of the cost: less is better.
    pub(crate) unit: &'static str,
    /// The entry whose cost is 1 in the column of ratios.
    pub(crate) reference: Option<String>,
    pub(crate) rows: Vec<Row>,
}

/// The results of one entry.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) cost: Option<Summary>,
    /// The cost divided by that of the reference in the same round.
    pub(crate) to_reference: Option<Summary>,
    /// The cost of `ours` divided by that of this entry in the same round.
    pub(crate) ours_to_it: Option<Summary>,
    pub(crate) throughput: Option<Summary>,
    pub(crate) p50: Option<Summary>,
    pub(crate) p99: Option<Summary>,
    pub(crate) p999: Option<Summary>,
    pub(crate) wire_bytes: Option<f64>,
    pub(crate) memory_open: Option<Summary>,
    /// The number of disturbed samples.
    pub(crate) disturbed: usize,
    pub(crate) series: Series,
}

/// The unit in which a scenario is compared.
pub(crate) fn unit(scenario: &Scenario) -> &'static str {
    match scenario.shape {
        Shape::Idle => "bytes per connection after a message",
        Shape::Burst => "µs per message",
        Shape::Upgrades => "µs of processor time per opening handshake",
        _ if scenario.name == "latency" => "µs to the answer, p50",
        _ if by_time(scenario) => "µs per message",
        _ => "µs of processor time per message",
    }
}

/// Whether a scenario is compared by time. Where several threads share the load, the sum of their
/// processor times is no measure.
fn by_time(scenario: &Scenario) -> bool {
    scenario.shape == Shape::Burst || scenario.name.starts_with("workers-")
}

fn cost(scenario: &Scenario, sample: &Sample) -> f64 {
    let report = &sample.report;
    match scenario.shape {
        Shape::Idle => report.memory.map_or(f64::NAN, |memory| memory.used),
        _ if scenario.name == "latency" => report.latency.map_or(f64::NAN, |it| it.p50),
        _ if by_time(scenario) => 1e6 / report.throughput(),
        _ => report.cpu_micros(),
    }
}

/// Summarises a scenario.
pub(crate) fn of(scenario: &Scenario, entries: &[Entry], series: Vec<Series>) -> Result {
    let cost_of = |sample: &Sample| cost(scenario, sample);
    let named = |name: &str| series.iter().find(|series| series.name == name);
    let limit = if scenario.shape == Shape::Idle { "raw-tokio-lazy" } else { "raw-tokio" };
    let reference = named(limit).or_else(|| series.first());
    let ours_like = |entry: &Entry| {
        let at = entries.iter().position(|it| {
            it.implementation.kind == Kind::Ours
                && (it.workers, it.writers) == (entry.workers, entry.writers)
                && it.stalled == entry.stalled
        });
        at.and_then(|at| series.get(at))
    };
    let rows = entries.iter().zip(&series).map(|(entry, own)| {
        // Two threads are compared with one, and with a stalled WebSocket with none.
        let compared = entry.workers > 1 || entry.stalled > 0;
        let alone = named(entry.implementation.name).filter(|_| compared);
        let alone = alone.or_else(|| {
            let one = format!("{}, 1 writing", entry.implementation.name);
            named(&one).filter(|_| entry.writers > 1)
        });
        let summary = |of: &dyn Fn(&Sample) -> Option<f64>| {
            Summary::of(own.samples.iter().filter_map(of).collect())
        };
        Row {
            name: own.name.clone(),
            kind: entry.implementation.kind,
            cost: summary(&|sample| Some(cost_of(sample))),
            to_reference: alone.or(reference).and_then(|other| ratio(own, other, &cost_of)),
            ours_to_it: ours_like(entry).and_then(|ours| ratio(ours, own, &cost_of)),
            throughput: summary(&|sample| Some(sample.report.throughput())),
            p50: summary(&|sample| Some(sample.report.latency?.p50)),
            p99: summary(&|sample| Some(sample.report.latency?.p99)),
            p999: summary(&|sample| Some(sample.report.latency?.p999)),
            wire_bytes: summary(&|sample| sample.report.wire_bytes).map(|bytes| bytes.median),
            memory_open: summary(&|sample| Some(sample.report.memory?.open)),
            disturbed: own.samples.iter().filter(|sample| sample.disturbed).count(),
            series: own.clone(),
        }
    });
    let rows = rows.collect();
    let reference = reference.map(|series| series.name.clone());
    Result { scenario: *scenario, unit: unit(scenario), reference, rows }
}

/// The ratio of two costs in each round. Rounds with a disturbed sample count only if there are no
/// others.
fn ratio(own: &Series, other: &Series, cost: &dyn Fn(&Sample) -> f64) -> Option<Summary> {
    let pairs: Vec<_> = own
        .samples
        .iter()
        .filter_map(|sample| {
            let other = other.samples.iter().find(|other| other.round == sample.round)?;
            Some((sample.disturbed || other.disturbed, cost(sample) / cost(other)))
        })
        .collect();
    let of = |disturbed: bool| -> Vec<f64> {
        pairs.iter().filter(|pair| disturbed || !pair.0).map(|pair| pair.1).collect()
    };
    Summary::of(of(false)).or_else(|| Summary::of(of(true)))
}

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
    use load::report::Report;

    use super::*;

    fn series(name: &str, costs: &[(f64, bool)]) -> Series {
        let samples = costs.iter().enumerate().map(|(round, (micros, disturbed))| Sample {
            round,
            disturbed: *disturbed,
            report: Report { messages: 1, cpu_ns: (micros * 1000.0) as u64, ..Report::default() },
        });
        Series { name: name.to_owned(), samples: samples.collect(), repeated: 0, failure: None }
    }

    #[test]
    fn ratios_are_of_the_same_round_and_undisturbed() {
        let own = series("a", &[(2.0, false), (4.0, false), (9.0, true)]);
        let other = series("b", &[(1.0, false), (2.0, false), (1.0, false)]);
        let found = ratio(&own, &other, &|sample| sample.report.cpu_micros()).unwrap();
        assert_eq!((found.median, found.count), (2.0, 2));
    }

    #[test]
    fn disturbed_rounds_count_when_there_are_no_others() {
        let own = series("a", &[(2.0, true)]);
        let found = ratio(&own, &own, &|sample| sample.report.cpu_micros()).unwrap();
        assert_eq!((found.median, found.count), (1.0, 1));
    }

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
