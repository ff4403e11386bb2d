//! Which rooms of a hub have a history, where is it kept, and how far was each delivered?

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::cluster::seam::Cluster;
use crate::hub::sessions::{HubRecovery, SessionSettings};
use crate::registry::namespaces::matches;
use crate::registry::rooms::RoomObserver;
use crate::socketio::ROOT;
use crate::{History, HistoryReply, HistoryStore, MemoryHistory, Position};

/// The key of a room in the store: its name. With a namespace, or if the name starts with `/`, it is
/// `/length:namespace` and the name, with the length of the namespace in bytes.
pub(super) fn history_key<'a>(namespace: &str, room: &'a str) -> Cow<'a, str> {
    match namespace {
        ROOT if !room.starts_with('/') => Cow::Borrowed(room),
        namespace => Cow::Owned(format!("/{}:{namespace}{room}", namespace.len())),
    }
}

/// The namespace and the room of a key.
pub(super) fn split_history_key(key: &str) -> Option<(&str, &str)> {
    let Some(rest) = key.strip_prefix('/') else { return Some((ROOT, key)) };
    let (len, rest) = rest.split_once(':')?;
    rest.split_at_checked(len.parse().ok()?)
}

/// The rooms with members, by key, and the positions up to which they have what a store has stored
/// later.
type Delivered = Mutex<HashMap<Arc<str>, Position>>;

/// The rooms of a hub that have a history, and where it is kept.
pub(crate) struct HubHistory {
    /// Patterns of the names of rooms.
    rules: Arc<[(Arc<str>, History)]>,
    pub(crate) store: Arc<dyn HistoryStore>,
    /// If the application has chosen the store. Shared with the namespaces.
    delivered: Option<Arc<Delivered>>,
    /// If its sessions are recovered.
    pub(crate) recovery: Option<Arc<HubRecovery>>,
    /// One for each room, or for several.
    steps: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// How many rooms store a message, or get a member, at the same time.
const STEPS: usize = 64;

impl HubHistory {
    /// `None` if no room has a history, and sessions are not recovered.
    pub(crate) fn new(
        rules: Vec<(Arc<str>, History)>,
        store: Option<Arc<dyn HistoryStore>>,
        sessions: Option<SessionSettings>,
        cluster: Option<&Cluster>,
    ) -> Option<Box<Self>> {
        if rules.is_empty() && sessions.is_none() {
            return None;
        }
        let delivered = store.is_some().then(Arc::default);
        let store = store.unwrap_or_else(|| Arc::new(MemoryHistory::new()));
        let recover = |settings| HubRecovery::new(settings, cluster.cloned(), ROOT);
        let (rules, recovery) = (rules.into(), sessions.map(recover));
        Some(Box::new(Self::with(rules, store, delivered, recovery)))
    }

    /// For a namespace: the same settings and store.
    pub(crate) fn child(&self, cluster: Option<&Cluster>, namespace: &str) -> Box<Self> {
        let (rules, store) = (Arc::clone(&self.rules), Arc::clone(&self.store));
        let child = |own: &Arc<HubRecovery>| own.child(cluster.cloned(), namespace);
        let recovery = self.recovery.as_ref().map(child);
        Box::new(Self::with(rules, store, self.delivered.clone(), recovery))
    }

    fn with(
        rules: Arc<[(Arc<str>, History)]>,
        store: Arc<dyn HistoryStore>,
        delivered: Option<Arc<Delivered>>,
        recovery: Option<Arc<HubRecovery>>,
    ) -> Self {
        let steps = (0..STEPS).map(|_| Mutex::new(())).collect();
        Self { rules, store, delivered, recovery, steps, hasher: RandomState::new() }
    }

    /// Holds back who joins a room with a history, while a message is stored and delivered there.
    /// Otherwise a member could join and read the history before the message is stored, in a room
    /// that had no member when its members were looked up. Taken after the lock of a membership, and
    /// before those of rooms.
    pub(super) fn begin_step(&self, room: &str) -> Option<MutexGuard<'_, ()>> {
        self.limits(room)?;
        let hash = usize::try_from(self.hasher.hash_one(room) % STEPS as u64).unwrap_or(0);
        Some(self.steps.get(hash)?.lock())
    }

