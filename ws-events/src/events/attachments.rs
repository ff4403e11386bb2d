//! Which bytes may the placeholders of an event stand for?

use std::cell::Cell;

use bytes::Bytes;

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
