//! How are values serialised to the data of an event, with bytes apart from the JSON?
//!
//! JSON has no bytes. A value that serialises as bytes, such as [`Bytes`], is kept apart, with its
//! place in the text. A protocol sends it as an attachment, or as base64 in the text.

use std::cell::RefCell;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::Error as _;
use serde_json::ser::Formatter;

use crate::events::shape::{ArgShape, ShapeSerializer};
use crate::socketio::{JsonPart, JsonParts, check_placeholders};

/// No value in the data of an event is nested deeper. With the array of the arguments, these are the 127
/// values that readers such as `serde_json` take.
const MAX_DEPTH: usize = 126;

/// Serialised data of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventData {
    /// JSON, without the values that are bytes.
    json: Vec<u8>,
    /// These values, each with its place in the JSON, in ascending order.
    bytes: Vec<(usize, Bytes)>,
    shape: ArgShape,
}

impl EventData {
    /// Serialises a value.
    pub(crate) fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let output = SplitOutput::default();
        let splitter = ByteSplitter { output: &output, depth: 0 };
        let mut inner = serde_json::Serializer::with_formatter(&output, splitter);
        let mut shape = ArgShape::One;
        value.serialize(ShapeSerializer { inner: &mut inner, shape: &mut shape })?;
        let data = Self { shape, ..output.0.into_inner() };
        match data.has_placeholder() {
            false => Ok(data),
            true => Err(serde_json::Error::custom(
                "an object with `_placeholder: true` beside bytes, whose place it would take",
            )),
        }
    }

    /// Whether clients of Socket.IO would take a part of the JSON for an attachment: such an object
    /// comes from a peer. Without bytes it is data like any other.
    fn has_placeholder(&self) -> bool {
        let may_have =
            |json| ["_placeholder", "\\u00"].iter().any(|part| str::contains(json, part));
        if self.bytes.is_empty() || !std::str::from_utf8(&self.json).is_ok_and(may_have) {
            return false;
        }
        let mut text = Vec::new();
        self.write_with(&mut text, |text, _, _| text.push(b'0'));
        std::str::from_utf8(&text).is_ok_and(|json| check_placeholders(json, 0).is_err())
    }

    /// Bytes as the only value.
    pub(crate) fn of_bytes(bytes: Bytes) -> Self {
        Self { bytes: vec![(0, bytes)], ..Self::default() }
    }

    /// The JSON without the bytes, the bytes with their places, and the shape.
    pub(crate) fn as_parts(&self) -> (&[u8], &[(usize, Bytes)], ArgShape) {
        (&self.json, &self.bytes, self.shape)
    }

    /// The data of these parts; `None` if they do not fit.
    pub(crate) fn of_parts(
        json: &[u8],
        bytes: Vec<(usize, Bytes)>,
        shape: ArgShape,
    ) -> Option<Self> {
        std::str::from_utf8(json).ok().filter(|json| !is_deeper(json, MAX_DEPTH))?;
        let is_sorted = bytes.is_sorted_by_key(|(place, _)| *place);
        let is_within = bytes.last().is_none_or(|(place, _)| *place <= json.len());
        let data = (is_sorted && is_within).then(|| Self { json: json.to_vec(), bytes, shape });
        data.filter(|data| !data.has_placeholder())
    }

    /// Whether the last argument is a string.
    pub(crate) fn ends_with_string(&self) -> bool {
        match self.shape {
            ArgShape::Nothing => false,
            ArgShape::One => self.json.ends_with(b"\""),
            ArgShape::Tuple => self.json.ends_with(b"\"]"),
        }
    }

    /// The length of the JSON without the bytes.
    pub(crate) const fn len(&self) -> usize {
        self.json.len()
    }

    /// Appends the JSON, with bytes as base64.
    pub(crate) fn write_base64(&self, text: &mut Vec<u8>) {
        self.write_with(text, |text, _, bytes| {
            text.push(b'"');
            text.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            text.push(b'"');
        });
    }

    /// The values that are bytes.
    pub(crate) fn attachments(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.bytes.iter().map(|(_, bytes)| bytes)
    }

    /// Appends the JSON array of the arguments, behind a name if there is one, with placeholders
    /// for the attachments.
    pub(crate) fn write_args(&self, text: &mut Vec<u8>, name: Option<&str>) {
        text.push(b'[');
        if let Some(name) = name {
            // It cannot fail.
            let _ = serde_json::to_writer(&mut *text, name);
        }
        let before = text.len();
        if name.is_some() {
            text.push(b',');
        }
        let place = |text: &mut Vec<u8>, number: usize, _: &Bytes| {
            let placeholder = format!(r#"{{"_placeholder":true,"num":{number}}}"#);
            text.extend_from_slice(placeholder.as_bytes());
        };
        match self.shape {
            ArgShape::Nothing => text.truncate(before),
            ArgShape::One => self.write_with(text, place),
            ArgShape::Tuple => {
                let start = text.len();
                self.write_with(text, place);
                // Without the brackets of the tuple, which has no element if it is `[]`.
                text.pop();
                if text.len() > start {
                    text.remove(start);
                }
                if text.len() == start {
                    text.truncate(before);
                }
            }
        }
        text.push(b']');
    }

    /// Appends the JSON, and calls `write` for each value that is bytes, with its number.
    fn write_with(&self, text: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, usize, &Bytes)) {
        let (mut rest, mut done) = (self.json.as_slice(), 0);
        for (number, (place, bytes)) in self.bytes.iter().enumerate() {
            let (before, after) = rest.split_at_checked(place - done).unwrap_or((rest, &[]));
            text.extend_from_slice(before);
            write(text, number, bytes);
            (rest, done) = (after, *place);
        }
        text.extend_from_slice(rest);
    }
}

