//! Which metrics does a hub have, and which counts has it handed over to the recorder?

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use metrics::{Unit, counter, gauge, histogram};
use parking_lot::Mutex;

use crate::delivery::stats::HubStats;

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

/// The counts that a hub has handed over to the recorder.
#[derive(Default)]
pub(crate) struct HubMetrics {
    /// Whether the task that hands over the counts is running.
    has_task: AtomicBool,
    handed_over: Mutex<HubStats>,
}

impl HubMetrics {
    /// Marks the task as running. Returns `false` if another one is running.
    pub(crate) fn begin(&self) -> bool {
        if self.has_task.load(SeqCst) || self.has_task.swap(true, SeqCst) {
            return false;
        }
        describe();
        for name in [CONNECTED, DISCONNECTED, REJECTED, SLOW_CONSUMERS] {
            // A rate needs the value before the first increment.
            counter!(name).increment(0);
        }
        true
    }

    /// Notes that the task has ended.
    pub(crate) fn end(&self) {
        self.has_task.store(false, SeqCst);
    }

    /// Hands over what was counted since the last time.
    pub(crate) fn hand_over(&self, now: &HubStats) {
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

    /// Records the number of sockets in a room.
    pub(crate) fn room(sockets: usize) {
        histogram!(ROOM_SOCKETS).record(sockets as f64);
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
