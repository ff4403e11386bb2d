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
