//! How are measured lines drawn as an SVG?

use std::fmt::Write as _;

/// A line of the plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Line {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), values: Vec::new() }
    }
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 30.0;

/// The lines over `times`, in minutes.
pub(crate) fn svg(title: &str, times: &[f64], lines: &[Line]) -> String {
    let most = lines.iter().flat_map(|it| &it.values).fold(1.0, |a: f64, b| a.max(*b));
    let end = times.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let x = |time: f64| LEFT + time / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"gray\">\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{title}, over {end:.1} minutes</text>\n"
    );
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"gray\" stroke-opacity=\"0.3\"/>\
             <text x=\"8\" y=\"{:.1}\">{value:.0}</text>",
            WIDTH - RIGHT,
            y(value) + 4.0,
            at = y(value),
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let hue = index * 360 / lines.len().max(1);
        let points = times.iter().zip(&line.values);
        let points: Vec<_> =
            points.map(|(time, value)| format!("{:.1},{:.1}", x(*time), y(*value))).collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"hsl({hue},60%,50%)\" points=\"{}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"hsl({hue},60%,50%)\">{}</text>",
            points.join(" "),
            WIDTH - RIGHT + 8.0,
            TOP + 16.0 * index as f64,
            line.name,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_is_at_the_top_and_the_last_at_the_right() {
        let line = Line { name: "it".to_owned(), values: vec![1.0, 4.0] };
        let svg = svg("memory", &[0.0, 2.0], &[line]);
        let last = format!("{:.1},{TOP:.1}\"", WIDTH - RIGHT);
        assert!(svg.contains(&last), "{svg}");
    }
}
