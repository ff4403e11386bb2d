//! What does an application see of presence: a list, and how it changes?

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use serde_json::value::RawValue;

/// A device of a key: one socket that is [tracked](crate::Presence::track), on any node.
///
/// It is serialised as `{"key":…,"device":…,"meta":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceEntry {
    /// Who is present, such as the id of a user.
    pub key: Arc<str>,
    /// The number of the device in the lists of this process. It stays the same if the socket is
    /// replaced within the [grace period](crate::PresenceOptions::grace). On other nodes, the device
    /// has other numbers.
    pub device: u64,
    meta: Arc<str>,
}

impl PresenceEntry {
    /// `meta` is JSON.
    pub(crate) const fn new(key: Arc<str>, device: u64, meta: Arc<str>) -> Self {
        Self { key, device, meta }
    }

    /// The metadata, deserialised.
    ///
    /// # Errors
    ///
    /// If it is of another type.
    pub fn meta<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.meta)
    }

    /// The metadata as JSON text.
    pub fn meta_json(&self) -> &str {
        &self.meta
    }
}

impl Serialize for PresenceEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta: &RawValue =
            serde_json::from_str(&self.meta).map_err(serde::ser::Error::custom)?;
        let mut fields = serializer.serialize_struct("PresenceEntry", 3)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("device", &self.device)?;
        fields.serialize_field("meta", meta)?;
        fields.end()
    }
}

/// Who is present in a room: the devices of each key, in the order in which they came. Made by
/// [`Presence::list`](crate::Presence::list).
///
/// It is serialised as an object with an array of [entries](PresenceEntry) for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PresenceList(pub(crate) BTreeMap<Arc<str>, Vec<PresenceEntry>>);

impl PresenceList {
    /// Changes the list as a [`PresenceDiff`] says.
    pub fn apply(&mut self, diff: &PresenceDiff) {
        for PresenceEntry { key, device, .. } in &diff.leaves {
            if let Some(devices) = self.0.get_mut(key) {
                devices.retain(|entry| entry.device != *device);
                if devices.is_empty() {
                    self.0.remove(key);
                }
            }
        }
        for entry in diff.joins.iter().chain(&diff.updates) {
            let devices = self.0.entry(Arc::clone(&entry.key)).or_default();
            match devices.iter_mut().find(|known| known.device == entry.device) {
                Some(known) => *known = entry.clone(),
                None => devices.push(entry.clone()),
            }
        }
    }
}

impl Deref for PresenceList {
    type Target = BTreeMap<Arc<str>, Vec<PresenceEntry>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// How a [`PresenceList`] has changed. No device is in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PresenceDiff {
    /// Devices that have come.
    pub joins: Vec<PresenceEntry>,
    /// Devices with other metadata than before.
    pub updates: Vec<PresenceEntry>,
    /// Devices that have gone, with their last metadata. If a key has no other device in the list, it
    /// is not present any more.
    pub leaves: Vec<PresenceEntry>,
}

impl PresenceDiff {
    pub(crate) fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.updates.is_empty() && self.leaves.is_empty()
    }
}

/// What a reader of [`Presence::changes`](crate::Presence::changes) gets.
///
/// It is serialised as `{"list":…}` or `{"diff":…}`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceChange {
    /// The whole list, in place of the one that the reader has: at the start, and when the reader did
    /// not keep up.
    List(PresenceList),
    /// What has changed since.
    Diff(Arc<PresenceDiff>),
}
