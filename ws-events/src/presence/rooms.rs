//! Which devices are in which room, for how long after their end, and who learns of it?
//!
//! A device is first a socket, of this node or of another one. When its socket ends, the device stays
//! for the grace period. An entry of the same key that comes meanwhile takes it over. Nothing here reads
//! a clock.
//!
//! Longer than 400 lines because a device, its room and the readers of the room change together.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures::task::AtomicWaker;
use tokio::time::{Duration, Instant};

use super::limits::{PresenceError, PresenceOptions};
use super::list::{PresenceChange, PresenceDiff, PresenceEntry, PresenceList};
use crate::cluster::NodeId;

/// The diffs that wait for a reader. With one more, it gets the whole list instead.
const MAX_WAITING: usize = 16;

/// A room of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoomKey {
    pub(crate) namespace: Arc<str>,
    pub(crate) room: Arc<str>,
}

/// The entry that a device stands for: a number of its node, or of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntrySource {
    pub(crate) node: Option<NodeId>,
    pub(crate) number: u64,
}

/// Where a device is.
#[derive(Clone, Debug)]
pub(crate) struct DevicePlace {
    pub(crate) room: RoomKey,
    pub(crate) key: Arc<str>,
    device: u64,
}

#[derive(Debug)]
struct Device {
    number: u64,
    source: EntrySource,
    /// JSON.
    meta: Arc<str>,
    /// When it leaves, if its entry is gone.
    leaves_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct PresentRoom {
    keys: BTreeMap<Arc<str>, Vec<Device>>,
    /// The devices that have changed since the last diff, with the metadata that readers know.
    touched: BTreeMap<u64, (Arc<str>, Option<Arc<str>>)>,
    readers: BTreeMap<u64, ChangeReader>,
}

#[derive(Debug)]
struct ChangeReader {
    waiting: VecDeque<PresenceChange>,
    /// It did not keep up, or has just begun.
    wants_list: bool,
    waker: Arc<AtomicWaker>,
}

/// The devices of all rooms.
#[derive(Debug)]
pub(crate) struct PresenceRooms {
    grace: Duration,
    keys: usize,
    devices: usize,
    rooms: HashMap<RoomKey, PresentRoom>,
    /// The devices whose entries are gone, by the time at which they leave.
    leaving: BTreeMap<(Instant, u64), DevicePlace>,
    /// The rooms with changes that readers do not know.
    dirty: HashSet<RoomKey>,
    /// The wakers of readers that have got something.
    woken: Vec<Arc<AtomicWaker>>,
    last_device: u64,
    last_reader: u64,
}

impl PresenceRooms {
    pub(crate) fn new(options: &PresenceOptions) -> Self {
        Self {
            grace: options.grace,
            keys: options.keys,
            devices: options.devices,
            rooms: HashMap::new(),
            leaving: BTreeMap::new(),
            dirty: HashSet::new(),
            woken: Vec::new(),
            last_device: 0,
            last_reader: 0,
        }
    }

    /// An entry has come: a new device, or one that was about to leave.
    ///
    /// # Errors
    ///
    /// If it `is_limited`, and the room or the key is full.
    pub(crate) fn enter(
        &mut self,
        place: (&RoomKey, &Arc<str>),
        source: EntrySource,
        meta: Arc<str>,
        is_limited: bool,
    ) -> Result<DevicePlace, PresenceError> {
        let (room_key, key) = place;
        let place = |room: &RoomKey, key: &Arc<str>, device| DevicePlace {
            room: room.clone(),
            key: Arc::clone(key),
            device,
        };
        if let Some((known, device)) = self.returning(room_key, key, source, &meta) {
            let at = place(room_key, &known, device);
            self.change(&at, |device| {
                (device.source, device.meta) = (source, meta);
                device.leaves_at.take()
            });
            return Ok(at);
        }
        let (keys, devices) = self
            .rooms
            .get(room_key)
            .map_or((0, 0), |room| (room.keys.len(), room.keys.get(key).map_or(0, Vec::len)));
        if is_limited && devices == 0 && keys >= self.keys {
            return Err(PresenceError::TooManyKeys(self.keys));
        }
        if is_limited && devices >= self.devices {
            return Err(PresenceError::TooManyDevices(self.devices));
        }
        self.last_device += 1;
        let number = self.last_device;
        // The names are shared by all devices of the room.
        let room_key = match self.rooms.get_key_value(room_key) {
            Some((known, _)) => known.clone(),
            None => room_key.clone(),
        };
        let room = self.rooms.entry(room_key.clone()).or_default();
        let key = room.keys.get_key_value(key).map_or(key, |(known, _)| known).clone();
        if !room.readers.is_empty() {
            self.dirty.insert(room_key.clone());
            room.touched.insert(number, (Arc::clone(&key), None));
        }
        let device = Device { number, source, meta, leaves_at: None };
        room.keys.entry(Arc::clone(&key)).or_default().push(device);
        Ok(place(&room_key, &key, number))
    }

