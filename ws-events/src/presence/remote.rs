//! What is known of the entries of other nodes, and is it the latest?
//!
//! A node publishes batches of changes, each with the next version. Heartbeats have the version, too.
//! If a batch is missing, the whole list of the node is asked for. Batches that arrive meanwhile wait.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::time::Instant;

use super::rooms::{DevicePlace, EntrySource, PresenceRooms, RoomKey};
use crate::cluster::NodeId;
use crate::cluster::presence_body::{PresenceOp, PresencePart, PresenceRecord};

/// The batches of a node that wait for an earlier one. Further ones are in the list that is asked for
/// next.
const MAX_AHEAD: usize = 64;

/// The entries of other nodes.
#[derive(Debug)]
pub(crate) struct RemoteEntries {
    /// The most entries of a node.
    most: usize,
    /// The nodes that are up.
    nodes: HashMap<NodeId, RemoteNode>,
}

#[derive(Debug, Default)]
struct RemoteNode {
    /// The version of `entries`; `None` before the first list.
    known: Option<u64>,
    /// The latest version that the node was heard of.
    latest: u64,
    entries: HashMap<u64, DevicePlace>,
    /// Batches behind one that is missing.
    ahead: BTreeMap<u64, Vec<PresenceOp>>,
    is_asked: bool,
    /// What has arrived of the list that was asked for.
    incoming: PresencePart,
}

impl RemoteEntries {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, nodes: HashMap::new() }
    }

    /// A node that is up says that its entries have this version. Returns whether to ask for its list.
    pub(crate) fn claimed(&mut self, node: NodeId, version: u64) -> bool {
        let remote = self.nodes.entry(node).or_default();
        if version == 0 {
            // It has none yet.
            remote.known.get_or_insert(0);
        }
        remote.latest = remote.latest.max(version);
        remote.ask()
    }

    /// A batch of changes has arrived. Returns whether to ask for the list of the node.
    pub(crate) fn changed(
        &mut self,
        node: NodeId,
        version: u64,
        ops: Vec<PresenceOp>,
        rooms: &mut PresenceRooms,
        now: Instant,
    ) -> bool {
        // A node is heard first by its heartbeat, and it is not known when it is down.
        let Some(remote) = self.nodes.get_mut(&node) else { return false };
        if remote.known.is_some_and(|known| version <= known) {
            return false;
        }
        remote.latest = remote.latest.max(version);
        if remote.ahead.len() < MAX_AHEAD {
            remote.ahead.insert(version, ops);
        }
        remote.advance(node, self.most, rooms, now);
        remote.ask()
    }

    /// Whether the list of a node is still to be asked for. If not, it may be later.
    pub(crate) fn is_behind(&mut self, node: NodeId) -> bool {
        let Some(remote) = self.nodes.get_mut(&node) else { return false };
        remote.is_asked = remote.is_behind();
        remote.incoming = PresencePart::default();
        remote.is_asked
    }

    /// A part of the list of a node has arrived.
    pub(crate) fn part(&mut self, node: NodeId, part: PresencePart) {
        let Some(remote) = self.nodes.get_mut(&node) else { return };
        let incoming = &mut remote.incoming;
        if (incoming.version, incoming.total) != (part.version, part.total) {
            *incoming = PresencePart { records: Vec::new(), ..part };
        }
        let room = self.most.saturating_sub(incoming.records.len());
        incoming.records.extend(part.records.into_iter().take(room));
    }

    /// The node has answered, or `is_complete` is false.
    pub(crate) fn listed(
        &mut self,
        node: NodeId,
        is_complete: bool,
        rooms: &mut PresenceRooms,
        now: Instant,
    ) {
        let Some(remote) = self.nodes.get_mut(&node) else { return };
        remote.is_asked = false;
        let PresencePart { version, total, records } = std::mem::take(&mut remote.incoming);
        let is_whole = records.len() as u64 == total || records.len() >= self.most;
        if !is_complete || !is_whole || remote.known.is_some_and(|known| version <= known) {
            return;
        }
        let numbers: HashSet<_> = records.iter().map(|record| record.number).collect();
        remote.entries.retain(|number, place| {
            let stays = numbers.contains(number);
            if !stays {
                rooms.leave(place, false, now);
            }
            stays
        });
        for record in records {
            remote.put(node, record, self.most, rooms);
        }
        remote.known = Some(version);
        remote.advance(node, self.most, rooms, now);
    }

    /// A node is down: its entries are gone.
    pub(crate) fn node_down(&mut self, node: NodeId, rooms: &mut PresenceRooms, now: Instant) {
        let Some(remote) = self.nodes.remove(&node) else { return };
        remote.entries.values().for_each(|place| rooms.leave(place, false, now));
    }
}

