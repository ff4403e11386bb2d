//! Where are the placeholders of a packet, and what is written in their places?
//!
//! An attachment of Socket.IO has a placeholder in the JSON of its packet, an object. What takes JSON
//! without a place for bytes gets base64: a placeholder means nothing outside its packet, and would
//! reach other clients as data. All other text stays as it is.

use std::cell::Cell;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny};

use super::json::{JsonPart, JsonParts, unquote};
use super::packet::PacketError;

/// The field that makes an object a placeholder, if it is `true`.
pub(crate) const PLACEHOLDER: &str = "_placeholder";

/// No value is nested deeper.
const MAX_DEPTH: usize = 127;

/// Checks JSON that a number of attachments belongs to. As the official parser, it accepts an
/// attachment without a placeholder, and several placeholders for one attachment.
///
/// # Errors
///
/// [`PacketError::AttachmentOrder`] if an attachment is missing, and [`PacketError::Payload`] if it is
/// no JSON, or is nested deeper than 127 values.
pub(crate) fn check_placeholders(json: &str, attachments: usize) -> Result<(), PacketError> {
    let found = find_placeholders(json).map_err(|error| PacketError::Payload(error.to_string()))?;
    let exists = |number: Option<usize>| number.is_some_and(|number| number < attachments);
    match found.iter().all(|placeholder| exists(placeholder.number)) {
        true => Ok(()),
        false => Err(PacketError::AttachmentOrder),
    }
}

/// JSON with base64 in place of the placeholders.
///
/// # Errors
///
/// If it is no JSON, or is nested deeper than 127 values, or has a placeholder without its attachment,
/// or several for one attachment.
pub(crate) fn inline_base64(
    json: &str,
    attachments: &[Bytes],
) -> Result<String, serde_json::Error> {
    let budget = AttachmentBudget::new(attachments);
    replace(json, attachments, |text, _, bytes| {
        budget.spend(bytes)?;
        text.push('"');
        STANDARD.encode_string(bytes, text);
        text.push('"');
        Ok(())
    })
}

