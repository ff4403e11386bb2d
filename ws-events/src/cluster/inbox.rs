//! Where do envelopes wait that the broker has received?
//!
//! The task of the broker only puts them here, and the task of the cluster delivers them. What does
//! not fit is dropped: the numbers of the others show the gap.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::broker::{BrokerStatus, Subject};

/// What the task of the cluster handles next.
#[derive(Debug)]
pub(crate) enum InboxItem {
    Envelope(Subject, Bytes),
    Status(BrokerStatus),
}

#[derive(Debug)]
pub(crate) struct EnvelopeInbox {
    limits: (usize, usize),
    state: Mutex<InboxState>,
    /// Something has arrived.
    pub(crate) arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct InboxState {
    waiting: VecDeque<InboxItem>,
    bytes: usize,
    /// The subjects that this node has subscribed to. The others are ignored.
    subjects: HashMap<Subject, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    subject: Subject,
    since: Instant,
    /// When something was heard on it, or it was renewed.
    heard: Instant,
    is_probed: bool,
    /// How much longer than necessary it is patient, from 0 to 1. Of many nodes that hear nothing, one
    /// probes first, and the others hear it.
    patience: f64,
}

/// What does a subscription need on which nothing was heard?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Probe(Subject),
    Renew(Subject),
}

impl EnvelopeInbox {
    pub(crate) fn new(limits: (usize, usize), arrived: Arc<Notify>) -> Self {
        Self { limits, state: Mutex::default(), arrived }
    }

    /// Counts subjects as subscribed. `patience` gives a random number from 0 to 1.
    pub(crate) fn subscribed(&self, subjects: &[Subject], now: Instant, patience: fn() -> f64) {
        let mut state = self.state.lock();
        for subject in subjects {
            let new = || Subscription {
                subject: subject.clone(),
                since: now,
                heard: now,
                is_probed: false,
                patience: patience(),
            };
            state.subjects.entry(subject.clone()).or_insert_with(new);
        }
    }

    /// Forgets subjects with what waits of them. If it was counted later, what this node gets when it
    /// has subscribed again would look like a loss.
    pub(crate) fn unsubscribed(&self, subjects: &[Subject]) {
        let mut state = self.state.lock();
        let InboxState { waiting, bytes, subjects: subscribed } = &mut *state;
        subjects.iter().for_each(|subject| _ = subscribed.remove(subject));
        waiting.retain(|item| {
            let InboxItem::Envelope(subject, envelope) = item else { return true };
            let stays = subscribed.contains_key(subject);
            if !stays {
                *bytes -= envelope.len();
            }
            stays
        });
    }

    /// Puts an envelope in. Returns `false` if it does not fit.
    pub(crate) fn put(&self, subject: &str, envelope: Bytes) -> bool {
        let mut state = self.state.lock();
        let Some(subscription) = state.subjects.get_mut(subject) else { return true };
        subscription.heard = Instant::now();
        subscription.is_probed = false;
        let subject = subscription.subject.clone();
        let (most, bytes) = self.limits;
        let total = state.bytes.saturating_add(envelope.len());
        if state.waiting.len() >= most || total > bytes {
            return false;
        }
        state.bytes = total;
        state.waiting.push_back(InboxItem::Envelope(subject, envelope));
        drop(state);
        self.arrived.notify_one();
        true
    }

    /// Puts a status in, which always fits: a broker changes its state rarely.
    pub(crate) fn put_status(&self, status: BrokerStatus) {
        self.state.lock().waiting.push_back(InboxItem::Status(status));
        self.arrived.notify_one();
    }

    pub(crate) fn take(&self) -> Option<InboxItem> {
        let mut state = self.state.lock();
        let arrival = state.waiting.pop_front()?;
        if let InboxItem::Envelope(_, envelope) = &arrival {
            state.bytes -= envelope.len();
        }
        if state.waiting.is_empty() {
            // A burst leaves no memory behind.
            state.waiting.shrink_to(64);
        }
        Some(arrival)
    }

    /// Whether the subject was subscribed to for at least `settled`.
    pub(crate) fn is_settled(&self, subject: &str, now: Instant, settled: Duration) -> bool {
        let state = self.state.lock();
        let subscription = state.subjects.get(subject);
        subscription.is_some_and(|it| now.duration_since(it.since) >= settled)
    }

