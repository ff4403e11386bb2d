//! How is text printed: output, notes, errors, numbers, colours?

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::iter;
use std::time::Duration;

use serde_json::Value;
use ws_client::Escaped;
use ws_core::redact::Redacted;

/// Prints a line to standard output. Returns `false` if the output is closed.
pub(crate) fn out(line: fmt::Arguments<'_>) -> bool {
    write_all(&format!("{line}\n"))
}

/// Prints text to standard output, as it is. Returns `false` if the output is closed.
pub(crate) fn write_all(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Prints a JSON value as a line to standard output. Returns `false` if the output is closed.
///
/// Secrets are masked before, in each string: in the line, quotes are escaped, and a URL would not end
/// where it does in the string.
pub(crate) fn json(value: &Value) -> bool {
    out(format_args!("{}", escape_json(&value.to_string())))
}

/// Escapes in JSON what [`Escaped`] escapes in text. `serde_json` escapes nothing above U+001F.
fn escape_json(json: &str) -> String {
    // Such characters are in strings only.
    let is_escaped = |c: char| {
        let is_plain = c.is_ascii() && !c.is_control();
        !is_plain && Escaped::new(c.encode_utf8(&mut [0; 4])).to_string().starts_with('\\')
    };
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_escaped(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string takes everything.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Prints a line of this program to standard output, without secrets. Returns `false` if the output
/// is closed.
pub(crate) fn report(line: fmt::Arguments<'_>) -> bool {
    out(format_args!("{}", mask_secrets(&line.to_string())))
}

/// Prints a line to standard error, without secrets.
pub(crate) fn note(line: fmt::Arguments<'_>) {
    // Standard error may be closed.
    let text = mask_secrets(&line.to_string());
    let _ = writeln!(io::stderr().lock(), "{}", escape_control(&text));
}

/// Prints an error to standard error, without secrets.
pub(crate) fn error(error: &anyhow::Error) {
    let (style, text) = (Style::of(&io::stderr()), mask_secrets(&format!("{error:#}")));
    // Standard error may be closed.
    let _ = writeln!(
        io::stderr().lock(),
        "{} {}",
        style.paint(Color::Red, "error:"),
        escape_control(&text)
    );
}

/// Colours: on for a terminal, unless `NO_COLOR` is set (no-color.org).
#[derive(Clone, Copy)]
pub(crate) struct Style(bool);

impl Style {
    pub(crate) fn of(stream: &impl io::IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(stream.is_terminal() && !unwanted && !is_dumb())
    }

    pub(crate) const fn plain() -> Self {
        Self(false)
    }

    pub(crate) fn choose(self, plain: String, colored: String) -> String {
        if self.0 { colored } else { plain }
    }

    pub(crate) fn paint(self, color: Color, text: impl fmt::Display) -> String {
        if self.0 { format!("\x1b[{}m{text}\x1b[0m", color as u8) } else { text.to_string() }
    }
}

/// The codes of ECMA-48 §8.3.117.
#[derive(Clone, Copy)]
pub(crate) enum Color {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Blue = 34,
}

/// Are standard input and output a terminal?
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb()
}

/// Whether the terminal has no escape sequences, such as that of an editor.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
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

/// Escapes all that [`Escaped`] escapes, except line feeds and tabs. A peer must not control the
/// terminal, or imitate the output of this program.
pub(crate) fn escape_control(text: &str) -> String {
    let pieces = text.split_inclusive(['\n', '\t']).map(|piece| {
        let kept = piece.strip_suffix(['\n', '\t']).unwrap_or(piece);
        let end = piece.get(kept.len()..).unwrap_or_default();
        format!("{}{end}", Escaped::new(kept).uncut())
    });
    pieces.collect()
}

/// Stands for a secret.
pub(crate) const MASK: &str = "***";

/// Masks the secrets of all URLs in a text: the user and the password, and the values of the query.
/// A URL ends at a space, a quote or a control character, so one that may contain these is masked by
/// [`Redacted`] before it is put into a text.
pub(crate) fn mask_secrets(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | '`');
    let is_after = |c: char| is_end(c) || matches!(c, ':' | ',' | ';' | '.' | ')');
    let mut masked = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        let (url, after) = word.split_at(word.trim_end_matches(is_after).len());
        masked.push_str(&mask_url(url));
        masked.push_str(after);
    }
    masked
}