impl RemoteNode {
    fn is_behind(&self) -> bool {
        self.known.is_none_or(|known| known < self.latest)
    }

    /// Whether to ask for the list now. It is asked for once at a time.
    fn ask(&mut self) -> bool {
        self.is_behind() && !std::mem::replace(&mut self.is_asked, true)
    }

    /// Applies the batches that come next.
    fn advance(&mut self, node: NodeId, most: usize, rooms: &mut PresenceRooms, now: Instant) {
        let Some(mut known) = self.known else { return };
        while let Some(first) = self.ahead.first_entry()
            && *first.key() <= known.saturating_add(1)
        {
            let (version, ops) = first.remove_entry();
            if version <= known {
                continue;
            }
            known = version;
            for op in ops {
                match op {
                    PresenceOp::Put(record) => self.put(node, record, most, rooms),
                    PresenceOp::Remove { number, at_once } => {
                        if let Some(place) = self.entries.remove(&number) {
                            rooms.leave(&place, at_once, now);
                        }
                    }
                }
            }
        }
        self.known = Some(known);
    }

    fn put(
        &mut self,
        node: NodeId,
        record: PresenceRecord,
        most: usize,
        rooms: &mut PresenceRooms,
    ) {
        let PresenceRecord { number, namespace, room, key, meta } = record;
        if let Some(place) = self.entries.get(&number) {
            rooms.set_meta(place, meta);
            return;
        }
        if self.entries.len() >= most {
            return;
        }
        let source = EntrySource { node: Some(node), number };
        let room = RoomKey { namespace, room };
        if let Ok(place) = rooms.enter((&room, &key), source, meta, false) {
            self.entries.insert(number, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::limits::PresenceOptions;

    const NODE: NodeId = NodeId(1);

    /// What arrives of a node.
    enum Arrival {
        /// The version of a heartbeat, and whether the list is asked for.
        Claim(u64, bool),
        /// A batch that puts these entries, and whether the list is asked for.
        Batch(u64, &'static [u64], bool),
        /// A part of a list: its version, the number of all entries, and some of them.
        Part(u64, u64, &'static [u64]),
        /// The end of the answer, and whether it is complete.
        End(bool),
    }

    use Arrival::{Batch, Claim, End, Part};

    fn record(number: u64) -> PresenceRecord {
        let key = number.to_string().into();
        PresenceRecord { number, namespace: "/".into(), room: "r".into(), key, meta: "1".into() }
    }

    /// Arrivals → the version that is known, and the entries.
    #[track_caller]
    fn check(arrivals: &[Arrival], version: Option<u64>, expected: &[u64]) {
        let mut rooms = PresenceRooms::new(&PresenceOptions::new());
        let (mut others, now) = (RemoteEntries::new(4), Instant::now());
        for (at, arrival) in arrivals.iter().enumerate() {
            match arrival {
                Claim(version, asks) => {
                    assert_eq!(others.claimed(NODE, *version), *asks, "arrival {at}");
                }
                Batch(version, numbers, asks) => {
                    let ops = numbers.iter().map(|it| PresenceOp::Put(record(*it))).collect();
                    let asked = others.changed(NODE, *version, ops, &mut rooms, now);
                    assert_eq!(asked, *asks, "arrival {at}");
                }
                Part(version, total, numbers) => {
                    let records = numbers.iter().map(|it| record(*it)).collect();
                    let part = PresencePart { version: *version, total: *total, records };
                    others.part(NODE, part);
                }
                End(is_complete) => others.listed(NODE, *is_complete, &mut rooms, now),
            }
        }
        let node = others.nodes.get(&NODE);
        let mut numbers: Vec<_> = node.iter().flat_map(|it| it.entries.keys().copied()).collect();
        numbers.sort_unstable();
        assert_eq!((node.and_then(|it| it.known), &*numbers), (version, expected));
    }

    #[test]
    fn batches_are_applied_in_the_order_of_their_versions() {
        check(&[Batch(1, &[1], false)], None, &[]);
        check(&[Claim(0, false), Batch(1, &[1], false)], Some(1), &[1]);
        check(&[Claim(0, false), Batch(1, &[1], false), Batch(1, &[2], false)], Some(1), &[1]);
        // It is asked for once, and the missing batch may still come.
        let late = [Claim(0, false), Batch(2, &[2], true), Batch(3, &[3], false)];
        check(&late, Some(0), &[]);
        let [one, two, three] = late;
        check(&[one, two, three, Batch(1, &[1], false)], Some(3), &[1, 2, 3]);
    }

    #[test]
    fn a_list_is_applied_if_it_is_whole_and_new() {
        check(&[Claim(3, true), Part(3, 2, &[1]), Part(3, 2, &[2]), End(true)], Some(3), &[1, 2]);
        check(&[Claim(3, true), Part(3, 0, &[]), End(true)], Some(3), &[]);
        // The end is missing, or a part.
        check(&[Claim(3, true), Part(3, 1, &[1]), End(false)], None, &[]);
        check(&[Claim(3, true), Part(3, 2, &[1]), End(true)], None, &[]);
        check(&[Claim(3, true), End(false), Claim(3, true)], None, &[]);
        // Parts of two versions are not mixed.
        check(&[Claim(3, true), Part(3, 2, &[1]), Part(4, 1, &[2]), End(true)], Some(4), &[2]);
        // Batches that came meanwhile are behind the list, or in it.
        let batches = [Claim(3, true), Batch(4, &[4], false), Batch(5, &[5], false)];
        let [claim, four, five] = batches;
        check(&[claim, four, five, Part(4, 1, &[4]), End(true)], Some(5), &[4, 5]);
        // The missing batch has come before the list.
        let meanwhile = [
            Claim(0, false),
            Batch(2, &[2], true),
            Batch(1, &[1], false),
            Part(1, 1, &[1]),
            End(true),
            Claim(2, false),
        ];
        check(&meanwhile, Some(2), &[1, 2]);
        check(&[Claim(1, true), Part(1, 5, &[1, 2, 3, 4, 5]), End(true)], Some(1), &[1, 2, 3, 4]);
    }

    #[test]
    fn batches_that_wait_are_bounded_and_the_rest_is_asked_for() {
        let mut rooms = PresenceRooms::new(&PresenceOptions::new());
        let mut others = RemoteEntries::new(4);
        assert!(others.claimed(NODE, 1));
        for version in 2..1000 {
            others.changed(NODE, version, Vec::new(), &mut rooms, Instant::now());
        }
        assert_eq!(others.nodes[&NODE].ahead.len(), MAX_AHEAD);
        others.part(NODE, PresencePart { version: 1, ..PresencePart::default() });
        others.listed(NODE, true, &mut rooms, Instant::now());
        assert_eq!(others.nodes[&NODE].known, Some(1 + MAX_AHEAD as u64));
        assert!(others.claimed(NODE, 999));
    }
}
