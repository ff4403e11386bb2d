//! How does JSON with placeholders become JSON with base64 in their places?
//!
//! An attachment of Socket.IO has a placeholder in the JSON of its event, an object. A handler that
//! takes JSON without a place for bytes gets base64: a placeholder means nothing outside its packet,
//! and would reach other clients as data.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The field that makes an object a placeholder, if it is `true`.
pub(super) const PLACEHOLDER: &str = "_placeholder";

/// The attachments of an event.
pub(super) struct Attachments<'a> {
    pub(super) list: &'a [Bytes],
    /// How many bytes placeholders may still take: several of them may stand for one attachment,
    /// and must not multiply what the peer has sent.
    left: Cell<usize>,
    /// Whether a value that asks for bytes has got none: its place has no valid placeholder.
    pub(super) is_misused: Cell<bool>,
}

impl<'a> Attachments<'a> {
    pub(super) fn new(list: &'a [Bytes]) -> Self {
        let left = Cell::new(list.iter().map(Bytes::len).sum());
        Self { list, left, is_misused: Cell::new(false) }
    }

    /// The bytes for a placeholder.
    pub(super) fn take(&self, number: usize) -> Result<&'a Bytes, &'static str> {
        let bytes = self.list.get(number).ok_or("neither bytes nor an attachment that exists")?;
        let left = self.left.get().checked_sub(bytes.len());
        self.left.set(left.ok_or("an attachment is used more than once")?);
        Ok(bytes)
    }
}

/// JSON with base64 in place of the placeholders.
///
/// # Errors
///
/// If it is no JSON, or is nested deeper than 127 values, or has several placeholders for one
/// attachment.
pub(super) fn inline_base64(
    json: &[u8],
    attachments: &[Bytes],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut output = Vec::with_capacity(json.len());
    let attachments = &Attachments::new(attachments);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let inline = Inline { output: &mut output, attachments, separator: None };
    inline.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(output)
}

/// Writes a value.
struct Inline<'a> {
    output: &'a mut Vec<u8>,
    attachments: &'a Attachments<'a>,
    /// Comes before the value.
    separator: Option<u8>,
}

/// What a value is, as a field of a placeholder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    True,
    Number(u64),
    Other,
}

impl Inline<'_> {
    fn put<E: Error>(self, value: &(impl Serialize + ?Sized)) -> Result<FieldKind, E> {
        serde_json::to_writer(self.output, value).map_err(E::custom)?;
        Ok(FieldKind::Other)
    }
}

impl<'de> DeserializeSeed<'de> for Inline<'_> {
    type Value = FieldKind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldKind, D::Error> {
        self.output.extend(self.separator);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inline<'_> {
    type Value = FieldKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<FieldKind, E> {
        let other = self.put(&value)?;
        Ok(if value { FieldKind::True } else { other })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<FieldKind, E> {
        self.put(&value)?;
        Ok(FieldKind::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<FieldKind, E> {
        self.put(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<FieldKind, E> {
        self.put(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<FieldKind, E> {
        self.put(value)
    }

    fn visit_unit<E: Error>(self) -> Result<FieldKind, E> {
        self.put(&())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldKind, A::Error> {
        let Self { output, attachments, .. } = self;
        output.push(b'[');
        let mut separator = None;
        while seq.next_element_seed(Inline { output, attachments, separator })?.is_some() {
            separator = Some(b',');
        }
        output.push(b']');
        Ok(FieldKind::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldKind, A::Error> {
        let Self { output, attachments, .. } = self;
        let start = output.len();
        let (mut is_placeholder, mut number) = (false, None);
        output.push(b'{');
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if output.last() != Some(&b'{') {
                output.push(b',');
            }
            serde_json::to_writer(&mut *output, &key).map_err(A::Error::custom)?;
            let separator = Some(b':');
            let value = map.next_value_seed(Inline { output, attachments, separator })?;
            match (&*key, value) {
                (PLACEHOLDER, _) => is_placeholder = value == FieldKind::True,
                ("num", FieldKind::Number(value)) => number = usize::try_from(value).ok(),
                ("num", _) => number = None,
                _ => {}
            }
        }
        if !is_placeholder {
            output.push(b'}');
            return Ok(FieldKind::Other);
        }
        // No attachment has the largest number.
        let bytes = attachments.take(number.unwrap_or(usize::MAX)).map_err(A::Error::custom)?;
        output.truncate(start);
        output.push(b'"');
        output.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        output.push(b'"');
        Ok(FieldKind::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<&str, &str>) {
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        let inlined = inline_base64(json.as_bytes(), &attachments);
        let text = inlined.map(|json| String::from_utf8(json).unwrap());
        match (text, expected) {
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
            r#"{"a":{"b":[{}]},"_placeholder":false,"num":0}"#,
            r#"{"_placeholder":1,"num":0}"#,
            r#"{"num":0}"#,
        ] {
            check(same, Ok(same));
        }
        check(r#"{"_placeholder":true,"num":0}"#, Ok(r#""emVybw==""#));
        check(r#"[ {"num":1, "x":[{}], "_placeholder":true} ,1]"#, Ok(r#"["b25l",1]"#));
        check(r#"{"a":{"\u005fplaceholder":true,"num":0},"b":1}"#, Ok(r#"{"a":"emVybw==","b":1}"#));
        let zero = r#"{"_placeholder":true,"num":0}"#;
        check(&format!("[{zero},{zero},{zero}]"), Err("more than once"));
        check(r#"{"_placeholder":true,"num":2}"#, Err("exists"));
        check(r#"{"_placeholder":true}"#, Err("exists"));
        check(&"[".repeat(200), Err("recursion"));
        check("1 2", Err("trailing"));
    }
}