/// Masks the secrets of the arguments of this program in a text that repeats them as they are.
pub(crate) fn mask_arguments(text: &str) -> String {
    let arguments = std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok());
    mask_urls_of(arguments.collect(), text)
}

/// Masks the secrets of these arguments, and of the values in `--option=VALUE`.
fn mask_urls_of(mut arguments: Vec<String>, text: &str) -> String {
    let options = arguments.iter().filter(|argument| argument.starts_with('-'));
    let values = options.filter_map(|option| Some(option.split_once('=')?.1.to_owned()));
    arguments.extend(values.collect::<Vec<_>>());
    // The longest first: others may be a part of it.
    arguments.retain(|argument| !argument.is_empty());
    arguments.sort_by_key(|argument| std::cmp::Reverse(argument.len()));
    let mask = |text: String, argument: &String| text.replace(argument, &mask_url(argument));
    arguments.iter().fold(text.to_owned(), mask)
}

/// Masks the secrets of a URL, or of the `user:password@host` of one. Other text is unchanged.
fn mask_url(word: &str) -> String {
    let has_password = || word.split_once('@').is_some_and(|(user, _)| user.contains(':'));
    let is_url = word.contains("://") || has_password();
    if is_url { Redacted(word).to_string() } else { word.to_owned() }
}

/// Text of a peer for standard output: unchanged, unless that is a terminal.
pub(crate) fn peer_text(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { escape_control(text).into() } else { text.into() }
}

/// An error and its causes, in one line.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\x1b[2J\r\u{9b}b\n\tc\u{202e}";
        assert_eq!(escape_control(text), "a\\u{1b}[2J\\r\\u{9b}b\n\tc\\u{202e}");
        assert_eq!(escape_control("\n"), "\n");
    }

    #[test]
    fn json_is_the_same_value_without_characters_that_control_a_terminal() {
        for (text, expected) in [
            ("a \"b\" \\ ü 日本 👩", r#""a \"b\" \\ ü 日本 👩""#),
            ("\u{1b}[2J\n", r#""\u001b[2J\n""#),
            ("\u{7f}\u{9b}31m\u{2028}\u{202e}", r#""\u007f\u009b31m\u2028\u202e""#),
        ] {
            let json = escape_json(&Value::from(text).to_string());
            assert_eq!(json, expected);
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), text);
        }
    }

    #[test]
    fn secrets_of_arguments_that_are_a_part_of_others_are_masked() {
        let arguments = [
            "connect",
            "ws://a:p@h",
            r#"ws://a:p@h/?t={"x":"s3cret"}"#,
            r#"--proxy=http://u:p4ss@h/?q="s3cret""#,
            "--",
            "",
        ];
        let text = format!(
            "unexpected '{}' and '{}', tip: '{}'",
            arguments[2],
            arguments[1],
            &arguments[3]["--proxy=".len()..],
        );
        let masked = mask_urls_of(arguments.map(String::from).to_vec(), &text);
        for secret in ["s3cret", "p4ss", "a:p@"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(
            masked.starts_with("unexpected 'ws://") && masked.contains("tip: 'http://"),
            "{masked}"
        );
    }

    #[test]
    fn secrets_of_urls_are_masked() {
        for (text, masked) in [
            ("ws://ann:pw@host:1/a?b=c&d&e=#f: why", "ws://***@host:1/a?b=***&***&e=***#***: why"),
            ("'wss://ann@host' (a@b c?d=e)", "'wss://***@host' (a@b c?d=e)"),
            ("ann:p@w@host/?a=b, ann:pw@[::1]:1", "***@host/?a=***, ***@[::1]:1"),
            ("\x1b[1mhttp://host/a@b\x1b[0m", "\x1b[1mhttp://host/a@b\x1b[0m"),
            ("is it ws:// rather than wss://?", "is it ws:// rather than wss://?"),
            ("", ""),
        ] {
            assert_eq!(mask_secrets(text), masked);
        }
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
