//! When does a hub hand over its counts to the recorder of metrics?
//!
//! A hub counts for itself, with or without metrics. A task hands over the counts every [`PERIOD`]
//! while the hub has sockets, and the end of the hub hands over the rest.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::delivery::metrics::HubMetrics;
use crate::hub::HubShared;
use crate::{Hub, HubStats};

/// How often a hub hands over its counts.
const PERIOD: Duration = Duration::from_secs(5);

/// If a hub has more rooms, only the sizes of some of them are measured each time.
const MAX_MEASURED_ROOMS: usize = 1024;

impl Hub {
    /// Starts the task, unless it runs. Called for each socket that connects, after it counts as
    /// active: an earlier task may have ended.
    pub(crate) fn start_metrics(&self) {
        if !self.0.metrics.begin() {
            return;
        }
        let task = MetricsTask(Arc::downgrade(&self.0));
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(task.run()));
        }
    }
}

impl Hub {
    /// Whether the task goes on: there are sockets. Otherwise it has handed over all counts.
    fn keeps_metrics_task(&self) -> bool {
        let is_idle = || self.0.active.load(SeqCst) == 0;
        if !is_idle() {
            return true;
        }
        // The last socket may have ended after the counts were handed over.
        self.0.metrics.hand_over(&self.stats());
        self.0.metrics.end();
        // A socket that has connected in the meantime may have found the task.
        !is_idle() && self.0.metrics.begin()
    }
}

/// The task of a hub.
struct MetricsTask(Weak<HubShared>);

impl MetricsTask {
    async fn run(mut self) {
        loop {
            sleep(PERIOD).await;
            let Some(hub) = self.0.upgrade().map(Hub) else { return };
            hub.0.metrics.hand_over(&hub.stats());
            let sizes = hub.0.rooms.sample_sizes(MAX_MEASURED_ROOMS);
            if !hub.keeps_metrics_task() {
                // The flag may be that of another task by now.
                self.0 = Weak::new();
                return;
            }
            drop(hub);
            for (at, sockets) in sizes.into_iter().enumerate() {
                HubMetrics::room(sockets);
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
            hub.metrics.end();
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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn no_socket_is_active_after_the_task_has_ended() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let hub = Hub::new();
            assert!(hub.0.metrics.begin());
            // The last socket has ended since these counts were handed over.
            hub.0.metrics.hand_over(&HubStats { sockets: 1, ..HubStats::default() });
            assert!(!hub.keeps_metrics_task());
            let text = recorder.handle().render();
            assert!(text.contains("websocket_hub_sockets_active 0"), "{text}");
        });
    }
}
