//! How are the fields of an envelope written and read?
//!
//! A field is a tag of one byte, a length of four bytes, and a value. A reader skips fields whose
//! tags it does not know, so a newer node may add some.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The most fields of an envelope.
pub(crate) const MAX_FIELDS: usize = 16 * 1024;

/// What a field is. A number, so that unknown ones can be skipped.
pub(crate) type Tag = u8;

/// Appends fields.
pub(crate) struct FieldWriter {
    bytes: BytesMut,
    fields: usize,
}

impl FieldWriter {
    /// Fields behind a head.
    pub(crate) fn after(head: &[u8], capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(head.len() + capacity);
        bytes.extend_from_slice(head);
        Self { bytes, fields: 0 }
    }

    pub(crate) fn bytes(&mut self, tag: Tag, value: &[u8]) {
        self.parts(tag, &[value]);
    }

    /// One field of several parts.
    pub(crate) fn parts(&mut self, tag: Tag, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.fields += 1;
        self.bytes.put_u8(tag);
        // An envelope is far shorter: a broker would refuse it.
        self.bytes.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    pub(crate) fn number(&mut self, tag: Tag, value: u64) {
        self.bytes(tag, &value.to_be_bytes());
    }

    pub(crate) fn flag(&mut self, tag: Tag, value: bool) {
        if value {
            self.bytes(tag, &[]);
        }
    }

    pub(crate) fn texts(&mut self, tag: Tag, values: &[Arc<str>]) {
        values.iter().for_each(|value| self.bytes(tag, value.as_bytes()));
    }

    /// All bytes; `None` if there are too many fields.
    pub(crate) fn finish(self) -> Option<BytesMut> {
        (self.fields <= MAX_FIELDS && u32::try_from(self.bytes.len()).is_ok()).then_some(self.bytes)
    }
}

/// Takes fields apart, in their order.
pub(crate) struct FieldReader {
    rest: Bytes,
    fields: usize,
}

/// The bytes are not fields, or the value of a field is not what its tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl FieldReader {
    pub(crate) const fn new(rest: Bytes) -> Self {
        Self { rest, fields: 0 }
    }

    /// The next field; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<(Tag, Bytes)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (&[tag, a, b, c, d], _) = self.rest.split_first_chunk::<5>().ok_or(Malformed)?;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Malformed)?;
        let end = len.checked_add(5).filter(|end| *end <= self.rest.len()).ok_or(Malformed)?;
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Malformed);
        }
        let mut field = self.rest.split_to(end);
        Ok(Some((tag, field.split_off(5))))
    }
}

pub(crate) fn text(value: &[u8]) -> Result<Arc<str>, Malformed> {
    std::str::from_utf8(value).map(Arc::from).map_err(|_| Malformed)
}

pub(crate) fn number(value: &[u8]) -> Result<u64, Malformed> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| Malformed)
}

/// Splits a number off the front.
pub(crate) fn split_number(value: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (number, rest) = value.split_first_chunk::<8>().ok_or(Malformed)?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// A text behind its length in two bytes. One that is longer is left out.
pub(crate) fn short_text(text: &str) -> Option<Vec<u8>> {
    let len = u16::try_from(text.len()).ok()?;
    Some([&len.to_be_bytes(), text.as_bytes()].concat())
}

/// Splits a text off the front, whose length is before it, in two bytes.
pub(crate) fn split_text(value: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (len, rest) = value.split_first_chunk::<2>().ok_or(Malformed)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (text, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
    Ok((std::str::from_utf8(text).map_err(|_| Malformed)?, rest))
}
