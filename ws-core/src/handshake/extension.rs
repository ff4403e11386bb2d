//! How is a `Sec-WebSocket-Extensions` header parsed?

use std::borrow::Cow;

use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

use super::headers;

/// An element with more parameters is malformed. No extension has nearly as many.
const MAX_PARAMS: usize = 16;

/// One element of the list (RFC 6455 §9.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    /// Names and values in order. Values are tokens, quoted or not.
    pub(super) params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// The extensions in all lines of the header, in order. `None` for a malformed one.
pub(super) fn parse(headers: &HeaderMap) -> impl Iterator<Item = Option<Extension<'_>>> {
    headers::elements(headers, SEC_WEBSOCKET_EXTENSIONS).map(Extension::parse)
}

impl<'a> Extension<'a> {
    fn parse(element: &'a [u8]) -> Option<Self> {
        let mut parts = headers::split(element, b';');
        let name = headers::token(parts.next()?)?;
        // One more than allowed shows that there are too many.
        let params: Vec<_> = parts.take(MAX_PARAMS + 1).map(param).collect::<Option<_>>()?;
        (params.len() <= MAX_PARAMS).then_some(Self { name, params })
    }
}

fn param(part: &[u8]) -> Option<(&str, Option<Cow<'_, str>>)> {
    let mut sides = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
    let name = headers::token(sides.next()?)?;
    match sides.next() {
        None => Some((name, None)),
        Some(text) => Some((name, Some(value(text)?))),
    }
}

/// A token, or a quoted string that is a token without its quotes and backslashes.
fn value(text: &[u8]) -> Option<Cow<'_, str>> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return headers::token(text).map(Cow::Borrowed);
    };
    let mut bytes = quoted.strip_suffix(b"\"")?.iter().copied();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next()? } else { byte });
    }
    headers::token(&plain).map(|token| Cow::Owned(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The name and parameters of an element. `None` for a malformed one.
    type Row<'a> = Option<(&'a str, &'a [(&'a str, Option<&'a str>)])>;

    fn check(lines: &[&'static str], expected: &[Row<'_>]) {
        let values = lines.iter().map(|line| HeaderValue::from_static(line));
        let headers = values.map(|value| (SEC_WEBSOCKET_EXTENSIONS, value)).collect();
        let expected = expected.iter().map(|row| {
            row.map(|(name, params)| Extension {
                name,
                params: params.iter().map(|(name, value)| (*name, value.map(Into::into))).collect(),
            })
        });
        assert_eq!(parse(&headers).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{lines:?}");
    }

    #[test]
    fn lists_are_parsed_across_lines() {
        check(&[], &[]);
        check(&["", " , "], &[]);
        check(&["foo"], &[Some(("foo", &[]))]);
        // The examples of RFC 6455 §9.1.
        check(&["deflate-stream"], &[Some(("deflate-stream", &[]))]);
        check(
            &["mux; max-channels=4; flow-control, deflate-stream", "private-extension"],
            &[
                Some(("mux", &[("max-channels", Some("4")), ("flow-control", None)])),
                Some(("deflate-stream", &[])),
                Some(("private-extension", &[])),
            ],
        );
        check(&["a ;\tb = 1 ;c"], &[Some(("a", &[("b", Some("1")), ("c", None)]))]);
    }

    #[test]
    fn quoted_values_are_tokens_in_quotes() {
        check(&[r#"a; b="10""#], &[Some(("a", &[("b", Some("10"))]))]);
        check(&[r#"a; b="1\0""#], &[Some(("a", &[("b", Some("10"))]))]);
        for malformed in [
            r#"a; b="""#,
            r#"a; b=""#,
            r#"a; b="1"#,
            r#"a; b="1\""#,
            r#"a; b="1"2"#,
            r#"a; b="1"2""#,
            r#"a; b="1 2""#,
            r#"a; b="1,2""#,
            r#"a; b="1;2""#,
            r#"a; "b"="1""#,
            r#""a""#,
        ] {
            check(&[malformed], &[None]);
        }
    }

    #[test]
    fn a_malformed_element_does_not_affect_others() {
        for malformed in ["a b", "a;", "a; ;b", "; a", "a; b=", "a; =1", "a; b=1=2", "a/b"] {
            check(&["first", malformed], &[Some(("first", &[])), None]);
        }
        check(&["a b, c"], &[None, Some(("c", &[]))]);
    }

    #[test]
    fn parameters_are_bounded() {
        check(&["a;b;b;b;b;b;b;b;b;b;b;b;b;b;b;b;b"], &[Some(("a", &[("b", None); 16]))]);
        check(&["a;b;b;b;b;b;b;b;b;b;b;b;b;b;b;b;b;b"], &[None]);
    }
}
