//! Who is in a room, and how is everybody in it reached while some come and go?
//!
//! A room is a list of segments. A member stays in its segment until it leaves, and
//! whoever goes through a room holds the lock of one segment at a time: nobody who
//! stays is skipped or met twice, and nobody waits for the whole of it.
//!
//! Locks, in the order in which they are taken: a room's order, the shard that the room
//! is in, its list of segments, a segment.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::registry::sharded_map::Shards;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, SEGMENT};

/// Some members, in no order. `M` is one of them, of which each is equal to itself alone.
pub(crate) struct Room<M> {
    name: Arc<str>,
    /// Held by whoever sends to the room: all its members see the same order.
    order: Mutex<()>,
    segments: Mutex<Segments<M>>,
    /// How many are in it, or on their way in. Grows only under the lock of the shard.
    count: AtomicUsize,
}

struct Segments<M> {
    /// Replaced when one is added or removed, so that it can be gone through without a
    /// lock.
    list: Arc<[Arc<Segment<M>>]>,
    /// Where to look next for a segment with room.
    hint: usize,
}

struct Segment<M>(Mutex<Vec<M>>);

/// That somebody is in a room: needed to leave it.
pub(crate) struct Place<M> {
    room: Arc<Room<M>>,
    segment: Arc<Segment<M>>,
}

impl<M> Place<M> {
    pub(crate) fn room(&self) -> &Arc<Room<M>> {
        &self.room
    }
}

impl<M: Clone + PartialEq> Room<M> {
    /// A room that belongs to no [`Rooms`].
    pub(crate) fn new(name: Arc<str>) -> Arc<Self> {
        let segments = Mutex::new(Segments { list: Arc::new([]), hint: 0 });
        Arc::new(Self { name, order: Mutex::new(()), segments, count: AtomicUsize::new(0) })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many are in it.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Runs something while nobody else sends to the room.
    pub(crate) fn in_order<T>(&self, send: impl FnOnce() -> T) -> T {
        let _order = self.order.lock();
        send()
    }

    /// As [`in_order`](Self::in_order), for several rooms, which are sorted.
    pub(crate) fn in_order_all<T>(rooms: &[Arc<Self>], send: impl FnOnce() -> T) -> T {
        let _orders: Vec<_> = rooms.iter().map(|room| room.order.lock()).collect();
        send()
    }

    /// Gives the members to `visit`, a segment at a time, whose lock is held meanwhile.
    /// Who enters or leaves at the same time may be among them or not.
    pub(crate) fn each_segment(&self, mut visit: impl FnMut(&[M])) {
        let list = Arc::clone(&self.segments.lock().list);
        for segment in list.iter() {
            visit(&segment.0.lock());
        }
    }

    /// All members.
    pub(crate) fn members(&self) -> Vec<M> {
        let mut members = Vec::with_capacity(self.len());
        self.each_segment(|segment| members.extend_from_slice(segment));
        members
    }

    /// Takes somebody in. Who is in it already is not to enter again.
    pub(crate) fn enter(self: &Arc<Self>, member: &M) -> Place<M> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.seat(member)
    }

    fn seat(self: &Arc<Self>, member: &M) -> Place<M> {
        let mut segments = self.segments.lock();
        let segment = segments.with_room();
        segment.0.lock().push(member.clone());
        Place { room: Arc::clone(self), segment }
    }

    /// Lets somebody out. Says whether nobody is left.
    pub(crate) fn leave(place: &Place<M>, member: &M) -> bool {
        let is_empty = {
            let mut members = place.segment.0.lock();
            if let Some(at) = members.iter().position(|other| other == member) {
                members.swap_remove(at);
            }
            // Most of its memory is given back when most of its members are gone.
            if members.len() < members.capacity() / 4 {
                members.shrink_to_fit();
            }
            members.is_empty()
        };
        if is_empty {
            place.room.segments.lock().drop_empty(&place.segment);
        }
        place.room.count.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl<M> Segments<M> {
    /// A segment that has room: the last, or one that others have left, or a new one.
    fn with_room(&mut self) -> Arc<Segment<M>> {
        if let Some(last) = self.list.last().filter(|last| last.0.lock().len() < SEGMENT) {
            return Arc::clone(last);
        }
        self.hint = (self.hint + 1) % self.list.len().max(1);
        if let Some(left) = self.list.get(self.hint)
            && left.0.lock().len() < SEGMENT / 2
        {
            return Arc::clone(left);
        }
        let new = Arc::new(Segment(Mutex::new(Vec::new())));
        self.list = self.list.iter().cloned().chain([Arc::clone(&new)]).collect();
        new
    }

    /// Takes a segment out that nobody is in any more, unless somebody is.
    fn drop_empty(&mut self, segment: &Arc<Segment<M>>) {
        if segment.0.lock().is_empty() {
            self.list =
                self.list.iter().filter(|other| !Arc::ptr_eq(other, segment)).cloned().collect();
        }
    }
}

/// Rooms by their names. A room exists while somebody is in it.
pub(crate) struct Rooms<M>(Shards<Named<M>, ()>);

/// A room, found by its name.
struct Named<M>(Arc<Room<M>>);

impl<M> Borrow<str> for Named<M> {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl<M> Hash for Named<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl<M> PartialEq for Named<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl<M> Eq for Named<M> {}

impl<M: Clone + PartialEq> Rooms<M> {
    pub(crate) fn new(shards: usize) -> Self {
        Self(Shards::new(shards))
    }

    /// The room of this name, if somebody is in it.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Room<M>>> {
        self.0
            .read(name, |rooms| rooms.get_key_value(name).map(|(room, ())| Arc::clone(&room.0)))?
    }

    /// How many rooms there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All rooms, by name.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.0.collect(|room, ()| Arc::clone(&room.0.name))
    }

    /// Takes somebody into the room of this name, which is made if there is none.
    pub(crate) fn enter(&self, name: &str, member: &M) -> Place<M> {
        self.reserve(name).seat(member)
    }

    /// The room of this name, which stays until who asked for it has left.
    fn reserve(&self, name: &str) -> Arc<Room<M>> {
        let found = self.0.read(name, |rooms| {
            let (room, ()) = rooms.get_key_value(name)?;
            room.0.count.fetch_add(1, Ordering::Relaxed);
            Some(Arc::clone(&room.0))
        });
        if let Some(Some(room)) = found {
            return room;
        }
        let made = self.0.write(name, |rooms| {
            if let Some((room, ())) = rooms.get_key_value(name) {
                room.0.count.fetch_add(1, Ordering::Relaxed);
                return Arc::clone(&room.0);
            }
            let room = Room::new(Arc::from(name));
            room.count.store(1, Ordering::Relaxed);
            rooms.insert(Named(Arc::clone(&room)), ());
            room
        });
        made.unwrap_or_else(|| Room::new(Arc::from(name)))
    }

    /// Lets somebody out of a room, which ends when it is empty.
    pub(crate) fn leave(&self, place: &Place<M>, member: &M) {
        if Room::leave(place, member) {
            self.0.write(&*place.room.name, |rooms| {
                // Somebody may have come in between, or made another of the same name.
                let same = rooms
                    .get_key_value(&*place.room.name)
                    .is_some_and(|(room, ())| Arc::ptr_eq(&room.0, &place.room));
                if same && place.room.len() == 0 {
                    rooms.remove(&*place.room.name);
                }
            });
        }
    }
}
