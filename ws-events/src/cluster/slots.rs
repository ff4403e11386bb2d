//! To which subjects does a node subscribe?
//!
//! A room belongs to a slot: its partition, or itself. A node subscribes to a slot while it has a
//! room there, and some seconds longer, since rooms come and go.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::config::Routing;
use crate::broker::{Subject, stable_hash};

/// How long a subscription stays without a room.
const LINGER: Duration = Duration::from_secs(5);

/// The subscriptions of rooms.
#[derive(Debug)]
pub(crate) struct Slots {
    prefix: String,
    routing: Routing,
    /// Those of all partitions, if there are partitions.
    partitions: Vec<Subject>,
    table: Mutex<SlotTable>,
    /// A slot has to be subscribed to.
    pub(crate) changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct SlotTable {
    slots: HashMap<u64, Slot>,
    /// Slots that got a room, and are not subscribed to.
    wanted: Vec<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    rooms: usize,
    is_subscribed: bool,
    /// Since when it has no room.
    empty_since: Option<Instant>,
}

impl Slots {
    pub(crate) fn new(prefix: &str, routing: Routing, changed: Arc<Notify>) -> Self {
        let count = if let Routing::Partitioned(count) = routing { count } else { 0 };
        let subject = |at| Subject::new(format!("{prefix}.p{count}.{at}"));
        Self {
            prefix: prefix.to_owned(),
            routing,
            // The prefix was checked.
            partitions: (0..count).filter_map(|at| subject(at).ok()).collect(),
            table: Mutex::default(),
            changed,
        }
    }

    /// The subject of a room; `None` if its broadcasts go to all nodes.
    pub(crate) fn subject(&self, namespace: &str, room: &str) -> Option<Subject> {
        self.subject_of(self.slot(namespace, room)?)
    }

    fn slot(&self, namespace: &str, room: &str) -> Option<u64> {
        let hash = || stable_hash(namespace.bytes().chain([0]).chain(room.bytes()));
        match self.routing {
            Routing::Partitioned(count) => Some(hash() % u64::from(count.max(1))),
            Routing::PerRoom => Some(hash()),
            Routing::All => None,
        }
    }

    fn subject_of(&self, slot: u64) -> Option<Subject> {
        match self.routing {
            Routing::Partitioned(_) => self.partitions.get(usize::try_from(slot).ok()?).cloned(),
            Routing::PerRoom => Subject::new(format!("{}.r.{slot:016x}", self.prefix)).ok(),
            Routing::All => None,
        }
    }

    /// A room was created on this node. Called under the lock of its shard.
    pub(crate) fn add_room(&self, namespace: &str, room: &str) {
        let Some(number) = self.slot(namespace, room) else { return };
        let mut table = self.table.lock();
        let slot = table.slots.entry(number).or_default();
        slot.rooms += 1;
        slot.empty_since = None;
        if slot.rooms == 1 && !slot.is_subscribed {
            table.wanted.push(number);
            drop(table);
            self.changed.notify_one();
        }
    }

    /// A room was removed on this node. Called under the lock of its shard.
    pub(crate) fn remove_room(&self, namespace: &str, room: &str) {
        let Some(number) = self.slot(namespace, room) else { return };
        let mut table = self.table.lock();
        let Some(slot) = table.slots.get_mut(&number) else { return };
        slot.rooms = slot.rooms.saturating_sub(1);
        if slot.rooms == 0 {
            if slot.is_subscribed {
                slot.empty_since = Some(Instant::now());
            } else {
                table.slots.remove(&number);
            }
        }
    }

    /// The subjects that have to be subscribed to now.
    pub(crate) fn take_wanted(&self) -> Vec<Subject> {
        let mut table = self.table.lock();
        let mut subjects = Vec::new();
        for number in std::mem::take(&mut table.wanted) {
            if let Some(slot) = table.slots.get_mut(&number)
                && !slot.is_subscribed
            {
                slot.is_subscribed = true;
                subjects.extend(self.subject_of(number));
            }
        }
        subjects
    }

    /// The subjects that are not needed any more.
    pub(crate) fn take_unwanted(&self, now: Instant) -> Vec<Subject> {
        let mut subjects = Vec::new();
        self.table.lock().slots.retain(|number, slot| {
            let is_needed = slot.empty_since.is_none_or(|since| now.duration_since(since) < LINGER);
            if !is_needed {
                subjects.extend(self.subject_of(*number));
            }
            is_needed
        });
        subjects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(routing: Routing) -> Slots {
        Slots::new("ws", routing, Arc::new(Notify::new()))
    }

    fn names(subjects: Vec<Subject>) -> Vec<String> {
        subjects.iter().map(|subject| subject.as_str().to_owned()).collect()
    }

    #[test]
    fn the_subject_of_a_room_is_the_same_on_all_nodes_and_versions() {
        let of = |routing, namespace: &str, room: &str| {
            slots(routing).subject(namespace, room).map(|it| it.as_str().to_owned())
        };
        let check = |routing, namespace, room, expected: Option<&str>| {
            assert_eq!(of(routing, namespace, room).as_deref(), expected);
        };
        check(Routing::All, "/", "a", None);
        check(Routing::Partitioned(1), "/", "a", Some("ws.p1.0"));
        check(Routing::Partitioned(64), "/", "a", Some("ws.p64.22"));
        check(Routing::PerRoom, "/", "a", Some("ws.r.ef6d7a1708fa8296"));
        assert_ne!(of(Routing::PerRoom, "/", "a"), of(Routing::PerRoom, "/n", "a"));
        let partitions: std::collections::HashSet<_> =
            (0..1000).map(|at| of(Routing::Partitioned(64), "/", &format!("room{at}"))).collect();
        assert_eq!(partitions.len(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_subscribed_to_with_its_first_room_and_lingers_after_its_last() {
        let slots = slots(Routing::Partitioned(1));
        let now = Instant::now;
        slots.add_room("/", "a");
        slots.add_room("/", "b");
        assert_eq!(names(slots.take_wanted()), ["ws.p1.0"]);
        assert_eq!(names(slots.take_wanted()), [""; 0]);
        slots.remove_room("/", "a");
        tokio::time::advance(LINGER).await;
        assert_eq!(names(slots.take_unwanted(now())), [""; 0]);
        slots.remove_room("/", "b");
        slots.add_room("/", "b");
        slots.remove_room("/", "b");
        assert_eq!(names(slots.take_wanted()), [""; 0]);
        tokio::time::advance(LINGER).await;
        assert_eq!(names(slots.take_unwanted(now())), ["ws.p1.0"]);
        slots.add_room("/", "c");
        slots.remove_room("/", "c");
        assert_eq!(names(slots.take_wanted()), [""; 0]);
        slots.add_room("/", "c");
        assert_eq!(names(slots.take_wanted()), ["ws.p1.0"]);
    }
}
