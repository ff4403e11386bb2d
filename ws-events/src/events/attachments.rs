//! Which bytes may the placeholders of an event stand for?

use std::cell::Cell;

use bytes::Bytes;

use crate::socketio::AttachmentBudget;

/// The attachments of an event.
pub(super) struct Attachments<'a> {
    pub(super) list: &'a [Bytes],
    budget: AttachmentBudget,
    /// Whether a value that asks for bytes has got none: its place has no valid placeholder.
    pub(super) is_misused: Cell<bool>,
}

impl<'a> Attachments<'a> {
    pub(super) fn new(list: &'a [Bytes]) -> Self {
        Self { list, budget: AttachmentBudget::new(list), is_misused: Cell::new(false) }
    }

    /// The bytes for a placeholder.
    pub(super) fn take(&self, number: usize) -> Result<&'a Bytes, &'static str> {
        let bytes = self.list.get(number).ok_or("neither bytes nor an attachment that exists")?;
        self.budget.spend(bytes)?;
        Ok(bytes)
    }
}
