//! What do both kinds of cluster have: requests, counters, events, and the end of their task?

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant, timeout_at};

use super::config::{ClusterSettings, OutagePolicy};
use super::gather::Requests;
use super::host::ClusterHost;
use super::notices::Notices;
use super::responder::Answering;
use super::stats::{ClusterCounters, count};
use crate::broker::PublishError;
use crate::delivery::enqueue::ClusterDelivery;

/// How long the broker may take to end when the hub is dropped.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// What the handles of a hub and the task of its cluster share, whichever protocol joins the nodes.
pub(crate) struct ClusterCore {
    pub(crate) request_timeout: Duration,
    outage: OutagePolicy,
    pub(crate) requests: Arc<Requests>,
    pub(crate) answering: Arc<Answering>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) counters: Arc<ClusterCounters>,
    /// The task has something to do.
    pub(crate) wake: Arc<Notify>,
    /// When the broker has to be shut down, if the task is to end.
    stop: Mutex<Option<Instant>>,
    has_ended: watch::Sender<bool>,
}

impl ClusterCore {
    pub(crate) fn new(settings: &ClusterSettings, notices: Arc<Notices>) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            outage: settings.outage,
            requests: Arc::default(),
            answering: Arc::default(),
            notices,
            counters: Arc::default(),
            wake: Arc::default(),
            stop: Mutex::default(),
            has_ended: watch::Sender::new(false),
        }
    }

    /// Counts what was given to the broker.
    pub(crate) fn published<T>(&self, result: Result<T, PublishError>) -> Result<T, PublishError> {
        match result {
            Ok(_) => count(&self.counters.published, 1),
            Err(_) => count(&self.counters.refused, 1),
        }
        result
    }

    /// What the sender of a broadcast learns if the broker refuses it.
    pub(crate) const fn refused(&self, error: PublishError) -> ClusterDelivery {
        match (error, self.outage) {
            (PublishError::TooLarge, _) => ClusterDelivery::TooLarge,
            (_, OutagePolicy::LocalOnly) => ClusterDelivery::Local,
            (PublishError::Full, _) => ClusterDelivery::Full,
            (PublishError::Down, _) => ClusterDelivery::Down,
        }
    }

    /// Leaves the cluster, and ends the broker until `deadline`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown goes on.
    pub(crate) async fn shut_down(&self, deadline: Instant) {
        self.stop.lock().get_or_insert(deadline);
        self.wake.notify_one();
        let mut has_ended = self.has_ended.subscribe();
        // If the task was dropped with its runtime, it does not end.
        let _ = timeout_at(deadline + SHUTDOWN, has_ended.wait_for(|has_ended| *has_ended)).await;
    }

    /// Until when the task has to shut the broker down, if it is to end: it ends with the hub.
    pub(crate) fn deadline(&self, host: &dyn ClusterHost) -> Option<Instant> {
        let stop = *self.stop.lock();
        stop.or_else(|| (!host.is_alive()).then(|| Instant::now() + SHUTDOWN))
    }

    /// The broker was shut down.
    pub(crate) fn ended(&self) {
        self.counters.note_end();
        self.answering.abort_all();
        self.has_ended.send_replace(true);
    }
}