    /// The subjects that were subscribed to for at least `settled`; none if there are more than
    /// `most`.
    pub(crate) fn settled(&self, now: Instant, settled: Duration, most: usize) -> Vec<Subject> {
        let state = self.state.lock();
        if state.subjects.len() > most {
            return Vec::new();
        }
        let subjects = state.subjects.iter();
        let settled = subjects.filter(|(_, it)| now.duration_since(it.since) >= settled);
        settled.map(|(subject, _)| subject.clone()).collect()
    }

    /// At most `most` subjects on which nothing was heard for `silence`.
    pub(crate) fn silent(&self, now: Instant, silence: Duration, most: usize) -> Vec<Silence> {
        let mut state = self.state.lock();
        let subjects = state.subjects.iter_mut();
        let patience = |it: &Subscription| silence + silence.mul_f64(it.patience);
        let silent = subjects.filter(|(_, it)| now.duration_since(it.heard) >= patience(it));
        let act = |(subject, it): (&Subject, &mut Subscription)| {
            it.heard = now;
            if std::mem::replace(&mut it.is_probed, true) {
                it.is_probed = false;
                it.since = now;
                Silence::Renew(subject.clone())
            } else {
                Silence::Probe(subject.clone())
            }
        };
        silent.take(most).map(act).collect()
    }

    /// The broker was down: nothing could be heard.
    pub(crate) fn reset_silence(&self, now: Instant) {
        for subscription in self.state.lock().subjects.values_mut() {
            subscription.heard = now;
            subscription.is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn envelopes_beyond_a_limit_and_of_unknown_subjects_are_dropped() {
        let inbox = EnvelopeInbox::new((2, 5), Arc::new(Notify::new()));
        inbox.subscribed(&[subject("a")], Instant::now(), || 0.0);
        let put = |envelope: &'static str| inbox.put("a", Bytes::from_static(envelope.as_bytes()));
        assert!(inbox.put("b", Bytes::new()) && inbox.take().is_none());
        assert!(put("12345") && !put("6"));
        inbox.put_status(BrokerStatus::Up);
        assert!(matches!(inbox.take(), Some(InboxItem::Envelope(..))));
        assert!(put("1") && !put("2"));
        assert!(matches!(inbox.take(), Some(InboxItem::Status(BrokerStatus::Up))));
    }

    #[tokio::test(start_paused = true)]
    async fn envelopes_of_a_subject_that_is_unsubscribed_are_dropped_with_their_bytes() {
        let inbox = EnvelopeInbox::new((4, 4), Arc::new(Notify::new()));
        inbox.subscribed(&["a", "b"].map(subject), Instant::now(), || 0.0);
        let put = |name| inbox.put(name, Bytes::from_static(b"12"));
        assert!(put("a") && put("b") && !put("a"));
        inbox.put_status(BrokerStatus::Up);
        inbox.unsubscribed(&[subject("a")]);
        inbox.subscribed(&[subject("a")], Instant::now(), || 0.0);
        assert!(put("a") && !put("b"));
        let taken = std::iter::from_fn(|| inbox.take()).map(|item| match item {
            InboxItem::Envelope(subject, _) => subject.as_str().to_owned(),
            InboxItem::Status(_) => "status".to_owned(),
        });
        assert_eq!(taken.collect::<Vec<_>>(), ["b", "status", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_subscription_is_probed_and_then_renewed() {
        let inbox = EnvelopeInbox::new((2, 5), Arc::new(Notify::new()));
        let silence = Duration::from_secs(10);
        inbox.subscribed(&[subject("a")], Instant::now(), || 0.0);
        let silent = || inbox.silent(Instant::now(), silence, 9);
        assert_eq!(silent(), []);
        tokio::time::advance(silence).await;
        assert_eq!(silent(), [Silence::Probe(subject("a"))]);
        assert_eq!(silent(), []);
        inbox.put("a", Bytes::new());
        tokio::time::advance(silence).await;
        assert_eq!(silent(), [Silence::Probe(subject("a"))]);
        tokio::time::advance(silence).await;
        assert_eq!(silent(), [Silence::Renew(subject("a"))]);
        assert!(!inbox.is_settled("a", Instant::now(), silence));
        assert!(inbox.settled(Instant::now(), silence, 9).is_empty());
        tokio::time::advance(silence).await;
        assert!(inbox.is_settled("a", Instant::now(), silence));
        assert_eq!(inbox.settled(Instant::now(), silence, 9).len(), 1);
        assert_eq!(silent(), [Silence::Probe(subject("a"))]);
    }
}
