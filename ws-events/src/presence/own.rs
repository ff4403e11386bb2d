//! Which sockets of this node are tracked, and what do the other nodes have to learn of them?

use std::collections::{BTreeMap, HashMap};

use super::rooms::{DevicePlace, PresenceRooms, RoomKey};
use crate::cluster::presence_body::{PresenceOp, PresenceRecord};

/// The changes of one batch.
pub(crate) const BATCH: usize = 256;

/// The bytes of one batch, and one more change.
pub(crate) const BATCH_BYTES: usize = 16 * 1024;

/// A socket of this process while it is connected: its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey(pub(crate) usize);

/// The entries of the sockets of this node.
#[derive(Debug, Default)]
pub(crate) struct OwnEntries {
    entries: BTreeMap<u64, OwnEntry>,
    /// The numbers of the entries of each socket.
    sockets: HashMap<SocketKey, Vec<u64>>,
    last: u64,
    /// Whether other nodes learn of them.
    is_shared: bool,
    /// The number of batches that were published.
    version: u64,
    changed: BTreeMap<u64, Unpublished>,
}

#[derive(Debug)]
struct OwnEntry {
    place: DevicePlace,
    is_published: bool,
}

/// What the other nodes do not know yet.
#[derive(Clone, Copy, Debug)]
enum Unpublished {
    Put,
    Remove { at_once: bool },
}

impl OwnEntries {
    /// Other nodes learn of them from now on. Returns whether this is new.
    pub(crate) fn share(&mut self) -> bool {
        if std::mem::replace(&mut self.is_shared, true) {
            return false;
        }
        self.changed = self.entries.keys().map(|number| (*number, Unpublished::Put)).collect();
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The version that the other nodes may know.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// The number of the next entry.
    pub(crate) const fn next_number(&self) -> u64 {
        self.last + 1
    }

    /// The entry of a socket.
    pub(crate) fn find(
        &self,
        socket: SocketKey,
        room: &RoomKey,
        key: &str,
    ) -> Option<(u64, &DevicePlace)> {
        let mut entries = self.sockets.get(&socket)?.iter();
        entries.find_map(|number| {
            let OwnEntry { place, .. } = self.entries.get(number)?;
            (place.room == *room && *place.key == *key).then_some((*number, place))
        })
    }

    /// Adds an entry with the next number.
    pub(crate) fn insert(&mut self, socket: SocketKey, place: DevicePlace) {
        self.last += 1;
        self.entries.insert(self.last, OwnEntry { place, is_published: false });
        self.sockets.entry(socket).or_default().push(self.last);
        self.note(self.last, Unpublished::Put);
    }

    /// The metadata of an entry has changed.
    pub(crate) fn touch(&mut self, number: u64) {
        self.note(number, Unpublished::Put);
    }

    pub(crate) fn remove(
        &mut self,
        socket: SocketKey,
        number: u64,
        at_once: bool,
    ) -> Option<DevicePlace> {
        if let Some(numbers) = self.sockets.get_mut(&socket) {
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                self.sockets.remove(&socket);
            }
        }
        let OwnEntry { place, is_published } = self.entries.remove(&number)?;
        if is_published {
            self.note(number, Unpublished::Remove { at_once });
        } else {
            self.changed.remove(&number);
        }
        Some(place)
    }

    /// The numbers of the entries of a socket.
    pub(crate) fn of_socket(&self, socket: SocketKey) -> Vec<u64> {
        self.sockets.get(&socket).cloned().unwrap_or_default()
    }

    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The next batch of changes, with its version.
    pub(crate) fn next_batch(&mut self, rooms: &PresenceRooms) -> Option<(u64, Vec<PresenceOp>)> {
        let (mut ops, mut bytes) = (Vec::new(), 0);
        while ops.len() < BATCH
            && bytes < BATCH_BYTES
            && let Some((number, change)) = self.changed.pop_first()
        {
            let op = match change {
                Unpublished::Remove { at_once } => PresenceOp::Remove { number, at_once },
                Unpublished::Put => {
                    let Some(entry) = self.entries.get_mut(&number) else { continue };
                    entry.is_published = true;
                    let Some(record) = record(number, entry, rooms) else { continue };
                    bytes += record.size();
                    PresenceOp::Put(record)
                }
            };
            ops.push(op);
        }
        if ops.is_empty() {
            return None;
        }
        self.version += 1;
        Some((self.version, ops))
    }

    /// All entries.
    pub(crate) fn records(&self, rooms: &PresenceRooms) -> Vec<PresenceRecord> {
        let entries = self.entries.iter();
        entries.filter_map(|(number, entry)| record(*number, entry, rooms)).collect()
    }

    fn note(&mut self, number: u64, change: Unpublished) {
        if self.is_shared {
            self.changed.insert(number, change);
        }
    }
}

fn record(number: u64, entry: &OwnEntry, rooms: &PresenceRooms) -> Option<PresenceRecord> {
    let DevicePlace { room: RoomKey { namespace, room }, key, .. } = entry.place.clone();
    let meta = rooms.meta(&entry.place)?;
    Some(PresenceRecord { number, namespace, room, key, meta })
}
