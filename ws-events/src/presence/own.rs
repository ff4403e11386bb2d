//! Which sockets of this node are tracked?

use std::collections::{BTreeMap, HashMap};

use super::rooms::{DevicePlace, RoomKey};

/// A socket of this process while it is connected: its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey(pub(crate) usize);

/// The entries of the sockets of this node.
#[derive(Debug, Default)]
pub(crate) struct OwnEntries {
    entries: BTreeMap<u64, DevicePlace>,
    /// The numbers of the entries of each socket.
    sockets: HashMap<SocketKey, Vec<u64>>,
    last: u64,
}

impl OwnEntries {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
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
            let place = self.entries.get(number)?;
            (place.room == *room && *place.key == *key).then_some((*number, place))
        })
    }

    /// Adds an entry with the next number.
    pub(crate) fn insert(&mut self, socket: SocketKey, place: DevicePlace) {
        self.last += 1;
        self.entries.insert(self.last, place);
        self.sockets.entry(socket).or_default().push(self.last);
    }

    pub(crate) fn remove(&mut self, socket: SocketKey, number: u64) -> Option<DevicePlace> {
        if let Some(numbers) = self.sockets.get_mut(&socket) {
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                self.sockets.remove(&socket);
            }
        }
        self.entries.remove(&number)
    }

    /// The numbers of the entries of a socket.
    pub(crate) fn of_socket(&self, socket: SocketKey) -> Vec<u64> {
        self.sockets.get(&socket).cloned().unwrap_or_default()
    }
}
