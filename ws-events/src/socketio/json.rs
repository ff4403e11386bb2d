//! Which parts does a JSON text have, and where?
//!
//! What is passed on or rewritten is not deserialised: a value of this program has not all that the text
//! of a peer may have, such as numbers beyond 64 bits, or half of a pair of surrogates.

use std::borrow::Cow;

/// A part of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonPart<'a> {
    /// The `[` of an array.
    Array,
    /// The `{` of an object.
    Object,
    /// The `]` or the `}`.
    End,
    /// The key of a field, with its quotes.
    Key(&'a str),
    /// Any other value, as it is in the text.
    Scalar(&'a str),
}

/// The parts of a valid JSON text, with their places. Those of an invalid text have no meaning.
#[derive(Clone, Debug)]
pub(crate) struct JsonParts<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> JsonParts<'a> {
    pub(crate) const fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Continues at this place of the text.
    #[cfg(feature = "msgpack")]
    pub(super) const fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The bytes from here on.
    fn rest(&self) -> &'a [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_while(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest.iter().position(|byte| !is_skipped(*byte)).unwrap_or(rest.len());
    }

    /// Goes behind the string that begins here.
    fn skip_string(&mut self) {
        let mut is_escaped = true;
        for byte in self.rest() {
            self.at += 1;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => return,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for JsonParts<'a> {
    type Item = (usize, JsonPart<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let is_space = |byte: u8| byte.is_ascii_whitespace();
        self.skip_while(|byte| is_space(byte) || matches!(byte, b',' | b':'));
        let start = self.at;
        let single = match self.rest().first()? {
            b'[' => Some(JsonPart::Array),
            b'{' => Some(JsonPart::Object),
            b']' | b'}' => Some(JsonPart::End),
            _ => None,
        };
        if let Some(part) = single {
            self.at += 1;
            return Some((start, part));
        }
        let is_string = self.rest().starts_with(b"\"");
        match is_string {
            true => self.skip_string(),
            false => self.skip_while(|byte| !is_space(byte) && !b",:[]{}\"".contains(&byte)),
        }
        let text = self.json.get(start..self.at).unwrap_or_default();
        self.skip_while(is_space);
        let is_key = is_string && self.rest().starts_with(b":");
        Some((start, if is_key { JsonPart::Key(text) } else { JsonPart::Scalar(text) }))
    }
}

/// The text of a JSON string, which has its quotes. Half of a pair of surrogates becomes U+FFFD.
pub(super) fn unquote(string: &str) -> Cow<'_, str> {
    let text = string.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let escaped = if char == '\\' { chars.next() } else { None };
        let char = match escaped {
            None => char,
            Some('u') => {
                let digits = chars.by_ref().take(4).filter_map(|digit| digit.to_digit(16));
                let unit = digits.fold(0, |unit, digit| unit << 4 | digit);
                units.push(u16::try_from(unit).unwrap_or_default());
                continue;
            }
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(other) => other,
        };
        units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
    }
    Cow::Owned(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_has_its_parts_at_their_places() {
        use JsonPart::{Array, End, Key, Object, Scalar};
        let check = |json: &str, expected: &[(usize, JsonPart<'_>)]| {
            assert_eq!(JsonParts::new(json).collect::<Vec<_>>(), expected, "{json}");
        };
        check("", &[]);
        check(" -1.5e3\n", &[(1, Scalar("-1.5e3"))]);
        check("[]", &[(0, Array), (1, End)]);
        check(
            r#"{"a" : "\\\":", "\"":[true ,null]}"#,
            &[
                (0, Object),
                (1, Key(r#""a""#)),
                (7, Scalar(r#""\\\":""#)),
                (16, Key(r#""\"""#)),
                (21, Array),
                (22, Scalar("true")),
                (28, Scalar("null")),
                (32, End),
                (33, End),
            ],
        );
    }

    #[test]
    fn a_string_loses_its_quotes_and_escapes() {
        for (string, text) in [
            (r#""""#, ""),
            (r#""aü""#, "aü"),
            (r#""\"\\\/\b\f\n\r\t\u00fc""#, "\"\\/\u{8}\u{c}\n\r\tü"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ude00b""#, "\u{fffd}b"),
        ] {
            assert_eq!(unquote(string), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_has_parts(text in "[\\[\\]{}\":,\\\\ua0 é]{0,30}") {
            for (_, part) in JsonParts::new(&text) {
                if let JsonPart::Key(text) | JsonPart::Scalar(text) = part {
                    let _ = unquote(text);
                }
            }
        }

        #[test]
        fn any_string_is_read_back(text in "\\PC{0,20}[\\\\\"\n\u{1}]{0,5}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unquote(&json), text);
        }
    }
}
