//! How are the results of a scenario shown as a table on the terminal?

use load::scenario::{Deflate, Shape};

use crate::implementations::Kind;
use crate::results::{Result, Row, Summary};

/// The table of one scenario.
pub(crate) fn render(result: &Result) -> String {
    let mut lines = vec![header(result)];
    lines.extend(result.rows.iter().map(|row| line(result, row)));
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = format!("\n{}: {}\n", result.scenario.name, result.scenario.title);
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
        });
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

fn header(result: &Result) -> Vec<String> {
    let reference = match result.scenario.name {
        "writers" => "÷ one writer".to_owned(),
        "http2-stalled" => "÷ own without".to_owned(),
        name if name.starts_with("workers-") => "÷ own one thread".to_owned(),
        _ => result.reference.as_ref().map_or_else(String::new, |name| format!("÷ {name}")),
    };
    let mut cells = vec![result.unit.to_owned(), "median".to_owned(), "min–max".to_owned()];
    cells.extend([reference, "ours ÷ it".to_owned()]);
    match result.scenario.shape {
        Shape::Idle => cells.push("when opened".to_owned()),
        _ => cells.extend(["msgs/s", "p50 µs", "p99", "p99.9", "wire B"].map(str::to_owned)),
    }
    cells.push("samples".to_owned());
    cells
}

fn line(result: &Result, row: &Row) -> Vec<String> {
    let mark = match row.kind {
        Kind::Limit => "limit ",
        Kind::Ours => "  *   ",
        Kind::Peer => "      ",
        Kind::Batch => "batch ",
    };
    let mut cells = vec![format!("{mark}{}", row.name)];
    if let Some(failure) = &row.series.failure {
        cells.push(format!("failed: {failure}"));
        return cells;
    }
    let middle =
        |summary: &Option<Summary>| summary.map(|it| number(it.median)).unwrap_or_default();
    let range = row.cost.map(|cost| format!("{}–{}", number(cost.min), number(cost.max)));
    cells.extend([middle(&row.cost), range.unwrap_or_default()]);
    cells.extend([ratio(&row.to_reference), ratio(&row.ours_to_it)]);
    match result.scenario.shape {
        Shape::Idle => cells.push(middle(&row.memory_open)),
        _ => {
            cells.extend([&row.throughput, &row.p50, &row.p99, &row.p999].map(middle));
            // Without compression, it is the size in the title.
            let compressed = result.scenario.deflate != Deflate::Off;
            let wire_bytes = row.wire_bytes.filter(|_| compressed);
            cells.push(wire_bytes.map(number).unwrap_or_default());
        }
    }
    cells.push(match row.disturbed {
        0 => row.series.samples.len().to_string(),
        count => format!("{} ({count} disturbed)", row.series.samples.len()),
    });
    cells
}

/// A ratio with its 95 % confidence interval in square brackets, or its range in round ones.
fn ratio(summary: &Option<Summary>) -> String {
    summary.map_or_else(String::new, |it| match it.confident {
        true => format!("{:.2} [{:.2}–{:.2}]", it.median, it.low, it.high),
        false => format!("{:.2} ({:.2}–{:.2})", it.median, it.low, it.high),
    })
}

/// A number with three significant digits, or as an integer.
pub(crate) fn number(number: f64) -> String {
    match number.abs() {
        size if size < 1.0 => format!("{number:.3}"),
        size if size < 10.0 => format!("{number:.2}"),
        size if size < 100.0 => format!("{number:.1}"),
        size if size < 100_000.0 => format!("{number:.0}"),
        _ => format!("{:.0}k", number / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.3333, "0.333"),
            (5.678, "5.68"),
            (56.78, "56.8"),
            (12_345.6, "12346"),
            (2_980_400.0, "2980k"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