/// Where a serialiser writes. Its formatter needs to know how much was written.
#[derive(Default)]
struct SplitOutput(RefCell<EventData>);

impl io::Write for &SplitOutput {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().json.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the values of a JSON text are nested deeper than this.
fn is_deeper(json: &str, limit: usize) -> bool {
    let opens = |byte: &u8| matches!(byte, b'[' | b'{');
    // Few texts have more.
    if json.bytes().filter(opens).count() <= limit {
        return false;
    }
    let mut depth = 0_usize;
    JsonParts::new(json).any(|(_, part)| {
        match part {
            JsonPart::Array | JsonPart::Object => depth += 1,
            JsonPart::End => depth = depth.saturating_sub(1),
            JsonPart::Key(_) | JsonPart::Scalar(_) => {}
        }
        depth > limit
    })
}

fn too_deep() -> io::Error {
    io::Error::other(format!("values are nested deeper than {MAX_DEPTH}"))
}

/// Writes compact JSON that is not nested too deep, and puts bytes aside.
struct ByteSplitter<'a> {
    output: &'a SplitOutput,
    depth: usize,
}

impl ByteSplitter<'_> {
    fn begin<W: ?Sized + io::Write>(&mut self, output: &mut W, bracket: &[u8]) -> io::Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        output.write_all(bracket)
    }

    fn end<W: ?Sized + io::Write>(&mut self, output: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        output.write_all(bracket)
    }
}