/// JSON whose placeholders begin with `_placeholder`, and have no other fields than they need.
///
/// # Errors
///
/// If it is no JSON, or is nested deeper than 127 values, or has a placeholder without its attachment.
pub(crate) fn order_placeholders(
    json: &str,
    attachments: &[Bytes],
) -> Result<String, serde_json::Error> {
    replace(json, attachments, |text, number, _| {
        text.push_str(&format!(r#"{{"{PLACEHOLDER}":true,"num":{number}}}"#));
        Ok(())
    })
}

/// Calls `write` in the place of each placeholder, with its number and its attachment.
fn replace(
    json: &str,
    attachments: &[Bytes],
    mut write: impl FnMut(&mut String, usize, &Bytes) -> Result<(), &'static str>,
) -> Result<String, serde_json::Error> {
    let (mut text, mut done) = (String::with_capacity(json.len()), 0);
    for Placeholder { place, number } in find_placeholders(json)? {
        let found = number.and_then(|number| Some((number, attachments.get(number)?)));
        let Some((number, bytes)) = found else {
            return Err(serde_json::Error::custom("an attachment that does not exist"));
        };
        text.push_str(json.get(done..place.start).unwrap_or_default());
        write(&mut text, number, bytes).map_err(serde_json::Error::custom)?;
        done = place.end;
    }
    text.push_str(json.get(done..).unwrap_or_default());
    Ok(text)
}

/// How many bytes placeholders may still take: several of them may stand for one attachment, and must not
/// multiply what the peer has sent.
pub(crate) struct AttachmentBudget(Cell<usize>);

impl AttachmentBudget {
    pub(crate) fn new(attachments: &[Bytes]) -> Self {
        Self(Cell::new(attachments.iter().map(Bytes::len).sum()))
    }

    /// A placeholder takes an attachment.
    pub(crate) fn spend(&self, attachment: &Bytes) -> Result<(), &'static str> {
        let left = self.0.get().checked_sub(attachment.len());
        self.0.set(left.ok_or("an attachment is used more than once")?);
        Ok(())
    }
}

/// A placeholder in a JSON text.
#[derive(Debug)]
pub(super) struct Placeholder {
    /// From its `{` to its `}`.
    pub(super) place: Range<usize>,
    /// The number of its attachment, if it is one.
    pub(super) number: Option<usize>,
}

/// An array or an object whose end is not read yet.
#[derive(Default)]
struct Open {
    start: usize,
    field: Field,
    is_placeholder: bool,
    number: Option<usize>,
}

/// What a value is in an object.
#[derive(Clone, Copy, Default)]
enum Field {
    #[default]
    Other,
    IsPlaceholder,
    Number,
}

impl Open {
    /// A value: its text, if it is no array or object. The last field of a name counts.
    fn value(&mut self, text: &str) {
        match std::mem::take(&mut self.field) {
            Field::Other => {}
            Field::IsPlaceholder => self.is_placeholder = text == "true",
            Field::Number => self.number = text.parse().ok(),
        }
    }
}

/// The placeholders of a text, in their order. One within another is no placeholder.
///
/// # Errors
///
/// If it is no JSON, or is nested deeper than 127 values.
pub(super) fn find_placeholders(json: &str) -> Result<Vec<Placeholder>, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(json)?;
    let (mut found, mut open) = (Vec::<Placeholder>::new(), Vec::<Open>::new());
    for (at, part) in JsonParts::new(json) {
        match (part, open.last_mut()) {
            (JsonPart::Key(key), Some(object)) => {
                object.field = match &*unquote(key) {
                    PLACEHOLDER => Field::IsPlaceholder,
                    "num" => Field::Number,
                    _ => Field::Other,
                };
            }
            (JsonPart::Scalar(text), Some(object)) => object.value(text),
            (JsonPart::Array | JsonPart::Object, around) => {
                if let Some(object) = around {
                    object.value("");
                }
                if open.len() == MAX_DEPTH {
                    return Err(serde_json::Error::custom("recursion limit exceeded"));
                }
                open.push(Open { start: at, ..Open::default() });
            }
            (JsonPart::End, _) => {
                if let Some(Open { start, is_placeholder: true, number, .. }) = open.pop() {
                    let is_within = |inner: &mut Placeholder| inner.place.start > start;
                    while found.pop_if(is_within).is_some() {}
                    found.push(Placeholder { place: start..at + 1, number });
                }
            }
            (JsonPart::Key(_) | JsonPart::Scalar(_), None) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ATTACHMENTS: [Bytes; 2] = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];

    #[track_caller]
    fn check_inlined(json: &str, expected: Result<&str, &str>) {
        match (inline_base64(json, &ATTACHMENTS), expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
            (text, expected) => panic!("{json}: {text:?}, not {expected:?}"),
        }
    }

    #[test]
    fn each_placeholder_becomes_base64_and_nothing_else_changes() {
        for same in [
            "null",
            r#"[true,false,-1,18446744073709551615,1.5,"a\"ü\n",{}]"#,
            // Numbers that no type has, and texts that are not Unicode.
            r#" [ 123456789012345678901234567890, 0.1000, 1e999, -0, 1E+2, "\ud800", "\/" ] "#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":[{}]},"_placeholder":false,"num":0}"#,
            r#"{"_placeholder":1,"num":0}"#,
            r#"{"_placeholder":[true],"num":0}"#,
            r#"["_placeholder",true,"num",0]"#,
            r#"{"num":0}"#,
        ] {
            check_inlined(same, Ok(same));
            assert_eq!(order_placeholders(same, &ATTACHMENTS).unwrap(), same);
        }
        check_inlined(r#"{"_placeholder":true,"num":0}"#, Ok(r#""emVybw==""#));
        check_inlined(r#"[ {"num":1, "x":[{}], "_placeholder":true} ,1]"#, Ok(r#"[ "b25l" ,1]"#));
        check_inlined(
            r#"{"a":{"\u005fplaceholder" : true , "num":0},"b":1.50}"#,
            Ok(r#"{"a":"emVybw==","b":1.50}"#),
        );
        let zero = r#"{"_placeholder":true,"num":0}"#;
        let within = format!(r#"[{{"num":1,"x":{zero},"_placeholder":true}},{zero}]"#);
        check_inlined(&within, Ok(r#"["b25l","emVybw=="]"#));
        check_inlined(&format!("[{zero},{zero},{zero}]"), Err("more than once"));
        check_inlined(r#"{"_placeholder":true,"num":2}"#, Err("exist"));
        check_inlined(r#"{"_placeholder":true}"#, Err("exist"));
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check_inlined(&deep(127), Ok(&deep(127)));
        check_inlined(&deep(128), Err("recursion"));
        check_inlined("1 2", Err("trailing"));
        check_inlined("[", Err("EOF"));
    }

    #[test]
    fn placeholders_are_ordered_for_readers_that_look_at_the_first_field() {
        for json in [
            r#"[{"num":1,"_placeholder":true}, 1.50]"#,
            r#"[{"_placeholder":true,"num":1}, 1.50]"#,
            r#"[{ "x":{}, "num":0, "num":1, "\u005fplaceholder":true }, 1.50]"#,
        ] {
            let ordered = order_placeholders(json, &ATTACHMENTS).unwrap();
            assert_eq!(ordered, r#"[{"_placeholder":true,"num":1}, 1.50]"#);
        }
        assert!(order_placeholders(r#"{"num":2,"_placeholder":true}"#, &ATTACHMENTS).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_rewritten_or_an_error(text in "[\\[\\]{}\":,\\\\u0tr é]{0,30}") {
            let _ = inline_base64(&text, &ATTACHMENTS);
        }
    }

    #[test]
    fn a_placeholder_needs_its_attachment() {
        let check = |json: &str, expected: Result<(), PacketError>| {
            assert_eq!(check_placeholders(json, 2), expected, "{json}");
        };
        let missing = || Err(PacketError::AttachmentOrder);
        for json in [
            "null",
            r#"[1,-1,1.5,"a",true,{"a":[null]}]"#,
            r#"{"_placeholder":true,"num":0}"#,
            r#"[{"num":1,"_placeholder":true},{"_placeholder":true,"num":1}]"#,
            // No placeholders.
            r#"{"_placeholder":false,"num":7}"#,
            r#"{"_placeholder":1,"num":7}"#,
            r#"{"num":7}"#,
            r#"{"_placeholder":true,"_placeholder":null,"num":7}"#,
        ] {
            check(json, Ok(()));
        }
        for json in [
            r#"{"_placeholder":true,"num":2}"#,
            r#"{"_placeholder":true,"num":-1}"#,
            r#"{"_placeholder":true,"num":1e99}"#,
            r#"{"_placeholder":true,"num":"0"}"#,
            r#"{"_placeholder":true,"num":0,"num":null}"#,
            r#"{"_placeholder":true}"#,
            r#"{"\u005fplaceholder":true,"num":2}"#,
            r#"[0,{"a":[{"_placeholder":true,"num":2}]},0]"#,
            r#"{"_placeholder":{"_placeholder":true},"num":0}"#,
        ] {
            check(json, missing());
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(check_placeholders(&deep, 1), Err(PacketError::Payload(_))));
    }
}
