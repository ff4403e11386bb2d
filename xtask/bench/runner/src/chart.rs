//! How are the results of a scenario drawn as an SVG bar chart?

use crate::results::{Result, Row, Summary};
use crate::table::number;

/// An SVG chart of one scenario, for light and dark pages. The shortest bar is the best.
pub(crate) fn render(result: &Result) -> String {
    let rows = result.rows.iter();
    let mut rows: Vec<_> = rows.filter_map(|row| Some((row, row.cost?))).collect();
    rows.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    let height = TOP + rows.len() * STEP + BOTTOM;
    let most = rows.iter().map(|(_, cost)| cost.max).fold(0.0, f64::max);
    let scale = BARS as f64 / most.max(f64::MIN_POSITIVE);
    let title = escape(result.scenario.title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n<style>\n{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n\
         <text class=\"unit\" x=\"8\" y=\"37\">{}; whiskers from least to greatest; less is \
         better</text>\n",
        escape(result.unit)
    );
    for (place, (row, cost)) in rows.iter().enumerate() {
        svg.push_str(&bar(row, cost, TOP + place * STEP, scale));
    }
    svg.push_str("</svg>\n");
    svg
}

/// One row: its name, its bar, its whiskers and its figure.
fn bar(row: &Row, cost: &Summary, y: usize, scale: f64) -> String {
    let left = LABELS as f64;
    let (least, end, most) =
        (left + cost.min * scale, left + cost.median * scale, left + cost.max * scale);
    let (middle, low, high) = (y + BAR / 2, y + BAR / 2 - 4, y + BAR / 2 + 4);
    // The classes of the style are the names of the kinds.
    let class = format!("{:?}", row.kind).to_lowercase();
    format!(
        "<text class=\"name {class}\" x=\"{}\" y=\"{}\">{}</text>\n\
         <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
         <path class=\"whisker\" d=\"M{least:.1} {middle}H{most:.1}M{least:.1} {low}V{high}\
         M{most:.1} {low}V{high}\"/>\n\
         <text class=\"figure\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
        LABELS - 8,
        y + BAR - 4,
        escape(&row.name),
        end - left,
        most + 8.0,
        y + BAR - 4,
        number(cost.median),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const WIDTH: usize = 760;
const LABELS: usize = 210;
const BARS: usize = 470;
const TOP: usize = 52;
const STEP: usize = 24;
const BAR: usize = 16;
const BOTTOM: usize = 8;

const STYLE: &str = include_str!("chart.css");

#[cfg(test)]
mod tests {
    use load::report::Report;
    use load::scenario::Scenario;

    use super::*;
    use crate::implementations::{Entry, Implementation};
    use crate::results;
    use crate::rounds::{Sample, Series};

    #[test]
    fn the_best_is_on_top_and_the_longest_bar_fits() {
        let scenario = Scenario::find("echo-128").unwrap();
        let implementations = ["raw-tokio", "ours"].map(|name| Implementation::find(name).unwrap());
        let entries = Entry::all(&implementations, scenario);
        let series = [("raw-tokio", 9_000), ("ours", 5_000)].map(|(name, cpu_ns)| Series {
            name: name.to_owned(),
            samples: vec![Sample {
                round: 0,
                disturbed: false,
                report: Report { messages: 1, cpu_ns, ..Report::default() },
            }],
            repeated: 0,
            failure: None,
        });
        let svg = render(&results::of(scenario, &entries, series.into()));
        let place = |name: &str| svg.find(&format!(">{name}<")).unwrap();
        assert!(place("ours") < place("raw-tokio"), "{svg}");
        assert!(svg.contains("width=\"470.0\""), "{svg}");
    }
}
