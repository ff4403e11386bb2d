//! How does JSON become MessagePack?
//!
//! It is not deserialised: the JSON of a peer may have all that JavaScript reads, and a packet without
//! its data would end the sessions of those who get it.

use std::ops::Range;

use bytes::Bytes;
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint,
    write_str, write_uint,
};

use super::json::{JsonPart, JsonParts, unquote};
use super::placeholders::{Placeholder, find_placeholders};

/// Appends JSON, with attachments in place of their placeholders. It cannot fail: the output is memory.
///
/// The JSON may have all that JavaScript reads, at any depth: a number that is too large is infinite.
pub(crate) fn transcode(bytes: &mut Vec<u8>, json: &str, attachments: &[&Bytes]) -> Option<()> {
    let placeholders = match attachments {
        [] => Vec::new(),
        _ => find_placeholders(json).unwrap_or_default(),
    };
    // What has no attachment is an object like any other.
    let places = placeholders
        .into_iter()
        .filter_map(|Placeholder { place, number }| Some((place, *attachments.get(number?)?)));
    let places: Vec<_> = places.collect();
    let parts = PackedParts { parts: JsonParts::new(json), places: &places };
    let mut lengths = parts.lengths().into_iter();
    for part in parts {
        match part {
            Packed::Attachment(attachment) => write_bin(bytes, attachment).ok()?,
            Packed::Part(JsonPart::Array) => {
                write_array_len(bytes, lengths.next().unwrap_or_default()).ok()?;
            }
            Packed::Part(JsonPart::Object) => {
                write_map_len(bytes, lengths.next().unwrap_or_default()).ok()?;
            }
            Packed::Part(JsonPart::End) => {}
            Packed::Part(JsonPart::Key(text)) => write_str(bytes, &unquote(text)).ok()?,
            Packed::Part(JsonPart::Scalar(text)) => write_scalar(bytes, text)?,
        }
    }
    Some(())
}

/// Appends a value that is no array and no object.
fn write_scalar(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    let negative = || text.parse().ok().filter(|number: &i64| *number < 0);
    match text {
        "null" => write_nil(bytes).ok()?,
        "true" | "false" => write_bool(bytes, text == "true").ok()?,
        _ if text.starts_with('"') => write_str(bytes, &unquote(text)).ok()?,
        _ => match (text.parse::<u64>(), negative()) {
            (Ok(number), _) => _ = write_uint(bytes, number).ok()?,
            (Err(_), Some(number)) => _ = write_sint(bytes, number).ok()?,
            (Err(_), None) => write_f64(bytes, text.parse().unwrap_or_default()).ok()?,
        },
    }
    Some(())
}

/// The parts of a JSON text, with attachments.
#[derive(Clone)]
struct PackedParts<'a> {
    parts: JsonParts<'a>,
    /// The placeholders that come next.
    places: &'a [(Range<usize>, &'a Bytes)],
}

enum Packed<'a> {
    Part(JsonPart<'a>),
    Attachment(&'a Bytes),
}

impl PackedParts<'_> {
    /// The numbers of elements of all arrays and objects, which come before them in MessagePack.
    fn lengths(&self) -> Vec<u32> {
        let (mut lengths, mut open) = (Vec::<u32>::new(), Vec::<(usize, JsonPart<'_>)>::new());
        for part in self.clone() {
            let is_key = matches!(part, Packed::Part(JsonPart::Key(_)));
            let begins = match part {
                Packed::Part(JsonPart::End) => {
                    open.pop();
                    continue;
                }
                Packed::Part(JsonPart::Array) => Some(JsonPart::Array),
                Packed::Part(JsonPart::Object) => Some(JsonPart::Object),
                Packed::Part(_) | Packed::Attachment(_) => None,
            };
            // An array has values, and an object keys.
            if let Some((index, around)) = open.last()
                && is_key == (*around == JsonPart::Object)
                && let Some(length) = lengths.get_mut(*index)
            {
                *length = length.saturating_add(1);
            }
            if let Some(kind) = begins {
                open.push((lengths.len(), kind));
                lengths.push(0);
            }
        }
        lengths
    }
}

impl<'a> Iterator for PackedParts<'a> {
    type Item = Packed<'a>;

    fn next(&mut self) -> Option<Packed<'a>> {
        let (at, part) = self.parts.next()?;
        if let Some(((place, attachment), later)) = self.places.split_first()
            && place.start == at
        {
            self.places = later;
            self.parts.go_to(place.end);
            return Some(Packed::Attachment(attachment));
        }
        Some(Packed::Part(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a client with the other format could end the sessions of those with this one, if a
    /// handler passes its JSON on. Each row has JSON, and its bytes.
    #[test]
    fn any_json_of_a_peer_is_encoded() {
        let check = |json: &str, expected: &[u8]| {
            let mut bytes = Vec::new();
            transcode(&mut bytes, json, &[]).unwrap();
            assert_eq!(bytes, expected, "{json}");
        };
        check(" [ 1 , -2,[] , { } ] ", b"\x94\x01\xfe\x90\x80");
        check(
            r#"{"a" : {"b":[null,true,false]}, "b":""}"#,
            b"\x82\xa1a\x81\xa1b\x93\xc0\xc3\xc2\xa1b\xa0",
        );
        // The last field of a name counts.
        check(r#"{"a":1,"a":2}"#, b"\x82\xa1a\x01\xa1a\x02");
        check("1e999", b"\xcb\x7f\xf0\0\0\0\0\0\0");
        check("-1E+999", b"\xcb\xff\xf0\0\0\0\0\0\0");
        check("-0", b"\xcb\x80\0\0\0\0\0\0\0");
        check("18446744073709551616", b"\xcb\x43\xf0\0\0\0\0\0\0");
        check("-9223372036854775808", b"\xd3\x80\0\0\0\0\0\0\0");
        check(r#""\ud800""#, b"\xa3\xef\xbf\xbd");
        check(r#"{"\ud800":"\ud83d\ude00"}"#, b"\x81\xa3\xef\xbf\xbd\xa4\xf0\x9f\x98\x80");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, &[vec![0x91; 99_999], vec![0x90]].concat());
        check("", b"");
    }
}
