//! What is counted in a cluster?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::broker::BrokerStatus;

/// The counters of a clustered hub: see [`ClusterStats::of`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Whether the broker is connected now, and all subscriptions are confirmed:
    /// [`HubEvent::BrokerUp`](super::HubEvent::BrokerUp).
    pub is_up: bool,
    /// How often the connection to the broker was lost, or could not be made:
    /// [`HubEvent::BrokerDown`](super::HubEvent::BrokerDown).
    pub outages: u64,
    /// The other nodes that are up now: the number of [`Hub::nodes`](crate::Hub::nodes).
    pub nodes: usize,
    /// Envelopes that the broker has taken.
    pub published: u64,
    /// Envelopes that the broker has refused, and that were not held either.
    pub refused: u64,
    /// Envelopes that were taken, and then not sent: those of
    /// [`HubEvent::Unsent`](super::HubEvent::Unsent).
    pub unsent: u64,
    /// Envelopes of other nodes that have arrived in order.
    pub received: u64,
    /// Envelopes that have arrived twice, or too late.
    pub duplicates: u64,
    /// Envelopes of other nodes that did not arrive: those of [`HubEvent::Gap`](super::HubEvent::Gap).
    pub lost: u64,
    /// Envelopes that could not be read.
    pub malformed: u64,
    /// Envelopes of an unknown major version.
    pub unknown_version: u64,
    /// Envelopes that were dropped because the inbox was full. They are also a gap, except with
    /// [`ClusterConfig::socketio`](super::ClusterConfig::socketio), whose messages have
    /// no numbers.
    pub inbox_full: u64,
    /// Envelopes of further nodes than [`ClusterConfig::max_nodes`](super::ClusterConfig::max_nodes).
    pub too_many_nodes: u64,
    /// Server events without a handler in time: more than 1,024 were waiting.
    pub server_events_dropped: u64,
    /// Envelopes without a tag by one of the [keys](super::ClusterConfig::keys).
    #[cfg(feature = "hmac")]
    pub forged: u64,
    /// Subscriptions that were renewed because nothing was heard on them.
    pub renewed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ClusterCounters {
    pub(crate) is_up: AtomicBool,
    pub(crate) outages: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) unknown_version: AtomicU64,
    pub(crate) inbox_full: AtomicU64,
    pub(crate) too_many_nodes: AtomicU64,
    pub(crate) server_events_dropped: AtomicU64,
    #[cfg(feature = "hmac")]
    pub(crate) forged: AtomicU64,
    pub(crate) renewed: AtomicU64,
}

impl ClusterCounters {
    /// The counters. The nodes are not counted here.
    pub(crate) fn stats(&self) -> ClusterStats {
        ClusterStats {
            is_up: self.is_up.load(Relaxed),
            outages: self.outages.load(Relaxed),
            nodes: 0,
            published: self.published.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unsent: self.unsent.load(Relaxed),
            received: self.received.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            lost: self.lost.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            unknown_version: self.unknown_version.load(Relaxed),
            inbox_full: self.inbox_full.load(Relaxed),
            too_many_nodes: self.too_many_nodes.load(Relaxed),
            server_events_dropped: self.server_events_dropped.load(Relaxed),
            #[cfg(feature = "hmac")]
            forged: self.forged.load(Relaxed),
            renewed: self.renewed.load(Relaxed),
        }
    }

    /// The broker was shut down.
    pub(crate) fn note_end(&self) {
        self.is_up.store(false, Relaxed);
    }

    /// The state of the broker has changed.
    pub(crate) fn note_status(&self, status: &BrokerStatus) {
        match status {
            BrokerStatus::Up => self.is_up.store(true, Relaxed),
            BrokerStatus::Down { .. } => {
                self.is_up.store(false, Relaxed);
                count(&self.outages, 1);
            }
            BrokerStatus::Lost { envelopes } => count(&self.unsent, *envelopes),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}
