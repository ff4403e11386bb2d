//! Which subjects are wanted, and which changes does the server not know yet?

use std::collections::HashSet;
use std::hash::Hash;

use crate::session::Change;

/// The subjects that are wanted, independent of a connection.
#[derive(Debug)]
pub(crate) struct Subscriptions<N> {
    wanted: HashSet<N>,
    /// In their order.
    changes: Vec<Change<N>>,
}

impl<N> Default for Subscriptions<N> {
    fn default() -> Self {
        Self { wanted: HashSet::new(), changes: Vec::new() }
    }
}

impl<N: Clone + Eq + Hash> Subscriptions<N> {
    /// Records subjects. Those that are recorded already change nothing.
    pub(crate) fn subscribe(&mut self, subjects: &[N]) {
        for subject in subjects {
            if self.wanted.insert(subject.clone()) {
                self.changes.push(Change::Subscribe(subject.clone()));
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, subjects: &[N]) {
        for subject in subjects {
            if self.wanted.remove(subject) {
                self.changes.push(Change::Unsubscribe(subject.clone()));
            }
        }
    }

    /// All wanted subjects, for a new connection. No change is left.
    pub(crate) fn restart(&mut self) -> Vec<Change<N>> {
        self.changes = Vec::new();
        self.wanted.iter().cloned().map(Change::Subscribe).collect()
    }

    /// Forgets the changes while there is no connection: it gets all wanted subjects.
    pub(crate) fn disconnected(&mut self) {
        self.changes = Vec::new();
    }

    /// The oldest changes, at most `max`. A subject occurs once, so the order within a batch has no
    /// effect.
    pub(crate) fn take_changes(&mut self, max: usize) -> Vec<Change<N>> {
        let mut seen = HashSet::new();
        let changes = self.changes.iter().take(max);
        let len = changes.take_while(|change| seen.insert(change.subject().clone())).count();
        self.changes.drain(..len).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use ws_events::broker::Subject;

    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    #[test]
    fn a_subject_is_subscribed_once_and_the_order_of_changes_is_kept() {
        let (a, b) = (subject("a"), subject("b"));
        let mut subscriptions = Subscriptions::default();
        subscriptions.subscribe(&[a.clone(), b.clone(), a.clone()]);
        subscriptions.unsubscribe(&[a.clone(), subject("c")]);
        subscriptions.subscribe(slice::from_ref(&a));
        let subscribe = |subject: &Subject| Change::Subscribe(subject.clone());
        assert_eq!(subscriptions.take_changes(9), [subscribe(&a), subscribe(&b)]);
        assert_eq!(subscriptions.take_changes(9), [Change::Unsubscribe(a.clone())]);
        assert_eq!(subscriptions.take_changes(9), [subscribe(&a)]);
        assert_eq!(subscriptions.take_changes(9), []);
        subscriptions.unsubscribe(&[b]);
        assert_eq!(subscriptions.restart(), [subscribe(&a)]);
        assert_eq!(subscriptions.take_changes(9), []);
    }

    #[test]
    fn a_batch_of_changes_is_bounded() {
        let mut subscriptions = Subscriptions::default();
        let subjects: Vec<_> = (0..10).map(|number| subject(&format!("s.{number}"))).collect();
        subscriptions.subscribe(&subjects);
        let batches = [4, 4, 4, 4].map(|max| subscriptions.take_changes(max).len());
        assert_eq!(batches, [4, 4, 2, 0]);
    }
}
