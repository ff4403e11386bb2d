//! How do nodes tell each other who is present?
//!
//! Each node is the authority for its own entries, and numbers them. The set of its entries has a
//! version, which grows by one with each batch of changes.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::{
    FieldWriter, Malformed, Tag, number, short_text, split_number, split_text, text,
};

/// A socket of the origin that is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresenceRecord {
    /// Unique for the origin.
    pub(crate) number: u64,
    pub(crate) namespace: Arc<str>,
    pub(crate) room: Arc<str>,
    pub(crate) key: Arc<str>,
    /// JSON.
    pub(crate) meta: Arc<str>,
}

impl PresenceRecord {
    /// About its length in an envelope.
    pub(crate) fn size(&self) -> usize {
        let names = [&self.namespace, &self.room, &self.key, &self.meta];
        names.iter().map(|name| name.len()).sum::<usize>() + 19
    }
}

/// How the entries of the origin have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PresenceOp {
    /// It is new, or has other metadata.
    Put(PresenceRecord),
    Remove {
        number: u64,
        /// Without a grace period.
        at_once: bool,
    },
}

/// A part of all entries of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PresencePart {
    /// The version of the whole.
    pub(crate) version: u64,
    /// The number of records of the whole.
    pub(crate) total: u64,
    pub(crate) records: Vec<PresenceRecord>,
}

/// Writes a change. One whose names are too long for their lengths is left out.
pub(super) fn write_op(out: &mut FieldWriter, put: Tag, remove: Tag, op: &PresenceOp) {
    match op {
        PresenceOp::Put(record) => write_record(out, put, record),
        PresenceOp::Remove { number, at_once } => {
            out.parts(remove, &[&number.to_be_bytes(), &[u8::from(*at_once)]]);
        }
    }
}

pub(super) fn write_record(out: &mut FieldWriter, tag: Tag, record: &PresenceRecord) {
    let names = [&record.namespace, &record.room, &record.key].map(|name| short_text(name));
    if let [Some(namespace), Some(room), Some(key)] = &names {
        let number = record.number.to_be_bytes();
        out.parts(tag, &[&number, namespace, room, key, record.meta.as_bytes()]);
    }
}

pub(super) fn write_versions(out: &mut FieldWriter, tag: Tag, version: u64, total: u64) {
    out.parts(tag, &[&version.to_be_bytes(), &total.to_be_bytes()]);
}

pub(super) fn read_record(value: &Bytes) -> Result<PresenceRecord, Malformed> {
    let (number, rest) = split_number(value)?;
    let (namespace, rest) = split_text(rest)?;
    let (room, rest) = split_text(rest)?;
    let (key, meta) = split_text(rest)?;
    let meta = text(meta)?;
    // It is passed on as JSON.
    serde_json::from_str::<serde::de::IgnoredAny>(&meta).map_err(|_| Malformed)?;
    let [namespace, room, key] = [namespace, room, key].map(Arc::from);
    Ok(PresenceRecord { number, namespace, room, key, meta })
}

pub(super) fn read_removal(value: &[u8]) -> Result<PresenceOp, Malformed> {
    let (number, rest) = split_number(value)?;
    Ok(PresenceOp::Remove { number, at_once: rest.first().is_some_and(|flag| *flag != 0) })
}

pub(super) fn read_versions(value: &[u8]) -> Result<(u64, u64), Malformed> {
    let (version, total) = split_number(value)?;
    Ok((version, number(total)?))
}
