//! Does each placeholder of a packet stand for one of its attachments?

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::packet::PacketError;

/// Checks JSON that a number of attachments belongs to. As the official parser, it accepts an
/// attachment without a placeholder, and several placeholders for one attachment.
///
/// # Errors
///
/// [`PacketError::AttachmentOrder`] if an attachment is missing, and [`PacketError::Payload`] if the
/// JSON is nested deeper than 127 values.
pub(crate) fn check_placeholders(json: &str, attachments: usize) -> Result<(), PacketError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match (Placeholders { attachments }).deserialize(&mut deserializer) {
        Ok(Seen::Missing) => Err(PacketError::AttachmentOrder),
        Ok(Seen::True | Seen::Number(_) | Seen::Other) => Ok(()),
        Err(error) => Err(PacketError::Payload(error.to_string())),
    }
}

/// Looks for placeholders in a value.
#[derive(Clone, Copy)]
struct Placeholders {
    attachments: usize,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    True,
    Number(u64),
    Other,
    /// It has a placeholder without its attachment.
    Missing,
}

impl<'de> DeserializeSeed<'de> for Placeholders {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Placeholders {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Number(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::Other;
        while let Some(element) = seq.next_element_seed(self)? {
            if element == Seen::Missing {
                seen = Seen::Missing;
            }
        }
        Ok(seen)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let (mut seen, mut is_placeholder, mut number) = (Seen::Other, false, None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value_seed(self)?;
            match (&*key, value) {
                (_, Seen::Missing) => seen = Seen::Missing,
                ("_placeholder", _) => is_placeholder = value == Seen::True,
                ("num", Seen::Number(value)) => number = usize::try_from(value).ok(),
                ("num", _) => number = None,
                _ => {}
            }
        }
        let exists = number.is_some_and(|number| number < self.attachments);
        Ok(if is_placeholder && !exists { Seen::Missing } else { seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
