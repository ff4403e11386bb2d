//! Which rooms of a hub have a history, and where is it kept?

use std::fmt;
use std::sync::Arc;

use crate::hub::sessions::{HubRecovery, SessionSettings};
use crate::registry::namespaces::matches;
use crate::{History, HistoryStore, MemoryHistory};

/// The rooms of a hub that have a history, and where it is kept.
pub(crate) struct HubHistory {
    /// Patterns of the names of rooms.
    rules: Arc<[(Arc<str>, History)]>,
    pub(crate) store: Arc<dyn HistoryStore>,
    /// If its sessions are recovered.
    pub(crate) recovery: Option<HubRecovery>,
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
        let store = store.unwrap_or_else(|| Arc::new(MemoryHistory::new()));
        Some(Box::new(Self {
            rules: rules.into(),
            store,
            recovery: sessions.map(HubRecovery::new),
        }))
    }

    /// For a namespace: the same settings and store.
    pub(crate) fn child(&self) -> Box<Self> {
        let (rules, store) = (Arc::clone(&self.rules), Arc::clone(&self.store));
        Box::new(Self { rules, store, recovery: self.recovery.as_ref().map(HubRecovery::child) })
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
