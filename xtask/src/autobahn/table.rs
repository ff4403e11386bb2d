//! How are the results of Autobahn shown on a terminal and in a browser?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;
use std::time::Duration;

use super::results::{CaseResult, Deflate, WORDS};

/// A table with a line per section and a total.
pub(crate) fn text(results: &[CaseResult]) -> String {
    let verdicts = WORDS.map(|(word, _)| word);
    let headings = [&["section", "cases"], &verdicts[..], &["other", "deflate", "wall time"]];
    let headings = headings.concat().into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = iter::once(headings).chain(rows(results)).collect();
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or_default();
            format!("{cell:>width$}")
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A page with the same table, the failures, and a link to the suite's report of each case.
pub(crate) fn html(title: &str, results: &[CaseResult], failures: &[String]) -> String {
    let mut cases = String::new();
    for case in results {
        let id = &case.id;
        let class = if case.failure().is_none() { "good" } else { "bad" };
        let page = escape(&case.report.replace(".json", ".html"));
        let verdict = escape(&format!("{} / {}", case.behavior, case.close));
        let _ = writeln!(
            cases,
            "<tr class={class}><td><a href=\"{page}\">{id}</a><td>{verdict}<td>{}",
            seconds(case.duration)
        );
    }
    let failures = match failures {
        [] => "No failures.".to_owned(),
        some => escape(&some.join("\n")),
    };
    format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title>\n\
         <style>body{{font-family:sans-serif}} td{{padding:0 1em}} .bad{{background:#fbb}}</style>\n\
         <h1>{title}</h1>\n<pre>{}</pre>\n<pre>{failures}</pre>\n\
         <table>\n<tr><th>case<th>behavior / close<th>time\n{cases}</table>\n",
        escape(&text(results)),
        title = escape(title),
    )
}

fn rows(results: &[CaseResult]) -> Vec<Vec<String>> {
    let mut sections: BTreeMap<u32, Vec<&CaseResult>> = BTreeMap::new();
    for case in results {
        sections.entry(case.id.section()).or_default().push(case);
    }
    let total = results.iter().collect();
    sections
        .iter()
        .map(|(section, cases)| row(&section.to_string(), cases))
        .chain([row("total", &total)])
        .collect()
}

fn row(name: &str, cases: &Vec<&CaseResult>) -> Vec<String> {
    let mut counts = [0_usize; WORDS.len() + 1];
    for case in cases {
        let place = WORDS.iter().position(|(_, verdict)| verdict == case.verdict());
        if let Some(count) = counts.get_mut(place.unwrap_or(WORDS.len())) {
            *count += 1;
        }
    }
    let compressed = cases.iter().filter(|case| case.deflate.is_some()).count();
    let agreed = cases.iter().filter(|case| case.deflate == Some(Deflate::Agreed)).count();
    let deflate = if compressed == 0 { "-".to_owned() } else { format!("{agreed}/{compressed}") };
    let time = seconds(cases.iter().map(|case| case.duration).sum());
    let counts = counts.map(|count| count.to_string());
    [&[name.to_owned(), cases.len().to_string()], &counts[..], &[deflate, time]].concat()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::results::Verdict;
    use super::*;

    fn case(id: &str, behavior: Verdict, close: Verdict, deflate: Option<Deflate>) -> CaseResult {
        CaseResult {
            id: id.parse().unwrap(),
            behavior,
            close,
            deflate,
            duration: Duration::from_millis(1250),
            report: format!("ws_case_{}.json", id.replace('.', "_")),
        }
    }

    fn results() -> [CaseResult; 5] {
        let unclean = Verdict::Other("UNCLEAN".to_owned());
        [
            case("1.1.1", Verdict::Ok, Verdict::Ok, None),
            case("1.1.2", Verdict::NonStrict, Verdict::Ok, None),
            case("7.13.1", Verdict::Ok, Verdict::Informational, None),
            case("12.1.1", Verdict::Ok, Verdict::Failed, Some(Deflate::Agreed)),
            case("12.1.2", Verdict::Ok, unclean, Some(Deflate::Declined)),
        ]
    }

    #[test]
    fn each_case_counts_once_with_the_worse_of_its_verdicts() {
        let expected = "\
section  cases  OK  INFORMATIONAL  NON-STRICT  FAILED  UNIMPLEMENTED  other  deflate  wall time
      1      2   1              0           1       0              0      0        -      2.5 s
      7      1   0              1           0       0              0      0        -      1.2 s
     12      2   0              0           0       1              0      1      1/2      2.5 s
  total      5   1              1           1       1              0      1      1/2      6.2 s
";
        assert_eq!(text(&results()), expected);
    }

    #[test]
    fn no_cases_make_a_total_of_zeros() {
        assert!(text(&[]).contains("total      0   0"));
    }

    #[test]
    fn the_page_links_to_each_case_and_escapes() {
        let page = html("a < b", &results(), &["x & y".to_owned()]);
        assert!(page.contains("<a href=\"ws_case_7_13_1.html\">7.13.1</a>"));
        assert!(page.contains("a &lt; b") && page.contains("x &amp; y"));
        assert_eq!(page.matches("class=bad").count(), 3);
    }
}