    /// Whether a store that the application has chosen orders the messages of a room.
    pub(crate) fn is_ordered_by_store(&self, room: &str) -> bool {
        self.delivered.is_some() && self.limits(room).is_some()
    }

    /// The limits of a room with a history.
    pub(crate) fn limits(&self, room: &str) -> Option<&History> {
        limits(&self.rules, room)
    }

    /// The members of a room have everything up to this position. Called under its send lock, and
    /// while it is in the registry: its removal forgets the position.
    pub(super) fn set_delivered(&self, key: &str, position: Position) {
        let Some(delivered) = &self.delivered else { return };
        let mut delivered = delivered.lock();
        match delivered.get_mut(key) {
            Some(last) => *last = position,
            None => _ = delivered.insert(Arc::from(key), position),
        }
    }

    /// What the members of a room have is not known any more.
    pub(super) fn forget_delivered(&self, key: &str) {
        self.delivered.iter().for_each(|delivered| _ = delivered.lock().remove(key));
    }

    /// The position up to which the members of a room have everything, if it is known now. Called
    /// under its send lock.
    pub(crate) fn last_delivered(&self, key: &str) -> Option<Position> {
        let delivered = self.delivered.as_ref().and_then(|it| it.lock().get(key).copied());
        delivered.or_else(|| match self.store.latest(key, 0) {
            HistoryReply::Now(Ok(page)) => Some(page.last),
            // What they get next has a position.
            HistoryReply::Now(Err(_)) | HistoryReply::Later(_) => None,
        })
    }

    /// Tells the store which rooms of a namespace have members, and then `next`.
    pub(crate) fn observe(
        &self,
        namespace: Arc<str>,
        next: Option<Box<dyn RoomObserver>>,
    ) -> Option<Box<dyn RoomObserver>> {
        let Some(delivered) = self.delivered.clone().filter(|_| !self.rules.is_empty()) else {
            return next;
        };
        let (rules, store) = (Arc::clone(&self.rules), Arc::clone(&self.store));
        Some(Box::new(HistoryRooms { rules, store, delivered, namespace, next }))
    }
}

fn limits<'a>(rules: &'a [(Arc<str>, History)], room: &str) -> Option<&'a History> {
    let (_, limits) = rules.iter().find(|(pattern, _)| matches(pattern, room))?;
    Some(limits)
}

/// Tells a store that the application has chosen which rooms have members.
struct HistoryRooms {
    rules: Arc<[(Arc<str>, History)]>,
    store: Arc<dyn HistoryStore>,
    delivered: Arc<Delivered>,
    namespace: Arc<str>,
    next: Option<Box<dyn RoomObserver>>,
}

impl RoomObserver for HistoryRooms {
    fn created(&self, room: &str) {
        if limits(&self.rules, room).is_some() {
            self.store.watch(&history_key(&self.namespace, room));
        }
        self.next.iter().for_each(|next| next.created(room));
    }

    fn removed(&self, room: &str) {
        if limits(&self.rules, room).is_some() {
            let key = history_key(&self.namespace, room);
            self.delivered.lock().remove(&*key);
            self.store.unwatch(&key);
        }
        self.next.iter().for_each(|next| next.removed(room));
    }
}

impl fmt::Debug for HubHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHistory").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_of_each_namespace_has_a_key_of_its_own() {
        for (namespace, room, key) in [
            ("/", "red", "red"),
            ("/", "", ""),
            ("/", "/red", "/1://red"),
            ("/", "7:/ared", "7:/ared"),
            ("/a", "red", "/2:/ared"),
            ("/a", "/red", "/2:/a/red"),
            ("/a,b", "c:ü", "/4:/a,bc:ü"),
            ("/ü", "ü", "/3:/üü"),
        ] {
            assert_eq!(history_key(namespace, room), key);
            assert_eq!(split_history_key(key), Some((namespace, room)));
        }
        for key in ["/", "/x:/a", "/9:/a", "/2:/ü"] {
            assert_eq!(split_history_key(key), None, "{key}");
        }
    }
}
