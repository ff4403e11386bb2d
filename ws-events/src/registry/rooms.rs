//! Which members does a room have, and how does a broadcast visit them while others join and leave?
//!
//! A room is a list of segments. A member keeps its segment until it leaves. A broadcast locks
//! one segment at a time: it visits each member that stays exactly once, and a join or a leave
//! waits for one segment at most.
//!
//! Lock order: the send lock of a room, the shard of the room, its list of segments, a segment.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::registry::sharded_map::ShardedMap;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, SEGMENT};

/// The members of one room, unordered. `M` is a member, equal only to itself.
pub(crate) struct MemberList<M> {
    name: Arc<str>,
    /// Held during a broadcast, so that all members get broadcasts in the same order.
    send_lock: Mutex<()>,
    segments: Mutex<Segments<M>>,
    /// The number of members, with those that are about to join. Grows only under the lock of
    /// the shard.
    count: AtomicUsize,
}

struct Segments<M> {
    /// Copied on write, so that a broadcast iterates it without the lock.
    list: Arc<[Arc<Segment<M>>]>,
    /// The segment to check next for free space.
    hint: usize,
}

struct Segment<M>(Mutex<Vec<M>>);

/// The position of a member in a room: needed to leave it.
pub(crate) struct MemberSlot<M> {
    room: Arc<MemberList<M>>,
    segment: Arc<Segment<M>>,
}

impl<M> MemberSlot<M> {
    pub(crate) fn room(&self) -> &Arc<MemberList<M>> {
        &self.room
    }
}

impl<M: Clone + PartialEq> MemberList<M> {
    /// A room outside of a [`RoomRegistry`].
    pub(crate) fn new(name: Arc<str>) -> Arc<Self> {
        let segments = Mutex::new(Segments { list: Arc::new([]), hint: 0 });
        Arc::new(Self { name, send_lock: Mutex::new(()), segments, count: AtomicUsize::new(0) })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Runs `send` while no other broadcast to this room runs.
    pub(crate) fn with_send_lock<T>(&self, send: impl FnOnce() -> T) -> T {
        let _lock = self.send_lock.lock();
        send()
    }

    /// [`with_send_lock`](Self::with_send_lock) for several rooms. `rooms` must be sorted, so
    /// that two callers cannot deadlock.
    pub(crate) fn with_send_locks<T>(rooms: &[Arc<Self>], send: impl FnOnce() -> T) -> T {
        let _locks: Vec<_> = rooms.iter().map(|room| room.send_lock.lock()).collect();
        send()
    }

    /// Calls `visit` with each segment, under its lock. A member that joins or leaves
    /// concurrently may or may not be included.
    pub(crate) fn for_each_segment(&self, mut visit: impl FnMut(&[M])) {
        let list = Arc::clone(&self.segments.lock().list);
        for segment in list.iter() {
            visit(&segment.0.lock());
        }
    }

    /// All members.
    pub(crate) fn members(&self) -> Vec<M> {
        let mut members = Vec::with_capacity(self.len());
        self.for_each_segment(|segment| members.extend_from_slice(segment));
        members
    }

    /// Adds a member, which must not be in the room yet.
    pub(crate) fn join(self: &Arc<Self>, member: &M) -> MemberSlot<M> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.insert(member)
    }

    fn insert(self: &Arc<Self>, member: &M) -> MemberSlot<M> {
        let mut segments = self.segments.lock();
        let segment = segments.with_space();
        segment.0.lock().push(member.clone());
        MemberSlot { room: Arc::clone(self), segment }
    }

