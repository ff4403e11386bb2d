//! How is JSON indented and coloured?

use crate::print::{Color, Style, escape_control};

/// Shorter JSON stays in one line.
const WIDTH: usize = 72;

/// Indents an object or an array. Names, numbers and strings are not changed. Returns `None` for
/// other text.
pub(super) fn pretty(text: &str, style: Style) -> Option<String> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) || serde_json::from_str::<serde_json::Value>(text).is_err() {
        return None;
    }
    let has_lines = text.len() > WIDTH;
    let (opens, closes) = (|token| matches!(token, "{" | "["), |token| matches!(token, "}" | "]"));
    let mut out = String::with_capacity(2 * text.len());
    let mut depth = 0;
    let mut tokens = Tokens(text).peekable();
    while let Some(token) = tokens.next() {
        let next = tokens.peek().copied().unwrap_or_default();
        let shown = escape_control(token);
        out.push_str(&match token {
            _ if next == ":" => style.paint(Color::Blue, shown),
            _ if token.starts_with('"') => style.paint(Color::Green, shown),
            _ => shown,
        });
        depth += usize::from(opens(token));
        depth -= usize::from(closes(next));
        let ends_line = token == "," || (opens(token) != closes(next));
        if has_lines && ends_line {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        } else if matches!(token, "," | ":") {
            out.push(' ');
        }
    }
    Some(out)
}

/// The tokens of valid JSON.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let length = match text.chars().next()? {
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => scalar(text),
        };
        let (token, rest) = text.split_at_checked(length)?;
        self.0 = rest;
        Some(token)
    }
}

/// The length of the string, number or name at the start of `text`.
fn scalar(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    values.next();
    values.byte_offset()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(pretty(text, Style::plain()).as_deref(), Some(expected), "{text}");
    }

    #[test]
    fn short_json_stays_in_one_line() {
        check(" {}", "{}");
        check(r#"{"b":[1,2.50, -1e9],"a" : null}"#, r#"{"b": [1, 2.50, -1e9], "a": null}"#);
        check(r#"[ { } , [ ] ]"#, "[{}, []]");
    }

    #[test]
    fn long_json_is_indented_without_changes() {
        let long = "x".repeat(WIDTH);
        check(
            &format!(r#"{{"z":"{long}\"{{","a":[12345678901234567890,{{}}]}}"#),
            &format!(
                "{{\n  \"z\": \"{long}\\\"{{\",\n  \"a\": [\n    12345678901234567890,\n    {{}}\n  ]\n}}"
            ),
        );
    }

    #[test]
    fn other_text_is_not_changed() {
        for text in ["", "hello", "12", "\"a\"", "{", "{a:1}", "[1,]", "{} {}"] {
            assert_eq!(pretty(text, Style::plain()), None, "{text}");
        }
    }
}
