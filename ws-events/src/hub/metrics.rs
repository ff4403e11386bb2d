//! Which metrics does a hub have, and when does it hand over its counts?
//!
//! A hub counts for itself, with or without metrics. A task hands over the counts every [`PERIOD`]
//! while the hub has handles, and the end of the hub hands over the rest.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::hub::HubShared;
use crate::{Hub, HubStats};

/// How often a hub hands over its counts.
const PERIOD: Duration = Duration::from_secs(5);

/// Beyond so many rooms, the sizes of some are measured each time.
const MAX_MEASURED_ROOMS: usize = 1024;

const SOCKETS: &str = "websocket.hub.sockets.active";
const CONNECTED: &str = "websocket.hub.sockets.connected";
const DISCONNECTED: &str = "websocket.hub.sockets.disconnected";
const REJECTED: &str = "websocket.hub.sockets.rejected";
const SLOW_CONSUMERS: &str = "websocket.hub.slow_consumers";
const MESSAGES: &str = "websocket.hub.messages";
const QUEUED_MESSAGES: &str = "websocket.hub.queue.messages";
const QUEUED_BYTES: &str = "websocket.hub.queue.usage";
const ROOMS: &str = "websocket.hub.rooms.active";
const ROOM_SOCKETS: &str = "websocket.hub.room.sockets";

/// What of a hub was handed over.
#[derive(Default)]
pub(crate) struct HubMetrics {
    /// Whether the task runs.
    runs: AtomicBool,
    handed_over: Mutex<HubStats>,
}

impl HubMetrics {
    /// Hands over what was counted since the last time.
    fn hand_over(&self, now: &HubStats) {
        let before = std::mem::replace(&mut *self.handed_over.lock(), *now);
        let count = |name, before: u64, now: u64| {
            if let Some(more @ 1..) = now.checked_sub(before) {
                counter!(name).increment(more);
            }
        };
        count(CONNECTED, before.connected, now.connected);
        count(DISCONNECTED, before.disconnected, now.disconnected);
        count(REJECTED, before.rejected, now.rejected);
        count(SLOW_CONSUMERS, before.slow_consumers, now.slow_consumers);
        for (outcome, before, now) in [
            ("queued", before.queued, now.queued),
            ("written", before.written, now.written),
            ("refused", before.refused, now.refused),
            ("dropped", before.dropped, now.dropped),
            ("discarded", before.discarded, now.discarded),
        ] {
            if let Some(more @ 1..) = now.checked_sub(before) {
                counter!(MESSAGES, "outcome" => outcome).increment(more);
            }
        }
        for (name, before, now) in [
            (SOCKETS, before.sockets as u64, now.sockets as u64),
            (ROOMS, before.rooms as u64, now.rooms as u64),
            (QUEUED_MESSAGES, before.waiting(), now.waiting()),
            (QUEUED_BYTES, before.queued_bytes, now.queued_bytes),
        ] {
            // A difference: several hubs have one gauge.
            gauge!(name).increment(now as f64 - before as f64);
        }
    }
}

impl Hub {
    /// Starts the task, unless it runs. Called for each socket that connects: the runtime of an
    /// earlier task may have ended.
    pub(crate) fn start_metrics(&self) {
        let metrics = &self.0.metrics;
        if metrics.runs.load(SeqCst) || metrics.runs.swap(true, SeqCst) {
            return;
        }
        describe();
        for name in [CONNECTED, DISCONNECTED, REJECTED, SLOW_CONSUMERS] {
            // A rate needs the value before the first increment.
            counter!(name).increment(0);
        }
        let task = MetricsTask(Arc::downgrade(&self.0));
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(task.run()));
        }
    }
}

/// The task of a hub.
struct MetricsTask(Weak<HubShared>);

impl MetricsTask {
    async fn run(self) {
        loop {
            sleep(PERIOD).await;
            let Some(hub) = self.0.upgrade().map(Hub) else { return };
            hub.0.metrics.hand_over(&hub.stats());
            for (at, members) in
                hub.0.rooms.sample_sizes(MAX_MEASURED_ROOMS).into_iter().enumerate()
            {
                histogram!(ROOM_SOCKETS).record(members as f64);
                if at % 64 == 63 {
                    yield_now().await;
                }
            }
        }
    }
}

impl Drop for MetricsTask {
    /// The runtime has ended, or the hub.
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.metrics.runs.store(false, SeqCst);
        }
    }
}

impl Drop for HubShared {
    /// Hands over the rest. There are no sockets, rooms and messages any more.
    fn drop(&mut self) {
        let stats = self.delivery.counters.stats(0, 0);
        self.metrics.hand_over(&HubStats { queued_bytes: 0, ..stats });
    }
}

/// Describes all metrics to the recorder, once.
fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        for (name, text) in [
            (CONNECTED, "Sockets that have connected to hubs"),
            (DISCONNECTED, "Sockets that have disconnected from hubs"),
            (REJECTED, "Connections that hubs have rejected"),
            (SLOW_CONSUMERS, "Sockets that were closed as slow consumers"),
            (MESSAGES, "Messages for sockets of hubs, by outcome"),
        ] {
            metrics::describe_counter!(name, Unit::Count, text);
        }
        for (name, unit, text) in [
            (SOCKETS, Unit::Count, "Sockets that are connected to hubs now"),
            (QUEUED_MESSAGES, Unit::Count, "Messages in send queues now"),
            (QUEUED_BYTES, Unit::Bytes, "Payload bytes in send queues now"),
            (ROOMS, Unit::Count, "Rooms that have members now"),
        ] {
            metrics::describe_gauge!(name, unit, text);
        }
        metrics::describe_histogram!(ROOM_SOCKETS, Unit::Count, "Sockets in a room");
    });
}
