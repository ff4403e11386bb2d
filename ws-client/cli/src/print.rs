//! How is text printed: output, notes, errors, numbers, colours?

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// Prints a line to standard output. Returns `false` if the output is closed.
pub(crate) fn out(line: fmt::Arguments<'_>) -> bool {
    let mut out = io::stdout().lock();
    out.write_fmt(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok()
}

/// Prints a line to standard error.
pub(crate) fn note(line: fmt::Arguments<'_>) {
    // Standard error may be closed.
    let _ = writeln!(io::stderr().lock(), "{}", escape_control(&line.to_string()));
}

/// Prints an error to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let (style, text) = (Style::of(&io::stderr()), format!("{error:#}"));
    // Standard error may be closed.
    let _ = writeln!(io::stderr().lock(), "{} {}", style.bad("error:"), escape_control(&text));
}

/// Colours: on for a terminal, unless `NO_COLOR` is set (no-color.org).
#[derive(Clone, Copy)]
pub(crate) struct Style(bool);

impl Style {
    pub(crate) fn of(stream: &impl io::IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(stream.is_terminal() && !unwanted && !dumb)
    }

    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    pub(crate) fn dim(self, text: impl fmt::Display) -> String {
        self.paint("2", text)
    }

    pub(crate) fn good(self, text: impl fmt::Display) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: impl fmt::Display) -> String {
        self.paint("31", text)
    }

    pub(crate) fn name(self, text: impl fmt::Display) -> String {
        self.paint("34", text)
    }

    pub(crate) fn value(self, text: impl fmt::Display) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bold(self, text: impl fmt::Display) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: impl fmt::Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Are standard input and output a terminal?
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A duration with about four digits, in µs, ms or s.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_nanos() {
        0..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// Replaces control characters. A peer must not control the terminal, or imitate the output of
/// this program.
pub(crate) fn escape_control(text: &str) -> String {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().map(|c| if is_control(c) { '\u{fffd}' } else { c }).collect()
}

/// Text of a peer for standard output: unchanged, unless that is a terminal.
pub(crate) fn peer_text(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { escape_control(text).into() } else { text.into() }
}

/// An error and its causes, in one line.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(escape_control("a\x1b[2J\r\u{9b}b\n\tc"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\n\tc");
    }

    #[test]
    fn numbers_and_times_are_readable() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), expected);
        }
        for (micros, expected) in [(5, "5.0 µs"), (1500, "1.50 ms"), (2_500_000, "2.50 s")] {
            assert_eq!(time(Duration::from_micros(micros)), expected);
        }
    }
}
