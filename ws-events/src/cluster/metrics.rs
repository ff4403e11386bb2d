//! Which metrics does a cluster have, and when are its counts handed over to the recorder?
//!
//! A cluster counts for itself, with or without metrics. Its task hands over the counts when it
//! starts, every [`PERIOD`], and when it ends.

use std::sync::{Arc, Once};

use metrics::{Unit, counter, gauge};
use tokio::time::{Duration, Instant};

use super::stats::{ClusterCounters, ClusterStats};

const BROKERS: &str = "websocket.cluster.brokers";
const OUTAGES: &str = "websocket.cluster.broker.outages";
const NODES: &str = "websocket.cluster.nodes.active";
const ENVELOPES: &str = "websocket.cluster.envelopes";

/// How often the counts are handed over.
const PERIOD: Duration = Duration::from_secs(5);

/// Hands over the counts of one cluster. The drop hands over the rest: the cluster has ended then, or
/// its runtime.
#[derive(Debug)]
pub(crate) struct ClusterMeter {
    counters: Arc<ClusterCounters>,
    handed_over: ClusterStats,
    /// How many brokers with this cluster are counted: one, until it ends.
    brokers: u64,
    next: Instant,
}

impl ClusterMeter {
    pub(crate) fn new(counters: Arc<ClusterCounters>, now: Instant) -> Self {
        describe();
        Self { counters, handed_over: ClusterStats::default(), brokers: 0, next: now }
    }

    /// Hands over the counts if that is due. `nodes` counts the other nodes.
    pub(crate) fn tick(&mut self, now: Instant, nodes: impl FnOnce() -> usize) {
        if now >= self.next {
            self.next = now + PERIOD;
            self.hand_over(1, &ClusterStats { nodes: nodes(), ..self.counters.stats() });
        }
    }

    fn hand_over(&mut self, brokers: u64, now: &ClusterStats) {
        let before = std::mem::replace(&mut self.handed_over, *now);
        let brokers_before = std::mem::replace(&mut self.brokers, brokers);
        // With those that have not changed: a rate needs the value before the first increment.
        counter!(OUTAGES).increment(now.outages.saturating_sub(before.outages));
        for ((direction, outcome, before), (_, _, now)) in rows(&before).into_iter().zip(rows(now))
        {
            let more = now.saturating_sub(before);
            counter!(ENVELOPES, "direction" => direction, "outcome" => outcome).increment(more);
        }
        let up = |stats: &ClusterStats, brokers: u64| u64::from(stats.is_up).min(brokers);
        let (up_before, up_now) = (up(&before, brokers_before), up(now, brokers));
        let change = |before: u64, now: u64| now as f64 - before as f64;
        // Differences: several clusters have one gauge.
        gauge!(BROKERS, "state" => "up").increment(change(up_before, up_now));
        gauge!(BROKERS, "state" => "down")
            .increment(change(brokers_before - up_before, brokers - up_now));
        gauge!(NODES).increment(change(before.nodes as u64, now.nodes as u64));
    }
}

impl Drop for ClusterMeter {
    fn drop(&mut self) {
        let stats = self.counters.stats();
        self.hand_over(0, &ClusterStats { nodes: 0, ..stats });
    }
}

/// The series of envelopes: their labels, and what was counted so far.
fn rows(stats: &ClusterStats) -> Vec<(&'static str, &'static str, u64)> {
    let (transmit, receive) = ("transmit", "receive");
    vec![
        (transmit, "published", stats.published),
        (transmit, "refused", stats.refused),
        (transmit, "unsent", stats.unsent),
        (receive, "received", stats.received),
        (receive, "lost", stats.lost),
        (receive, "duplicate", stats.duplicates),
        (receive, "malformed", stats.malformed),
        (receive, "unknown_version", stats.unknown_version),
        (receive, "inbox_full", stats.inbox_full),
        (receive, "too_many_nodes", stats.too_many_nodes),
        #[cfg(feature = "hmac")]
        (receive, "forged", stats.forged),
    ]
}

/// Describes all metrics to the recorder, once.
fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        for (name, text) in [
            (BROKERS, "Hubs with a broker, by the state of the broker now"),
            (NODES, "Other nodes of clusters that are up now"),
        ] {
            metrics::describe_gauge!(name, Unit::Count, text);
        }
        for (name, text) in [
            (OUTAGES, "Times that the connection to a broker was lost"),
            (ENVELOPES, "Envelopes of clusters, by outcome"),
        ] {
            metrics::describe_counter!(name, Unit::Count, text);
        }
    });
}
