//! Which cases does the Autobahn suite have, and which of them match a pattern?

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

/// The number of a case, such as `12.1.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CaseId(Vec<u32>);

impl CaseId {
    /// The first number.
    pub(crate) fn section(&self) -> u32 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Whether the case is about permessage-deflate.
    pub(crate) fn is_compressed(&self) -> bool {
        matches!(self.section(), 12 | 13)
    }

    /// Whether the case is a compressed one with payloads from 64 KiB up or many fragments. These
    /// take most of the suite's time.
    fn is_slow(&self) -> bool {
        self.is_compressed() && matches!(self.0.as_slice(), [_, _, 9 | 10 | 14..])
    }

    /// The index of the part that runs this case, of `parts` parts that take about the same time.
    ///
    /// Sizes grow with the last number in every group of cases, so the sum of the numbers
    /// distributes them evenly.
    pub(crate) fn part(&self, parts: u32) -> u32 {
        self.0.iter().sum::<u32>() % parts.max(1)
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

impl FromStr for CaseId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        Ok(Self(numbers.with_context(|| format!("`{text}` is not the number of a case"))?))
    }
}

/// All cases of the suite, in its order.
pub(crate) fn all() -> impl Iterator<Item = CaseId> {
    let groups = SECTIONS.iter().flat_map(|(section, groups)| {
        (1..).zip(*groups).map(|(group, cases)| (*section, group, *cases))
    });
    groups.flat_map(|(section, group, cases)| {
        let is_flat = FLAT.contains(&section);
        (1..=cases).map(move |case| match is_flat {
            true => CaseId(vec![section, case]),
            false => CaseId(vec![section, group, case]),
        })
    })
}

/// The cases that match `patterns`, or all without patterns; with `quick`, without the slow ones.
///
/// A pattern is the beginning of a number, in which `*` matches any number: `6`, `6.*` and
/// `6.*.*` match the same cases.
///
/// # Errors
///
/// A pattern matches no case. The suite itself never ends without a case.
pub(crate) fn select(patterns: &[String], quick: bool) -> Result<Vec<CaseId>> {
    let mut selected = BTreeSet::new();
    for pattern in patterns {
        let before = selected.len();
        let matching = matching(pattern)?;
        ensure!(
            !matching.is_empty(),
            "no case matches `{pattern}`; sections are 1-7, 9, 10, 12, 13"
        );
        selected.extend(matching.into_iter().filter(|case| !quick || !case.is_slow()));
        ensure!(
            selected.len() > before || !quick,
            "`{pattern}` adds no case to a quick run; leave out --quick"
        );
    }
    if patterns.is_empty() {
        selected.extend(all().filter(|case| !quick || !case.is_slow()));
    }
    Ok(selected.into_iter().collect())
}

fn matching(pattern: &str) -> Result<Vec<CaseId>> {
    let parts = pattern.split('.').map(|part| match part {
        "*" => Ok(None),
        number => number.parse::<u32>().map(Some),
    });
    let parts: Vec<Option<u32>> = parts
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{pattern}` is not a pattern, such as `6.*`, `12.1.3` or `*`"))?;
    // Stars at the end match any number of levels.
    let stars = parts.iter().rev().take_while(|part| part.is_none()).count();
    let fixed = parts.len() - stars;
    let matches = |case: &CaseId| {
        case.0.len() >= fixed
            && parts
                .iter()
                .zip(&case.0)
                .all(|(part, number)| part.is_none_or(|part| part == *number))
    };
    Ok(all().filter(matches).collect())
}

/// The number of cases of each group of each section, in release 25.10 of the suite; 0 for a number
/// that no group has. A section of [`FLAT`] has no groups. The numbers are the same in all releases
/// since 2014.
const SECTIONS: &[(u32, &[u32])] = &[
    (1, &[8, 8]),
    (2, &[11]),
    (3, &[7]),
    (4, &[5, 5]),
    (5, &[20]),
    (6, &[3, 4, 2, 4, 5, 11, 4, 2, 4, 3, 5, 8, 5, 10, 1, 3, 5, 5, 5, 7, 8, 34, 7]),
    (7, &[6, 0, 6, 0, 1, 0, 13, 0, 9, 0, 0, 0, 2]),
    (9, &[6, 6, 9, 9, 6, 6, 6, 6]),
    (10, &[1]),
    (12, &[18; 5]),
    (13, &[18; 7]),
];

const FLAT: &[u32] = &[2, 3, 5];

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(patterns: &[&str], quick: bool) -> Result<Vec<CaseId>> {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        select(&patterns, quick)
    }

    fn count(patterns: &[&str]) -> usize {
        selected(patterns, false).unwrap().len()
    }

    #[test]
    fn the_whole_suite_is_517_cases_and_the_quick_one_433() {
        assert_eq!(all().count(), 517);
        assert_eq!(count(&[]), 517);
        assert_eq!(selected(&[], true).unwrap().len(), 433);
    }

    #[test]
    fn a_pattern_is_the_beginning_of_a_number() {
        assert_eq!(count(&["*"]), 517);
        assert_eq!(count(&["1"]), 16, "not 10, 12 and 13");
        assert_eq!(count(&["6.*"]), 145);
        assert_eq!(count(&["6.*.*"]), 145);
        assert_eq!(count(&["12.*.1"]), 5, "not 12.x.10 to 12.x.18");
        assert_eq!(count(&["12.1.3"]), 1);
        assert_eq!(count(&["2.*.*"]), 11);
        assert_eq!(count(&["9.*", "9.1.*", "1.1.1"]), 55, "none twice");
    }

    #[test]
    fn cases_stay_in_the_order_of_the_suite() {
        let ids: Vec<_> = selected(&["10", "9.8.6", "2.2"], false).unwrap();
        assert_eq!(
            ids.iter().map(CaseId::to_string).collect::<Vec<_>>(),
            ["2.2", "9.8.6", "10.1.1"]
        );
    }

    #[test]
    fn a_pattern_that_matches_no_case_is_an_error() {
        for nothing in ["11.*", "8", "12.1.19", "2.1.1", "0", "6.24.*"] {
            let error = selected(&[nothing], false).unwrap_err().to_string();
            assert!(error.contains(nothing), "{error}");
        }
        for nonsense in ["", "1*", "six", "6.", "6..1", "-1"] {
            assert!(selected(&[nonsense], false).is_err(), "{nonsense:?}");
        }
        assert!(selected(&["13.7.18"], true).is_err(), "nothing is left of it in a quick run");
    }

    #[test]
    fn large_cases_are_distributed_evenly() {
        let large: Vec<_> = all().filter(CaseId::is_slow).collect();
        let first = large.iter().filter(|case| case.part(2) == 0).count();
        assert_eq!((large.len(), first), (84, 42));
    }
}