    /// The metadata of a device.
    pub(crate) fn meta(&self, place: &DevicePlace) -> Option<Arc<str>> {
        let devices = self.rooms.get(&place.room)?.keys.get(&place.key)?;
        let device = devices.iter().find(|device| device.number == place.device)?;
        Some(Arc::clone(&device.meta))
    }

    /// The metadata of an entry has changed.
    pub(crate) fn set_meta(&mut self, place: &DevicePlace, meta: Arc<str>) {
        self.change(place, |device| {
            device.meta = meta;
            None
        });
    }

    /// An entry is gone. Its device leaves after the grace period, or at once.
    pub(crate) fn leave(&mut self, place: &DevicePlace, at_once: bool, now: Instant) {
        if at_once {
            return self.remove(place);
        }
        let leaves_at = now + self.grace;
        let Some(device) = self.device(place) else { return };
        device.leaves_at = Some(leaves_at);
        self.leaving.insert((leaves_at, place.device), place.clone());
    }

    /// Removes the devices whose grace period is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(first) = self.leaving.first_entry()
            && first.key().0 <= now
        {
            let place = first.remove();
            self.remove(&place);
        }
    }

    /// When the next device leaves.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.leaving.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn list(&self, room: &RoomKey) -> PresenceList {
        let Some(room) = self.rooms.get(room) else { return PresenceList::default() };
        let entries = |(key, devices): (&Arc<str>, &Vec<Device>)| {
            let entry =
                |it: &Device| PresenceEntry::new(Arc::clone(key), it.number, Arc::clone(&it.meta));
            (Arc::clone(key), devices.iter().map(entry).collect())
        };
        PresenceList(room.keys.iter().map(entries).collect())
    }

    /// A new reader of the changes of a room. The first is the list.
    pub(crate) fn subscribe(&mut self, room: &RoomKey) -> (u64, Arc<AtomicWaker>) {
        self.last_reader += 1;
        let waker = Arc::<AtomicWaker>::default();
        let (waiting, wants_list) = (VecDeque::new(), true);
        let reader = ChangeReader { waiting, wants_list, waker: Arc::clone(&waker) };
        let room = self.rooms.entry(room.clone()).or_default();
        room.readers.insert(self.last_reader, reader);
        (self.last_reader, waker)
    }

    pub(crate) fn unsubscribe(&mut self, room: &RoomKey, reader: u64) {
        if let Some(present) = self.rooms.get_mut(room) {
            present.readers.remove(&reader);
        }
        self.remove_if_empty(room);
    }

    /// What a reader gets next.
    pub(crate) fn next(&mut self, room: &RoomKey, reader: u64) -> Option<PresenceChange> {
        let present = self.rooms.get_mut(room)?;
        let state = present.readers.get_mut(&reader)?;
        if !state.wants_list {
            return state.waiting.pop_front();
        }
        // The next diff is relative to this list.
        present.flush(&mut self.woken);
        let state = present.readers.get_mut(&reader)?;
        state.wants_list = false;
        Some(PresenceChange::List(self.list(room)))
    }

    /// Whether readers have to learn something.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Passes the changes to the readers.
    pub(crate) fn flush(&mut self) {
        for room in std::mem::take(&mut self.dirty) {
            if let Some(present) = self.rooms.get_mut(&room) {
                present.flush(&mut self.woken);
            }
            self.remove_if_empty(&room);
        }
    }

    /// The wakers of readers that have got something, to be woken without a lock.
    pub(crate) fn take_woken(&mut self) -> Vec<Arc<AtomicWaker>> {
        std::mem::take(&mut self.woken)
    }

    /// The wakers of all readers.
    pub(crate) fn readers(&self) -> Vec<Arc<AtomicWaker>> {
        let readers = self.rooms.values().flat_map(|room| room.readers.values());
        readers.map(|reader| Arc::clone(&reader.waker)).collect()
    }

    /// The device that an entry takes over: one whose entry is gone. Best its own, then one with the
    /// same metadata, then the one that leaves first.
    fn returning(
        &self,
        room: &RoomKey,
        key: &Arc<str>,
        source: EntrySource,
        meta: &Arc<str>,
    ) -> Option<(Arc<str>, u64)> {
        let (key, devices) = self.rooms.get(room)?.keys.get_key_value(key)?;
        let leaving = devices.iter().filter(|device| device.leaves_at.is_some());
        let rank = |it: &&Device| (it.source != source, it.meta != *meta, it.leaves_at, it.number);
        let best = leaving.min_by_key(rank)?;
        Some((Arc::clone(key), best.number))
    }

    fn device(&mut self, place: &DevicePlace) -> Option<&mut Device> {
        let devices = self.rooms.get_mut(&place.room)?.keys.get_mut(&place.key)?;
        devices.iter_mut().find(|device| device.number == place.device)
    }

    /// Changes a device. `change` returns when it was about to leave, if it does not leave any more.
    fn change(&mut self, place: &DevicePlace, change: impl FnOnce(&mut Device) -> Option<Instant>) {
        self.touch(place);
        if let Some(leaves_at) = self.device(place).and_then(change) {
            self.leaving.remove(&(leaves_at, place.device));
        }
    }

    fn remove(&mut self, place: &DevicePlace) {
        self.touch(place);
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        let Some(devices) = room.keys.get_mut(&place.key) else { return };
        let Some(at) = devices.iter().position(|device| device.number == place.device) else {
            return;
        };
        let device = devices.remove(at);
        if devices.is_empty() {
            room.keys.remove(&place.key);
        }
        if let Some(leaves_at) = device.leaves_at {
            self.leaving.remove(&(leaves_at, place.device));
        }
        self.remove_if_empty(&place.room);
    }

    /// A device is about to change. Notes what readers know of it.
    fn touch(&mut self, place: &DevicePlace) {
        let Some(meta) = self.device(place).map(|device| Arc::clone(&device.meta)) else { return };
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        if room.readers.is_empty() {
            return;
        }
        if room.touched.is_empty() {
            self.dirty.insert(place.room.clone());
        }
        let known = || (Arc::clone(&place.key), Some(meta));
        room.touched.entry(place.device).or_insert_with(known);
    }

    fn remove_if_empty(&mut self, room: &RoomKey) {
        let is_empty = |it: &PresentRoom| it.keys.is_empty() && it.readers.is_empty();
        if self.rooms.get(room).is_some_and(is_empty) {
            self.rooms.remove(room);
        }
    }
}