impl Formatter for ByteSplitter<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, output: &mut W) -> io::Result<()> {
        self.begin(output, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, output: &mut W) -> io::Result<()> {
        self.end(output, b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, output: &mut W) -> io::Result<()> {
        self.begin(output, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, output: &mut W) -> io::Result<()> {
        self.end(output, b"}")
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        output: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if is_deeper(fragment, MAX_DEPTH.saturating_sub(self.depth)) {
            return Err(too_deep());
        }
        output.write_all(fragment.as_bytes())
    }

    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        let mut output = self.output.0.borrow_mut();
        let place = output.json.len();
        output.bytes.push((place, Bytes::copy_from_slice(value)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[track_caller]
    fn check(value: &impl Serialize, base64: &str) {
        let mut text = Vec::new();
        EventData::new(value).unwrap().write_base64(&mut text);
        assert_eq!(std::str::from_utf8(&text), Ok(base64));
    }

    #[track_caller]
    fn check_args(value: &impl Serialize, name: Option<&str>, expected: &str, attachments: usize) {
        let data = EventData::new(value).unwrap();
        let mut text = Vec::new();
        data.write_args(&mut text, name);
        assert_eq!(std::str::from_utf8(&text), Ok(expected));
        assert_eq!(data.attachments().len(), attachments);
    }

    #[test]
    fn a_tuple_is_several_arguments_and_bytes_are_attachments() {
        check_args(&(), Some("a"), r#"["a"]"#, 0);
        check_args(&(), None, "[]", 0);
        check_args(&(1,), Some("a"), r#"["a",1]"#, 0);
        check_args(&[0_u8; 0], Some("a"), r#"["a"]"#, 0);
        check_args(&[0_u8; 0], None, "[]", 0);
        check_args(&(1, "x"), Some("ü\""), r#"["ü\"",1,"x"]"#, 0);
        check_args(&(1, "x"), None, r#"[1,"x"]"#, 0);
        check_args(&vec![1, 2], None, "[[1,2]]", 0);
        check_args(&None::<u8>, Some("a"), r#"["a",null]"#, 0);
        let (zero, one) = (Bytes::from_static(b"0"), Bytes::from_static(b"1"));
        let placeholder = |n| format!(r#"{{"_placeholder":true,"num":{n}}}"#);
        let (first, second) = (placeholder(0), placeholder(1));
        check_args(&zero, Some("a"), &format!(r#"["a",{first}]"#), 1);
        check_args(&(zero.clone(), [one.clone()]), None, &format!("[{first},[{second}]]"), 2);
        check_args(&(zero, one), None, &format!("[{first},{second}]"), 2);
    }

    /// Otherwise a peer could put the bytes of others into its data, or end their sessions.
    #[test]
    fn an_object_of_a_peer_does_not_become_a_placeholder() {
        let bytes = Bytes::from_static(b"x");
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        for (json, is_placeholder) in [
            (r#"{"_placeholder":true,"num":0}"#, true),
            (r#"[{"a":{"num":99,"_placeholder":true}}]"#, true),
            (r#"{"\u005fplaceholder":true,"num":0}"#, true),
            (r#"{"_\u0070laceholder":true}"#, true),
            (r#"{"_placeholder":1,"num":0}"#, false),
            (r#""_placeholder""#, false),
            (r#"["\u0001",{"_placeholder":false}]"#, false),
        ] {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            let deep = format!("{}{json}{}", "[".repeat(120), "]".repeat(120));
            let parts = format!("[,{json}]");
            let with_bytes = [
                EventData::new(&(&value, &bytes)).is_err(),
                EventData::new(&(&bytes, raw(json))).is_err(),
                EventData::of_parts(parts.as_bytes(), vec![(1, bytes.clone())], ArgShape::One)
                    .is_none(),
                EventData::new(&(&bytes, raw(&deep))).is_err(),
            ];
            assert_eq!(with_bytes, [is_placeholder; 4], "{json}");
            assert!(EventData::new(&value).is_ok(), "without bytes it is data: {json}");
        }
        let deeper =
            format!(r#"{}{{"_placeholder":true}}{}"#, r#"{"a":"#.repeat(130), "}".repeat(130));
        assert!(EventData::new(&(&bytes, raw(&deeper))).is_err());
    }

    /// Otherwise a peer could end the sessions of others, whose clients do not read it.
    #[test]
    fn no_data_is_nested_deeper_than_readers_take() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let check = |depth: usize, inner: &str, deepest: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            let deep = format!("{open}{inner}{close}");
            let mut value: serde_json::Value = serde_json::from_str(inner).unwrap();
            for _ in 0..depth {
                value = serde_json::Value::Array(vec![value]);
            }
            let objects = format!("{}{inner}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
            let parts = EventData::of_parts(deep.as_bytes(), Vec::new(), ArgShape::One);
            let taken = [
                EventData::new(&value).is_ok(),
                EventData::new(&raw(&deep)).is_ok(),
                EventData::new(&raw(&objects)).is_ok(),
                EventData::new(&(1, raw(&deep))).is_ok(),
                parts.is_some(),
            ];
            let (is_taken, has_room) = (deepest <= 126, deepest < 126);
            assert_eq!(taken, [is_taken, is_taken, is_taken, has_room, is_taken], "{deepest}");
        };
        for depth in [1, 125, 126, 127, 200] {
            check(depth, "1", depth);
        }
        // Brackets in texts, and values beside each other.
        let text = serde_json::to_string(&"[\\\"{".repeat(200)).unwrap();
        let wide = format!("[{}[]]", "[{}],".repeat(200));
        for depth in [120, 125, 126, 127] {
            check(depth, &text, depth);
            check(depth - 3, &wide, depth);
        }
    }

    #[test]
    fn bytes_anywhere_in_a_value_are_base64_in_its_json() {
        let bytes = |bytes: &'static [u8]| Bytes::from_static(bytes);
        check(&(1, "a"), r#"[1,"a"]"#);
        check(&bytes(b"\0\xff"), r#""AP8=""#);
        check(&[bytes(b""), bytes(b"a")], r#"["","YQ=="]"#);
        check(&BTreeMap::from([("x", Some(bytes(b"a")))]), r#"{"x":"YQ=="}"#);
        check(&(bytes(b"a"), "ü", [bytes(b"b")], 1), r#"["YQ==","ü",["Yg=="],1]"#);
        // A list of numbers stays one.
        check(&vec![1_u8, 2], "[1,2]");
    }
}
