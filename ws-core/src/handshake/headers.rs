//! How are HTTP tokens, lists and single headers parsed?

use std::mem;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::base64;

/// Parses a token (RFC 9110 §5.6.2).
pub(super) fn token(text: &[u8]) -> Option<&str> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if text.is_empty() || !text.iter().all(legal) {
        return None;
    }
    str::from_utf8(text).ok()
}

/// The elements of a list across all lines of a header, without empty ones
/// (RFC 9110 §5.6.1).
pub(super) fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| split(line.as_bytes(), b',')).filter(|element| !element.is_empty())
}

/// Splits a value at a separator outside of quoted strings, and trims the parts.
pub(super) fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escape) = (false, false);
    let parts = value.split(move |&byte| {
        let escaped = mem::take(&mut escape);
        match byte {
            _ if escaped => false,
            b'\\' if quoted => {
                escape = true;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            _ => byte == separator && !quoted,
        }
    });
    parts.map(<[u8]>::trim_ascii)
}

/// Whether a list contains a token. Case is ignored.
pub(super) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let is_token = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    let has = |line: &HeaderValue| {
        // Most lists have one element.
        is_token(line.as_bytes()) || split(line.as_bytes(), b',').any(is_token)
    };
    headers.get_all(name).iter().any(has)
}

/// The value of a header that must not be repeated.
///
/// # Errors
///
/// `repeated` when it is.
pub(super) fn at_most_once<E>(
    headers: &HeaderMap,
    name: HeaderName,
    repeated: E,
) -> Result<Option<&[u8]>, E> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next().map(HeaderValue::as_bytes);
    match lines.next() {
        Some(_) => Err(repeated),
        None => Ok(first),
    }
}

/// The `Authorization` header of Basic authentication (RFC 7617), marked as sensitive.
pub fn basic_authorization(user: &[u8], password: &[u8]) -> HeaderValue {
    let text = format!("Basic {}", base64::encode(&[user, b":", password].concat()));
    // Base64 is always valid in a header.
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// Sets a header to a value of tokens and base64, which is always valid.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn connection(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (CONNECTION, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn tokens_are_found_in_any_line_and_case() {
        let check = |lines: &[&'static str], found| {
            let headers = connection(lines);
            assert_eq!(has_token(&headers, CONNECTION, "upgrade"), found, "{lines:?}");
        };
        check(&["upgrade"], true);
        check(&["keep-alive, Upgrade"], true);
        check(&["keep-alive", "te,\tUPGRADE ,"], true);
        check(&["upgrades"], false);
        check(&["\"upgrade"], false);
        check(&["up grade", ""], false);
        check(&[], false);
    }

    #[test]
    fn quoted_separators_do_not_split() {
        let check = |value: &str, parts: &[&str]| {
            let split: Vec<_> = split(value.as_bytes(), b',').collect();
            assert_eq!(split, parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
        };
        check("", &[""]);
        check(" a ,b,, c", &["a", "b", "", "c"]);
        check(r#"a="1,2", b"#, &[r#"a="1,2""#, "b"]);
        check(r#"a="1\",2", b"#, &[r#"a="1\",2""#, "b"]);
        check(r#"a="1\\", b"#, &[r#"a="1\\""#, "b"]);
        check(r#"a="1, b"#, &[r#"a="1, b"#]);
        check(r"a\, b", &[r"a\", "b"]);
    }

    #[test]
    fn a_token_has_no_separators() {
        let check = |text: &str, legal: bool| {
            assert_eq!(token(text.as_bytes()), legal.then_some(text));
        };
        check("chat.v2", true);
        check("!#$%&'*+-.^_`|~", true);
        for illegal in ["", "a b", "a,b", "a;b", "a=b", "a/b", "\"a\"", "é", "a\\b", "a\t"] {
            check(illegal, false);
        }
    }
}
