//! What are the results of each Autobahn case, and is each a pass?

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cases::CaseId;

/// A verdict of the suite, from best to worst.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Ok,
    Informational,
    NonStrict,
    Unimplemented,
    Failed,
    /// Any other verdict, such as `UNCLEAN`.
    Other(String),
}

impl Verdict {
    /// Whether the verdict is a pass.
    pub(crate) const fn is_pass(&self) -> bool {
        matches!(self, Self::Ok | Self::Informational)
    }
}

/// The words of the suite for its verdicts.
pub(super) const WORDS: [(&str, Verdict); 5] = [
    ("OK", Verdict::Ok),
    ("INFORMATIONAL", Verdict::Informational),
    ("NON-STRICT", Verdict::NonStrict),
    ("FAILED", Verdict::Failed),
    ("UNIMPLEMENTED", Verdict::Unimplemented),
];

impl From<&str> for Verdict {
    fn from(word: &str) -> Self {
        let known = WORDS.into_iter().find(|(known, _)| *known == word);
        known.map_or_else(|| Self::Other(word.to_owned()), |(_, verdict)| verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = WORDS.iter().find(|(_, verdict)| verdict == self);
        f.write_str(match (self, known) {
            (Self::Other(word), _) => word,
            (_, known) => known.map_or("", |(word, _)| word),
        })
    }
}

/// The result of the negotiation of permessage-deflate in a compressed case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deflate {
    NotOffered,
    Declined,
    Agreed,
}

/// The result of a case.
#[derive(Clone, Debug)]
pub(crate) struct CaseResult {
    pub(crate) id: CaseId,
    /// The verdict on the messages of the program under test.
    pub(crate) behavior: Verdict,
    /// The verdict on how it closed the connection. Some failures show only here.
    pub(crate) close: Verdict,
    /// For compressed cases only.
    pub(crate) deflate: Option<Deflate>,
    pub(crate) duration: Duration,
    /// The file with the details, in the folder of the index.
    pub(crate) report: String,
}

impl CaseResult {
    /// The worse of both verdicts.
    pub(crate) fn verdict(&self) -> &Verdict {
        (&self.behavior).max(&self.close)
    }

    /// Why the case is not a pass, if it is not.
    pub(crate) fn failure(&self) -> Option<String> {
        let deflate = match self.deflate {
            None | Some(Deflate::Agreed) => "",
            Some(Deflate::NotOffered) => ", compression was not offered",
            Some(Deflate::Declined) => ", compression was declined",
        };
        if self.verdict().is_pass() && deflate.is_empty() {
            return None;
        }
        let Self { id, behavior, close, .. } = self;
        Some(format!("{id}: behavior {behavior}, close {close}{deflate}"))
    }
}

/// Reads the results of `agent` from the reports in `dir`.
pub(crate) fn read(dir: &Path, agent: &str) -> Result<Vec<CaseResult>> {
    let index = read_json(&dir.join("index.json"))?;
    let mut results = parse(&index, agent)?;
    for case in results.iter_mut().filter(|case| case.id.is_compressed()) {
        case.deflate = Some(deflate(&read_json(&dir.join(&case.report))?));
    }
    Ok(results)
}

/// Describes each case that is not a pass, that is missing, or that was not selected. The suite's
/// exit status shows none of this.
pub(crate) fn failures(results: &[CaseResult], wanted: &[CaseId]) -> Vec<String> {
    let mut counts: BTreeMap<&CaseId, (usize, usize)> = BTreeMap::new();
    for id in wanted {
        counts.entry(id).or_default().0 += 1;
    }
    for case in results {
        counts.entry(&case.id).or_default().1 += 1;
    }
    let miscounted = counts.iter().filter(|(_, (wanted, reported))| wanted != reported);
    let miscounted = miscounted
        .map(|(id, (wanted, reported))| format!("{id}: reported {reported} times, not {wanted}"));
    results
        .iter()
        .filter_map(|case| Some(format!("{} ({})", case.failure()?, case.report)))
        .chain(miscounted)
        .collect()
}

fn parse(index: &Value, agent: &str) -> Result<Vec<CaseResult>> {
    // A suite that could not connect writes an empty index. `failures` finds missing cases.
    let Some(cases) = index.get(agent).and_then(Value::as_object) else {
        return Ok(Vec::new());
    };
    let word = |case: &Value, key: &str| Verdict::from(case[key].as_str().unwrap_or("missing"));
    let results = cases.iter().map(|(id, case)| {
        Ok(CaseResult {
            id: id.parse()?,
            behavior: word(case, "behavior"),
            close: word(case, "behaviorClose"),
            deflate: None,
            duration: Duration::from_millis(case["duration"].as_u64().unwrap_or_default()),
            report: case["reportfile"].as_str().unwrap_or_default().to_owned(),
        })
    });
    let mut results = results.collect::<Result<Vec<_>>>()?;
    results.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(results)
}

