//! From when on does a node get what another one does not any more?
//!
//! A session moves from one node to another, and no message for it may get lost in between. The new
//! node begins to count messages, which needs subscriptions. Once markers of its own come back to
//! it on each subject, it has these. Then it publishes a second marker on each. In a broker with a
//! total order, the old node has counted all messages before that marker when it arrives there, and
//! the new node gets all that come after it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, timeout};

use super::engine::ClusterEngine;
use super::envelope::{Body, Question};
use super::gather::PendingRequest;
use super::node::NodeId;
use super::outbox::Taken;
use super::session_body::SessionQuestion;
use crate::broker::Subject;

/// How long a marker is awaited before it is repeated, at first and at last.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LAST_WAIT: Duration = Duration::from_millis(200);

/// The most subjects that are marked: of more rooms, with a subject each.
pub(crate) const MAX_SUBJECTS: usize = 1024;

/// The markers that are awaited, with the subjects on which they have come.
#[derive(Debug, Default)]
pub(crate) struct Markers {
    awaited: Mutex<HashMap<u64, HashSet<Subject>>>,
    changed: Notify,
}

/// A marker that is awaited, until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct AwaitedMarker {
    markers: Arc<Markers>,
    id: u64,
}

impl Markers {
    fn expect(self: &Arc<Self>, id: u64) -> AwaitedMarker {
        self.awaited.lock().insert(id, HashSet::new());
        AwaitedMarker { markers: Arc::clone(self), id }
    }

    /// A marker has arrived, behind all that was published on its subject before it.
    pub(super) fn arrived(&self, id: u64, subject: &Subject) {
        if let Some(subjects) = self.awaited.lock().get_mut(&id)
            && subjects.len() < MAX_SUBJECTS
        {
            subjects.insert(subject.clone());
            self.changed.notify_waiters();
        }
    }
}

impl AwaitedMarker {
    /// Waits until it has come on so many subjects.
    pub(crate) async fn wait(&self, subjects: usize) {
        loop {
            let mut changed = std::pin::pin!(self.markers.changed.notified());
            // From here on, no notification is missed.
            changed.as_mut().enable();
            if self.count() >= subjects {
                return;
            }
            changed.await;
        }
    }

    fn count(&self) -> usize {
        self.markers.awaited.lock().get(&self.id).map_or(0, HashSet::len)
    }

    fn has(&self, subject: &Subject) -> bool {
        self.markers.awaited.lock().get(&self.id).is_some_and(|it| it.contains(subject))
    }
}

impl Drop for AwaitedMarker {
    fn drop(&mut self) {
        self.markers.awaited.lock().remove(&self.id);
    }
}

impl ClusterEngine {
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// Asks a namespace of a node about sessions.
    pub(crate) fn ask_session(
        &self,
        node: NodeId,
        namespace: Arc<str>,
        question: SessionQuestion,
    ) -> PendingRequest {
        self.ask_one(node, namespace, Question::Session(question))
    }

    /// Counts the subjects on which this marker comes, from now on.
    pub(crate) fn expect_marker(&self, id: u64) -> AwaitedMarker {
        self.markers.expect(id)
    }

    /// Publishes a marker on the subjects of these rooms, and on that of all nodes, once this node
    /// gets what is published there. The rooms must be [known](Self::add_room). Returns the number
    /// of the subjects; `None` if the broker is down, or orders the messages of several nodes for
    /// each subscriber anew, so that a marker says nothing of them.
    pub(crate) async fn mark<'a>(
        &self,
        id: u64,
        namespace: &str,
        rooms: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<usize> {
        if !self.broker.capabilities().total_order {
            return None;
        }
        let subjects = self.subjects(namespace, rooms);
        if subjects.len() > MAX_SUBJECTS {
            return None;
        }
        let own = rand::random();
        let (awaited, mut wait) = (self.expect_marker(own), FIRST_WAIT);
        while awaited.count() < subjects.len() {
            let missing = subjects.iter().filter(|subject| !awaited.has(subject));
            self.publish_marker(own, missing)?;
            let _ = timeout(wait, awaited.wait(subjects.len())).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
        self.publish_marker(id, subjects.iter())?;
        Some(subjects.len())
    }

    /// The subjects of these rooms, and that of all nodes.
    pub(crate) fn subjects<'a>(
        &self,
        namespace: &str,
        rooms: impl Iterator<Item = &'a Arc<str>>,
    ) -> HashSet<Subject> {
        let rooms = rooms.filter_map(|room| self.slots.subject(namespace, room));
        rooms.chain([self.all.clone()]).collect()
    }

    fn publish_marker<'a>(
        &self,
        id: u64,
        mut subjects: impl Iterator<Item = &'a Subject>,
    ) -> Option<()> {
        let publish = |subject| self.publish(subject, &Body::Marker { id });
        subjects.all(|subject| matches!(publish(subject), Ok(Taken::Published))).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_marker_is_awaited_on_each_subject_and_others_are_ignored() {
        let (markers, subject) =
            (Arc::new(Markers::default()), |name: &str| Subject::new(name).unwrap());
        markers.arrived(1, &subject("a"));
        let awaited = markers.expect(1);
        let waits = |count| awaited.wait(count).now_or_never().is_none();
        assert!(waits(1) && !waits(0));
        for (id, name, is_waiting) in
            [(1, "a", true), (1, "a", true), (2, "b", true), (1, "b", false)]
        {
            markers.arrived(id, &subject(name));
            assert_eq!(waits(2), is_waiting, "{id} {name}");
        }
        for number in 0..2 * MAX_SUBJECTS {
            markers.arrived(1, &subject(&format!("s{number}")));
        }
        assert_eq!(awaited.count(), MAX_SUBJECTS);
        drop(awaited);
        assert!(markers.awaited.lock().is_empty());
    }
}
