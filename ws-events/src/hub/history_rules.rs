//! Which rooms of a hub have a history, and where is it kept?

use std::fmt;
use std::sync::Arc;

use crate::hub::sessions::{HubRecovery, SessionSettings};
use crate::registry::namespaces::matches;
use crate::socketio::ROOT;
use crate::{History, HistoryStore, MemoryHistory};

/// The rooms of a hub that have a history, and where it is kept.
pub(crate) struct HubHistory {
    /// Patterns of the names of rooms.
    rules: Arc<[(Arc<str>, History)]>,
    pub(crate) store: Arc<dyn HistoryStore>,
    /// The application has chosen the store.
    is_custom: bool,
    /// If its sessions are recovered.
    pub(crate) recovery: Option<Arc<HubRecovery>>,
}

impl HubHistory {
    /// `None` if no room has a history, and sessions are not recovered.
    pub(crate) fn new(
        rules: Vec<(Arc<str>, History)>,
        store: Option<Arc<dyn HistoryStore>>,
        sessions: Option<SessionSettings>,
    ) -> Option<Box<Self>> {
        if rules.is_empty() && sessions.is_none() {
            return None;
        }
        let is_custom = store.is_some();
        let store = store.unwrap_or_else(|| Arc::new(MemoryHistory::new()));
        let recovery = sessions.map(|settings| HubRecovery::new(settings, ROOT));
        let rules = rules.into();
        Some(Box::new(Self { rules, store, is_custom, recovery }))
    }

    /// For a namespace with this name: the same settings and store.
    pub(crate) fn child(&self, name: &str) -> Box<Self> {
        let (rules, store) = (Arc::clone(&self.rules), Arc::clone(&self.store));
        let recovery = self.recovery.as_ref().map(|recovery| recovery.child(name));
        Box::new(Self { rules, store, is_custom: self.is_custom, recovery })
    }

    /// Whether a store that the application has chosen orders the messages of a room.
    pub(crate) fn is_ordered_by_store(&self, room: &str) -> bool {
        self.is_custom && self.limits(room).is_some()
    }

    /// The limits of a room with a history.
    pub(crate) fn limits(&self, room: &str) -> Option<&History> {
        let (_, limits) = self.rules.iter().find(|(pattern, _)| matches(pattern, room))?;
        Some(limits)
    }
}

impl fmt::Debug for HubHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHistory").field("rules", &self.rules).finish_non_exhaustive()
    }
}