/// Reads both heads of the opening handshake in the suite's report.
fn deflate(detail: &Value) -> Deflate {
    let asks = |key: &str| {
        let head = detail[key].as_str().unwrap_or_default().to_ascii_lowercase();
        head.lines().any(|line| {
            line.strip_prefix("sec-websocket-extensions:")
                .is_some_and(|value| value.contains("permessage-deflate"))
        })
    };
    match (asks("httpRequest"), asks("httpResponse")) {
        (false, _) => Deflate::NotOffered,
        (true, false) => Deflate::Declined,
        (true, true) => Deflate::Agreed,
    }
}

fn read_json(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("the suite wrote no {}", file.display()))?;
    // Old Python interpreters write the bytes of payloads without escapes.
    serde_json::from_str(&String::from_utf8_lossy(&text))
        .with_context(|| format!("cannot parse {}", file.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index(id: &str, behavior: &str, close: &str) -> Value {
        json!({ "ws": { id: {
            "behavior": behavior,
            "behaviorClose": close,
            "duration": 3,
            "remoteCloseCode": 1000,
            "reportfile": "ws_case.json",
        }}})
    }

    /// The verdicts on case 1.1.1 → the failure.
    #[track_caller]
    fn check(behavior: &str, close: &str, expected: Option<&str>) {
        let results = parse(&index("1.1.1", behavior, close), "ws").unwrap();
        assert_eq!(results[0].failure().as_deref(), expected);
    }

    #[test]
    fn only_ok_and_informational_pass_and_both_fields_count() {
        check("OK", "OK", None);
        check("INFORMATIONAL", "OK", None);
        check("OK", "INFORMATIONAL", None);
        check("NON-STRICT", "OK", Some("1.1.1: behavior NON-STRICT, close OK"));
        check("UNIMPLEMENTED", "OK", Some("1.1.1: behavior UNIMPLEMENTED, close OK"));
        check("FAILED", "OK", Some("1.1.1: behavior FAILED, close OK"));
        check("OK", "FAILED BY CLIENT", Some("1.1.1: behavior OK, close FAILED BY CLIENT"));
        check("OK", "WRONG CODE", Some("1.1.1: behavior OK, close WRONG CODE"));
        check("OK", "UNCLEAN", Some("1.1.1: behavior OK, close UNCLEAN"));
        check("", "", Some("1.1.1: behavior , close "));
    }

    #[test]
    fn a_missing_field_is_no_pass() {
        let results = parse(&json!({ "ws": { "1.1.1": { "behavior": "OK" } } }), "ws").unwrap();
        assert_eq!(*results[0].verdict(), Verdict::Other("missing".to_owned()));
    }

    #[test]
    fn every_selected_case_is_reported_once_and_no_other() {
        let wanted: Vec<CaseId> = vec!["1.1.1".parse().unwrap(), "1.1.2".parse().unwrap()];
        let unreachable = parse(&json!({}), "ws").unwrap();
        assert_eq!(failures(&unreachable, &wanted).len(), 2);
        let half = parse(&index("1.1.1", "OK", "OK"), "ws").unwrap();
        assert_eq!(failures(&half, &wanted), ["1.1.2: reported 0 times, not 1"]);
        let other = parse(&index("9.1.1", "OK", "OK"), "ws").unwrap();
        assert_eq!(failures(&other, &[]), ["9.1.1: reported 1 times, not 0"]);
        let twice = [half.clone(), half].concat();
        assert_eq!(failures(&twice, &wanted[..1]), ["1.1.1: reported 2 times, not 1"]);
    }

    #[test]
    fn cases_of_another_agent_are_left_out() {
        assert!(parse(&index("1.1.1", "OK", "OK"), "somebody else").unwrap().is_empty());
    }

    #[test]
    fn cases_are_sorted_by_number_not_by_letter() {
        let case = json!({ "behavior": "OK", "behaviorClose": "OK" });
        let index = json!({ "ws": { "10.1.1": case, "2.10": case, "2.9": case } });
        let ids: Vec<_> =
            parse(&index, "ws").unwrap().iter().map(|case| case.id.to_string()).collect();
        assert_eq!(ids, ["2.9", "2.10", "10.1.1"]);
    }

    #[test]
    fn compression_is_agreed_when_it_is_in_both_heads() {
        let with = "GET / HTTP/1.1\r\nSec-WebSocket-Extensions: permessage-deflate; x\r\n\r\n";
        let lower = "HTTP/1.1 101 OK\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n";
        let without = "HTTP/1.1 101 OK\r\nX-Note: permessage-deflate\r\n\r\n";
        let check = |request: &str, response: &str| {
            deflate(&json!({ "httpRequest": request, "httpResponse": response }))
        };
        assert_eq!(check(with, lower), Deflate::Agreed);
        assert_eq!(check(with, without), Deflate::Declined);
        assert_eq!(check(without, without), Deflate::NotOffered);
        assert_eq!(deflate(&json!({})), Deflate::NotOffered);
    }

    #[test]
    fn a_compressed_case_without_compression_is_no_pass() {
        let mut case = parse(&index("12.1.1", "OK", "OK"), "ws").unwrap().remove(0);
        case.deflate = Some(Deflate::Agreed);
        assert_eq!(case.failure(), None);
        case.deflate = Some(Deflate::Declined);
        assert!(case.failure().unwrap().ends_with("compression was declined"));
    }
}