impl PresentRoom {
    /// Passes the changes to the readers.
    fn flush(&mut self, woken: &mut Vec<Arc<AtomicWaker>>) {
        let mut diff = PresenceDiff::default();
        for (number, (key, before)) in std::mem::take(&mut self.touched) {
            let devices = self.keys.get(&key).into_iter().flatten();
            let now = devices.into_iter().find(|device| device.number == number);
            let entry =
                |meta: &Arc<str>| PresenceEntry::new(Arc::clone(&key), number, Arc::clone(meta));
            match (before, now) {
                (None, Some(device)) => diff.joins.push(entry(&device.meta)),
                (Some(before), Some(device)) if before != device.meta => {
                    diff.updates.push(entry(&device.meta));
                }
                (Some(before), None) => diff.leaves.push(entry(&before)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        if diff.is_empty() {
            return;
        }
        let diff = Arc::new(diff);
        for reader in self.readers.values_mut().filter(|reader| !reader.wants_list) {
            if reader.waiting.len() < MAX_WAITING {
                reader.waiting.push_back(PresenceChange::Diff(Arc::clone(&diff)));
            } else {
                reader.waiting = VecDeque::new();
                reader.wants_list = true;
            }
            woken.push(Arc::clone(&reader.waker));
        }
    }
}