    /// Removes a member. Returns whether the room is empty now.
    pub(crate) fn leave(slot: &MemberSlot<M>, member: &M) -> bool {
        let is_empty = {
            let mut members = slot.segment.0.lock();
            if let Some(at) = members.iter().position(|other| other == member) {
                members.swap_remove(at);
            }
            // A segment that lost most of its members releases most of its memory.
            if members.len() < members.capacity() / 4 {
                members.shrink_to_fit();
            }
            members.is_empty()
        };
        if is_empty {
            slot.room.segments.lock().remove_empty(&slot.segment);
        }
        slot.room.count.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl<M> Segments<M> {
    /// A segment with free space: the last, one that members have left, or a new one.
    fn with_space(&mut self) -> Arc<Segment<M>> {
        if let Some(last) = self.list.last().filter(|last| last.0.lock().len() < SEGMENT) {
            return Arc::clone(last);
        }
        self.hint = (self.hint + 1) % self.list.len().max(1);
        if let Some(sparse) = self.list.get(self.hint)
            && sparse.0.lock().len() < SEGMENT / 2
        {
            return Arc::clone(sparse);
        }
        let new = Arc::new(Segment(Mutex::new(Vec::new())));
        self.list = self.list.iter().cloned().chain([Arc::clone(&new)]).collect();
        new
    }

    /// Removes a segment if it is still empty.
    fn remove_empty(&mut self, segment: &Arc<Segment<M>>) {
        if segment.0.lock().is_empty() {
            self.list =
                self.list.iter().filter(|other| !Arc::ptr_eq(other, segment)).cloned().collect();
        }
    }
}

/// Rooms by name. A room exists while it has members.
pub(crate) struct RoomRegistry<M> {
    rooms: ShardedMap<RoomByName<M>, ()>,
    observer: Option<Box<dyn RoomObserver>>,
}

/// Learns which rooms exist. Called under the lock of a shard, so the calls for one room are in order.
pub(crate) trait RoomObserver: Send + Sync {
    fn created(&self, room: &str);
    fn removed(&self, room: &str);
}

/// A room that hashes and compares by its name.
struct RoomByName<M>(Arc<MemberList<M>>);

impl<M> Borrow<str> for RoomByName<M> {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl<M> Hash for RoomByName<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl<M> PartialEq for RoomByName<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl<M> Eq for RoomByName<M> {}

impl<M: Clone + PartialEq> RoomRegistry<M> {
    pub(crate) fn new(shards: usize, observer: Option<Box<dyn RoomObserver>>) -> Self {
        Self { rooms: ShardedMap::new(shards), observer }
    }

    /// The room with this name, if it has members.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<MemberList<M>>> {
        self.rooms
            .read(name, |rooms| rooms.get_key_value(name).map(|(room, ())| Arc::clone(&room.0)))?
    }

    /// Calls `with` if there is a room with this name, which is not removed meanwhile: under the lock
    /// of its shard.
    pub(crate) fn while_present(&self, name: &str, with: impl FnOnce()) {
        self.rooms.read(name, |rooms| {
            if rooms.contains_key(name) {
                with();
            }
        });
    }

    /// The number of rooms.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// The names of all rooms.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.rooms.collect(|room, ()| Arc::clone(&room.0.name))
    }

    /// The names of all rooms, and the numbers of their members.
    pub(crate) fn sizes(&self) -> Vec<(Arc<str>, usize)> {
        self.rooms.collect(|room, ()| (Arc::clone(&room.0.name), room.0.len()))
    }

    /// The numbers of members of at most `most` rooms.
    #[cfg(feature = "metrics")]
    pub(crate) fn sample_sizes(&self, most: usize) -> Vec<usize> {
        self.rooms.sample(most, |room, ()| room.0.len())
    }

    /// Adds a member to the room with this name, which is created if needed.
    pub(crate) fn join(&self, name: &str, member: &M) -> MemberSlot<M> {
        self.reserve(name).insert(member)
    }

    /// [`join`](Self::join) that runs `with` and joins as one step, between two broadcasts.
    pub(crate) fn join_with(
        &self,
        name: &str,
        member: &M,
        with: impl FnOnce(&Arc<str>),
    ) -> MemberSlot<M> {
        let room = self.reserve(name);
        room.with_send_lock(|| {
            with(&room.name);
            room.insert(member)
        })
    }

    /// The room with this name. Its count includes the caller, so it exists until the caller
    /// leaves.
    fn reserve(&self, name: &str) -> Arc<MemberList<M>> {
        let found = self.rooms.read(name, |rooms| {
            let (room, ()) = rooms.get_key_value(name)?;
            room.0.count.fetch_add(1, Ordering::Relaxed);
            Some(Arc::clone(&room.0))
        });
        if let Some(Some(room)) = found {
            return room;
        }
        let made = self.rooms.write(name, |rooms| {
            if let Some((room, ())) = rooms.get_key_value(name) {
                room.0.count.fetch_add(1, Ordering::Relaxed);
                return Arc::clone(&room.0);
            }
            let room = MemberList::new(Arc::from(name));
            room.count.store(1, Ordering::Relaxed);
            rooms.insert(RoomByName(Arc::clone(&room)), ());
            self.observer.iter().for_each(|observer| observer.created(name));
            room
        });
        made.unwrap_or_else(|| MemberList::new(Arc::from(name)))
    }

    /// Removes a member from a room. An empty room is removed.
    pub(crate) fn leave(&self, slot: &MemberSlot<M>, member: &M) {
        if MemberList::leave(slot, member) {
            self.rooms.write(&slot.room.name, |rooms| {
                // Another thread may have joined, or created a room with the same name.
                let same = rooms
                    .get_key_value(&*slot.room.name)
                    .is_some_and(|(room, ())| Arc::ptr_eq(&room.0, &slot.room));
                if same && slot.room.len() == 0 {
                    rooms.remove(&*slot.room.name);
                    self.observer.iter().for_each(|it| it.removed(&slot.room.name));
                }
            });
        }
    }
}
