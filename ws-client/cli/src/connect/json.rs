//! How is JSON indented and coloured?

use crate::print::{Style, escape_control};

/// Shorter JSON stays in one line.
const WIDTH: usize = 72;

/// Indents an object or an array. Names, numbers and strings are not changed. Returns `None` for
/// other text.
pub(super) fn pretty(text: &str, style: Style) -> Option<String> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) || serde_json::from_str::<serde_json::Value>(text).is_err() {
        return None;
    }
    let indent = text.len() > WIDTH;
    let mut out = String::with_capacity(2 * text.len());
    let mut depth = 0;
    let mut tokens = Tokens(text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                let closes = tokens.peek().is_some_and(|next| matches!(*next, "}" | "]"));
                depth += 1;
                if !closes {
                    new_line(&mut out, indent, depth);
                }
            }
            "}" | "]" => {
                depth -= 1;
                if !out.ends_with(['{', '[']) {
                    new_line(&mut out, indent, depth);
                }
                out.push_str(token);
            }
            "," => {
                out.push(',');
                if indent { new_line(&mut out, true, depth) } else { out.push(' ') }
            }
            ":" => out.push_str(": "),
            _ => {
                let is_name = tokens.peek().is_some_and(|next| *next == ":");
                let token = escape_control(token);
                out.push_str(&match () {
                    () if is_name => style.name(token),
                    () if token.starts_with('"') => style.value(token),
                    () => token,
                });
            }
        }
    }
    Some(out)
}

fn new_line(out: &mut String, indent: bool, depth: usize) {
    if indent {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

/// The tokens of valid JSON.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let length = match text.chars().next()? {
            '"' => string(text),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => text.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

/// The length of the string literal at the start of `text`.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
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
